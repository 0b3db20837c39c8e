"""Deals over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.deps import Reading, Transaction, User
from api.schemas import doc_response
from tools import deal_conversions, deals

router = APIRouter(prefix="/api/deals", tags=["Deals"])


@router.get("", summary="List deals", response_model=deals.DealsOut)
async def list_deals(filter: Annotated[deals.DealFilter, Query()], user: User, tx: Reading) -> Response:
    """List the deals you may see, newest change first; closed ones only when their stage is asked for."""
    return doc_response(await deals.list_deals(tx, user, filter))


@router.post("", summary="Create a deal", status_code=201)
async def create_deal(body: deals.CreateDealIn, user: User, tx: Transaction) -> deals.DealOut:
    """Create a deal in an open stage; you own it."""
    return await deals.create_deal(tx, user, body)


@router.post("/{deal_id}/convert", summary="Convert a deal into sales of products")
async def convert_deal(
    deal_id: UUID, body: deal_conversions.ConvertDealIn, user: User, tx: Transaction
) -> deal_conversions.DealConvertedOut:
    """Go on with a deal as sales of products, each in its own stages; a deal that was converted stays as it is."""
    return await deal_conversions.convert_deal(tx, user, deal_id, body)
