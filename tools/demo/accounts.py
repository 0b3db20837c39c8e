"""Rows of the workspace itself: people, companies, products, deals and their way through the stages."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

from memory.db import Json
from tools.demo import clockwork
from tools.demo.cast import Cast, Person, id_of, phone_of
from tools.demo.lives import Life
from tools.demo.mailroom import FREE_DOMAINS, NOTETAKERS
from tools.demo.material import CompanyEntry, Material, UserEntry
from tools.demo.shelves import Columns, Table
from tools.names import normalize_company
from tools.workspace import Workspace

USER: Columns = (
    "id", "auth_id", "email", "name", "role", "job_function", "level", "team", "territory", "title", "phone", "timezone", "hire_date", "created_at",
)  # fmt: skip
COMPANY: Columns = (
    "id", "name", "normalized_name", "domain", "website", "phone", "status", "segment", "industry", "employee_count", "employee_range", "founded_year",
    "crm_platform", "address", "attributes", "technologies", "owner_id", "became_customer_at", "created_at", "updated_at",
)  # fmt: skip
CONTACT: Columns = (
    "id", "company_id", "name", "first_name", "last_name", "email", "phone", "title", "role", "is_primary", "department", "communication_style",
    "last_contacted_at", "created_at", "updated_at",
)  # fmt: skip
PRODUCT: Columns = (
    "id", "name", "slug", "description", "parent_product_id", "product_type", "display_order", "icon", "color", "base_price_monthly", "pricing_model",
    "fit_rules", "created_at", "updated_at",
)  # fmt: skip
COMPANY_PRODUCT: Columns = (
    "id",
    "company_id",
    "product_id",
    "converted_from_deal_id",
    "last_human_touch_at",
    "last_activity_at",
    "created_at",
    "updated_at",
)
DEAL: Columns = (
    "id", "company_id", "owner_id", "name", "stage", "deal_type", "sales_team", "estimated_value", "quoted_products", "competitors", "trial_start_date",
    "trial_end_date", "expected_close_date", "closed_at", "lost_reason", "stage_entered_at", "last_activity_at", "conversion_status", "converted_at",
    "converted_by", "created_at", "updated_at",
)  # fmt: skip
HISTORY: Columns = ("id", "deal_id", "from_stage", "to_stage", "changed_by", "changed_at")
COLLABORATOR: Columns = ("id", "deal_id", "user_id", "role")

DEPARTMENTS = {
    "ops": "Operations",
    "ops2": "Operations",
    "ops3": "Operations",
    "exec": "Management",
    "it": "IT",
    "fin": "Finance",
    "floor": "Warehouse",
    "former": "Operations",
}
TONES = {
    "formal": "formal",
    "warm": "casual",
    "casual": "casual",
    "terse": "casual",
    "phone": "casual",
    "lower": "casual",
}
RANGES = ((10, "1-10"), (50, "11-50"), (200, "51-200"), (500, "201-500"), (1000, "501-1000"))
DAYS_TO_CLOSE = {
    "new_lead": 95,
    "qualifying": 75,
    "discovery": 60,
    "demo": 48,
    "data_review": 35,
    "trial": 24,
    "negotiation": 9,
}
TEAM_OF = {"ava": "inside", "ben": "field"}


def workspace_of(material: Material, now: datetime) -> Workspace:
    """Return what the demo workspace says of itself."""
    house = material.house
    return Workspace(
        name=house.name,
        timezone=house.timezone,
        own_domains=tuple(house.domains),
        generic_mail_domains=FREE_DOMAINS,
        notetaker_domains=(*Workspace().notetaker_domains, *NOTETAKERS),
        industries=tuple(house.industries),
        segments=tuple(house.segments),
        sales_teams=tuple(house.sales_teams),
        crm_platforms=tuple(house.platforms),
        company_attributes={"warehouses": "number", "handhelds": "text", "orders_per_day": "text", "goods": "text"},
        competitors=tuple(house.competitors),
        default_segment="smb",
        default_industry=house.industries[0],
        default_sales_team=house.sales_teams[0],
        demo_loaded_at=now.isoformat(),
    )


def tables_of(
    cast: Cast, lives: Sequence[Life], last_touch: dict[UUID, datetime], now: datetime, rng: Random
) -> list[Table]:
    """Return the tables of people, products and deals; `last_touch` is when each contact was last heard or written to."""
    began = now - timedelta(days=420)
    return [
        ("users", USER, _users(cast, began)),
        ("companies", COMPANY, [*_companies(cast, lives, began, now), _second_company(cast, now)]),
        ("contacts", CONTACT, [*_contacts(cast, last_touch, began, now), *_second_contacts(cast, now)]),
        ("products", PRODUCT, _products(cast.material, began)),
        ("deals", DEAL, [_deal(life, cast, now, rng) for life in lives]),
        ("company_products", COMPANY_PRODUCT, _company_products(cast, lives, now)),
        ("deal_stage_history", HISTORY, [row for life in lives for row in _history(life)]),
        ("deal_collaborators", COLLABORATOR, _collaborators(cast, lives)),
    ]


def _users(cast: Cast, began: datetime) -> list[tuple[Any, ...]]:
    """The order of the material is the order in which they came: the first of a role is who it is shown with."""
    material = cast.material
    return [
        _user(cast.people[user.key], user, began + timedelta(minutes=at), material.house.timezone)
        for at, user in enumerate(material.users)
    ]


def _companies(cast: Cast, lives: Sequence[Life], began: datetime, now: datetime) -> list[tuple[Any, ...]]:
    return [_company(company, cast, _signed(company.key, lives), began, now) for company in cast.material.companies]


def _user(person: Person, user: UserEntry, created_at: datetime, timezone: str) -> tuple[Any, ...]:
    return (
        person.user_id, f"demo|{user.key}", person.email, person.name, user.role, user.job, user.level, user.team, user.territory, user.title, user.phone,
        timezone, user.hired, created_at,
    )  # fmt: skip


def _signed(company: str, lives: Sequence[Life]) -> datetime | None:
    """When the company became a customer: with its first deal that was won."""
    won = [
        at
        for life in lives
        if life.deal.entry.co == company
        for stage, at in life.entered
        if stage in ("closed_won", "closed_converted")
    ]
    return min(won) if won else None


def _company(
    company: CompanyEntry, cast: Cast, signed: datetime | None, began: datetime, now: datetime
) -> tuple[Any, ...]:
    owner = cast.people[cast.material.owner_of(company.key)]
    size = next((name for limit, name in RANGES if company.employees <= limit), "1001+")
    address = {"city": company.city, "state": company.state, "zip": company.zip, "country": "US"}
    attributes = {
        "warehouses": len(company.sites),
        "handhelds": company.devices,
        "orders_per_day": company.orders,
        "goods": company.goods,
    }
    return (
        id_of("company", company.key), company.name, normalize_company(company.name, Workspace().name_stop_words), company.domain,
        f"https://www.{company.domain}", company.phone, company.status, company.segment, company.industry, company.employees, size, company.founded,
        company.erp, Json(address), Json(attributes), Json([company.erp_name or company.erp]), owner.user_id, signed, began, now,
    )  # fmt: skip


def _second_company(cast: Cast, now: datetime) -> tuple[Any, ...]:
    again = cast.material.duplicate_company
    first = cast.companies[again.of]
    created = now - timedelta(days=46)
    return (
        id_of("company", again.of, "again"), again.name, normalize_company(again.name, Workspace().name_stop_words), again.domain, None, first.phone,
        "prospect", first.segment, first.industry, None, None, None, None, Json({"city": again.city, "state": again.state}), Json({}), Json([]),
        cast.people[cast.material.owner_of(again.of)].user_id, None, created, created,
    )  # fmt: skip


def _contacts(cast: Cast, last_touch: dict[UUID, datetime], began: datetime, now: datetime) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for company in cast.material.companies:
        for contact in company.contacts:
            person = cast.people[f"{company.key}/{contact.function}"]
            words = contact.name.removeprefix("Dr. ").split()
            style = {
                "communication_tone": TONES[contact.style],
                "preferred_channel": "phone" if contact.style == "phone" else "email",
            }
            rows.append((
                person.contact_id, id_of("company", company.key), contact.name, words[0], " ".join(words[1:]), person.email, person.phone, contact.title,
                contact.role, contact.function == "ops", DEPARTMENTS[contact.function], Json(style), last_touch.get(person.contact_id or UUID(int=0)),
                began, now,
            ))  # fmt: skip
    return rows


def _second_contacts(cast: Cast, now: datetime) -> list[tuple[Any, ...]]:
    company, contact = cast.material.duplicate_company, cast.material.duplicate_contact
    key, name = contact.of
    entry = cast.companies[key]
    position = next(at for at, person in enumerate(entry.contacts) if person.name == name)
    _, who, title, role, _ = company.contact
    created = now - timedelta(days=30)
    first, last = who.split()
    again, twin = contact.name.split()
    return [
        (id_of("contact", company.of, "again"), id_of("company", company.of, "again"), who, first, last, f"{first[0]}{last}@{company.domain}".lower(), None, title,
         role, True, "Finance", Json({}), None, created, created),
        (id_of("contact", key, "again"), id_of("company", key), contact.name, again, twin, contact.email, phone_of(entry, position), contact.title, None, False,
         "IT", Json({}), None, created, created),
    ]  # fmt: skip


def _products(material: Material, began: datetime) -> list[tuple[Any, ...]]:
    rows = [
        (id_of("product", item.slug), item.name, item.slug, item.about, id_of("product", item.parent) if item.parent else None, item.type, at, item.icon,
         item.color, item.monthly, item.pricing, Json(item.fit), began, began)
        for at, item in enumerate(material.products)
    ]  # fmt: skip
    return sorted(rows, key=lambda row: (row[4] is not None, row[6]))


def _company_products(cast: Cast, lives: Sequence[Life], now: datetime) -> list[tuple[Any, ...]]:
    """What companies have, are being sold or have turned down: who they are, and what they came from."""
    rows: dict[tuple[str, str], tuple[Any, ...]] = {}
    for life in sorted(lives, key=lambda life: life.deal.entry.stage not in ("closed_won", "closed_converted")):
        entry = life.deal.entry
        converted = life.deal.id if entry.stage == "closed_converted" else None
        for slug in entry.products:
            rows.setdefault((entry.co, slug), (
                company_product_id(entry.co, slug), id_of("company", entry.co), id_of("product", slug), converted, life.last_at, life.last_at,
                life.created_at, now,
            ))  # fmt: skip
    return list(rows.values())


def company_product_id(company: str, slug: str) -> UUID:
    """Return the id of the row that says what the company has of the product."""
    return id_of("company_product", company, slug)


def main_products(cast: Cast) -> dict[str, UUID]:
    """Return the product row of each customer that its threads with the success desk are about."""
    found: dict[str, UUID] = {}
    for entry in cast.material.deals:
        if entry.stage in ("closed_won", "closed_converted"):
            found.setdefault(entry.co, company_product_id(entry.co, entry.products[0]))
    return found


def _deal(life: Life, cast: Cast, now: datetime, rng: Random) -> tuple[Any, ...]:
    entry, deal = life.deal.entry, life.deal
    owner = cast.people[deal.owner].user_id
    stage, entered = life.entered[-1]
    closed = stage.startswith("closed")
    trial = next((at.date() for name, at in life.entered if name == "trial"), None)
    reason = (
        next((thread.story.reason for thread in life.threads if thread.story.reason), None)
        if stage == "closed_lost"
        else None
    )
    rivals = [entry.rival] if entry.rival else _rivals(life, cast)
    converted = entered if stage == "closed_converted" else None
    return (
        deal.id, id_of("company", entry.co), owner, deal.name, stage, entry.type, TEAM_OF[deal.owner], deal.value, [id_of("product", slug) for slug in entry.products],
        rivals, trial, trial + timedelta(days=14) if trial else None, _expected(life, now, rng), entered if closed else None, reason, entered, life.last_at,
        "converted" if converted else None, converted, owner if converted else None, life.created_at, life.last_at,
    )  # fmt: skip


def _rivals(life: Life, cast: Cast) -> list[str]:
    words = " ".join(message.letter.text for thread in life.threads for message in thread.messages)
    return [rival for rival in cast.material.house.competitors if rival in words]


def _expected(life: Life, now: datetime, rng: Random) -> date:
    stage, entered = life.entered[-1]
    if stage.startswith("closed"):
        return entered.date()
    if life.deal.entry.mood == "bad":
        return (now - timedelta(days=rng.randint(3, 12))).date()
    return clockwork.working_days((now + timedelta(days=DAYS_TO_CLOSE[stage])).date(), rng.randint(0, 5))


def _history(life: Life) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    before: str | None = None
    for stage, at in life.entered:
        rows.append(
            (id_of("history", life.deal.key, stage), life.deal.id, before, stage, id_of("user", life.deal.owner), at)
        )
        before = stage
    return rows


def _collaborators(cast: Cast, lives: Sequence[Life]) -> list[tuple[Any, ...]]:
    """The success lead helps in trials, and keeps an eye on what her customers buy."""
    desk = cast.people["carla"].user_id
    return [
        (
            id_of("collaborator", life.deal.key),
            life.deal.id,
            desk,
            "collaborator" if life.deal.entry.stage == "trial" else "informed",
        )
        for life in lives
        if life.deal.entry.stage in ("trial", "closed_won", "closed_converted") or life.deal.entry.type == "renewal"
    ]
