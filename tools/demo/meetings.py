"""What was said in meetings: a script spoken by the people who were there."""

from dataclasses import dataclass
from random import Random

from tools.demo.cast import Cast, Person, slots_for
from tools.demo.clockwork import Clockwork
from tools.demo.phrasing import Phrasing
from tools.demo.threads import Message

WORDS_A_SECOND = 2.4
EVERY_THIRD = 3


@dataclass(frozen=True)
class Transcript:
    """A meeting in words: `text` as the recorder wrote it, `plain` as one reads it."""

    message: Message
    attendees: list[Person]
    format: str
    source: str
    text: str
    plain: str

    @property
    def words(self) -> int:
        """How many words were spoken."""
        return len(self.plain.split())


class Recorder:
    """Records the meetings of all threads."""

    def __init__(self, cast: Cast, phrasing: Phrasing, clock: Clockwork, rng: Random) -> None:
        self.cast = cast
        self.phrasing = phrasing
        self.clock = clock
        self.rng = rng
        self.count = 0

    def record(self, message: Message) -> Transcript | None:
        """Return the meeting's transcript; None when nobody recorded it. The message learns who was there."""
        script = self.cast.material.scripts.get(message.script or "")
        lead = message.deal.entry.lead if message.deal else "ops"
        names = script.attendees if script else ["c", "exec"]
        company = message.company or ""
        there = [self.cast.at(company, name, lead) for name in names]
        host = self.cast.people["carla"] if script and script.lines.startswith("cs:") else message.mailbox
        message.attendees = list(dict.fromkeys([message.mailbox, host, *there]))
        message.to = there[0]
        if script is None:
            return None
        lines = self._speak(message, host, lead, script.lines)
        self.count += 1
        plain = "\n".join(f"{person.name}: {words}" for person, words in lines)
        if self.count % EVERY_THIRD == 0:
            return Transcript(message, message.attendees, "vtt", "teams", _as_vtt(lines), plain)
        return Transcript(message, message.attendees, "plain", "manual", plain, plain)

    def _speak(self, message: Message, host: Person, lead: str, script: str) -> list[tuple[Person, str]]:
        company = self.cast.companies[message.company or ""]
        slots = slots_for(self.cast, company, message.deal, host, lead, self.rng)
        local = self.clock.local(message.at)
        spoken: list[tuple[Person, str]] = []
        for position, line in enumerate(script.strip().split("\n")):
            who, _, words = line.partition(": ")
            if who.startswith("?") and self.rng.random() < 0.4:
                continue
            person = host if who in ("me", "?me", "cs") else self.cast.at(company.key, who.lstrip("?"), lead)
            spoken.append(
                (person, self.phrasing.say(words, f"{message.script}.{position}", local, slots, message.days))
            )
        return spoken


def _as_vtt(lines: list[tuple[Person, str]]) -> str:
    cues = ["WEBVTT"]
    second = 3.0
    for person, words in lines:
        until = second + max(1.5, len(words.split()) / WORDS_A_SECOND)
        cues.append(f"{_stamp(second)} --> {_stamp(until)}\n<v {person.name}>{words}</v>")
        second = until + 0.7
    return "\n\n".join(cues) + "\n"


def _stamp(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}.{int(seconds * 1000) % 1000:03d}"
