"""
Conversions: a company exchanges one product for another, or finishes the migration to a product's successor.

What the company pays moves with it: the new product takes the monthly revenue, seats and owner over, the old one ends as
churned with none. All of it is one transaction over the histories of the products concerned.
"""

from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, Invalid, NotFound
from memory.rows import In, Money, Named, Row
from tools import company_products, lifecycle, users
from tools.companies import CompanyNotFound
from tools.lifecycle import Ask, State
from tools.lifecycle.state import derive_status
from tools.products.rows import HeldStatus

CONVERTED = "converted"
TAKEN_OVER = ("onboarding", "active")
NewStatus = Literal["active", "in_onboarding"]
PHASES: dict[NewStatus, Literal["active", "onboarding"]] = {"active": "active", "in_onboarding": "onboarding"}


class SameProduct(Invalid):
    """A product cannot be converted into itself."""


class ProductUnknown(Invalid):
    """Product {product_id} does not exist."""


class ProductInactive(Invalid):
    """Product {name} is not active."""


class NothingToConvert(NotFound):
    """The company does not have product {name}."""


class SourceOver(Conflict):
    """The company does not use {name} any more, or not yet: it is {status}."""


class TargetInUse(Conflict):
    """The company has {name} already: it is {status}."""


class NotAMigration(Invalid):
    """Product {name} does not migrate one product to another."""


class ConvertProductIn(In):
    """From which product to which; monthly revenue moves unless `transfer_mrr` is false, the priority tier if asked."""

    from_product_id: UUID
    to_product_id: UUID = Field(examples=["0d9c9d5e-5f0a-4a6f-9a56-0c5f1c7a3f10"])
    transfer_mrr: bool = True
    transfer_tier: bool = False
    new_status: NewStatus = "active"


class CompleteMigrationIn(In):
    """The company's row of the migration product."""

    companyProductId: UUID


class ConvertedFrom(Row):
    """The product that was given up."""

    product_id: UUID
    product_name: str
    previous_status: HeldStatus
    new_status: HeldStatus


class ConvertedTo(Row):
    """The product that takes its place; monthly revenue in its currency."""

    product_id: UUID
    product_name: str
    company_product_id: UUID
    status: HeldStatus
    mrr: Money


class Converted(Row):
    """Both sides of a conversion."""

    from_: ConvertedFrom = Field(serialization_alias="from")
    to: ConvertedTo


class ConvertedOut(Row):
    """The product was converted."""

    success: Literal[True] = True
    converted: Converted


class MigratedOut(Row):
    """The migration is complete; `successorCompanyProductId` is what the company has of the new product."""

    success: Literal[True] = True
    message: str
    successorCompanyProductId: UUID
    company: Named


class _Product(Row):
    id: UUID
    name: str
    is_active: bool
    migrates_product_id: UUID | None
    successor_product_id: UUID | None


class _Migration(Row):
    """A row of a migration product with what it leads to, and what the company has of either side."""

    product: str
    company: Named
    successor_product_id: UUID | None
    successor: str | None
    predecessor_id: UUID | None
    migrates_product_id: UUID | None


# Converting -------------------------------------------------------------------------------------------------------


async def convert_product(tx: Tx, caller: Caller, company_id: UUID, body: ConvertProductIn) -> ConvertedOut:
    """
    Let the company use one product instead of another.

    Raises `SameProduct`, `CompanyNotFound`, `ProductUnknown`, `ProductInactive`, `NothingToConvert`, `SourceOver`,
    `TargetInUse`, `lifecycle.NotYours`.
    """
    if body.from_product_id == body.to_product_id:
        raise SameProduct
    await _get_company(tx, company_id)
    old, new = await _get_product(tx, body.from_product_id), await _get_product(tx, body.to_product_id)
    if not new.is_active:
        raise ProductInactive(name=new.name)
    source_id = await _find_held(tx, company_id, old.id)
    if source_id is None:
        raise NothingToConvert(name=old.name)
    target_id = (await company_products.get_or_create(tx, caller, company_id, new.id)).id
    await lifecycle.hold(tx, (source_id, target_id))
    source, target = await lifecycle.load_state(tx, source_id), await lifecycle.load_state(tx, target_id)
    if source.phase in (None, "churned"):
        raise SourceOver(name=old.name, status=_status(source))
    phase = PHASES[body.new_status]
    enter = _entry(target, phase, f"Converted from {old.name}")
    if enter is None:
        raise TargetInUse(name=new.name, status=_status(target))
    taken = await _taken_over(tx, source, mrr=body.transfer_mrr, tier=body.transfer_tier)
    await lifecycle.execute(tx, caller, target_id, enter, *taken)
    await lifecycle.execute(tx, caller, source_id, *_given_up(source))
    return await _tell(tx, old, new, source, source_id, target_id)


