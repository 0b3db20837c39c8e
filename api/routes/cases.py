"""Support cases over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response

from api.deps import Reading, Services, Transaction, User
from api.schemas import doc_response
from api.versions import IfMatch, expected_version
from memory.db import Tx
from tools import command_log
from tools.cases import handling, listing, rows
from tools.cases.commands import AnyCommand, CreateCaseIn

router = APIRouter(prefix="/api/cases", tags=["Cases"])


@router.get("", summary="List support cases", response_model=rows.CasesOut)
async def list_cases(filter: Annotated[listing.CaseFilter, Query()], user: User, tx: Reading) -> Response:
    """List cases, the latest opened first unless you say otherwise; `total` counts up to 1,000."""
    return doc_response(await listing.list_cases(tx, user, filter))


@router.post("", summary="Open a support case", status_code=201)
async def open_case(body: CreateCaseIn, request: Request, user: User, tx: Transaction) -> handling.CaseOpenedOut:
    """Open a case. Response, resolution and updates become due by what is configured for its product and severity."""
    command = command_log.command_of(user, "create_case", body, request.headers.get("idempotency-key"))
    return await handling.open_case(tx, user, body, command=command)


@router.get("/{case_id}", summary="Get a support case", response_model=rows.CaseOut)
async def get_case(case_id: UUID, user: User, tx: Reading) -> Response:
    """Get one case with its company, its owner and its version."""
    return doc_response(await listing.get_case(tx, user, case_id))


@router.post("/{case_id}", summary="Command a support case")
async def command_case(
    case_id: UUID, body: AnyCommand, request: Request, user: User, services: Services, if_match: IfMatch = None
) -> handling.CaseChangedOut:
    """
    Carry one command out: `command` says which, beside it stands what it needs.

    A command decided on another version than the case is at is refused with 409 and `currentVersion`.
    """
    asked = body.model_copy(update={"expectedVersion": expected_version(if_match, body.expectedVersion)})
    command = command_log.command_of(user, body.command, body, request.headers.get("idempotency-key"))

    async def work(tx: Tx) -> handling.CaseChangedOut:
        return await handling.execute(tx, user, case_id, asked, command=command)

    return await command_log.attempt(services.db, user, asked.command, "support_case", case_id, work)


@router.get("/{case_id}/timeline", summary="Get what happened to a support case")
async def get_timeline(case_id: UUID, user: User, tx: Reading) -> rows.TimelineOut:
    """Get all events of a case, in order. Private notes are shown to whoever wrote them."""
    return await listing.get_timeline(tx, user, case_id)
