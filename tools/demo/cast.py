"""Who plays: people with addresses and handwriting, and what a deal's story may say about them."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime
from random import Random
from uuid import NAMESPACE_DNS, UUID, uuid5

from tools.demo.material import CompanyEntry, ContactEntry, DealEntry, Material, UserEntry

_HOUSE = uuid5(NAMESPACE_DNS, "stocklane.example")
_NOT_LETTER = re.compile(r"[^a-z]+")
FIRST_STEP, RENEWAL = 0.68, 0.82
PLAIN_OFFER = 0.92
"""What is left of the price after the usual discount."""


def id_of(kind: str, *names: object) -> UUID:
    """Return the id of a demo row: the same names give the same id in every installation."""
    return uuid5(_HOUSE, "\x1f".join([kind, *map(str, names)]))


@dataclass(frozen=True)
class Person:
    """Somebody who writes or is written to."""

    key: str
    name: str
    first: str
    email: str
    title: str
    phone: str
    company: str
    style: str
    user_id: UUID | None = None
    contact_id: UUID | None = None

    @property
    def is_ours(self) -> bool:
        """Whether the person works here."""
        return self.user_id is not None


def _plain(word: str) -> str:
    folded = unicodedata.normalize("NFKD", word.casefold())
    return _NOT_LETTER.sub("", folded)


def address_of(contact: ContactEntry, company: CompanyEntry) -> str:
    """Return the address that the company's naming scheme gives."""
    words = [_plain(word) for word in contact.name.split() if not word.endswith(".")]
    scheme = sum(map(ord, company.key)) % 3
    local = (f"{words[0]}.{words[-1]}", f"{words[0][0]}{words[-1]}", words[0])[scheme]
    return f"{local}@{company.domain}"


def phone_of(company: CompanyEntry, position: int) -> str:
    """Return somebody's direct number: the company's, some digits on (555-01xx is nobody's)."""
    stem, last = company.phone[:-2], int(company.phone[-2:])
    return f"{stem}{(last + position + 1) % 100:02d}"


class Cast:
    """Everybody, by key: `ava`, `harborpine/ops`."""

    def __init__(self, material: Material) -> None:
        self.material = material
        self.companies = {company.key: company for company in material.companies}
        self.people: dict[str, Person] = {user.key: self._user(user) for user in material.users}
        for company in material.companies:
            for position, contact in enumerate(company.contacts):
                person = self._contact(company, contact, position)
                self.people[person.key] = person
        self.crews = self._crews()

    def _user(self, user: UserEntry) -> Person:
        house = self.material.house
        email = f"{user.key}@{house.domain}"
        return Person(
            user.key,
            user.name,
            user.first,
            email,
            user.title,
            user.phone,
            house.name,
            user.key,
            user_id=id_of("user", user.key),
        )

    @staticmethod
    def _contact(company: CompanyEntry, contact: ContactEntry, position: int) -> Person:
        key = f"{company.key}/{contact.function}"
        email, phone = address_of(contact, company), phone_of(company, position)
        return Person(
            key,
            contact.name,
            contact.first,
            email,
            contact.title,
            phone,
            company.name,
            contact.style,
            contact_id=id_of("contact", key),
        )

    def _crews(self) -> dict[str, Person]:
        """Return somebody of the floor for each company that has nobody of it among its contacts."""
        without = [company for company in self.material.companies if f"{company.key}/floor" not in self.people]
        crews: dict[str, Person] = {}
        for company, name in zip(without, self.material.crew, strict=False):
            first, last = name.split()
            email = f"{_plain(first)}.{_plain(last)}@{company.domain}"
            crews[company.key] = Person(
                f"{company.key}/crew", name, first, email, "Shift Lead", "", company.name, "casual"
            )
        return crews

    def has(self, key: str) -> bool:
        """Whether there is such a person."""
        return key in self.people

    def at(self, company: str, function: str, lead: str = "ops") -> Person:
        """Return who does this at the company; the nearest who does when nobody has the function."""
        if function in ("floor_or_it", "floor_or_c") and company in self.crews:
            return self.crews[company]
        order = {"c": (lead,), "floor_or_it": ("floor",), "floor_or_c": ("floor",), "floor": ("floor", lead)}.get(
            function, (function,)
        )
        known = [name for name in (*order, "it", "fin", "exec") if self.has(f"{company}/{name}")]
        return self.people[f"{company}/{known[0]}"]


