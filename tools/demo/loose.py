"""Mail outside the deals' threads: noise, strangers, forwards, and what somebody has to decide about."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random

from tools.demo import letters
from tools.demo.cast import Cast, Person
from tools.demo.clockwork import Clockwork
from tools.demo.letters import Letter
from tools.demo.material import Noise, NoiseText, Special, Story, minutes_of
from tools.demo.phrasing import Days, Phrasing
from tools.demo.threads import Message, Thread

HEADERS = {
    "marketing": {"list-unsubscribe": "<https://lists.example/leave>", "precedence": "bulk"},
    "system": {"auto-submitted": "auto-generated"},
    "out_of_office": {"auto-submitted": "auto-replied"},
}
METHODS = {
    "Accepted": "REPLY",
    "Declined": "REPLY",
    "Tentative": "REPLY",
    "Canceled": "CANCEL",
    "Invitation": "REQUEST",
    "Updated": "REQUEST",
}
STILL_WAITING = 2 * 24 * 60
"""Strangers' mail waits for an answer so many minutes; older mail somebody has seen."""


class Sorter:
    """Writes what arrives beside the threads."""

    def __init__(self, cast: Cast, phrasing: Phrasing, clock: Clockwork, rng: Random, now: datetime) -> None:
        self.cast = cast
        self.phrasing = phrasing
        self.clock = clock
        self.rng = rng
        self.now = now
        self.desks = [cast.people[user.key] for user in cast.material.users if user.role != "admin"]

    def noise(self, threads: Sequence[Thread]) -> list[Message]:
        """Return the noise of a year; calendars and absences answer messages that were really sent."""
        sent = [
            message
            for thread in threads
            for message in thread.messages
            if message.channel == "email" and message.sender.is_ours and not message.to.is_ours
        ]
        sent.sort(key=lambda message: message.at)
        last = {thread.messages[-1].key for thread in threads}
        unanswered = [message for message in sent if message.key in last]
        return [
            self._noise(noise, position, unanswered if noise.kind == "out_of_office" else sent)
            for noise in self.cast.material.noise
            for position in range(noise.count)
        ]

    def _noise(self, noise: Noise, position: int, sent: Sequence[Message]) -> Message:
        text = noise.texts[position % len(noise.texts)]
        about = sent[int((position + self.rng.random()) * len(sent) / noise.count)]
        if noise.source == "contact":
            sender, mailbox, at = about.to, about.mailbox, about.at + timedelta(minutes=self.rng.randint(2, 90))
        else:
            sender = _stranger(*noise.source[text.source if text.source is not None else position % len(noise.source)])
            mailbox = self.desks[position % len(self.desks)]
            at = self.clock.at_work(
                self.now - timedelta(days=(position + self.rng.random()) * 360 / noise.count, hours=2)
            )
        at = min(at, self.now - timedelta(minutes=self.rng.randint(12, 240)))
        company = about.company if noise.source == "contact" else None
        return self._automatic(noise, text, position, about, sender, mailbox, at, company)

    def _automatic(
        self,
        noise: Noise,
        text: NoiseText,
        position: int,
        about: Message,
        sender: Person,
        mailbox: Person,
        at: datetime,
        company: str | None,
    ) -> Message:
        subject, body = self._words(noise, text, position, about, sender, at)
        letter = Letter(body)
        calendar = noise.kind == "calendar"
        return Message(
            key=f"noise-{noise.kind}-{position}",
            at=at,
            channel="email",
            sender=sender,
            to=mailbox,
            cc=[],
            subject=subject,
            letter=letter,
            mailbox=mailbox,
            company=company,
            text=body,
            html=letters.to_html(letter) if noise.kind == "marketing" else "",
            waits=False,
            file="invite.ics" if calendar else None,
            headers=HEADERS.get(noise.kind, {}),
            calendar_method=METHODS[subject.split(":")[0].split()[0]] if calendar else "",
        )

    def _words(
        self, noise: Noise, text: NoiseText, position: int, about: Message, sender: Person, at: datetime
    ) -> tuple[str, str]:
        others = [self.cast.at(about.company, name) for name in ("floor_or_it", "exec")] if about.company else []
        slots = {
            "title": about.subject.removeprefix("Re: "),
            "sender": sender.name,
            "n": str(self.rng.randint(110, 989)),
            "phone": sender.phone,
            "docname": f"Stocklane quote {position + 31}.pdf",
            "other": next((person.name for person in others if person != sender), "My colleague"),
        }
        local = self.clock.local(at)
        subject = self.phrasing.say(text.subject, f"{noise.kind}.{position}s", local, slots, Days())
        return subject, self.phrasing.say(text.body, f"{noise.kind}.{position}", local, slots, Days())

    def specials(self) -> list[Message]:
        """Return the messages that somebody has to look at."""
        return [self._special(special) for special in self.cast.material.specials]

    def _special(self, special: Special) -> Message:
        age = minutes_of(special.age)
        at = self.now - timedelta(minutes=age)
        at = at if age < STILL_WAITING else self.clock.at_work(at)
        local = self.clock.local(at)
        sender, company = self._sender(special)
        body = self.phrasing.say(special.body, special.id, local, {}, Days())
        letter = Letter(body)
        return Message(
            key=f"special-{special.id}", at=at, channel=special.channel, sender=sender, to=self.cast.people[special.to], cc=[], subject=special.subject,
            letter=letter, mailbox=self.cast.people[special.to], company=company, text=body, file=special.file, waits=age < STILL_WAITING,
            html=letters.to_html(letter, hidden=special.hidden) if special.hidden else "", linked=special.match == "known",
            headers={"auto-submitted": "auto-replied"} if special.subject.startswith("Automatic reply") else {},
        )  # fmt: skip

    def _sender(self, special: Special) -> tuple[Person, str | None]:
        if special.from_user is not None:
            return self.cast.people[special.from_user], None
        if special.contact is not None:
            return self.cast.at(*special.contact), special.contact[0]
        name, email = special.source or ("", "")
        known = next(
            (company.key for company in self.cast.material.companies if email.endswith(f"@{company.domain}")), None
        )
        return _stranger(name, email), known


def _stranger(name: str, email: str) -> Person:
    return Person(
        key=email or name,
        name=name,
        first=name.split(maxsplit=1)[0] if name else "",
        email=email.lower(),
        title="",
        phone="",
        company="",
        style="formal",
    )


LOOSE = Story.model_validate({"id": "loose", "subject": "", "items": [{"me": ""}]})
"""What a loose message counts as when it stands as a thread of its own."""


def as_threads(messages: Sequence[Message]) -> list[Thread]:
    """Return every message as a thread of its own."""
    return [Thread(message.key, LOOSE, [message], None, message.company) for message in messages]
