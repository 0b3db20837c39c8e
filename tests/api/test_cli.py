"""The shell door: its commands, and one sentence when something is in the way."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jwt
import pytest

from memory import settings
from memory.settings import Settings
from tests.databases import Postgres

ROOT = Path(__file__).parents[2]
SECRET = "x" * 40
Shell = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    """Run `python -m api` with nothing in the environment but what is given."""
    ours = {settings.variable(field) for field in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "api", *arguments],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(ROOT), "RAINMAKER_DATA": str(tmp_path / "data"), **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    yield run
    if (tmp_path / "data" / "postgres").is_symlink():
        shutil.rmtree((tmp_path / "data" / "postgres").resolve())


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """Return what was said of a failure, once it is known to be a single line and the status not 0."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    return done.stderr.removeprefix("rainmaker: ").rstrip("\n")


async def add_user(db, role: str) -> None:
    async with db.transaction() as tx:
        await tx.run(
            "INSERT INTO users (auth_id, email, name, role) VALUES (%(role)s, %(role)s || '@example.test', 'Kim', %(role)s)",
            role=role,
        )


def test_it_names_its_commands(shell):
    done = shell("--help")
    assert done.returncode == 0
    for command in ("run", "serve", "work", "beat", "migrate", "demo", "ingest", "token", "openapi", "rebuild"):
        assert f" {command} " in done.stdout


class TestToken:
    async def test_is_issued_to_a_user_of_the_role(self, shell, db, fresh_url):
        await add_user(db, "manager")
        done = shell("token", "--role", "manager", DATABASE_URL=fresh_url, RAINMAKER_JWT_SECRET=SECRET)
        assert done.returncode == 0, done.stderr
        claims = jwt.decode(done.stdout.strip(), SECRET, algorithms=["HS256"], audience="rainmaker-api")
        assert claims["sub"] == "manager"

    async def test_is_refused_when_the_workspace_has_nobody_like_that(self, shell, db, fresh_url):
        await add_user(db, "rep")
        done = shell("token", "--role", "admin", DATABASE_URL=fresh_url)
        assert one_sentence(done) == "The workspace has no active user with the role admin."

    def test_needs_a_schema(self, shell, postgres: Postgres):
        done = shell("token", DATABASE_URL=postgres.named("postgres"))
        assert "run `python -m api migrate`" in one_sentence(done)


class TestMigrate:
    def test_starts_a_database_of_its_own_when_there_is_none(self, shell):
        first, second = shell("migrate"), shell("migrate")
        assert first.stdout.partition(" applied, up to ")[0].isdigit(), first.stderr
        assert second.stdout == "0 applied; the schema is up to date\n"


class TestWhatIsInTheWay:
    def test_a_setting_that_cannot_be(self, shell):
        done = shell("run", RAINMAKER_PORT="no")
        assert one_sentence(done).startswith("The configuration is not valid: RAINMAKER_PORT: input should be a valid")

    def test_a_database_that_does_not_answer(self, shell, unused_port):
        done = shell("migrate", DATABASE_URL=f"postgresql://me:hush@127.0.0.1:{unused_port}/crm")
        assert one_sentence(done).startswith(f"The database at 127.0.0.1:{unused_port}/crm does not answer: ")
        assert "hush" not in done.stderr

    @pytest.mark.parametrize("command", ["serve", "work", "beat"])
    def test_nothing_to_stand_on(self, shell, command):
        assert one_sentence(shell(command)).startswith("DATABASE_URL is not set and nothing runs in ")
