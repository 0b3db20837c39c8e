"""Text that people can see: characters that hide, reorder or smuggle words are taken out before anybody reads."""

import re

MAX_MARKS = 4
"""Combining marks kept on one letter: real scripts need at most this many, stacked ones hide the line below."""

_HIDING = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0e\ufeff\uffa0\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufdd0-\ufdef\ufffe\uffff"
# Joiners carry meaning inside words of these scripts, and nowhere else.
_JOINED = "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u17ff\u1800-\u18aa"

HIDDEN = re.compile(f"[{_HIDING}]|(?<![{_JOINED}])[\u200c\u200d]|[\u200c\u200d](?![{_JOINED}])")
_UNPRINTABLE = re.compile(f"[{_CONTROLS}\ud800-\udfff]")
_SPACES = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_BREAKS = re.compile("\r\n?|[\u0085\u2028\u2029]")
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
_STACKED = re.compile(f"([{_MARKS}]{{{MAX_MARKS}}})[{_MARKS}]+")
# One look at the distinct characters tells whether any of the passes over the text is needed.
_ODD = re.compile(
    f"[{_HIDING}{_CONTROLS}{_MARKS}\u200c\u200d\ud800-\udfff\r\u0085\u2028\u2029"
    "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]"
)
_ASCII_TO_CLEAN = re.compile("[\x00-\x08\x0b-\x1f\x7f]")
_TRAILING = re.compile("[ \t]+(?=\n)")
_BLANKS = re.compile("\n{3,}")


def for_reading(text: str) -> str:
    """
    Return the text as a person would see it.

    Zero-width, bidirectional, tag and control characters go, odd spaces become spaces and odd line ends
    become newlines; letters, emoji and line structure stay. Linear in the length of the text.
    """
    if text.isascii():
        # The first test is a much cheaper form of the second, but for tabs.
        if text.replace("\n", "").isprintable() or _ASCII_TO_CLEAN.search(text) is None:
            return text
        return _UNPRINTABLE.sub("", _BREAKS.sub("\n", text))
    if _ODD.search("".join(set(text))) is None:
        return text
    text = _UNPRINTABLE.sub("", _BREAKS.sub("\n", text))
    return _STACKED.sub(r"\1", _SPACES.sub(" ", HIDDEN.sub("", text)))


def count_hidden(text: str) -> int:
    """Return how many invisible characters the text carries: ordinary mail has a handful, smuggled words have many."""
    if text.isascii() or _ODD.search("".join(set(text))) is None:
        return 0
    return len(HIDDEN.findall(text))


def storable(text: str) -> str:
    """Return the text without what Postgres refuses in a text column: NUL bytes and lone surrogates."""
    if "\x00" in text:
        text = text.replace("\x00", "")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


def tidy(text: str) -> str:
    """Return the text without trailing spaces and without more than one empty line in a row."""
    return _BLANKS.sub("\n\n", _TRAILING.sub("", text)).strip()
