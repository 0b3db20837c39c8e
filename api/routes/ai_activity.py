"""The log of what agents did, over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.deps import Reading, User
from api.schemas import doc_response
from tools import ai_activity, ai_traces

router = APIRouter(prefix="/api/ai-activity", tags=["AI"])


@router.get("", summary="List what agents did", response_model=ai_activity.ActivityOut)
async def list_actions(filter: Annotated[ai_activity.ActivityFilter, Query()], user: User, tx: Reading) -> Response:
    """List the actions of agents, newest first, with figures of everything that matches the filter."""
    return doc_response(await ai_activity.list_actions(tx, user, filter))


@router.get("/{result_id}/trace", summary="Trace a result back to its prompt")
async def get_trace(result_id: UUID, user: User, tx: Reading) -> ai_traces.TraceOut:
    """
    Get what is behind a result of an agent: the prompt and the version that was asked, the call, the run and the sources.

    Takes the id of an action, a call, a summary, an analysis, a draft, a promise, a relationship item, a triage decision
    or a question about a match.
    """
    return await ai_traces.get_trace(tx, user, result_id)
