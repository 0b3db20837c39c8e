"""Evaluations: what is kept of a run, who may read it, what is never shown, and what a verdict is evidence of."""

from typing import Any
from uuid import uuid4

import pytest

from memory.callers import SYSTEM
from memory.db import Tx
from tests.tools.eval_runs import HOLDING, KEY, ended, found, kept, new_run, say
from tools.evaluations import reading, recording, requesting, suites, verdicts
from tools.evaluations.reading import CompareFilter, ReportMissing, SuitesDiffer
from tools.evaluations.requesting import (
    EvaluationUnderWay,
    ModelMissing,
    NoSuiteHolds,
    NothingToCompare,
    PromptVersionMissing,
    RequestEvaluationIn,
    SameVersion,
)
from tools.evaluations.rows import (
    EvalResultFilter,
    EvalRunFilter,
    EvalRunNotFound,
    EvaluationsForAdmins,
)
from tools.evaluations.suites import UnknownSuite


@pytest.fixture
async def admin(given: Any) -> Any:
    return await given.user(role="admin")


@pytest.fixture
async def prompt(given: Any) -> Any:
    """The prompt of the analysis with three versions, the first of them active."""
    row = await given.row("ai_prompts", key=KEY, name="Analysis", active_version=1, default_version=1)
    for version in (1, 2, 3):
        await given.row("ai_prompt_versions", prompt_id=row.id, version=version, prompt_template=f"{version}")
    return row


class TestRecording:
    async def test_keeps_a_run_with_its_figures(self, tx: Tx, admin: Any):
        run_id = await recording.open_run(tx, new_run())
        begun = await reading.get_run(tx, admin, run_id)
        assert (begun.status, begun.cases, begun.planned, begun.has_report) == ("running", 0, 3, False)

        await recording.record_progress(tx, run_id, cases=2, errors=1)
        assert (await reading.get_run(tx, admin, run_id)).cases == 2
        await recording.end_run(tx, run_id, ended(report="<!doctype html>", error=None))

        over = await reading.get_run(tx, admin, run_id)
        assert (over.status, over.cases, over.cost_usd, over.has_report) == ("finished", 3, 0.25, True)
        assert over.figures.scorers[0].passed == 1
        assert await reading.get_report(tx, admin, run_id) == "<!doctype html>"
        await recording.record_progress(tx, run_id, cases=1, errors=0)
        assert (await reading.get_run(tx, admin, run_id)).cases == 3

    async def test_of_held_out_cases_keeps_neither_answer_nor_reasons(self, tx: Tx):
        run_id = await kept(tx, found("dev-one", "failed"), found("held-one", "failed", split="held_out"))
        answers = await tx.many(str, "SELECT coalesce(answer::text, '') || why FROM eval_cases ORDER BY case_id")
        reasons = await tx.many(str, "SELECT explanation FROM eval_case_results ORDER BY case_id")
        assert (answers, reasons) == (['{"said": "dev-one"}Why dev-one', ""], ["dev-one failed", ""])
        assert await tx.one(int, "SELECT count(*) FROM eval_cases WHERE run_id = %(run_id)s", run_id=run_id) == 2

    async def test_of_a_run_that_begins_again_keeps_the_last_results(self, tx: Tx, admin: Any):
        run_id = await kept(tx, found("a", "passed"), found("b", "passed"))
        await recording.record_results(tx, run_id, [found("a", "failed")])
        results = (await reading.list_results(tx, admin, run_id, EvalResultFilter())).parse()
        assert [(case.case_id, case.outcome) for case in results.results] == [("a", "failed")]

    async def test_gives_up_a_run_whose_process_is_gone(self, tx: Tx, admin: Any):
        silent, lively = [await recording.open_run(tx, new_run()) for _ in range(2)]
        await tx.run("ALTER TABLE eval_runs DISABLE TRIGGER eval_runs_touch")
        await tx.run("UPDATE eval_runs SET updated_at = now() - interval '1 hour' WHERE id = %(id)s", id=silent)
        assert await recording.sweep_runs(tx) == 1
        assert [(await reading.get_run(tx, admin, run_id)).status for run_id in (silent, lively)] == [
            "failed",
            "running",
        ]

    async def test_ends_only_what_is_left_of_a_batch(self, tx: Tx, admin: Any):
        batch_id = uuid4()
        over = await kept(tx, batch_id=batch_id)
        left = await recording.open_run(tx, new_run(batch_id=batch_id, suite="due_dates"))
        assert await recording.end_batch(tx, batch_id, "stopped", "It was interrupted.") == 1
        said = [(row.status, row.error) for row in [await reading.get_run(tx, admin, one) for one in (over, left)]]
        assert said == [("finished", None), ("stopped", "It was interrupted.")]


