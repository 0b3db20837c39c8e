"""
When something is due: phrases of a message resolved against the day it was sent, in the sender's time zone.

A day without an hour ends at its last minute, "end of business" at 17:00. What cannot be told (03/04 without a
zone that settles the order, "before our call") keeps its words and has no date.
"""

import re
from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from tools import names

_LAST_MINUTE = time(23, 59)
_CLOSE = time(17)
_NOON = time(12)
_FRIDAY = 4
_RECENT = timedelta(days=45)
"""A day without a year that lies less far back is meant as past; one further back is meant next year."""
_EARLY = 5
"""The day by which the beginning of a month is over."""
_LONGEST = 600
"""Characters of a sentence that are read."""

_DAYS = {
    name: index
    for index, names in enumerate(
        (
            "monday mon montag lundi lunes",
            "tuesday tues tue dienstag mardi martes",
            "wednesday weds wed mittwoch mercredi mi\u00e9rcoles miercoles",
            "thursday thurs thur thu donnerstag jeudi jueves",
            "friday fri freitag vendredi viernes",
            "saturday samstag samedi s\u00e1bado sabado",
            "sunday sonntag dimanche domingo",
        )
    )
    for name in names.split()
}
_MONTHS = {
    name: index
    for index, names in enumerate((
        "january jan januar janvier enero", "february feb februar f\u00e9vrier febrero", "march mar m\u00e4rz maerz mars marzo",
        "april apr avril abril", "may mai mayo", "june jun juni juin junio", "july jul juli juillet julio",
        "august aug ao\u00fbt agosto", "september sept sep septembre septiembre", "october oct oktober octobre octubre",
        "november nov novembre noviembre", "december dec dezember d\u00e9cembre diciembre",
    ), start=1)
    for name in names.split()
}  # fmt: skip
_NUMBERS = {
    word: value
    for value, words in (
        (1, "one a an ein einem einer eine un une uno una"), (2, "two couple zwei deux dos"), (3, "three few drei trois tres ein paar"),
        (4, "four vier quatre cuatro"), (5, "five f\u00fcnf cinq cinco"), (6, "six sechs seis"), (7, "seven sieben sept siete"),
        (8, "eight acht huit ocho"), (9, "nine neun neuf nueve"), (10, "ten zehn dix diez"), (14, "fourteen vierzehn quatorze catorce"),
    )
    for word in words.split()
}  # fmt: skip
_DAY = "|".join(sorted(_DAYS, key=len, reverse=True))
_MONTH = "|".join(sorted(_MONTHS, key=len, reverse=True))
_NUMBER = r"\d{1,3}|" + "|".join(sorted(_NUMBERS, key=len, reverse=True))
_BEFORE = r"(?P<by>by|before|until|till|no later than|not later than|latest|bis(?: zum)?|sp\u00e4testens|d'ici(?: \u00e0)?|avant|antes del?|para el|hasta)"
_LEAD = rf"(?:{_BEFORE}\s+|(?:on|at|am|le|el|this|coming|den|the)\s+){{0,3}}"
_HOUR = (
    r"(?:,?\s*(?:at|by|before|around|um|\u00e0|a las)?\s*(?P<hour>\d{1,2})(?:[:.h](?P<minute>\d{2}))?\s*(?P<half>a\.?m\.?|p\.?m\.?)(?![\w])"
    r"|,?\s+(?:at|by|before|um|\u00e0|a las)\s+(?P<hour24>\d{1,2})[:.h](?P<minute24>\d{2})\b(?:\s*uhr)?"
    r"|,?\s+(?:at\s+|by\s+)?(?P<part>noon|midday|morning|afternoon|evening|eod|cob|close of business|end of (?:the )?(?:business )?day))?"
)


@dataclass(frozen=True, slots=True)
class Due:
    """
    A moment that a phrase names.

    `at` is aware UTC, or None when the words do not settle it; `text` are the words, `start` and `end` where they
    stand in the sentence; `deadline` says that the phrase limits ("by Friday") rather than places ("on Friday").
    """

    text: str
    at: datetime | None
    start: int
    end: int
    deadline: bool = False


