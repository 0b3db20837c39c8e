"""Legacy deals: found, lost, taken up again, left alone."""

from typing import Any
from uuid import uuid4

import pytest

from memory.callers import SYSTEM, Caller
from memory.db import Tx
from tests.given import Given
from tests.tools.sales import a_process, a_sale, standing
from tools import legacy_deals, lifecycle
from tools.attention import stalls
from tools.legacy_deals import CloseDealIn, LegacyDealFilter, SnoozeDealIn


@pytest.fixture
async def rep(given: Given) -> Caller:
    return await given.user()


@pytest.fixture
async def process(given: Given) -> Any:
    return await a_process(given, await given.product("Scanner"))


async def listed(tx: Tx, caller: Caller, **filter: Any) -> list[Any]:
    await tx.finish()
    page = (await legacy_deals.list_legacy_deals(tx, caller, LegacyDealFilter(**filter))).parse()
    return [deal.id for deal in page.deals]


class TestList:
    async def test_who_was_never_touched_or_long_ago_the_oldest_first(
        self, tx: Tx, given: Given, process: Any, rep: Caller
    ):
        never = await a_sale(given, process, created_at=given.ago(days=3))
        long_ago = await a_sale(given, process, created_at=given.ago(days=90), last_human_touch_at=given.ago(days=31))
        await a_sale(given, process, last_human_touch_at=given.ago(days=29))
        await a_sale(given, process, snoozed_until=given.ahead(days=1))
        woken = await a_sale(given, process, created_at=given.ago(days=1), snoozed_until=given.ago(days=1))
        over = await a_sale(given, process)
        await lifecycle.execute(tx, SYSTEM, over.id, lifecycle.CloseSaleIn(outcome="lost"))
        await given.row("company_products", company_id=(await given.company()).id, product_id=process.product.id)
        assert await listed(tx, rep, scope="all") == [long_ago.id, never.id, woken.id]
        assert await listed(tx, rep, scope="all", limit=1, offset=1) == [never.id]

    async def test_who_stands_in_no_stage(self, tx: Tx, given: Given, process: Any, rep: Caller):
        row = await given.row(
            "company_products", company_id=(await given.company("Acme")).id, product_id=process.product.id,
            last_human_touch_at=tx.now,
        )  # fmt: skip
        await lifecycle.execute(tx, SYSTEM, row.id, lifecycle.SetPhaseIn(toPhase="in_sales"))
        await tx.finish()
        page = (await legacy_deals.list_legacy_deals(tx, rep, LegacyDealFilter(scope="all"))).parse()
        assert page.model_dump() == {
            "deals": [
                {
                    "id": row.id, "company_id": row.company_id, "company_name": "Acme", "product_id": process.product.id, "product_name": "Scanner",
                    "stage_id": None, "stage_name": None, "last_human_touch_at": tx.now, "created_at": row.created_at, "status": "in_sales",
                }
            ],
            "count": 1,
            "meta": {"generatedAt": tx.now},
        }  # fmt: skip

    async def test_mine_are_those_i_own(self, tx: Tx, given: Given, process: Any, rep: Caller):
        mine = await a_sale(given, process, owner=rep)
        await a_sale(given, process, owner=await given.user())
        await a_sale(given, process)
        assert await listed(tx, rep) == [mine.id]


