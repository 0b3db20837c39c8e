"""What a message tells about its sender: addresses, domains, phones and names, read by patterns alone."""

import re

from agents import guards
from tools import names
from tools.matching import Clues, MatchSubject
from tools.workspace import Workspace

MOST = 20
LONGEST = 6_000
_EMAIL = re.compile(
    r"(?<![\w.+-])[a-z0-9][a-z0-9._%+-]{0,63}@(?:[a-z0-9-]{1,63}\.){1,5}[a-z]{2,24}(?![\w@])", re.IGNORECASE
)
_PHONE = re.compile(r"(?<![\w/.-])\+?\(?\d{1,4}\)?(?:[ ./-]?\(?\d{2,4}\)?){2,4}(?![\w/])")
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{1,2}[./]\d{1,2}[./]\d{2,4}")
_NAME = re.compile(r"\b(?:[A-Z][\w&'-]+|[A-Z]{2,})(?:[ \t]+(?:[A-Z][\w&'-]+|[A-Z]{2,}|&|and|of)){0,4}")
_LEAST_DIGITS = 8


def read_clues(subject: MatchSubject, house: Workspace) -> Clues:
    """Return the clues of a message; addresses of our own and of services are none."""
    text = body(subject)
    ours = {*house.own_domains, *house.internal_domains, *house.notetaker_domains}
    own = set(house.own_addresses)
    principal = _foreign(subject.sender_email, ours, own)
    people = [_foreign(str(person.get("email") or ""), ours, own) for person in subject.their_participants]
    participants = [email for email in dict.fromkeys(people) if email]
    principal = principal or (participants[0] if participants else None)
    written = [email for found in _EMAIL.findall(text) if (email := _foreign(found, ours, own))]
    others = [email for email in participants if email != principal]
    # Anybody can put a customer in copy: of an inbound message only the sender's own domain tells where it is from.
    speaking = (principal,) if subject.direction == "inbound" else (principal, *others)
    domains = [_business(email, house) for email in speaking if email]
    own_domains = list(dict.fromkeys(domain for domain in domains if domain))
    return Clues(
        principal=principal,
        participants=others[:MOST],
        body_emails=[email for email in dict.fromkeys(written) if email not in (principal, *others)][:MOST],
        own_domains=own_domains[:MOST],
        domains=list(dict.fromkeys(parent for domain in own_domains[:MOST] for parent in _parents(domain))),
        names=_normalized_names(subject, own_domains, house),
    )


def body(subject: MatchSubject) -> str:
    """Return the part of the text that is searched."""
    return guards.clean((subject.full_content or subject.content_preview or "")[: LONGEST * 2])[:LONGEST]


def phones(text: str) -> list[str]:
    """Return the phone numbers of the text as they are written."""
    found = (match[0].strip() for match in _PHONE.finditer(text))
    return [
        phone
        for phone in dict.fromkeys(found)
        if len(re.sub(r"\D", "", phone)) >= _LEAST_DIGITS and not _DATE.fullmatch(phone)
    ][:MOST]


def capitalized(text: str) -> list[str]:
    """Return the runs of capitalized words, in which names of people and companies are found."""
    return list(dict.fromkeys(match[0].strip() for match in _NAME.finditer(text)))[: MOST * 2]


def is_generic(email: str | None, house: Workspace) -> bool:
    """Whether the address is one that anybody can have."""
    return names.domain_of(email) in house.generic_mail_domains


def _foreign(email: str | None, ours: set[str], own: set[str]) -> str | None:
    address = names.normalize_email(email)
    domain = names.domain_of(address)
    if (
        address is None
        or domain is None
        or address in own
        or any(domain == mine or domain.endswith(f".{mine}") for mine in ours)
    ):
        return None
    return address


def _business(email: str, house: Workspace) -> str | None:
    return None if is_generic(email, house) else names.domain_of(email)


def _parents(domain: str) -> list[str]:
    """Return the domain and the domains it is below, down to two labels."""
    labels = domain.split(".")
    return [".".join(labels[start:]) for start in range(max(1, len(labels) - 1))]


def _normalized_names(subject: MatchSubject, domains: list[str], house: Workspace) -> list[str]:
    said = capitalized(f"{subject.subject or ''}\n{body(subject)}")
    runs = [" ".join(words[first:last]) for run in said for words in [run.split()]
            for first in range(len(words)) for last in range(first + 1, len(words) + 1)]  # fmt: skip
    labels = [domain.rsplit(".", 1)[0].split(".")[-1].replace("-", " ") for domain in domains]
    normalized = (names.normalize_company(name, house.name_stop_words) for name in (*labels, *runs))
    return [name for name in dict.fromkeys(normalized) if len(name) > 3][:200]
