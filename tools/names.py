"""Names, addresses, domains and phones in the form in which two of them are compared."""

import re
import unicodedata
from collections.abc import Collection
from zoneinfo import ZoneInfo

_PLACE_SUFFIX = re.compile(r"\s+-\s+(?:[a-z]{2}|corporate|corp|headquarters|hq)\s*$")
_NOT_WORD = re.compile(r"[^a-z0-9]+")
_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://")
_SHORTEST_NAME = 3


def fold(text: str) -> str:
    """Return the text lower-cased and without accents (NFKD)."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))


def normalize_company(name: str, stop_words: Collection[str]) -> str:
    """
    Return the name without place suffix, legal form and punctuation.

    Stop words are taken off the end token by token while at least three characters remain.
    Source: CRM specification, duplicates, company name.
    """
    words = _NOT_WORD.sub(" ", _PLACE_SUFFIX.sub("", fold(name))).split()
    while len(words) > 1 and words[-1] in stop_words and len("".join(words[:-1])) >= _SHORTEST_NAME:
        words.pop()
    return "".join(words)


def normalize_domain(value: str | None) -> str | None:
    """Return the bare host of a domain or address: no scheme, www, port, path; None when nothing remains."""
    if not value:
        return None
    host = _SCHEME.sub("", value.strip().lower()).split("/")[0].split("?")[0].rsplit("@", 1)[-1].split(":")[0]
    return host.removeprefix("www.").strip(".") or None


def normalize_email(value: str | None) -> str | None:
    """Return the address trimmed and lower-cased; None when empty."""
    return value.strip().lower() or None if value else None


def domain_of(email: str | None) -> str | None:
    """Return the domain of an e-mail address."""
    return email.rsplit("@", 1)[-1].lower() or None if email and "@" in email else None


def normalize_phone(value: str | None) -> str | None:
    """Return the digits of a phone number, without a leading US country code."""
    digits = re.sub(r"\D", "", value or "")
    return (digits[1:] if len(digits) == 11 and digits.startswith("1") else digits) or None


def zone_of(name: str | None) -> ZoneInfo:
    """Return the time zone of this name; UTC when the name means none."""
    try:
        return ZoneInfo(name or "UTC")
    except (KeyError, ValueError, OSError):
        return ZoneInfo("UTC")


def split_name(name: str) -> tuple[str | None, str | None]:
    """Return first and last name of a person as far as the words tell."""
    words = name.split()
    return (words[0] if words else None, " ".join(words[1:]) or None)