@dataclass(frozen=True, slots=True)
class Calendar:
    """The day a message was sent, where it was sent."""

    sent_at: datetime
    zone: ZoneInfo

    @classmethod
    def of(cls, sent_at: datetime, zone: str = "UTC") -> "Calendar":
        """Return the calendar of a message; an unknown zone counts as UTC."""
        return cls(sent_at if sent_at.tzinfo else sent_at.replace(tzinfo=UTC), names.zone_of(zone))

    @property
    def local(self) -> datetime:
        """The moment of sending on the sender's clock."""
        return self.sent_at.astimezone(self.zone)

    @property
    def today(self) -> date:
        """The sender's day."""
        return self.local.date()

    @property
    def day_first(self) -> bool | None:
        """Whether 03/04 is the third of April here; None when the zone does not tell."""
        name = self.zone.key
        if name.startswith(("US/", "America/")):
            return False
        return True if name.startswith(("Europe/", "Australia/", "Africa/", "Asia/")) else None

    def moment(self, day: date, hour: time | None = None) -> datetime:
        """Return that day's last minute, or its hour, in UTC."""
        return datetime.combine(day, hour or _LAST_MINUTE, self.zone).astimezone(UTC)

    def weekday(self, index: int, *, week: int | None = None) -> date:
        """Return the next such weekday after today, or the one of this week (0), next week (1) ..."""
        if week is None:
            return self.today + timedelta(days=(index - self.today.weekday() - 1) % 7 + 1)
        return self.today - timedelta(days=self.today.weekday()) + timedelta(days=7 * week + index)

    def month_end(self, months: int = 0) -> date:
        """Return the last day of this month, or of a later one."""
        return month_end(self.today.year, self.today.month + months)


def month_end(year: int, month: int) -> date:
    """Return the last day of a month; month 13 is January of the next year."""
    year, month = year + (month - 1) // 12, (month - 1) % 12 + 1
    return date(year, month, monthrange(year, month)[1])


Resolve = Callable[[re.Match[str], Calendar], date | datetime | None]


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS.get(word, 1)


def _ahead(match: re.Match[str], calendar: Calendar) -> date | datetime:
    unit, count = match["unit"], _number(match["count"])
    if unit.startswith(("min", "hour", "hr", "stunde", "heure", "hora")):
        return calendar.sent_at + timedelta(minutes=count * (1 if unit.startswith("min") else 60))
    if unit.startswith(("business", "working", "werktag", "arbeitstag")):
        return _business_days(calendar.today, count)
    if unit.startswith(("month", "monat", "mois", "mes")):
        return _add_months(calendar.today, count)
    if unit.startswith("fortnight"):
        return calendar.today + timedelta(days=count * 14)
    weeks = unit.startswith(("week", "woche", "semaine", "semana"))
    return calendar.today + timedelta(days=count * 7 if weeks else count)


def _weeks_from_weekday(match: re.Match[str], calendar: Calendar) -> date:
    return calendar.weekday(_DAYS[match["day"]]) + timedelta(days=7 * _number(match["count"]))


def _business_days(day: date, count: int) -> date:
    while count > 0:
        day += timedelta(days=1)
        count -= day.weekday() <= _FRIDAY
    return day


def _add_months(day: date, count: int) -> date:
    last = month_end(day.year, day.month + count)
    return last.replace(day=min(day.day, last.day))


def _next_date(calendar: Calendar, month: int, day: int, year: str | None) -> date | None:
    try:
        if year:
            return date(int(year) + (2000 if len(year) == 2 else 0), month, day)
        found = date(calendar.today.year, month, day)
        return found if found >= calendar.today - _RECENT else date(calendar.today.year + 1, month, day)
    except ValueError:
        return None


def _numeric(match: re.Match[str], calendar: Calendar) -> date | None:
    first, second = int(match["first"]), int(match["second"])
    day_first = True if match["sep"] == "." or first > 12 else False if second > 12 else calendar.day_first
    if day_first is None:
        return None
    day, month = (first, second) if day_first else (second, first)
    return _next_date(calendar, month, day, match["year"])


def _in_month(match: re.Match[str], calendar: Calendar) -> date | None:
    month = _MONTHS[match["month"]]
    first = _next_date(calendar, month, 1, match["y"])
    if first is None:
        return None
    return first - timedelta(days=1) if match["by"] else month_end(first.year, month)


def _weekday(match: re.Match[str], calendar: Calendar) -> date:
    index = _DAYS[match["day"]]
    which = f"{match['which'] or ''} {match['week'] or ''}"
    if re.search(r"next|n\u00e4chst|prochain|pr\u00f3xim|folgend|kommende", which):
        return calendar.weekday(index, week=1)
    return calendar.weekday(index)


def _day_of_month(match: re.Match[str], calendar: Calendar) -> date | None:
    day = int(match["nth"])
    for months in range(3):
        last = calendar.month_end(months)
        if day <= last.day and last.replace(day=day) >= calendar.today:
            return last.replace(day=day)
    return None


