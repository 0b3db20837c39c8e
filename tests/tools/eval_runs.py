"""Runs of evals as the evals would write them down: what tests of evaluations start from."""

from typing import Any
from uuid import UUID, uuid4

from memory.db import Tx
from tools.evaluations import recording, suites, verdicts
from tools.evaluations.recording import CaseFound, EndedRun, NewEvalRun, ScoreFound
from tools.evaluations.rows import FigureRow, Figures
from tools.evaluations.verdicts import NewVerdict

KEY = "communication_hub_analysis"
HOLDING = ["analysis", "due_dates", "injection"]


def new_run(**fields: Any) -> NewEvalRun:
    plain: dict[str, Any] = {
        "batch_id": uuid4(), "suite": "analysis", "split": "all", "engine": "openai", "model": "m", "prompt_key": KEY,
        "prompt_version": 2, "dataset": "d" * 64, "planned": 3, "limit_usd": 5.0,
    }  # fmt: skip
    return NewEvalRun.model_validate(plain | fields)


def found(case_id: str, *outcomes: str, split: str = "dev", digest: str = "d", **fields: Any) -> CaseFound:
    """A case that the scorers `no_missed_promise` and `sentiment` said so of."""
    names = ("no_missed_promise", "sentiment")
    return CaseFound.model_validate(
        {
            "case_id": case_id, "digest": digest, "split": split, "why": f"Why {case_id}", "answer": {"said": case_id},
            "scores": [
                ScoreFound(scorer=name, outcome=outcome, score=None if outcome == "error" else float(outcome == "passed"), explanation=f"{case_id} {outcome}")  # pyright: ignore[reportArgumentType]
                for name, outcome in zip(names, outcomes, strict=False)
            ],
        }
        | fields
    )  # fmt: skip


def ended(**fields: Any) -> EndedRun:
    dear = FigureRow(
        name="no_missed_promise", question="?", dear=True, passed=1, of=2, share=0.5, low=0.1, high=0.9, mean=None
    )
    plain: dict[str, Any] = {
        "status": "finished", "cases": 3, "errors": 0, "remembered": 1, "tokens": 360, "cost_usd": 0.25,
        "figures": Figures(scorers=[dear]),
    }  # fmt: skip
    return EndedRun.model_validate(plain | fields)


async def kept(tx: Tx, *cases: CaseFound, **fields: Any) -> UUID:
    run_id = await recording.open_run(tx, new_run(**fields))
    await recording.record_results(tx, run_id, list(cases))
    await recording.end_run(tx, run_id, ended())
    return run_id


async def say(tx: Tx, suite: str, verdict: str, **fields: Any) -> Any:
    plain: dict[str, Any] = {
        "run_id": await kept(tx, suite=suite), "against_run_id": None, "prompt_key": KEY, "prompt_version": 2,
        "against_key": KEY, "against_version": 1, "suite": suite, "engine": "openai", "model": "m", "dataset": suites.get_suite(suite).dataset,
        "verdict": verdict, "reason": "So it is.", "detail": {"scorers": []},
    }  # fmt: skip
    return await verdicts.record_verdict(tx, NewVerdict.model_validate(plain | fields))
