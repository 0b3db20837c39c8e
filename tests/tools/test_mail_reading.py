"""Mail in batches: a process of its own reads the same as we do, and its death loses and doubles nothing."""

import os
import signal
from pathlib import Path
from uuid import uuid4

import pytest

from memory.callers import Caller
from memory.db import Database
from tests.bench import mailbox
from tests.given import Given
from tools import ingest
from tools.ingest import run as running
from tools.mail import batches, reading
from tools.mail.batches import Batch, Limits
from tools.mail.preparing import House
from tools.mail.sources import Place

HOUSE = House(
    user_id=uuid4(), email=mailbox.OWNER, own_domains=frozenset(("northwind.example",)), own_addresses=frozenset(), users={mailbox.OWNER: "u"},
    notetakers=frozenset(), free_domains=frozenset(), sla_minutes=240,
)  # fmt: skip
LIMITS = Limits(10, 1_000_000)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pages = tmp_path / "pages"
    pages.mkdir()
    mailbox.graph_pages(pages, 95, seed=3)
    (pages / "zz.jsonl").write_text("not JSON\n")
    return pages


@pytest.fixture
async def owner(db: Database) -> Caller:
    async with db.transaction() as tx:
        return await Given(tx).user(email=mailbox.OWNER)


def keys(found: list[Batch]) -> list[str]:
    return [mail.key for batch in found for mail in batch.mails]


class TestReadByAProcessOfItsOwn:
    def test_gives_what_reading_here_gives(self, source, monkeypatch):
        monkeypatch.setattr(reading.os, "cpu_count", lambda: 2)
        with reading.read(source, None, HOUSE, LIMITS, helped=True) as found:
            assert list(found) == list(batches.read(source, None, HOUSE, LIMITS))

    def test_goes_on_at_the_place(self, source, monkeypatch):
        monkeypatch.setattr(reading.os, "cpu_count", lambda: 2)
        here = list(batches.read(source, None, HOUSE, LIMITS))
        with reading.read(source, here[2].place, HOUSE, LIMITS, helped=True) as found:
            assert keys(list(found)) == keys(here[3:])

    @pytest.mark.parametrize("after", [0, 1, 4])
    def test_a_helper_that_is_killed_loses_and_doubles_nothing(self, source, after):
        helper = reading._Helper(source, None, HOUSE, LIMITS)
        try:
            found = helper.read()
            first = [next(found) for _ in range(after)]
            os.kill(helper.process.pid, signal.SIGKILL)
            assert keys(first + list(found)) == keys(list(batches.read(source, None, HOUSE, LIMITS)))
        finally:
            helper.close()

    def test_ends_with_whoever_asked_for_it(self, source):
        helper = reading._Helper(source, Place("0000.json", 0), HOUSE, LIMITS)
        found = helper.read()
        next(found)
        helper.close()
        assert helper.process.returncode is not None
        # What was on the way may still arrive; nothing is read anew for one who has gone.
        assert len(list(found)) < len(list(batches.read(source, None, HOUSE, LIMITS)))


class TestIngest:
    async def test_reads_a_big_source_through_a_helper(self, db, owner, source, monkeypatch):
        started: list[Path] = []
        begin = reading._Helper.__init__

        def note(self: reading._Helper, path: Path, *more: object) -> None:
            started.append(path)
            begin(self, path, *more)  # pyright: ignore[reportArgumentType]

        monkeypatch.setattr(reading.os, "cpu_count", lambda: 2)
        monkeypatch.setattr(reading._Helper, "__init__", note)
        monkeypatch.setattr(running, "HELPED_FROM", 0)
        done = await ingest.ingest(db, owner, ingest.IngestIn(path=str(source)))
        assert (started, done.seen, done.written, done.status) == ([source], 96, 95, "complete")
