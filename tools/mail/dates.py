"""Moments as mail writes them: RFC 5322 with its old forms and mistakes, and ISO 8601."""

import re
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime

_MONTHS = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1
    )
}
_ZONES = {
    "UT": 0,
    "UTC": 0,
    "GMT": 0,
    "Z": 0,
    "EST": -300,
    "EDT": -240,
    "CST": -360,
    "CDT": -300,
    "MST": -420,
    "MDT": -360,
    "PST": -480,
    "PDT": -420,
    "CET": 60,
    "CEST": 120,
    "MET": 60,
    "MEST": 120,
    "BST": 60,
    "WET": 0,
    "WEST": 60,
    "EET": 120,
    "EEST": 180,
    "MSK": 180,
    "IST": 330,
    "JST": 540,
    "KST": 540,
    "AEST": 600,
    "AEDT": 660,
}
_RFC = re.compile(
    r"(\d{1,2})[\s\-]{1,4}([A-Za-z]{3})[a-z]*\.?[\s\-,]{1,4}(\d{2,4})[\s,]{1,4}(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?\s{0,3}([+-]\d{4}|[A-Z]{1,4}\b)?"
)
_OLDEST, _NEWEST = 1970, 2100
_FIXED = {0: UTC}


def parse(value: str) -> datetime | None:
    """Return the moment in UTC, or None when the text names none that a mail can have."""
    value = value[:200]
    found = _RFC.search(value)
    if found:
        return _moment(found)
    return _iso(value) or _lenient(value)


def parse_iso(value: object) -> datetime | None:
    """Return an ISO 8601 moment in UTC, or None for anything else."""
    return _iso(value) if isinstance(value, str) else None


def _iso(value: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return _sane(moment if moment.tzinfo is UTC else _aware(moment))


def _aware(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _sane(moment: datetime) -> datetime | None:
    return moment if _OLDEST <= moment.year < _NEWEST else None


def _moment(found: re.Match[str]) -> datetime | None:
    month = _MONTHS.get(found[2].lower())
    if month is None:
        return None
    year = int(found[3])
    if year < 100:
        year += 2000 if year < 70 else 1900
    try:
        moment = datetime(
            year,
            month,
            int(found[1]),
            int(found[4]),
            int(found[5]),
            min(int(found[6] or 0), 59),
            tzinfo=_zone(found[7]),
        )
        return _sane(moment.astimezone(UTC))
    except (ValueError, OverflowError):
        return None


def _zone(text: str | None) -> timezone:
    if not text:
        return UTC
    minutes = (
        _ZONES.get(text, 0) if text[0] not in "+-" else int(text[0] + "1") * (int(text[1:3]) * 60 + int(text[3:5]))
    )
    if abs(minutes) >= 24 * 60:
        return UTC
    zone = _FIXED.get(minutes)
    if zone is None:
        zone = _FIXED[minutes] = timezone(timedelta(minutes=minutes))
    return zone


def _lenient(value: str) -> datetime | None:
    try:
        return _sane(_aware(parsedate_to_datetime(value)))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
