"""
HTML mail as text: what the reader of the mail would see, in lines, with quoted parts marked as quotes.

One parse by lexbor, one walk. Block elements end lines, `<blockquote>` becomes "> ", list items get a dash,
and what a client would not show (display:none, zero size, off screen, white on white, `hidden`) is left out.
"""

import re
from html import unescape
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from tools.mail.hiding import Hiding

HISTORY = "\x1d"
"""Stands alone on a line where the markup says that the quoted history begins."""

MAX_CHARS = 4_000_000
MAX_DEPTH = 400
_SHALLOW = 600

_BREAK = "\x1e"
_SOFT = "\x1f"
_OPEN, _CLOSE = "\x02", "\x03"
_OWN_MARKS = ("\x02", "\x03", "\x1d", "\x1e", "\x1f")
_LONG_TAG = 8_000
_TAG_TOO_LONG = re.compile(r"<[a-zA-Z][^<>]{8000}")
_DATA = re.compile(r"data:[^\"'\s<>]{200,}")

_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "tr",
        "ul",
        "summary",
    ]
)
_SPACED = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6"))
_CELLS = frozenset(("td", "th"))
_MARKED = _BLOCKS | _CELLS | {"br"}
_UNSEEN = frozenset(
    [
        "head",
        "script",
        "style",
        "title",
        "template",
        "noframes",
        "object",
        "applet",
        "iframe",
        "select",
        "datalist",
        "audio",
        "video",
        "canvas",
        "map",
        "svg",
        "math",
        "-comment",
        "-doctype",
    ]
)
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
_TAGS = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*>")
_ANY_TAG = re.compile(r"<(?:br|/?(?:p|div|tr|li|h[1-6]|table|blockquote))\b[^<>]*>", re.IGNORECASE)
_MARKUP = re.compile(
    r"<!--.*?(?:-->|\Z)|<(script|style|head)\b.*?(?:</\1\s*>|\Z)|</?[a-zA-Z!?][^<>]*>", re.IGNORECASE | re.DOTALL
)
_UNNESTED = frozenset(
    [
        "p",
        "li",
        "td",
        "tr",
        "th",
        "dt",
        "dd",
        "option",
        "br",
        "hr",
        "img",
        "input",
        "meta",
        "link",
        "area",
        "base",
        "col",
        "wbr",
    ]
)
_SOFTS = re.compile("\x1f{2,}")
_BLANK = re.compile("\x1f[ \n\r\t]{0,200}\xa0[ \n\r\t\xa0]{0,200}(?=\x1f)")
"""A block of nothing but a fixed space: editors write empty lines so."""
_SPACES = re.compile(" {2,}")
_ODD_SPACES = "\n\t\r\f\xa0"
_GAPS = re.compile("\n{3,}")
_MAX_QUOTES = 50
_LOOKS_LIKE = re.compile(
    r"<(?:html|body|div|p|br|table|span|a|b|i|font|blockquote|!doctype|meta|head|ul|ol|h[1-6])\b[^<>]{0,2000}>",
    re.IGNORECASE,
)


def looks_like_html(text: str) -> bool:
    """Whether a body that calls itself plain is in fact markup."""
    return "<" in text and _LOOKS_LIKE.search(text, 0, 20_000) is not None


def to_text(html: str) -> str:
    """
    Return what the reader of this HTML sees, as lines of text.

    Markup that is nested beyond reason (parsers take quadratic time on it) is stripped instead of parsed.
    """
    html = _safe(html[:MAX_CHARS])
    if _is_monstrous(html):
        return _stripped(html)
    tree = LexborHTMLParser(html)
    body = tree.body
    if body is None:
        return ""
    walk = _Walk(Hiding.of(html), watch=any(cue in html for cue in _CUES))
    return _lines("".join(walk.pieces_of(body)))


def _safe(html: str) -> str:
    """Return the markup without this module's own marks and without embedded files."""
    for mark in _OWN_MARKS:
        if mark in html:
            html = html.replace(mark, "")
    return _DATA.sub("", html) if "data:" in html else html


def _is_monstrous(html: str) -> bool:
    """Whether the parser would take quadratic time: thousands of nested elements, or of attributes on one."""
    if len(html) > _LONG_TAG and _TAG_TOO_LONG.search(html):
        return True
    return html.count("<") > _SHALLOW and _depth(html) > MAX_DEPTH


def _depth(html: str) -> int:
    """Return how deep elements are left open, over-closing counted as none."""
    depth = deepest = 0
    for tag in _TAGS.finditer(html):
        if tag[2].lower() in _UNNESTED:
            continue
        depth = max(0, depth - 1) if tag[1] else depth + 1
        deepest = max(deepest, depth)
    return deepest


