"""Is what a person should do proposed, and nothing else?"""

from evals.advice import AdviceCase, AdviceExpected, Wanted
from evals.cases import Case
from evals.scorers import NOT_ASKED, Score, scorer, share
from evals.subjects.advising import Advised, Proposed
from evals.subjects.kit import Answered

Advising = Case[AdviceCase, AdviceExpected]


@scorer("Is everything proposed that a careful person would propose?")
def proposed(case: Advising, answered: Answered[Advised]) -> Score:
    """Count the proposals expected that were made."""
    wanted = case.expect.propose
    if not wanted:
        return NOT_ASKED
    lost = [each for each in wanted if not any(_is(made, each) for made in answered.value.proposals)]
    told = f"Not proposed: {', '.join(map(_named, lost))}." if lost else "All of it."
    return share(len(wanted) - len(lost), len(wanted), told)


@scorer("Is nothing proposed that the message gives no reason for?")
def restraint(case: Advising, answered: Answered[Advised]) -> Score:
    """Fail proposals that are neither expected nor at least defensible."""
    undue = [
        made
        for made in answered.value.proposals
        if made.kind not in case.expect.also and not any(_is(made, each) for each in case.expect.propose)
    ]
    told = f"Undue: {', '.join(map(_shown, undue))}." if undue else "Nothing is."
    return Score(float(not undue), not undue, told)


@scorer("Does every proposal name an option that was offered and words that stand in its evidence?")
def offered(_: Advising, answered: Answered[Advised]) -> Score:
    """Fail an answer of which something had to be dropped."""
    hidden = answered.value.hidden
    return Score(float(not hidden), not hidden, f"{hidden} dropped." if hidden else "Every one does.")


@scorer("Is no stage proposed but the one that it should go to?")
def no_wrong_stage(case: Advising, answered: Answered[Advised]) -> Score:
    """Fail a stage that the process does not have, and another one than is expected."""
    right = [each.stage for each in case.expect.propose if each.kind == "advance_stage"]
    said = [made.stage for made in answered.value.proposals if made.kind == "advance_stage"]
    wrong = [stage for stage in said if stage not in right or stage not in case.input.stages]
    return Score(float(not wrong), not wrong, f"It would go to {', '.join(wrong)}." if wrong else "None is.")


def _is(made: Proposed, wanted: Wanted) -> bool:
    return (
        made.kind == wanted.kind
        and wanted.stage in (None, made.stage)
        and (wanted.day is None or wanted.day.isoformat() == made.day)
        and wanted.evidence in (None, made.evidence)
    )


def _named(wanted: Wanted) -> str:
    target = wanted.stage or wanted.day or (f"of evidence {wanted.evidence}" if wanted.evidence else "")
    return f"{wanted.kind} {target}".strip()


def _shown(made: Proposed) -> str:
    return f"{made.kind} {made.stage or made.day or f'of evidence {made.evidence}'}"