class TestReading:
    async def test_is_for_admins(self, tx: Tx, given: Any):
        run_id = await kept(tx)
        manager = await given.user(role="manager")
        compare = CompareFilter(run_id=run_id, against_run_id=run_id)
        for reads in (
            reading.list_runs(tx, manager, EvalRunFilter()),
            reading.get_run(tx, manager, run_id),
            reading.get_report(tx, manager, run_id),
            reading.list_results(tx, manager, run_id, EvalResultFilter()),
            reading.compare_runs(tx, manager, compare),
        ):
            with pytest.raises(EvaluationsForAdmins):
                await reads
        assert (await reading.list_runs(tx, SYSTEM, EvalRunFilter())).total == 1

    async def test_lists_by_suite_state_and_version(self, tx: Tx, admin: Any):
        one = await kept(tx)
        other = await kept(tx, suite="due_dates", prompt_version=3, engine="rules")
        everything = await reading.list_runs(tx, admin, EvalRunFilter())
        assert ({row.id for row in everything.runs}, everything.total) == ({one, other}, 2)
        for asked in ({"suite": "due_dates"}, {"prompt_key": KEY, "prompt_version": 3}, {"engine": "rules"}):
            assert [
                row.id for row in (await reading.list_runs(tx, admin, EvalRunFilter.model_validate(asked))).runs
            ] == [other]
        assert (await reading.list_runs(tx, admin, EvalRunFilter(status="running"))).total == 0

    async def test_lists_cases_what_went_wrong_first_and_counts_those_held_out(self, tx: Tx, admin: Any):
        run_id = await kept(
            tx,
            found("fine", "passed", "passed"),
            found("broken", "error", error="The model did not answer.", answer=None),
            found("bad", "passed", "failed"),
            found("held-a", "passed", split="held_out"),
            found("held-b", "failed", split="held_out"),
        )
        page = (await reading.list_results(tx, admin, run_id, EvalResultFilter())).parse()
        assert [(case.case_id, case.outcome) for case in page.results] == [
            ("broken", "error"), ("bad", "failed"), ("fine", "passed"),
        ]  # fmt: skip
        assert (page.total, page.held_out.model_dump()) == (3, {"passed": 1, "failed": 1, "error": 0})
        assert [score.explanation for score in page.results[1].scores] == ["bad passed", "bad failed"]
        missed = EvalResultFilter(scorer="no_missed_promise", outcome="passed")
        page = (await reading.list_results(tx, admin, run_id, missed)).parse()
        assert [case.case_id for case in page.results] == ["bad", "fine"]

    async def test_of_what_is_not_there_is_refused(self, tx: Tx, admin: Any):
        with pytest.raises(EvalRunNotFound):
            await reading.get_run(tx, admin, uuid4())
        run_id = await kept(tx)
        with pytest.raises(ReportMissing):
            await reading.get_report(tx, admin, run_id)


class TestComparing:
    async def test_aligns_cases_and_tells_only_of_unchanged_ones(self, tx: Tx, admin: Any):
        before = await kept(
            tx, found("a", "passed"), found("b", "failed"), found("c", "passed"), found("d", "passed", digest="old"),
            found("held", "passed", split="held_out"),
        )  # fmt: skip
        after = await kept(
            tx, found("a", "failed"), found("b", "passed"), found("c", "passed"), found("d", "failed", digest="new"),
            found("held", "failed", split="held_out"),
        )  # fmt: skip
        told = await reading.compare_runs(tx, admin, CompareFilter(run_id=after, against_run_id=before))
        (scorer,) = told.scorers
        assert scorer.model_dump() == {
            "scorer": "no_missed_promise", "dear": True, "paired": 4, "passed": 2, "against_passed": 3, "lost": 2, "won": 1,
            "errors": 0,
        }  # fmt: skip
        assert [(case.case_id, case.before, case.after) for case in told.cases] == [
            ("a", "passed", "failed"), ("b", "failed", "passed"),
        ]  # fmt: skip
        assert told.unpaired == 2
        everything = CompareFilter(run_id=after, against_run_id=before, show="all")
        assert {case.case_id for case in (await reading.compare_runs(tx, admin, everything)).cases} == {"a", "b", "c"}

    async def test_counts_an_error_as_neither(self, tx: Tx, admin: Any):
        before = await kept(tx, found("a", "passed"))
        after = await kept(tx, found("a", "error", error="down"))
        told = await reading.compare_runs(tx, admin, CompareFilter(run_id=after, against_run_id=before))
        assert (told.scorers[0].paired, told.scorers[0].lost, told.scorers[0].errors) == (0, 0, 1)

    async def test_refuses_runs_of_two_suites(self, tx: Tx, admin: Any):
        with pytest.raises(SuitesDiffer):
            await reading.compare_runs(
                tx, admin, CompareFilter(run_id=await kept(tx), against_run_id=await kept(tx, suite="due_dates"))
            )


