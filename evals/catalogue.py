"""
What the house knows of the suites: which there are, what they ask, and which prompts they hold.

Nothing below may import the evals, so the suites write it down. `python -m evals lock` does, and a test holds it in step.
"""

from pathlib import Path

import orjson

from evals.suites import Suite
from prompts import registry
from prompts.registry import SYSTEM
from tools.evaluations import suites as kept
from tools.evaluations.suites import ScorerRow, SuiteRow, SuitesOut

FILE = kept.FILE


def describe(suite: Suite) -> SuiteRow:
    """
    Return what the house shall know of one suite.

    Raises `DatasetBroken`.
    """
    found = suite.read()
    keys = suite.keys(found)
    shared = [SYSTEM] if any(not registry.shelf().get(key).system for key in keys) else []
    return SuiteRow(
        name=suite.name,
        capability=suite.capability,
        about=suite.about,
        prompts=[*keys, *shared],
        scorers=[
            ScorerRow(name=scorer.name, question=scorer.question, dear=scorer is suite.dear)
            for scorer in suite.all_scorers
        ],
        cases=len(found),
        held_out=sum(case.split == "held_out" for case in found),
        needs_model=suite.needs_model,
        dataset=suite.dataset,
    )


def write(suites: list[Suite], path: Path = FILE) -> None:
    """Write down what the house shall know."""
    said = SuitesOut(suites=[describe(suite) for suite in suites])
    path.write_bytes(orjson.dumps(said.model_dump(mode="json"), option=orjson.OPT_INDENT_2) + b"\n")
