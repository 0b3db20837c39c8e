"""Runs of evals and what they found, case by case; two runs held side by side."""

from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Invalid, NotFound
from memory.rows import Doc, In, Row
from tools.evaluations.rows import (
    EvalResultFilter,
    EvalResultsOut,
    EvalRunFilter,
    EvalRunNotFound,
    EvalRunRow,
    EvalRunsOut,
    Outcome,
    VerdictRow,
    check_admin,
)
from tools.evaluations.verdicts import VERDICT

RUN = """
    r.id, r.batch_id, r.suite, r.split, r.engine, r.model, r.prompt_key, r.prompt_version, r.against_kind, r.against_key,
    r.against_version, r.against_run_id, r.status, r.planned, r.cases, r.errors, r.remembered, r.tokens,
    r.cost_usd::float8 AS cost_usd, r.limit_usd::float8 AS limit_usd, r.figures,
    (SELECT v.verdict FROM eval_verdicts v WHERE v.run_id = r.id ORDER BY v.created_at DESC LIMIT 1) AS verdict,
    r.report IS NOT NULL AS has_report, r.error, r.started_by, u.name AS started_by_name, r.created_at, r.started_at,
    r.finished_at
"""
JOINED = "eval_runs r LEFT JOIN users u ON u.id = r.started_by"
WANTED = """
    (%(suite)s::text IS NULL OR r.suite = %(suite)s) AND (%(status)s::text IS NULL OR r.status = %(status)s)
    AND (%(engine)s::text IS NULL OR r.engine = %(engine)s) AND (%(prompt_key)s::text IS NULL OR r.prompt_key = %(prompt_key)s)
    AND (%(prompt_version)s::int IS NULL OR r.prompt_version = %(prompt_version)s)
    AND (%(batch_id)s::uuid IS NULL OR r.batch_id = %(batch_id)s)
"""
# A case is in error when nobody answered it, failed when any scorer says so, and passed otherwise.
CASE_OUTCOME = """
    CASE WHEN c.error IS NOT NULL THEN 'error'
         WHEN EXISTS (SELECT FROM eval_case_results s WHERE s.run_id = c.run_id AND s.case_id = c.case_id AND s.outcome = 'failed')
         THEN 'failed' ELSE 'passed' END
"""


class ReportMissing(NotFound):
    """Evaluation {run_id} has no report."""


class SuitesDiffer(Invalid):
    """Only runs of one suite can be compared; these are of {suite} and {other}."""


async def list_runs(tx: Tx, caller: Caller, filter: EvalRunFilter) -> EvalRunsOut:
    """
    Return a page of runs, newest first.

    Raises `EvaluationsForAdmins`.
    """
    check_admin(caller)
    asked = filter.model_dump()
    runs = await tx.many(
        EvalRunRow,
        f"""
        SELECT {RUN} FROM {JOINED} WHERE {WANTED}
         ORDER BY r.created_at DESC, r.id LIMIT %(limit)s OFFSET %(offset)s
        """,
        **asked,
    )
    total = await tx.one(int, f"SELECT count(*) FROM eval_runs r WHERE {WANTED}", **asked)
    return EvalRunsOut(runs=runs, total=total)


async def get_run(tx: Tx, caller: Caller, run_id: UUID) -> EvalRunRow:
    """
    Return one run.

    Raises `EvaluationsForAdmins`, `EvalRunNotFound`.
    """
    check_admin(caller)
    return await tx.one(
        EvalRunRow,
        f"SELECT {RUN} FROM {JOINED} WHERE r.id = %(run_id)s",
        missing=EvalRunNotFound(run_id=run_id),
        run_id=run_id,
    )


async def get_report(tx: Tx, caller: Caller, run_id: UUID) -> str:
    """
    Return a run's report: a page of HTML that stands by itself, without scripts.

    Raises `EvaluationsForAdmins`, `EvalRunNotFound`, `ReportMissing`.
    """
    await get_run(tx, caller, run_id)
    return await tx.one(
        str, "SELECT report FROM eval_runs WHERE id = %(run_id)s", missing=ReportMissing(run_id=run_id), run_id=run_id
    )


async def list_results(tx: Tx, caller: Caller, run_id: UUID, filter: EvalResultFilter) -> Doc[EvalResultsOut]:
    """
    Return a page of a run's cases, what went wrong first; held-out ones are only counted.

    Raises `EvaluationsForAdmins`, `EvalRunNotFound`.
    """
    await get_run(tx, caller, run_id)
    return await tx.doc(
        EvalResultsOut,
        f"""
        WITH every AS (
            SELECT c.*, {CASE_OUTCOME} AS outcome FROM eval_cases c WHERE c.run_id = %(run_id)s
        ), wanted AS (
            SELECT e.* FROM every e
             WHERE e.split = 'dev'
               AND CASE WHEN %(scorer)s::text IS NULL THEN %(outcome)s::text IS NULL OR e.outcome = %(outcome)s
                        ELSE EXISTS (SELECT FROM eval_case_results s
                                      WHERE s.run_id = e.run_id AND s.case_id = e.case_id AND s.scorer = %(scorer)s
                                        AND (%(outcome)s::text IS NULL OR s.outcome = %(outcome)s)) END
        ), page AS (
            SELECT * FROM wanted
             ORDER BY array_position(ARRAY['error', 'failed', 'passed'], outcome), case_id LIMIT %(limit)s OFFSET %(offset)s
        )
        SELECT json_build_object(
            'results', (SELECT coalesce(json_agg(json_build_object(
                'case_id', p.case_id, 'why', p.why, 'tags', p.tags, 'outcome', p.outcome, 'error', p.error, 'answer', p.answer,
                'model', p.model, 'prompt_key', p.prompt_key, 'prompt_version', p.prompt_version, 'cached', p.cached,
                'latency_ms', p.latency_ms, 'scores', (
                    SELECT coalesce(json_agg(json_build_object('scorer', s.scorer, 'outcome', s.outcome, 'score', s.score,
                                                               'explanation', s.explanation) ORDER BY s.scorer), '[]')
                      FROM eval_case_results s WHERE s.run_id = p.run_id AND s.case_id = p.case_id)
                ) ORDER BY array_position(ARRAY['error', 'failed', 'passed'], p.outcome), p.case_id), '[]') FROM page p),
            'total', (SELECT count(*) FROM wanted),
            'held_out', (SELECT json_build_object('passed', count(*) FILTER (WHERE outcome = 'passed'),
                                                  'failed', count(*) FILTER (WHERE outcome = 'failed'),
                                                  'error', count(*) FILTER (WHERE outcome = 'error'))
                           FROM every WHERE split = 'held_out')
        )::text
        """,
        run_id=run_id,
        **filter.model_dump(),
    )


