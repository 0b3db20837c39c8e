"""What the evals write down of a run: that it began, how far it is, what each scorer said, and how it ended."""

from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

from memory.db import Json, Tx
from memory.rows import Row
from tools.evaluations.rows import Engine, Figures, Outcome

SILENT = timedelta(minutes=10)
"""A run that says nothing for so long has lost its process."""
FORGOTTEN = timedelta(hours=6)
"""A run that was asked for so long ago is not waited for any more."""


class NewEvalRun(Row):
    """A run that begins. One that was asked for over the API is known by its batch, suite and version."""

    batch_id: UUID
    suite: str
    split: Literal["dev", "held_out", "all"]
    engine: Engine
    model: str | None
    prompt_key: str | None = None
    prompt_version: int | None = None
    against_kind: Literal["baseline", "prompt", "file"] | None = None
    against_key: str | None = None
    against_version: int | None = None
    against_run_id: UUID | None = None
    dataset: str
    planned: int
    limit_usd: float


class ScoreFound(Row):
    """What one scorer said of one case."""

    scorer: str
    outcome: Outcome
    score: float | None = None
    explanation: str = ""
    said: str | None = None
    meant: str | None = None


class CaseFound(Row):
    """What came of one case."""

    case_id: str
    digest: str
    split: Literal["dev", "held_out"]
    tags: list[str] = []
    why: str = ""
    error: str | None = None
    answer: dict[str, Any] | None = None
    model: str | None = None
    prompt_key: str | None = None
    prompt_version: int | None = None
    prompt_source: Literal["file", "database"] | None = None
    cached: bool = False
    latency_ms: int | None = None
    tokens: int = 0
    cost_usd: float = 0.0
    scores: list[ScoreFound] = []


class EndedRun(Row):
    """How a run ended."""

    status: Literal["finished", "failed", "stopped"]
    cases: int
    errors: int
    remembered: int
    tokens: int
    cost_usd: float
    figures: Figures
    report: str | None = None
    error: str | None = None


async def open_run(tx: Tx, new: NewEvalRun) -> UUID:
    """Write down that a run begins, in the row that was made for it when it was asked for, and return its id."""
    fields = new.model_dump()
    run_id = await tx.maybe(
        UUID,
        """
        UPDATE eval_runs
           SET status = 'running', split = %(split)s, engine = %(engine)s, model = %(model)s, against_kind = %(against_kind)s,
               against_key = %(against_key)s, against_version = %(against_version)s, against_run_id = %(against_run_id)s,
               dataset = %(dataset)s, planned = %(planned)s, limit_usd = %(limit_usd)s, error = NULL, started_at = %(now)s,
               cases = 0, errors = 0
         WHERE id = (SELECT id FROM eval_runs
                      WHERE batch_id = %(batch_id)s AND suite = %(suite)s AND status IN ('queued', 'running')
                        AND prompt_key IS NOT DISTINCT FROM %(prompt_key)s
                        AND prompt_version IS NOT DISTINCT FROM %(prompt_version)s
                      LIMIT 1)
        RETURNING id
        """,
        **fields,
    )
    if run_id is not None:
        return run_id
    return await tx.one(
        UUID,
        """
        INSERT INTO eval_runs (batch_id, suite, split, engine, model, prompt_key, prompt_version, against_kind, against_key,
                               against_version, against_run_id, status, dataset, planned, limit_usd, created_at, started_at)
        VALUES (%(batch_id)s, %(suite)s, %(split)s, %(engine)s, %(model)s, %(prompt_key)s, %(prompt_version)s,
                %(against_kind)s, %(against_key)s, %(against_version)s, %(against_run_id)s, 'running', %(dataset)s,
                %(planned)s, %(limit_usd)s, %(now)s, %(now)s)
        RETURNING id
        """,
        **fields,
    )


async def record_progress(tx: Tx, run_id: UUID, *, cases: int, errors: int) -> None:
    """Say how many cases are done; a run that is over is left as it is."""
    await tx.run(
        "UPDATE eval_runs SET cases = %(cases)s, errors = %(errors)s WHERE id = %(run_id)s AND status = 'running'",
        run_id=run_id,
        cases=cases,
        errors=errors,
    )


