"""The order in which the catalogue is shown."""

from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Invalid, NotFound
from memory.rows import In, Row
from tools.products.stages import OnlyManagers


class ProductMissing(NotFound):
    """Product {product_id} does not exist."""


class NotInCatalogue(Invalid):
    """Only active products that are sold and stand on their own have a place in the order."""


class AtTheEdge(Invalid):
    """The product cannot go further {direction}."""


class ReorderProductIn(In):
    """Which product goes one place up or down."""

    productId: UUID
    direction: Literal["up", "down"]


class ReorderedOut(Row):
    """It has changed places."""

    success: Literal[True] = True
    message: str


async def reorder_product(tx: Tx, caller: Caller, body: ReorderProductIn) -> ReorderedOut:
    """
    Swap the product with its neighbour among the active, sellable top-level products.

    Raises `OnlyManagers`, `ProductMissing`, `NotInCatalogue`, `AtTheEdge`.
    """
    if not caller.sees_all:
        raise OnlyManagers
    await tx.lock("products", "order")
    order = await tx.many(
        UUID,
        """
        SELECT id FROM products WHERE parent_product_id IS NULL AND is_active AND is_sellable
         ORDER BY display_order, name, id
        """,
    )
    if body.productId not in order:
        await _refuse_missing(tx, body.productId)
    place = order.index(body.productId)
    neighbour = place + (1 if body.direction == "down" else -1)
    if not 0 <= neighbour < len(order):
        raise AtTheEdge(direction=body.direction)
    order[place], order[neighbour] = order[neighbour], order[place]
    await tx.run(
        """
        UPDATE products p SET display_order = wanted.place
          FROM unnest(%(ids)s::uuid[]) WITH ORDINALITY AS wanted (id, place)
         WHERE p.id = wanted.id AND p.display_order <> wanted.place
        """,
        ids=order,
    )
    return ReorderedOut(message=f"Moved {body.direction}.")


async def _refuse_missing(tx: Tx, product_id: UUID) -> None:
    await tx.one(
        UUID,
        "SELECT id FROM products WHERE id = %(product_id)s",
        missing=ProductMissing(product_id=product_id),
        product_id=product_id,
    )
    raise NotInCatalogue
