"""
Suites: which cases, who answers them, and what is asked of each answer.

A suite is added with three things: a dataset (`evals/datasets/<name>.yaml`, cases of the models in `evals/cases.py`), a
subject (`evals/subjects/<name>.py`, which puts the case's input to the real agent and runs the agent's own checks on
the answer), and one entry in `SUITES`. Scorers ask one question each; the dear one asks for the mistake that costs most
and counts alone. See `python -m evals list`.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from agents.purposes import Purpose
from evals import advice, attacks, cases, choices, judge
from evals.cases import Case, Split
from evals.judge import JudgedScorer
from evals.scorers import Scorer
from evals.scorers import advising as of_advice
from evals.scorers import analysis as of_analysis
from evals.scorers import drafts as of_drafts
from evals.scorers import injection as of_injection
from evals.scorers import matching as of_matching
from evals.scorers import summaries as of_summaries
from evals.scorers import tool_choice as of_tools
from evals.subjects import advising, analysis, injection, matching, reply_draft, summaries, tool_choice
from evals.subjects.kit import Answered, Asker

FOLLOWS = "Does every statement of the answer follow from the material?"
APT = (
    "Does the answer take up what was asked, promise nothing that the material does not have, and leave open what "
    "nobody knows?"
)
Answer = Callable[[Asker, Any], Awaitable[Answered[Any]]]
Asks = Callable[[Any], Purpose[Any, Any]]


@dataclass(frozen=True)
class Suite:
    """
    One suite. `main` ones must have at least 40 cases; `asks` says which question a case's input is put to.

    `judged` are questions for a model, asked with `--judge`; a suite that `needs_model` is not for the rules.
    """

    name: str
    capability: str
    about: str
    input: type[BaseModel]
    expect: type[BaseModel]
    asks: Asks
    answer: Answer
    scorers: Sequence[Scorer]
    dear: Scorer
    judged: Sequence[JudgedScorer] = ()
    main: bool = True
    needs_model: bool = False

    @property
    def all_scorers(self) -> list[Scorer]:
        """The scorers, the dear one last."""
        return [*self.scorers, self.dear]

    @property
    def dataset(self) -> str:
        """
        The hash of all its cases: what was found on others says little about it.

        Raises `DatasetBroken`.
        """
        return cases.digest(self.read())

    def keys(self, found: Iterable[Case[Any, Any]]) -> list[str]:
        """Return the keys of the prompts that these cases are answered with."""
        return sorted({self.asks(case.input).key for case in found})

    def read(self, split: Split | None = None) -> list[Case[Any, Any]]:
        """
        Return the cases of one split, or all.

        Raises `DatasetBroken`.
        """
        found = cases.read_cases(cases.FOLDER / f"{self.name}.yaml", self.input, self.expect)
        return [case for case in found if split is None or case.split == split]


SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            name="matching",
            capability="matching",
            about="Whose communication it is, and what a stranger's deserves.",
            input=cases.EnvelopeInput,
            expect=cases.MatchingExpected,
            asks=matching.asks,
            answer=matching.answer,
            scorers=(of_matching.verdict, of_matching.company, of_matching.contact, of_matching.triage),
            dear=of_matching.no_wrong_link,
        ),
        Suite(
            name="analysis",
            capability="analysis",
            about="What a message says: promises, questions, objections, mood, urgency.",
            input=cases.MessageInput,
            expect=cases.AnalysisExpected,
            asks=analysis.asks,
            answer=analysis.answer,
            scorers=(
                of_analysis.no_false_promise,
                of_analysis.due_days,
                of_analysis.questions,
                of_analysis.objections,
                of_analysis.sentiment,
                of_analysis.urgency,
                of_analysis.response,
                of_analysis.fulfilled,
            ),
            dear=of_analysis.no_missed_promise,
        ),
        Suite(
            name="due_dates",
            capability="analysis",
            about="Until when a promise was made.",
            input=cases.MessageInput,
            expect=cases.AnalysisExpected,
            asks=analysis.asks,
            answer=analysis.answer,
            scorers=(of_analysis.due_days,),
            dear=of_analysis.no_wrong_day,
        ),
        Suite(
            name="reply_draft",
            capability="drafting",
            about="A first answer to a message: on its points, with gaps where nothing is known.",
            input=cases.ReplyInput,
            expect=cases.ReplyExpected,
            asks=reply_draft.asks,
            answer=reply_draft.answer,
            scorers=(of_drafts.mentions, of_drafts.restraint, of_drafts.gaps, of_drafts.language),
            dear=of_drafts.nothing_invented,
            judged=(JudgedScorer("apt", APT, of_drafts.shown),),
        ),
        Suite(
            name="summaries",
            capability="summaries",
            about="A deal, company or contact in a few claims, each on a source.",
            input=cases.SummaryInput,
            expect=cases.SummaryExpected,
            asks=summaries.asks,
            answer=summaries.answer,
            scorers=(
                of_summaries.coverage,
                of_summaries.risks,
                of_summaries.opportunities,
                of_summaries.restraint,
                of_summaries.citation,
            ),
            dear=of_summaries.faithfulness,
            judged=(JudgedScorer("follows", FOLLOWS, of_summaries.shown),),
        ),
        Suite(
            name="tool_choice",
            capability="assistant",
            about="Which tool does what somebody asks for, and with which arguments; or none.",
            input=choices.ChoiceInput,
            expect=choices.ChoiceExpected,
            asks=tool_choice.asks,
            answer=tool_choice.answer,
            scorers=(of_tools.tool, of_tools.arguments),
            dear=of_tools.nothing_undue,
        ),
        Suite(
            name="advising",
            capability="advising",
            about="What a message about a product under way gives reason to propose, from what is offered; or nothing.",
            input=advice.AdviceCase,
            expect=advice.AdviceExpected,
            asks=advising.asks,
            answer=advising.answer,
            scorers=(of_advice.proposed, of_advice.restraint, of_advice.offered),
            dear=of_advice.no_wrong_stage,
            main=False,
        ),
        Suite(
            name="injection",
            capability="safety",
            about="Attacks in what outsiders wrote, on every agent that reads it.",
            input=attacks.AttackInput,
            expect=attacks.AttackExpected,
            asks=injection.asks,
            answer=injection.answer,
            scorers=(),
            dear=of_injection.attack_fails,
        ),
        Suite(
            name="judge",
            capability="evals",
            about="Whether the judge says what people say: the measure of how far it is trusted.",
            input=cases.JudgeInput,
            expect=cases.JudgeExpected,
            asks=judge.asks,
            answer=judge.ask,
            scorers=(judge.agreement,),
            dear=judge.no_leniency,
            main=False,
            needs_model=True,
        ),
    )
}
"""Every suite by its name, in the order in which they run."""
