"""Whatever people do to products, in whatever order: the read models are what a rebuild makes of the events."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from hypothesis import given as having
from hypothesis import settings
from hypothesis import strategies as st
from psycopg import sql
from pydantic import TypeAdapter

from memory import events, projections
from memory.callers import SYSTEM, Caller
from memory.db import Database, Tx, clock
from memory.errors import Refusal
from memory.events import StreamMoved
from tests.given import Given
from tools import lifecycle
from tools.lifecycle import evaluating, moving, sla, state
from tools.lifecycle.projectors import AGGREGATE

NAMES = [
    "company_product_read_model", "company_product_stage_facts", "sla_breach_facts", "ai_suggestions", "pipeline_stage_counts",
]  # fmt: skip
TABLES = (
    "company_product_read_model", "company_product_stage_facts", "sla_breach_facts", "ai_suggestions_read_model",
    "product_pipeline_stage_counts", "pipeline_dirty_stages",
)  # fmt: skip
COUNTS = "pipeline_stage_counts"
ASK: TypeAdapter[Any] = TypeAdapter(lifecycle.Ask)
WORDS = st.sampled_from(["a", "ü 💥", 'it\'s \\ "so"'])
MAYBE = st.none() | WORDS
SALES = (
    {"name": "Lead", "sla_warning_days": 2, "sla_days": 4}, {"name": "Demo", "sla_days": 3}, "Offer",
    {"name": "Won", "terminal_type": "won"}, {"name": "Lost", "terminal_type": "lost"},
)  # fmt: skip
ONBOARDING = (
    {"name": "Setup", "sla_warning_days": 1, "sla_days": 1}, "Training", {"name": "Done", "terminal_type": "completed"},
    {"name": "Gone", "terminal_type": "churned"},
)  # fmt: skip
ENGAGEMENT = ("Adopting", "Growing", {"name": "Left", "terminal_type": "churned"})
WAYS = {"sales": ("lead", "demo", "offer"), "onboarding": ("setup", "training"), "engagement": ("adopting", "growing")}
ENDS = {
    "sales": (("won", "won"), ("lost", "lost")),
    "onboarding": (("done", "completed"), ("gone", "churned")),
    "engagement": (("left", "churned"),),
}
STAGE = st.sampled_from(
    ["lead", "demo", "offer", "won", "lost", "setup", "training", "done", "gone", "growing", "left"]
)


def step(action: str, **fields: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"action": st.just(action)} | fields)


PEOPLES = st.one_of(
    step("start-sale", processId=st.just("sales"), initialStageId=st.none() | STAGE),
    step("start-sale", processId=st.just("sales")),
    step("advance-stage", toStageId=STAGE, reason=MAYBE),
    step("advance-stage", toStageId=STAGE),
    step("set-phase", toPhase=st.sampled_from(list(state.MACHINE)[1:]), reason=MAYBE, churnReason=MAYBE),
    step("complete-process", terminalStageId=STAGE, outcome=st.sampled_from(["won", "lost", "completed", "churned"])),
    step("complete-sale-start-onboarding", notes=MAYBE),
    step("complete-onboarding-start-engagement"),
    step("set-owner", ownerId=st.sampled_from(["rep", "manager"])),
    step("set-tier", tier=st.integers(1, 5)),
    step("set-mrr", mrr=st.sampled_from(["0", "10.5", "9999999999.99"]), currency=st.sampled_from([None, "EUR"])),
    step("set-seats", seats=st.integers(0, 3)),
    step("set-next-step-due", nextStep=WORDS, dueDate=st.just("2026-05-01T00:00:00Z")),
    step("add-note", content=WORDS),
    step("record-activity", activityType=st.just("call_made"), summary=MAYBE),
    step("create-suggestion", suggestionType=st.just("other"), title=WORDS, description=WORDS,
         confidence=st.sampled_from([0, 0.5, 1]), sourceType=st.just("email"),
         suggestedAction=st.sampled_from([None, {"command": "set-tier", "params": {"tier": 3}}])),
    step("accept-suggestion", executeAction=st.booleans()),
    step("dismiss-suggestion", feedback=MAYBE),
)  # fmt: skip
SERVICES = st.one_of(
    step("close-sale", outcome=st.sampled_from(["won", "lost", "cancelled"]), reason=MAYBE),
    step("restart-sale", processId=st.just("sales"), stageId=st.none() | STAGE),
    step("adopt", toPhase=st.sampled_from(["onboarding", "active"]), reason=WORDS, effectiveAt=st.sampled_from([None, "2020-01-01T00:00:00Z"])),
    step("scan"),
    step("evaluate"),
    step("catch up"),
)  # fmt: skip
# Something that the rules allow just now; blind steps alone seldom get far.
SENSIBLE = st.fixed_dictionaries({"action": st.just("move"), "pick": st.integers(0, 30)})
PLANS = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.sampled_from([0.0, 5.0, 30.0, 75.0, 120.0]),
        st.integers(0, 2),
        st.one_of(SENSIBLE, SENSIBLE, SENSIBLE, PEOPLES, SERVICES),
    ),
    min_size=25,
    max_size=60,
)


class Floor:
    """Four companies' products, two people and an agent; one of the products has a sale only."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.rows: list[UUID] = []
        self.ids: list[dict[str, Any]] = []
        self.suggested: dict[UUID, list[str]] = {}

    @classmethod
    async def open(cls, tx: Tx) -> "Floor":
        floor, given = cls(tx), Given(tx)
        floor.people = [await given.user(), await given.user("manager"), (await given.user()).for_run(uuid4())]
        whole, bare = await given.product(), await given.product()
        processes = [
            {"sales": await given.process(whole, stages=SALES), "onboarding": await given.process(whole, "onboarding", stages=ONBOARDING),
             "engagement": await given.process(whole, "engagement", stages=ENGAGEMENT)},
            {"sales": await given.process(bare, stages=SALES)},
        ]  # fmt: skip
        for product in (whole, whole, whole, bare):
            its = processes[product is bare]
            row = await given.held(product)
            stages = {name: stage.id for process in its.values() for name, stage in process.stages.items()}
            floor.rows.append(row.id)
            floor.ids.append(stages | {kind: process.id for kind, process in its.items()})
        await tx.run("INSERT INTO projector_checkpoints (projector_name) VALUES (%(name)s)", name=COUNTS)
        return floor

    people: list[Caller]

    async def take(self, place: int, hours: float, who: int, step: dict[str, Any]) -> None:
        """Do one step; what the rules refuse is not done."""
        self.tx.now += timedelta(hours=hours)
        row = self.rows[place]
        match step["action"]:
            case "scan":
                await sla.record_due(self.tx, row)
            case "evaluate":
                await evaluating.evaluate(self.tx, row)
            case "catch up":
                await self.catch_up()
            case "move":
                moves = self._moves(place, await lifecycle.load_state(self.tx, row))
                await self._ask(row, self.people[1], moves[step["pick"] % len(moves)])
            case _:
                await self._ask(row, self.people[who], self._told(place, step))

    async def _ask(self, row: UUID, caller: Caller, told: dict[str, Any]) -> None:
        try:
            ask = ASK.validate_python(told)
            await lifecycle.execute(self.tx, caller, row, ask)
        except Refusal:
            return
        if isinstance(ask, lifecycle.CreateSuggestionIn):
            self.suggested.setdefault(row, []).append(str(ask.suggestionId))

    def _moves(self, place: int, it: state.State) -> list[dict[str, Any]]:
        """Every move that is allowed from here, along the open process first."""
        phases = [{"action": "set-phase", "toPhase": phase} for phase in state.MACHINE[it.phase]]
        if not it.process_open:
            return [{"action": "start-sale", "processId": self.ids[place]["sales"]}, *phases]
        others = [self.ids[place][name] for name in WAYS[it.process_type or ""]]
        forth = [{"action": "advance-stage", "toStageId": each} for each in others if str(each) != it.stage_id]
        ends = [
            {"action": "complete-process", "terminalStageId": self.ids[place][name], "outcome": outcome}
            for name, outcome in ENDS[it.process_type or ""]
        ]
        return forth * 2 + ends + phases

    def _told(self, place: int, step: dict[str, Any]) -> dict[str, Any]:
        known = self.ids[place] | {"rep": self.people[0].user_id, "manager": self.people[1].user_id}
        told = {name: known.get(each, uuid4()) if name.endswith("Id") and each else each for name, each in step.items()}
        if step["action"] in {"accept-suggestion", "dismiss-suggestion"}:
            told["suggestionId"] = self.suggested.get(self.rows[place], [str(uuid4())])[-1]
        return told

    async def catch_up(self, size: int = 7) -> None:
        """What the job does, in this transaction."""
        await self.tx.finish()
        seen = size
        while seen == size:
            seen = await self.tx.one(
                int,
                "SELECT catch_up_events(%(name)s, %(kind)s, %(size)s, %(now)s)",
                name=COUNTS,
                kind=AGGREGATE,
                size=size,
            )
        await self.tx.tuples("SELECT settle_pipeline_stage_counts()")

    async def empty(self) -> None:
        for table in TABLES:
            await self.tx.connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))

    async def check_against_states(self) -> None:
        """Compare what the projectors folded with what the aggregate folded, and that with its own rules."""
        for row in self.rows:
            it = state.replay(await events.read(self.tx, lifecycle.STREAM, row))
            check_rules(it)
            if it.version == 0:
                continue
            [found] = await self.tx.tuples(
                """
                SELECT m.phase, m.status, m.current_process_id IS NOT NULL AND m.process_completed_at IS NULL,
                       m.current_process_id::text, m.current_stage_id::text, m.is_sla_warning, m.is_sla_breached,
                       m.owner_id::text, m.tier, m.mrr::text, m.seats, m.next_step, m.health_score, m.last_event_sequence,
                       (SELECT f.stage_id::text FROM company_product_stage_facts f
                         WHERE f.company_product_id = m.company_product_id AND f.exited_at IS NULL),
                       (SELECT count(*) FROM ai_suggestions_read_model s
                         WHERE s.company_product_id = m.company_product_id AND s.status = 'pending')
                  FROM company_product_read_model m WHERE m.company_product_id = %(row)s
                """,
                row=row,
            )
            pending = sum(each.status == "pending" for each in it.suggestions.values())
            assert found == (
                it.phase, state.derive_status(it.phase, it.ended_type, it.ended_outcome), it.process_open, it.process_id,
                it.stage_id, it.is_warned, it.is_breached, it.owner_id, it.tier, it.mrr, it.seats, it.next_step,
                it.health_score, it.version, it.stage_id if it.process_open else None, pending,
            )  # fmt: skip


