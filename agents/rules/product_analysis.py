"""Reads a product's meetings without a model: objections and how they were met, benefits that were named and taken up."""

import re
from collections.abc import Sequence
from typing import Any, Literal

from agents import guards
from agents.product_analysis.outputs import (
    CONTRAST,
    READ,
    AgreedStep,
    ContrastInputs,
    ContrastOutput,
    Meeting,
    Pattern,
    RaisedObjection,
    SaidPitch,
    ShownSignal,
    TranscriptInputs,
    TranscriptReading,
)
from agents.product_analysis.transcripts import words_of
from agents.rules import answers, gist, objections, promises, sentences, sentiment, signals
from agents.rules.dates import Calendar
from agents.rules.sentences import Sentence
from agents.rules.speakers import Spoken, by_speaker

MOST = 12
LONGEST = 300
TELLING = 6
"""Words from which on a sentence says something for a product."""
MEETS_WITHIN = 8
"""Sentences after an objection in which it may be met."""
LEAST = 2
"""Meetings of one side that make a pattern."""
CLEAR = 0.2
"""By how much of its meetings one side must lead."""

# What is said for products of every kind.
_BENEFITS: tuple[tuple[str, str], ...] = (
    ("cost savings", r"\b(?:sav(?:e|es|ed|ing|ings)|cuts?|reduc\w+|lower\w*|pays? (?:for )?itself|pay ?back|roi|return on|cheaper|less (?:cost|waste|spend))\b"),
    ("time savings", r"\b(?:faster|quicker|in (?:seconds|minutes)|hours? (?:a|per|every) (?:day|week|month)|less time|twice as fast|speed\w*|automat\w+|no (?:more )?(?:typing|retyping|paper|spreadsheets?))\b"),
    ("ease of use", r"\b(?:easy|easily|simple|simpler|intuitive|no training|learn\w* (?:it )?in|works? with gloves|out of the box|self-?service)\b"),
    ("integration", r"\b(?:integrat\w+|connects?|sync\w*|works? with (?:your|the|any)|talks? to (?:your|the)|api|connector|import\w*|export\w*)\b"),
    ("quick start", r"\b(?:live (?:in|within)|up and running|set ?up (?:in|within|takes)|go-?live|onboard\w*|rollout|pilot|trial|start (?:small|with one))\b"),
    ("reliability", r"\b(?:offline|(?:keeps?|goes|go|went) (?:on |right on )?working|none (?:is |are |was |were )?lost|nothing (?:is|was|gets) lost|never (?:down|stops?)|full shift|queue until|when the (?:network|connection) (?:is|comes) back)\b"),
    ("low risk", r"\b(?:you can (?:leave|stop|cancel|return)|without (?:giving a reason|obligation|risk)|money back|guarantee\w*|try it (?:first|free|for)|smallest version|half (?:of )?the price)\b"),
    ("accuracy", r"\b(?:accura\w+|fewer (?:errors|mistakes|complaints)|error[- ]free|mis-?picks?|right the first time|no (?:errors|mistakes))\b"),
    ("visibility", r"\b(?:dashboards?|reports?|reporting|real[- ]?time|live (?:stock|view|data)|see (?:at once|exactly|everything|where)|visib\w+|transparen\w+)\b"),
    ("support", r"\b(?:support team|24/7|dedicated|account manager|we (?:help|train|support|stay|are there)|by your side|on[- ]site)\b"),
    ("security", r"\b(?:secur\w+|encrypt\w+|gdpr|soc ?2|iso ?27001|complian\w+|backups?)\b"),
    ("references", r"\b(?:customers? (?:of your size|like you|in your)|other customers|references?|case study|companies like)\b"),
    ("fair terms", r"\b(?:cancel any ?time|no (?:long )?(?:contract|commitment)|month(?:ly|[- ]to[- ]month)|discount|flat (?:fee|price)|included|no extra|free of charge|at no cost)\b"),
)  # fmt: skip
_PATTERNS: tuple[tuple[str, re.Pattern[str]], ...] = tuple((topic, re.compile(words)) for topic, words in _BENEFITS)
# What a buyer says in a conversation and seldom writes.
_HELD_AGAINST: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (topic, re.compile(words))
    for topic, words in (
        ("price", r"\b(?:more (?:money )?than (?:i|we) (?:thought|expected|hoped|planned)|(?:a|that) lot of money|(?:told|offered|quoted) us less|(?:they|others?) (?:are|is) cheaper|what a price)\b"),
        ("trust", r"\b(?:(?:i|we) have (?:heard|seen) (?:that|this|it|too many)|(?:will|would) not believe (?:that|it|this)|we (?:have )?tried (?:something|this|that|it) (?:like (?:this|that) )?(?:once|before|already)|sounds too good)\b"),
        ("effort", r"\b(?:(?:i am|we are|i'm|we're) not hiring|who (?:does|would do|is going to do) that\b|(?:nobody|no one) (?:here )?has time|one more (?:system|tool|thing to)|too much work)\b"),
        ("acceptance", r"\b(?:(?:my|our|the) (?:people|team|staff|colleagues|users) (?:will|would|do) not (?:like|use|want|accept)|(?:used|there) to (?:time|watch|control) (?:us|them|people)|get around it)\b"),
    )
)  # fmt: skip
_TAKEN_UP = re.compile(
    r"\b(?:makes? sense|good (?:point|to (?:hear|know))|great|perfect|excellent|exactly|that (?:works|helps|would help|is (?:good|great|fine|impressive|what we))|"
    r"sounds (?:good|great|right|reasonable)|fair enough|understood|i (?:like|prefer|see) (?:that|it)|we (?:like|love|need) (?:that|this|it)|then (?:we|it) (?:is|are)? ?(?:fine|good)|"
    r"that is (?:fair|true|right|a good|the right)|you are right|(?:i|we) would (?:support|try|take|want|use) (?:that|it|this)|then (?:i|we) (?:would|will|can|could|should) |i appreciate|we should|"
    r"(?:^|[.!] )(?:good|fine|done|right|all right|great|nice|do|okay|agreed)(?: \w+)?[.!,]|^(?:show|send|give) me\b|(?:^|[.!] )it would[.,]|"
    r"impressive|interesting|convinc\w+|happy with|no (?:problem|objection|concerns?) (?:then|any ?more)|that (?:answers|settles|solves)|(?:okay|ok|alright|good|yes)[,.])",
)
_REFUSED = re.compile(r"\b(?:but|still|however|not (?:sure|convinced|enough)|doubt|too (?:much|expensive|late|high))\b")