def _entry(target: State, phase: Literal["active", "onboarding"], reason: str) -> Ask | None:
    """Return how the target gets into the phase; None when it is there already, or beyond."""
    if target.phase not in TAKEN_OVER:
        return lifecycle.AdoptIn(toPhase=phase, reason=reason)
    if target.phase == "onboarding" and phase == "active":
        return lifecycle.SetPhaseIn(toPhase="active", reason=reason)
    return None


async def _taken_over(tx: Tx, source: State, *, mrr: bool, tier: bool = False) -> list[Ask]:
    """Return what the new product takes from the old one; an owner who has left is not passed on."""
    asks: list[Ask] = []
    if mrr and source.mrr is not None and Decimal(source.mrr) > 0:
        asks.append(lifecycle.SetMrrIn(mrr=Decimal(source.mrr), currency=source.currency))
    if source.seats is not None:
        asks.append(lifecycle.SetSeatsIn(seats=source.seats))
    if tier and source.tier is not None:
        asks.append(lifecycle.SetTierIn(tier=source.tier))
    if source.owner_id and await users.find_caller_by_id(tx, UUID(source.owner_id)):
        asks.append(lifecycle.SetOwnerIn(ownerId=UUID(source.owner_id)))
    return asks


def _given_up(source: State) -> list[Ask]:
    over = lifecycle.SetPhaseIn(toPhase="churned", reason=CONVERTED, churnReason=CONVERTED)
    return [*_unpaid(source), over]


def _unpaid(state: State) -> list[Ask]:
    """Revenue that has moved is not counted where it came from."""
    if state.mrr is None or Decimal(state.mrr) == 0:
        return []
    return [lifecycle.SetMrrIn(mrr=Decimal(0), currency=state.currency)]


async def _tell(tx: Tx, old: _Product, new: _Product, before: State, source_id: UUID, target_id: UUID) -> ConvertedOut:
    source, target = await lifecycle.load_state(tx, source_id), await lifecycle.load_state(tx, target_id)
    given_up = ConvertedFrom(
        product_id=old.id, product_name=old.name, previous_status=_status(before), new_status=_status(source)
    )
    taken = ConvertedTo(
        product_id=new.id,
        product_name=new.name,
        company_product_id=target_id,
        status=_status(target),
        mrr=Decimal(target.mrr or 0),
    )
    return ConvertedOut(converted=Converted(from_=given_up, to=taken))


# Migrating --------------------------------------------------------------------------------------------------------


async def complete_migration(tx: Tx, caller: Caller, body: CompleteMigrationIn) -> MigratedOut:
    """
    Finish a migration: its own row becomes active, the successor is onboarded with the revenue, the predecessor ends.

    A migration that was completed before answers as it did then. Raises `company_products.CompanyProductNotFound`,
    `NotAMigration`, `SourceOver`, `TargetInUse`, `lifecycle.NotYours`.
    """
    row = await company_products.get_company_product(tx, caller, body.companyProductId)
    found = await _get_migration(tx, row.id)
    if found.successor_product_id is None or found.migrates_product_id is None:
        raise NotAMigration(name=found.product)
    successor_id = (await company_products.get_or_create(tx, caller, row.company_id, found.successor_product_id)).id
    held = [row.id, successor_id, *([found.predecessor_id] if found.predecessor_id else [])]
    await lifecycle.hold(tx, held)
    if not await _is_migrated(tx, successor_id, row.id):
        await _migrate(tx, caller, found, row.id, successor_id)
    return MigratedOut(
        message=f"{found.company.name} is on {found.successor} now.",
        successorCompanyProductId=successor_id,
        company=found.company,
    )


