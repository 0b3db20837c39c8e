"""How numbers, moments and values are written on a page."""

import difflib
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from markupsafe import Markup, escape

VARIABLE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")
NOTHING = "–"


def pretty(value: Any) -> str:
    """Return JSON to be read."""
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def ago(moment: datetime | None) -> str:
    """Return how long ago a moment was, in one unit."""
    if moment is None:
        return NOTHING
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "just now"


def moment(at: datetime | None) -> str:
    """Return a moment in UTC to the second."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S") if at else NOTHING


def day(at: datetime | None) -> str:
    """Return a day in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%d") if at else NOTHING


def usd(amount: float | None) -> str:
    """Return an amount of money: cents for what costs cents, more digits for what costs less."""
    if amount is None:
        return NOTHING
    if amount == 0:
        return "$0"
    return f"${amount:,.2f}" if amount >= 1 else f"${amount:.4f}" if amount >= 0.001 else f"${amount:.6f}"


def count(number: float | None) -> str:
    """Return a whole number in groups of three."""
    return NOTHING if number is None else f"{number:,.0f}"


def took(ms: float | None) -> str:
    """Return a duration given in milliseconds."""
    if ms is None:
        return NOTHING
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.2f} s" if ms < 60_000 else f"{int(ms // 60_000)} min {int(ms % 60_000 // 1000)} s"


def percent(share: float | None) -> str:
    """Return a share of one as whole percent."""
    return NOTHING if share is None else f"{share * 100:.0f} %"


def spoken(word: str) -> str:
    """Return a name of the code as words."""
    return word.replace("_", " ").replace(".", " ")


def sentence(words: str) -> str:
    """Return the words with a capital letter."""
    return words[:1].upper() + words[1:]


def template(words: str) -> Markup:
    """Return a prompt's template with its variables marked."""
    parts: list[Markup] = []
    at = 0
    for found in VARIABLE.finditer(words):
        parts += [escape(words[at : found.start()]), Markup('<var class="slot">{}</var>').format(found[0])]
        at = found.end()
    return Markup("").join([*parts, escape(words[at:])])


def filled(template: str, rendered: str, values: Mapping[str, str]) -> Markup:
    """
    Return a rendered template with the values that were put in marked.

    Where the two cannot be laid over each other, as with a system message that is not the prompt's own, nothing is.
    """
    slots = list(VARIABLE.finditer(template))
    if not slots or not rendered.startswith(template[: slots[0].start()]):
        return escape(rendered)
    ends = [*(slot.start() for slot in slots[1:]), len(template)]
    at = slots[0].start()
    parts = [escape(rendered[:at])]
    for slot, end in zip(slots, ends, strict=True):
        value = values.get(slot[1], slot[0])
        literal = template[slot.end() : end]
        begin = rendered.find(value, at)
        stop = rendered.find(literal, begin + len(value)) if begin >= 0 else -1
        if stop < 0:
            break
        mark = Markup('<span class="value{}" title="{}">{}</span>')
        parts.append(mark.format("" if slot[1] in values else " missing", slot[1], rendered[at:stop]))
        parts.append(escape(literal))
        at = stop + len(literal)
    return Markup("").join([*parts, escape(rendered[at:])])


def quoted(text: str, quotes: list[str]) -> Markup:
    """Return a source's text with the quotes in it marked; spaces and line breaks may differ."""
    spans: list[tuple[int, int]] = []
    for quote in quotes:
        pattern = r"\s+".join(map(re.escape, quote.split()))
        found = re.search(pattern, text, re.IGNORECASE) if pattern else None
        if found:
            spans.append(found.span())
    parts: list[Markup] = []
    at = 0
    for start, end in sorted(spans):
        if end <= at:
            continue
        begin = max(start, at)
        parts += [escape(text[at:begin]), Markup("<mark>{}</mark>").format(text[begin:end])]
        at = end
    return Markup("").join([*parts, escape(text[at:])])


def changed_words(before: str, after: str) -> tuple[Markup, Markup]:
    """Return two versions of a line, with the words that differ marked in each."""
    old, new = re.findall(r"\s+|\w+|[^\w\s]", before), re.findall(r"\s+|\w+|[^\w\s]", after)
    left: list[Markup] = []
    right: list[Markup] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = "".join(old[a:b]), "".join(new[c:d])
        if kind == "equal":
            left.append(escape(gone))
            right.append(escape(come))
            continue
        if gone:
            left.append(Markup("<del>{}</del>").format(gone))
        if come:
            right.append(Markup("<ins>{}</ins>").format(come))
    return Markup("").join(left), Markup("").join(right)


FILTERS: dict[str, Callable[..., Any]] = {
    "pretty": pretty,
    "ago": ago,
    "moment": moment,
    "day": day,
    "usd": usd,
    "count_of": count,
    "took": took,
    "percent": percent,
    "spoken": spoken,
    "sentence": sentence,
    "template": template,
    "quoted": quoted,
}
