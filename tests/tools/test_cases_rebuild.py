"""Whatever people do to cases, in whatever order: the read models are what a rebuild makes of the events."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from memory import events, projections
from memory.callers import SYSTEM, Caller
from memory.db import Database, Tx, clock
from memory.errors import Refusal
from tests.given import Given
from tools.cases import handling
from tools.cases import projectors as registered
from tools.cases.commands import SEVERITIES, STATUSES, AnyCommand, Command
from tools.cases.state import STREAM, CaseState, replay

NAMES = ("support_case_read_model", "support_case_sla_facts", "open_case_counts")
COMMANDS: TypeAdapter[Command] = TypeAdapter(AnyCommand)
WORDS = st.sampled_from(["a", "b", "ü 💥", 'it\'s \\ "so"'])
SLA_TYPES = st.sampled_from(["first_response", "resolution", "update"])
assert registered.AGGREGATE == "support_case"


def command(name: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"command": st.just(name)} | fields)


STEPS = st.one_of(
    command("assign", owner_id=st.sampled_from(["rep", "manager"]), team=st.none() | WORDS),
    command("change_status", to_status=st.sampled_from(STATUSES), reason=st.none() | WORDS),
    command("change_severity", to_severity=st.sampled_from(SEVERITIES)),
    command("change_category", category=WORDS, subcategory=st.none() | WORDS),
    command("set_next_action", action=WORDS, due_at=st.just("2026-05-01T00:00:00Z"), assigned_to_id=st.sampled_from([None, "rep"])),
    command("log_message", channel=st.just("email"), content_preview=st.none() | WORDS),
    command("log_response", channel=st.just("chat")),
    command("log_response", channel=st.just("phone")),
    command("add_note", content=WORDS, visibility=st.sampled_from(["private", "team"])),
    command("configure_sla", sla_type=SLA_TYPES, target_hours=st.sampled_from([0.5, 3, 50.25])),
    command("escalate", reason=WORDS, escalation_level=st.none() | st.integers(1, 4)),
    command("resolve", resolution_summary=WORDS, root_cause=st.none() | WORDS),
    command("close", close_reason=st.sampled_from(["resolved", "no_response", "cancelled"]), force_close=st.booleans()),
    command("reopen", reason=WORDS),
    command("submit_csat", score=st.integers(1, 5), comment=st.none() | WORDS),
    command("add_tag", tag=WORDS),
    command("remove_tag", tag=WORDS),
    st.just({"command": "scan"}),
)  # fmt: skip
PLANS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.4, 1.0, 7.5, 60.0]), st.booleans(), STEPS),
    min_size=5,
    max_size=30,
)


class Desk:
    """Four cases of two companies, and two people who work on them."""

    def __init__(self, tx: Tx, rep: Caller, manager: Caller, cases: list[UUID]) -> None:
        self.tx, self.rep, self.manager, self.cases = tx, rep, manager, cases

    @classmethod
    async def open(cls, tx: Tx) -> "Desk":
        given = Given(tx)
        rep, manager = await given.user(), await given.user("manager")
        company, product = await given.company(), await given.product()
        held = await given.held(product, company=company)
        await given.row(
            "support_sla_config", product_id=product.id, severity="high", first_response_hours=1, resolution_hours=5
        )
        made = [
            await given.case(held=held, severity="high", category="x"),
            await given.case(held=held, severity="critical"),
            await given.case(company=company, contact_name="Ann"),
            await given.case(severity="low", description="y", external_id="7"),
        ]
        return cls(tx, rep, manager, [case.id for case in made])

    async def take(self, case: int, hours: float, as_manager: bool, step: dict[str, Any]) -> None:
        """Do one step; what the rules refuse is not done."""
        self.tx.now += timedelta(hours=hours)
        if step["command"] == "scan":
            await handling.record_due(self.tx, self.cases[case])
            return
        people = {"rep": self.rep.user_id, "manager": self.manager.user_id}
        told = {name: people.get(value, value) if name.endswith("_id") else value for name, value in step.items()}
        try:
            caller = self.manager if as_manager else self.rep
            await handling.execute(self.tx, caller, self.cases[case], COMMANDS.validate_python(told))
        except Refusal:
            return

    async def state(self, case_id: UUID) -> CaseState:
        return replay(await events.read(self.tx, STREAM, case_id))


async def check_against_states(desk: Desk) -> None:
    """Compare what the projectors folded with what the aggregate folded."""
    for case_id in desk.cases:
        state = await desk.state(case_id)
        [row] = await desk.tx.tuples(
            """
            SELECT status, severity, owner_id::text, assigned_team, tags, next_action, last_agent_response_at, escalation_level,
                   last_event_sequence
              FROM support_case_read_model WHERE support_case_id = %(case_id)s
            """,
            case_id=case_id,
        )
        assert row == (
            state.status, state.severity, state.owner_id, state.assigned_team, state.tags, state.next_action, state.last_response_at,
            state.escalation_level, state.version,
        )  # fmt: skip
        running = await desk.tx.tuples(
            """
            SELECT sla_type, due_at, is_breached, warned_at IS NOT NULL FROM support_case_sla_facts
             WHERE support_case_id = %(case_id)s AND stopped_at IS NULL ORDER BY sla_type
            """,
            case_id=case_id,
        )
        assert running == [
            (kind, each.due_at, each.breached, each.warned) for kind, each in sorted(state.clocks.items())
        ]


async def check_counts(desk: Desk) -> None:
    """Compare what is counted with what the cases' histories add up to."""
    for table, key in (
        ("company_open_case_counts", "company_id"),
        ("company_product_open_case_counts", "company_product_id"),
    ):
        places: dict[UUID, list[CaseState]] = {}
        for case_id in desk.cases:
            [(place,)] = await desk.tx.tuples(f"SELECT {key} FROM support_cases WHERE id = %(id)s", id=case_id)  # pyright: ignore[reportArgumentType]
            if place is not None:
                places.setdefault(place, []).append(await desk.state(case_id))
        counted = await desk.tx.tuples(f"SELECT {key}, total_open, waiting_count, escalated_count, high_count, critical_count, at_risk_count FROM {table}")  # pyright: ignore[reportArgumentType]  # fmt: skip
        assert {row[0]: row[1:] for row in counted} == {place: add_up(states) for place, states in places.items()}


