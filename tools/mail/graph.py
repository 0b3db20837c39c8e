"""Microsoft Graph messages from JSON: one message, a page, a batch, or what documentation prints with placeholders."""

from collections.abc import Iterator
from typing import Any, cast

from tools.mail import addresses, dates
from tools.mail.cleaning import storable
from tools.mail.html import looks_like_html
from tools.mail.messages import Address, Attachment, Mail, Unreadable
from tools.mail.rfc822 import KEPT_HEADERS

MAX_NESTING = 6
Json = dict[str, Any]

_TELLING = (
    "internetMessageId",
    "receivedDateTime",
    "sentDateTime",
    "toRecipients",
    "bodyPreview",
    "internetMessageHeaders",
    "conversationIndex",
)
_WRAPS = ("message", "json", "item", "resourceData", "body", "data", "response", "payload")
_LISTS = ("value", "messages", "responses", "items")
_KEPT = frozenset(KEPT_HEADERS)
_OTHER_KINDS = {
    "attendees": "calendar event",
    "organizer": "calendar event",
    "emailAddresses": "contact",
    "contentBytes": "attachment",
    "displayName": "folder, contact or calendar",
    "changeType": "change notification",
    "actions": "mail rule",
}


def messages_of(document: Any, depth: int = 0) -> Iterator[Json | Unreadable]:
    """Yield the messages in the document, in order; whatever else it holds comes as `Unreadable`, with the reason."""
    if isinstance(document, list):
        for item in cast("list[Any]", document):
            yield from messages_of(item, depth + 1)
    elif not isinstance(document, dict):
        yield Unreadable("not a JSON object", document)
    else:
        yield from _messages_of_object(cast("Json", document), depth)


def _messages_of_object(document: Json, depth: int) -> Iterator[Json | Unreadable]:
    if is_message(document):
        yield document
        return
    if depth < MAX_NESTING and "attachment" not in str(document.get("@odata.type", "")).lower():
        for name in _LISTS:
            if isinstance(document.get(name), list):
                for item in document[name]:
                    yield from messages_of(item, depth + 1)
                return
        for name in _WRAPS:
            if isinstance(document.get(name), dict) and _holds_message(document[name]):
                yield from messages_of(document[name], depth + 1)
                return
    yield Unreadable(_what(document), document)


def _holds_message(document: Json) -> bool:
    return is_message(document) or any(name in document for name in (*_LISTS, *_WRAPS))


def is_message(document: Json) -> bool:
    """Whether the object is a mail message, and not an event, a contact, an attachment or a folder."""
    kind = document.get("@odata.type")
    if isinstance(kind, str) and kind.startswith("#microsoft.graph."):
        return kind.lower().endswith("message") and "chat" not in kind.lower()
    if "attendees" in document or "organizer" in document or "@removed" in document:
        return False
    if any(name in document for name in _TELLING):
        return True
    return "subject" in document and (
        "sender" in document or "from" in document or isinstance(document.get("body"), dict)
    )


def _what(document: Json) -> str:
    if "@removed" in document:
        return "a deleted message"
    kind = document.get("@odata.type")
    if isinstance(kind, str) and kind:
        return f"not a message: {kind.rpartition('.')[2][:60]}"
    for name, what in _OTHER_KINDS.items():
        if name in document:
            return f"not a message: {what}"
    return "not a message"


def parse(document: Json) -> Mail:
    """
    Return the message; placeholders and missing fields count as missing.

    Raises `Unreadable` when neither a sender, a subject, a text nor an id is left.
    """
    mail = Mail("graph")
    mail.provider_id = _string(document, "id")[:1000]
    mail.message_id = _string(document, "internetMessageId").strip().strip("<>")[:1000]
    mail.conversation_id = _string(document, "conversationId")[:1000]
    mail.subject = " ".join(_string(document, "subject").split())[:2000]
    mail.sender = _address(document.get("from")) or _address(document.get("sender"))
    mail.to = _addresses(document.get("toRecipients"))
    mail.cc = _addresses(document.get("ccRecipients"))
    mail.sent_at = dates.parse_iso(document.get("sentDateTime"))
    mail.received_at = dates.parse_iso(document.get("receivedDateTime"))
    _read_body(mail, document)
    _read_state(mail, document)
    _read_headers(mail, document.get("internetMessageHeaders"))
    _read_attachments(mail, document.get("attachments"))
    if not (mail.sender or mail.subject or mail.text or mail.html or mail.message_id):
        raise Unreadable("a message without sender, subject, text or id")
    _judge(mail, document)
    return mail


