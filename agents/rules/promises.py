"""
Promises: what the sender says they will do, whose promise it is, and when it is due.

A promise is a first-person future with a verb of doing. Questions, requests, conditions, negations, hopes, reports of
what was said, states ("I'll be away") and advertising are none. Rather a promise missed than one invented.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from agents.rules.dates import Calendar, Due, find_due
from agents.rules.sentences import Sentence
from agents.rules.speakers import Spoken

Direction = Literal["we_promised", "they_promised"]


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise; `who` is the name of a person other than the sender who is to keep it."""

    text: str
    direction: Direction
    sentence: Sentence
    confidence: float
    due: Due | None = None
    who: str | None = None


_ADVERBS = r"(?:(?:also|then|just|definitely|certainly|gladly|happily|personally|quickly|still|now|first|next|both|of course|be sure to|make sure to|absolutely|immediately|shortly|soon|today|tomorrow|probably|hopefully|likely|maybe|try to|do my best to|do our best to|aim to|plan to|go ahead and|have to)\s+){0,3}"
# Verbs by which something is done for somebody: the core of a promise.
_DOES = (
    r"send|share|forward|provide|get (?:back|you|it|that|this|the|these|those|them|our|a|an|in touch|on it|started|to (?:you|it))|"
    r"follow(?:[- ]?up)?|call|phone|ring|e-?mail|mail|text|ping|message|write|reply|respond|answer|reach out|revert|circle back|come back (?:to|on|with)|loop|"
    r"introduce|connect you|schedule|reschedule|set (?:it |that |this |one )?up|set up|book|arrange|organi[sz]e|confirm|check|verify|look (?:into|at|over)|"
    r"investigate|find out|review|go (?:over|through)|prepare|draft|put together|pull together|work (?:on|up|out|with)|write up|build|create|produce|"
    r"update|revise|amend|correct|fix|resolve|sort|address|handle|take care|take (?:it|this|that|a look|them|you|the)|deliver|ship|deploy|install|configure|"
    r"complete|finish|finali[sz]e|submit|file|sign|countersign|return|approve|pay|wire|transfer|process|refund|credit|invoice|issue|order|place|upload|post|"
    r"publish|circulate|distribute|attach|include|add|remove|cancel|extend|renew|upgrade|train|walk you|show you|demo|present|bring|drop|pick|run|test|"
    r"ask|talk (?:to|with)|speak (?:to|with)|discuss (?:it|this|that|the|with)|raise|escalate|clarify|explain|let (?:you|everyone|them|him|her|(?:the|my|our) \w+) know|"
    r"keep you|tell (?:you|them|him|her)|notify|inform|advise|remind|make (?:sure|the|a|an|it|that|this|those)|ensure|give you|have (?:it|that|this|them|the \w+|our \w+|someone|my \w+|an? (?:answer|quote|draft|update|proposal|version|response|result|decision|plan|offer|price|report|first \w+))|"
    r"put (?:you|it|that|this|the|a|an|in)|move|join|invite|see (?:what|to it|if|whether)|assign|allocate|waive|honou?r|match|hold|reserve|quote|price|propose|compile|gather|collect|document|migrate|import|export|enable|activate|provision|switch|roll out|launch|release|start|restart|begin|name|nominate|appoint|kick off|proceed|stop by|swing by|visit|meet (?:with )?(?:the|our|my|your)|negotiate|push|chase|track|monitor|measure|report|summari[sz]e|redline|mark up|translate|print|scan|copy|fax|deal with|figure out|dig|sync|touch base|chat with|close|open|do (?:that|it|so|this)"
)
_STATES = (
    r"be|need|want|require|like|love|prefer|wish|hope|know|think|believe|feel|miss|remember|understand|assume|guess|wait|look forward|see you|"
    r"attend|appreciate|admit|agree|consider|expect|trust|continue|always|never|not|only|no longer|enjoy|say|have (?:to|been|had|a great)|go|come|stay|live|die|"
    r"leave it|leave that|let it|let that|let go|take your word|pass|skip|decline"
)
_SELF = r"(?P<self>i|we|me and my team|my team and i)"
_FUTURE = r"(?:'ll|'m going to| am going to|'re going to| are going to| will| shall| promise to| commit to|'m committed to| undertake to|'ll be| will be| gonna|'m gonna| intend to| plan to| aim to)"
_PROMISES: tuple[tuple[re.Pattern[str], float], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), confidence)
    for pattern, confidence in (
        (rf"(?<![\w']){_SELF}{_FUTURE}\s+{_ADVERBS}(?P<verb>[a-z][\w'-]*)", 0.90),
        (rf"^(?:(?:ok(?:ay)?|sure|thanks|thank you|great|perfect|yes|noted|got it|understood|done)\b[^.;]{{0,40}}[,;.-]\s*)?(?:will|shall|going to)\s+{_ADVERBS}(?P<verb>(?:{_DOES})\b)", 0.86),
        (r"(?:^|[.;,:-]\s+|\band\s+|\bbut\s+|\bso\s+|\bok(?:ay)?,?\s+|\bsure,?\s+)let me (?!know)(?:just |quickly |first )?(?P<verb>(?:check|get back|find out|look into|send|confirm|ask|see (?:what|if|whether)|talk to|speak (?:to|with)|run (?:it|this|that)|circle back|follow up|investigate|dig|work on|pull|put together|share|forward))", 0.82),
        (r"(?<!\w)(?P<self>our|my)\s+(?P<who>(?:\w+\s+)?(?:team|engineers?|engineering|legal|finance|accounting|support|colleagues?|assistant|manager|lawyers?|counsel|procurement|purchasing|controller|cfo|ceo|cto|boss|office|lead|head|director|admin|administrator|developer|technician|accountant|partner)(?:\s+(?!never\b|hardly\b|rarely\b|not\b|probably\b|who\b|that\b)\w+)?),?\s+(?:will|is going to|are going to)\s+(?P<verb>[a-z][\w'-]*)", 0.84),
        (r"(?<!\w)you(?:'ll| will| should)\s+(?:\w+ly\s+)?(?P<verb>(?:have|get|receive)\b)", 0.80),
        (r"(?<!\w)you(?:'ll| will| should)\s+(?:\w+ly\s+)?(?P<verb>hear (?:back )?from (?:me|us)\b)", 0.82),
        (r"(?<!\w)(?P<self>i|we)\s+(?:can|could)\s+(?P<verb>(?:have|get|send|deliver|turn|finish|complete|ship)\b)", 0.78),
        (r"(?<!\w)(?:it|that|this|they|the (?:\w+\s+){1,4}?|your (?:\w+\s+){1,3}?|our (?:\w+\s+){1,3}?)(?:'ll| ?will)\s+be\s+(?P<verb>(?:sent|delivered|shipped|ready|with you|in your|finali[sz]ed|completed|done|available|signed|returned|paid|processed|issued))\b", 0.80),
        (r"(?<!\w)i owe you\s+(?P<verb>(?:a|an|the|that|some|those)\b(?! (?:apology|thank|favou?r|beer|coffee|drink|lunch|dinner|big|huge)))", 0.84),
        (r"(?<!\w)(?P<self>i|we)(?:'m| am|'re| are)\s+(?P<verb>(?:sending|sharing|forwarding|calling|getting|preparing|finali[sz]ing|shipping|delivering|submitting|signing|scheduling|booking|setting)\b)", 0.78),
        (r"\b(?P<self>ich|wir)\s+(?P<verb>werden?)\s+(?=.{0,120}\b(?:\w+en)\b)", 0.84),
        (r"\b(?P<verb>(?:schicke|sende|maile|liefere|melde|rufe|kl\u00e4re|pr\u00fcfe|erstelle|bereite|lasse|schicken|senden|liefern|melden|kl\u00e4ren|pr\u00fcfen|erstellen))\s+(?:ich|wir)\b", 0.84),
        (r"\b(?P<self>ich|wir)\s+(?P<verb>(?:schicke|sende|maile|liefere|melde|rufe|kl\u00e4re|pr\u00fcfe|erstelle|bereite|lasse|schicken|senden|liefern|melden|kl\u00e4ren|pr\u00fcfen|erstellen))\s+(?:ihnen|dir|euch|sie|das|die|den|es|mich|uns|bis|morgen|heute|eine?n?)\b", 0.84),
        (r"\b(?P<self>je|nous)\s+(?:vous\s+|te\s+|l'|le\s+|la\s+|les\s+|lui\s+){0,2}(?P<verb>(?:env\w+rons|env\w+rai|transmettr(?:ai|ons)|fer(?:ai|ons)|appeller(?:ai|ons)|rappeller(?:ai|ons)|confirmer(?:ai|ons)|reviendr(?:ai|ons)|reviens vers|revenons vers|vais (?:vous )?\w+er|allons (?:vous )?\w+er|tiens au courant))\b", 0.84),
        (r"\b(?:le|les|te|os|lo|la|me|nos)?\s*(?P<verb>(?:env(?:iar\u00e9|iaremos)|mandar(?:\u00e9|emos)|llamar(?:\u00e9|emos)|confirmar(?:\u00e9|emos)|responder(?:\u00e9|emos)|preparar(?:\u00e9|emos)|avisar(?:\u00e9|emos)|voy a \w+(?:ar|er|ir)(?:le|les|te|lo|la)?|vamos a \w+(?:ar|er|ir)(?:le|les|te|lo|la)?|pondr(?:\u00e9|emos) en contacto))(?!\w)", 0.82),
    )
)  # fmt: skip
_DOING = re.compile(rf"(?:{_DOES})\b", re.IGNORECASE)
_DOING_ING = re.compile(
    r"(?:sending|sharing|getting back|following up|calling|reaching out|forwarding|providing|preparing|reviewing|updating|scheduling|"
    r"in touch|back (?:to|with) you|ready (?:to|with)|working on|checking|confirming|submitting|shipping|delivering|drafting|presenting|"
    r"putting|pulling|looking into|able to (?:send|get|have|share|deliver|ship|provide|confirm))\b",
    re.IGNORECASE,
)
_BEING = re.compile(rf"(?:{_STATES})\b", re.IGNORECASE)

