"""Processes and workflows over HTTP."""

from fastapi import APIRouter, Response

from api.deps import Reading, User
from api.schemas import doc_response
from tools import processes, workflows
from tools.processes import ProcessType

router = APIRouter(prefix="/api/process", tags=["Process"])


@router.get("/{product_slug}/{process_type}", summary="Get a process", response_model=processes.ProcessOut)
async def get_process(product_slug: str, process_type: ProcessType, user: User, tx: Reading) -> Response:
    """Get a product's published process of this kind, or else its newest draft, with all of its stages."""
    return doc_response(await processes.get_process(tx, user, product_slug, process_type))


@router.get("/{product_slug}/{process_type}/workflow", summary="Get a workflow", response_model=workflows.WorkflowOut)
async def get_workflow(product_slug: str, process_type: ProcessType, user: User, tx: Reading) -> Response:
    """Get the process as it was drawn, or null where nobody drew one."""
    return doc_response(await workflows.get_workflow(tx, user, product_slug, process_type))
