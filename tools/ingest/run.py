"""
Reading a source into a mailbox from where it was broken off to its end.

Reading and parsing run in a process of their own (for little mail: in a thread), ahead of the writing. Every batch is one transaction that also moves the
checkpoint and promises the jobs that come after; a process that is killed at any line goes on with the next batch.
"""

import asyncio
import gc
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Database, RowRefused, Tx, UniqueViolation
from memory.errors import Forbidden
from memory.rows import In
from tools import knowledge
from tools.ingest import runs
from tools.ingest.rows import House, Prepared
from tools.ingest.store import Stored, store_batch
from tools.mail import reading, sources
from tools.mail.batches import Batch, Limits
from tools.mail.sources import Item, Place

BATCH_MAILS = 500
"""Writing can begin after the first batch, and ends with the last: their size is what the two processes wait for."""
BATCH_CHARS = 8_000_000
HELPED_FROM = 6_000_000
"""Bytes from which a process of its own reads and parses; below that it would take longer to start than to read."""
SELDOM = 50_000
"""Objects that a process takes on between two looks of the collector: more than two batches hold."""
TRIES = 3
SAMPLE = 300


class ForeignMailbox(Forbidden):
    """Only managers may read mail into somebody else's mailbox."""


class IngestIn(In):
    """
    What is to be read, and into whose mailbox: the address of a user, or the caller's own.

    For a caller that is no person (the shell) it is the user who takes part most in the mails, else the first admin.
    """

    path: str = Field(min_length=1, max_length=4096)
    mailbox: str | None = Field(default=None, max_length=320)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is; `bytes_done` of `bytes_total` counts files that are behind it and the place in the present one."""

    run_id: UUID
    seen: int
    written: int
    duplicates: int
    damaged: int
    bytes_done: int
    bytes_total: int
    file: str


async def ingest(
    db: Database, caller: Caller, request: IngestIn, *, progress: Callable[[Progress], None] | None = None
) -> runs.IngestRow:
    """
    Read the source to its end and return the closed run; what is stored already is counted and left alone.

    A run that fails is marked so; reading the same source again goes on where it stopped.

    Raises `NothingToRead`, `NoSuchMailbox`, `ForeignMailbox`.
    """
    path, files = await asyncio.to_thread(_files, request.path)
    named = caller.user_id is not None or request.mailbox is not None
    people = [] if named else await asyncio.to_thread(_people_in, path)
    async with db.reading() as tx:
        mailbox = request.mailbox if named else await runs.find_owner(tx, people)
        house = await runs.get_house(tx, mailbox, caller.user_id)
    if house.user_id != caller.user_id and not caller.sees_all:
        raise ForeignMailbox
    async with db.transaction() as tx:
        run = await runs.begin_run(tx, house.user_id, path.name, _fingerprint(path))
    try:
        with _collecting_seldom():
            await _read_all(db, house, path, run, _Meter(files, run, progress))
    except Exception:
        async with db.transaction() as tx:
            await runs.finish_run(tx, run.id, "failed")
        raise
    async with db.transaction() as tx:
        return await runs.finish_run(tx, run.id, "complete")


def _files(source: str) -> tuple[Path, dict[str, Path]]:
    path = Path(source).expanduser()
    try:
        files = {sources.name_of(path, file): file for file in sources.files_of(path)}
    except sources.NoSuchSource as missing:
        raise runs.NothingToRead(path=str(path)) from missing
    if not files:
        raise runs.NothingToRead(path=str(path))
    return path, files


def _people_in(path: Path) -> list[str]:
    """Return who takes part in the first mails of the source, the most frequent first."""
    mails = (item.mail for item in islice(sources.read(path), SAMPLE) if item.mail is not None)
    people = Counter(
        person.email for mail in mails for person in (mail.sender, *mail.to, *mail.cc) if person is not None
    )
    return [email for email, _ in people.most_common()]


def _fingerprint(path: Path) -> str:
    return hashlib.sha256(str(path.resolve()).encode("utf-8", "surrogateescape")).hexdigest()


class _Meter:
    """Counts for the one who watches."""

    def __init__(
        self, files: dict[str, Path], run: runs.IngestRow, progress: Callable[[Progress], None] | None
    ) -> None:
        self.files = files
        self.run = run
        self.tell = progress
        self.counts = Counter(seen=run.seen, written=run.written, duplicates=run.duplicates, damaged=run.damaged)
        self.before: dict[str, int] = {}
        total = 0
        for name, file in files.items():
            self.before[name] = total
            total += file.stat().st_size
        self.total = total
        self.heads: dict[str, str] = {}

    def head(self, name: str) -> str:
        """Return the digest of the file's first bytes, read once."""
        if name not in self.heads:
            self.heads = {name: sources.head_of(self.files[name])}
        return self.heads[name]

    def start(self) -> Place | None:
        """Return where the run was broken off; a file that is not the one it was begins anew."""
        held = self.run.checkpoint
        name = held.get("file")
        if not isinstance(name, str) or name not in self.files:
            return None
        return Place(name, int(held["offset"]) if held.get("head") == self.head(name) else 0)

    def count(self, batch: Batch, stored: Stored) -> None:
        """Add a batch and tell."""
        self.counts.update(seen=batch.seen, written=stored.written, duplicates=stored.duplicates, damaged=batch.damaged)
        if self.tell is not None:
            file = self.files.get(batch.place.file)
            done = self.before.get(batch.place.file, 0) + (min(batch.place.offset, file.stat().st_size) if file else 0)
            self.tell(
                Progress(
                    self.run.id,
                    self.counts["seen"],
                    self.counts["written"],
                    self.counts["duplicates"],
                    self.counts["damaged"],
                    done,
                    self.total,
                    batch.place.file,
                )
            )


