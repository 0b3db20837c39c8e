"""Rows as COPY reads them, for bulk: every value is text already, so nothing is adapted one by one."""

from collections.abc import Iterable, Sequence

NULL = "\x1e"
VALUE_END = "\x1f"


def write_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """Return the rows as COPY reads them with `VALUE_END` as its delimiter; a value that is `NULL` is null."""
    return b"\n".join(map(_line, rows))


def _line(row: Sequence[str]) -> bytes:
    """Return the row as COPY reads it, escaped at once; one with a text that holds our separator value by value."""
    # Row by row, as long as it is in the processor's cache, and as bytes, which are never wider than they need be.
    line = VALUE_END.join(row).encode()
    if line.count(b"\x1f") == len(row) - 1:
        return line.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return VALUE_END.join([_escaped(value) for value in row]).encode()


def _escaped(value: str) -> str:
    value = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return value.replace(VALUE_END, f"\\{VALUE_END}")
