"""What an HTML mail carries but does not show: the ways in which markup hides words from the person it is sent to."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

_STYLE_BLOCK = re.compile(r"<style\b[^>]*>(.*?)(?:</style|\Z)", re.DOTALL)
_CSS_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|<!--|-->", re.DOTALL)
_SIMPLE_SELECTOR = re.compile(r"^(?:[a-z][a-z0-9]*)?([.#][\w-]+)$", re.IGNORECASE)

_GONE = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*(?:hidden|collapse)|opacity\s*:\s*0*(?:\.0+)?(?![.\d])|mso-hide\s*:\s*(?:all|screen)|"
    r"(?:text-indent|left|top|right|bottom|margin-left|margin-top)\s*:\s*-\d{3,}|"
    r"clip\s*:\s*rect\(\s*0[a-z]*[\s,]+0[a-z]*[\s,]+0|clip-path\s*:\s*inset\(\s*(?:50|100)%|transform\s*:\s*[^;]{0,40}scale\(\s*0\s*[,)]",
    re.IGNORECASE,
)
_FONT = re.compile(
    r"(?:^|[;\s])font(?:-size)?\s*:\s*(?:[^;]{0,60}?\s)?(\d*\.?\d+)(px|pt|em|rem|%|ex|ch|vw|vh)?\s*(?:[;!/\s]|$)",
    re.IGNORECASE,
)
_UNREADABLE = {"px": 1.5, "pt": 1.2, "em": 0.1, "rem": 0.1, "%": 10.0, "ex": 0.2, "ch": 0.2, "vw": 0.1, "vh": 0.1}
_COLLAPSED = re.compile(r"(?:^|;|\s)(?:max-)?(?:height|width)\s*:\s*0*[01]?(?:px|pt|em|%)?\s*(?:;|!|$)", re.IGNORECASE)
_CLIPPED = re.compile(r"overflow\s*:\s*hidden", re.IGNORECASE)
_COLOR = re.compile(r"(?:^|;)\s*color\s*:\s*([^;!]{1,60})", re.IGNORECASE)
_BACKGROUND = re.compile(r"background(?:-color)?\s*:\s*([^;!]{1,120})", re.IGNORECASE)
_HEX = re.compile(r"#([0-9a-f]{8}|[0-9a-f]{6}|[0-9a-f]{3,4})\b", re.IGNORECASE)
_RGB = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})(?:[\s,/]+([\d.]+%?))?", re.IGNORECASE)
_NAMED = {
    "white": (255, 255, 255),
    "snow": (255, 250, 250),
    "ivory": (255, 255, 240),
    "ghostwhite": (248, 248, 255),
    "whitesmoke": (245, 245, 245),
    "floralwhite": (255, 250, 240),
    "black": (0, 0, 0),
}
_NAME = re.compile(r"\b(white|snow|ivory|ghostwhite|whitesmoke|floralwhite|black)\b", re.IGNORECASE)
_ESCAPE = re.compile(r"\\(?:([0-9a-fA-F]{1,6})\s?|(.))", re.DOTALL)
_CACHED = 400
_NEAR = 24
_LIGHT = 255 - _NEAR
_PALE = 200
_ANCESTORS = 40
_MAX_RULES = 4000
_LONG_RULE = 2000
_LONG_SHEET = 10_000

Color = tuple[int, int, int]
Attributes = Mapping[str, str | None]


class Hiding:
    """The hiding rules that hold in one document: inline styles, attributes, and simple rules of its style sheet."""

    __slots__ = ("names", "painted")

    def __init__(self, html: str, names: frozenset[str]) -> None:
        self.names = names
        lowered = html.lower()
        self.painted = "background" in lowered or "bgcolor" in lowered or "&#" in lowered

    def hides(self, node: Any, tag: str, attributes: Attributes) -> bool:
        """Whether a reader would not see this element."""
        if "hidden" in attributes or (tag == "input" and attributes.get("type") == "hidden"):
            return True
        if self.names and self._is_named(attributes):
            return True
        gone, ink = _dress(tag, attributes)
        if gone or ink is None:
            return gone
        return (self.painted or min(ink) >= _LIGHT) and _near(ink, _paper(node))

    def _is_named(self, attributes: Attributes) -> bool:
        if any(f".{name}" in self.names for name in (attributes.get("class") or "").lower().split()):
            return True
        return f"#{(attributes.get('id') or '').lower()}" in self.names


def hidden_names(html: str) -> frozenset[str]:
    """Return the classes and ids (".name", "#name") that the document's style sheets hide."""
    lowered = html.lower()
    if "<style" not in lowered:
        return frozenset()
    sheets = _STYLE_BLOCK.findall(lowered[:1_000_000])
    return frozenset(
        name
        for sheet in sheets
        for name in (_cached_names(sheet) if len(sheet) < _LONG_SHEET else _hiding_names(sheet))
    )


