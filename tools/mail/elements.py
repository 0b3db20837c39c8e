"""
What the elements of an HTML mail write around their content: line ends, quote borders, dashes, cells.

The text of a mail is first written with these marks in it, and becomes lines afterwards.
"""

import re
from collections.abc import Callable
from html import unescape

from tools.mail import hiding
from tools.mail.hiding import Attributes

HISTORY = "\x1d"
"""Stands alone on a line where the markup says that the quoted history begins."""
BREAK, SOFT, OPEN, CLOSE = "\x1e", "\x1f", "\x02", "\x03"
UNCLEAR = "\x04"
"""Written for a tag that has to be seen in its place in the tree before one knows what it shows."""
MARKS = (OPEN, CLOSE, UNCLEAR, HISTORY, BREAK, SOFT)

_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "summary",
    "table", "tr", "ul",
))  # fmt: skip
_SPACED = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6"))
_CELLS = frozenset(("td", "th"))
MARKED = _BLOCKS | _CELLS | {"br"}
UNSEEN = frozenset((
    "head", "script", "style", "title", "template", "noframes", "object", "applet", "iframe", "select", "datalist", "audio", "video",
    "canvas", "map", "svg", "math", "-comment", "-doctype",
))  # fmt: skip
_VERBATIM = frozenset(("pre", "textarea", "listing", "xmp", "noembed", "noscript", "plaintext"))
"""Elements whose content is not written as that of others is."""
_NO_MARGIN = re.compile(r"margin(?:-top)?\s*:\s*0|margin-bottom\s*:\s*0", re.IGNORECASE)
_CUES = (
    "gmail_quote",
    "divRplyFwdMsg",
    "appendonsend",
    "yahoo_quoted",
    "OLK_SRC_BODY_SECTION",
    "protonmail_quote",
    "zmail_extra",
    "tutanota_quote",
    "mailru_quote",
    "ms-outlook-mobile-reference-message",
)
_TAG = re.compile(r'([^\s"/]+)((?: [^\s"=]++="[^"]*")*)')
_TAGS = re.compile("<([^<>]*)>")
_ATTRIBUTE = re.compile(r' ([^\s"=]+)="([^"]*)"')
_ENDS = re.compile(f" *([{BREAK}{SOFT}]) *")
_SOFTS = re.compile(f"{SOFT}{{2,}}")


def opening(tag: str, attributes: Attributes) -> str:
    """Return what stands before the element's content."""
    if tag == "br":
        return BREAK
    if tag not in _BLOCKS:
        return " " if tag in _CELLS else ""
    if tag == "blockquote" and is_quote(attributes):
        return SOFT + OPEN
    if tag == "li":
        return f"{SOFT}- "
    if tag in _SPACED and not _is_tight(attributes):
        return SOFT + BREAK
    if tag == "div" and _begins_history(attributes):
        return SOFT + HISTORY + BREAK
    return SOFT


def closing(tag: str, attributes: Attributes) -> str:
    """Return what stands after the element's content."""
    if tag == "blockquote" and is_quote(attributes):
        return SOFT + CLOSE + SOFT
    return SOFT if tag in _BLOCKS else ""


def is_quote(attributes: Attributes) -> bool:
    """Whether a blockquote quotes: clients also use it to indent, with a class that says so."""
    return "webkit-indent-blockquote" not in (attributes.get("class") or "")


def _is_tight(attributes: Attributes) -> bool:
    """Whether a paragraph is one line of an editor that writes every line as a paragraph without margins."""
    if not attributes:
        return False
    if (attributes.get("class") or "").lower().startswith(("mso", "p1", "xmso", "elementtoproof")):
        return True
    return _NO_MARGIN.search(attributes.get("style") or "") is not None


def _begins_history(attributes: Attributes) -> bool:
    if not attributes:
        return False
    named = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    return named != " " and any(cue in named for cue in _CUES)


class _Marks(dict[str, str]):
    """What tags write, by their text as the parser writes it: the same few runs of tags make up most of a mailbox."""

    kept, longest = 4096, 400

    def __init__(self, judge: Callable[[str], str]) -> None:
        self.judge = judge

    def __missing__(self, tags: str) -> str:
        mark = self.judge(tags)
        if len(tags) <= self.longest:
            if len(self) >= self.kept:
                self.clear()
            self[tags] = mark
        return mark


def _mark_of_tag(text: str) -> str:
    if text.startswith("/"):
        return closing(text[1:], {})
    tag = _TAG.fullmatch(text)
    if tag is None:
        return UNCLEAR
    name = tag[1]
    attributes = {key: unescape(value) for key, value in _ATTRIBUTE.findall(tag[2])}
    if name in UNSEEN or name in _VERBATIM or not hiding.is_harmless(name, attributes):
        return UNCLEAR
    return UNCLEAR if name == "blockquote" and not is_quote(attributes) else opening(name, attributes)


def _mark_of_run(text: str) -> str:
    pieces = _TAGS.split(text)
    pieces[::2] = (" " if space else "" for space in pieces[::2])
    pieces[1::2] = map(_tags.__getitem__, pieces[1::2])
    return _SOFTS.sub(SOFT, _ENDS.sub(r"\1", "".join(pieces)))


_tags = _Marks(_mark_of_tag)
runs = _Marks(_mark_of_run)
"""What runs of tags write, with nothing but space between them."""