_ALTERNATIVE = r"(?:check|checking|see|find out|ask|confirm|verify|know|clarify|figure out|determine|understand|look into|test|look at)\b[^.;]{0,40}\s"
_WHETHER = re.compile(rf"(?<!let you )(?<!let everyone )\b{_ALTERNATIVE}if\b", re.IGNORECASE)
_CONDITION = re.compile(
    r"\b(?:if|unless|in case|provided(?: that)?|assuming|as long as|depending on|should you|were you to|falls|sofern|wenn|si|en caso de|a menos que|au cas o\u00f9)\b",
    re.IGNORECASE,
)
_WHEN = re.compile(
    r"\b(?:once|when(?:ever)?|after|as soon as|until|sobald|d\u00e8s que|cuando|una vez)\b", re.IGNORECASE
)
_UNSURE = re.compile(
    r"\b(?:probably|maybe|perhaps|hopefully|might|may|possibly|likely|try to|aim to|plan to|intend to|do (?:my|our) best|should be able)\b",
    re.IGNORECASE,
)
_REPORTED = re.compile(
    r"(?:\b(?:said|says|saying|told (?:\w+ )?(?:\w+)|mentioned|claimed|asked|thought|promised|assum\w+|hop(?:e|ed|ing)|doubt\w*|wish\w*|not sure|unsure|"
    r"don't (?:think|know|believe)|do not (?:think|know|believe)|doesn't mean|whether|if|unless|what|how|where|when|who|why|which|wonder\w*|imagine|pretend|afraid|unlikely|before|until)(?: that)?\s*,?\s*)$",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"^\s*(?:not|never|n't|no longer|hardly|rarely)\b|\bwon't\b", re.IGNORECASE)