def _string(document: Json, name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str):
        return ""
    return value if value.isascii() and "\x00" not in value else storable(value)


def _address(value: Any) -> Address | None:
    inner = value.get("emailAddress") if isinstance(value, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    if not isinstance(inner, dict):
        return None
    box = cast("Json", inner)
    email = addresses.clean(_string(box, "address"))
    return Address(email, _string(box, "name").strip()[:300]) if email else None


def _addresses(value: Any) -> list[Address]:
    if not isinstance(value, list):
        return []
    found: dict[str, Address] = {}
    for item in cast("list[Any]", value)[: addresses.MAX_ADDRESSES]:
        address = _address(item)
        if address is not None:
            found.setdefault(address.email, address)
    return list(found.values())


def _read_body(mail: Mail, document: Json) -> None:
    body = document.get("body")
    if isinstance(body, dict):
        content = _string(cast("Json", body), "content")
        if _string(cast("Json", body), "contentType").lower() == "html" or looks_like_html(content):
            mail.html = content
        else:
            mail.text = content
    if not (mail.html or mail.text):
        mail.text = _string(document, "bodyPreview")
        if mail.text and "body" in document:
            mail.problems.append("only a preview of the text")


def _read_state(mail: Mail, document: Json) -> None:
    mail.folder_id = _string(document, "parentFolderId")[:500]
    mail.is_read = document.get("isRead") is not False
    mail.is_draft = document.get("isDraft") is True
    importance = _string(document, "importance").lower()
    if importance in ("low", "high"):
        mail.importance = importance
    flag = document.get("flag")
    mail.is_flagged = isinstance(flag, dict) and _string(cast("Json", flag), "flagStatus") == "flagged"
    if "@odata.type" in document or "meetingMessageType" in document:
        mail.calendar_method = _calendar_method(document)


def _calendar_method(document: Json) -> str:
    meeting = _string(document, "meetingMessageType")
    if "eventmessage" not in _string(document, "@odata.type").lower() and meeting in ("", "none"):
        return ""
    methods = {"meetingCancelled": "CANCEL", "meetingRequest": "REQUEST", "none": "PUBLISH", "": "PUBLISH"}
    return methods.get(meeting, "REPLY")


def _read_headers(mail: Mail, headers: Any) -> None:
    if not isinstance(headers, list):
        return
    for item in cast("list[Any]", headers)[:500]:
        if not isinstance(item, dict):
            continue
        name = _string(cast("Json", item), "name").lower()
        value = _string(cast("Json", item), "value")
        if name in _KEPT:
            mail.headers.setdefault(name, value[:1000])
        elif name == "references":
            mail.references = [part.strip("<>") for part in value.split() if "@" in part][-60:]
        elif name == "in-reply-to":
            mail.in_reply_to = value.strip().split(" ")[0].strip("<>")[:900]
    if mail.in_reply_to and not mail.references:
        mail.references = [mail.in_reply_to]


def _read_attachments(mail: Mail, attachments: Any) -> None:
    if not isinstance(attachments, list):
        return
    for item in cast("list[Any]", attachments)[:500]:
        if not isinstance(item, dict):
            continue
        part = cast("Json", item)
        size = part.get("size")
        mail.attachments.append(
            Attachment(
                _string(part, "name")[:500],
                _string(part, "contentType")[:200],
                size if isinstance(size, int) and 0 <= size < 1 << 53 else 0,
                _string(part, "contentId")[:500],
                part.get("isInline") is True,
            )
        )


def _judge(mail: Mail, document: Json) -> None:
    if mail.sent_at is None and mail.received_at is None:
        mail.problems.append("no readable date")
    if mail.sender is None:
        mail.problems.append("no sender")
    if not (mail.message_id or mail.provider_id):
        mail.problems.append("no message id")
    if document.get("hasAttachments") is True and not mail.attachments:
        mail.headers["x-has-attachments"] = "true"