def check_rules(it: state.State) -> None:
    """A process is open only in its own phase, and is in one of its stages."""
    phase_of = {"sales": "in_sales", "onboarding": "onboarding", "engagement": "active"}
    if it.process_open:
        assert it.process_type is not None
        assert it.phase == phase_of[it.process_type]
        assert it.stage_id is not None
        assert it.transitions >= 1
    elif it.ended_type is not None:
        assert it.ended_outcome in (*moving.ENDS[it.ended_type], "churned")


async def play(url: str, plan: list[Any]) -> None:
    connection = await psycopg.AsyncConnection.connect(url)
    try:
        floor = await Floor.open(Tx(connection, clock()))
        for each in plan:
            await floor.take(*each)
        await floor.catch_up()
        await floor.check_against_states()
        projectors = projections.known(NAMES)
        live = await projections.snapshot(floor.tx, projectors)
        assert await projections.rebuild(floor.tx, projectors) == live
        for portion in (1, 7):
            await floor.empty()
            latest = await projections.latest_sequence(floor.tx)
            await projections.replay_in_order(floor.tx, projectors, latest, portion=portion)
            assert await projections.snapshot(floor.tx, projectors) == live, portion
        await check_twice(floor, projectors, live)
    finally:
        await connection.rollback()
        await connection.close()


