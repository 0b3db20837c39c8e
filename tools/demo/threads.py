"""A story told at one company: who writes to whom, when, and in which words."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from random import Random

from tools.demo import letters
from tools.demo.cast import Cast, Deal, Person, slots_for
from tools.demo.clockwork import Clockwork
from tools.demo.letters import Letter
from tools.demo.material import Channel, CompanyEntry, Item, Story
from tools.demo.phrasing import Days, Phrasing

TERSE = {"terse": 0.2, "phone": 0.25, "lower": 0.4, "casual": 0.65}
OUTLOOKS = ("formal", "terse")
CUSTOMER_SLOTS = ("onboard", "support", "success", "billing", "churn", "churned")


@dataclass
class Message:
    """One thing said, before it becomes rows."""

    key: str
    at: datetime
    channel: Channel
    sender: Person
    to: Person
    cc: list[Person]
    subject: str
    letter: Letter
    mailbox: Person
    company: str | None
    deal: Deal | None = None
    text: str = ""
    html: str = ""
    file: str | None = None
    minutes: int = 0
    script: str | None = None
    attendees: list[Person] = field(default_factory=list[Person])
    references: list[str] = field(default_factory=list[str])
    waits: bool = True
    """Whether an answer is still expected when nothing follows."""
    linked: bool = True
    days: Days = field(default_factory=Days)
    headers: dict[str, str] = field(default_factory=dict[str, str])
    calendar_method: str = ""

    @property
    def message_id(self) -> str:
        """The id of the mail, without brackets."""
        return f"{self.key}@{self.sender.email.rpartition('@')[2] or 'sms.example'}"


@dataclass
class Thread:
    """A told story."""

    key: str
    story: Story
    messages: list[Message]
    deal: Deal | None
    company: str | None
    meeting_at: datetime | None = None
    """A meeting that is agreed but has not happened."""

    @property
    def starts(self) -> datetime:
        """When it began."""
        return self.messages[0].at


@dataclass
class Scene:
    """Where a story is told: the company, the deal, our person, and the customer's main voice."""

    company: CompanyEntry
    me: Person
    deal: Deal | None = None
    lead: str = "ops"


@dataclass
class Telling:
    """A story while it is told."""

    thread: Thread
    scene: Scene
    subject: str
    slots: dict[str, str]
    days: Days
    waits: bool


