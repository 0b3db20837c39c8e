"""
Summarises without a model: sentences that were said, word for word, and lines of our own records.

Every claim quotes what it stands on, so it passes the same check as a model's.
"""

import re
from collections.abc import Callable, Sequence

from pydantic import BaseModel

from agents.rules import answers, gist, objections, questions, sentences, signals
from agents.rules.sentences import Sentence
from agents.summaries.outputs import (
    COMPANY,
    CONTACT,
    DEAL,
    RECORDS,
    Action,
    Claim,
    CompanyInputs,
    ContactInputs,
    ContactOutput,
    DealInputs,
    Level,
    Material,
    SummaryOutput,
)

READ = 10
"""How many of the newest sources are read sentence by sentence."""
TELLING = 25
"""Characters below which a sentence is small talk."""
_SILENT_DAYS = re.compile(r"(\d+) days ago")
_STAGE_DAYS = re.compile(r"in stage (\w+) for (\d+) days")
_HEALTH = re.compile(r"^Health (\d+)")
_OVERDUE_WE = re.compile(r"^We promised: .*$", re.MULTILINE)
_LATE_IN_STAGE = 21
_SILENT_AFTER = 14
_WEAK_HEALTH = 40


@answers(DEAL)
def summarize_deal(inputs: DealInputs) -> SummaryOutput:
    """Return a deal's summary from its records and what was said."""
    records = _Records(inputs)
    return _summary(records, inputs.activitiesInfo, headline=records.line("Deal: "), opening=("Deal: ", "Company: "))


@answers(COMPANY)
def summarize_company(inputs: CompanyInputs) -> SummaryOutput:
    """Return a company's summary from its records and what was said."""
    records = _Records(inputs)
    opening = ("Company: ", "Status: ", "Products: ", "Deal: ")
    return _summary(records, inputs.activitiesInfo, headline=records.line("Company: "), opening=opening)


@answers(CONTACT)
def summarize_contact(inputs: ContactInputs) -> ContactOutput:
    """Return a contact's summary from their record and what they said."""
    records = _Records(inputs)
    said = inputs.communicationsInfo
    base = _summary(records, said, headline=records.line("1. "), opening=("1. ", "Company: "))
    theirs = [item for item in said if item.direction == "inbound"]
    pains = _claims(
        theirs, lambda spoken: [(o.sentence, o.confidence) for o in objections.find_objections(spoken)], "high"
    )
    wishes = _claims(theirs, _promising, "medium")
    facts = _claims(theirs, lambda spoken: [(f.sentence, f.confidence) for f in signals.find_facts(spoken)], "medium")
    tips = (
        [Action(action="Answer their open concern first.", priority="high", reasoning=pains[0].text)] if pains else []
    )
    return ContactOutput(
        **base.model_dump(), insights=facts[:4], pain_points=pains[:4], interests=wishes[:4], relationship_tips=tips
    )


class _Records:
    """Source 0, line by line."""

    def __init__(self, inputs: BaseModel) -> None:
        self.lines = [
            line
            for value in dict(inputs).values()
            if isinstance(value, str)
            for line in value.splitlines()
            if line.strip()
        ]

    def line(self, start: str) -> Claim | None:
        """Return the first line that begins so, as a claim on source 0."""
        return next((_record(line) for line in self.lines if line.startswith(start)), None)

    def matching(self, pattern: re.Pattern[str]) -> tuple[str, re.Match[str]] | None:
        """Return the first line in which the pattern is found, with what was found."""
        return next(((line, found) for line in self.lines if (found := pattern.search(line))), None)


def _record(line: str, importance: Level = "medium") -> Claim:
    return Claim(text=_sentence(line), source=RECORDS, quote=line[:600], importance=importance, confidence=0.95)


def _sentence(line: str) -> str:
    text = re.sub(r"^(?:\d+\. |Deal: |Company: )", "", line).strip()[:599]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _summary(
    records: _Records, material: Sequence[Material], *, headline: Claim | None, opening: Sequence[str]
) -> SummaryOutput:
    overview = [claim for start in opening if (claim := records.line(start))]
    if quiet := records.line("Last contact: "):
        overview.append(quiet)
    theirs = [item for item in material if item.direction == "inbound"]
    risks = [*_recorded_risks(records), *_claims(theirs, _opposed, "high")]
    chances = _claims(theirs, _promising, "medium")
    points = _gist(material)
    return SummaryOutput(
        headline=headline
        or (overview or points or [_record(records.lines[0] if records.lines else "Nothing is known.")])[0],
        overview=[*overview, *points[:1]][:8],
        key_points=points[:6],
        risks=risks[:6],
        opportunities=[claim for claim in chances if claim.quote not in {risk.quote for risk in risks}][:6],
        recommended_actions=_actions(records, risks, chances),
        confidence=0.75 if material else 0.6,
    )


