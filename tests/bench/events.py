"""
What event sourcing costs: commands beside the same statements without us, catching up, rebuilding, and reading.

Everything is on one private Postgres with the settings it is shipped with, every commit on disk. Commands are sent by two
processes with four writers each, ours and bare in turn: ours as routes do, which remember the aggregates they have written
to and send together what waits; bare each on a connection of its own. The first command of a process on a history has to
read it, and is measured by itself. The histories are what real decisions made (histories.py).

For scale: the `eventsourcing` library on the same kind of machine appends 264-290 events/s and projects 377/s.
"""

import asyncio
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID, uuid4

import orjson
import psycopg
import uvloop
from psycopg import sql
from psycopg.types.json import Jsonb

from memory import embedded, migrate, projections
from memory.callers import SYSTEM, Caller
from memory.db import Database, Tx
from memory.ids import uuid7
from memory.projections import Projector
from tests.bench import histories, set_based
from tools import lifecycle
from tools.products import listing

PROCESSES, WRITERS = 2, 8
COMMANDS = 3_000
ROUNDS = 4
CATCH_UP = 150_000
SMALL, LARGE = 250_000, 1_000_000
FEW, MANY, READS, FLAT = 1_000, 100_000, 60, 1.5
APPENDS_ELSEWHERE, PROJECTS_ELSEWHERE = 290, 377


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: ours, the bare limit beside it, and what it has to be."""

    name: str
    ours: float
    unit: str
    bare: float | None = None
    goal: str = ""
    met: bool | None = None


def measure() -> list[Figure]:
    """Measure everything; takes about four minutes on two cores."""
    with serve_postgres() as url:
        return [
            *measure_appends(url),
            *asyncio.run(measure_behind(url)),
            *asyncio.run(measure_rebuilds(url)),
            *asyncio.run(measure_reads(url)),
        ]


@contextmanager
def serve_postgres() -> Iterator[str]:
    """Serve a private Postgres with the settings it is shipped with."""
    with tempfile.TemporaryDirectory(prefix="rainmaker-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        with embedded.serving(Path(folder)) as url:
            yield url


async def make_database(url: str, name: str) -> str:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = f"{url.rpartition('/')[0]}/{name}"
    await migrate.migrate(own)
    return own


# Commands -----------------------------------------------------------------------------------------------------------

Span = tuple[float, float, float]
"""When a process began and ended (monotonic seconds, the same clock for all), and the processor seconds it used."""


def measure_appends(url: str) -> list[Figure]:
    """Send single-event commands from eight writers, ours and the same statements in turn."""
    own, streams = asyncio.run(_prepare_appends(url))
    share = len(streams) // PROCESSES
    shares = [streams[nth * share : (nth + 1) * share] for nth in range(PROCESSES)]
    spent: dict[Callable[..., Span], list[float]] = {send_first: [], send_ours: [], send_bare: []}
    rates: dict[Callable[..., Span], list[float]] = {send: [] for send in spent}
    with ProcessPoolExecutor(PROCESSES, multiprocessing.get_context("spawn")) as pool:

        def measure(send: Callable[..., Span], sent: int) -> None:
            spans = list(pool.map(send, [own] * PROCESSES, shares))
            rates[send].append(sent / (max(end for _, end, _ in spans) - min(begin for begin, _, _ in spans)))
            spent[send].append(sum(cpu for *_, cpu in spans) / sent * 1e6)

        for _ in range(ROUNDS):
            measure(send_first, share * PROCESSES)
        for _ in range(ROUNDS):
            measure(send_ours, COMMANDS * WRITERS)
            measure(send_bare, COMMANDS * WRITERS)
    ours, bare = max(rates[send_ours]), max(rates[send_bare])
    return [
        Figure("commands of one event, 8 writers", ours, "/s", bare, "half of bare", ours >= bare / 2),
        Figure("... times the library", ours / APPENDS_ELSEWHERE, "x", None, "15 x", ours >= 15 * APPENDS_ELSEWHERE),
        Figure("... processor of the writers", min(spent[send_ours]), "us", min(spent[send_bare])),
        Figure("... the first of a process on each history", max(rates[send_first]), "/s"),
    ]


async def _prepare_appends(url: str) -> tuple[str, list[UUID]]:
    own = await make_database(url, "appends")
    db = await Database.open(own)
    shop = await histories.open_shop(db)
    await histories.populate(db, shop, WRITERS * 50 * 26)
    async with db.transaction() as tx:
        await projections.rebuild(tx, lifecycle_projectors())
    await _settle_disk(db)
    async with db.reading() as tx:
        streams = await tx.many(UUID, "SELECT company_product_id FROM company_product_read_model ORDER BY 1 LIMIT 400")
    await db.close()
    return own, streams


def send_ours(url: str, streams: Sequence[UUID]) -> Span:
    """Send commands as a route does, on histories that this process has written to before."""
    return _run(_send(url, streams, COMMANDS))


def send_first(url: str, streams: Sequence[UUID]) -> Span:
    """Send one command to each history, as a process does that has just been started."""
    return _run(_send(url, streams, 0))


async def _send(url: str, streams: Sequence[UUID], commands: int) -> Span:
    db = await Database.open(url, size=WRITERS // PROCESSES)

    async def command(stream: UUID) -> None:
        ask = lifecycle.SetMrrIn(mrr=Decimal(f"{time.perf_counter_ns() % 10**9}.01"))
        await db.decide(partial(_execute, company_product_id=stream, ask=ask))

    async def begin(writer: int) -> None:
        for stream in streams[writer :: WRITERS // PROCESSES]:
            await command(stream)

    async def write(writer: int) -> None:
        mine = streams[writer :: WRITERS // PROCESSES]
        for nth in range(commands):
            await command(mine[nth % len(mine)])

    span = await _timed(begin)
    if commands:
        span = await _timed(write)
    await db.close()
    return span


async def _execute(tx: Tx, company_product_id: UUID, ask: lifecycle.Ask) -> None:
    await lifecycle.execute(tx, SYSTEM, company_product_id, ask)


def send_bare(url: str, streams: Sequence[UUID]) -> Span:
    """Send the same statements with the driver alone: no models, no rules, no replay."""

    async def send() -> Span:
        connections = [
            await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=3)
            for _ in range(WRITERS // PROCESSES)
        ]

        versions: dict[UUID, int] = {}
        for stream in streams:
            cursor = await connections[0].execute("SELECT version FROM event_streams WHERE aggregate_id = %s", [stream])
            versions[stream] = (await cursor.fetchone() or [0])[0]

        async def write(writer: int) -> None:
            mine, connection = streams[writer :: WRITERS // PROCESSES], connections[writer]
            for nth in range(COMMANDS):
                stream = mine[nth % len(mine)]
                await _append_bare(connection, stream, versions[stream])
                versions[stream] += 1

        span = await _timed(write)
        for connection in connections:
            await connection.close()
        return span

    return _run(send())


async def _append_bare(connection: psycopg.AsyncConnection[Any], stream: UUID, version: int) -> None:
    event_id = str(uuid7())
    said = {"from_mrr": "1.00", "to_mrr": f"{time.perf_counter_ns() % 10**9}.01", "currency": "USD"}
    command = {
        "aggregate_type": "company_product",
        "aggregate_id": stream,
        "expected": version,
        "events": [{"id": event_id, "type": "CompanyProductMRRSet", "version": 1, "data": said}],
        "metadata": {"command_id": event_id},
        "actor_type": "system",
        "actor_id": None,
        "occurred_at": datetime.now(UTC),
        "log": {"id": event_id, "action": "set-mrr", "request_hash": None, "result": []},
    }
    await connection.execute("CALL append_each(%s, NULL)", [Jsonb([command], orjson.dumps)])


def _run(sending: Coroutine[Any, Any, Span]) -> Span:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as the server does
        return runner.run(sending)


async def _timed(write: Callable[[int], Coroutine[Any, Any, None]]) -> Span:
    begin, used = time.monotonic(), time.process_time()
    await asyncio.gather(*map(write, range(WRITERS // PROCESSES)))
    return begin, time.monotonic(), time.process_time() - used


# Behind, and again --------------------------------------------------------------------------------------------------


def lifecycle_projectors() -> list[Projector]:
    """Return the projectors of companies' products, in their order."""
    return [each for each in projections.known() if each.aggregate_type == lifecycle.AGGREGATE]