def is_harmless(tag: str, attributes: Attributes) -> bool:
    """
    Whether the element is no part of any hiding by its own attributes, whatever document it stands in.

    Nothing hides it itself, its words are too dark to vanish on white, and its background too light for dark words.
    """
    if not attributes:
        return True
    gone, ink = _dress(tag, attributes)
    if gone or "hidden" in attributes or (ink is not None and min(ink) >= _PALE):
        return False
    written = _BACKGROUND.search(attributes.get("style") or "")
    paint, _ = _color((written[1] if written else attributes.get("bgcolor")) or "")
    return paint is None or min(paint) > _PALE + _NEAR


def _dress(tag: str, attributes: Attributes) -> tuple[bool, Color | None]:
    """Return whether the element's style hides it, and the colour of its words when it sets one."""
    style = attributes.get("style") or ""
    if tag == "font":
        return (True, None) if attributes.get("size") == "0" else _verdict(style, attributes.get("color"))
    return _verdict(style, None) if style else (False, None)


@lru_cache(maxsize=512)
def _cached_names(sheet: str) -> frozenset[str]:
    return frozenset(_hiding_names(sheet))


def _hiding_names(sheet: str) -> set[str]:
    """Return the classes and ids that the sheet hides on every screen; rules inside @media hold only on some."""
    names: set[str] = set()
    for rule in _outermost(_CSS_COMMENT.sub(" ", sheet)).split("}", _MAX_RULES)[:_MAX_RULES]:
        selectors, _, style = rule.partition("{")
        if len(style) > _LONG_RULE or len(selectors) > _LONG_RULE or not _judge(style, None)[0]:
            continue
        for selector in selectors.split(","):
            simple = _SIMPLE_SELECTOR.match(selector.strip())
            if simple:
                names.add(simple[1])
    return names


def _outermost(sheet: str) -> str:
    """Return the sheet without the blocks of its at-rules."""
    if "@" not in sheet:
        return sheet
    kept: list[str] = []
    depth = 0
    skipping = False
    for piece in re.split(r"([{}])", sheet):
        if piece == "{":
            depth += 1
        elif piece == "}":
            depth = max(0, depth - 1)
        elif depth == 0:
            skipping = "@" in piece
        if not skipping:
            kept.append(piece)
        elif piece == "}" and depth == 0:
            skipping = False
    return "".join(kept)


def _verdict(style: str, color: str | None) -> tuple[bool, Color | None]:
    """Return whether the style hides what it is set on, and the colour of its text when it sets one."""
    return _judged(style, color) if len(style) < _CACHED else _judge(style, color)


def _judge(style: str, color: str | None) -> tuple[bool, Color | None]:
    style = _plain(style)
    if _GONE.search(style) or _is_tiny(style) or (_COLLAPSED.search(style) and _CLIPPED.search(style)):
        return True, None
    written = _COLOR.search(style)
    name = written[1] if written else color
    if name is None:
        return False, None
    if name.strip().lower() == "transparent":
        return True, None
    ink, alpha = _color(name)
    return alpha == 0, ink


def _is_tiny(style: str) -> bool:
    sizes = _FONT.findall(style)
    if not sizes:
        return False
    number, unit = sizes[-1]
    return float(number) <= _UNREADABLE[unit.lower()] if unit else float(number) == 0


_judged = lru_cache(maxsize=4096)(_judge)


def _plain(style: str) -> str:
    """Return the declarations without comments and escapes, which browsers read through."""
    if "/*" in style:
        style = _CSS_COMMENT.sub("", style)
    if "\\" in style:
        style = _ESCAPE.sub(lambda code: chr(min(int(code[1], 16), 0x10FFFF)) if code[1] else code[2], style)
    return style


def _color(name: str) -> tuple[Color | None, float]:
    if digits := _HEX.search(name):
        value = digits[1]
        if len(value) < 6:
            value = "".join(letter * 2 for letter in value)
        alpha = int(value[6:8], 16) / 255 if len(value) == 8 else 1.0
        return (int(value[0:2], 16), int(value[2:4], 16), int(value[4:6], 16)), alpha
    if parts := _RGB.search(name):
        alpha = parts[4]
        return (int(parts[1]), int(parts[2]), int(parts[3])), float(alpha.rstrip("%") or 0) if alpha else 1.0
    if word := _NAME.search(name):
        return _NAMED[word[1].lower()], 1.0
    return None, 1.0


def _paper(node: Any) -> Color | None:
    """Return the colour behind the element: its nearest background, white paper, or None behind a picture."""
    for _ in range(_ANCESTORS):
        if node is None:
            break
        attributes = node.attributes if node.is_element_node else None
        if attributes:
            style = attributes.get("style") or ""
            if attributes.get("background") or "url(" in style:
                return None
            written = _BACKGROUND.search(style)
            color, alpha = _color((written[1] if written else attributes.get("bgcolor")) or "")
            if color is not None and alpha > 0:
                return color
            if written and not color and "transparent" not in written[1] and "none" not in written[1]:
                return None
        node = node.parent
    return (255, 255, 255)


def _near(ink: Color, paper: Color | None) -> bool:
    return paper is not None and all(abs(a - b) <= _NEAR for a, b in zip(ink, paper, strict=True))
