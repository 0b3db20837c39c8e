"""
What a model costs, and whether there is money for it.

Every call counts against its run, its user's day and the workspace's day (limits in the settings), and against every
budget somebody has set in `ai_budgets`; a row there replaces the setting of the same scope and period. When the books
cannot be reached, nothing is spent.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_UP, Decimal
from uuid import UUID

from agents.purposes import About
from memory.callers import Caller
from memory.db import Database
from memory.errors import TooMany
from memory.settings import Settings
from tools import budgets
from tools.ai_calls import NewCall, Outcome
from tools.budgets import BudgetRow, Claim, Period

# USD per million tokens, input and output.
PRICES: dict[str, tuple[float, float]] = {
    "gpt-4.1": (2.0, 8.0),
    "gpt-4.1-mini": (0.4, 1.6),
    "gpt-4.1-nano": (0.1, 0.4),
    "gpt-4o": (2.5, 10.0),
    "gpt-4o-mini": (0.15, 0.6),
    "gpt-5": (1.25, 10.0),
    "gpt-5-mini": (0.25, 2.0),
    "gpt-5-nano": (0.05, 0.4),
    "o3": (2.0, 8.0),
    "o4-mini": (1.1, 4.4),
}
UNKNOWN = (15.0, 60.0)
"""What a model costs that nobody has priced: dear, so that a mistake stops early. `"*"` in the settings replaces it."""
_MICRO = Decimal("0.000001")
_FRESH_S = 5.0


class BudgetSpent(TooMany):
    """The AI budget of the {scope} is spent."""


class LedgerDown(Exception):
    """The books cannot be reached."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """Room for one call; `low` when the fullest budget is beyond its soft limit."""

    call_id: UUID
    usd: Decimal
    low: bool


def price(settings: Settings, model: str) -> tuple[float, float]:
    """Return USD per million input and output tokens; dated and prefixed names fall back to the plain one."""
    plain = model.rsplit("/", 1)[-1]
    for table in (settings.model_prices, PRICES):
        for name in (model, plain):
            if name in table:
                return table[name]
        known = [name for name in table if plain.startswith(f"{name}-20")]
        if known:
            return table[max(known, key=len)]
    return settings.model_prices.get("*", UNKNOWN)


def cost(settings: Settings, model: str, input_tokens: int, output_tokens: int) -> Decimal:
    """Return what so many tokens cost, in USD, rounded up to a millionth."""
    per_input, per_output = price(settings, model)
    usd = (Decimal(str(per_input)) * input_tokens + Decimal(str(per_output)) * output_tokens) / 1_000_000
    return usd.quantize(_MICRO, rounding=ROUND_UP)


class Ledger:
    """The books as the door sees them."""

    def __init__(self, settings: Settings, db: Database) -> None:
        """Budgets are read again every few seconds."""
        self._settings = settings
        self._db = db
        self._budgets: list[BudgetRow] = []
        self._read_at = -_FRESH_S

    async def reserve(
        self, call: NewCall, *, caller: Caller, about: About, max_output_tokens: int, soft: bool
    ) -> Reserved:
        """
        Put aside the most that the call can cost; with `soft` only as far as the soft limit.

        Raises `BudgetSpent`, `LedgerDown`.
        """
        usd = cost(self._settings, call.model, call.input_tokens, max_output_tokens)
        ceiling = self._settings.budget_soft_ratio if soft else 1.0
        try:
            async with self._db.reading() as tx:
                claims = self._claims(await self._current(), call, caller, about, tx.now.date())
                reservation = await budgets.reserve_call(
                    tx, call, claims, usd=usd, tokens=call.input_tokens + max_output_tokens, ceiling=ceiling
                )
        except Exception as failure:
            raise LedgerDown(str(failure)) from failure
        if not reservation.fits or reservation.call_id is None:
            raise BudgetSpent(scope=reservation.refused_by or "org")
        return Reserved(reservation.call_id, usd, reservation.share > self._settings.budget_soft_ratio)

    async def settle(self, call_id: UUID, outcome: Outcome) -> None:
        """Book how the call ended."""
        async with self._db.reading() as tx:
            await budgets.settle_call(tx, call_id, outcome)

    async def _current(self) -> list[BudgetRow]:
        if time.monotonic() - self._read_at > _FRESH_S:
            async with self._db.reading() as tx:
                self._budgets = await budgets.list_budgets(tx)
            self._read_at = time.monotonic()
        return self._budgets

    def _claims(
        self, rows: Sequence[BudgetRow], call: NewCall, caller: Caller, about: About, today: date
    ) -> list[Claim]:
        settings = self._settings
        claims: dict[tuple[str, str, Period], Claim] = {}
        if call.run_id:
            claims["run", str(call.run_id), "day"] = Claim(
                "run", str(call.run_id), "day", budgets.RUN_START, _usd(settings.budget_run_usd)
            )
        if caller.user_id:
            user_id = str(caller.user_id)
            claims["user", user_id, "day"] = Claim("user", user_id, "day", today, _usd(settings.budget_user_day_usd))
        claims["org", "", "day"] = Claim("org", "", "day", today, _usd(settings.budget_org_day_usd))
        mine = {
            ("org", ""), ("user", str(caller.user_id)), ("capability", call.capability), ("company", str(about.company_id)),
        }  # fmt: skip
        for row in rows:
            if (row.scope, row.scope_id) in mine:
                start = today if row.period == "day" else today.replace(day=1)
                claims[row.scope, row.scope_id, row.period] = Claim(
                    row.scope, row.scope_id, row.period, start, row.limit_usd, row.limit_tokens, row.hard
                )
        return list(claims.values())


def _usd(amount: float) -> Decimal:
    return Decimal(str(amount))