Objection = tuple[str, Sentence, float, bool]
"""Topic, sentence, confidence, and whether the sentence itself says that it is settled."""


@answers(READ)
def read(inputs: TranscriptInputs) -> TranscriptReading:
    """Return what the meeting says about the product, as far as rules can tell."""
    # What talks to machines is read by nobody here.
    said = [s for s in sentences.split(inputs.transcript) if not guards.suspicious(s.text)]
    spoken = by_speaker(said, "them", inputs.ourPeople, ())
    theirs = [words.sentence for words in spoken if words.side == "them"]
    made = promises.find_promises(spoken, Calendar.of(inputs.heldAt, "UTC"))
    shown = signals.find_signals(theirs)
    against = _held_against(theirs)
    telling = {sentence.start for sentence in (*(f.sentence for f in shown), *(o[1] for o in against))}
    return TranscriptReading(
        summary=gist.summarize(inputs.title, said, lambda s: 1.0 if s.start in telling else 0.0)[:600],
        sentiment=sentiment.judge(theirs).mood,
        objections=_objections(inputs.transcript, spoken, against)[:MOST],
        pitch_points=_pitch_points(inputs.transcript, spoken)[:MOST],
        signals=[
            ShownSignal(signal=found.name, **_cited(inputs.transcript, found.sentence, found.confidence))
            for found in shown
        ][:MOST],
        next_steps=[
            AgreedStep(
                step=words_of(promise.text)[:LONGEST], owner="us" if promise.direction == "we_promised" else "them"
            )
            for promise in made
        ][:MOST],
    )


def _held_against(theirs: Sequence[Sentence]) -> list[Objection]:
    """Return what the other side holds against it: by the rules for every message, and by those for what is only spoken."""
    written = objections.find_objections(theirs)
    found: list[Objection] = [(o.kind, o.sentence, o.confidence, o.addressed) for o in written]
    known = {objection.sentence.start for objection in written}
    for sentence in theirs:
        topic = next((topic for topic, words in _HELD_AGAINST if words.search(sentence.lower)), None)
        if topic is not None and sentence.start not in known:
            found.append((topic, sentence, 0.76, False))
    return sorted(found, key=lambda objection: objection[1].start)


def _cited(text: str, sentence: Sentence, confidence: float) -> dict[str, Any]:
    return {"quote": text[sentence.start : sentence.end], "confidence": round(confidence, 2)}


def _objections(text: str, spoken: Sequence[Spoken], found: Sequence[Objection]) -> list[RaisedObjection]:
    places = {words.sentence.start: place for place, words in enumerate(spoken)}
    raised: list[RaisedObjection] = []
    for topic, sentence, confidence, addressed in found:
        response, handled = _met(spoken, places[sentence.start])
        raised.append(
            RaisedObjection(
                topic=topic,
                objection=words_of(sentence.text)[:LONGEST],
                handled=addressed or handled,
                response=text[response.start : response.end][:1000] if response else "",
                **_cited(text, sentence, confidence),
            )
        )
    return raised


