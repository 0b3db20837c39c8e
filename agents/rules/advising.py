"""Advises without a model: what a message says outright, matched to what is offered; silence where that is not enough."""

import re
from collections.abc import Iterable

from agents.advising.outputs import ADVICE, Advice, AdviceInputs, Evidence, Kind, Move, Option
from agents.rules import answers, questions, sentences

MOST = 2
_AT_RISK = frozenset({"deal_at_risk", "competitor_evaluating"})
_GOES_ON = frozenset({"ready_to_proceed"})
_UNHAPPY = frozenset({"negative", "concerned"})
_NEAR = 2
"""Stages ahead that a message may lead to; one that lies further on would skip too much."""
_WORD = re.compile(r"[^\W\d_]{4,}")
_DOUBT = 0.04
"""A stage is read off its name: a little less sure than the words themselves."""

_VAGUE = 0.1
"""They named no day; that one is soon enough is ours to guess."""


@answers(ADVICE)
def advise(inputs: AdviceInputs) -> Advice:
    """Return the warning, the move, the promise to keep and the answer to wait for, as far as the evidence goes."""
    stage = _stage(inputs)
    found = (_risk(inputs), stage, _task(inputs, stage), _followup(inputs))
    return Advice(proposals=[move for move in found if move is not None][:MOST])


def _risk(inputs: AdviceInputs) -> Move | None:
    """They are about to leave, compare others, or object in an ill mood."""
    grounds = [
        each
        for each in inputs.evidence
        if (each.kind == "signal" and each.name in _AT_RISK)
        or (each.kind == "objection" and inputs.sentiment in _UNHAPPY)
    ]
    return _move(_options(inputs, "flag_risk"), grounds)


def _stage(inputs: AdviceInputs) -> Move | None:
    """They wish for what a near stage is about, or to go on; not while something speaks against it."""
    if any(each.kind == "objection" or each.name in _AT_RISK for each in inputs.evidence):
        return None
    ahead = [option for option in _options(inputs, "advance_stage") if 0 < option.steps <= _NEAR]
    wishes = [each for each in inputs.evidence if each.kind == "signal" and _is_wish(each)]
    for option in sorted(ahead, key=lambda option: option.steps):
        named = [each for each in wishes if _words(option.stage) & _words(f"{each.name} {each.quote}")]
        if named:
            return _move([option], named, _DOUBT)
    following = [option for option in ahead if option.steps == 1]
    return _move(following, [each for each in wishes if each.name in _GOES_ON], _DOUBT)


def _is_wish(evidence: Evidence) -> bool:
    return evidence.name in _GOES_ON or evidence.name.endswith("_request")


def _task(inputs: AdviceInputs, stage: Move | None) -> Move | None:
    """
    We promised something, they ask for something that is to be done, or object: the first of these is a task.

    What they ask for in the words that move the stage is done by then.
    """
    tasks = _options(inputs, "add_task")
    asked = [each for each in inputs.evidence if each.kind == "question" and _is_request(each)]
    return (
        _move(tasks, [each for each in inputs.evidence if each.kind == "our_promise"])
        or _move(tasks, [each for each in asked if stage is None or not _are_same(each.quote, stage.quote)])
        or _move(tasks, [each for each in inputs.evidence if each.kind == "objection"])
    )


def _is_request(evidence: Evidence) -> bool:
    return any(ask.kind == "request" for ask in questions.find_asks(sentences.split(evidence.quote)))


def _are_same(one: str, other: str) -> bool:
    return one in other or other in one


def _followup(inputs: AdviceInputs) -> Move | None:
    """They promised something, and nothing is planned any more: the day they named, else the later one that is offered."""
    if inputs.nextStepDue >= inputs.today:
        return None
    days = _options(inputs, "schedule_followup")
    theirs = [each for each in inputs.evidence if each.kind == "their_promise"]
    later = [day.model_copy(update={"day": ""}) for day in days if day.evidence is None][-1:]
    return _move(days, [each for each in theirs if each.due]) or _move(
        later, [each for each in theirs if not each.due], _VAGUE
    )


def _options(inputs: AdviceInputs, kind: Kind) -> list[Option]:
    return [option for option in inputs.options if option.kind == kind]


def _move(options: Iterable[Option], grounds: list[Evidence], doubt: float = 0.0) -> Move | None:
    """Return the surest ground with the first option that is for it."""
    offered = list(options)
    for ground in sorted(grounds, key=lambda each: -each.confidence):
        for option in offered:
            if option.evidence == ground.number or (option.evidence is None and not option.day):
                sure = round(max(0.0, ground.confidence - doubt), 2)
                return Move(option=option.number, evidence=ground.number, quote=ground.quote, confidence=sure)
    return None


def _words(text: str) -> set[str]:
    return {word.casefold().rstrip("s") for word in _WORD.findall(text.replace("_", " "))}
