"""Was a message read as a careful person would read it?"""

from collections.abc import Sequence
from typing import Any

from evals.cases import AnalysisExpected, Case, MessageInput, PromiseExpected
from evals.scorers import NOT_ASKED, Score, choice, missing, quoted, says, scorer, share
from evals.subjects.analysis import PromiseRead, Read
from evals.subjects.kit import Answered

ReadCase = Case[MessageInput, AnalysisExpected]
Pair = tuple[PromiseExpected, PromiseRead | None]


def _pairs(case: ReadCase, read: Read) -> tuple[list[Pair], list[PromiseRead]]:
    """Return what was found for each promise expected, and what was found beyond them."""
    left = list(read.promises)
    pairs: list[Pair] = []
    for expected in case.expect.all_promises or []:
        fits = [
            promise
            for promise in left
            if promise.direction == expected.direction and says(f"{promise.text}\n{promise.quote}", expected.contains)
        ]
        found = next((promise for promise in fits if promise.due == expected.due), fits[0] if fits else None)
        if found is not None:
            left.remove(found)
        pairs.append((expected, found))
    return pairs, left


@scorer("Is every promise found, on the side that made it?")
def no_missed_promise(case: ReadCase, answered: Answered[Read]) -> Score:
    """Count the promises found; one missed fails."""
    pairs, _ = _pairs(case, answered.value)
    if not pairs:
        return NOT_ASKED
    lost = [f"{expected.direction}: {expected.contains}" for expected, found in pairs if found is None]
    return share(len(pairs) - len(lost), len(pairs), f"Missed {quoted(lost)}." if lost else "All are found.")


@scorer("Is nothing taken for a promise that is none?")
def no_false_promise(case: ReadCase, answered: Answered[Read]) -> Score:
    """Fail promises beyond those expected."""
    if case.expect.all_promises is None:
        return NOT_ASKED
    _, beyond = _pairs(case, answered.value)
    every = len(answered.value.promises)
    told = f"No promise: {quoted([promise.quote or promise.text for promise in beyond])}." if beyond else "None."
    return share(every - len(beyond), every, told)


@scorer("Is the day of each promise right?")
def due_days(case: ReadCase, answered: Answered[Read]) -> Score:
    """Count the promises whose day is the one expected, no day included."""
    pairs = [pair for pair in _pairs(case, answered.value)[0] if pair[0].dated]
    if not pairs:
        return NOT_ASKED
    wrong = [_told(expected, found) for expected, found in pairs if found is None or found.due != expected.due]
    return share(len(pairs) - len(wrong), len(pairs), " ".join(wrong) or "All are right.")


@scorer("Is no promise given a day that is not its own?")
def no_wrong_day(case: ReadCase, answered: Answered[Read]) -> Score:
    """Fail a day that was stated and is wrong; none at all is no wrong one."""
    pairs = [pair for pair in _pairs(case, answered.value)[0] if pair[0].dated]
    if not pairs:
        return NOT_ASKED
    wrong = [_told(expected, found) for expected, found in pairs if found and found.due not in (None, expected.due)]
    return share(len(pairs) - len(wrong), len(pairs), " ".join(wrong) or "None is.")


def _told(expected: PromiseExpected, found: PromiseRead | None) -> str:
    said = "not found" if found is None else str(found.due or "no day")
    return f'"{expected.contains}": {said}, and should be {expected.due or "no day"}.'


@scorer("Is what they ask of us found?")
def questions(case: ReadCase, answered: Answered[Read]) -> Score:
    """Count the questions found; where there is none, finding one fails."""
    if case.expect.questions is None:
        return NOT_ASKED
    return _found(case.expect.questions, answered.value.questions)


def _found(expected: Sequence[str], said: Sequence[str]) -> Score:
    if not expected:
        return Score(float(not said), not said, f"Found {quoted(said)}." if said else "There is none.")
    lost = missing("\n".join(said), expected)
    return share(len(expected) - len(lost), len(expected), f"Missed {quoted(lost)}." if lost else "All are found.")


@scorer("Are the objections those that were raised, by kind?")
def objections(case: ReadCase, answered: Answered[Read]) -> Score:
    """Compare the kinds found with those expected; one too many or too few fails."""
    if case.expect.objections is None:
        return NOT_ASKED
    meant, said = set(case.expect.objections), set(answered.value.objections)
    both = len(meant & said)
    value = 2 * both / (len(meant) + len(said)) if meant | said else 1.0
    told = f"{', '.join(sorted(said)) or 'none'}"
    return Score(value, meant == said, f"{told}, and should be {', '.join(sorted(meant)) or 'none'}.")


@scorer("Is the mood right?")
def sentiment(case: ReadCase, answered: Answered[Read]) -> Score:
    """Hold the mood against those expected."""
    return _choice(case.expect.sentiment, answered.value.sentiment)


@scorer("Is the urgency right?")
def urgency(case: ReadCase, answered: Answered[Read]) -> Score:
    """Hold the urgency against those expected."""
    return _choice(case.expect.urgency, answered.value.urgency)


def _choice(expected: list[str] | None, said: str) -> Score:
    return choice(said, expected) if expected else NOT_ASKED


@scorer("Is it known whether an answer is due?")
def response(case: ReadCase, answered: Answered[Read]) -> Score:
    """Hold the flag against the one expected."""
    if case.expect.requires_response is None:
        return NOT_ASKED
    words = {True: "answer due", False: "no answer due"}
    return choice(words[answered.value.requires_response], [words[case.expect.requires_response]])


@scorer("Is it seen which open promises the message keeps?")
def fulfilled(case: ReadCase, answered: Answered[Read]) -> Score:
    """Compare the numbers of the promises kept with those expected."""
    if case.expect.fulfilled is None:
        return NOT_ASKED
    said, meant = sorted(answered.value.fulfilled), sorted(case.expect.fulfilled)
    return Score(float(said == meant), said == meant, f"{_list(said)} kept, and should be {_list(meant)}.")


def _list(numbers: Sequence[Any]) -> str:
    return ", ".join(map(str, numbers)) or "none"