class Teller:
    """Tells stories, each time a little differently."""

    def __init__(self, cast: Cast, clock: Clockwork, rng: Random) -> None:
        self.cast = cast
        self.clock = clock
        self.rng = rng
        self.phrasing = Phrasing(rng)
        self.told: Counter[str] = Counter()
        self.voices = {user.key: user.voice for user in cast.material.users}

    def tell(
        self,
        story: Story,
        scene: Scene,
        end: datetime,
        *,
        kept: int | None = None,
        waits: bool = False,
        due: date | None = None,
    ) -> Thread:
        """
        Return the story's first `kept` items (all when None), the last of them at `end`.

        `waits` says that the story is not over: what has no answer yet still expects one. `due` is by when the last item
        promises what it promises.
        """
        items = story.items[:kept]
        self.told[story.id] += 1
        times = self._times(items, end)
        days = Days()
        planned = self._place_meeting(story, items, times, days)
        slots = slots_for(self.cast, scene.company, scene.deal, scene.me, scene.lead, self.rng)
        slots["time_now"] = self._half_hour(times[0])
        key = f"{scene.company.key}-{story.id}-{self.told[story.id]}"
        thread = Thread(key, story, [], scene.deal, scene.company.key, planned)
        subject = self.phrasing.say(story.subject, f"{story.id}.s", self.clock.local(times[0]), slots, days)
        telling = Telling(thread, scene, subject, slots, days, waits)
        for item, at in zip(items, times, strict=True):
            days.promised = due if item is items[-1] else None
            thread.messages.append(self._message(telling, item, at))
        return thread

    def _times(self, items: list[Item], end: datetime) -> list[datetime]:
        times = [end]
        for position in range(len(items) - 1, 0, -1):
            place = self.clock.meeting_before if items[position - 1].channel == "meeting" else self.clock.before
            times.insert(0, place(times[0], items[position].gap))
        return times

    def _half_hour(self, moment: datetime) -> str:
        local = self.clock.local(moment - timedelta(minutes=45))
        return f"{local.hour % 12 or 12}:{'30' if local.minute >= 30 else '00'}"

    def _place_meeting(self, story: Story, items: list[Item], times: list[datetime], days: Days) -> datetime | None:
        """Say when the thread's meeting is; return it when it lies behind the last item."""
        position = next((at for at, item in enumerate(story.items) if item.channel == "meeting"), None)
        if position is None:
            return None
        held = position < len(items)
        ahead = sum(int(item.gap[1:-1]) for item in story.items[len(items) : position + 1] if item.gap.endswith("d"))
        moment = times[position] if held else self.clock.meeting_after(times[-1], ahead)
        days.marks["meet"], days.times["meet"] = self.clock.local(moment).date(), self.clock.local(moment)
        return None if held else moment

    def _message(self, telling: Telling, item: Item, at: datetime) -> Message:
        thread, scene = telling.thread, telling.scene
        sender, to = self._parties(thread, scene, item)
        position = len(thread.messages)
        body = self._say(telling, item.text, f"{position}", at, TERSE.get(sender.style, 0.85))
        message = Message(
            key=f"{thread.key}-{position}",
            at=at,
            channel=item.channel,
            sender=sender,
            to=to,
            cc=self._cc(scene, item, sender, to),
            subject=telling.subject,
            letter=Letter(body),
            mailbox=scene.me,
            company=scene.company.key,
            deal=scene.deal,
            text=body,
            file=self._say(telling, item.file, f"{position}f", at) if item.file else None,
            minutes=item.minutes,
            script=item.script,
            waits=telling.waits,
            days=telling.days,
        )
        if item.channel == "email":
            self._write(message, thread, body)
        else:
            other = to if sender.is_ours else sender
            titles = {"meeting": body, "call": f"Call with {other.name}", "sms": ""}
            message.subject = titles.get(item.channel, telling.subject)
        return message

    def _say(self, telling: Telling, text: str, place: str, at: datetime, wordy: float = 0.85) -> str:
        key = f"{telling.thread.story.id}.{place}"
        return self.phrasing.say(text, key, self.clock.local(at), telling.slots, telling.days, wordy=wordy)

    def _write(self, message: Message, thread: Thread, body: str) -> None:
        older = [mail for mail in thread.messages if mail.channel == "email"]
        opening = not older or message.at - older[-1].at > timedelta(days=2)
        voice = self.voices.get(message.sender.key)
        local = self.clock.local(message.at)
        message.letter = letters.write(message.sender, message.to, body, local, self.rng, voice=voice, opening=opening)
        message.references = [mail.message_id for mail in older]
        if older:
            message.subject = f"Re: {message.subject}"
        self._lay_out(message, older)

    def _lay_out(self, message: Message, older: list[Message]) -> None:
        """Give the mail its final text and, from some clients, HTML; most answers carry the mail they answer."""
        last = older[-1] if older else None
        if last is None or self.rng.random() < 0.4:
            message.text = message.letter.whole
            message.html = letters.to_html(message.letter) if message.letter.as_html else ""
            return
        outlook = message.sender.style in OUTLOOKS
        quoted = last.letter.whole if self.rng.random() < 0.6 else last.text
        line = letters.attribution(
            last.sender, self.clock.local(last.at), outlook=outlook, to=last.to, subject=last.subject
        )
        message.text = letters.with_quote(message.letter.whole, line, quoted, outlook=outlook)
        message.html = letters.to_html(message.letter, line, last.letter.whole) if message.letter.as_html else ""

    def _parties(self, thread: Thread, scene: Scene, item: Item) -> tuple[Person, Person]:
        sender = self._person(scene, item.who) if item.channel != "meeting" else scene.me
        if item.to is not None:
            return sender, self._person(scene, item.to)
        if not item.is_ours and item.channel != "meeting":
            return sender, scene.me
        theirs = [message.sender for message in thread.messages if not message.sender.is_ours]
        return sender, theirs[-1] if theirs else self._person(scene, "c")

    def _cc(self, scene: Scene, item: Item, sender: Person, to: Person) -> list[Person]:
        people = [self._person(scene, name) for name in item.cc]
        if scene.me not in (sender, to):
            people.append(scene.me)
        return [person for person in dict.fromkeys(people) if person not in (sender, to)]

    def _person(self, scene: Scene, name: str) -> Person:
        match name:
            case "me":
                return scene.me
            case "cs":
                return self.cast.people["carla"]
            case "mgr":
                return self.cast.people["dana"]
            case _:
                return self.cast.at(scene.company.key, name, scene.lead)