def _stripped(html: str) -> str:
    return _lines(unescape(_MARKUP.sub(" ", _ANY_TAG.sub(_BREAK, html))))


class _Walk:
    """One pass over the tree: `pieces` is the text so far, with marks for line ends and quote borders."""

    __slots__ = ("hiding", "pieces", "verbatim", "watch")

    def __init__(self, hiding: Hiding | None, *, watch: bool) -> None:
        self.hiding = hiding
        self.watch = watch
        self.verbatim = 0
        self.pieces: list[str] = []

    def pieces_of(self, root: Any) -> list[str]:
        """Return the pieces below `root`, entering and leaving each element once and without recursion."""
        put = self.pieces.append
        hiding = self.hiding
        above: list[tuple[Any, str]] = []
        node = root.first_child
        while node is not None:
            tag = node.tag
            if tag == "-text":
                text = node.text_content
                put(text.replace("\n", _BREAK) if self.verbatim else text)
            elif tag not in _UNSEEN and (hiding is None or not hiding.hides(node, tag)):
                if tag in _MARKED:
                    self.enter(node, tag)
                child = node.first_child
                if child is not None:
                    above.append((node, tag))
                    node = child
                    continue
                if tag in _BLOCKS:
                    self.leave(node, tag)
            following = node.next
            while following is None:
                if not above:
                    return self.pieces
                node, tag = above.pop()
                if tag in _BLOCKS:
                    self.leave(node, tag)
                following = node.next
            node = following
        return self.pieces

    def enter(self, node: Any, tag: str) -> None:
        """Write what stands before the element's content."""
        if tag == "br":
            self.pieces.append(_BREAK)
        elif tag in _BLOCKS:
            self.pieces.append(_SOFT)
            if tag == "blockquote":
                self.pieces.append(_OPEN if _is_quote(node) else "")
            elif tag == "li":
                self.pieces.append("- ")
            elif tag in _SPACED and not _is_tight(node):
                self.pieces.append(_BREAK)
            elif tag == "pre":
                self.verbatim += 1
            elif self.watch and tag == "div" and _begins_history(node):
                self.pieces.append(f"{HISTORY}{_BREAK}")
        elif tag in _CELLS:
            self.pieces.append(" ")

    def leave(self, node: Any, tag: str) -> None:
        """Write what stands after the element's content."""
        if tag == "blockquote" and _is_quote(node):
            self.pieces.append(f"{_SOFT}{_CLOSE}{_SOFT}")
        else:
            self.pieces.append(_SOFT)
        if tag == "pre":
            self.verbatim -= 1


def _is_quote(node: Any) -> bool:
    """Whether a blockquote quotes: clients also use it to indent, with a class or a margin that says so."""
    attributes = node.attributes
    return "webkit-indent-blockquote" not in (attributes.get("class") or "")


def _is_tight(node: Any) -> bool:
    """Whether a paragraph is one line of an editor that writes every line as a paragraph without margins."""
    attributes = node.attributes
    if not attributes:
        return False
    if (attributes.get("class") or "").lower().startswith(("mso", "p1", "xmso", "elementtoproof")):
        return True
    return _NO_MARGIN.search(attributes.get("style") or "") is not None


def _begins_history(node: Any) -> bool:
    attributes = node.attributes
    if not attributes:
        return False
    named = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    return named != " " and any(cue in named for cue in _CUES)


def _lines(marked: str) -> str:
    """Return the marked text as lines: spaces collapsed, soft ends merged into the ends before them, quotes prefixed."""
    text = _BLANK.sub(f"{_SOFT}{_BREAK}", marked) if "\xa0" in marked else marked
    for odd in _ODD_SPACES:
        if odd in text:
            text = text.replace(odd, " ")
    if "  " in text:
        text = _SPACES.sub(" ", text)
    for mark in (_SOFT, _BREAK):
        text = text.replace(f" {mark}", mark).replace(f"{mark} ", mark)
    text = _SOFTS.sub(_SOFT, text)
    text = text.replace(_BREAK + _SOFT, _BREAK).replace(_SOFT, "\n").replace(_BREAK, "\n").strip("\n ")
    if _OPEN in text:
        text = _quoted(text)
    return _GAPS.sub("\n\n", text) if "\n\n\n" in text else text


def _quoted(text: str) -> str:
    """Return the lines between quote borders with one "> " for each level."""
    out: list[str] = []
    depth = 0
    for line in text.split("\n"):
        opened, closed = line.count(_OPEN), line.count(_CLOSE)
        shown = line.replace(_OPEN, "").replace(_CLOSE, "") if opened or closed else line
        depth = min(depth + opened, _MAX_QUOTES)
        if shown or not (opened or closed):
            out.append("> " * depth + shown)
        depth = max(0, depth - closed)
    return "\n".join(out)