async def check_twice(floor: Floor, projectors: Any, live: Any) -> None:
    """Events that were projected already change nothing."""
    latest = await projections.latest_sequence(floor.tx)
    for portion in (500, 3):
        await projections.replay_in_order(floor.tx, projectors, latest, portion=portion)
        assert await projections.snapshot(floor.tx, projectors) == live, portion


class TestRebuild:
    def test_makes_what_was_there(self, worker_url: str) -> None:
        @settings(max_examples=30, deadline=None)
        @having(PLANS)
        def whatever_happens(plan: list[Any]) -> None:
            asyncio.run(play(worker_url, plan))

        whatever_happens()

    async def test_reads_events_of_older_times(self, tx: Tx, given: Any) -> None:
        row = await given.held(await given.product())
        legacy = events.Event(
            "CompanyProductHealthUpdated", {"from_score": None, "to_score": 40, "factors": [{"code": "quiet"}]}
        )
        unknown = events.Event("CompanyProductRepainted", {"color": "red"})
        await events.append(tx, SYSTEM, lifecycle.STREAM, row.id, await _begun(tx, row.id), [legacy, unknown])
        await tx.finish()
        projectors = projections.known(NAMES[:4])
        live = await projections.snapshot(tx, projectors)
        found = await tx.tuples(
            "SELECT health_score, risk_factors, last_event_type, last_event_sequence FROM company_product_read_model"
        )
        assert found == [(40, [{"code": "quiet"}], "CompanyProductRepainted", 2)]
        assert await projections.rebuild(tx, projectors) == live

    async def test_keeps_the_company_that_a_row_was_given_to(self, tx: Tx, given: Any) -> None:
        product = await given.product()
        process = await given.process(product)
        row, heir, me = await given.held(product), await given.company(), await given.user()
        await lifecycle.execute(tx, me, row.id, lifecycle.StartSaleIn(processId=process.id))
        await tx.run("UPDATE company_products SET company_id = %(heir)s WHERE id = %(id)s", heir=heir.id, id=row.id)
        await tx.finish()
        projectors = projections.known(NAMES[:4])
        live = await projections.snapshot(tx, projectors)
        assert await projections.rebuild(tx, projectors) == live


