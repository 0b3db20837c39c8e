"""One mail as it will be written: read, cleaned, split, sorted by sides. Everything that needs no database."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from datetime import datetime
from functools import lru_cache
from operator import attrgetter
from typing import Any, Literal
from uuid import UUID

import orjson

from tools.mail import boilerplate, cleaning, html, noise, replies, threads
from tools.mail.messages import Address, Mail
from tools.mail.sources import Item, Place

MAX_ID = 600
"""Bytes of an id that an index entry takes beside other columns."""
MAX_TEXT = 1_000_000
MAX_HTML = 4_000_000
MAX_PARTICIPANTS = 200
PREVIEW = 500

Direction = Literal["inbound", "outbound", "internal"]


@dataclass(frozen=True, slots=True)
class House:
    """Whose mailbox it is, and who of the people in it is us."""

    user_id: UUID
    email: str
    own_domains: frozenset[str]
    own_addresses: frozenset[str]
    users: dict[str, str]
    """The users' addresses and ids."""
    notetakers: frozenset[str]
    free_domains: frozenset[str]
    sla_minutes: int
    own: dict[str, bool] = field(default_factory=dict[str, bool])

    def is_own(self, email: str) -> bool:
        """Whether the address belongs to the workspace."""
        known = self.own.get(email)
        if known is None:
            known = (
                email in self.users
                or email in self.own_addresses
                or noise.within(email.rpartition("@")[2], self.own_domains)
            )
            self.own[email] = known
        return known


@dataclass(slots=True)
class Prepared:
    """One mail, ready to be written; `key` is its message id, or what stands for it."""

    key: str
    keys: list[str]
    mail: Mail
    direction: Direction
    occurred_at: datetime | None
    full_content: str
    body_text: str
    noise_type: str | None
    ours: list[tuple[str, Address]]
    theirs: list[tuple[str, Address]]
    start: Place

    @property
    def preview(self) -> str:
        """The first words of the text, on one line."""
        return " ".join(self.full_content[: 2 * PREVIEW].split())[:PREVIEW]

    @property
    def content_hash(self) -> str:
        """A digest of the text that is analysed and embedded."""
        return hashlib.sha256(self.full_content.encode("utf-8", "replace")).hexdigest()

    @property
    def external(self) -> Address | None:
        """The other side: who wrote it, or who it went to first."""
        if self.direction != "outbound" and self.mail.sender is not None:
            return self.mail.sender
        return self.theirs[0][1] if self.theirs else None

    @property
    def attachments(self) -> str:
        """The attachments' metadata as JSON."""
        if not self.mail.attachments:
            return "[]"
        return orjson.dumps([part._asdict() for part in self.mail.attachments]).decode()

    @property
    def expects_answer(self) -> bool:
        """Whether somebody out there waits for our answer to it."""
        return (
            self.direction == "inbound"
            and self.noise_type is None
            and self.mail.sender is not None
            and _has_date(self.mail)
        )

    def __reduce__(self) -> tuple[type["Prepared"], tuple[Any, ...]]:
        """Travel between processes as plain values in order."""
        return Prepared, _values(self)


_values = attrgetter(*(part.name for part in fields(Prepared)))


def _has_date(mail: Mail) -> bool:
    return mail.sent_at is not None or mail.received_at is not None


def prepare(item: Item, house: House) -> Prepared:
    """Return the mail of the item as it will be written."""
    mail = item.mail
    if mail is None:
        raise ValueError("there is no mail in this item")
    mail.provider_id = _indexable(mail.provider_id)
    readable, body_text = readable_text(mail)
    reply = replies.split(readable, mail.subject)
    content = (boilerplate.strip(reply.text) if reply.forwarded else reply.text)[:MAX_TEXT]
    direction, ours, theirs = _sides(mail, house)
    key = _indexable(mail.message_id) or threads.fingerprint(mail)
    return Prepared(
        key=key,
        keys=[_indexable(part) for part in threads.keys_of(mail, key)],
        mail=mail,
        direction=direction,
        occurred_at=_moment(mail, direction),
        full_content=content,
        body_text=body_text[:MAX_HTML],
        noise_type=noise.kind_of(mail, readable, notetakers=house.notetakers),
        ours=ours,
        theirs=theirs,
        start=item.start,
    )


def _indexable(name: str) -> str:
    """Return the id, or a digest of one that is too long for an index entry."""
    if len(name) <= MAX_ID and name.isascii():
        return name
    data = name.encode("utf-8", "replace")
    return name if len(data) <= MAX_ID else f"{hashlib.sha256(data).hexdigest()}@long.invalid"


def readable_text(mail: Mail) -> tuple[str, str]:
    """
    Return the mail's text as a person sees it, and the text to keep as the original.

    HTML decides when there is any: it is what people see, and its plain twin may say something else.
    """
    if mail.html:
        shown = html.to_text(mail.html)
        if shown:
            if html.HISTORY not in shown:
                return cleaning.for_reading(shown), mail.text or shown
            # The mark is a control character of our own: it stays while those of the mail go.
            parts = shown.split(html.HISTORY)
            return html.HISTORY.join(map(cleaning.for_reading, parts)), mail.text or "".join(parts)
    text = html.to_text(mail.text) if mail.text and html.looks_like_html(mail.text) else mail.text
    return cleaning.for_reading(text), mail.text


def _moment(mail: Mail, direction: Direction) -> datetime | None:
    """A mail counts from when it reached us, or from when we sent it."""
    if direction == "inbound":
        return _plausible(mail.received_at, mail.sent_at) or mail.sent_at
    return mail.sent_at or mail.received_at


def _plausible(received: datetime | None, sent: datetime | None) -> datetime | None:
    """Mail that was moved or imported carries the day of the move as its arrival; then the sender's clock is better."""
    if received is None or sent is None:
        return received
    return received if abs((received - sent).total_seconds()) < 2 * 86_400 else sent


def _sides(mail: Mail, house: House) -> tuple[Direction, list[tuple[str, Address]], list[tuple[str, Address]]]:
    ours: list[tuple[str, Address]] = []
    theirs: list[tuple[str, Address]] = []
    sender = mail.sender
    is_own = house.is_own
    if sender is not None:
        (ours if is_own(sender.email) else theirs).append(("from", sender))
    for role, people in (("to", mail.to), ("cc", mail.cc)):
        for person in people:
            (ours if is_own(person.email) else theirs).append((role, person))
    if sender is None or not is_own(sender.email):
        return "inbound", ours[:MAX_PARTICIPANTS], theirs[:MAX_PARTICIPANTS]
    return ("outbound" if theirs else "internal"), ours[:MAX_PARTICIPANTS], theirs[:MAX_PARTICIPANTS]


def domains_of(people: Iterable[Address], house: House) -> list[str]:
    """Return the business domains of these people and the domains above each, the closest first."""
    found: dict[str, None] = {}
    for person in people:
        domain = person.domain
        if domain not in house.free_domains:
            found.update(_domains_above(domain))
    return list(found)


@lru_cache(maxsize=4096)
def _domains_above(domain: str) -> dict[str, None]:
    above: dict[str, None] = {}
    while "." in domain:
        above[domain] = None
        domain = domain.partition(".")[2]
    return above
