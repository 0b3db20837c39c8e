"""
From a written phrase to a sentence: choices are made, names and days filled in.

    [[a|b]]       one of these, in turn, so that the same choice does not come twice in a row
    [[k#a|b]]     the same choice wherever the thread says k#
    [?x?]         left out by people who write little
    {company}     a name; {exec.full} and {c.title} more of it
    {on+2}        "on Thursday", two working days after the message; {by+2}, {day+2}, {date+2} likewise
    {by:quote=+2} the same, remembered as "quote"; {by:quote} comes back to it; {on:meet} is the thread's meeting
    {month+1}     the name of the next month
    {~n:20-40}    a number, remembered as "n"; {~n} comes back to it
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from random import Random

from tools.demo import clockwork

_CHOICE = re.compile(r"\[\[(.*?)\]\]", re.DOTALL)
_OPTIONAL = re.compile(r"\[\?(.*?)\?\]", re.DOTALL)
_SLOT = re.compile(r"\{([^{}\n]+)\}")
_DAY = re.compile(r"(on|by|On|By|day|Day|date|month|time)(?::([a-z]+))?=?([+-]\d+)?")
_NUMBER = re.compile(r"~([a-z]+)(?::(\d+)-(\d+))?")
_SPACES = re.compile(r"[ \t]{2,}")
_DEFAULT_DAYS = 3


class UnknownSlot(Exception):
    """The material names something that this place does not know."""


@dataclass
class Days:
    """The days and numbers that one thread has spoken of, by name."""

    marks: dict[str, date] = field(default_factory=dict[str, date])
    times: dict[str, datetime] = field(default_factory=dict[str, datetime])
    numbers: dict[str, str] = field(default_factory=dict[str, str])
    promised: date | None = None
    """By when what is promised next is due, whatever the material says."""


@dataclass
class Phrasing:
    """Makes sentences; choices go round, so one story told twice is told differently."""

    rng: Random
    turns: Counter[str] = field(default_factory=Counter[str])
    starts: dict[str, int] = field(default_factory=dict[str, int])

    def say(
        self, text: str, key: str, moment: datetime, slots: Mapping[str, str], days: Days, *, wordy: float = 0.8
    ) -> str:
        """
        Return the text as said at `moment` (wall clock); `key` names its place in the material.

        Raises `UnknownSlot`.
        """
        text = _OPTIONAL.sub(lambda found: found[1] if self.rng.random() < wordy else "", text)
        places = iter(range(1000))
        text = _CHOICE.sub(lambda found: self._choose(found[1], f"{key}.{next(places)}", days), text)
        text = _SLOT.sub(lambda found: self._fill(found[1], moment, slots, days), text)
        text = _SPACES.sub(" ", text)
        return "\n".join(line.strip() for line in text.strip().split("\n"))

    def _choose(self, choice: str, key: str, days: Days) -> str:
        label, _, words = choice.rpartition("#")
        options = words.split("|")
        if label:
            return options[int(days.numbers.setdefault(label, str(self.rng.randrange(len(options))))) % len(options)]
        start = self.starts.setdefault(key, self.rng.randrange(len(options)))
        turn = self.turns[key]
        self.turns[key] += 1
        return options[(start + turn) % len(options)]

    def _fill(self, slot: str, moment: datetime, slots: Mapping[str, str], days: Days) -> str:
        if slot in slots:
            return slots[slot]
        if (number := _NUMBER.fullmatch(slot)) is not None:
            return self._number(number[1], number[2], number[3], days)
        found = _DAY.fullmatch(slot)
        if found is None:
            raise UnknownSlot(slot)
        form, mark, ahead = found[1], found[2], int(found[3]) if found[3] else None
        if form == "month":
            return clockwork.month_name(moment.date(), ahead or 0)
        if form == "time":
            return clockwork.clock_time(days.times[mark]) if mark in days.times else "10:00 am"
        promised = form in ("by", "By") and days.promised is not None and days.promised >= moment.date()
        return _worded(form, _day(mark, ahead, moment.date(), days, promised=promised), moment.date())

    def _number(self, name: str, low: str | None, high: str | None, days: Days) -> str:
        if name not in days.numbers:
            if low is None or high is None:
                raise UnknownSlot(name)
            days.numbers[name] = str(self.rng.randint(int(low), int(high)))
        return days.numbers[name]


def _day(mark: str | None, ahead: int | None, today: date, days: Days, *, promised: bool) -> date:
    if mark is not None and ahead is None and mark in days.marks:
        return days.marks[mark]
    count = _DEFAULT_DAYS if ahead is None else ahead
    if promised and days.promised is not None:
        days.marks[mark or "promised"] = days.promised
        return days.promised
    day = clockwork.working_days(today, count) if count else today
    if mark is not None:
        days.marks[mark] = day
    return day


def _worded(form: str, day: date, today: date) -> str:
    match form:
        case "on" | "On":
            words = clockwork.on_day(day, today)
        case "by" | "By":
            words = f"by {clockwork.name_day(day, today)}"
        case "date":
            words = f"{day:%B} {day.day}"
        case _:
            words = clockwork.name_day(day, today)
    return words[0].upper() + words[1:] if form[0].isupper() else words