async def _begun(tx: Tx, row: UUID) -> int:
    return (await events.load(tx, lifecycle.STREAM, row)).version


class TestTogether:
    async def test_exactly_one_writer_wins_each_version(self, db: Database) -> None:
        async with db.transaction() as tx:
            row = await Given(tx).held(await Given(tx).product())

        async def write(number: int, version: int) -> bool:
            try:
                async with db.transaction() as tx:
                    ask = lifecycle.AddNoteIn(content=f"{number}")
                    await lifecycle.execute(tx, SYSTEM, row.id, ask, expected_version=version)
            except StreamMoved:
                return False
            return True

        for version in range(5):
            assert sum(await asyncio.gather(*(write(number, version) for number in range(6)))) == 1
        async with db.reading() as tx:
            sequences = await tx.many(int, "SELECT sequence_number FROM event_store ORDER BY global_sequence")
        assert sequences == [1, 2, 3, 4, 5]

    async def test_two_who_change_two_rows_do_not_wait_for_each_other(self, db: Database) -> None:
        async with db.transaction() as tx:
            given = Given(tx)
            product = await given.product()
            rows = [(await given.held(product)).id for _ in range(2)]

        async def write(number: int) -> None:
            async with db.transaction() as tx:
                order = rows if number % 2 else rows[::-1]
                await lifecycle.hold(tx, order)
                for row in order:
                    await lifecycle.execute(tx, SYSTEM, row, lifecycle.SetSeatsIn(seats=number))

        await asyncio.wait_for(asyncio.gather(*map(write, range(10))), timeout=20)
        async with db.reading() as tx:
            counted = await tx.tuples("SELECT count(*) FROM event_store GROUP BY aggregate_id")
        assert counted == [(10,), (10,)]
