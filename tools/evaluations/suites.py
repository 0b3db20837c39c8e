"""
Which suites there are, and which prompts each of them holds.

The file is written by the evals (`python -m evals lock`) from the suites themselves, so that this floor need not know them.
"""

from functools import cache

from memory.errors import Invalid
from memory.rows import Row
from prompts import registry

FILE = registry.FOLDER / "suites.json"


class UnknownSuite(Invalid):
    """There is no suite {suite}; there are {known}."""


class ScorerRow(Row):
    """One question that is asked of every answer; the `dear` one is about the mistake that costs most."""

    name: str
    question: str
    dear: bool


class SuiteRow(Row):
    """
    One suite. `prompts` are the keys whose words its cases are answered with; `dataset` is a hash of its cases.

    A suite that `needs_model` is not for the rules.
    """

    name: str
    capability: str
    about: str
    prompts: list[str]
    scorers: list[ScorerRow]
    cases: int
    held_out: int
    needs_model: bool
    dataset: str

    @property
    def dear(self) -> str:
        """The name of the dear scorer."""
        return next(scorer.name for scorer in self.scorers if scorer.dear)


class SuitesOut(Row):
    """Every suite, in the order in which they run."""

    suites: list[SuiteRow]


@cache
def shelf() -> SuitesOut:
    """Return every suite, read once."""
    return SuitesOut.model_validate_json(FILE.read_bytes())


def list_suites() -> list[SuiteRow]:
    """Return every suite, in the order in which they run."""
    return shelf().suites


def get_suite(name: str) -> SuiteRow:
    """
    Return the suite of this name.

    Raises `UnknownSuite`.
    """
    for suite in list_suites():
        if suite.name == name:
            return suite
    raise UnknownSuite(suite=name, known=", ".join(suite.name for suite in list_suites()))


def base_key(key: str) -> str:
    """Return the key that a prompt with a suffix answers for."""
    return key.partition("__")[0]


def suites_of(key: str) -> list[SuiteRow]:
    """Return the suites that hold a prompt; one with a suffix is held by those of the prompt it answers for."""
    return [suite for suite in list_suites() if base_key(key) in suite.prompts]
