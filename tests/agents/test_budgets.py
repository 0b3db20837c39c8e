"""Money: nobody spends what is not there, however many ask at once."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from agents import budgets
from agents.budgets import BudgetSpent, Ledger, LedgerDown
from agents.models import Door
from agents.purposes import About
from memory.callers import SYSTEM, Caller
from memory.db import Database
from memory.settings import Settings
from tools import budgets as books
from tools.ai_calls import NewCall, Outcome

from .conftest import Pauses, Wire
from .test_models import CHEAP, GOOD, INPUTS, SORT, shelf, spend, summary

__all__ = ["shelf"]

CALL = NewCall(
    capability="testing", prompt_key="k", prompt_version=1, prompt_source="file", engine="openai", provider="p",
    model="cheap", input_tokens=1000,
)  # fmt: skip


def limited(settings: Settings, **limits: float) -> Settings:
    return settings.model_copy(update={f"budget_{name}_usd": amount for name, amount in limits.items()})


async def reserve(ledger: Ledger, call: NewCall = CALL, caller: Caller = SYSTEM, **how: Any) -> budgets.Reserved:
    """A call of at most 0.004 USD: 1000 tokens in at 1 USD, 1000 out at 3 USD a million."""
    return await ledger.reserve(
        call, caller=caller, about=how.pop("about", About()), max_output_tokens=1000, soft=how.pop("soft", False)
    )


async def allow(db: Database, scope: str, scope_id: str = "", period: str = "day", **limit: Any) -> None:
    async with db.transaction() as tx:
        await tx.run(
            """
            INSERT INTO ai_budgets (scope, scope_id, period, limit_usd, limit_tokens, hard)
            VALUES (%(scope)s, %(scope_id)s, %(period)s, %(usd)s, %(tokens)s, %(hard)s)
            """,
            scope=scope,
            scope_id=scope_id,
            period=period,
            **{"usd": None, "tokens": None, "hard": True} | limit,
        )


class TestReserve:
    async def test_many_at_once_never_overrun_a_limit(self, settings_with_model: Settings, db: Database) -> None:
        ledger = Ledger(limited(settings_with_model, org_day=0.041), db)

        async def attempt() -> str:
            try:
                return "ok" if await reserve(ledger) else ""
            except BudgetSpent as spent:
                return spent.message

        found = Counter(await asyncio.gather(*(attempt() for _ in range(60))))
        assert found == {"ok": 10, "The AI budget of the org is spent.": 50}
        assert await spend(db, "org") == (0.04, 0)

    async def test_many_in_many_scopes_neither_overrun_nor_block_each_other(
        self, settings_with_model: Settings, db: Database, rep: Caller
    ) -> None:
        ledger = Ledger(limited(settings_with_model, org_day=0.1, user_day=0.05, run=0.02), db)
        runs = [uuid4() for _ in range(4)]

        async def one(number: int) -> None:
            call = replace(CALL, run_id=runs[number % 4], user_id=rep.user_id)
            try:
                reserved = await reserve(ledger, call, rep)
            except BudgetSpent:
                return
            if number % 2:
                await ledger.settle(reserved.call_id, Outcome("ok", 5, 1000, 500, cost_usd=Decimal("0.0025")))

        async with asyncio.timeout(30):
            await asyncio.gather(*(one(number) for number in range(80)))
        async with db.reading() as tx:
            for scope, limit in (("run", 0.02), ("user", 0.05), ("org", 0.1)):
                fullest = await tx.one(
                    float, "SELECT max(reserved_usd + spent_usd)::float8 FROM ai_spend WHERE scope = %(s)s", s=scope
                )
                assert 0 < fullest <= limit

    async def test_takes_from_all_budgets_or_from_none(
        self, settings_with_model: Settings, db: Database, rep: Caller
    ) -> None:
        ledger = Ledger(limited(settings_with_model, user_day=0.003), db)
        with pytest.raises(BudgetSpent, match="user"):
            await reserve(ledger, caller=rep)
        assert await spend(db, "org") == (0, 0)
        assert await summary(db) == [("cheap", "blocked_budget")]

    async def test_budgets_of_the_workspace_count(self, settings_with_model: Settings, db: Database) -> None:
        company_id = uuid4()
        await allow(db, "capability", "testing", "month", usd=0.005)
        await allow(db, "company", str(company_id), "day", tokens=1000)
        ledger = Ledger(settings_with_model, db)
        with pytest.raises(BudgetSpent, match="company"):
            await reserve(ledger, about=About(company_id=company_id))
        await reserve(ledger)
        with pytest.raises(BudgetSpent, match="capability"):
            await reserve(ledger)
        await reserve(ledger, replace(CALL, capability="other"))

    async def test_a_budget_that_is_not_hard_only_warns(self, settings_with_model: Settings, db: Database) -> None:
        await allow(db, "capability", "testing", usd=0.001, hard=False)
        assert (await reserve(Ledger(settings_with_model, db))).low is True

    async def test_a_row_replaces_the_setting(self, settings_with_model: Settings, db: Database) -> None:
        await allow(db, "org", usd=0.001)
        with pytest.raises(BudgetSpent):
            await reserve(Ledger(settings_with_model, db))

    async def test_a_new_day_is_a_new_budget(self, settings_with_model: Settings, db: Database) -> None:
        ledger = Ledger(limited(settings_with_model, org_day=0.005), db)
        await reserve(ledger)
        async with db.transaction() as tx:
            await tx.run("UPDATE ai_spend SET period_start = period_start - 1")
        await reserve(ledger)

    async def test_spends_nothing_without_the_books(self, settings_with_model: Settings, db: Database) -> None:
        async with db.transaction() as tx:
            await tx.run("ALTER TABLE ai_spend RENAME TO gone")
        with pytest.raises(LedgerDown):
            await reserve(Ledger(settings_with_model, db))


class TestSettle:
    async def test_counts_a_call_once(self, settings_with_model: Settings, db: Database) -> None:
        ledger = Ledger(settings_with_model, db)
        reserved = await reserve(ledger)
        for _ in range(2):
            await ledger.settle(reserved.call_id, Outcome("ok", 5, 1000, 10, cost_usd=Decimal("0.00103")))
        assert await spend(db, "org") == (0, 0.00103)

    async def test_an_abandoned_call_gives_its_money_back(self, settings_with_model: Settings, db: Database) -> None:
        ledger = Ledger(settings_with_model, db)
        late, lost = await reserve(ledger), await reserve(ledger)
        async with db.transaction() as tx:
            assert await books.release_abandoned(tx, older_than=timedelta(minutes=5)) == 0
            await tx.run("UPDATE ai_calls SET created_at = created_at - interval '10 min'")
            assert await books.release_abandoned(tx, older_than=timedelta(minutes=5)) == 2
        assert await spend(db, "org") == (0, 0)
        assert lost.call_id != late.call_id
        await ledger.settle(late.call_id, Outcome("ok", 5, 1000, 10, cost_usd=Decimal("0.001")))
        assert await spend(db, "org") == (0, 0.001), "what was paid late is paid all the same"


class TestDoor:
    async def test_lets_the_rules_answer_when_the_money_is_gone(
        self, settings_with_model: Settings, db: Database, wire: Wire
    ) -> None:
        door = Door(limited(settings_with_model, org_day=0.0001), db)
        answer = await door.ask(CHEAP, INPUTS, caller=SYSTEM)
        assert (answer.engine, answer.degraded, answer.wrap_up) == ("rules", "budget", True)
        assert wire.asked == []
        assert await summary(db) == [("cheap", "blocked_budget"), ("rules", "ok")]

    async def test_saves_before_the_money_is_gone(
        self, settings_with_model: Settings, db: Database, wire: Wire
    ) -> None:
        """0.004 a strong call at most, 0.0004 a cheap one; of 0.005 the strong ones may have 0.004."""
        wire.says(GOOD)
        door = Door(limited(settings_with_model, org_day=0.005), db)
        async with db.transaction() as tx:
            await tx.run(
                """
                INSERT INTO ai_spend (scope, period, period_start, spent_usd)
                VALUES ('org', 'day', (%(now)s::timestamptz AT TIME ZONE 'UTC')::date, 0.0038)
                """
            )
        answer = await door.ask(SORT, INPUTS, caller=SYSTEM)
        assert (answer.engine, answer.model, answer.degraded, answer.wrap_up) == ("openai", "cheap", None, True)
        assert await summary(db) == [("strong", "blocked_budget"), ("cheap", "ok")]

    async def test_asks_nobody_without_the_books(
        self, settings_with_model: Settings, db: Database, wire: Wire, pauses: Pauses
    ) -> None:
        async with db.transaction() as tx:
            await tx.run("ALTER TABLE ai_spend RENAME TO gone")
        answer = await Door(settings_with_model, db, sleep=pauses).ask(SORT, INPUTS, caller=SYSTEM)
        assert (answer.engine, answer.degraded, answer.call_id) == ("rules", "ledger", None)
        assert wire.asked == []

    async def test_a_run_that_asks_for_ever_is_stopped(
        self, settings_with_model: Settings, db: Database, wire: Wire
    ) -> None:
        wire.says(GOOD)
        door = Door(limited(settings_with_model, run=0.002), db)
        run_id = uuid4()
        engines = [(await door.ask(CHEAP, INPUTS, caller=SYSTEM, run_id=run_id)).engine for _ in range(15)]
        assert engines[0] == "openai"
        assert engines[-1] == "rules"
        assert (await spend(db, "run"))[1] <= 0.002


class TestPrice:
    @pytest.mark.parametrize(
        ("model", "prices", "price"),
        [
            ("gpt-4.1", {}, (2.0, 8.0)),
            ("gpt-4.1-mini-2025-04-14", {}, (0.4, 1.6)),
            ("openai/gpt-4o", {}, (2.5, 10.0)),
            ("llama3", {}, budgets.UNKNOWN),
            ("llama3", {"*": (0.0, 0.0)}, (0.0, 0.0)),
            ("llama3", {"llama3": (0.1, 0.2), "*": (9.0, 9.0)}, (0.1, 0.2)),
            ("gpt-4.1", {"gpt-4.1": (1.0, 1.0)}, (1.0, 1.0)),
        ],
    )
    def test_is_the_dearest_that_is_likely(
        self, settings: Settings, model: str, prices: dict[str, tuple[float, float]], price: tuple[float, float]
    ) -> None:
        assert budgets.price(settings.model_copy(update={"model_prices": prices}), model) == price

    def test_costs_are_rounded_up(self, settings_with_model: Settings) -> None:
        assert budgets.cost(settings_with_model, "cheap", 1, 0) == Decimal("0.000001")
        assert budgets.cost(settings_with_model, "cheap", 0, 0) == 0