async def measure_behind(url: str) -> list[Figure]:
    """Let every projector catch up with all events, 500 in a transaction with the checkpoint in it."""
    db = await Database.open(await make_database(url, "behind"), size=2)
    seen = await histories.populate(db, await histories.open_shop(db), CATCH_UP)
    await _settle_disk(db)
    figures: list[Figure] = []
    for projector in lifecycle_projectors():
        began = time.perf_counter()
        await projections.catch_up(db, projector)
        rate = seen / (time.perf_counter() - began)
        if projector.inline:
            figures.append(Figure(f"catching up, {projector.name} (else inline)", rate, "events/s"))
            continue
        figures.append(Figure(f"catching up, {projector.name}", rate, "events/s", None, "50,000", rate >= 50_000))
        times = rate / PROJECTS_ELSEWHERE
        figures.append(Figure("... times the library", times, "x", None, "100 x", times >= 100))
    await db.close()
    return figures


async def measure_rebuilds(url: str) -> list[Figure]:
    """Rebuild every read model at a quarter of a million events and at a million, beside plain set-based SQL."""
    db = await Database.open(await make_database(url, "rebuild"), size=2)
    shop = await histories.open_shop(db)
    figures: list[Figure] = []
    rates: list[float] = []
    count = 0
    for goal in (SMALL, LARGE):
        count += await histories.populate(db, shop, goal - count)
        await _settle_disk(db)
        first, _ = await _rebuild(db)
        second, seconds = await _rebuild(db)
        assert first == second, "two rebuilds differ"
        bare = count / await _rebuild_bare(db, set_based.STATEMENTS, second)
        rates.append(count / seconds)
        figures.append(
            Figure(f"rebuilding, {count:,} events", rates[-1], "events/s", bare, "half of bare", rates[-1] >= bare / 2)
        )
    linear = rates[1] / rates[0]
    figures.append(Figure("... rate at a million over a quarter", linear, "x", None, "linear: .8", linear >= 0.8))
    await db.close()
    return figures


