"""Analytics over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import Reading, User
from api.schemas import doc_response
from tools import whitespace

router = APIRouter(prefix="/api/analytics", tags=["Analytics"])


@router.get(
    "/whitespace",
    summary="See what customers do not have yet",
    response_model=whitespace.WhitespaceStats | whitespace.OpportunitiesOut,
)
async def get_whitespace(filter: Annotated[whitespace.WhitespaceFilter, Query()], user: User, tx: Reading) -> Response:
    """See what customers of a base product lack and how well it would fit: in figures, or company by company."""
    return doc_response(await whitespace.get_whitespace(tx, user, filter))
