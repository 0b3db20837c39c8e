"""
RFC 5322 messages from bytes, leniently and lean: headers, MIME parts, charsets, attachments as metadata.

Written by hand because the standard parser builds an object tree and keeps every attachment in memory. Nothing
raises for broken mail: what cannot be read is kept as text, and `Mail.problems` says what was wrong.
"""

import binascii
import re
from urllib.parse import unquote_to_bytes

from tools.mail import addresses, charsets, dates
from tools.mail.cleaning import storable
from tools.mail.messages import Address, Attachment, Mail, Unreadable

MAX_PARTS = 500
MAX_DEPTH = 20
MAX_TEXT = 8_000_000
MAX_HEADER_BYTES = 1_000_000
KEPT_HEADERS = (
    "auto-submitted",
    "precedence",
    "list-id",
    "list-unsubscribe",
    "list-post",
    "x-autoreply",
    "x-autorespond",
    "x-auto-response-suppress",
    "return-path",
    "feedback-id",
    "x-campaign-id",
    "x-mailer",
    "x-ms-exchange-generated-message-source",
    "content-type",
    "x-failed-recipients",
    "x-microsoft-antispam-message-info",
    "x-meeting-id",
    "sender",
    "reply-to",
    "delivered-to",
)
_KEPT = frozenset(KEPT_HEADERS) - {"x-microsoft-antispam-message-info"}
_FOLD = re.compile(r"\n[ \t]+")
_HEADER_NAME = re.compile(r"^[!-9;-~]{1,100}$")
_PARAMETER = re.compile(r";\s*([\w!#$&+\-^`.*%']{1,80})\s*=\s*(?:\"((?:[^\"\\]|\\.){0,4000})\"?|([^;\s]{0,4000}))")
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,900})>")
_TOKEN_ID = re.compile(r"[^\s<>,;\"]{1,400}@[^\s<>,;\"]{1,400}")
_METHOD = re.compile(rb"^METHOD:\s*([A-Za-z]{1,20})", re.MULTILINE | re.IGNORECASE)
_PRIORITIES = {
    "1": "high",
    "2": "high",
    "high": "high",
    "urgent": "high",
    "4": "low",
    "5": "low",
    "low": "low",
    "non-urgent": "low",
}

Headers = dict[str, list[str]]


def parse(raw: bytes) -> Mail:
    """
    Return the message.

    Raises `Unreadable` when the bytes hold neither a header nor a text.
    """
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    mail = Mail("rfc822")
    head, body = _split(raw.lstrip(b"\n"))
    headers = _headers(head, mail.problems)
    if not headers:
        raise Unreadable("no mail headers")
    if not headers.keys() & _TELLING:
        raise Unreadable("none of the headers of a mail (From, To, Subject, Date, Message-ID)")
    _read_headers(mail, headers)
    _Parts(mail).read(headers, body, 0)
    _finish(mail)
    return mail


_TELLING = {"from", "to", "subject", "date", "message-id", "sender", "received", "cc", "mime-version"}


def _split(raw: bytes) -> tuple[bytes, bytes]:
    if raw.startswith(b"From "):
        raw = raw[raw.find(b"\n") + 1 :]
    end = raw.find(b"\n\n")
    if end < 0:
        return raw[:MAX_HEADER_BYTES], b""
    return raw[: min(end, MAX_HEADER_BYTES)], raw[end + 2 :]


def _headers(head: bytes, problems: list[str]) -> Headers:
    if head.isascii():
        text = head.decode("ascii")
    else:
        text, whole = charsets.decode(head)
        if not whole:
            problems.append("header bytes in no known charset")
    if "\x00" in text:
        text = text.replace("\x00", "")
    headers: Headers = {}
    for line in _FOLD.sub(" ", text).split("\n"):
        name, colon, value = line.partition(":")
        name = name.rstrip()
        if not colon or not _HEADER_NAME.match(name):
            if line.strip():
                problems.append("a header line without a name")
            continue
        headers.setdefault(name.lower(), []).append(value.strip())
    return headers