def _end_of(match: re.Match[str], calendar: Calendar) -> date:
    ahead = 1 if match["next"] else 0
    unit = match["period"]
    if unit.startswith(("w", "semaine", "semana", "eow")):
        friday = calendar.weekday(_FRIDAY, week=ahead)
        return friday if friday >= calendar.today else calendar.weekday(_FRIDAY, week=ahead + 1)
    if unit.startswith(("m", "eom")):
        return calendar.month_end(ahead)
    if unit.startswith(("q", "trim", "eoq")):
        return month_end(calendar.today.year, ((calendar.today.month - 1) // 3 + ahead) * 3 + 3)
    return date(calendar.today.year + ahead, 12, 31)


def _quarter(match: re.Match[str], calendar: Calendar) -> date:
    end = month_end(calendar.today.year, int(match["quarter"]) * 3)
    return end if end >= calendar.today else month_end(calendar.today.year + 1, int(match["quarter"]) * 3)


def _early_next(match: re.Match[str], calendar: Calendar) -> date:
    return calendar.weekday(1 if match["early"] else _FRIDAY, week=1)


def _early_next_month(_: re.Match[str], calendar: Calendar) -> date:
    return calendar.month_end(1).replace(day=_EARLY)


def _days(count: int) -> Resolve:
    return lambda _, calendar: calendar.today + timedelta(days=count)


def _this_week(_: re.Match[str], calendar: Calendar) -> date:
    return calendar.weekday(_FRIDAY, week=0) if calendar.today.weekday() <= _FRIDAY else calendar.weekday(_FRIDAY)


def _close_today(_: re.Match[str], calendar: Calendar) -> datetime:
    return calendar.moment(calendar.today, _CLOSE if calendar.local.time() < _CLOSE else None)


def _undated(_: re.Match[str], __: Calendar) -> None:
    return None


_UNITS = (
    r"minutes?|mins?|hours?|hrs?|(?:business|working) days?|days?|weeks?|fortnights?|months?|stunden?|werktagen?|arbeitstagen?|tagen?|wochen?|"
    r"monaten?|heures?|jours?|semaines?|mois|horas?|d\u00edas?|dias?|semanas?|mes(?:es)?"
)
_NEXT = r"(?:next|n\u00e4chste[rnms]?|kommende[rn]?|following|coming|proch\w+|pr\u00f3xim\w+)"
# The first pattern that matches a place takes it; more telling forms stand first.
_WORDS: tuple[tuple[str, Resolve], ...] = (
    (rf"{_LEAD}(?P<y>\d{{4}})-(?P<m>\d{{2}})-(?P<d>\d{{2}}){_HOUR}", lambda m, c: _next_date(c, int(m["m"]), int(m["d"]), m["y"])),
    (rf"{_LEAD}(?:(?:{_DAY}),?\s+(?:the\s+|den\s+)?)?(?P<d>\d{{1,2}})(?:st|nd|rd|th|er|\.|\u00ba)?\s+(?:of\s+|de\s+)?(?P<month>{_MONTH})\b\.?(?:,?\s+(?:de\s+)?(?P<y>\d{{4}}))?{_HOUR}",
     lambda m, c: _next_date(c, _MONTHS[m["month"].lower()], int(m["d"]), m["y"])),
    (rf"{_LEAD}(?:(?:{_DAY}),?\s+)?(?P<month>{_MONTH})\b\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(?P<y>\d{{4}}))?{_HOUR}",
     lambda m, c: _next_date(c, _MONTHS[m["month"].lower()], int(m["d"]), m["y"])),
    (rf"{_LEAD}(?P<first>\d{{1,2}})(?P<sep>[/.])(?P<second>\d{{1,2}})(?P=sep)(?P<year>\d{{4}}|\d{{2}})(?![\d/%]){_HOUR}", _numeric),
    (rf"(?:{_BEFORE}|on|am|vom|le|el)\s+(?:the\s+)?(?:(?:{_DAY}),?\s+)?(?P<first>\d{{1,2}})(?P<sep>[/.])(?P<second>\d{{1,2}})(?P<year>(?!))?(?![\d/%])\.?{_HOUR}", _numeric),
    (rf"(?:(?P<ending>(?:the\s+)?end of)|{_BEFORE}|in)\s+(?P<month>{_MONTH})(?:\s+(?P<y>\d{{4}}))?", _in_month),
    (rf"{_LEAD}(?:the\s+)?(?:end|ende|fin|finales)(?:\s+(?:of|der|des|de la|du|de|del))?\s+(?:(?P<next>{_NEXT})\s+|(?:this|the|diese[rs]?|cette|esta|este)\s+)?(?P<period>week|woche|semaine|semana|month|monats?|mois|mes|quarter|quartals?|trimestre|year|jahres?|ann\u00e9e|a\u00f1o)", _end_of),
    (rf"{_LEAD}(?P<period>eow|eom|eoq)(?P<next>(?!))?", _end_of),
    (rf"{_LEAD}(?:the\s+)?(?:end of\s+)?q(?P<quarter>[1-4])", _quarter),
    (rf"{_LEAD}(?:(?P<early>early|beginning of|start of|anfang)|(?:late|later|end of))\s+{_NEXT}\s+(?:week|woche)", _early_next),
    (rf"(?P<count>{_NUMBER})\s+weeks?\s+from\s+(?P<day>{_DAY}){_HOUR}", _weeks_from_weekday),
    (rf"{_LEAD}(?:first thing\s+)?(?P<which>{_NEXT}\s+)?(?P<day>{_DAY})(?:\s+(?P<week>(?:of\s+)?{_NEXT}\s+(?:week|woche|semaine|semana)|prochaine?|pr\u00f3ximo)|\s+week(?!\w))?{_HOUR}", _weekday),
    (rf"{_LEAD}(?:the\s+)?(?:day after tomorrow|\u00fcbermorgen|apr\u00e8s-demain|pasado ma\u00f1ana){_HOUR}", _days(2)),
    (rf"{_LEAD}(?:first thing\s+)?(?:tomorrow|tmrw|morgen|demain|ma\u00f1ana)(?!\s+(?:never|is another)){_HOUR}", _days(1)),
    (rf"{_LEAD}(?:(?:the\s+)?(?:end of (?:the )?(?:business )?day|close of (?:business|play)|eod|cob|eob)(?:\s+today)?)", _close_today),
    (rf"{_LEAD}(?:later\s+)?(?:today|tonight|this (?:morning|afternoon|evening)|heute|aujourd'hui|hoy|ce soir|esta tarde){_HOUR}", _days(0)),
    (rf"{_LEAD}(?:in|within|over|inside)\s+(?:about\s+|around\s+|the next\s+|the coming\s+|den n\u00e4chsten\s+)?(?:a\s+(?=couple|few))?(?P<count>{_NUMBER})(?:\s+of)?\s+(?P<unit>{_UNITS})(?:\s+time)?", _ahead),
    (rf"(?:dans|d'ici|innerhalb von|en|dentro de|in den n\u00e4chsten)\s+(?P<count>{_NUMBER})\s+(?P<unit>{_UNITS})", _ahead),
    (rf"(?P<count>{_NUMBER})(?:\s+of)?\s+(?P<unit>{_UNITS})\s+(?:from (?:now|today)|hence)", _ahead),
    (rf"{_LEAD}{_NEXT}\s+(?:week|woche)|(?:la\s+)?semaine prochaine|(?:la\s+)?pr\u00f3xima semana|(?:la\s+)?semana que viene", _days(7)),
    (rf"{_LEAD}(?:later\s+|sometime\s+)?(?:this|diese)\s+(?:coming\s+)?(?:week|woche)|cette semaine|esta semana", _this_week),
    (rf"{_LEAD}(?:the\s+)?(?:early|beginning of|start of|anfang)\s+{_NEXT}\s+(?:month|monat)", _early_next_month),
    (rf"{_LEAD}{_NEXT}\s+(?:month|monat)|(?:le\s+)?mois prochain|(?:el\s+)?pr\u00f3ximo mes", lambda _, c: c.month_end(1)),
    (rf"{_LEAD}(?:later\s+)?this month|diesen monat|ce mois(?:-ci)?|este mes", lambda _, c: c.month_end()),
    (rf"{_LEAD}{_NEXT}\s+quarter", lambda _, c: month_end(c.today.year, ((c.today.month - 1) // 3 + 1) * 3 + 3)),
    (rf"(?:{_BEFORE}|on)\s+the\s+(?P<nth>\d{{1,2}})(?:st|nd|rd|th)", _day_of_month),
    (r"(?P<by>before|ahead of|in time for|prior to|vor)\s+(?:our|the|your|my|we|unserem|der|dem)\s+(?:next\s+)?(?:\w+\s+)?(?:call|meeting|demo|session|review|kick-?off|launch|go-live|visit|webinar|board meeting|termin|speak|meet|talk)", _undated),
    (r"(?:as soon as (?:possible|i can|we can)|asap|right away|straight away|immediately|shortly|soon|so bald wie m\u00f6glich|schnellstm\u00f6glich|d\u00e8s que possible|lo antes posible|in the coming (?:days|weeks))", _undated),
)  # fmt: skip
_FORMS = tuple((re.compile(rf"(?<![\w/.-]){pattern}(?![\w])", re.IGNORECASE), resolve) for pattern, resolve in _WORDS)
_PAST = re.compile(
    r"(?:last|past|previous|since|ago|letzte[nrs]?|vergangene[nrs]?|dernier|pasado|every|each|jeden|chaque|cada)\s+$"
    # What lies behind is no limit: "Following our call on Monday, I will ..."
    r"|\b(?:following|further to)\s+(?:(?!\b(?:i|we|you|will|shall)\b)[^,;.']){1,40}$",
    re.IGNORECASE,
)


_MAY_HAVE_NO_DAY = (_undated, _numeric)


@lru_cache(maxsize=512)
def find_dates(text: str, calendar: Calendar) -> tuple[Due, ...]:
    """Return every phrase of the sentence that names a moment to come, in order; each place counts once."""
    taken: list[tuple[int, int]] = []
    found: list[Due] = []
    text = text[:_LONGEST]
    for pattern, resolve in _FORMS:
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(start < last and first < end for first, last in taken):
                continue
            taken.append((start, end))
            if _PAST.search(text[:start]) or re.match(r"\s+ago\b", text[end:]):
                continue
            due = _due(text, match, resolve, calendar)
            taken.append((due.start, end))
            if due.at is None and resolve not in _MAY_HAVE_NO_DAY:
                continue
            if due.at is None or due.at >= calendar.sent_at - timedelta(days=1):
                found.append(due)
    return tuple(sorted(found, key=lambda due: due.start))


def find_due(text: str, calendar: Calendar, after: int = 0) -> Due | None:
    """
    Return when the sentence says that something is due: a limit before a mere date, a date before an undated phrase.

    Phrases that stand after position `after` (where the promise is made) come first.
    """
    found = find_dates(text, calendar)
    return min(found, key=lambda due: (due.at is None, due.start < after, not due.deadline, due.start), default=None)


def _due(text: str, match: re.Match[str], resolve: Resolve, calendar: Calendar) -> Due:
    lowered = match.re.match(text.lower(), match.start()) or match
    start, end = match.span()
    day = resolve(lowered, calendar)
    at = day if isinstance(day, datetime) else None
    said = lowered.groupdict()
    if day is not None and at is None:
        hour = _hour(said, first_thing="first thing" in lowered[0])
        if hour is None and (before := _HOUR_BEFORE.search(text.lower(), 0, start)):
            start, hour, said = before.start(), _hour(before.groupdict()), said | {"by": said.get("by") or before["by"]}
        at = calendar.moment(day, hour or (_CLOSE if "afternoon" in lowered[0] else None))
    return Due(text[start:end].strip(" .,"), at, start, end, bool(said.get("by")))


_HOUR_BEFORE = re.compile(
    rf"(?<!\w)(?:{_BEFORE}\s+)?(?:at\s+)?(?:(?P<hour>\d{{1,2}})(?:[:.h](?P<minute>\d{{2}}))?\s*(?P<half>a\.?m\.?|p\.?m\.?)"
    r"|(?P<part>noon|midday|close of business|end of (?:the )?(?:business )?day|cob|eod))\s+"
    r"(?:(?:[ecmp][sd]?t|gmt|utc|cet|cest|bst)\s+)?(?:on\s+)?$"
)


def _hour(said: dict[str, str | None], *, first_thing: bool = False) -> time | None:
    if said.get("hour"):
        hour, half = int(said["hour"] or 0), (said["half"] or "").replace(".", "")
        if hour > 12 or hour == 0:
            return None
        return time(hour % 12 + (12 if half == "pm" else 0), int(said["minute"] or 0) % 60)
    if (hour24 := said.get("hour24")) and int(hour24) < 24:
        return time(int(hour24), int(said["minute24"] or 0) % 60)
    part = said.get("part") or ""
    if part in ("noon", "midday", "morning"):
        return _NOON
    if part in ("afternoon", "eod", "cob", "close of business") or part.startswith("end of"):
        return _CLOSE
    if first_thing:
        return time(10)
    return None
