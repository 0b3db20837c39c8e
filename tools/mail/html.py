"""
HTML mail as text: what the reader of the mail would see, in lines, with quoted parts marked as quotes.

One parse by lexbor, one walk. Block elements end lines, `<blockquote>` becomes "> ", list items get a dash,
and what a client would not show (display:none, zero size, off screen, white on white, `hidden`) is left out.
"""

import re
from html import unescape
from operator import methodcaller
from typing import Any

from selectolax.lexbor import LexborHTMLParser

from tools.mail import elements, hiding
from tools.mail.elements import BREAK, CLOSE, OPEN, SOFT, UNCLEAR
from tools.mail.hiding import Hiding

HISTORY = elements.HISTORY
MAX_CHARS = 4_000_000
MAX_DEPTH = 400
_SHALLOW = 600
_LONG_TAG = 8_000
_TAG_TOO_LONG = re.compile(r"<[a-zA-Z][^<>]{8000}")
_DATA = re.compile(r"data:[^\"'\s<>]{200,}")
_RUN = re.compile(r"(<[^<>]*>(?:[ \t\r\n]*<[^<>]*>)*)")
_COMMENT = re.compile("<!--.*?-->", re.DOTALL)

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
    names = hiding.hidden_names(html)
    marked = None if names else _flat(tree.root, body)
    return _lines(_Walk(Hiding(html, names)).text_of(body) if marked is None else marked)


def _safe(html: str) -> str:
    """Return the markup without our own marks and without embedded files."""
    for mark in elements.MARKS:
        if mark in html:
            html = html.replace(mark, "")
    return _DATA.sub("", html) if "data:" in html else html


def _flat(root: Any, body: Any) -> str | None:
    """
    Return the marked text, or None when a tag can only be judged in its place in the tree.

    The parser writes its tree down again: with every element closed, every attribute quoted and every bracket of the
    text escaped. In this form tags can be told from text without walking.
    """
    if not hiding.is_harmless("html", root.attributes):
        return None
    written = body.html
    if "<!--" in written:
        written = _COMMENT.sub("", written)
    pieces = _RUN.split(written)
    pieces[1::2] = map(elements.runs.__getitem__, pieces[1::2])
    marked = "".join(pieces)
    if UNCLEAR in marked or "<" in marked:  # a bracket that is left over was part of an element's name
        return None
    return unescape(marked) if "&" in marked else marked


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
    return _lines(unescape(_MARKUP.sub(" ", _ANY_TAG.sub(BREAK, html))))


class _Walk:
    """One pass over the tree: `pieces` is the text so far, with marks for line ends and quote borders."""

    __slots__ = ("hiding", "pieces", "verbatim")

    def __init__(self, rules: Hiding) -> None:
        self.hiding = rules
        self.verbatim = 0
        self.pieces: list[str] = []

    def text_of(self, root: Any) -> str:
        """Return the marked text below `root`, entering and leaving each element once and without recursion."""
        above: list[Any] = []
        node = root.first_child
        while node is not None:
            child = self.enter(node)
            if child is not None:
                above.append(node)
                node = child
                continue
            following = node.next
            while following is None:
                if not above:
                    return "".join(self.pieces)
                node = above.pop()
                self.leave(node)
                following = node.next
            node = following
        return "".join(self.pieces)

    def enter(self, node: Any) -> Any:
        """Write what stands before the node's content, and return its first child when it has one that shows."""
        tag = node.tag
        if tag == "-text":
            text = node.text_content
            self.pieces.append(text.replace("\n", BREAK) if self.verbatim else text)
            return None
        if tag in elements.UNSEEN:
            return None
        attributes = node.attributes
        if attributes and self.hiding.hides(node, tag, attributes):
            return None
        if tag in elements.MARKED:
            self.pieces.append(elements.opening(tag, attributes))
            self.verbatim += tag == "pre"
        child = node.first_child
        if child is None:
            self.leave(node)
        return child

    def leave(self, node: Any) -> None:
        """Write what stands after the element's content."""
        tag = node.tag
        if tag in elements.MARKED:
            self.pieces.append(elements.closing(tag, node.attributes))
            self.verbatim -= tag == "pre"


_trimmed = methodcaller("strip", " ")


def _lines(marked: str) -> str:
    """Return the marked text as lines: spaces collapsed, soft ends merged into the ends before them, quotes prefixed."""
    text = _BLANK.sub(SOFT + BREAK, marked) if "\xa0" in marked else marked
    for odd in _ODD_SPACES:
        if odd in text:
            text = text.replace(odd, " ")
    if "  " in text:
        text = _SPACES.sub(" ", text)
    text = "\n".join(filter(None, map(_trimmed, text.split(SOFT))))
    if BREAK in text:  # it swallows the soft end behind it
        first, *rest = map(_trimmed, text.split(BREAK))
        text = "\n".join([first, *(part.removeprefix("\n") for part in rest)])
    text = text.strip("\n ")
    if OPEN in text:
        text = _quoted(text)
    return _GAPS.sub("\n\n", text) if "\n\n\n" in text else text


def _quoted(text: str) -> str:
    """Return the lines between quote borders with one "> " for each level."""
    out: list[str] = []
    depth = 0
    for line in text.split("\n"):
        opened, closed = line.count(OPEN), line.count(CLOSE)
        shown = line.replace(OPEN, "").replace(CLOSE, "") if opened or closed else line
        depth = min(depth + opened, _MAX_QUOTES)
        if shown or not (opened or closed):
            out.append("> " * depth + shown)
        depth = max(0, depth - closed)
    return "\n".join(out)