_ADVERTISED = re.compile(
    r"\b(?:never (?:share|sell|spam|rent)|unsubscribe|your (?:data|privacy|account) (?:is|are)|newsletter|promo(?:tion)?s?|sweepstakes|"
    r"winners?|subscribers?|members|exclusive offers?|% off|cookies?|terms of service)\b",
    re.IGNORECASE,
)
_FUTILE = re.compile(
    r"^(?:have (?:to|a (?:great|good|nice|look forward)|been|no|had|enough|time|some time|more)\b|get (?:there|home|used|it done some|to the office|back (?:on|from|in|home|after))|"
    r"call (?:it|him names)|add that|say|see (?:you|how it goes)|bet|pass|take (?:your word|that as|the blame|full|a (?:break|vacation|few days))|run (?:out|late|into)|start by saying|"
    r"do (?:the same|well|fine|my best to remember)|close (?:by|with)|open with|make it\b|hold (?:off|my)|check out (?:early)|put up with|ask you|order (?:the|a) (?:coffee|lunch)|"
    r"join (?:you|the call|the meeting|us)|let you (?:go|get back|decide)|keep (?:it|this) short|answer to|return (?:to|from|on|in)\b(?! you))",
    re.IGNORECASE,
)
_NEXT_CLAUSE = re.compile(
    r";|\s-\s|,?\s+but\s|,?\s+(?:and|then)\s+(?:i|we|you|he|she|they|please|could|can|would|let)\b|,\s+(?:so|which|while|please|could|can|would)\b|\s+(?:because|since|although|whereas)\s",
    re.IGNORECASE,
)
_QUESTION_FOLLOWS = re.compile(
    r"(?P<stated>(?:i|we)(?:'ll|'m|'re| will| shall| am| are)\b[^,;?]{0,200}(?:, [^,;?]{0,80})?)[,;]\s+(?:but\s+|and\s+|so\s+)?"
    r"(?:can|could|would|will|do|does|is|are|may|shall) (?:you|we|i|it|the|your|that|there|they)\b",
    re.IGNORECASE,
)
_FOR_YOU = re.compile(
    r"\b(?:you|your|y'all|the (?:team|group)|everyone|ihnen|dir|euch|vous|le|les|te)\b", re.IGNORECASE
)
_JOINED = re.compile(
    r"^(?:(?:and|then|but|so|ok(?:ay)?|sure|thanks|thank you|great|perfect|yes|noted|got it|understood|done)\b[,;.]?\s+)+",
    re.IGNORECASE,
)
_LONGEST = 600
"""Characters of a sentence that are read."""
_SUBJECT = re.compile(
    r"^(?:will|shall|going to)\s+|^(?:i|we)(?:'ll| will| shall|'m going to| am going to|'re going to| are going to|'m| am|'re| are| can)\s+",
    re.IGNORECASE,
)