@contextmanager
def _collecting_seldom() -> Iterator[None]:
    """Let the collector of circles look seldom: mails make none, and at every few it would look through all of them."""
    before = gc.get_threshold()
    changes = 0 < before[0] < SELDOM  # not switched off, nor changed by another reader in this process
    if changes:
        gc.set_threshold(SELDOM, *before[1:])
    try:
        yield
    finally:
        if changes:
            gc.set_threshold(*before)


async def _read_all(db: Database, house: House, path: Path, run: runs.IngestRow, meter: _Meter) -> None:
    limits = Limits(BATCH_MAILS, BATCH_CHARS)
    writing: asyncio.Task[None] | None = None
    with reading.read(path, meter.start(), house, limits, helped=meter.total >= HELPED_FROM) as batches:
        try:
            while (batch := await asyncio.to_thread(next, batches, None)) is not None:
                if writing is not None:
                    await writing
                writing = asyncio.create_task(_write(db, house, run, batch, meter))
            if writing is not None:
                await writing
        except BaseException:
            if writing is not None and not writing.done():
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)
            raise


async def _write(db: Database, house: House, run: runs.IngestRow, batch: Batch, meter: _Meter) -> None:
    """Write one batch; a mail that Postgres refuses is kept among the rejects and does not take the others with it."""
    undated_at = datetime.fromtimestamp(meter.files[batch.place.file].stat().st_mtime, UTC)
    try:
        stored = await _write_patiently(db, house, run, batch, meter, undated_at)
    except RowRefused:
        refused = await _find_refused(db, house, batch.mails, undated_at)
        if not refused:
            raise
        for mail, reason in refused:
            batch.mails.remove(mail)
            batch.problems[f"not kept as mail: {reason}"] += 1
            batch.damaged += not mail.mail.problems
            batch.rejected.append(Item(mail.start, mail.start, None, reason, _remains(mail)))
        stored = await _write_patiently(db, house, run, batch, meter, undated_at)
    meter.count(batch, stored)


async def _write_patiently(
    db: Database, house: House, run: runs.IngestRow, batch: Batch, meter: _Meter, undated_at: datetime
) -> Stored:
    """Write the batch; another writer that stored one of its mails at the same moment makes it look again."""
    attempt = 0
    while True:
        attempt += 1
        try:
            async with db.transaction() as tx:
                return await _write_once(tx, house, run, batch, meter, undated_at)
        except UniqueViolation:
            if attempt == TRIES:
                raise


class _Undone(Exception):
    """Takes a trial back."""


async def _find_refused(
    db: Database, house: House, mails: list[Prepared], undated_at: datetime
) -> list[tuple[Prepared, str]]:
    """Return the mails that Postgres refuses, with its reason, by trying ever smaller halves and taking them back."""
    if not mails:
        return []
    try:
        async with db.transaction() as tx:
            await store_batch(tx, house, mails, undated_at=undated_at)
            raise _Undone
    except _Undone:
        return []
    except RowRefused as failure:
        if len(mails) == 1:
            return [(mails[0], f"the database refused it: {type(failure).__name__}")]
    half = len(mails) // 2
    return [
        *await _find_refused(db, house, mails[:half], undated_at),
        *await _find_refused(db, house, mails[half:], undated_at),
    ]


def _remains(mail: Prepared) -> bytes:
    said = {"id": mail.key, "subject": mail.mail.subject, "text": mail.mail.text, "html": mail.mail.html}
    return json.dumps(said).encode("utf-8", "replace")


async def _write_once(
    tx: Tx, house: House, run: runs.IngestRow, batch: Batch, meter: _Meter, undated_at: datetime
) -> Stored:
    stored = await store_batch(tx, house, batch.mails, undated_at=undated_at) if batch.mails else Stored()
    await runs.keep_rejects(tx, run.id, batch.rejected)
    counts = {"seen": batch.seen, "written": stored.written, "duplicates": stored.duplicates, "damaged": batch.damaged}
    await runs.advance_run(tx, run.id, batch.place, meter.head(batch.place.file), counts, dict(batch.problems))
    if stored.to_analyse:
        await tx.enqueue("communications.analyze_pending", key="ingest")
    if stored.written:
        await knowledge.promise_collecting(tx)
    return stored
