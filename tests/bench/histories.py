"""Histories for the bench of events: a hundred lives that real decisions made, lived by as many products as wanted."""

import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from memory.db import Database, Json
from memory.errors import Refusal
from memory.events import Event
from memory.rows import Named
from tools import processes
from tools.lifecycle import asks, decisions, health, state
from tools.lifecycle.course import Facts
from tools.processes import Process

LIVES = 100
COMMANDS = 24
BEGAN = datetime(2025, 1, 6, 9, tzinfo=UTC)
STAGES = ("Qualified", "Discovery", "Demo", "Proposal", "Negotiation")
ENDS = {"sales": ("won", "lost"), "onboarding": ("completed", "cancelled")}


@dataclass(frozen=True)
class Shop:
    """A product with its published processes."""

    product_id: UUID
    sales: Process
    onboarding: Process


async def open_shop(db: Database) -> Shop:
    """Make a product with a published sales and onboarding process."""
    async with db.transaction() as tx:
        product_id = await tx.one(UUID, "INSERT INTO products (name, slug) VALUES ('Ledger', 'ledger') RETURNING id")
        for kind, ends in ENDS.items():
            await tx.run(
                """
                WITH process AS (
                    INSERT INTO product_processes (product_id, process_type, status, name, published_at)
                    VALUES (%(product_id)s, %(kind)s, 'published', 'Process', %(now)s) RETURNING id
                )
                INSERT INTO product_process_stages (process_id, name, slug, stage_order, sla_days, sla_warning_days,
                                                    is_terminal, terminal_type)
                SELECT process.id, s.name, lower(s.name), s.nth, 7, 5, s.nth > %(open)s,
                       CASE WHEN s.nth > %(open)s THEN s.name END
                  FROM process, unnest(%(names)s::text[]) WITH ORDINALITY AS s (name, nth)
                """,
                product_id=product_id,
                kind=kind,
                names=[*STAGES, *ends],
                open=len(STAGES),
            )
        sales = await processes.find_published(tx, product_id, "sales")
        onboarding = await processes.find_published(tx, product_id, "onboarding")
    assert sales is not None
    assert onboarding is not None
    return Shop(product_id, sales, onboarding)


def live(shop: Shop, seed: int) -> Iterator[tuple[Event, datetime]]:
    """Yield what one company's product lives through, as decisions have it, over about a year."""
    chance = random.Random(seed)
    now, at = state.State(), BEGAN + timedelta(minutes=seed)
    for ask in _plan(chance, shop):
        at += timedelta(hours=chance.randint(5, 400))
        current = next(
            (each for each in (shop.sales, shop.onboarding) if now.process_open and str(each.id) == now.process_id),
            None,
        )
        target = shop.sales if isinstance(ask, asks.StartSaleIn) else shop.onboarding
        facts = Facts(shop.product_id, current=current, target=target, owner=Named(id=uuid4(), name="Ann Bell"))
        with suppress(Refusal):
            for event in decisions.decide(now, ask, facts, at):
                state.apply(now, event.type, event.data, at)
                yield event, at


def _plan(chance: random.Random, shop: Shop) -> Iterator[asks.Ask]:
    open_stages = [each for each in shop.sales.stages if not each.is_terminal]
    yield asks.StartSaleIn(processId=shop.sales.id)
    yield asks.SetOwnerIn(ownerId=uuid4())
    for _ in range(COMMANDS):
        match chance.randint(0, 8):
            case 0 | 1 | 2:
                yield asks.AdvanceStageIn(toStageId=chance.choice(open_stages).id)
            case 3:
                yield asks.SetMrrIn(mrr=Decimal(chance.randint(10, 9999)))
            case 4:
                yield asks.SetSeatsIn(seats=chance.randint(1, 500))
            case 5 | 6:
                due = BEGAN + timedelta(days=chance.randint(1, 300))
                yield asks.SetNextStepDueIn(nextStep=f"Call number {chance.randint(1, 99)}", dueDate=due)
            case 7:
                yield asks.AddNoteIn(content="They compare us with another vendor. " * 3)
            case _:
                found = health.judge(health.HealthInputs(total=chance.randint(0, 6)), str(chance.random()))
                yield asks.RecordHealthIn(health=found)
    if chance.random() < 0.4:
        yield asks.CompleteSaleStartOnboardingIn()


async def populate(db: Database, shop: Shop, events: int) -> int:
    """
    Have so many companies live the lives that there are about this many events more; return how many there are then.

    Their events come in the order of what happened, so that neighbours in the store belong to different streams.
    """
    lives = [list(live(shop, seed)) for seed in range(LIVES)]
    average = sum(map(len, lives)) / LIVES
    async with db.transaction() as tx:
        await tx.run(
            "CREATE TEMP TABLE lived (life int, nth int, kind text, said jsonb, at timestamptz) ON COMMIT DROP"
        )
        await tx.copy("lived", ("life", "nth", "kind", "said", "at"), _rows(lives))
        await tx.run(
            """
            WITH born AS (
                INSERT INTO companies (name, normalized_name, segment, industry)
                SELECT 'Company ' || n, 'company ' || n, 'smb', 'trade' FROM generate_series(1, %(companies)s::int) n RETURNING id
            )
            INSERT INTO company_products (company_id, product_id) SELECT id, %(product_id)s FROM born
            """,
            companies=round(events / average),
            product_id=shop.product_id,
        )
        return await tx.one(int, _LIVE, lives=LIVES)


def _rows(lives: list[list[tuple[Event, datetime]]]) -> Iterator[tuple[Any, ...]]:
    for life, happened in enumerate(lives):
        for nth, (event, at) in enumerate(happened, 1):
            yield life, nth, event.type, Json(event.data), at


_LIVE = """
    WITH fresh AS (
        SELECT p.id, row_number() OVER (ORDER BY p.id) %% %(lives)s AS life
          FROM company_products p
         WHERE NOT EXISTS (SELECT FROM event_streams s WHERE s.aggregate_id = p.id)
    ), streams AS (
        INSERT INTO event_streams (aggregate_type, aggregate_id, version)
        SELECT 'company_product', f.id, (SELECT max(l.nth) FROM lived l WHERE l.life = f.life) FROM fresh f
        RETURNING 1
    ), happened AS (
        INSERT INTO event_store (id, aggregate_type, aggregate_id, sequence_number, event_type, event_data, metadata,
                                 actor_type, occurred_at, recorded_at)
        SELECT gen_random_uuid(), 'company_product', f.id, l.nth, l.kind, l.said, '{}', 'system', l.at, l.at
          FROM fresh f JOIN lived l ON l.life = f.life
         ORDER BY l.nth, f.id
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM happened) + 0 * (SELECT count(*) FROM streams)
"""
