"""
How fast mail becomes rows: both forms, beside the bare limit in the same run, and how much memory it takes.

Ours reads, parses, cleans, splits, threads, links and writes; the bare limit only parses (orjson; the standard
library's parser for RFC 822) and copies the same bodies into the same two tables. They take turns on parts of the
same material, each in a database of its own, so that a busy machine slows both. Processor time counts everybody who
works for a message: our process, the helper that parses, and the server with all its backends.
"""

import asyncio
import email.parser
import email.policy
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import orjson

from memory.callers import Caller
from memory.db import Database, Tx, clock
from tests import databases
from tests.bench import mailbox
from tools import ingest
from tools.ingest.rows import House, prepare
from tools.mail import mbox, sources

PARTS, PART = 3, 8000
SMALL, LARGE = 10_000, 50_000
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Row:
    """One line of the table: what is measured, ours, the bare limit beside it, and what is asked for."""

    name: str
    unit: str
    ours: float
    bare: float | None = None
    asked: float | None = None
    cpu_us: float | None = None
    """Processor time of our processes per message, in microseconds."""
    server_us: float | None = None
    """Processor time of Postgres per message."""
    bare_us: float | None = None
    """Processor time of the bare limit per message, Postgres counted."""

    @property
    def ratio(self) -> float | None:
        """Ours over the bare limit."""
        return self.ours / self.bare if self.bare else None


@dataclass
class Clock:
    """Wall and processor seconds, added up over turns; `server` is the process of Postgres whose children count."""

    server: int
    wall: float = 0.0
    cpu: float = 0.0
    served: float = 0.0
    count: int = 0

    async def add(self, work: Any, count: int) -> None:
        """Await the work and add what it took."""
        wall, cpu, served = time.perf_counter(), _own_cpu(), _children_cpu(self.server)
        await work
        self.wall += time.perf_counter() - wall
        self.cpu += _own_cpu() - cpu
        self.served += _children_cpu(self.server) - served
        self.count += count

    @property
    def rate(self) -> float:
        """Messages per second."""
        return self.count / self.wall

    @property
    def cpu_us(self) -> float:
        """Processor microseconds per message."""
        return self.cpu / self.count * 1e6

    @property
    def server_us(self) -> float:
        """Processor microseconds of Postgres per message."""
        return self.served / self.count * 1e6


def _own_cpu() -> float:
    """Return the processor seconds of this process and of its helpers that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime


def _children_cpu(parent: int) -> float:
    """Return the processor seconds of the processes that this one started and that still run."""
    used = 0.0
    for task in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (task / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent:
                used += int((task / "schedstat").read_text().split()[0]) / 1e9
    return used


def measure() -> list[Row]:
    """Measure on made-up mail, with a Postgres of its own, and return the lines of the table."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        return [*_parsing(place), *_writing(place), *_memory(place)]


# Parsing alone ------------------------------------------------------------------------------------------------------


def _parsing(place: Path) -> Iterator[Row]:
    house = House(
        user_id=uuid4(), email=mailbox.OWNER, own_domains=frozenset(("northwind.example",)), own_addresses=frozenset(), users={mailbox.OWNER: "x"},
        notetakers=frozenset(), free_domains=frozenset(("gmail.com",)), sla_minutes=240,
    )  # fmt: skip
    for name, path, asked in _material(place / "parsing", 4000, seed=90):
        rounds: list[tuple[float, float]] = []
        for _ in range(3):
            wall, cpu = time.perf_counter(), time.process_time()
            for item in sources.read(path):
                prepare(item, house)
            rounds.append((time.perf_counter() - wall, time.process_time() - cpu))
        wall, cpu = min(rounds)
        yield Row(
            f"{name} to rows with text, before the database", "messages/s", 4000 / wall, None, asked, cpu / 4000 * 1e6
        )


def _material(place: Path, count: int, seed: int) -> Iterator[tuple[str, Path, float]]:
    pages = place / "graph"
    pages.mkdir(parents=True)
    mailbox.graph_pages(pages, count, seed=seed)
    yield "Graph JSON pages", pages, 5000.0
    mailbox.mbox(place / "mail.mbox", count, seed=seed + 1)
    yield "RFC 822 (mbox)", place / "mail.mbox", 1000.0


# Into the database --------------------------------------------------------------------------------------------------


def _writing(place: Path) -> list[Row]:
    postgres = databases.start_postgres()
    try:
        assert postgres.server is not None
        server = postgres.server.process.pid
        return asyncio.run(_take_turns(place, postgres.clone("ours"), postgres.clone("bare"), server))
    finally:
        postgres.close()