async def _rebuild(db: Database) -> tuple[list[projections.TableSnapshot], float]:
    wanted = lifecycle_projectors()
    async with db.transaction() as tx:
        began = time.perf_counter()
        await projections.refill(tx, wanted)
        seconds = time.perf_counter() - began
        snapshot = await projections.snapshot(tx, wanted)
    await _settle_disk(db)
    return snapshot, seconds


async def _settle_disk(db: Database) -> None:
    """Have what was prepared written out, so that what is measured does not wait for it."""
    async with db.reading() as tx:
        await tx.run("VACUUM ANALYZE")
        await tx.run("CHECKPOINT")


async def _rebuild_bare(
    db: Database, statements: Sequence[LiteralString], ours: Sequence[projections.TableSnapshot]
) -> float:
    """Fill tables of the same shape by one statement each, with all the memory they want; the rows must be ours."""
    async with db.transaction() as tx:
        await tx.run("SET LOCAL work_mem = '256MB'")
        for table in set_based.TABLES:
            await tx.connection.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(
                    sql.Identifier(f"bare_{table}"), sql.Identifier(table)
                )
            )
        began = time.perf_counter()
        for statement in statements:
            await tx.connection.execute(statement)
        seconds = time.perf_counter() - began
        twin = Projector("bare", "", tuple(projections.Table(f"bare_{table}") for table in set_based.TABLES))
        rows = {each.table.removeprefix("bare_"): each.content_hash for each in await projections.snapshot(tx, [twin])}
        assert rows == {each.table: each.content_hash for each in ours}, "the bare rebuild made other rows"
        for table in set_based.TABLES:
            await tx.connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(f"bare_{table}")))
    return seconds


