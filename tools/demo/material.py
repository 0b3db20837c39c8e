"""The hand-written material of the demo workspace, read and checked."""

import re
from datetime import date
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

FOLDER = Path(__file__).parent / "material"
OUR_SIDE = ("me", "mgr", "cs")
STORY_FILES = ("early", "middle", "late", "customers", "short")

Severity = Literal["low", "medium", "high", "urgent", "critical"]
Mood = Literal["good", "mixed", "bad"]
Channel = Literal["email", "sms", "call", "meeting", "note"]


class Written(BaseModel):
    """A piece of material; a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Voice(Written):
    """How one of us greets and closes."""

    hello: str
    bye: list[str]


class UserEntry(Written):
    """One of us."""

    key: str
    name: str
    role: Literal["rep", "manager", "admin"]
    job: str
    level: str
    team: str
    title: str
    phone: str
    territory: str
    hired: date
    voice: Voice

    @property
    def first(self) -> str:
        """The first name."""
        return self.name.split()[0]


class ProductEntry(Written):
    """Something that is sold; `monthly` in dollars, per handheld when priced per seat."""

    slug: str
    name: str
    type: Literal["base", "suite", "module", "addon"]
    monthly: int
    pricing: Literal["per_seat", "flat", "tiered"]
    icon: str
    color: str
    about: str
    ache: str
    parent: str | None = None
    fit: list[dict[str, Any]] = []


class House(Written):
    """The company whose workspace this is."""

    name: str
    domain: str
    domains: list[str]
    city: str
    timezone: str
    industries: list[str]
    segments: list[str]
    sales_teams: list[str]
    platforms: list[str]
    competitors: list[str]


class ContactEntry(Written):
    """Somebody at a company: what they do there and how they write."""

    function: str
    name: str
    title: str
    role: str
    style: str

    @property
    def first(self) -> str:
        """How they are addressed by people who know them."""
        words = self.name.split()
        return f"{words[0]} {words[-1]}" if words[0].endswith(".") else words[0]


def _contacts(rows: list[list[str]]) -> list[dict[str, str]]:
    names = ("function", "name", "title", "role", "style")
    return [dict(zip(names, row, strict=True)) for row in rows]


class CompanyEntry(Written):
    """A company and what is particular about its warehouses."""

    key: str
    name: str
    short: str
    domain: str
    city: str
    state: str
    zip: str
    phone: str
    industry: str
    segment: str
    status: Literal["cold_lead", "prospect", "customer", "churned"]
    employees: int
    founded: int
    erp: str
    erp_name: str | None = None
    goods: str
    sites: list[str]
    devices: str
    pickers: int
    orders: str
    skus: str
    contacts: Annotated[list[ContactEntry], BeforeValidator(_contacts)]


class Item(Written):
    """One thing that happens in a story: a mail, a text message, a call, a meeting, a note to ourselves."""

    who: str
    gap: str = "+0h"
    channel: Channel = "email"
    minutes: int = 0
    to: str | None = None
    cc: tuple[str, ...] = ()
    file: str | None = None
    script: str | None = None
    text: str

    @property
    def is_ours(self) -> bool:
        """Whether it comes from our side."""
        return self.who in OUR_SIDE


_FILES = {"quote": "Stocklane quote {company}.pdf", "order": "Order form {company}.pdf"}


def _item(entry: dict[str, str]) -> dict[str, Any]:
    entry = dict(entry)
    found: dict[str, Any] = {"file": entry.pop("file", None)}
    ((head, found["text"]),) = entry.items()
    words = head.split()
    found["who"] = words.pop(0)
    if found["who"] == "meeting":
        found |= {"channel": "meeting", "script": words.pop(0), "minutes": int(words.pop())}
    for word in words:
        name, _, value = word.partition("=")
        match name:
            case "cc":
                found["cc"] = tuple(value.split(","))
            case "to" | "file":
                found[name] = _FILES.get(value, value)
            case "call":
                found |= {"channel": "call", "minutes": int(value)}
            case "sms" | "note":
                found["channel"] = name
            case _:
                found["gap"] = name
    return found


def _items(rows: list[dict[str, str]]) -> list[dict[str, Any]]:
    return [_item(row) for row in rows]


class Story(Written):
    """A thread: its place in a deal's life (`slot`), or between threads (`at`), and what happens in it."""

    id: str
    slot: str = "short"
    at: Literal["any", "early", "late", "closing", "customer"] = "any"
    kind: tuple[str, ...] = ("new_business",)
    mood: tuple[Mood, ...] = ("good", "mixed", "bad")
    reason: str | None = None
    segments: tuple[str, ...] = ("smb", "mid_market", "enterprise")
    subject: str
    items: Annotated[list[Item], BeforeValidator(_items), Field(min_length=1)]


class End(Written):
    """Where a deal stands now: the thread, how many of its items have happened, and in how many days its promise is due."""

    story: str
    items: int
    due: int | None = None


def _end(row: list[Any] | None) -> dict[str, Any] | None:
    return None if row is None else dict(zip(("story", "items", "due"), row, strict=False))


