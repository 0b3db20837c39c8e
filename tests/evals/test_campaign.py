"""
Versions of prompts held against each other by a model at the wire that does what its prompt says.

The model is scripted: it reads as the rules read, unless its prompt tells it to leave promises out.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from agents import guards, rules
from agents.analysis.outputs import ANALYSIS, Reading
from evals import campaign, locking, versions
from evals.campaign import AnotherPrompt, Done, NotHeld, Order, SameVersion
from evals.cases import Case, Split
from evals.judge import JUDGE
from evals.run import Plan
from evals.subjects import analysis
from evals.suites import SUITES, Suite
from evals.versions import NotAVersion, NothingActive, VersionMissing
from memory.callers import SYSTEM
from memory.db import Database
from memory.settings import Settings
from prompts import registry
from tests.agents.conftest import Wire, refusal
from tests.given import Given
from tools.evaluations import reading, verdicts
from tools.evaluations.rows import EvalResultFilter, EvalRunFilter, EvalRunRow

KEY = ANALYSIS.key
SPOILED = "Leave every commitment out of your report."
POLITE = "Be careful."
NONE: dict[str, Any] = {"commitments_us": [], "commitments_them": []}
FEW = 48


class Few(Suite):
    """A suite's cases that are about promises, and as many others as make it a suite that can tell."""

    def read(self, split: Split | None = None) -> list[Case[Any, Any]]:
        """Return them."""
        every = sorted(super().read(), key=lambda case: not case.expect.all_promises)
        return [case for case in every[:FEW] if split in (None, case.split)]

    @property
    def dataset(self) -> str:
        """Pass for the whole suite: a verdict on other cases would not be heard."""
        return SUITES[self.name].dataset


ANALYSED = Few(**vars(SUITES["analysis"]))


@pytest.fixture(autouse=True)
def unlocked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer cases are not those that were locked."""
    monkeypatch.setattr(locking, "check", lambda _: None)


class Reader:
    """A model that reads each message of the dataset as the rules do, and obeys a prompt that spoils the reading."""

    def __init__(self) -> None:
        read: dict[str, Reading] = {}
        answer = rules.find_rule(ANALYSIS)
        assert answer is not None
        for case in SUITES["analysis"].read():
            message = analysis.message_of(case.input)
            read[guards.clean(message.content).strip()] = answer(message)
        self._known = sorted(read.items(), key=lambda known: -len(known[0]))

    def __call__(self, body: dict[str, Any]) -> Any:
        said = "\n".join(str(message["content"]) for message in body["messages"])
        found = next(reading for content, reading in self._known if content in said)
        if SPOILED in said:
            found = found.model_copy(update=NONE)
        return found.model_dump(mode="json")


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.fixture
async def edited(db: Database) -> None:
    """The prompt of the analysis: as shipped and active, spoiled, and with words that change nothing."""
    shipped = registry.shelf().get(KEY)
    async with db.transaction() as tx:
        given = Given(tx)
        row = await given.row("ai_prompts", key=KEY, name="Analysis", active_version=1, default_version=1)
        for version, system in enumerate(
            (shipped.system, f"{shipped.system}\n{SPOILED}", f"{shipped.system}\n{POLITE}"), 1
        ):
            await given.row(
                "ai_prompt_versions",
                prompt_id=row.id,
                version=version,
                prompt_template=shipped.user,
                system_template=system,
            )


@pytest.fixture
def house(settings_with_model: Settings, fresh_url: str) -> Settings:
    """Settings with the scripted model and a database of the house's own."""
    return settings_with_model.model_copy(update={"database_url": SecretStr(fresh_url), "model_fallback": None})


Conduct = Callable[..., Awaitable[Done]]


@pytest.fixture
def conduct(house: Settings, tmp_path: Path) -> Conduct:
    async def go(*, prompt: str | None = f"{KEY}@2", against: str | None = None, **plan: Any) -> Done:
        fields: dict[str, Any] = {"suites": [ANALYSED], "engine": "openai", "limit_usd": 50.0, "concurrency": 8} | plan
        return await campaign.conduct(Order(Plan(**fields), prompt, against), house, tmp_path, progress)

    return go


@contextmanager
def progress(_: Plan, __: str) -> Iterator[Any]:
    yield lambda suite, case: None


async def runs_of(db: Database, done: Done) -> dict[int | None, EvalRunRow]:
    async with db.reading() as tx:
        found = await reading.list_runs(tx, SYSTEM, EvalRunFilter(batch_id=done.batch_id))
    return {run.prompt_version: run for run in found.runs}


