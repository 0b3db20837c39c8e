"""The life of every deal and customer as a chain of threads, told backwards from where it stands today."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from tools.demo.cast import Cast, Deal, Person, deals_of
from tools.demo.clockwork import Clockwork
from tools.demo.material import Story, minutes_of
from tools.demo.threads import Scene, Teller, Thread

SLOT_OF = {
    "new_lead": "lead", "qualifying": "qualify", "discovery": "discovery", "demo": "demo", "data_review": "data_review", "trial": "trial",
    "negotiation": "negotiation", "closed_won": "won", "closed_lost": "lost", "closed_converted": "won",
}  # fmt: skip
STAGE_OF = {slot: stage for stage, slot in SLOT_OF.items() if stage != "closed_converted"} | {
    "expand": "qualifying",
    "renewal": "negotiation",
}
OPEN_SLOTS = tuple(list(SLOT_OF.values())[:7])
A_YEAR = timedelta(days=362)
LIVE = 3 * 24 * 60
"""Threads touched in the last three days (minutes) stand at a moment, not at an office hour."""


@dataclass
class Life:
    """A deal with its threads, oldest first, and when it entered which stage."""

    deal: Deal
    threads: list[Thread]
    entered: list[tuple[str, datetime]] = field(default_factory=list[tuple[str, datetime]])

    @property
    def created_at(self) -> datetime:
        """When the deal was opened."""
        return self.entered[0][1]

    @property
    def last_at(self) -> datetime:
        """When something happened last."""
        return self.threads[-1].messages[-1].at


class Lives:
    """Tells all chains against one clock."""

    def __init__(self, cast: Cast, teller: Teller, clock: Clockwork, rng: Random, now: datetime) -> None:
        self.cast = cast
        self.teller = teller
        self.clock = clock
        self.rng = rng
        self.now = now
        self.stories = cast.material.stories
        self.here = {(deal.co, deal.end.story) for deal in cast.material.deals if deal.end is not None}

    def of_deals(self) -> list[Life]:
        """Return the life of every deal."""
        return [self._live(deal) for deal in deals_of(self.cast.material)]

    def _live(self, deal: Deal) -> Life:
        path = path_of(deal)
        end = self._moment(deal.entry.last)
        scene = Scene(self.cast.companies[deal.entry.co], self.cast.people[deal.owner], deal, deal.entry.lead)
        threads: list[Thread] = []
        for position in range(len(path) - 1, -1, -1):
            if end < self.now - A_YEAR:
                break
            threads.insert(0, self._step(deal, path, position, scene, end))
            end = self.clock.before(threads[0].starts, f"+{self.rng.randint(2, 6)}d")
        life = Life(deal, threads)
        life.entered = self._stages(life)
        return life

    def _step(self, deal: Deal, path: Sequence[str], position: int, scene: Scene, end: datetime) -> Thread:
        entry = deal.entry
        if position == len(path) - 1 and entry.end is not None:
            story, kept = self.stories[entry.end.story], entry.end.items
            today = self.clock.local(self.now).date()
            due = today + timedelta(days=entry.end.due) if entry.end.due is not None else None
            waits = not entry.stage.startswith("closed")
            return self.teller.tell(story, scene, end, kept=kept, waits=waits, due=due)
        story = (
            self.stories[entry.via] if entry.via is not None and position == 0 else self._choose(deal, path[position])
        )
        return self.teller.tell(story, scene, end)

    def _choose(self, deal: Deal, slot: str) -> Story:
        """Return the story of this slot that fits the deal and has been told least."""
        entry = deal.entry
        if slot == "expand":
            goes_on = path_of(deal)[-1] not in ("expand", "won", "lost")
            return self.stories["exp-second-site" if entry.site else "exp-wish" if goes_on else "exp-module"]
        kind = entry.type if entry.type == "new_business" else "expansion"
        segment = self.cast.companies[entry.co].segment
        fitting = [
            story
            for story in self.stories.values()
            if story.slot == slot and kind in story.kind and entry.mood in story.mood and segment in story.segments
        ]
        fresh = [story for story in fitting if (entry.co, story.id) not in self.here] or fitting
        least = min(self.teller.told[story.id] for story in fresh)
        chosen = self.rng.choice([story for story in fresh if self.teller.told[story.id] == least])
        self.here.add((entry.co, chosen.id))
        return chosen

    def _moment(self, age: str) -> datetime:
        moment = self.now - timedelta(minutes=minutes_of(age))
        return (
            moment
            if minutes_of(age) < LIVE
            else self.clock.at_work(moment - timedelta(minutes=self.rng.randint(1, 600)))
        )

    def _stages(self, life: Life) -> list[tuple[str, datetime]]:
        """Return when the deal entered which stage: with the first message of the thread that belongs to it."""
        entry = life.deal.entry
        first = life.threads[0].starts
        entered = [
            (
                "new_lead",
                first
                if life.threads[0].story.slot == "lead"
                else self.clock.before(first, f"+{self.rng.randint(3, 12)}d"),
            )
        ]
        for thread in life.threads:
            stage = STAGE_OF.get(thread.story.slot, entered[-1][0])
            if stage in ("closed_won", "closed_lost"):
                break
            if stage != entered[-1][0]:
                entered.append((stage, thread.starts))
        if entry.stage != entered[-1][0]:
            entered.append((entry.stage, max(entered[-1][1] + timedelta(hours=1), self._closing(life))))
        return entered

    @staticmethod
    def _closing(life: Life) -> datetime:
        """Deals close with the first word of their last thread; what is still open moved on with it, too."""
        last = life.threads[-1]
        return last.messages[-1].at if last.story.slot == "renewal" else last.starts

    def of_customers(self) -> list[Thread]:
        """Return the threads with customers after the signature."""
        threads: list[Thread] = []
        desk = self.cast.people["carla"]
        for key, happened in self.cast.material.customers.items():
            for story, age, *kept in happened:
                scene = Scene(self.cast.companies[key], desk)
                end = self._moment(age)
                threads.append(
                    self.teller.tell(self.stories[story], scene, end, kept=kept[0] if kept else None, waits=bool(kept))
                )
        return threads

    def fill(self, lives: Sequence[Life], count: int) -> list[Thread]:
        """Return short threads of together at most `count` messages, spread over deals and customers."""
        short = [story for story in self.stories.values() if story.slot == "short"]
        places = self._places(lives)
        threads: list[Thread] = []
        told: set[tuple[str, str]] = set()
        for turn in range(40 * count):
            place, since, until, phase = places[turn % len(places)]
            fitting = [
                story
                for story in short
                if story.at in ("any", phase)
                and (place.company.key, story.id) not in told
                and self._fits(story, place, count)
            ]
            if not count:
                break
            if not fitting:
                continue
            least = min(self.teller.told[story.id] for story in fitting)
            story = self.rng.choice([story for story in fitting if self.teller.told[story.id] == least])
            told.add((place.company.key, story.id))
            moment = self.clock.at_work(since + (until - since) * self.rng.random())
            threads.append(self.teller.tell(story, place, moment))
            count -= len(story.items)
        return threads

    def _fits(self, story: Story, place: Scene, count: int) -> bool:
        floor = any("floor" in (item.who, item.to) for item in story.items)
        return len(story.items) <= count and (not floor or self.cast.has(f"{place.company.key}/floor"))

    def _places(self, lives: Sequence[Life]) -> list[tuple[Scene, datetime, datetime, str]]:
        desk: Person = self.cast.people["carla"]
        places: list[tuple[Scene, datetime, datetime, str]] = []
        for life in lives:
            entry = life.deal.entry
            scene = Scene(self.cast.companies[entry.co], self.cast.people[life.deal.owner], life.deal, entry.lead)
            turning = next((at for stage, at in life.entered if stage in ("data_review", "trial", "negotiation")), None)
            if entry.type == "new_business" and life.threads[0].story.slot in ("lead", "qualify", "discovery"):
                places.append(
                    (scene, life.threads[0].messages[-1].at, min(turning or life.last_at, life.last_at), "early")
                )
            if (
                turning is not None
                and not entry.stage.startswith("closed_lost")
                and life.last_at - turning > timedelta(days=6)
            ):
                places.append((scene, turning, life.last_at - timedelta(days=1), "late"))
            closing = next((at for stage, at in life.entered if stage == "negotiation"), None)
            if closing is not None and entry.stage != "closed_lost" and life.last_at - closing > timedelta(days=4):
                places.append((scene, closing + timedelta(days=2), life.last_at - timedelta(days=1), "closing"))
        until = self.now - timedelta(days=4)
        for key in self.cast.material.customers:
            signed = [
                life.last_at
                for life in lives
                if life.deal.entry.co == key and life.deal.entry.stage in ("closed_won", "closed_converted")
            ]
            last = until if key != "quillon" else self.now - timedelta(days=180)
            places.extend([(Scene(self.cast.companies[key], desk), min(signed), last, "customer")] * 3)
        places = [place for place in places if place[1] < place[2]]
        self.rng.shuffle(places)
        return places


def path_of(deal: Deal) -> Sequence[str]:
    """Return the slots that the deal has come through."""
    entry = deal.entry
    if entry.path is not None:
        return entry.path
    slot = SLOT_OF[entry.stage]
    if entry.type == "renewal":
        return ["renewal"]
    if entry.type == "new_business":
        return OPEN_SLOTS[: OPEN_SLOTS.index(slot) + 1]
    ends_in = entry.end.story.split("-")[0] if entry.end else ""
    return ["expand"] if ends_in == "exp" else ["expand", slot]
