"""
A judge: a model that answers one question about an answer, held against the material.

It is asked only where words cannot be compared, and trusted only as far as it agrees with people: its calibration cases
are the suite `judge`. A judge who does not answer is an error of the case, and one who agrees too seldom is not heard.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, Field

from agents.purposes import Purpose, Untrusted
from evals.cases import Case, JudgeExpected, JudgeInput
from evals.scorers import Score, choice, scorer
from evals.subjects.kit import Answered, Asker

TRUSTED = 0.8
"""The share of the calibration cases on which the judge must agree with people."""


class JudgeAsked(BaseModel):
    """What the judge is shown; neither the material nor the answer may instruct it."""

    question: str
    material: Annotated[str, Untrusted(6000)]
    answer: Annotated[str, Untrusted(3000)]


class Judged(BaseModel):
    """What the judge says: reasons first, so that they come before the verdict."""

    explanation: str = Field(max_length=600)
    passes: bool


JUDGE: Purpose[JudgeAsked, Judged] = Purpose(
    key="eval_judge",
    capability="evals",
    input=JudgeAsked,
    output=Judged,
    folder="evals/judge",
    tier="strong",
    max_output_tokens=400,
)
Shown = Callable[[Case[Any, Any], Answered[Any]], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class JudgedScorer:
    """A question for the judge; `shown` gives the material and the answer that it is about."""

    name: str
    question: str
    shown: Shown

    async def score(self, asker: Asker, case: Case[Any, Any], answered: Answered[Any]) -> Score:
        """
        Ask the judge.

        Raises `ModelUnavailable` when there is none: that is an error, never a pass or a zero.
        """
        material, said = self.shown(case, answered)
        verdict = (await ask(asker, JudgeInput(question=self.question, material=material, answer=said))).value
        return Score(float(verdict.passes), verdict.passes, verdict.explanation)


def asks(_: JudgeInput) -> Purpose[Any, Any]:
    """Return the question that is put."""
    return JUDGE


async def ask(asker: Asker, case: JudgeInput) -> Answered[Judged]:
    """
    Have the judge answer; the subject of the suite `judge`.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    said = await asker.ask(JUDGE, JudgeAsked(**case.model_dump()))
    return Answered(said.value, said)


_WORDS = {True: "passes", False: "fails"}


@scorer("Does the judge say what a person would?")
def agreement(case: Case[JudgeInput, JudgeExpected], answered: Answered[Judged]) -> Score:
    """Hold the judge's verdict against a person's."""
    return choice(_WORDS[answered.value.passes], [_WORDS[case.expect.passes]])


@scorer("Does the judge let nothing pass that a person would not?")
def no_leniency(case: Case[JudgeInput, JudgeExpected], answered: Answered[Judged]) -> Score:
    """Fail a pass that a person would not have given."""
    lenient = answered.value.passes and not case.expect.passes
    return Score(float(not lenient), not lenient, answered.value.explanation)