@dataclass(frozen=True)
class Deal:
    """A deal with what follows from its entry."""

    key: str
    entry: DealEntry
    owner: str
    value: int
    name: str

    @property
    def id(self) -> UUID:
        """Its id."""
        return id_of("deal", self.key)


def value_of(entry: DealEntry, material: Material) -> int:
    """Return what the deal is worth a year, in dollars, rounded to hundreds."""
    prices = {product.slug: product for product in material.products}
    monthly = sum(
        prices[slug].monthly * (entry.seats if prices[slug].pricing == "per_seat" else max(1, entry.seats // 25))
        for slug in entry.products
    )
    return round(monthly * 12, -2)


def deals_of(material: Material) -> list[Deal]:
    """Return all deals in the order of the material."""
    found: list[Deal] = []
    companies = {company.key: company for company in material.companies}
    products = {product.slug: product.name for product in material.products}
    for entry in material.deals:
        company = companies[entry.co]
        about = entry.name or products[entry.products[0]]
        key = f"{entry.co}/{entry.name or 'main'}"
        found.append(
            Deal(key, entry, material.owner_of(entry.co), value_of(entry, material), f"{company.short}: {about}")
        )
    return found


def dollars(amount: float) -> str:
    """Return an amount as people write it."""
    return f"${round(amount):,}"


def slots_for(
    cast: Cast, company: CompanyEntry, deal: Deal | None, me: Person, lead: str, rng: Random
) -> dict[str, str]:
    """Return what a story at this company may name."""
    owner = cast.people[cast.material.owner_of(company.key)]
    site = (deal.entry.site if deal else None) or company.sites[0]
    others = [other for other in company.sites if other != site]
    rivals = cast.material.house.competitors
    rival = (deal.entry.rival if deal else None) or rivals[sum(map(ord, company.key)) % len(rivals)]
    slots = {
        "company": company.short, "domain": company.domain, "city": company.city, "goods": company.goods, "devices": company.devices,
        "erp": company.erp_name or company.erp, "site": site, "site2": others[0] if others else "the overflow building",
        "pickers": str(company.pickers), "locations": f"{company.pickers * 90 // 100 * 100:,}", "orders": company.orders, "skus": company.skus, "rival": rival, "me": me.first, "me.full": me.name,
        "rep": owner.first, "mgr": cast.people["dana"].first, "cs": cast.people["carla"].first, "nth": "20th",
        "po": f"PO-{rng.randint(40000, 89999)}", "newphone": f"{company.phone[:-2]}{rng.randint(10, 99)}",
    }  # fmt: skip
    slots |= _money(cast.material, company, deal)
    for function in ("c", "exec", "it", "fin", "floor", "floor_or_it", "floor_or_c"):
        person = cast.at(company.key, function, lead)
        slots |= {function: person.first, f"{function}.full": person.name, f"{function}.title": person.title}
    return slots


def _money(material: Material, company: CompanyEntry, deal: Deal | None) -> dict[str, str]:
    names = {product.slug: product for product in material.products}
    slugs = deal.entry.products if deal else ["core"]
    main = names[slugs[-1]] if len(slugs) > 1 and slugs[0] == "core" else names[slugs[0]]
    extra = names["carrier-connect" if "carrier-connect" not in slugs else "cycle-count"]
    value = deal.value if deal else company.pickers * 49 * 12
    return {
        "product": main.name,
        "ache": main.ache,
        "renewprice": dollars(round(value * RENEWAL, -1)),
        "firstprice": dollars(round(value * FIRST_STEP, -1)), "extra": extra.name, "extra_price": f"{dollars(extra.monthly)} a month", "seats": str(deal.entry.seats if deal else company.pickers),
        "price": dollars(value), "monthly": dollars(value / 12), "discount": "8%", "discprice": dollars(round(value * PLAIN_OFFER, -1)),
        "plusprice": dollars(round(value * 1.14, -1)),
    }  # fmt: skip


def stamp(moment: datetime) -> str:
    """Return the moment in a form that names rows."""
    return moment.isoformat(timespec="seconds")
