"""Stalled sales: flagged when they stand still, taken back when they move, and left alone when somebody has seen to it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from memory.callers import SYSTEM, Caller
from memory.db import Database, Tx
from tests.given import Given
from tests.tools.sales import a_process, a_sale
from tools import lifecycle
from tools.attention import flags, stalls
from tools.attention.flags import ResolveFlagIn, SnoozeFlagIn

STALE, NO_STEP, GHOSTED = "STALE_IN_STAGE", "NO_NEXT_STEP_AFTER_MEETING", "GHOSTING_AFTER_PROPOSAL"


@pytest.fixture
async def process(given: Given) -> Any:
    return await a_process(given)


async def run(tx: Tx, at: datetime | None = None) -> stalls.StallsOut:
    await tx.finish()
    return await stalls.raise_stalls(Tx(tx.connection, at or tx.now), SYSTEM)


async def counts(tx: Tx, at: datetime | None = None) -> tuple[int, int, int]:
    done = await run(tx, at)
    return done.created, done.updated, done.resolved


async def found(tx: Tx, *, status: str = "open") -> Sequence[str]:
    return await tx.many(
        str,
        "SELECT flag_type || ' ' || severity FROM attention_flags WHERE status = %(status)s ORDER BY 1",
        status=status,
    )


class TestStaleInStage:
    @pytest.mark.parametrize(
        ("stage", "days", "expected"),
        [
            ("Discovery", 4, []), ("Discovery", 5, ["medium"]), ("Discovery", 8, ["high"]), ("Demo", 5, []), ("Demo", 6, ["medium"]),
            ("Demo", 10, ["high"]), ("Proposal sent", 3, []), ("Proposal sent", 4, ["medium"]), ("Negotiation", 3, ["medium"]),
            ("Negotiation", 4, ["high"]), ("Check", 5, []), ("Check", 6, ["medium"]),
        ],
    )  # fmt: skip
    async def test_by_the_words_in_the_stages_name(
        self, tx: Tx, given: Given, process: Any, stage: str, days: int, expected: list[str]
    ):
        sale = await a_sale(given, process, stage=stage, since=given.ago(days=days, hours=1))
        await given.communication(
            user=await given.user(),
            company=await given.fetch("companies", sale.company_id),
            occurred_at=given.ago(hours=5),
        )
        await run(tx)
        assert await found(tx) == [f"{STALE} {severity}" for severity in expected]

    async def test_says_how_long_and_what_to_do(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process, stage="Demo", since=given.ago(days=7))
        assert (await run(tx)).model_dump() == {
            "success": True, "created": 1, "updated": 0, "resolved": 0, "processed": 1,
            "debug": {"total_company_products": 1, "with_current_stage_id": 1, "eligible_after_terminal_exclusion": 1},
            "message": "1 open sales: 1 flags raised, 0 brought up to date, 0 resolved.",
        }  # fmt: skip
        flag = (await flags.list_flags(tx, SYSTEM, flags.FlagFilter(scope="all"))).parse().flags[0]
        assert (flag.company_id, flag.company_product_id, flag.source_type, flag.owner) == (
            sale.company_id, sale.id, "pipeline", "human",
        )  # fmt: skip
        assert flag.reason == "7 days in Demo, where 5 are usual."

    async def test_a_workspace_has_its_own_days(self, tx: Tx, given: Given, process: Any):
        await given.workspace(stall_days={"Check": 1}, stall_days_otherwise=20)
        for stage in ("Check", "Demo"):
            await a_sale(given, process, stage=stage, since=given.ago(days=10))
        assert await counts(tx) == (1, 0, 0)

    async def test_a_second_run_raises_nothing_and_a_later_one_makes_it_graver(
        self, tx: Tx, given: Given, process: Any
    ):
        await a_sale(given, process, stage="Demo", since=given.ago(days=6))
        assert [await counts(tx), await counts(tx)] == [(1, 0, 0), (0, 0, 0)]
        assert await counts(tx, given.ahead(days=6)) == (0, 1, 0)
        assert await found(tx) == [f"{STALE} high"]

    async def test_is_taken_back_when_the_sale_moves_on(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process, stage="Discovery", since=given.ago(days=9))
        await run(tx)
        await lifecycle.execute(tx, SYSTEM, sale.id, lifecycle.AdvanceStageIn(toStageId=process.stages["Demo"].id))
        assert await counts(tx) == (0, 0, 1)
        flag = (await flags.list_flags(tx, SYSTEM, flags.FlagFilter(scope="all"))).parse().flags[0]
        assert (flag.status, flag.resolved_by, flag.resolution_notes) == ("resolved", None, "The reason has gone.")

    @pytest.mark.parametrize("outcome", ["won", "lost"])
    async def test_is_taken_back_when_the_sale_is_over(self, tx: Tx, given: Given, process: Any, outcome: Any):
        sale = await a_sale(given, process, stage="Proposal sent", since=given.ago(days=9))
        assert await counts(tx) == (2, 0, 0)
        await lifecycle.execute(tx, SYSTEM, sale.id, lifecycle.CloseSaleIn(outcome=outcome))
        assert await counts(tx) == (0, 0, 2)
        assert (await run(tx)).processed == 0

    async def test_leaves_flags_of_people_alone(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process, stage="Discovery")
        company = await given.fetch("companies", sale.company_id)
        await given.flag(company=company, company_product_id=sale.id, flag_type=STALE)
        assert await counts(tx) == (0, 0, 0)


class TestAsleep:
    async def test_a_snoozed_sale_is_not_flagged(self, tx: Tx, given: Given, process: Any):
        await a_sale(given, process, since=given.ago(days=9), snoozed_until=given.ahead(days=1))
        done = await run(tx)
        assert (done.created, done.processed) == (0, 0)
        assert await counts(tx, given.ahead(days=2)) == (1, 0, 0)

    async def test_a_snoozed_flag_stays_snoozed_and_up_to_date(self, tx: Tx, given: Given, process: Any):
        await a_sale(given, process, stage="Demo", since=given.ago(days=6))
        await run(tx)
        flag = (await flags.list_flags(tx, SYSTEM, flags.FlagFilter(scope="all"))).parse().flags[0]
        await flags.snooze_flag(tx, SYSTEM, flag.id, SnoozeFlagIn(snooze_until=given.ahead(days=30)))
        assert await counts(tx, given.ahead(days=6)) == (0, 1, 0)
        assert await found(tx, status="snoozed") == [f"{STALE} high"]


class TestNoNextStep:
    async def met(self, given: Given, company_id: Any, **values: Any) -> None:
        given_values: dict[str, Any] = {"type": "meeting_held", "occurred_at": given.ago(days=2)} | values
        await given.activity(company=await given.fetch("companies", company_id), **given_values)

    async def test_after_a_meeting(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process)
        await self.met(given, sale.company_id)
        assert (await counts(tx), await found(tx)) == ((1, 0, 0), [f"{NO_STEP} medium"])

    @pytest.mark.parametrize(
        "values",
        [{"days": 8}, {"days": -1, "type": "calendar_event"}, {"type": "call_made"}, {"match_status": "excluded"}],
    )
    async def test_not_after_what_was_no_meeting_or_long_ago(
        self, tx: Tx, given: Given, process: Any, values: dict[str, Any]
    ):
        sale = await a_sale(given, process)
        moment = given.ago(days=values.pop("days", 2))
        await self.met(given, sale.company_id, occurred_at=moment, **values)
        assert await counts(tx) == (0, 0, 0)

    async def test_when_the_step_is_overdue_and_not_while_it_lies_ahead(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process)
        await self.met(given, sale.company_id)
        step = lifecycle.SetNextStepDueIn(nextStep="Call", dueDate=given.ahead(days=1))
        await lifecycle.execute(tx, SYSTEM, sale.id, step)
        assert await counts(tx) == (0, 0, 0)
        assert await counts(tx, given.ahead(days=2)) == (1, 0, 0)
        later = lifecycle.SetNextStepDueIn(nextStep="Call", dueDate=given.ahead(days=9))
        await lifecycle.execute(tx, SYSTEM, sale.id, later)
        assert await counts(tx, given.ahead(days=2)) == (0, 0, 1)

    async def test_stays_when_the_meeting_grows_old(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process)
        await self.met(given, sale.company_id)
        await run(tx)
        await run(tx, given.ahead(days=20))
        assert f"{NO_STEP} medium" in await found(tx)


class TestGhosting:
    async def heard(self, given: Given, sale: Any, **values: Any) -> None:
        company = await given.fetch("companies", sale.company_id)
        await given.communication(user=await given.user(), company=company, **values)

    @pytest.mark.parametrize(("hours", "raised"), [(5 * 24, True), (5 * 24 - 1, False), (4 * 24, False), (1, False)])
    async def test_when_they_have_not_written_for_five_days(
        self, tx: Tx, given: Given, process: Any, hours: int, raised: bool
    ):
        sale = await a_sale(given, process, stage="Proposal sent")
        await self.heard(given, sale, occurred_at=given.ago(hours=hours))
        await run(tx)
        assert await found(tx) == [f"{GHOSTED} high"] * raised

    async def test_who_never_wrote_is_counted_from_the_stage(self, tx: Tx, given: Given, process: Any):
        await a_sale(given, process, stage="Negotiation", since=given.ago(days=1))
        assert await counts(tx) == (0, 0, 0)
        await run(tx, given.ahead(days=4))
        assert f"{GHOSTED} high" in await found(tx)

    async def test_not_before_the_proposal(self, tx: Tx, given: Given, process: Any):
        await a_sale(given, process, stage="Discovery", since=given.ago(days=4))
        assert await counts(tx) == (0, 0, 0)

    @pytest.mark.parametrize(
        "values", [{"direction": "outbound"}, {"noise_type": "marketing"}, {"excluded_at": datetime.now().astimezone()}]
    )
    async def test_only_their_words_count(self, tx: Tx, given: Given, process: Any, values: dict[str, Any]):
        sale = await a_sale(given, process, stage="Proposal sent")
        await self.heard(given, sale, occurred_at=given.ago(days=6))
        await self.heard(given, sale, occurred_at=given.ago(hours=1), **values)
        await run(tx)
        assert await found(tx) == [f"{GHOSTED} high"]

    async def test_a_message_about_another_product_does_not_count(self, tx: Tx, given: Given, process: Any):
        sale = await a_sale(given, process, stage="Proposal sent", since=given.ago(days=3))
        other = await a_sale(
            given, await a_process(given), company=await given.fetch("companies", sale.company_id), stage="Check"
        )
        await self.heard(given, sale, occurred_at=given.ago(days=6))
        await self.heard(given, sale, occurred_at=given.ago(hours=1), company_product_id=other.id)
        await run(tx)
        assert await found(tx) == [f"{GHOSTED} high"]

    async def test_is_taken_back_within_two_days_of_their_message_and_kept_on_days_three_and_four(
        self, tx: Tx, given: Given, process: Any
    ):
        sale = await a_sale(given, process, stage="Proposal sent", since=given.ago(days=2))
        await self.heard(given, sale, occurred_at=given.ago(days=6))
        await run(tx)
        await self.heard(given, sale, occurred_at=given.ago(hours=1))
        for days, expected in ((4, "open"), (3, "open"), (2, "resolved")):
            await run(tx, given.ahead(days=days))
            assert f"{GHOSTED} high" in await found(tx, status=expected)


class TestHandled:
    @pytest.fixture
    async def sale(self, tx: Tx, given: Given, process: Any) -> Any:
        sale = await a_sale(given, process, stage="Demo", since=given.ago(days=9))
        await run(tx)
        return sale

    async def resolve(self, tx: Tx, caller: Caller) -> None:
        flag = (await flags.list_flags(tx, SYSTEM, flags.FlagFilter(scope="all"))).parse().flags[0]
        await flags.resolve_flag(tx, caller, flag.id, ResolveFlagIn())

    async def test_what_a_person_resolved_is_not_raised_again_that_day(self, tx: Tx, given: Given, sale: Any):
        await self.resolve(tx, await given.user())
        assert await counts(tx, given.ahead(hours=23)) == (0, 0, 0)
        assert await counts(tx, given.ahead(hours=25)) == (1, 0, 0)

    async def test_nor_before_the_next_step_is_due(self, tx: Tx, given: Given, sale: Any):
        await self.resolve(tx, await given.user())
        step = lifecycle.SetNextStepDueIn(nextStep="Call", dueDate=given.ahead(days=3))
        await lifecycle.execute(tx, SYSTEM, sale.id, step)
        assert await counts(tx, given.ahead(days=2)) == (0, 0, 0)
        assert await counts(tx, given.ahead(days=4)) == (1, 0, 0)


class TestOneAtATime:
    async def test_a_second_run_is_refused_while_the_first_is_under_way(self, db: Database):
        async with db.transaction() as first:
            await stalls.raise_stalls(first, SYSTEM)
            async with db.transaction() as second:
                with pytest.raises(stalls.StallsUnderway):
                    await stalls.raise_stalls(second, SYSTEM)
        async with db.transaction() as third:
            assert (await stalls.raise_stalls(third, SYSTEM)).success

    async def test_a_thousand_sales_take_two_statements(self, tx: Tx, given: Given, process: Any):
        await tx.run(
            """
            WITH c AS (INSERT INTO companies (name, normalized_name, segment, industry)
                       SELECT 'Many ' || n, 'many' || n, 'smb', 'other' FROM generate_series(1, 1000) n RETURNING id),
                 q AS (INSERT INTO company_products (company_id, product_id) SELECT id, %(product_id)s FROM c RETURNING id, company_id)
            INSERT INTO company_product_read_model (company_product_id, company_id, product_id, phase, status, current_process_type,
                                                    current_process_id, current_stage_id, current_stage_name, stage_entered_at,
                                                    last_event_at, last_event_type, last_event_sequence)
            SELECT id, company_id, %(product_id)s, 'in_sales', 'in_sales', 'sales', %(process_id)s, %(stage_id)s, 'Demo',
                   %(now)s - interval '9 days', %(now)s, 'x', 0 FROM q
            """,
            product_id=process.product.id,
            process_id=process.id,
            stage_id=process.stages["Demo"].id,
        )
        statements: list[str] = []

        class Counting(Tx):
            async def _execute(self, sql: Any, *args: Any, **kwargs: Any) -> Any:
                statements.append(sql)
                return await super()._execute(sql, *args, **kwargs)

        done = await stalls.raise_stalls(Counting(tx.connection, tx.now + timedelta(seconds=1)), SYSTEM)
        assert (done.created, done.processed) == (1000, 1000)
        assert sum("attention_flags" in sql for sql in statements) == 2