class TestClose:
    async def test_is_lost_and_its_flags_are_resolved(self, tx: Tx, given: Given, process: Any, rep: Caller):
        sale = await a_sale(given, process, owner=rep, since=given.ago(days=40), snoozed_until=given.ago(days=1))
        await tx.finish()
        assert (await stalls.raise_stalls(tx, SYSTEM)).created == 1
        closed = await legacy_deals.close_deal(tx, rep, sale.id, CloseDealIn(reason="No budget"))
        row = await standing(given, sale.id)
        assert (closed.status, closed.closed_at) == ("closed_lost", tx.now)
        assert (row["phase"], row["status"], row["last_outcome"]) == ("churned", "declined", "lost")
        assert await tx.many(str, "SELECT status FROM attention_flags") == ["resolved"]
        assert await listed(tx, rep, scope="all") == []

    async def test_without_a_process_it_only_leaves_the_phase(self, tx: Tx, given: Given, process: Any, rep: Caller):
        row = await given.row("company_products", company_id=(await given.company()).id, product_id=process.product.id)
        await lifecycle.execute(tx, SYSTEM, row.id, lifecycle.SetPhaseIn(toPhase="in_sales"))
        await tx.finish()
        await legacy_deals.close_deal(tx, rep, row.id, CloseDealIn())
        assert (await standing(given, row.id))["phase"] == "churned"

    async def test_without_a_stage_for_what_is_lost(self, tx: Tx, given: Given, process: Any, rep: Caller):
        sale = await a_sale(given, process)
        await tx.run("DELETE FROM product_process_stages WHERE id = %(id)s", id=process.stages["Lost"].id)
        await legacy_deals.close_deal(tx, rep, sale.id, CloseDealIn())
        assert (await standing(given, sale.id))["phase"] == "churned"

    async def test_refuses_what_is_not_sold_anymore(self, tx: Tx, given: Given, process: Any, rep: Caller):
        sale = await a_sale(given, process)
        await legacy_deals.close_deal(tx, rep, sale.id, CloseDealIn())
        for deed in (
            legacy_deals.close_deal(tx, rep, sale.id, CloseDealIn()),
            legacy_deals.take_up_deal(tx, rep, sale.id),
        ):
            await tx.finish()
            with pytest.raises(legacy_deals.NotInSales):
                await deed


class TestTakeUp:
    async def test_begins_anew_with_a_next_step(self, tx: Tx, given: Given, process: Any, rep: Caller):
        sale = await a_sale(given, process, stage="Negotiation", owner=rep, snoozed_until=given.ahead(days=3))
        taken = await legacy_deals.take_up_deal(tx, rep, sale.id)
        row, kept = await standing(given, sale.id), await given.fetch("company_products", sale.id)
        first = process.stages["Discovery"]
        assert (taken.stage_id, taken.stage_name, taken.next_step_due_at) == (
            first.id,
            "Discovery",
            given.ahead(days=3),
        )
        assert (row["current_stage_id"], row["next_step"]) == (str(first.id), "Take up contact again")
        assert (kept.last_human_touch_at, kept.snoozed_until) == (tx.now, None)

    async def test_goes_over_to_the_process_that_is_published_now(
        self, tx: Tx, given: Given, process: Any, rep: Caller
    ):
        sale = await a_sale(given, process, stage="Negotiation")
        await tx.run("UPDATE product_processes SET status = 'archived'")
        new = await a_process(given, process.product, stages=("Hello",), version=2)
        assert (await legacy_deals.take_up_deal(tx, rep, sale.id)).stage_name == "Hello"
        assert (await standing(given, sale.id))["current_process_id"] == str(new.id)

    async def test_refuses_without_a_process_or_a_stage(self, tx: Tx, given: Given, process: Any, rep: Caller):
        sale = await a_sale(given, process)
        await tx.run("UPDATE product_process_stages SET archived_at = now() WHERE NOT is_terminal")
        with pytest.raises(legacy_deals.NoOpenStage):
            await legacy_deals.take_up_deal(tx, rep, sale.id)
        await tx.run("UPDATE product_processes SET status = 'archived'")
        with pytest.raises(legacy_deals.NoSalesProcess):
            await legacy_deals.take_up_deal(tx, rep, sale.id)


class TestSnooze:
    async def test_is_gone_until_then(self, tx: Tx, given: Given, process: Any, rep: Caller):
        sale = await a_sale(given, process)
        assert (await legacy_deals.snooze_deal(tx, rep, sale.id, SnoozeDealIn())).snoozed_until == given.ahead(days=14)
        assert await listed(tx, rep, scope="all") == []


class TestWhoMayWrite:
    async def test_the_owner_managers_and_anybody_while_nobody_owns_it(
        self, tx: Tx, given: Given, process: Any, rep: Caller
    ):
        theirs = await a_sale(given, process, owner=await given.user())
        for deed in (
            legacy_deals.close_deal(tx, rep, theirs.id, CloseDealIn()),
            legacy_deals.take_up_deal(tx, rep, theirs.id),
            legacy_deals.snooze_deal(tx, rep, theirs.id, SnoozeDealIn()),
        ):
            with pytest.raises(legacy_deals.NotYourDeal):
                await deed
        await legacy_deals.snooze_deal(tx, await given.user("manager"), theirs.id, SnoozeDealIn(days=1))
        with pytest.raises(legacy_deals.LegacyDealNotFound):
            await legacy_deals.snooze_deal(tx, rep, uuid4(), SnoozeDealIn())
