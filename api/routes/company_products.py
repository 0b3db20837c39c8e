"""What a company has of a product, over HTTP."""

from typing import Literal
from uuid import UUID

from fastapi import APIRouter

from api.deps import Services, User
from api.versions import IfMatch, expected_version
from memory.db import Tx
from memory.rows import Row
from tools import command_log, lifecycle

router = APIRouter(prefix="/api/company-products", tags=["Products"])


class StageMovedOut(Row):
    """The event that moved it."""

    success: Literal[True] = True
    eventId: UUID


@router.post("/{company_product_id}/move-stage", summary="Move a company's product to a stage")
async def move_stage(
    company_product_id: UUID, body: lifecycle.MoveStageIn, user: User, services: Services, if_match: IfMatch = None
) -> StageMovedOut:
    """Move it to another stage of its process, or end its sale as won or declined."""
    ask, version = body.ask, expected_version(if_match, body.expectedVersion)

    async def work(tx: Tx) -> list[lifecycle.EventOut]:
        return await lifecycle.execute(tx, user, company_product_id, ask, expected_version=version)

    done = await command_log.attempt(services.db, user, "move-stage", lifecycle.AGGREGATE, company_product_id, work)
    return StageMovedOut(eventId=done[0].eventId)