def find_promises(spoken: Sequence[Spoken], calendar: Calendar) -> list[Promise]:
    """Return the promises of a message or conversation, in order, each for the side of whoever makes it."""
    found: list[Promise] = []
    for whole in spoken:
        said = replace(whole, sentence=_stated(whole.sentence))
        if _cannot_promise(said.sentence):
            continue
        direction: Direction = "we_promised" if said.side == "us" else "they_promised"
        found.extend(
            Promise(text, direction, said.sentence, confidence, due, named or said.name)
            for text, confidence, due, named in _promised(said.sentence, calendar)
        )
    return found


def _asks(text: str) -> bool:
    return text.rstrip("\"') ").endswith("?")


def _stated(sentence: Sentence) -> Sentence:
    """Return the sentence without the question that follows its statement: "I will send it, but can you sign?"."""
    turn = _QUESTION_FOLLOWS.match(sentence.text[:_LONGEST]) if _asks(sentence.text) else None
    return replace(sentence, text=turn["stated"]) if turn else sentence


def _cannot_promise(sentence: Sentence) -> bool:
    text = sentence.text
    if _asks(text) or _ADVERTISED.search(text):
        return True
    return _CONDITION.search(_WHETHER.sub("", text)) is not None


def _promised(sentence: Sentence, calendar: Calendar) -> Iterator[tuple[str, float, Due | None, str | None]]:
    text = sentence.text[:_LONGEST]
    last = 0
    for match, base in _matches(text):
        start = match.start("self") if match.groupdict().get("self") else match.start()
        if start < last or _REPORTED.search(text[:start]) or _NEGATED.search(text[match.start("verb") :]):
            continue
        clause = _clause(text, match.start(), match.end())
        confidence = _weigh(match, base, clause, sentence, calendar)
        if confidence is None:
            continue
        last = match.start() + len(clause)
        due = find_due(text, calendar, after=start)
        yield (
            _worded(text[start : match.start() + len(clause)]),
            round(confidence, 2),
            due,
            match.groupdict().get("who"),
        )