class TestEvidence:
    async def test_needs_a_verdict_of_every_suite_that_holds_the_prompt(self, tx: Tx):
        assert [suite.name for suite in suites.suites_of(KEY)] == HOLDING
        nothing = await verdicts.evidence_for(tx, KEY, 2, 1)
        assert (nothing.covered, nothing.missing, nothing.releasable) == (True, HOLDING, False)
        for suite in HOLDING:
            await say(tx, suite, "inconclusive" if suite == "injection" else "same")
        enough = await verdicts.evidence_for(tx, KEY, 2, 1)
        assert (enough.missing, enough.inconclusive, enough.releasable) == ([], ["injection"], True)

    async def test_is_not_given_by_the_rules_nor_for_other_versions(self, tx: Tx):
        for suite in HOLDING:
            await say(tx, suite, "improved", engine="rules", model=None)
            await say(tx, suite, "improved", prompt_version=3)
            await say(tx, suite, "improved", against_version=3)
        evidence = await verdicts.evidence_for(tx, KEY, 2, 1)
        assert (evidence.missing, evidence.releasable) == (HOLDING, False)
        assert {verdict.engine for verdict in await verdicts.verdicts_of(tx, KEY, 2, 1)} == {"rules"}

    async def test_says_no_when_one_suite_regressed_and_hears_the_newest(self, tx: Tx):
        for suite in HOLDING:
            await say(tx, suite, "regressed" if suite == "analysis" else "same")
        assert (await verdicts.evidence_for(tx, KEY, 2, 1)).regressed == ["analysis"]
        later = Tx(tx.connection, tx.now.replace(year=tx.now.year + 1))
        await say(later, "analysis", "improved", model="another")
        evidence = await verdicts.evidence_for(tx, KEY, 2, 1)
        assert (evidence.regressed, evidence.releasable) == ([], True)

    async def test_on_cases_that_have_been_changed_since_is_stale(self, tx: Tx):
        for suite in HOLDING:
            await say(tx, suite, "same", **({"dataset": "as it was"} if suite == "analysis" else {}))
        evidence = await verdicts.evidence_for(tx, KEY, 2, 1)
        assert (evidence.stale, evidence.missing, evidence.releasable) == (["analysis"], ["analysis"], False)

    async def test_of_a_prompt_that_no_suite_holds_is_none(self, tx: Tx):
        evidence = await verdicts.evidence_for(tx, "a_prompt_of_ours", 2, 1)
        assert (evidence.covered, evidence.releasable) == (False, False)

    async def test_of_a_prompt_with_a_suffix_is_that_of_the_prompt_it_answers_for(self, tx: Tx):
        key = f"{KEY}__onboarding"
        for suite in HOLDING:
            await say(tx, suite, "same", prompt_key=key, prompt_version=1)
        assert (await verdicts.evidence_for(tx, key, 1, 1, KEY)).releasable
        assert not (await verdicts.evidence_for(tx, key, 1, 1)).releasable

    async def test_stays_as_it_was_given(self, tx: Tx):
        verdict = await say(tx, "analysis", "regressed")
        with pytest.raises(Exception, match="immutable"):
            await tx.run("UPDATE eval_verdicts SET verdict = 'same' WHERE id = %(id)s", id=verdict.id)


