"""
Mail on disk as a stream: an mbox, an .eml file, Graph JSON, or a folder of these; in the same order every time.

Every item knows the place after it, so that reading can go on where it was broken off.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

import orjson

from tools.mail import graph, mbox, rfc822
from tools.mail.messages import Mail, Unreadable

MAX_EML = 64 << 20
MAX_WHOLE = 16 << 20
MAX_LINE = 64 << 20
_CHUNK = 1 << 20
_MAILDIR = frozenset(("cur", "new"))
_SUFFIXES = frozenset((".mbox", ".mbx", ".eml", ".json", ".jsonl", ".ndjson", ".msg", ".emlx"))
_HEADER = re.compile(rb"^[!-9;-~]{1,80}:")
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|"|[{}\[\]]', re.DOTALL)
_OPENERS, _CLOSERS = frozenset((b"[", b"{")), frozenset((b"]", b"}"))
_LIST_KEYS = frozenset((b'"value"', b'"messages"', b'"responses"', b'"items"'))


class Place(NamedTuple):
    """Where reading is: a file of the source (relative, or its own name) and an offset or a count in it."""

    file: str
    offset: int


class Item(NamedTuple):
    """One message, or the reason why there is none; `raw` is kept for what could not be read."""

    start: Place
    after: Place
    mail: Mail | None
    reason: str = ""
    raw: bytes = b""


class NoSuchSource(Exception):
    """The path names no file and no folder."""


def files_of(path: Path) -> list[Path]:
    """
    Return the mail files below the path, sorted; a file given by name counts whatever its name.

    Raises `NoSuchSource`.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NoSuchSource(str(path))
    return sorted(file for file in path.rglob("*") if file.is_file() and _is_mail_file(file))


def _is_mail_file(file: Path) -> bool:
    if file.name.startswith("."):
        return False
    if file.suffix.lower() in _SUFFIXES or file.parent.name in _MAILDIR:
        return True
    try:
        return file.suffix == "" and kind_of(file) in ("mbox", "eml")
    except OSError:
        return False


def size_of(path: Path) -> int:
    """Return how many bytes there are to read."""
    return sum(file.stat().st_size for file in files_of(path))


def head_of(file: Path) -> str:
    """Return what tells whether a file is still the one that was begun: a digest of its first bytes, "" for none."""
    try:
        with file.open("rb") as stream:
            return hashlib.sha256(stream.read(4096)).hexdigest()[:32]
    except OSError:
        return ""


def name_of(path: Path, file: Path) -> str:
    """Return the file's name within the source."""
    return file.name if file == path else file.relative_to(path).as_posix()


def kind_of(file: Path) -> str:
    """Return the form of a file by its first bytes: mbox, eml, json, or unknown."""
    with file.open("rb") as stream:
        head = stream.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith((b"{", b"[")) or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "json"
    if head.startswith(b"From "):
        return "mbox"
    if _HEADER.match(head):
        return "eml"
    return "json" if file.suffix.lower() in (".json", ".jsonl", ".ndjson") else "unknown"


def read(path: Path, start: Place | None = None) -> Iterator[Item]:
    """
    Yield every message of the source from the place on.

    Raises `NoSuchSource`.
    """
    for file in files_of(path):
        name = name_of(path, file)
        if start is not None and _order(name) < _order(start.file):
            continue
        offset = start.offset if start is not None and name == start.file else 0
        try:
            yield from _read_file(file, name, offset)
        except OSError as failure:
            place = Place(name, offset)
            yield Item(place, place._replace(offset=offset + 1), None, f"the file cannot be read: {failure.strerror}")


def _order(name: str) -> tuple[str, ...]:
    return Path(name).parts


def _read_file(file: Path, name: str, offset: int) -> Iterator[Item]:
    kind = kind_of(file)
    if kind == "mbox":
        yield from _read_mbox(file, name, offset)
    elif kind == "json":
        yield from _read_json(file, name, offset)
    elif offset == 0:
        yield _read_eml(file, name, kind)


def _read_mbox(file: Path, name: str, offset: int) -> Iterator[Item]:
    with file.open("rb") as stream:
        for piece in mbox.read(stream, offset):
            item = _parsed(piece.raw, Place(name, piece.start), Place(name, piece.end))
            if piece.dropped and item.mail is not None:
                item.mail.problems.append(f"{piece.dropped} bytes beyond the size that is read")
            yield item


def _read_eml(file: Path, name: str, kind: str) -> Item:
    size = file.stat().st_size
    with file.open("rb") as stream:
        raw = stream.read(MAX_EML)
    start, after = Place(name, 0), Place(name, max(1, size))
    if kind == "unknown":
        if file.suffix.lower() == ".emlx" and b"\n" in raw[:20]:
            raw = raw.partition(b"\n")[2]
        elif not raw.strip() or not _HEADER.search(raw[:4096]):
            return Item(start, after, None, "an empty file" if not raw.strip() else "no mail format that is known", raw)
    item = _parsed(raw, start, after)
    if size > MAX_EML and item.mail is not None:
        item.mail.problems.append(f"{size - MAX_EML} bytes beyond the size that is read")
    return item


