"""The shell door: its commands, and one sentence when something is in the way."""

import json
import os
import re
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


class TestIngest:
    @pytest.fixture
    def mailbox(self, tmp_path: Path) -> Path:
        mails = [
            f"From x@example.test Mon Jan  5 10:00:00 2026\nMessage-ID: <{n}@example.test>\nFrom: Kim <kim@example.test>\n"
            f"To: rep@example.test\nDate: Mon, 5 Jan 2026 10:00:0{n} +0000\nSubject: Offer {n}\n\nCan you send the offer?\n\n"
            for n in range(3)
        ]
        path = tmp_path / "mail.mbox"
        path.write_text("".join(mails))
        return path

    async def test_reads_into_the_mailbox_of_the_first_rep_and_once(self, shell, db, fresh_url, mailbox):
        await add_user(db, "rep")
        first = shell("ingest", str(mailbox), DATABASE_URL=fresh_url)
        second = shell("ingest", str(mailbox), DATABASE_URL=fresh_url)
        assert re.findall(r"(seen|written|known already) +(\d)", first.stdout + second.stdout) == [
            ("seen", "3"), ("written", "3"), ("known already", "0"),
            ("seen", "3"), ("written", "0"), ("known already", "3"),
        ]  # fmt: skip
        async with db.reading() as tx:
            assert await tx.many(str, "SELECT subject FROM communications ORDER BY occurred_at") == [
                "Offer 0",
                "Offer 1",
                "Offer 2",
            ]

    async def test_says_when_nobody_could_own_it(self, shell, fresh_url, mailbox):
        done = shell("ingest", str(mailbox), DATABASE_URL=fresh_url)
        assert one_sentence(done) == "The workspace has no active rep; say whose mailbox it is with --mailbox."

    async def test_says_when_there_is_no_mail(self, shell, db, fresh_url, tmp_path):
        await add_user(db, "rep")
        assert "holds no mail" in one_sentence(shell("ingest", str(tmp_path / "none"), DATABASE_URL=fresh_url))

    async def test_can_be_searched_after_a_rebuild(self, shell, db, fresh_url, mailbox):
        await add_user(db, "rep")
        shell("ingest", str(mailbox), DATABASE_URL=fresh_url)
        done = shell("rebuild", DATABASE_URL=fresh_url, RAINMAKER_EMBEDDING_ENGINE="hashing")
        assert re.search(r"3 sources are remembered; \S+ answers", done.stdout), done.stderr
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM knowledge_chunks WHERE embedding IS NULL") == 0


def test_openapi_starts_nothing(shell, tmp_path):
    done = shell("openapi", DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert json.loads(done.stdout)["info"]["title"] == "Rainmaker"
    assert not (tmp_path / "data").exists()
