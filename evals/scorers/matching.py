"""Was the sender placed as far as the evidence goes, and no farther?"""

from evals.cases import Case, EnvelopeInput, MatchingExpected
from evals.scorers import NOT_ASKED, Score, choice, scorer
from evals.subjects.kit import Answered
from evals.subjects.matching import Placed

Matched = Case[EnvelopeInput, MatchingExpected]


@scorer("Is it linked, put to a person, or left alone, as it should be?")
def verdict(case: Matched, answered: Answered[Placed]) -> Score:
    """Hold the verdict against the one expected."""
    return choice(answered.value.verdict, [case.expect.verdict])


@scorer("Is it the right company?")
def company(case: Matched, answered: Answered[Placed]) -> Score:
    """Hold the company linked or proposed against the one expected."""
    return _number(case, "company", case.expect.company, answered.value.company)


@scorer("Is it the right person?")
def contact(case: Matched, answered: Answered[Placed]) -> Score:
    """Hold the contact linked or proposed against the one expected."""
    return _number(case, "contact", case.expect.contact, answered.value.contact)


def _number(case: Matched, field: str, meant: int | None, said: int | None) -> Score:
    if not case.expect.says(field):
        return NOT_ASKED
    right = said == meant
    told = f"{field} {said or 'nobody'}" + ("." if right else f", and should be {meant or 'nobody'}.")
    return Score(float(right), right, told)


@scorer("Is a stranger's message treated as it deserves?")
def triage(case: Matched, answered: Answered[Placed]) -> Score:
    """Hold the triage decision against those expected."""
    if not case.expect.says("triage"):
        return NOT_ASKED
    return choice(answered.value.triage or "no decision", case.expect.triage or ["no decision"])


@scorer("Is nothing linked to somebody it does not belong to?")
def no_wrong_link(case: Matched, answered: Answered[Placed]) -> Score:
    """Fail a link, made without asking, to another company or person than the case allows."""
    placed, expect = answered.value, case.expect
    if placed.verdict != "auto":
        return Score(1.0, True, "Nothing was linked without asking.")
    if placed.company != expect.company:
        return Score(0.0, False, f"Linked to company {placed.company}, and belongs to {expect.company or 'nobody'}.")
    if expect.says("contact") and placed.contact not in (None, expect.contact):
        return Score(0.0, False, f"Linked to contact {placed.contact}, and is from {expect.contact or 'nobody known'}.")
    return Score(1.0, True, f"Linked to company {placed.company}, where it belongs.")