async def record_results(tx: Tx, run_id: UUID, cases: list[CaseFound]) -> None:
    """Write down what came of each case, in place of what stood there; of held-out ones neither answer nor reasons."""
    await tx.run("DELETE FROM eval_cases WHERE run_id = %(run_id)s", run_id=run_id)
    columns = (
        "case_id", "digest", "split", "tags", "why", "error", "model", "prompt_key", "prompt_version", "prompt_source",
        "cached", "latency_ms", "tokens", "cost_usd",
    )  # fmt: skip
    shown = [case if case.split == "dev" else _withheld(case) for case in cases]
    await tx.copy(
        "eval_cases",
        ("run_id", *columns, "answer"),
        [
            (run_id, *(getattr(case, name) for name in columns), None if case.answer is None else Json(case.answer))
            for case in shown
        ],
    )
    scored = ("scorer", "outcome", "score", "explanation", "said", "meant")
    await tx.copy(
        "eval_case_results",
        ("run_id", "case_id", *scored),
        [(run_id, case.case_id, *(getattr(score, name) for name in scored)) for case in shown for score in case.scores],
    )


def _withheld(case: CaseFound) -> CaseFound:
    scores = [score.model_copy(update={"explanation": ""}) for score in case.scores]
    return case.model_copy(update={"answer": None, "why": "", "scores": scores})


async def end_run(tx: Tx, run_id: UUID, ended: EndedRun) -> None:
    """Write down how a run ended, with its figures and its report."""
    await tx.run(
        """
        UPDATE eval_runs
           SET status = %(status)s, cases = %(cases)s, errors = %(errors)s, remembered = %(remembered)s, tokens = %(tokens)s,
               cost_usd = %(cost_usd)s, figures = %(figures)s, report = %(report)s, error = %(error)s, finished_at = %(now)s
         WHERE id = %(run_id)s
        """,
        **ended.model_dump(exclude={"figures"}),
        figures=Json(ended.figures),
        run_id=run_id,
    )


async def end_batch(tx: Tx, batch_id: UUID, status: Literal["failed", "stopped"], reason: str) -> int:
    """Give up what is left of a batch, and return how many runs that were."""
    return await tx.run(
        """
        UPDATE eval_runs SET status = %(status)s, error = %(reason)s, finished_at = %(now)s
         WHERE batch_id = %(batch_id)s AND status IN ('queued', 'running')
        """,
        batch_id=batch_id,
        status=status,
        reason=reason,
    )


async def sweep_runs(tx: Tx) -> int:
    """Give up runs whose process says nothing any more, and those that no worker took up, and return how many."""
    return await tx.run(
        """
        UPDATE eval_runs
           SET status = 'failed', finished_at = %(now)s,
               error = CASE status WHEN 'running' THEN 'Its process ended without a word.' ELSE 'No worker took it up.' END
         WHERE status = 'running' AND updated_at < %(now)s - %(silent)s::interval
            OR status = 'queued' AND created_at < %(now)s - %(forgotten)s::interval
        """,
        silent=SILENT,
        forgotten=FORGOTTEN,
    )


class Batch(Row):
    """What a batch was asked for."""

    suites: list[str]
    engine: Engine
    model: str | None
    prompt_key: str | None
    prompt_version: int | None
    against_key: str | None
    against_version: int | None
    limit_usd: float


async def find_batch(tx: Tx, batch_id: UUID) -> Batch | None:
    """Return what is left to do of a batch that was asked for; None when it is over, or there is none."""
    return await tx.maybe(
        Batch,
        """
        SELECT array_agg(suite ORDER BY created_at, suite) AS suites, engine, model, prompt_key, prompt_version,
               against_key, against_version, limit_usd::float8 AS limit_usd
          FROM eval_runs
         WHERE batch_id = %(batch_id)s AND status IN ('queued', 'running') AND limit_usd IS NOT NULL
         GROUP BY engine, model, prompt_key, prompt_version, against_key, against_version, limit_usd
         ORDER BY against_key IS NULL LIMIT 1
        """,
        batch_id=batch_id,
    )