def _opposed(spoken: Sequence[Sentence]) -> list[tuple[Sentence, float]]:
    held = [(o.sentence, o.confidence) for o in objections.find_objections(spoken) if not o.addressed]
    return held + [(s.sentence, s.confidence) for s in signals.find_signals(spoken) if s.name in signals.AGAINST]


def _promising(spoken: Sequence[Sentence]) -> list[tuple[Sentence, float]]:
    return [(s.sentence, s.confidence) for s in signals.find_signals(spoken) if s.name not in signals.AGAINST]


def _claims(
    material: Sequence[Material], find: Callable[[Sequence[Sentence]], list[tuple[Sentence, float]]], importance: Level
) -> list[Claim]:
    """Return what a rule finds in the newest sources, newest first, each sentence once."""
    claims: dict[str, Claim] = {}
    for item in material[:READ]:
        for sentence, confidence in find(sentences.split(item.text)):
            if confidence >= 0.70:
                claims.setdefault(sentence.text, _said(item, sentence, importance, confidence))
    return list(claims.values())


def _said(item: Material, sentence: Sentence, importance: Level, confidence: float) -> Claim:
    who = f"{item.who}, {item.date}" if item.who else item.date
    quote = item.text[sentence.start : sentence.end][:600]
    return Claim(
        text=f"{who}: {sentence.text[:500]}",
        source=item.source,
        quote=quote,
        importance=importance,
        confidence=confidence,
    )


def _gist(material: Sequence[Material]) -> list[Claim]:
    """Return the most telling sentence of each of the newest sources: what asks or objects first, what they wrote before ours."""
    found: list[tuple[float, bool, int, Claim]] = []
    for place, item in enumerate(material[:READ]):
        spoken = sentences.split(item.text)
        told = gist.summarize(item.title or "", spoken, _weight)
        sentence = next((s for s in spoken if len(s.text) >= TELLING and told.startswith(s.text[:60])), None)
        if sentence is not None:
            found.append((-_weight(sentence), item.direction != "inbound", place, _said(item, sentence, "medium", 0.8)))
    return [claim for *_, claim in sorted(found, key=lambda ranked: ranked[:3])]


def _weight(sentence: Sentence) -> float:
    """Return how much a sentence counts beyond its words: objections and signs most, then requests."""
    if objections.find_objections([sentence]) or signals.find_signals([sentence]):
        return 1.5
    return 1.0 if questions.asks(sentence.text) >= questions.ASKED else 0.0


def _recorded_risks(records: _Records) -> list[Claim]:
    """Return the risks that the numbers tell: silence, a long stay in a stage, weak health."""
    risks: list[Claim] = []
    silence = records.matching(re.compile(r"^Last heard from them: .* (\d+) days ago")) or records.matching(
        _SILENT_DAYS
    )
    if silence and int(silence[1][1]) >= _SILENT_AFTER:
        risks.append(_about(silence[0], f"Silent for {silence[1][1]} days.", "high"))
    stuck = records.matching(_STAGE_DAYS)
    if stuck and int(stuck[1][2]) > _LATE_IN_STAGE:
        risks.append(_about(stuck[0], f"In stage {stuck[1][1]} for {stuck[1][2]} days.", "high"))
    weak = records.matching(_HEALTH)
    if weak and int(weak[1][1]) < _WEAK_HEALTH:
        risks.append(_about(weak[0], f"Health is {weak[1][1]} of 100.", "medium"))
    return risks


def _about(line: str, text: str, importance: Level) -> Claim:
    return Claim(text=text, source=RECORDS, quote=line[:600], importance=importance, confidence=0.95)


def _actions(records: _Records, risks: Sequence[Claim], chances: Sequence[Claim]) -> list[Action]:
    actions: list[Action] = []
    if promised := records.matching(_OVERDUE_WE):
        actions.append(Action(action="Keep the promise that is open.", priority="high", reasoning=promised[0]))
    if any(claim.source == RECORDS and claim.text.startswith("Silent") for claim in risks):
        actions.append(Action(action="Get in touch with a reason to answer.", priority="high", reasoning=risks[0].text))
    if said := next((claim for claim in risks if claim.source != RECORDS), None):
        actions.append(Action(action="Answer the concern that was raised.", priority="high", reasoning=said.text))
    if chances:
        actions.append(Action(action="Follow up on what they want.", priority="medium", reasoning=chances[0].text))
    return actions[:5] or [Action(action="Agree on the next step.", priority="medium", reasoning="Nothing stands out.")]
