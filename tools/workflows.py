"""Workflows: a process drawn on a canvas, its steps as nodes with ports and lines between them."""

from typing import Any, Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Doc, Row
from tools.processes import ProcessType, ProductUnknown


class Position(Row):
    """Where something lies on the canvas, in its own units."""

    x: float
    y: float


class Canvas(Row):
    """How the canvas was left."""

    zoom: float
    pan: Position


class WorkflowNode(Row):
    """One step."""

    id: UUID
    type: Literal["trigger", "stage", "condition", "aiAction", "humanAction", "exit"]
    itemId: str | None
    label: str
    icon: str | None
    color: str | None
    position: Position
    config: dict[str, Any]


class WorkflowConnection(Row):
    """A line from a port of one step to a port of another."""

    id: UUID
    fromNodeId: UUID
    fromPort: str
    toNodeId: UUID
    toPort: str
    label: str | None
    color: str | None
    style: Literal["solid", "dashed"]


class Workflow(Row):
    """A drawn process."""

    id: UUID
    name: str
    status: Literal["draft", "active", "archived"]
    canvasState: Canvas
    nodes: list[WorkflowNode]
    connections: list[WorkflowConnection]


class WorkflowOut(Row):
    """The drawn process, or null where nobody drew one."""

    workflow: Workflow | None


async def get_workflow(tx: Tx, caller: Caller, product_slug: str, process_type: ProcessType) -> Doc[WorkflowOut]:
    """
    Return the active drawing of a product's process, or else the draft that was changed last.

    Raises `ProductUnknown`.
    """
    return await tx.doc(
        WorkflowOut,
        """
        SELECT json_build_object('workflow', (
                   SELECT json_build_object(
                              'id', w.id, 'name', w.name, 'status', w.status,
                              'canvasState', json_build_object(
                                  'zoom', w.canvas_zoom, 'pan', json_build_object('x', w.canvas_pan_x, 'y', w.canvas_pan_y)),
                              'nodes', coalesce((
                                  SELECT json_agg(json_build_object(
                                             'id', n.id, 'type', n.type, 'itemId', n.item_id, 'label', n.label,
                                             'icon', n.icon, 'color', n.color,
                                             'position', json_build_object('x', n.position_x, 'y', n.position_y),
                                             'config', n.config) ORDER BY n.position_x, n.position_y, n.id)
                                    FROM workflow_nodes n WHERE n.workflow_id = w.id), '[]'),
                              'connections', coalesce((
                                  SELECT json_agg(json_build_object(
                                             'id', c.id, 'fromNodeId', c.from_node_id, 'fromPort', c.from_port,
                                             'toNodeId', c.to_node_id, 'toPort', c.to_port, 'label', c.label,
                                             'color', c.color, 'style', c.style) ORDER BY c.created_at, c.id)
                                    FROM workflow_connections c WHERE c.workflow_id = w.id), '[]'))
                     FROM workflows w
                    WHERE w.product_id = o.id AND w.process_type = %(process_type)s AND w.status <> 'archived'
                    ORDER BY w.status = 'active' DESC, w.updated_at DESC, w.id
                    LIMIT 1))::text
          FROM products o WHERE o.slug = %(slug)s
        """,
        missing=ProductUnknown(slug=product_slug),
        slug=product_slug,
        process_type=process_type,
    )
