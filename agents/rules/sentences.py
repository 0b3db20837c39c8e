"""
Sentences of a message, with their place in it: what the sender says now, without greetings, quotes and signature.

Every rule reads these; a sentence is a slice of the text it came from, so what a rule cites stands there.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

MAX_CHARACTERS = 60_000
"""How much of a message the rules read; the door caps tokens long before."""
MAX_SENTENCES = 300
"""What a message says is said before."""

_SPACE = re.compile(r"\s+")
_TYPOGRAPHIC = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2014": "-"})

_QUOTED_LINE = re.compile(r"[ \t]*(?:>|\|\s?>)")
# Where the history of a thread begins: what follows is somebody else's earlier text.
_HISTORY = re.compile(
    r"""^[ \t]*(?:
        -{2,}\s*(?:original\s+message|forwarded\s+message|urspr\S+\s+nachricht|message\s+d'origine|mensaje\s+original).*
      | begin\s+forwarded\s+message:.*
      | _{10,}\s*$
      | (?:on|am|le|el)\b[^\n]{6,140}\b(?:wrote|schrieb|a\s+\S?crit|escribi\S+)\s*[^\n]{0,60}:\s*$
      | from:[^\n]*\n[ \t]*(?:sent|date|to):.*
      | von:[^\n]*\n[ \t]*(?:gesendet|datum|an):.*
    )""",
    re.IGNORECASE | re.VERBOSE | re.MULTILINE,
)
_SIGNATURE = re.compile(r"^-- ?$", re.MULTILINE)
_SIGN_OFF = re.compile(
    r"""^[ \t]*(?:
        (?:(?:with\s+)?(?:kind|best|warm(?:est)?|many)\s+)?(?:regards|wishes)|best|all\s+the\s+best|cheers|sincerely(?:\s+yours)?
      | (?:many\s+)?thanks(?:\s+(?:again|so\s+much|a\s+lot))?|thank\s+you|thx|yours(?:\s+(?:truly|sincerely|faithfully))?|(?:talk|speak)\s+(?:to\s+you\s+)?soon|take\s+care
      | have\s+a\s+(?:good|great|nice|lovely)\s+(?:one|day|week|weekend|evening|afternoon|rest\s+of\s+.{3,12})
      | (?:mit\s+)?(?:freundlichen|besten|herzlichen|liebe[nr]?|viele)\s+gr(?:\u00fc|ue)(?:\u00df|ss)e?n?|(?:vg|lg|mfg)
      | cordialement|bien\s+(?:cordialement|\u00e0\s+vous)|salutations(?:\s+distingu\u00e9es)?
      | (?:un\s+)?(?:cordial\s+)?saludos?(?:\s+cordiales)?|atentamente
    )[ \t]*[,.!-]*[ \t]*$""",
    re.IGNORECASE | re.VERBOSE,
)
_GREETING = re.compile(
    r"""^[ \t]*(?:
        (?:hi|hello|hey|dear|greetings|good\s+(?:morning|afternoon|evening|day)|hallo|guten\s+(?:tag|morgen|abend)|liebe[rs]?
          |sehr\s+geehrte[rs]?|bonjour|bonsoir|cher|ch\u00e8re|hola|estimad[oa]s?|buenos\s+d\u00edas|buenas\s+tardes|moin|servus)
        \b[^\n.?!]{0,60}?
      )(?:[,:!.\u2013-]|\s*$)""",
    re.IGNORECASE | re.VERBOSE,
)
_NAME_LINE = re.compile(r"^[ \t]*[A-Z][\w'-]+(?:[ \t]+(?:and[ \t]+)?[A-Z][\w'-]*\.?){0,2}[ \t]*,[ \t]*$")
_BULLET = re.compile(r"[ \t]*(?:[-*\u2022\u2023\u25cf\u25e6\u2043]|\(?\d{1,2}[.)]|\(?[a-z][)])[ \t]+")
_BOILERPLATE = re.compile(
    r"\bunsubscribe\b|\bconfidential(?:ity)?\s+(?:notice|and\s+(?:may|intended))|\bintended\s+(?:only|solely)\s+for\b|"
    r"\bprivileged\s+(?:and|or|information)|\bsent\s+from\s+my\b|\bview\s+(?:this\s+)?(?:e-?mail|newsletter)?\s*in\s+(?:your|a)\s+browser|"
    r"\ball\s+rights\s+reserved\b|\bif\s+you\s+(?:have\s+)?received?\s+this\s+(?:e-?mail|message)\s+(?:in\s+error|because)|"
    r"\bthis\s+(?:e-?mail|message)\s+(?:was\s+sent\s+(?:to|from)|originated\s+from\s+outside)|\bexternal\s+(?:sender|e-?mail)\b|"
    r"\bmanage\s+(?:your\s+)?(?:preferences|subscriptions?)\b|\bthink\s+before\s+you\s+print|\bplease\s+consider\s+the\s+environment|"
    r"\bprivacy\s+policy\b|\bterms\s+(?:of\s+(?:use|service)|and\s+conditions\s+apply)\b",
    re.IGNORECASE,
)
_END = re.compile(
    r"(?<=[.!?\u2026])[\"')\]\u201d\u2019]*\s+(?=[\"'(\[\u201c\u2018\u00bf\u00a1]?[A-Z\u00c0-\u00de0-9\u00bf\u00a1]|[a-z])"
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|approx|dept|est|fig|no|nos|inc|ltd|corp|co|e\.g|i\.e|cf|a\.m|p\.m|u\.s|u\.k|"
    r"z\.b|d\.h|bzw|ca|ggf|usw|evtl|nr|hr|fr|tel|mt|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec|ext|attn|min|max|[a-z])\.$",
    re.IGNORECASE,
)
_LINE_ENDS = re.compile(r"[.!?:;\u2026][\"')\]]*$")
_SHORT_LINE = 48
_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence: `text` on one line with plain quotes, `start` and `end` where it stands in the message."""

    text: str
    start: int
    end: int
    bullet: bool = False

    @property
    def lower(self) -> str:
        """The text lower-cased, for matching."""
        return self.text.lower()


def flat(text: str) -> str:
    """Return the text on one line, with plain quotation marks and dashes."""
    return _SPACE.sub(" ", text.translate(_TYPOGRAPHIC)).strip()


def own_words(content: str) -> str:
    """Return what the sender wrote in this message: history and signature are cut off, offsets stay the same."""
    text = content[:MAX_CHARACTERS]
    for pattern in (_HISTORY, _SIGNATURE):
        if (found := pattern.search(text)) and text[: found.start()].strip():
            text = text[: found.start()]
    return text


@lru_cache(maxsize=64)
def split(content: str) -> tuple[Sentence, ...]:
    """
    Return the sentences of what the sender wrote, in order.

    Quoted lines, history, greeting, sign-off with what follows it, and footers are left out. Lines that were only
    wrapped are joined; bullets are sentences of their own.
    """
    found: list[Sentence] = []
    for start, end, bullet in _blocks(own_words(content)):
        for first, last in _cut(content, start, end):
            text = flat(content[first:last])
            if len(text) > 1 and _WORD.search(text) and not _BOILERPLATE.search(text):
                found.append(Sentence(text, first, last, bullet))
            if len(found) == MAX_SENTENCES:
                return tuple(found)
    return tuple(found)


def _blocks(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield runs of lines that belong together as (start, end, is a bullet)."""
    start = end = 0
    open_block = bullet = False
    previous = ""
    for first, last in _lines(text):
        line = text[first:last]
        if not line.strip() or _QUOTED_LINE.match(line):
            if open_block:
                yield start, end, bullet
            open_block, previous = False, ""
            continue
        if _SIGN_OFF.match(line):
            break
        skip = _opening(line) if not open_block else 0
        marker = _BULLET.match(line)
        if open_block and (marker or _breaks(previous, line)):
            yield start, end, bullet
            open_block = False
        if skip >= len(line.rstrip()):
            continue
        if not open_block:
            start, open_block = first + max(skip, marker.end() if marker else 0), True
            bullet = marker is not None
        end, previous = last, line
    if open_block:
        yield start, end, bullet


def _lines(text: str) -> Iterator[tuple[int, int]]:
    first = 0
    while first <= len(text):
        last = text.find("\n", first)
        if last < 0:
            last = len(text)
        yield first, last
        first = last + 1


def _opening(line: str) -> int:
    """Return how many characters of the line are greeting."""
    if _NAME_LINE.match(line):
        return len(line)
    greeting = _GREETING.match(line)
    if greeting is None:
        return 0
    rest = line[greeting.end() :]
    return len(line) if not _WORD.search(rest) else greeting.end() + len(rest) - len(rest.lstrip())


def _breaks(previous: str, line: str) -> bool:
    """Whether a new line begins a new statement rather than continuing a wrapped one."""
    before, after = previous.rstrip(), line.lstrip()
    if _LINE_ENDS.search(before):
        return False
    return len(before) < _SHORT_LINE and after[:1].isupper() and not before.endswith(",")


def _cut(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    block = text[start:end]
    first = 0
    for gap in _END.finditer(block):
        head = block[first : gap.start()]
        if _ABBREVIATION.search(head[-12:]) or (
            block[gap.end() : gap.end() + 1].islower() and not head.endswith(("?", "!"))
        ):
            continue
        yield from _trimmed(text, start + first, start + gap.start())
        first = gap.end()
    yield from _trimmed(text, start + first, end)


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if start < end:
        yield start, end


_STOP_WORDS = {
    "en": frozenset(
        [
            "the",
            "and",
            "to",
            "of",
            "you",
            "we",
            "is",
            "are",
            "will",
            "for",
            "that",
            "this",
            "with",
            "have",
            "i",
            "it",
            "on",
            "be",
            "your",
            "our",
            "can",
            "not",
        ]
    ),
    "de": frozenset(
        [
            "der",
            "die",
            "das",
            "und",
            "ich",
            "wir",
            "sie",
            "ist",
            "nicht",
            "mit",
            "ein",
            "eine",
            "zu",
            "den",
            "von",
            "für",
            "auf",
            "bitte",
            "haben",
            "wird",
            "im",
            "dem",
            "uns",
            "ihnen",
        ]
    ),
    "fr": frozenset(
        [
            "le",
            "la",
            "les",
            "et",
            "je",
            "nous",
            "vous",
            "est",
            "pas",
            "une",
            "des",
            "pour",
            "que",
            "dans",
            "avec",
            "votre",
            "notre",
            "sur",
            "du",
            "au",
            "ce",
            "merci",
        ]
    ),
    "es": frozenset(
        [
            "el",
            "la",
            "los",
            "y",
            "yo",
            "nosotros",
            "es",
            "no",
            "una",
            "para",
            "que",
            "en",
            "con",
            "su",
            "por",
            "las",
            "del",
            "nos",
            "le",
            "usted",
            "gracias",
            "lo",
        ]
    ),
}


def language(content: str) -> str:
    """Return "en", "de", "fr", "es", or "other" when the words are none of theirs. Too short counts as English."""
    words = [word.lower() for word in _WORD.findall(content[:4_000])]
    if not words:
        return "other"
    counts = {code: sum(word in stop for word in words) for code, stop in _STOP_WORDS.items()}
    best = max(counts, key=lambda code: counts[code])
    if counts[best] == 0 or counts[best] < len(words) * 0.06:
        latin = sum(ord(word[0]) < 0x250 for word in words)
        return "en" if len(words) < 12 and latin == len(words) and counts[best] == counts["en"] else "other"
    return best if counts[best] > counts["en"] else "en"