def _read_headers(mail: Mail, headers: Headers) -> None:
    first = {name: values[0] for name, values in headers.items()}
    mail.message_id = _one_id(first.get("message-id", ""))
    mail.in_reply_to = _one_id(first.get("in-reply-to", ""))
    mail.references = _ids(first.get("references", ""))
    mail.subject = _text(first.get("subject", ""))
    mail.sender = _sender(mail, first)
    mail.to = _recipients(headers, "to")
    mail.cc = _recipients(headers, "cc")
    mail.headers = {name: first[name][:1000] for name in _KEPT & first.keys()}
    priority = first.get("importance") or first.get("x-priority", "")[:1] or first.get("priority", "")
    mail.importance = _PRIORITIES.get(priority.strip().lower(), "normal")  # pyright: ignore[reportAttributeAccessIssue]
    _read_dates(mail, headers, first)


def _read_dates(mail: Mail, headers: Headers, first: dict[str, str]) -> None:
    mail.sent_at = dates.parse(first["date"]) if "date" in first else None
    if "received" in first:
        mail.received_at = dates.parse(first["received"].rpartition(";")[2])
    if mail.sent_at is None:
        mail.problems.append("no readable date")


def _recipients(headers: Headers, name: str) -> list[Address]:
    values = headers.get(name)
    return addresses.parse_list(", ".join(values)) if values else []


def _sender(mail: Mail, first: dict[str, str]) -> Address | None:
    for name in ("from", "sender", "reply-to", "return-path"):
        found = addresses.parse_list(first[name]) if first.get(name) else []
        if found:
            return found[0]
    mail.problems.append("no sender")
    return None


def _one_id(value: str) -> str:
    found = _ids(value)
    return found[0] if found else ""


def _ids(value: str) -> list[str]:
    """Return the message ids of a header in order: in angle brackets, or bare as some programs write them."""
    found = _MESSAGE_ID.findall(value[:20_000])
    if not found and value.strip():
        found = _TOKEN_ID.findall(value[:20_000])
    return list(dict.fromkeys(found))[-60:] if len(found) > 1 else found


def _text(value: str) -> str:
    return storable(" ".join(charsets.decode_words(value).split()))[:2000]


def _content(headers: Headers, name: str) -> tuple[str, dict[str, str]]:
    """Return a structured header's value in lower case and its parameters (RFC 2231 pieces joined and decoded)."""
    values = headers.get(name)
    if not values:
        return "", {}
    value = values[0]
    kind, semicolon, _ = value.partition(";")
    if not semicolon:
        return kind.strip().lower(), {}
    plain: dict[str, str] = {}
    pieces: dict[str, list[tuple[int, bool, str]]] = {}
    for found in _PARAMETER.finditer(value, len(kind)):
        key, text = found[1].lower(), (found[2] if found[2] is not None else found[3])
        if "*" not in key:
            plain.setdefault(key, text.replace("\\", "") if found[2] is not None and "\\" in text else text)
            continue
        base, _, rest = key.partition("*")
        number = rest.rstrip("*")
        pieces.setdefault(base, []).append(
            (int(number) if number.isdigit() else 0, rest == "" or rest.endswith("*"), text)
        )
    for base, parts in pieces.items():
        plain[base] = _extended(sorted(parts))
    return kind.strip().lower(), plain


def _extended(parts: list[tuple[int, bool, str]]) -> str:
    charset = ""
    data = b""
    for place, (_, encoded, text) in enumerate(parts):
        value = text
        if encoded and place == 0 and text.count("'") >= 2:
            charset, _, value = text.split("'", 2)
        data += unquote_to_bytes(value) if encoded else value.encode("utf-8", "replace")
    return charsets.decode(data, charset or "utf-8")[0]


