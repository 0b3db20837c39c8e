"""Advises without a model: what a message says outright, matched to what is offered; silence where that is not enough."""

import re
from collections.abc import Iterable

from agents.advising.outputs import ADVICE, Advice, AdviceInputs, Evidence, Kind, Move, Option
from agents.rules import answers

MOST = 2
_AT_RISK = frozenset({"deal_at_risk", "competitor_evaluating"})
_GOES_ON = frozenset({"ready_to_proceed"})
_UNHAPPY = frozenset({"negative", "concerned"})
_NEAR = 2
"""Stages ahead that a message may lead to; one that lies further on would skip too much."""
_WORD = re.compile(r"[^\W\d_]{4,}")
_DOUBT = 0.04
"""A stage is read off its name: a little less sure than the words themselves."""


@answers(ADVICE)
def advise(inputs: AdviceInputs) -> Advice:
    """Return the warning, the move, the promise to keep and the answer to wait for, as far as the evidence goes."""
    found = (_risk(inputs), _stage(inputs), _task(inputs), _followup(inputs))
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
    """Their signal names a stage that lies near, or says that they want to go on; not while something speaks against it."""
    if any(each.kind == "objection" or each.name in _AT_RISK for each in inputs.evidence):
        return None
    ahead = [option for option in _options(inputs, "advance_stage") if 0 < option.steps <= _NEAR]
    signals = [each for each in inputs.evidence if each.kind == "signal"]
    for option in sorted(ahead, key=lambda option: option.steps):
        named = [each for each in signals if _words(option.stage) & _words(f"{each.name} {each.quote}")]
        if named:
            return _move([option], named, _DOUBT)
    return _move(ahead[:1], [each for each in signals if each.name in _GOES_ON], _DOUBT)


def _task(inputs: AdviceInputs) -> Move | None:
    """We promised something: that is a task."""
    ours = [each for each in inputs.evidence if each.kind == "our_promise"]
    return _move(_options(inputs, "add_task"), ours)


def _followup(inputs: AdviceInputs) -> Move | None:
    """They promised something until a day, and nothing is planned any more."""
    if inputs.nextStepDue >= inputs.today:
        return None
    theirs = [each for each in inputs.evidence if each.kind == "their_promise" and each.due]
    return _move(_options(inputs, "schedule_followup"), theirs)


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
