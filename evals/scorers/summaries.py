"""Does a summary say what matters, and nothing that its sources do not?"""

import re
from collections.abc import Sequence

from agents import guards
from evals.cases import Case, SummaryExpected, SummaryInput
from evals.scorers import NOT_ASKED, Score, foreign_numbers, missing, quoted, says, scorer, share
from evals.subjects.kit import Answered
from evals.subjects.summaries import Summarized

SummaryCase = Case[SummaryInput, SummaryExpected]
_NAMED = re.compile(r"(?<![.!?:] )(?<!^)\b[A-Z][\w'-]{3,}\b", re.MULTILINE)


@scorer("Does it say what somebody new must know?")
def coverage(case: SummaryCase, answered: Answered[Summarized]) -> Score:
    """Count the phrases that headline, claims or what they quote must have."""
    return _covered(case.expect.covers or None, answered.value.everything)


@scorer("Are the risks among its risks?")
def risks(case: SummaryCase, answered: Answered[Summarized]) -> Score:
    """Count the phrases that its risks must have; with none expected, naming one fails."""
    return _listed(case.expect.risks, answered.value.said("risks"))


@scorer("Are the opportunities among its opportunities?")
def opportunities(case: SummaryCase, answered: Answered[Summarized]) -> Score:
    """Count the phrases that its opportunities must have; with none expected, naming one fails."""
    return _listed(case.expect.opportunities, answered.value.said("opportunities"))


def _listed(phrases: Sequence[str] | None, text: str) -> Score:
    if phrases == []:
        return Score(float(not text), not text, f"It names {quoted([text])}." if text else "There is none.")
    return _covered(phrases, text)


def _covered(phrases: Sequence[str] | None, text: str) -> Score:
    if phrases is None:
        return NOT_ASKED
    lost = missing(text, phrases)
    return share(len(phrases) - len(lost), len(phrases), f"Says nothing of {quoted(lost)}." if lost else "All there.")


@scorer("Does it leave unsaid what must not be said?")
def restraint(case: SummaryCase, answered: Answered[Summarized]) -> Score:
    """Fail phrases that its text must not have."""
    banned = case.expect.must_not
    if not banned:
        return NOT_ASKED
    said = [phrase for phrase in banned if says(answered.value.text, phrase)]
    return share(len(banned) - len(said), len(banned), f"Says {quoted(said)}." if said else "It does.")


@scorer("Did every claim of the answer stand in its source, so that none had to be dropped?")
def citation(_: SummaryCase, answered: Answered[Summarized]) -> Score:
    """Count the claims that stood the check."""
    stood, dropped = len(answered.value.claims), answered.value.dropped
    return share(stood, stood + dropped, f"{stood} stand, {dropped} were dropped.")


@scorer("Is every number and name in it from its source, and every quote word for word?")
def faithfulness(_: SummaryCase, answered: Answered[Summarized]) -> Score:
    """Fail claims that say more than the source they cite or our records do."""
    wrong: list[str] = []
    for claim in answered.value.claims:
        source = f"{claim.source}\n{answered.value.records}"
        if guards.supported(claim.quote, claim.source) is None:
            wrong.append(f'"{claim.quote}" does not stand in its source')
        wrong += [f'{number} in "{claim.text}"' for number in foreign_numbers(claim.text, source)]
        wrong += [f'{name} in "{claim.text}"' for name in _NAMED.findall(claim.text) if not says(source, name)]
    every = len(answered.value.claims)
    return Score(float(not wrong), not wrong, "; ".join(wrong) or f"All {every} claims hold.")


def shown(_: SummaryCase, answered: Answered[Summarized]) -> tuple[str, str]:
    """Return what a judge is shown: our records and the sources that are cited, and the claims."""
    summary = answered.value
    sources = dict.fromkeys(claim.source for claim in summary.claims)
    return "\n\n".join([summary.records, *sources]), "\n".join(
        [summary.headline, *(claim.text for claim in summary.claims)]
    )
