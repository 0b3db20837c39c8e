"""Books: how far a run is stands in its row while it runs; without the house's database nothing is written."""

import asyncio

import pytest

from evals import books
from evals.books import Books
from evals.results import CaseResult
from evals.run import Plan
from evals.suites import SUITES
from memory.callers import SYSTEM
from memory.db import Database
from memory.settings import Settings
from tools.evaluations import reading
from tools.evaluations.rows import EvalRunFilter, EvalRunRow

PLAN = Plan([SUITES["due_dates"]])


async def rows(db: Database) -> list[EvalRunRow]:
    async with db.reading() as tx:
        return (await reading.list_runs(tx, SYSTEM, EvalRunFilter())).runs


async def test_tell_how_far_a_run_is(db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(books, "HEARTBEAT_S", 0.01)
    async with asyncio.timeout(10), Books(db).open(PLAN, settings) as entry:
        (begun,) = await rows(db)
        entry.told(SUITES["due_dates"], CaseResult(id="one", digest="d", split="dev"))
        entry.told(SUITES["due_dates"], CaseResult(id="two", digest="d", split="dev", error="down"))
        while (now := (await rows(db))[0]).cases < 2:  # noqa: ASYNC110 - the row is what is waited for
            await asyncio.sleep(0.01)
    assert (begun.status, begun.planned, begun.cases) == ("running", 70, 0)
    assert (now.cases, now.errors) == (2, 1)


async def test_are_closed_without_a_word_where_there_is_no_house(settings: Settings):
    async with Books(None).open(PLAN, settings) as entry:
        assert entry.ids == {}