def _matches(text: str) -> list[tuple[re.Match[str], float]]:
    found = [(match, base) for pattern, base in _PROMISES for match in pattern.finditer(text)]
    return sorted(found, key=lambda pair: (pair[0].start(), -pair[1]))


def _clause(text: str, start: int, verb_end: int) -> str:
    end = _NEXT_CLAUSE.search(text, verb_end)
    return text[start : end.start() if end else len(text)].rstrip(" .!,;")


def _weigh(match: re.Match[str], base: float, clause: str, sentence: Sentence, calendar: Calendar) -> float | None:
    """Return how sure it is that the clause is a promise, or None when it is none."""
    doing = sentence.text[match.start("verb") :]
    due = find_due(sentence.text, calendar, after=match.start())
    dated = due is not None and due.at is not None
    if match.groupdict().get("who"):
        confidence = base if _acts(doing) else None
    elif base == _EXPLICIT:
        confidence = _explicit(match, doing, clause, dated=dated)
    elif base <= _NEEDS_DATE:
        confidence = base if dated and (due is None or due.deadline or match["verb"].lower() != "get") else None
    else:
        confidence = base
    if confidence is None:
        return None
    if _UNSURE.search(clause):
        confidence = min(confidence, 0.76)
    elif _WHEN.search(clause) and not dated:
        confidence = min(confidence, 0.80)
    return min(confidence + (0.03 if dated else 0.0), 0.95)


_EXPLICIT = 0.90
_NEEDS_DATE = 0.80


def _acts(doing: str) -> bool:
    """Whether a colleague does something; what they like, need, or where they are is no promise."""
    if doing[:3].lower() == "be ":
        return _DOING_ING.match(doing[3:]) is not None
    return _DOING.match(doing) is not None and _FUTILE.match(doing) is None


def _explicit(match: re.Match[str], doing: str, clause: str, *, dated: bool) -> float | None:
    if re.search(r"\bbe\s*$", match.string[: match.start("verb")], re.IGNORECASE) or match["verb"].lower() == "be":
        state = re.sub(r"^be\s+", "", doing, flags=re.IGNORECASE)
        return 0.86 if _DOING_ING.match(state) else None
    if _FUTILE.match(doing):
        return None
    if _DOING.match(doing):
        ours = match["self"].lower().startswith("we") and not dated and not _FOR_YOU.search(clause)
        return 0.78 if ours else _EXPLICIT
    if _BEING.match(doing):
        return None
    return 0.72 if dated and _FOR_YOU.search(clause) else None


def _worded(clause: str) -> str:
    words = _SUBJECT.sub("", _JOINED.sub("", clause.strip(" .,;:-")))
    return (words[:1].upper() + words[1:]).rstrip(" .!,;")[:500]
