"""Lifecycle commands over HTTP, and what agents suggest."""

from time import perf_counter
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import ConfigDict, Field

from api.deps import Reading, Services, User
from api.schemas import doc_response
from api.versions import IfMatch, expected_version
from memory.callers import Caller
from memory.db import Tx
from memory.errors import Forbidden
from memory.rows import In, Row
from tools import command_log, lifecycle

router = APIRouter(prefix="/api/lifecycle", tags=["Lifecycle"])


class ForeignActor(Forbidden):
    """Whoever is signed in acts; another actor cannot be named."""


def _needs_action(schema: dict[str, Any]) -> None:
    schema["required"] = ["action", *schema.get("required", ())]


class Addressed(In):
    """Which product of which company is meant, and the version that the command was decided on."""

    model_config = ConfigDict(json_schema_extra=_needs_action)

    companyProductId: UUID
    companyId: UUID
    productId: UUID
    expectedVersion: int | None = Field(default=None, ge=0, le=2**31 - 1)
    actorId: str | None = Field(default=None, max_length=200)
    actorType: Literal["user", "system", "ai"] | None = None


class StartSale(Addressed, lifecycle.StartSaleIn):
    """Begin selling."""


class AdvanceStage(Addressed, lifecycle.AdvanceStageIn):
    """Go to another stage."""


class SetPhase(Addressed, lifecycle.SetPhaseIn):
    """Go to another phase."""


class SetOwner(Addressed, lifecycle.SetOwnerIn):
    """Give it to somebody."""


class SetTier(Addressed, lifecycle.SetTierIn):
    """Change its tier."""


class SetMrr(Addressed, lifecycle.SetMrrIn):
    """Change what it brings in."""


class SetSeats(Addressed, lifecycle.SetSeatsIn):
    """Change its seats."""


class SetNextStepDue(Addressed, lifecycle.SetNextStepDueIn):
    """Say what is next."""


class CompleteProcess(Addressed, lifecycle.CompleteProcessIn):
    """End the open process."""


class CompleteSaleStartOnboarding(Addressed, lifecycle.CompleteSaleStartOnboardingIn):
    """Win the sale."""


class CompleteOnboardingStartEngagement(Addressed, lifecycle.CompleteOnboardingStartEngagementIn):
    """End the onboarding."""


class AddNote(Addressed, lifecycle.AddNoteIn):
    """Write something down."""


class RecordActivity(Addressed, lifecycle.RecordActivityIn):
    """Record what was done."""


class AcceptSuggestion(Addressed, lifecycle.AcceptSuggestionIn):
    """Accept what an agent proposes."""


class DismissSuggestion(Addressed, lifecycle.DismissSuggestionIn):
    """Turn it down."""


AnyCommand = Annotated[
    StartSale
    | AdvanceStage
    | SetPhase
    | SetOwner
    | SetTier
    | SetMrr
    | SetSeats
    | SetNextStepDue
    | CompleteProcess
    | CompleteSaleStartOnboarding
    | CompleteOnboardingStartEngagement
    | AddNote
    | RecordActivity
    | AcceptSuggestion
    | DismissSuggestion,
    Field(discriminator="action"),
]


class Projection(Row):
    """What the command brought along: events, and milliseconds until they and the read models were committed."""

    eventsProcessed: int
    duration: float


class CommandedOut(Row):
    """The events that followed, none when nothing would change."""

    success: Literal[True] = True
    result: list[lifecycle.EventOut]
    projection: Projection


@router.post("/commands", summary="Command a company's product")
async def command(
    body: AnyCommand, request: Request, user: User, services: Services, if_match: IfMatch = None
) -> CommandedOut:
    """
    Carry one command out: `action` says which, beside it stands what it needs.

    A command decided on another version than the product is at is refused with 409 and `currentVersion`.
    """
    _check_actor(user, body)
    began, row_id = perf_counter(), body.companyProductId
    version = expected_version(if_match, body.expectedVersion)
    command = command_log.command_of(user, body.action, body, request.headers.get("idempotency-key"))
    pair = (body.companyId, body.productId)

    async def work(tx: Tx) -> list[lifecycle.EventOut]:
        return await lifecycle.execute(tx, user, row_id, body, pair=pair, expected_version=version, command=command)

    done = await command_log.attempt(services.db, user, body.action, lifecycle.AGGREGATE, row_id, work)
    took = Projection(eventsProcessed=len(done), duration=round((perf_counter() - began) * 1000, 2))
    return CommandedOut(result=done, projection=took)


@router.get("/suggestions", summary="List what agents suggest", response_model=lifecycle.SuggestionsOut)
async def list_suggestions(filter: Annotated[lifecycle.SuggestionFilter, Query()], user: User, tx: Reading) -> Response:
    """List what agents suggest for products that you may change; accept or dismiss with a command."""
    return doc_response(await lifecycle.list_suggestions(tx, user, filter))


def _check_actor(user: Caller, body: Addressed) -> None:
    """
    Refuse a body that names somebody else: who acts is known from the session.

    Raises `ForeignActor`.
    """
    if body.actorType not in (None, "user") or body.actorId not in (None, str(user.user_id), user.auth_id):
        raise ForeignActor