async def _take_turns(place: Path, ours_url: str, bare_url: str, server: int) -> list[Row]:
    turns: dict[str, tuple[Clock, Clock, float]] = {}
    async with _opened(ours_url) as (ours, me), _opened(bare_url) as (bare, them):
        for part in range(PARTS):
            for name, path, asked in _material(place / f"part{part}", PART, seed=2 * part):
                mine, limit, _ = turns.setdefault(name, (Clock(server), Clock(server), asked))
                await mine.add(ingest.ingest(ours, me, ingest.IngestIn(path=str(path))), PART)
                await limit.add(_bare(bare, them, path), PART)
    return [
        Row(
            f"{name} to rows, end to end",
            "messages/s",
            mine.rate,
            limit.rate,
            asked,
            mine.cpu_us,
            mine.server_us,
            limit.cpu_us + limit.server_us,
        )
        for name, (mine, limit, asked) in turns.items()
    ]


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[tuple[Database, Caller]]:
    db = await Database.open(url, size=4)
    async with db.transaction() as tx:
        user_id = await tx.one(
            UUID,
            "INSERT INTO users (auth_id, email, name, role) VALUES ('bench', %(email)s, 'Dana', 'rep') RETURNING id",
            email=mailbox.OWNER,
        )
    yield db, Caller(user_id=user_id, role="rep", email=mailbox.OWNER)
    await db.close()


async def _bare(db: Database, caller: Caller, path: Path) -> None:
    """Parse and copy, and nothing else: no cleaning, no splitting, no threads, no look at what is stored."""
    for batch in _bare_mbox(path) if path.suffix else _bare_graph(path):
        async with db.transaction() as tx:
            await _bare_copy(tx, str(caller.user_id), batch)


Bodies = list[tuple[str, str, str, str]]


def _bare_graph(folder: Path) -> Iterator[Bodies]:
    for page in sorted(folder.iterdir()):
        messages = orjson.loads(page.read_bytes())["value"]
        yield [(m["internetMessageId"], m["subject"], m["conversationId"], m["body"]["content"]) for m in messages]


def _bare_mbox(file: Path) -> Iterator[Bodies]:
    parser = email.parser.BytesParser(policy=email.policy.compat32)
    batch: Bodies = []
    with file.open("rb") as stream:
        for piece in mbox.read(stream):
            message = parser.parsebytes(piece.raw)
            texts = [part for part in message.walk() if part.get_content_maintype() == "text"]
            body = texts[-1].get_payload(decode=True)
            assert isinstance(body, bytes)
            batch.append(
                (
                    str(message["Message-ID"]),
                    str(message["Subject"]),
                    str(message["References"]),
                    body.decode("utf-8", "replace"),
                )
            )
            if len(batch) == 500:
                yield batch
                batch = []
    yield batch


async def _bare_copy(tx: Tx, user_id: str, batch: Bodies) -> None:
    now = clock()
    rows = [(str(uuid4()), *fields) for fields in batch]
    await tx.copy(
        "communications", ("id", "user_id", "channel", "direction", "occurred_at", "subject", "full_content", "external_id", "internet_message_id", "thread_id"),
        ((row, user_id, "email", "inbound", now, subject, body, key, key, thread) for row, key, subject, thread, body in rows),
    )  # fmt: skip
    await tx.copy(
        "email_messages", ("communication_id", "user_id", "message_id", "internet_message_id", "body_html"),
        ((row, user_id, key, key, body) for row, key, _, _, body in rows),
    )  # fmt: skip


# Memory -------------------------------------------------------------------------------------------------------------


def _memory(place: Path) -> list[Row]:
    small, large = (_peak(place / f"peak{count}", count) for count in (SMALL, LARGE))
    return [
        Row(f"Peak memory, {LARGE:,} messages in one mbox (beside: {SMALL:,})", "MB", large, small),
    ]


def _peak(place: Path, count: int) -> float:
    """Return the peak memory in MB of a process of its own, with its helper, that reads so many messages."""
    place.mkdir()
    mailbox.mbox(place / "mail.mbox", count, seed=count)
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.ingest", str(place / "mail.mbox")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def _read_once(path: str) -> float:
    """Read the file and return the peak memory in MB of this process and its helper."""
    postgres = databases.start_postgres()

    async def read() -> None:
        async with _opened(postgres.clone("peak")) as (db, me):
            await ingest.ingest(db, me, ingest.IngestIn(path=path))

    try:
        asyncio.run(read())
        # Of the children that have ended the helper is the biggest; the server still runs.
        helper = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    finally:
        postgres.close()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + helper) / 1024


def _lines(rows: list[Row]) -> Iterator[str]:
    yield (f"{'':76}{'ours':>9}{'bare':>9}{'ratio':>7}{'asked':>8}{'cpu us':>8}{'+ pg us':>9}{'bare us':>9}")
    for row in rows:
        shown = [f"{value:,.0f}" if value is not None else "" for value in (row.ours, row.bare)]
        ratio = f"{row.ratio:.2f}" if row.ratio else ""
        costs = (row.asked, row.cpu_us, row.server_us, row.bare_us)
        asked, cpu, served, bare = (f"{value:,.0f}" if value else "" for value in costs)
        yield (f"{row.name:76}{shown[0]:>9}{shown[1]:>9}{ratio:>7}{asked:>8}{cpu:>8}{served:>9}{bare:>9}  {row.unit}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(f"{_read_once(sys.argv[1])}\n")
    else:
        sys.stdout.write("\n".join(_lines(measure())) + "\n")