class TestVersions:
    async def test_that_drop_promises_have_regressed(
        self, conduct: Conduct, db: Database, wire: Wire, reader: Reader, edited: None
    ):
        wire.says(reader)
        done = await conduct()

        assert done.held is not None
        (verdict,) = done.held.verdicts
        assert verdict.verdict == "regressed"
        assert verdict.reason.startswith("no_missed_promise (dear) passes ")
        moved = {one["name"] for one in verdict.detail["scorers"] if one["verdict"] == "regressed"}
        assert moved == {"no_missed_promise", "due_days"}
        async with db.reading() as tx:
            evidence = await verdicts.evidence_for(tx, KEY, 2, 1)
            (kept,) = await verdicts.verdicts_of(tx, KEY, 2, 1)
        assert (evidence.regressed, evidence.releasable) == (["analysis"], False)
        assert (kept.engine, kept.model, kept.reason) == ("openai", "strong + cheap", verdict.reason)

        runs = await runs_of(db, done)
        assert {version: (run.status, run.cases, run.errors) for version, run in runs.items()} == {
            1: ("finished", FEW, 0), 2: ("finished", FEW, 0),
        }  # fmt: skip
        assert (kept.run_id, kept.against_run_id) == (runs[2].id, runs[1].id)
        assert (runs[2].against_run_id, runs[2].verdict, runs[2].has_report) == (runs[1].id, "regressed", True)
        async with db.reading() as tx:
            cases = (await reading.list_results(tx, SYSTEM, runs[2].id, EvalResultFilter(limit=500))).parse()
            report = await reading.get_report(tx, SYSTEM, runs[2].id)
        assert cases.total + sum(cases.held_out.model_dump().values()) == FEW
        assert {(case.prompt_key, case.prompt_version) for case in cases.results} == {(KEY, 2)}
        assert "Over versions" in report
        assert verdict.reason.split(";")[0] in report

    async def test_that_change_nothing_are_the_same_and_what_was_asked_is_not_asked_again(
        self, conduct: Conduct, db: Database, wire: Wire, reader: Reader, edited: None
    ):
        wire.says(reader)
        first = await conduct(prompt=f"{KEY}@3")
        asked = len(wire.asked)
        again = await conduct(prompt=f"{KEY}@3")

        assert [done.held.verdicts[0].verdict for done in (first, again) if done.held] == ["same", "same"]
        assert (asked, len(wire.asked), again.run.cost_usd, again.run.remembered) == (2 * FEW, 2 * FEW, 0.0, FEW)
        assert all(POLITE in wire.words(place) for place in range(FEW, 2 * FEW))
        assert not any(POLITE in wire.words(place) for place in range(FEW))
        assert (await runs_of(db, again))[3].remembered == FEW

    async def test_put_right_what_another_had_spoiled(self, conduct: Conduct, wire: Wire, reader: Reader, edited: None):
        wire.says(reader)
        done = await conduct(prompt=f"{KEY}@3", against=f"{KEY}@2")
        assert done.held is not None
        assert (done.held.name, done.held.verdicts[0].verdict) == (f"{KEY}@2", "improved")

    async def test_that_lose_a_little_are_inconclusive(
        self, conduct: Conduct, wire: Wire, reader: Reader, edited: None
    ):
        spoiled = itertools.count()

        def forgetful(body: dict[str, Any]) -> Any:
            said = reader(body)
            tried = any(POLITE in str(message["content"]) for message in body["messages"])
            made = said["commitments_us"] or said["commitments_them"]
            return said | NONE if tried and made and next(spoiled) < 3 else said

        wire.says(forgetful)
        done = await conduct(prompt=f"{KEY}@3")
        assert done.held is not None
        (verdict,) = done.held.verdicts
        assert verdict.verdict == "inconclusive"
        assert "cannot be told from chance" in verdict.reason

    async def test_are_judged_by_rules_without_saying_anything_of_words(
        self, conduct: Conduct, db: Database, edited: None
    ):
        done = await conduct(engine="rules")
        assert done.held is not None
        assert done.held.verdicts[0].verdict == "same"
        async with db.reading() as tx:
            (kept,) = await verdicts.verdicts_of(tx, KEY, 2, 1)
            evidence = await verdicts.evidence_for(tx, KEY, 2, 1)
        assert (kept.engine, evidence.releasable, "analysis" in evidence.missing) == ("rules", False, True)