class TestRequesting:
    async def ask(self, tx: Tx, caller: Any, configured: Any = "openai", **fields: Any) -> Any:
        return await requesting.request_evaluation(tx, caller, RequestEvaluationIn(**fields), configured=configured)

    async def test_makes_a_run_for_each_suite_and_one_job(self, tx: Tx, admin: Any, prompt: Any):
        asked = await self.ask(tx, admin, prompt_key=KEY, prompt_version=2, limit_usd=2.5)
        assert sorted(run.suite for run in asked.runs) == HOLDING
        (first, *_) = asked.runs
        assert (first.status, first.engine, first.against_version, first.limit_usd) == ("queued", "openai", 1, 2.5)
        assert (first.started_by, first.started_by_name) == (admin.user_id, admin.name)
        jobs = await tx.many(str, "SELECT payload ->> 'batch_id' FROM outbox WHERE job = 'evaluations.run'")
        assert jobs == [str(asked.batch_id)]

    async def test_is_taken_up_in_the_rows_that_were_made(self, tx: Tx, admin: Any, prompt: Any):
        asked = await self.ask(tx, admin, prompt_key=KEY, prompt_version=2, suite="analysis")
        batch = await recording.find_batch(tx, asked.batch_id)
        assert batch is not None
        assert (batch.suites, batch.prompt_version, batch.against_version) == (["analysis"], 2, 1)
        reference = await recording.open_run(tx, new_run(batch_id=asked.batch_id, prompt_version=1))
        tried = await recording.open_run(tx, new_run(batch_id=asked.batch_id))
        assert (tried, reference == tried) == (asked.runs[0].id, False)

    async def test_without_a_prompt_runs_every_suite_as_things_are(self, tx: Tx, admin: Any):
        asked = await self.ask(tx, admin, "rules")
        assert {run.suite for run in asked.runs} == {one.name for one in suites.list_suites() if not one.needs_model}
        assert {(run.engine, run.against_kind) for run in asked.runs} == {("rules", "baseline")}

    @pytest.mark.parametrize(
        ("fields", "refusal"),
        [
            ({"prompt_key": KEY, "prompt_version": 9}, PromptVersionMissing),
            ({"prompt_key": KEY, "prompt_version": 2, "against_version": 9}, PromptVersionMissing),
            ({"prompt_key": KEY, "prompt_version": 1}, SameVersion),
            ({"prompt_key": KEY, "prompt_version": 2, "suite": "matching"}, NoSuiteHolds),
            ({"suite": "weather"}, UnknownSuite),
            ({"prompt_key": "a_prompt_of_ours", "prompt_version": 1}, NoSuiteHolds),
        ],
    )
    async def test_refuses_what_cannot_be_run(self, tx: Tx, admin: Any, prompt: Any, fields: Any, refusal: Any):
        with pytest.raises(refusal):
            await self.ask(tx, admin, **fields)

    async def test_refuses_a_prompt_where_only_rules_answer(self, tx: Tx, admin: Any, prompt: Any):
        with pytest.raises(ModelMissing):
            await self.ask(tx, admin, "rules", prompt_key=KEY, prompt_version=2)
        with pytest.raises(ModelMissing):
            await self.ask(tx, admin, "rules", suite="analysis", engine="openai")

    async def test_needs_something_to_be_held_against(self, tx: Tx, admin: Any, prompt: Any):
        await tx.run("UPDATE ai_prompts SET is_active = false")
        with pytest.raises(NothingToCompare):
            await self.ask(tx, admin, prompt_key=KEY, prompt_version=2)

    async def test_holds_a_prompt_with_a_suffix_against_the_one_it_answers_for(
        self, tx: Tx, given: Any, admin: Any, prompt: Any
    ):
        own = await given.row("ai_prompts", key=f"{KEY}__onboarding", name="Onboarding")
        await given.row("ai_prompt_versions", prompt_id=own.id, version=1, prompt_template="x")
        asked = await self.ask(tx, admin, prompt_key=own.key, prompt_version=1, suite="analysis")
        assert (asked.runs[0].against_key, asked.runs[0].against_version) == (KEY, 1)

    async def test_is_not_made_twice_at_a_time(self, tx: Tx, admin: Any, prompt: Any):
        first = await self.ask(tx, admin, prompt_key=KEY, prompt_version=2)
        with pytest.raises(EvaluationUnderWay) as refused:
            await self.ask(tx, admin, prompt_key=KEY, prompt_version=2, suite="analysis")
        assert refused.value.facts["batch_id"] == str(first.batch_id)
        await recording.end_batch(tx, first.batch_id, "failed", "No.")
        assert (await self.ask(tx, admin, prompt_key=KEY, prompt_version=2)).batch_id != first.batch_id

    async def test_is_for_admins(self, tx: Tx, given: Any):
        with pytest.raises(EvaluationsForAdmins):
            await self.ask(tx, await given.user(role="manager"), suite="analysis")


class TestSuites:
    def test_of_the_default_system_message_are_those_of_prompts_without_their_own(self):
        shared = {suite.name for suite in suites.suites_of("core_system")}
        assert shared == {suite.name for suite in suites.list_suites() if "core_system" in suite.prompts}

    def test_have_one_dear_scorer(self):
        assert all(sum(scorer.dear for scorer in suite.scorers) == 1 for suite in suites.list_suites())
