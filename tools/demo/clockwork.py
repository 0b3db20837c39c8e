"""Working hours: when people write, and how a day is named in a mail."""

from datetime import UTC, date, datetime, time, timedelta
from random import Random
from zoneinfo import ZoneInfo

OPENS, CLOSES = 8, 18
FRIDAY = 4
CLOSED = ((1, 1), (7, 4), (12, 24), (12, 25))
"""Days of the year on which nobody works."""


def is_working(day: date) -> bool:
    """Whether people work that day."""
    return day.weekday() <= FRIDAY and (day.month, day.day) not in CLOSED


def working_days(day: date, count: int) -> date:
    """Return the working day so many working days after (or, negative, before) the day."""
    step = timedelta(days=1 if count > 0 else -1)
    for _ in range(abs(count)):
        day += step
        while not is_working(day):
            day += step
    while not is_working(day):
        day += timedelta(days=1)
    return day


class Clockwork:
    """The hours of one place."""

    def __init__(self, timezone: str, rng: Random) -> None:
        self.zone = ZoneInfo(timezone)
        self.rng = rng

    def local(self, moment: datetime) -> datetime:
        """Return the moment on the wall clock."""
        return moment.astimezone(self.zone)

    def at(self, day: date, hour: int, minute: int = 0) -> datetime:
        """Return a wall clock time of a day, in UTC."""
        return datetime.combine(day, time(hour, minute), self.zone).astimezone(UTC)

    def at_work(self, moment: datetime) -> datetime:
        """Return the moment, or when it is outside working hours one late on the working day before."""
        local = self.local(moment)
        day = local.date()
        if is_working(day) and OPENS <= local.hour < CLOSES:
            return moment
        if not is_working(day) or local.hour < OPENS:
            day = working_days(day, -1)
        late = self.at(day, self.rng.randint(14, 17), self.rng.randrange(60))
        return late + timedelta(seconds=self.rng.randrange(60))

    def before(self, moment: datetime, gap: str) -> datetime:
        """Return a believable moment so long before another: +3h, +2d (working days), +0h (minutes)."""
        count, unit = int(gap[1:-1]), gap[-1]
        if unit == "d" and count:
            day = working_days(self.local(moment).date(), -count)
            spread = self.at(day, self.rng.randint(OPENS, CLOSES - 1), self.rng.randrange(60))
            return min(spread, moment - timedelta(hours=5)) + timedelta(seconds=self.rng.randrange(60))
        if not count:
            return moment - timedelta(seconds=self.rng.randint(240, 2400))
        earlier = moment - timedelta(minutes=count * self.rng.randint(40, 80))
        return min(self.at_work(earlier), moment - timedelta(minutes=11))

    def meeting_before(self, moment: datetime, gap: str) -> datetime:
        """Return a full or half hour for a meeting that is over by `moment`."""
        found = self.local(self.before(moment, gap) - timedelta(minutes=50))
        start = found.replace(minute=30 * (found.minute // 30), second=0, microsecond=0)
        if not is_working(start.date()) or not OPENS < start.hour < CLOSES:
            return self.at(working_days(start.date(), -1), self.rng.randint(9, 15), self.rng.choice((0, 30)))
        return start.astimezone(UTC)

    def meeting_after(self, moment: datetime, days: int) -> datetime:
        """Return a full or half hour on a working day so many working days ahead."""
        return self.at(
            working_days(self.local(moment).date(), max(1, days)), self.rng.randint(9, 15), self.rng.choice((0, 30))
        )


def name_day(day: date, today: date) -> str:
    """Return how somebody names the day in a mail of today: tomorrow, Thursday, March 12."""
    away = (day - today).days
    match away:
        case 0:
            return "today"
        case 1:
            return "tomorrow"
        case -1:
            return "yesterday"
        case _:
            return f"{day:%A}" if -7 < away < 7 else f"{day:%B} {day.day}"


def on_day(day: date, today: date) -> str:
    """Return the day with its preposition: on Thursday, tomorrow."""
    name = name_day(day, today)
    return name if name in ("today", "tomorrow", "yesterday") else f"on {name}"


def clock_time(moment: datetime) -> str:
    """Return a wall clock time: 10:30 am."""
    hour = moment.hour % 12 or 12
    return f"{hour}:{moment:%M} {'am' if moment.hour < 12 else 'pm'}"


def month_name(day: date, ahead: int) -> str:
    """Return the name of the month so many months ahead."""
    index = day.year * 12 + day.month - 1 + ahead
    return f"{date(index // 12, index % 12 + 1, 1):%B}"
