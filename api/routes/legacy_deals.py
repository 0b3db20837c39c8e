"""Legacy deals over HTTP; their ids are those of companies' products."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.deps import Reading, Transaction, User
from api.schemas import doc_response
from tools import legacy_deals

router = APIRouter(prefix="/api/legacy-deals", tags=["Legacy deals"])


@router.get("", summary="List legacy deals", response_model=legacy_deals.LegacyDealsOut)
async def list_legacy_deals(
    filter: Annotated[legacy_deals.LegacyDealFilter, Query()], user: User, tx: Reading
) -> Response:
    """List sales that stand in no stage or that nobody has touched for thirty days, the oldest first."""
    return doc_response(await legacy_deals.list_legacy_deals(tx, user, filter))


@router.post("/{company_product_id}/close", summary="Close a legacy deal")
async def close_deal(
    company_product_id: UUID, user: User, tx: Transaction, body: legacy_deals.CloseDealIn | None = None
) -> legacy_deals.DealClosedOut:
    """Lose the sale, and resolve what the pipeline had flagged about it."""
    return await legacy_deals.close_deal(tx, user, company_product_id, body or legacy_deals.CloseDealIn())


@router.post("/{company_product_id}/re-engage", summary="Take a legacy deal up again")
async def take_up_deal(company_product_id: UUID, user: User, tx: Transaction) -> legacy_deals.DealTakenUpOut:
    """Begin the sale anew in the first stage of the published process, with a next step in three days."""
    return await legacy_deals.take_up_deal(tx, user, company_product_id)


@router.post("/{company_product_id}/snooze", summary="Leave a legacy deal for a while")
async def snooze_deal(
    company_product_id: UUID, user: User, tx: Transaction, body: legacy_deals.SnoozeDealIn | None = None
) -> legacy_deals.DealSnoozedOut:
    """Leave the deal alone for some days: it is neither listed nor flagged until then."""
    return await legacy_deals.snooze_deal(tx, user, company_product_id, body or legacy_deals.SnoozeDealIn())
