"""
Carrying commands out: load, decide, append, in the caller's transaction.

Under `Database.decide`, what the last command of this process has left is not loaded again; see memory/recall.py.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from memory import events
from memory.callers import Caller
from memory.db import Tx
from memory.events import Event, Stream, StreamMoved
from memory.rows import Row
from tools import company_products, processes, tasks
from tools.company_products import CompanyProductMerged, CompanyProductRow
from tools.lifecycle import asks, decisions, rules, state
from tools.lifecycle.asks import Ask
from tools.lifecycle.course import Course
from tools.lifecycle.facts import ALONE, look_up
from tools.lifecycle.projectors import AGGREGATE
from tools.lifecycle.state import State

STREAM = Stream(AGGREGATE)
ADD_TASK = "add-task"


class EventOut(Row):
    """One event that a command led to, and its place in the history."""

    success: Literal[True] = True
    eventId: UUID
    sequenceNumber: int


async def hold(tx: Tx, company_product_ids: Iterable[UUID]) -> None:
    """
    Lock several histories in one order, so that two transactions that change the same ones do not wait for each other.

    Whoever commands more than one company's product in one transaction calls this first.
    """
    for company_product_id in sorted(set(company_product_ids)):
        await events.load(tx, STREAM, company_product_id)


async def execute(
    tx: Tx,
    caller: Caller,
    company_product_id: UUID,
    *given: Ask,
    pair: tuple[UUID, UUID] | None = None,
    expected_version: int | None = None,
    command: events.Command | None = None,
    permitted: bool = False,
    occurred_at: datetime | None = None,
) -> list[EventOut]:
    """
    Decide these commands one after the other, append what follows from all of them at once, and return it.

    `permitted` says that whoever calls this has judged already that the caller may write; `pair` is the company and the
    product that the caller takes it to be of. A command whose id was carried out before returns what it returned then.

    Raises `CompanyProductNotFound`, `PairForeign`, `CompanyProductMerged`, `NotYours`, `AgentsSuggest`, `StreamMoved`,
    `CommandRepeated`, and the refusals of `rules`.
    """
    known = _recall(tx, company_product_id, given)
    if known is None:
        row = await company_products.get_company_product(tx, caller, company_product_id)
        before = await load_state(tx, company_product_id)
        if command is not None and (kept := await events.find_result(tx, command)) is not None:
            return [EventOut.model_validate(each) for each in kept.result]
    else:
        row, before = known
    if pair is not None:
        company_products.check_pair(row, *pair)
    command = command or events.Command("+".join(dict.fromkeys(ask.action for ask in given)))
    _check_caller(caller, before, given, permitted=permitted)
    if row.merged_into_id is not None:
        raise CompanyProductMerged(mergedInto=str(row.merged_into_id))
    if expected_version not in (None, before.version):
        raise StreamMoved(currentVersion=before.version)
    course = Course(before, occurred_at or tx.now, "automation" if caller.kind == "system" else "manual")
    for ask in given:
        await _take(tx, caller, row, course, ask)
    await _hold_stages(tx, course.events)
    recorded = await events.append(
        tx, caller, STREAM, row.id, before.version, course.events, command=command, occurred_at=course.at
    )
    if recorded:
        tx.remember((AGGREGATE, row.id), (row, course.state))
    elif known is not None:
        raise StreamMoved(currentVersion=before.version)  # nothing is appended, so nothing was compared
    return [EventOut.model_validate(each) for each in events.results(recorded)]


async def load_state(tx: Tx, company_product_id: UUID) -> State:
    """Lock the history until the transaction ends, and return what it has made of the product."""
    return state.replay((await events.load(tx, STREAM, company_product_id)).events)


def _recall(tx: Tx, company_product_id: UUID, given: Sequence[Ask]) -> tuple[CompanyProductRow, State] | None:
    """Return what is remembered, for commands that are decided on nothing else."""
    return tx.recall((AGGREGATE, company_product_id)) if all(isinstance(ask, ALONE) for ask in given) else None


def _check_caller(caller: Caller, it: State, given: Sequence[Ask], *, permitted: bool) -> None:
    if all(isinstance(ask, asks.CreateSuggestionIn) for ask in given):
        return
    if caller.kind == "ai":
        raise rules.AgentsSuggest
    if not (permitted or caller.sees_all or it.owner_id in (None, str(caller.user_id))):
        raise rules.NotYours


async def _take(tx: Tx, caller: Caller, row: CompanyProductRow, course: Course, ask: Ask) -> None:
    """Look up what the command needs and decide it; an accepted suggestion is decided as its own command."""
    if isinstance(ask, asks.CreateSuggestionIn) and ask.suggestedAction is not None:
        _parse(row, ask.suggestedAction.command, ask.suggestedAction.params)
    decisions.take(course, ask, await look_up(tx, row, course.state, ask))
    if isinstance(ask, asks.AcceptSuggestionIn) and ask.executeAction:
        action = course.state.suggestions[str(ask.suggestionId)].action or {}
        proposed = _parse(row, action["command"], {**action["params"], **(ask.modification or {})})
        if isinstance(proposed, tasks.CreateTaskIn):
            await tasks.create_task(tx, caller, proposed)
        else:
            course.trigger = "ai"
            decisions.take(course, proposed, await look_up(tx, row, course.state, proposed))


def _parse(row: CompanyProductRow, command: str, params: dict[str, Any]) -> asks.Action | tasks.CreateTaskIn:
    """Return the command that a suggestion proposes, checked as if a person had sent it."""
    try:
        if command == ADD_TASK:
            about = {"company_id": row.company_id, "company_product_id": row.id}
            return tasks.CreateTaskIn.model_validate(params | about)
        return asks.ACTION.validate_python(params | {"action": command})
    except ValidationError as failure:
        where = (".".join(map(str, each["loc"])) or "command" for each in failure.errors())
        said = (each["msg"] for each in failure.errors())
        raise rules.ActionUnknown(*(f"{place}: {why}" for place, why in zip(where, said, strict=True))) from None


async def _hold_stages(tx: Tx, new: Sequence[Event]) -> None:
    """Keep the stages that are entered from being archived meanwhile."""
    for event in new:
        if event.type not in (state.PROCESS_SET, state.STAGE_SET):
            continue
        stage_id = UUID(event.data.get("to_stage_id") or event.data["initial_stage_id"])
        if not await processes.hold_stage(tx, stage_id):
            raise rules.StageArchived(stage_id=stage_id)
