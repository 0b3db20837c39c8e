"""A schema that is applied once, in order, by one process at a time, and says what stands in its way."""

import asyncio
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from memory import migrate
from memory.migrate import (
    DatabaseUnreachable,
    DatabaseUrlUnreadable,
    MayNotMigrate,
    MigrationBlocked,
    MigrationChanged,
    MigrationFailed,
    MigrationFromLater,
    MigrationMisnamed,
    SchemaBehind,
    ServerTooOld,
    VectorMissing,
    VectorTooOld,
)
from tests.databases import TEMPLATE, Postgres


@pytest.fixture
def empty_url(postgres: Postgres) -> Iterator[str]:
    """A database with nothing in it."""
    name = f"empty_{uuid.uuid4().hex[:8]}"
    yield postgres.clone(name, template="template0")
    postgres.drop(name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_birds.sql").write_text("CREATE TABLE birds (name text); CREATE INDEX ON birds (name);")
    (tmp_path / "0002_nests.sql").write_text("CREATE TABLE nests (height_m int CHECK (height_m % 2 = 0));")
    return tmp_path


def tables(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").fetchall()
    return [row[0] for row in rows]


class TestMigrate:
    async def test_applies_each_file_once_in_order(self, empty_url, folder):
        assert await migrate.migrate(empty_url, folder=folder) == ["0001_birds.sql", "0002_nests.sql"]
        (folder / "0003_eggs.sql").write_text("CREATE TABLE eggs ()")
        assert await migrate.migrate(empty_url, folder=folder) == ["0003_eggs.sql"]
        assert await migrate.migrate(empty_url, folder=folder) == []
        assert tables(empty_url) == ["birds", "eggs", "nests", "schema_migrations"]

    async def test_lets_one_process_do_it_and_the_others_find_it_done(self, empty_url, folder):
        applied = await asyncio.gather(*(migrate.migrate(empty_url, folder=folder) for _ in range(6)))
        assert sorted(map(len, applied)) == [0, 0, 0, 0, 0, 2]

    async def test_runs_the_steps_after_it_even_when_they_build_concurrently(self, empty_url, folder):
        async def build(url: str) -> None:
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
                await connection.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS built ON birds (name)")

        both = (migrate.migrate(empty_url, folder=folder, then=[build]) for _ in range(2))
        async with asyncio.timeout(20):
            assert sorted(map(len, await asyncio.gather(*both))) == [0, 2]

    async def test_undoes_the_file_that_fails_and_keeps_those_before(self, empty_url, folder):
        (folder / "0002_nests.sql").write_text("CREATE TABLE nests (); SELECT 1 / 0;")
        with pytest.raises(MigrationFailed, match=r"0002_nests.sql failed and was undone: division by zero"):
            await migrate.migrate(empty_url, folder=folder)
        assert tables(empty_url) == ["birds", "schema_migrations"]

    async def test_refuses_a_file_that_was_changed_since(self, empty_url, folder):
        await migrate.migrate(empty_url, folder=folder)
        (folder / "0001_birds.sql").write_text("CREATE TABLE birds (name text, wings int)")
        with pytest.raises(MigrationChanged, match=r"0001_birds.sql"):
            await migrate.migrate(empty_url, folder=folder)

    async def test_refuses_a_database_of_a_later_version(self, empty_url, folder):
        await migrate.migrate(empty_url, folder=folder)
        (folder / "0002_nests.sql").unlink()
        with pytest.raises(MigrationFromLater, match=r"0002_nests.sql"):
            await migrate.migrate(empty_url, folder=folder)

    async def test_gives_up_on_a_table_in_use(self, empty_url, folder, monkeypatch):
        monkeypatch.setattr(migrate, "TABLE_TIMEOUT", "50ms")
        await migrate.migrate(empty_url, folder=folder)
        (folder / "0003_wings.sql").write_text("ALTER TABLE birds ADD wings int")
        with psycopg.connect(empty_url) as reader:
            reader.execute("SELECT * FROM birds")
            with pytest.raises(MigrationBlocked, match=r"0003_wings.sql"):
                await migrate.migrate(empty_url, folder=folder)
        assert await migrate.migrate(empty_url, folder=folder) == ["0003_wings.sql"]


class TestWhatIsSaidOfTheDatabase:
    async def test_that_it_does_not_answer_without_its_password(self, unused_port):
        url = f"postgresql://me:hush@127.0.0.1:{unused_port}/crm"
        with pytest.raises(DatabaseUnreachable) as refusal:
            await migrate.migrate(url)
        assert str(refusal.value).startswith(f"The database at 127.0.0.1:{unused_port}/crm does not answer: ")
        assert "hush" not in str(refusal.value)

    @pytest.mark.parametrize("url", ["no such thing", "postgres:/me:hush@db/crm"])
    async def test_that_its_address_is_none_without_repeating_it(self, url):
        with pytest.raises(DatabaseUrlUnreadable) as refusal:
            await migrate.migrate(url)
        assert str(refusal.value).startswith("DATABASE_URL is not a Postgres address")
        assert "hush" not in str(refusal.value)

    async def test_that_its_server_is_too_old(self, empty_url, monkeypatch):
        monkeypatch.setattr(migrate, "SERVER", 99)
        with pytest.raises(ServerTooOld, match=r"runs Postgres \d\d; Rainmaker needs 99 or newer"):
            await migrate.migrate(empty_url)

    async def test_that_it_has_no_vectors(self, empty_url, monkeypatch):
        monkeypatch.setattr(migrate, "EXTENSION", b"no_such_extension")
        with pytest.raises(VectorMissing, match="has no pgvector"):
            await migrate.migrate(empty_url)

    async def test_that_its_vectors_are_too_old(self, empty_url, monkeypatch):
        monkeypatch.setattr(migrate, "VECTOR", (99, 1))
        with pytest.raises(VectorTooOld, match=r"has pgvector 0\.\d+\.\d+; Rainmaker needs 99.1 or newer"):
            await migrate.migrate(empty_url)

    async def test_that_its_user_may_not(self, postgres, empty_url, folder):
        role = sql.Identifier(f"guest_{uuid.uuid4().hex[:8]}")
        postgres.run(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'guest'").format(role))
        guest = make_conninfo(empty_url, user=role.as_string().strip('"'), password="guest")
        with pytest.raises(MayNotMigrate, match="does not let this user prepare it"):
            await migrate.migrate(guest, folder=folder)
        postgres.run(sql.SQL("DROP ROLE {}").format(role))


class TestCheck:
    async def test_finds_an_empty_database_behind(self, empty_url, folder):
        with pytest.raises(SchemaBehind, match=r"lacks 2 migrations, beginning with 0001_birds.sql"):
            await migrate.check(empty_url, folder=folder)

    async def test_is_content_with_a_migrated_one(self, postgres):
        await migrate.check(postgres.named(TEMPLATE))


class TestReadMigrations:
    @pytest.mark.parametrize("name", ["0001_Nests.sql", "1_nests.sql", "0001_nests.sql", "0003-nests.sql"])
    def test_refuses_a_name_out_of_line(self, folder, name):
        (folder / name).write_text("SELECT 1")
        with pytest.raises(MigrationMisnamed):
            migrate.read_migrations(folder)
