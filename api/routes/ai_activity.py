"""The log of what agents did, over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import Reading, User
from api.schemas import doc_response
from tools import ai_activity

router = APIRouter(prefix="/api/ai-activity", tags=["AI"])


@router.get("", summary="List what agents did", response_model=ai_activity.ActivityOut)
async def list_actions(filter: Annotated[ai_activity.ActivityFilter, Query()], user: User, tx: Reading) -> Response:
    """List the actions of agents, newest first, with figures of everything that matches the filter."""
    return doc_response(await ai_activity.list_actions(tx, user, filter))