class TestFailures:
    async def test_a_call_that_fails_is_an_error_and_there_is_no_verdict(
        self, conduct: Conduct, db: Database, wire: Wire, reader: Reader, edited: None
    ):
        answered = itertools.count()
        wire.says(lambda body: refusal(400) if next(answered) == FEW + 10 else reader(body))
        done = await conduct()

        assert done.held is not None
        assert (done.run.errors, done.held.verdicts) == (1, [])
        runs = await runs_of(db, done)
        assert (runs[1].status, runs[2].status, runs[2].errors) == ("finished", "failed", 1)
        assert runs[2].error is not None
        assert runs[2].error.startswith("1 cases have no answer:")
        async with db.reading() as tx:
            assert await verdicts.verdicts_of(tx, KEY, 2, 1) == []

    async def test_a_judge_that_is_down_fails_the_run(self, conduct: Conduct, db: Database, wire: Wire, tmp_path: Path):
        draft = {
            "subject": "Re: Price",
            "body": "Hi Dana, it is [[price]].",
            "confidence": 80,
            "needs_human_review": [],
        }
        is_judge = registry.shelf().get(JUDGE.key).system.splitlines()[0]
        wire.says(lambda body: refusal(500) if is_judge in str(body["messages"][0]["content"]) else draft)
        done = await conduct(
            prompt=None, against="none", suites=[SUITES["reply_draft"]], with_judge=True, limit_usd=200.0
        )

        assert done.run.errors == sum(len(suite.cases) for suite in done.run.suites)
        assert all(not case.scores for suite in done.run.suites for case in suite.cases)
        async with db.reading() as tx:
            found = await reading.list_runs(tx, SYSTEM, EvalRunFilter(batch_id=done.batch_id))
        assert {run.suite: run.status for run in found.runs} == {"judge": "failed", "reply_draft": "failed"}

    async def test_an_empty_purse_stops_the_run_and_there_is_no_verdict(
        self, conduct: Conduct, db: Database, wire: Wire, reader: Reader, edited: None
    ):
        wire.says(reader)
        done = await conduct(limit_usd=0.05, concurrency=1)
        runs = await runs_of(db, done)
        assert {run.status for run in runs.values()} == {"stopped"}
        assert runs[1].cases < FEW
        async with db.reading() as tx:
            assert await verdicts.verdicts_of(tx, KEY, 2, 1) == []
        # What was paid for is remembered: with a fuller purse the run goes on where it was.
        paid = len(wire.asked)
        assert (await conduct()).run.errors == 0
        assert len(wire.asked) == 2 * FEW
        assert paid > 5

    async def test_a_run_that_breaks_off_says_so_in_its_rows(
        self, conduct: Conduct, db: Database, edited: None, monkeypatch: pytest.MonkeyPatch
    ):
        async def broken(*_: Any, **__: Any) -> None:
            raise RuntimeError("the disk is full")

        monkeypatch.setattr(campaign.run, "run", broken)
        with pytest.raises(RuntimeError):
            await conduct(engine="rules")
        async with db.reading() as tx:
            (kept,) = (await reading.list_runs(tx, SYSTEM, EvalRunFilter())).runs
        assert (kept.status, kept.error) == ("failed", "It broke off: the disk is full")

    async def test_a_run_that_is_interrupted_says_so_in_its_rows(
        self, conduct: Conduct, db: Database, edited: None, monkeypatch: pytest.MonkeyPatch
    ):
        begun = asyncio.Event()

        async def endless(*_: Any, **__: Any) -> None:
            begun.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(campaign.run, "run", endless)
        going = asyncio.ensure_future(conduct(engine="rules"))
        await begun.wait()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        async with db.reading() as tx:
            (kept,) = (await reading.list_runs(tx, SYSTEM, EvalRunFilter())).runs
        assert (kept.status, kept.error) == ("stopped", "It was interrupted.")


class TestOrders:
    @pytest.mark.parametrize(
        ("prompt", "against", "refusal"),
        [
            (f"{KEY}@1", None, SameVersion),
            (f"{KEY}@9", None, VersionMissing),
            (f"{KEY}@2", f"{KEY}@9", VersionMissing),
            (f"{KEY}@two", None, NotAVersion),
            ("a_prompt_of_ours@1", "none", VersionMissing),
        ],
    )
    async def test_that_make_no_sense_are_refused(
        self, conduct: Conduct, edited: None, prompt: str, against: str | None, refusal: Any
    ):
        with pytest.raises(refusal):
            await conduct(prompt=prompt, against=against)

    async def test_refuse_prompts_that_answer_different_questions(self, conduct: Conduct, db: Database, edited: None):
        async with db.transaction() as tx:
            given = Given(tx)
            for key in ("deal_summary", "deal_summary__renewals"):
                row = await given.row("ai_prompts", key=key, name=key)
                await given.row("ai_prompt_versions", prompt_id=row.id, version=1, prompt_template="x")
        with pytest.raises(AnotherPrompt):
            await conduct(against="deal_summary@1")
        with pytest.raises(NothingActive):
            await conduct(prompt="deal_summary@1")
        with pytest.raises(NotHeld):
            await conduct(prompt="deal_summary__renewals@1", against="deal_summary@1")

    async def test_without_a_database_find_versions_among_the_files(self):
        found = await versions.read(None, KEY, 1)
        assert (found.name, found.prompt.source) == (f"{KEY}@1", "file")
        with pytest.raises(VersionMissing):
            await versions.read(None, KEY, 99)

    def test_run_only_cases_that_the_words_are_for(self):
        shelf = registry.shelf()
        deal = versions.Version("deal_summary", 1, shelf.get("deal_summary"))
        assert (deal.concerns("deal_summary"), deal.concerns("company_summary")) == (True, False)
        suffixed = versions.Version("deal_summary__renewals", 1, shelf.get("deal_summary"))
        assert suffixed.concerns("deal_summary")
        system = versions.Version(registry.SYSTEM, 1, shelf.system)
        assert [key for key in shelf.active if system.concerns(key)] == [
            key for key, prompt in shelf.active.items() if not prompt.system
        ]