def _parsed(raw: bytes, start: Place, after: Place) -> Item:
    try:
        return Item(start, after, rfc822.parse(raw))
    except Unreadable as reason:
        return Item(start, after, None, str(reason), raw)
    except Exception as bug:  # noqa: BLE001 - one message that breaks the parser must not stop a mailbox
        return Item(start, after, None, f"parser failed: {type(bug).__name__}", raw)


def _read_json(file: Path, name: str, offset: int) -> Iterator[Item]:
    with file.open("rb") as stream:
        head = stream.read(min(MAX_WHOLE, file.stat().st_size) + 1)
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            yield from _documents(head.decode("utf-16", "replace").encode(), name, offset)
            return
        if len(head) <= MAX_WHOLE:
            document = _loads(head)
            if document is not None:
                yield from _from_documents(graph.messages_of(document), name, offset)
                return
        stream.seek(0)
        if any(isinstance(_loads(line), dict | list) for line in head.split(b"\n", 3)[:3]):
            yield from _read_lines(stream, name, offset)
        else:
            yield from _from_objects(stream, name, offset)


def _documents(text: bytes, name: str, offset: int) -> Iterator[Item]:
    document = _loads(text)
    if document is None:
        if offset == 0:
            yield Item(Place(name, 0), Place(name, 1), None, "not JSON", text)
        return
    yield from _from_documents(graph.messages_of(document), name, offset)


def _loads(text: bytes) -> Any:
    """Return the JSON value, or None; what the strict parser refuses (lone surrogates, bad bytes) gets a second chance."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None


def _from_documents(
    found: Iterator[graph.Json | Unreadable], name: str, offset: int, line: Place | None = None
) -> Iterator[Item]:
    """Yield the messages of one document; the place counts them, unless the document is a line of its own."""
    for count, document in enumerate(found):
        start, after = (Place(name, offset + count), line) if line else (Place(name, count), Place(name, count + 1))
        if line is None and count < offset:
            continue
        if isinstance(document, Unreadable):
            yield Item(start, after, None, str(document), _dumps(document.document))
            continue
        yield _parsed_document(document, start, after)


def _parsed_document(document: graph.Json, start: Place, after: Place) -> Item:
    try:
        return Item(start, after, graph.parse(document))
    except Unreadable as reason:
        return Item(start, after, None, str(reason), _dumps(document))
    except Exception as bug:  # noqa: BLE001 - one message that breaks the parser must not stop a mailbox
        return Item(start, after, None, f"parser failed: {type(bug).__name__}", _dumps(document))


def _dumps(document: object) -> bytes:
    return json.dumps(document, default=str).encode("utf-8", "replace")


def _read_lines(stream: BinaryIO, name: str, offset: int) -> Iterator[Item]:
    stream.seek(offset)
    start = offset
    while line := stream.readline(MAX_LINE):
        end = start + len(line)
        if line.strip():
            document = _loads(line)
            if document is None:
                yield Item(Place(name, start), Place(name, end), None, "a line that is not JSON", line)
            else:
                items = list(_from_documents(graph.messages_of(document), name, start, Place(name, end)))
                # The place moves on only with the last message of a line, so that a page on one line stays whole.
                yield from (item._replace(after=item.start) for item in items[:-1])
                yield from items[-1:]
        start = end


def _from_objects(stream: BinaryIO, name: str, offset: int) -> Iterator[Item]:
    """Yield the messages of one big, or broken, document without having it whole in memory."""
    found = 0
    for found, text in enumerate(_objects(stream), 1):
        if found <= offset:
            continue
        document = _loads(text)
        start, after = Place(name, found - 1), Place(name, found)
        if not isinstance(document, dict):
            yield Item(start, after, None, "not JSON", text)
            continue
        for message in graph.messages_of(cast("graph.Json", document)):
            if isinstance(message, Unreadable):
                yield Item(start, after, None, str(message), text)
            else:
                yield _parsed_document(message, start, after)
    if found == 0 and offset == 0:
        stream.seek(0)
        yield Item(Place(name, 0), Place(name, 1), None, "not JSON, or cut off", stream.read(MAX_WHOLE))


def _objects(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the JSON text of each object that is an element of the document's list."""
    buffer = b""
    depth = position = 0
    begin = listed = -1
    key = b""
    while chunk := stream.read(_CHUNK):
        keep = begin if begin >= 0 else position
        buffer, position, begin = buffer[keep:] + chunk, position - keep, 0 if begin >= 0 else -1
        for token in _TOKEN.finditer(buffer, position):
            mark = token[0]
            if mark == b'"':
                break
            position = token.end()
            if mark in _OPENERS:
                depth += 1
                if mark == b"[" and listed < 0 and (depth == 1 or (depth == 2 and key in _LIST_KEYS)):
                    listed = depth
                elif mark == b"{" and depth == listed + 1 and begin < 0:
                    begin = token.start()
            elif mark in _CLOSERS:
                if depth == listed + 1 and begin >= 0:
                    yield buffer[begin:position]
                    begin = -1
                elif depth == listed:
                    listed = -1
                depth -= 1
            else:
                key = mark if len(mark) < 20 else b""
