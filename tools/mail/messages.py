"""One mail as it was sent, whatever form it arrived in."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from operator import attrgetter
from typing import Any, Literal, NamedTuple


class Address(NamedTuple):
    """A mailbox: the address in lower case, and the name that was shown with it."""

    email: str
    name: str = ""

    @property
    def domain(self) -> str:
        """The part behind the @."""
        return self.email.rpartition("@")[2]


class Attachment(NamedTuple):
    """What hangs on a mail, without its bytes."""

    name: str
    content_type: str
    size: int
    content_id: str = ""
    is_inline: bool = False


@dataclass(slots=True)
class Mail:
    """
    One parsed message. Missing parts are empty; what was wrong with it stands in `problems`.

    `headers` holds only those that say what kind of mail it is, with lower-case names.
    """

    form: Literal["rfc822", "graph"]
    message_id: str = ""
    provider_id: str = ""
    conversation_id: str = ""
    in_reply_to: str = ""
    references: list[str] = field(default_factory=list[str])
    subject: str = ""
    sender: Address | None = None
    to: list[Address] = field(default_factory=list[Address])
    cc: list[Address] = field(default_factory=list[Address])
    sent_at: datetime | None = None
    received_at: datetime | None = None
    text: str = ""
    html: str = ""
    attachments: list[Attachment] = field(default_factory=list[Attachment])
    headers: dict[str, str] = field(default_factory=dict[str, str])
    calendar_method: str = ""
    folder_id: str = ""
    importance: Literal["low", "normal", "high"] = "normal"
    is_read: bool = True
    is_draft: bool = False
    is_flagged: bool = False
    problems: list[str] = field(default_factory=list[str])

    def __reduce__(self) -> tuple[type["Mail"], tuple[Any, ...]]:
        """Travel between processes as plain values in order, which costs half of what names and values do."""
        return Mail, _values(self)


_values = attrgetter(*(part.name for part in fields(Mail)))


class Unreadable(Exception):
    """The material is no mail; the message says why, `document` is what was found instead."""

    def __init__(self, reason: str, document: object = None) -> None:
        super().__init__(reason)
        self.document = document