class DealEntry(Written):
    """One deal; `last` is how long ago something happened last."""

    co: str
    stage: str
    products: list[str]
    seats: int
    mood: Mood
    last: str
    name: str | None = None
    site: str | None = None
    lead: str = "ops"
    type: str = "new_business"
    path: list[str] | None = None
    end: Annotated[End | None, BeforeValidator(_end)] = None
    rival: str | None = None
    via: str | None = None


class NoiseText(Written):
    """One wording of noise; `source` chooses the sender by position."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    subject: str
    body: str
    source: int | None = Field(default=None, alias="from")


class Noise(Written):
    """Mail that nobody has to answer."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: Literal["marketing", "calendar", "ai_notetaker", "system", "out_of_office"]
    count: int
    source: Literal["contact"] | list[tuple[str, str]] = Field(alias="from")
    texts: list[NoiseText]


class Special(Written):
    """A message that somebody has to look at: `source` is a stranger, `contact` somebody we know, `from_user` one of us."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    id: str
    age: str
    to: str
    subject: str
    body: str
    source: tuple[str, str] | None = Field(default=None, alias="from")
    from_user: str | None = None
    contact: tuple[str, str] | None = None
    channel: Literal["email", "sms"] = "email"
    match: Literal["none", "known"] = "none"
    hidden: str | None = None
    file: str | None = None


class MemoryEntry(Written):
    """What experience with an account has taught."""

    resonates: list[str]
    effective_angles: list[str]
    avoided: list[str]
    failed_approaches: list[str]
    key_concerns: list[str]
    rapport_builders: list[str]
    objections: list[tuple[str, str, bool]]
    personal: list[str]
    channel: str
    pattern: str
    formality: str
    best: str
    style: str
    timeline: str


class DuplicateCompany(Written):
    """The same firm a second time."""

    of: str
    name: str
    domain: str
    city: str
    state: str
    contact: tuple[str, str, str, str, str]


class DuplicateContact(Written):
    """The same person a second time."""

    of: tuple[str, str]
    name: str
    email: str
    title: str


class Script(Written):
    """What is said in a meeting, line by line, and who is there besides us."""

    attendees: list[str] = Field(alias="with")
    lines: str


class StageEntry(Written):
    """A stage of a process; `sla` and `watch` are days."""

    slug: str
    name: str
    goal: str
    sla: int | None = None
    watch: int | None = None
    ends: str | None = None
    points: list[str] = []
    answers: list[tuple[str, str]] = []


class ProcessEntry(Written):
    """A process as every product that offers it has it."""

    name: str
    stages: list[StageEntry]


class TierEntry(Written):
    """A price step of a product."""

    slug: str
    name: str
    monthly: float
    modules: list[str]


class CaseEntry(Written):
    """What a customer's thread is as a support case, and what helped."""

    severity: Severity
    category: str
    done: str


class Material(Written):
    """All of it."""

    house: House
    users: list[UserEntry]
    products: list[ProductEntry]
    companies: list[CompanyEntry]
    crew: list[str]
    duplicate_company: DuplicateCompany
    duplicate_contact: DuplicateContact
    stories: dict[str, Story]
    owners: dict[str, list[str]]
    deals: list[DealEntry]
    customers: dict[str, list[list[Any]]]
    noise: list[Noise]
    specials: list[Special]
    scripts: dict[str, Script]
    tasks: dict[str, list[tuple[str, str, str, str]]]
    notes: list[tuple[str, str]]
    memories: list[MemoryEntry]
    processes: dict[str, ProcessEntry]
    offered: dict[str, list[str]]
    tiers: dict[str, list[TierEntry]]
    stage_of: dict[str, str]
    next_steps: dict[Mood, list[tuple[str, int]]]
    cases: dict[str, CaseEntry]

    def owner_of(self, company: str) -> str:
        """Return the key of the rep who looks after the company."""
        return next(user for user, companies in self.owners.items() if company in companies)


def _load(name: str) -> Any:
    with (FOLDER / f"{name}.yaml").open(encoding="utf-8") as file:
        return yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - a safe loader either way


@cache
def read() -> Material:
    """
    Read the material once per process.

    Raises `pydantic.ValidationError` for a misspelt key or a missing value.
    """
    house, companies, deals, loose, desk = (_load(name) for name in ("house", "companies", "deals", "loose", "desk"))
    stories = [story for part in STORY_FILES for story in _load(f"stories_{part}")["stories"]]
    return Material.model_validate(
        {
            **house,
            "companies": companies["companies"],
            "crew": companies["crew"],
            "duplicate_company": companies["duplicates"]["company"],
            "duplicate_contact": companies["duplicates"]["contact"],
            "stories": {story["id"]: story for story in stories},
            **deals,
            **loose,
            **_load("transcripts"),
            **_load("processes"),
            **desk,
        }
    )


def minutes_of(span: str) -> int:
    """Return a span such as 40m, 5h or 12d in minutes."""
    found = re.fullmatch(r"\+?(\d+)([mhd])", span)
    if found is None:
        raise ValueError(span)
    return int(found[1]) * {"m": 1, "h": 60, "d": 1440}[found[2]]