def _met(spoken: Sequence[Spoken], place: int) -> tuple[Sentence | None, bool]:
    """Return our longest sentence in the answer to what stands at that place, and whether the other side took it up."""
    after = spoken[place + 1 : place + 1 + MEETS_WITHIN]
    answer: list[Sentence] = []
    for words in after:
        if words.side == "us":
            answer.append(words.sentence)
        elif answer:
            best = max(answer, key=lambda sentence: len(sentence.text))
            return best, _takes_up(words.sentence)
    return (max(answer, key=lambda sentence: len(sentence.text)), False) if answer else (None, False)


def _takes_up(sentence: Sentence) -> bool:
    lower = words_of(sentence.text).lower()
    if _REFUSED.search(lower):
        return False
    return _TAKEN_UP.search(lower) is not None or sentiment.weigh(lower)[0] >= 1.5


def _pitch_points(text: str, spoken: Sequence[Spoken]) -> list[SaidPitch]:
    """Return the benefits that our side named, one a topic; effective when the other side's next words take it up."""
    named: dict[str, SaidPitch] = {}
    for place, words in enumerate(spoken):
        plain = words_of(words.sentence.text)
        if words.side != "us" or plain.endswith("?") or len(plain.split()) < TELLING:
            continue
        topic = next((topic for topic, pattern in _PATTERNS if pattern.search(plain.lower())), None)
        if topic is None:
            continue
        reply = next((later.sentence for later in spoken[place + 1 : place + 6] if later.side == "them"), None)
        effective = reply is not None and _takes_up(reply)
        if topic not in named or (effective and not named[topic].effective):
            named[topic] = SaidPitch(
                topic=topic, point=plain[:LONGEST], effective=effective, **_cited(text, words.sentence, 0.76)
            )
    return list(named.values())


@answers(CONTRAST)
def contrast(inputs: ContrastInputs) -> ContrastOutput:
    """Return the matters that one side's meetings have clearly more often than the other's."""
    won, lost = inputs.won, inputs.lost
    if not won or not lost:
        return ContrastOutput()
    winning = _patterns(
        _topics(won, "pitch_points", settled=True), _topics(lost, "pitch_points", settled=True), len(won), len(lost),
        "{topic} was taken up in {here} of {all} won meetings, {there} of {others} lost ones",
    ) + _patterns(
        _topics(won, "objections", settled=True), {}, len(won), len(lost),
        "objections about {topic} were met in {here} of {all} won meetings",
    )  # fmt: skip
    losing = _patterns(
        _topics(lost, "objections", settled=False), _topics(won, "objections", settled=False), len(lost), len(won),
        "{topic} stayed open in {here} of {all} lost meetings, {there} of {others} won ones",
    )  # fmt: skip
    advice = [f"Bring up {topic} early." for topic in _first(winning, "was taken up")]
    advice += [f"Have an answer ready to objections about {topic}." for topic in _first(losing, "stayed open")]
    return ContrastOutput(winning=winning[:8], losing=losing[:8], advice=advice[:5])


_Topics = dict[str, list[tuple[int, str]]]


def _topics(meetings: Sequence[Meeting], matters: Literal["objections", "pitch_points"], *, settled: bool) -> _Topics:
    """Return in which meetings each topic was settled, or was not: the number of the meeting and the words."""
    found: _Topics = {}
    for meeting in meetings:
        said = {item.topic: item for item in getattr(meeting, matters) if item.settled is settled}
        for topic, item in said.items():
            found.setdefault(topic, []).append((meeting.meeting, item.quote))
    return found


def _patterns(here: _Topics, there: _Topics, own: int, other: int, words: str) -> list[Pattern]:
    """Return the topics that stand out here, the clearest first; one meeting alone is no pattern."""
    found: list[tuple[float, Pattern]] = []
    for topic, places in here.items():
        against = there.get(topic, [])
        lead = len(places) / own - (len(against) / other if other else 0.0)
        if len(places) < LEAST or lead < CLEAR:
            continue
        text = words.format(topic=topic, here=len(places), all=own, there=len(against), others=other)
        sure = 0.85 if lead >= 0.5 and len(places) > LEAST else 0.75
        meeting, quote = places[0]
        pattern = Pattern(pattern=f"{text[:1].upper()}{text[1:]}.", meeting=meeting, quote=quote, confidence=sure)
        found.append((-lead, pattern))
    return [pattern for _, pattern in sorted(found, key=lambda pair: (pair[0], pair[1].pattern))]


def _first(patterns: Sequence[Pattern], mark: str) -> list[str]:
    """Return the topics of the two clearest patterns that say so."""
    return [p.pattern.split(f" {mark}")[0].lower() for p in patterns if f" {mark}" in p.pattern][:2]
