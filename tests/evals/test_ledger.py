"""Where the door's books of a run are kept, and that two runs do not share a folder."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from evals import ledger as books
from evals.ledger import AlreadyRunning
from memory.db import Database
from memory.migrate import SchemaBehind
from memory.settings import Settings
from tests.databases import Postgres, open_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    opened = open_folder()
    yield opened
    shutil.rmtree((opened / "postgres").resolve(), ignore_errors=True)
    shutil.rmtree(opened)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def calls(db: Database) -> int:
    async with db.reading() as tx:
        return await tx.one(int, "SELECT count(*) FROM ai_calls")


class TestLedger:
    async def test_is_begun_anew_for_another_version(self, settings: Settings, folder: Path):
        async with books.ledger(settings, folder) as kept, kept.db.transaction() as tx:
            await tx.run("UPDATE schema_migrations SET checksum = 'of another version'")
        async with books.ledger(settings, folder) as kept:
            assert await calls(kept.db) == 0

    async def test_is_in_the_database_that_is_configured(self, settings: Settings, fresh_url: str, tmp_path: Path):
        ours = settings.model_copy(update={"database_url": SecretStr(fresh_url)})
        async with books.ledger(ours, tmp_path) as kept:
            assert await calls(kept.db) == 0
        assert names(tmp_path) == []

    async def test_does_not_migrate_a_database_that_is_not_its_own(
        self, settings: Settings, postgres: Postgres, tmp_path: Path
    ):
        name = f"evals_{uuid.uuid4().hex[:8]}"
        empty = postgres.clone(name, template="template1")
        try:
            ours = settings.model_copy(update={"database_url": SecretStr(empty)})
            with pytest.raises(SchemaBehind):
                async with books.ledger(ours, tmp_path):
                    pass
        finally:
            postgres.drop(name)


class TestFolder:
    def test_is_for_one_run_at_a_time(self, tmp_path: Path):
        with books.only_one(tmp_path), pytest.raises(AlreadyRunning), books.only_one(tmp_path):
            pass
        with books.only_one(tmp_path):
            pass
