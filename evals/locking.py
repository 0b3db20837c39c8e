"""
The held-out cases, locked: whoever tunes an agent until they pass has to change this file, and so has to say so.

`python -m evals lock` writes it anew after cases were added or put right.
"""

from pathlib import Path

from evals import cases
from evals.suites import Suite

FILE = Path(__file__).parent / "held_out.lock"


class HeldOutChanged(Exception):
    """The held-out cases of a suite are not those that were locked."""


def fingerprint(suite: Suite) -> str:
    """
    Return the line that locks a suite's held-out cases: their hash, their number, its name.

    Raises `DatasetBroken`.
    """
    held = suite.read("held_out")
    return f"{cases.digest(held)} {len(held):4} {suite.name}"


def write(suites: list[Suite], path: Path = FILE) -> None:
    """Lock the held-out cases as they are."""
    path.write_text("".join(f"{fingerprint(suite)}\n" for suite in suites), encoding="utf-8")


def check(suite: Suite, path: Path = FILE) -> None:
    """
    Tell whether the held-out cases of the suite are those that were locked.

    Raises `HeldOutChanged`.
    """
    locked = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    if fingerprint(suite) not in locked:
        raise HeldOutChanged(
            f"the held-out cases of {suite.name} are not those that were locked; "
            "if that is meant, run `python -m evals lock` and say why in the commit"
        )