async def _migrate(tx: Tx, caller: Caller, found: _Migration, migration_id: UUID, successor_id: UUID) -> None:
    migration, successor = await lifecycle.load_state(tx, migration_id), await lifecycle.load_state(tx, successor_id)
    before = await lifecycle.load_state(tx, found.predecessor_id) if found.predecessor_id else State()
    if migration.phase == "churned":
        raise SourceOver(name=found.product, status=_status(migration))
    if successor.phase in TAKEN_OVER:
        raise TargetInUse(name=found.successor, status=_status(successor))
    await tx.run(
        "UPDATE company_products SET metadata = metadata || %(made)s WHERE id = %(successor_id)s",
        made=Json({"migrated_from": str(migration_id)}),
        successor_id=successor_id,
    )
    # The migration carries the price that was agreed on; where it has none, the price so far stays.
    agreed = migration if Decimal(migration.mrr or 0) > 0 else before
    taken = await _taken_over(tx, _merged(migration, before, agreed), mrr=True)
    enter = lifecycle.AdoptIn(toPhase="onboarding", reason=f"Migrated by {found.product}")
    await lifecycle.execute(tx, caller, successor_id, enter, *taken)
    done = _entry(migration, "active", "Migration completed")
    last = [*([done] if done else []), *_unpaid(migration)]
    if last:
        await lifecycle.execute(tx, caller, migration_id, *last)
    if found.predecessor_id and before.phase == "active":
        await lifecycle.execute(tx, caller, found.predecessor_id, *_given_up(before))


def _merged(migration: State, before: State, agreed: State) -> State:
    """Return what the successor takes over: the migration's own facts, and the predecessor's where it has none."""
    return State(
        mrr=agreed.mrr,
        currency=agreed.currency,
        seats=migration.seats if migration.seats is not None else before.seats,
        owner_id=migration.owner_id or before.owner_id,
    )


async def _is_migrated(tx: Tx, successor_id: UUID, migration_id: UUID) -> bool:
    return await tx.one(
        bool,
        "SELECT metadata @> %(made)s FROM company_products WHERE id = %(successor_id)s",
        made=Json({"migrated_from": str(migration_id)}),
        successor_id=successor_id,
    )


# Looking up -------------------------------------------------------------------------------------------------------


async def _get_company(tx: Tx, company_id: UUID) -> None:
    await tx.one(
        UUID,
        "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL",
        missing=CompanyNotFound(company_id=company_id),
        company_id=company_id,
    )


async def _get_product(tx: Tx, product_id: UUID) -> _Product:
    return await tx.one(
        _Product,
        """
        SELECT id, name, is_active, migrates_product_id, successor_product_id FROM products WHERE id = %(product_id)s
        """,
        missing=ProductUnknown(product_id=product_id),
        product_id=product_id,
    )


async def _find_held(tx: Tx, company_id: UUID, product_id: UUID) -> UUID | None:
    return await tx.maybe(
        UUID,
        """
        SELECT id FROM company_products
         WHERE company_id = %(company_id)s AND product_id = %(product_id)s AND merged_into_id IS NULL
        """,
        company_id=company_id,
        product_id=product_id,
    )


async def _get_migration(tx: Tx, company_product_id: UUID) -> _Migration:
    return await tx.one(
        _Migration,
        """
        SELECT p.name AS product, json_build_object('id', c.id, 'name', c.name) AS company, p.successor_product_id,
               s.name AS successor, p.migrates_product_id, b.id AS predecessor_id
          FROM company_products h
          JOIN companies c ON c.id = h.company_id
          JOIN products p ON p.id = h.product_id
          LEFT JOIN products s ON s.id = p.successor_product_id
          LEFT JOIN company_products b ON b.company_id = h.company_id AND b.product_id = p.migrates_product_id
                                      AND b.merged_into_id IS NULL
         WHERE h.id = %(company_product_id)s
        """,
        company_product_id=company_product_id,
    )


def _status(state: State) -> HeldStatus:
    return derive_status(state.phase, state.ended_type, state.ended_outcome)
