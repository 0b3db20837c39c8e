"""A text as somebody's mail: greeting, closing, signature, the quoted message below, and the same as HTML."""

from dataclasses import dataclass
from datetime import datetime
from html import escape
from random import Random

from tools.demo.cast import Person
from tools.demo.material import Voice

NOON = 12


@dataclass(frozen=True)
class Letter:
    """What a mail says (`text`), the card below it, and whether the client writes HTML."""

    text: str
    card: str = ""
    as_html: bool = False

    @property
    def whole(self) -> str:
        """The text with its card."""
        return f"{self.text}\n\n{self.card}" if self.card else self.text


@dataclass(frozen=True)
class Hand:
    """How people of a style greet, close and sign."""

    hellos: tuple[str, ...]
    byes: tuple[str, ...]
    card: float
    """How often the card stands below a first mail."""
    html: float


HANDS = {
    "formal": Hand(
        ("Dear {to},", "Hello {to},", "Good {daytime}, {to},"),
        ("Kind regards,\n{name}", "Best regards,\n{name}", "Regards,\n{name}"),
        0.9,
        0.6,
    ),
    "warm": Hand(
        ("Hi {to},", "Hello {to},", "Hi {to},"),
        ("Best,\n{first}", "Thanks,\n{first}", "Thank you,\n{first}", "Have a good one,\n{first}"),
        0.5,
        0.4,
    ),
    "casual": Hand(
        ("Hey {to},", "Hi {to},", "{to},", "Hi {to} -"),
        ("Cheers,\n{first}", "Thanks,\n{first}", "{first}", "- {first}"),
        0.2,
        0.3,
    ),
    "terse": Hand(("{to},", "", "{to} -"), ("{first}", "{initial}.", ""), 0.3, 0.2),
    "phone": Hand(
        ("", "{to},", ""),
        ("{first}\n\nSent from my phone", "Sent from my phone", "{first}\nSent from my mobile device"),
        0.0,
        0.0,
    ),
    "lower": Hand(("hey {to},", "hi {to},", ""), ("{first}", "thx, {first}", "- {first}"), 0.0, 0.1),
}
OUR_HAND = Hand((), (), 0.75, 0.45)


def write(
    sender: Person, to: Person, body: str, at: datetime, rng: Random, *, voice: Voice | None, opening: bool
) -> Letter:
    """Return the body as the sender's mail to `to` at that wall clock time."""
    hand = OUR_HAND if voice else HANDS[sender.style]
    hello = voice.hello if voice else rng.choice(hand.hellos)
    bye = rng.choice(voice.bye) if voice else rng.choice(hand.byes)
    if not opening and rng.random() < (0.25 if voice else 0.3):
        hello = ""
    bye = f"{bye}\n{{first}}" if voice and bye != sender.first else bye
    names = {
        "to": to.first,
        "name": sender.name,
        "first": sender.first,
        "initial": sender.first[0],
        "daytime": "morning" if at.hour < NOON else "afternoon",
    }
    if sender.style == "lower":
        names = {key: name.lower() for key, name in names.items()}
        body = body.lower()
    parts = [hello.format_map(names), body, bye.format_map(names)]
    card = _card(sender, rng) if rng.random() < (hand.card if opening else hand.card / 4) else ""
    return Letter("\n\n".join(part for part in parts if part), card, rng.random() < hand.html)


def _card(person: Person, rng: Random) -> str:
    if person.is_ours:
        return f"-- \n{person.name}\n{person.title} | {person.company}\n{person.phone}\nwww.stocklane.example"
    if rng.random() < 0.5:
        return f"-- \n{person.name}\n{person.title}, {person.company}\nT {person.phone}"
    lines = [f"{person.title}\n{person.company}\nPhone: {person.phone}\n{person.email}"]
    if person.style == "formal" and rng.random() < 0.5:
        lines.append(
            "This e-mail may contain confidential information. If you are not the intended recipient please delete it and notify the sender."
        )
    return "-- \n" + "\n\n".join(lines)


def attribution(sender: Person, at: datetime, *, outlook: bool, to: Person, subject: str) -> str:
    """Return the line or block by which a client introduces the quoted message."""
    hour = at.hour % NOON or NOON
    clock = f"{hour}:{at:%M} {'AM' if at.hour < NOON else 'PM'}"
    if outlook:
        return f"From: {sender.name} <{sender.email}>\nSent: {at:%A, %B} {at.day}, {at.year} {clock}\nTo: {to.name} <{to.email}>\nSubject: {subject}"
    return f"On {at:%a, %b} {at.day}, {at.year} at {clock} {sender.name} <{sender.email}> wrote:"


def with_quote(whole: str, introduction: str, quoted: str, *, outlook: bool) -> str:
    """Return the mail with the older one below it."""
    if outlook:
        return f"{whole}\n\n________________________________\n{introduction}\n\n{quoted}"
    lines = "\n".join(f"> {line}".rstrip() for line in quoted.split("\n"))
    return f"{whole}\n\n{introduction}\n\n{lines}"


def to_html(letter: Letter, introduction: str = "", quoted: str = "", hidden: str = "") -> str:
    """Return the mail as a client's HTML, the quoted message in a marked block."""
    own = _paragraphs(letter.text)
    card = (
        f'<div class="signature" style="color:#555555;font-size:12px">{_lines(letter.card)}</div>'
        if letter.card
        else ""
    )
    unseen = f'<div style="display:none;font-size:0">{escape(hidden)}</div>' if hidden else ""
    older = (
        f'<div class="gmail_quote"><div>{_lines(introduction)}</div><blockquote>{_paragraphs(quoted)}</blockquote></div>'
        if quoted
        else ""
    )
    return f'<html><body style="font-family:Calibri,sans-serif;font-size:11pt">{own}{unseen}{card}{older}</body></html>'


def _lines(text: str) -> str:
    return "<br>".join(escape(line) for line in text.split("\n"))


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_lines(part)}</p>" for part in text.split("\n\n"))