def add_up(states: list[CaseState]) -> tuple[int, ...]:
    working = [state for state in states if state.is_working]
    at_risk = [state for state in working if any(each.warned and not each.breached for each in state.clocks.values())]
    statuses, severities = [state.status for state in working], [state.severity for state in working]
    waiting = statuses.count("waiting_on_customer") + statuses.count("waiting_on_internal")
    graves = severities.count("high"), severities.count("critical")
    return len(working), waiting, statuses.count("escalated"), *graves, len(at_risk)


async def play(url: str, plan: list[Any]) -> None:
    connection = await psycopg.AsyncConnection.connect(url)
    try:
        desk = await Desk.open(Tx(connection, clock()))
        for step in plan:
            await desk.take(*step)
        await desk.tx.finish()
        await check_against_states(desk)
        await check_counts(desk)
        projectors = projections.known(NAMES)
        live = await projections.snapshot(desk.tx, projectors)
        assert await projections.rebuild(desk.tx, projectors) == live
        for portion in (1, 7):
            await empty(desk.tx)
            await projections.replay_in_order(
                desk.tx, projectors, await projections.latest_sequence(desk.tx), portion=portion
            )
            assert await projections.snapshot(desk.tx, projectors) == live, portion
    finally:
        await connection.rollback()
        await connection.close()


async def empty(tx: Tx) -> None:
    await tx.run("DELETE FROM support_case_read_model")
    await tx.run("DELETE FROM support_case_sla_facts")
    await tx.run("DELETE FROM company_product_open_case_counts")
    await tx.run("DELETE FROM company_open_case_counts")


class TestRebuild:
    def test_makes_what_was_there(self, worker_url: str):
        @settings(max_examples=25, deadline=None)
        @having(PLANS)
        def whatever_happens(plan: list[Any]) -> None:
            asyncio.run(play(worker_url, plan))

        whatever_happens()


class TestTogether:
    async def test_cases_of_one_company_changed_at_once_are_all_counted(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            held = await given.held(await given.product())
            made = [await given.case(held=held) for _ in range(24)]

        async def resolve(case: Any) -> None:
            async with db.transaction() as tx:
                asked = COMMANDS.validate_python({"command": "resolve", "resolution_summary": "x"})
                await handling.execute(tx, SYSTEM, case.id, asked)

        await asyncio.gather(*(resolve(case) for case in made[:19]))
        async with db.reading() as tx:
            counted = await tx.tuples(
                """
                SELECT p.total_open, c.total_open FROM company_product_open_case_counts p, company_open_case_counts c
                 WHERE p.company_product_id = %(id)s AND c.company_id = %(company_id)s
                """,
                id=held.id,
                company_id=held.company_id,
            )
        assert counted == [(5, 5)]

    async def test_of_two_who_decided_on_one_version_one_is_refused(self, db: Database):
        async with db.transaction() as tx:
            case = await Given(tx).case()

        async def tag(number: int) -> int:
            asked = {"command": "add_tag", "tag": f"t{number}", "expectedVersion": case.version}
            try:
                async with db.transaction() as tx:
                    await handling.execute(tx, SYSTEM, case.id, COMMANDS.validate_python(asked))
            except events.StreamMoved as moved:
                return int(moved.body["currentVersion"])
            return 0

        assert sorted(await asyncio.gather(*map(tag, range(8)))) == [0] + [case.version + 1] * 7

    async def test_those_who_decided_on_none_all_come_through(self, db: Database):
        async with db.transaction() as tx:
            case = await Given(tx).case()

        async def tag(number: int) -> None:
            async with db.transaction() as tx:
                asked = COMMANDS.validate_python({"command": "add_tag", "tag": f"t{number}"})
                await handling.execute(tx, SYSTEM, case.id, asked)

        await asyncio.gather(*map(tag, range(12)))
        async with db.reading() as tx:
            tags = await tx.one(list[str], "SELECT tags FROM support_case_read_model")
            sequences = await tx.many(int, "SELECT sequence_number FROM event_store ORDER BY global_sequence")
        assert sorted(tags) == sorted(f"t{number}" for number in range(12))
        assert sequences == list(range(1, case.version + 13))
