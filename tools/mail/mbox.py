"""Mailbox files, read as a stream: one message in memory at a time, each with the offset to go on from."""

import re
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CHUNK = 1 << 20
MAX_MESSAGE = 32 << 20
_MARGIN = 1000
_OVERLAP = 16
"""A border that begins in the last bytes of what was searched is found by the next search."""

_FROM_LINE = re.compile(rb"From [^\n]{0,300}\d[^\n]{0,100}\n(?=[!-9;-~]{1,80}:|>?From )")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)


class Piece(NamedTuple):
    """One message of the file: where it begins, where the next one does, its bytes, and how many were left out."""

    start: int
    end: int
    raw: bytes
    dropped: int


def read(file: BinaryIO, offset: int = 0) -> Iterator[Piece]:
    """
    Yield the messages from the offset on (0, or the `end` of a piece).

    A "From " line begins a message when an empty line is above it, it carries a number (its date) and a header
    follows; so an unquoted "From " in a text does not tear a message apart. ">From " is unquoted.
    """
    file.seek(offset)
    buffer = b""
    begin = searched = 0  # of the message at hand, in the buffer
    base = offset  # of the buffer, in the file
    dropped = 0
    while chunk := file.read(CHUNK):
        buffer, base, searched, begin = buffer[begin:] + chunk, base + begin, searched - begin, 0
        while (border := _border(buffer, searched, max(0, len(buffer) - _MARGIN))) >= 0:
            yield _piece(base + begin, base + border, buffer[begin:border], dropped)
            begin, searched, dropped = border, border, 0
        searched = max(begin, len(buffer) - _MARGIN - _OVERLAP)
        if len(buffer) - begin > MAX_MESSAGE:
            surplus = len(buffer) - begin - MAX_MESSAGE // 2
            buffer = (
                buffer[: begin + MAX_MESSAGE // 2 - _MARGIN] + buffer[begin + MAX_MESSAGE // 2 + surplus - _MARGIN :]
            )
            dropped, base, searched = dropped + surplus, base + surplus, begin + MAX_MESSAGE // 2 - _MARGIN
    while (border := _border(buffer, searched, len(buffer))) >= 0:
        yield _piece(base + begin, base + border, buffer[begin:border], dropped)
        begin, searched, dropped = border, border, 0
    if buffer[begin:].strip():
        yield _piece(base + begin, base + len(buffer), buffer[begin:], dropped)


def _border(buffer: bytes, start: int, limit: int) -> int:
    """Return where the next message begins between `start` and `limit`, or -1."""
    at = buffer.find(b"\nFrom ", start, limit)
    while at >= 0:
        above = buffer[max(0, at - 2) : at]
        if (above.endswith(b"\n") or above == b"\n\r") and _FROM_LINE.match(buffer, at + 1):
            return at + 1
        at = buffer.find(b"\nFrom ", at + 1, limit)
    return -1


def _piece(start: int, end: int, raw: bytes, dropped: int) -> Piece:
    line_end = raw.find(b"\n")
    if raw.startswith(b"From ") and line_end >= 0:
        raw = raw[line_end + 1 :]
    if b">From " in raw:
        raw = _QUOTED_FROM.sub(rb"\1", raw)
    return Piece(start - dropped, end, raw, dropped)