# Side by side -------------------------------------------------------------------------------------------------------


class CompareFilter(In):
    """Two runs of one suite; `show` says whether cases that came out the same are listed too."""

    run_id: UUID
    against_run_id: UUID
    show: Literal["changed", "all"] = "changed"


class ScorerCompared(Row):
    """One scorer in both runs, over the cases that both have unchanged: `lost` passed before and fail now."""

    scorer: str
    dear: bool
    paired: int
    passed: int
    against_passed: int
    lost: int
    won: int
    errors: int


class CaseCompared(Row):
    """One case as one scorer saw it in both runs."""

    case_id: str
    why: str
    scorer: str
    before: Outcome
    after: Outcome
    explanation_before: str
    explanation_after: str


class ComparedOut(Row):
    """Two runs side by side; `unpaired` cases are in one of them only or were changed, `verdict` is there if one was given."""

    run: EvalRunRow
    against: EvalRunRow
    scorers: list[ScorerCompared]
    cases: list[CaseCompared]
    unpaired: int
    verdict: VerdictRow | None


PAIRED = """
    SELECT n.case_id, n.scorer, c.split, c.why, b.outcome AS before, n.outcome AS after, b.explanation AS explanation_before,
           n.explanation AS explanation_after
      FROM eval_cases c
      JOIN eval_cases d ON d.run_id = %(against_run_id)s AND d.case_id = c.case_id AND d.digest = c.digest
      JOIN eval_case_results n ON n.run_id = c.run_id AND n.case_id = c.case_id
      JOIN eval_case_results b ON b.run_id = d.run_id AND b.case_id = d.case_id AND b.scorer = n.scorer
     WHERE c.run_id = %(run_id)s
"""


async def compare_runs(tx: Tx, caller: Caller, filter: CompareFilter) -> ComparedOut:
    """
    Hold two runs of one suite side by side, case by case; of held-out cases only the numbers are told.

    Raises `EvaluationsForAdmins`, `EvalRunNotFound`, `SuitesDiffer`.
    """
    run = await get_run(tx, caller, filter.run_id)
    against = await get_run(tx, caller, filter.against_run_id)
    if run.suite != against.suite:
        raise SuitesDiffer(suite=run.suite, other=against.suite)
    ids = {"run_id": run.id, "against_run_id": against.id}
    dear = next((figure.name for figure in run.figures.scorers if figure.dear), None)
    scorers = await tx.many(
        ScorerCompared,
        f"""
        SELECT scorer, scorer IS NOT DISTINCT FROM %(dear)s::text AS dear, count(*) FILTER (WHERE heard) AS paired,
               count(*) FILTER (WHERE heard AND after = 'passed') AS passed,
               count(*) FILTER (WHERE heard AND before = 'passed') AS against_passed,
               count(*) FILTER (WHERE before = 'passed' AND after = 'failed') AS lost,
               count(*) FILTER (WHERE before = 'failed' AND after = 'passed') AS won,
               count(*) FILTER (WHERE NOT heard) AS errors
          FROM (SELECT *, 'error' NOT IN (before, after) AS heard FROM ({PAIRED}) p) q
         GROUP BY scorer ORDER BY 2 DESC, scorer
        """,
        dear=dear,
        **ids,
    )
    cases = await tx.many(
        CaseCompared,
        f"""
        SELECT case_id, why, scorer, before, after, explanation_before, explanation_after FROM ({PAIRED}) p
         WHERE split = 'dev' AND (%(show)s = 'all' OR before <> after)
         ORDER BY after = 'passed', scorer IS DISTINCT FROM %(dear)s::text, scorer, case_id LIMIT 2000
        """,
        dear=dear,
        show=filter.show,
        **ids,
    )
    return ComparedOut(
        run=run,
        against=against,
        scorers=scorers,
        cases=cases,
        unpaired=await _count_unpaired(tx, **ids),
        verdict=await tx.maybe(
            VerdictRow,
            f"""
            SELECT {VERDICT} FROM eval_verdicts v
             WHERE v.run_id = %(run_id)s AND v.against_run_id = %(against_run_id)s ORDER BY v.created_at DESC LIMIT 1
            """,
            **ids,
        ),
    )


async def _count_unpaired(tx: Tx, run_id: UUID, against_run_id: UUID) -> int:
    return await tx.one(
        int,
        """
        SELECT count(*) FROM (SELECT case_id, digest FROM eval_cases WHERE run_id = %(run_id)s) a
               FULL JOIN (SELECT case_id, digest FROM eval_cases WHERE run_id = %(against_run_id)s) b USING (case_id, digest)
         WHERE a.case_id IS NULL OR b.case_id IS NULL
        """,
        run_id=run_id,
        against_run_id=against_run_id,
    )