class _Parts:
    """Walks the MIME parts of one mail and sorts them: the texts, the HTML, and attachments as metadata."""

    __slots__ = ("count", "html", "mail", "plain")

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self.count = 0
        self.plain: list[str] = []
        self.html: list[str] = []

    def read(self, headers: Headers, body: bytes, depth: int) -> None:
        """Sort one part and what is in it, and set the mail's texts after the outermost."""
        self._part(headers, body, depth)
        self.mail.text = "\n\n".join(self.plain)
        self.mail.html = "\n".join(self.html)

    def _part(self, headers: Headers, body: bytes, depth: int) -> None:
        self.count += 1
        if self.count > MAX_PARTS:
            self._trouble("more parts than are read")
            return
        kind, parameters = _content(headers, "content-type")
        if kind.startswith("multipart/") and depth < MAX_DEPTH:
            pieces = _pieces(body, parameters.get("boundary", ""))
            if pieces is not None:
                for piece in pieces:
                    self._piece(piece, depth + 1)
                return
            self._trouble("a multipart body without its boundary")
            kind = "text/plain"
        self._leaf(kind or "text/plain", parameters, headers, body)

    def _piece(self, piece: bytes, depth: int) -> None:
        if piece.startswith(b"\n"):
            return self._part({}, piece[1:], depth)
        end = piece.find(b"\n\n")
        head, body = (piece[:end], piece[end + 2 :]) if end >= 0 else (piece, b"")
        return self._part(_headers(head[:MAX_HEADER_BYTES], self.mail.problems), body, depth)

    def _leaf(self, kind: str, parameters: dict[str, str], headers: Headers, body: bytes) -> None:
        disposition, details = _content(headers, "content-disposition")
        name = charsets.decode_words(details.get("filename") or parameters.get("name") or "")
        encoding = headers.get("content-transfer-encoding", ("",))[0].strip().lower()
        if kind == "text/calendar" and not self.mail.calendar_method:
            method = parameters.get("method", "").upper() or _method(_decoded(body[:100_000], encoding, self._trouble))
            self.mail.calendar_method = method or "PUBLISH"
        is_text = kind in ("text/plain", "text/html", "text", "text/enriched") or (
            kind.startswith("text/") and not name and kind != "text/calendar"
        )
        if (
            is_text
            and disposition != "attachment"
            and not (name and kind != "text/html" and disposition != "inline" and self.plain)
        ):
            text = self._text(_decoded(body[:MAX_TEXT], encoding, self._trouble), parameters.get("charset", ""))
            (self.html if kind == "text/html" else self.plain).append(text)
            return
        content_id = headers.get("content-id", ("",))[0].strip("<> ")
        self.mail.attachments.append(
            Attachment(
                storable(name)[:500] or _default_name(kind, body),
                kind[:200],
                _size(body, encoding),
                storable(content_id)[:500],
                disposition == "inline" or (bool(content_id) and disposition != "attachment"),
            )
        )

    def _text(self, data: bytes, charset: str) -> str:
        text, whole = charsets.decode(data, charset)
        if not whole:
            self._trouble("text in another charset than it says")
        return storable(text)

    def _trouble(self, what: str) -> None:
        if what not in self.mail.problems:
            self.mail.problems.append(what)


def _pieces(body: bytes, boundary: str) -> list[bytes] | None:
    """Return the parts between the boundary lines, or None when there is none; a missing last boundary is forgiven."""
    if not boundary:
        return None
    mark = b"--" + boundary.strip().encode("utf-8", "surrogateescape")
    sections = (b"\n" + body).split(b"\n" + mark)
    if len(sections) < 2:
        return None
    pieces: list[bytes] = []
    for section in sections[1 : MAX_PARTS + 2]:
        if section.startswith(b"--") and section[2:3] in (b"", b"\n", b" ", b"\t", b"\r"):
            break
        first, newline, rest = section.partition(b"\n")
        if first.strip():
            # The boundary of an inner part that begins with this one's name: it belongs to the piece before.
            if pieces:
                pieces[-1] += b"\n" + mark + section
            continue
        if newline:
            pieces.append(rest)
    return pieces


def _decoded(body: bytes, encoding: str, trouble: object) -> bytes:
    if encoding == "base64":
        return charsets.from_base64(body)
    if encoding == "quoted-printable":
        return binascii.a2b_qp(body)
    return body


def _size(body: bytes, encoding: str) -> int:
    if encoding != "base64":
        return len(body)
    letters = len(body) - body.count(b"\n") - body.count(b" ")
    return max(0, letters * 3 // 4 - body[-4:].count(b"="))


def _method(data: bytes) -> str:
    found = _METHOD.search(data)
    return found[1].decode("ascii").upper() if found else ""


def _default_name(kind: str, body: bytes) -> str:
    if kind == "message/rfc822":
        head, _ = _split(body[:MAX_HEADER_BYTES].lstrip(b"\n"))
        subject = _headers(head, []).get("subject", [""])[0]
        return f"{_text(subject)[:200] or 'message'}.eml"
    return "invite.ics" if kind == "text/calendar" else ""


def _finish(mail: Mail) -> None:
    if not mail.message_id:
        mail.problems.append("no message id")
    if not mail.references and mail.in_reply_to:
        mail.references = [mail.in_reply_to]
