"""Messages into the rows that reading a mailbox would have written, with the links that people have added since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from tools.demo.cast import Cast, Person, id_of
from tools.demo.material import Material
from tools.demo.meetings import Transcript
from tools.demo.threads import CUSTOMER_SLOTS, Message, Thread
from tools.ingest.rows import House, Prepared, prepare
from tools.mail.messages import Address, Attachment, Mail
from tools.mail.sources import Item, Place
from tools.workspace import FREE_MAIL

NOWHERE = Place("", 0)
TYPES = {
    "pdf": "application/pdf", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "csv": "text/csv", "zip": "application/zip",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document", "png": "image/png", "jpg": "image/jpeg", "ics": "text/calendar",
    "mov": "video/quicktime",
}  # fmt: skip
NOTETAKERS = ("meetscribe.example",)
FREE_DOMAINS = (*FREE_MAIL, "freemail.example")
SLA_MINUTES = 240


@dataclass
class Filed:
    """A message in its thread: what it waits for, and what answered it."""

    message: Message
    thread: Thread
    mail: Prepared | None
    awaits_us: bool = False
    awaits_them: bool = False
    answer: Message | None = None
    transcript: Transcript | None = None

    @property
    def id(self) -> UUID:
        """The id of the communication."""
        return id_of("communication", self.message.key)

    @property
    def thread_id(self) -> str:
        """The thread: the message id of its first mail; what is no mail stands alone."""
        mails = [message for message in self.thread.messages if message.channel == "email"]
        return mails[0].message_id if self.mail is not None else self.message.key

    @property
    def direction(self) -> str:
        """Which way it went."""
        if self.mail is not None:
            return self.mail.direction
        if self.message.channel == "note":
            return "internal"
        return "outbound" if self.message.sender.is_ours else "inbound"

    @property
    def noise(self) -> str | None:
        """What kind of noise it is."""
        return self.mail.noise_type if self.mail else None

    @property
    def text(self) -> str:
        """What it says, without signature and quoted history."""
        if self.transcript is not None:
            return self.transcript.plain
        return self.mail.full_content if self.mail else self.message.text

    @property
    def contact(self) -> Person | None:
        """Whom it is with: the first on the other side whom we know."""
        message = self.message
        people = [message.sender, message.to, *message.cc, *message.attendees]
        return next((person for person in people if person.contact_id is not None), None) if message.linked else None

    @property
    def company_id(self) -> UUID | None:
        """The company it is linked to."""
        message = self.message
        return id_of("company", message.company) if message.company and message.linked else None

    @property
    def deal_id(self) -> UUID | None:
        """The deal it is linked to."""
        return self.message.deal.id if self.message.deal and self.noise is None else None

    @property
    def is_desk(self) -> bool:
        """Whether it belongs to the customer's product rather than to a deal."""
        return self.thread.story.slot in CUSTOMER_SLOTS


class Mailroom:
    """Reads every message as the ingest does."""

    def __init__(self, cast: Cast) -> None:
        self.houses = houses_of(cast.material, cast)

    def file(self, threads: Sequence[Thread], transcripts: Mapping[str, Transcript]) -> list[Filed]:
        """Return every message with its place, oldest thread first."""
        filed: list[Filed] = []
        for thread in threads:
            rows = [
                Filed(
                    message,
                    thread,
                    self._read(message) if message.channel == "email" else None,
                    transcript=transcripts.get(message.key),
                )
                for message in thread.messages
            ]
            _settle(rows)
            filed.extend(rows)
        return filed

    def _read(self, message: Message) -> Prepared:
        mail = Mail(
            form="rfc822", message_id=message.message_id, subject=message.subject, sender=_address(message.sender), to=[_address(message.to)],
            cc=[_address(person) for person in message.cc], sent_at=message.at, received_at=message.at, text=message.text, html=message.html,
            references=list(message.references), in_reply_to=message.references[-1] if message.references else "", headers=dict(message.headers),
            calendar_method=message.calendar_method, attachments=[_attachment(message.file)] if message.file else [],
            is_read=not message.waits or message.sender.is_ours,
        )  # fmt: skip
        return prepare(Item(NOWHERE, NOWHERE, mail), self.houses[message.mailbox.key])


def houses_of(material: Material, cast: Cast) -> dict[str, House]:
    """Return the mailboxes of our people."""
    ours = [cast.people[user.key] for user in material.users]
    users = {person.email: str(person.user_id) for person in ours}
    return {
        person.key: House(
            user_id=person.user_id or UUID(int=0), email=person.email, own_domains=frozenset(material.house.domains), own_addresses=frozenset(),
            users=users, notetakers=frozenset(NOTETAKERS), free_domains=frozenset(FREE_DOMAINS), sla_minutes=SLA_MINUTES,
        )
        for person in ours
    }  # fmt: skip


def _address(person: Person) -> Address:
    return Address(person.email, person.name)


def _attachment(name: str) -> Attachment:
    kind = TYPES.get(name.rpartition(".")[2].lower(), "application/octet-stream")
    return Attachment(name, kind, 18_000 + 977 * len(name) * len(name))


def _settle(rows: list[Filed]) -> None:
    """Say what each message waits for: the next word of ours answers theirs; what is settled waits for nothing."""
    ours: Message | None = None
    heard = False
    for row in reversed(rows):
        message = row.message
        if row.direction == "inbound":
            if row.noise is None and message.channel in ("email", "sms"):
                row.answer = ours
                row.awaits_us = message.waits and ours is None
            heard = heard or row.noise != "system"
        elif row.direction == "outbound" and message.channel != "note":
            row.awaits_them = message.waits and not heard and message.channel == "email"
            ours = message


def due_at(row: Filed) -> datetime | None:
    """Return when an answer is due, for messages that expect one."""
    expects = row.direction == "inbound" and row.noise is None and row.message.channel in ("email", "sms")
    return row.message.at + timedelta(minutes=SLA_MINUTES) if expects else None