# Reads --------------------------------------------------------------------------------------------------------------


async def measure_reads(url: str) -> list[Figure]:
    """Read a product with its pipeline, and the catalogue with its figures, at a thousand and at 100,000 rows of one product."""
    few = await _open_crowd(url, FEW)
    many = await _open_crowd(url, MANY)
    reader = Caller(uuid4(), "manager")

    async def pipeline(db: Database) -> None:
        async with db.reading() as tx:
            await listing.get_product(tx, reader, "ledger", listing.ProductPageFilter(limit=50))

    async def catalogue(db: Database) -> None:
        async with db.reading() as tx:
            await listing.list_products(tx, reader, listing.ProductFilter(include_stats=True))

    figures: list[Figure] = []
    for name, read in (("a product with 50 of its pipeline", pipeline), ("the catalogue with figures", catalogue)):
        spent: dict[Database, list[float]] = {few: [], many: []}
        for _ in range(READS):
            for db in (few, many):
                began = time.perf_counter()
                await read(db)
                spent[db].append((time.perf_counter() - began) * 1e3)
        ours, small = statistics.median(spent[many]), statistics.median(spent[few])
        label = f"{name}, {MANY:,} rows beside {FEW:,}"
        figures.append(Figure(label, ours, "ms", small, f"flat: {FLAT}", ours <= FLAT * small))
    for db in (few, many):
        await db.close()
    return figures


async def _open_crowd(url: str, rows: int) -> Database:
    db = await Database.open(await make_database(url, f"crowd_{rows}"), size=2)
    shop = await histories.open_shop(db)
    stages = [stage.id for stage in shop.sales.stages if not stage.is_terminal]
    async with db.transaction() as tx:
        await tx.run(_CROWD, rows=rows, product_id=shop.product_id, process_id=shop.sales.id, stages=stages)
        await tx.run("INSERT INTO pipeline_dirty_products VALUES (%(product_id)s)", product_id=shop.product_id)
        await tx.run("SELECT settle_pipeline_stage_counts()")
    await _settle_disk(db)
    return db


_CROWD: LiteralString = """
    WITH born AS (
        INSERT INTO companies (name, normalized_name, segment, industry)
        SELECT 'Company ' || n, 'company ' || n, 'smb', 'trade' FROM generate_series(1, %(rows)s::int) n RETURNING id
    ), held AS (
        INSERT INTO company_products (company_id, product_id) SELECT id, %(product_id)s FROM born RETURNING id, company_id
    ), numbered AS (
        SELECT id, company_id, row_number() OVER () AS n FROM held
    )
    INSERT INTO company_product_read_model (company_product_id, company_id, product_id, phase, status, current_process_id,
        current_process_type, current_stage_id, current_stage_name, stage_entered_at, sales_started_at, mrr, last_event_at,
        last_event_type, last_event_sequence)
    SELECT id, company_id, %(product_id)s, 'in_sales', CASE WHEN n %% 3 = 0 THEN 'active' ELSE 'in_sales' END, %(process_id)s,
           'sales', (%(stages)s::uuid[])[1 + n %% 5], 'Stage', now(), now() - n * interval '1 minute', n %% 900, now(),
           'CompanyProductPhaseSet', 1
      FROM numbered
"""


def render(figures: Sequence[Figure]) -> str:
    """Return the figures as a table."""
    lines = [f"{'':44} {'ours':>12} {'bare':>12} {'ratio':>7}  goal"]
    for each in figures:
        bare = "" if each.bare is None else f"{each.bare:,.0f}"
        ratio = "" if each.bare is None else f"{each.ours / each.bare:.2f}"
        verdict = {True: "met", False: "MISSED", None: ""}[each.met]
        lines.append(f"{each.name:44} {each.ours:>12,.1f} {bare:>12} {ratio:>7}  {each.goal} {verdict} ({each.unit})")
    return "\n".join(lines)


if __name__ == "__main__":
    found = measure()
    sys.stdout.write(render(found) + "\n")
    sys.exit(any(figure.met is False for figure in found))
