"""Activities over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from api.deps import Reading, Transaction, User
from api.schemas import doc_response
from tools import activities

router = APIRouter(prefix="/api/activities", tags=["Activities"])


@router.get("", summary="List activities", response_model=activities.ActivitiesOut)
async def list_activities(filter: Annotated[activities.ActivityFilter, Query()], user: User, tx: Reading) -> Response:
    """List the activities you may see; `type` may be a family (meeting, email, call)."""
    return doc_response(await activities.list_activities(tx, user, filter))


@router.post("/resolve-review", summary="Settle where an activity belongs")
async def resolve_review(body: activities.ResolveReviewIn, user: User, tx: Transaction) -> activities.ReviewResolvedOut:
    """Match an activity to a deal, or exclude it; tasks that asked for the decision are completed."""
    return await activities.resolve_review(tx, user, body)
