"""Jobs are registered by their signature, carried out under a lease, retried, and given up visibly."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr, ValidationError

from api.jobs import beat, kit
from api.jobs.kit import Later, Run, carry_out, job, run_due_jobs, run_job_inline
from api.jobs.process import Means
from memory import outbox, vault
from memory.db import Database, clock
from memory.errors import Conflict, Outage, TooMany
from memory.outbox import PromiseRow
from memory.settings import Settings
from memory.vault import Vault
from tests.given import Given
from tools import mail_accounts


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry of this test's own."""
    kit.load()
    monkeypatch.setattr(kit, "_jobs", {})


@pytest.fixture
def means(db: Database) -> Means:
    return Means(db, Settings())


async def promise(db: Database, name: str, /, **payload) -> int:
    async with db.transaction() as tx:
        await tx.enqueue(name, **payload)
        return await tx.one(int, "SELECT max(id) FROM outbox")


async def look_up(db: Database, outbox_id: int) -> PromiseRow:
    async with db.reading() as tx:
        return await outbox.get_promise(tx, outbox_id)


async def until(true, *, seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await true():  # noqa: ASYNC110 - the database sets no events
            await asyncio.sleep(0.01)


class TestJob:
    async def test_gets_its_payload_by_the_types_of_its_signature(self, db: Database):
        got: list[object] = []

        @job("flags.wake")
        async def wake(run: Run, *, flag_id: UUID, at: datetime, tags: list[str] = ["a"], **_: object) -> None:  # noqa: B006
            got.extend((flag_id, at, tags))

        flag_id, at = uuid4(), datetime(2026, 1, 2, tzinfo=UTC)
        await run_job_inline(db, "flags.wake", {"flag_id": flag_id, "at": at, "from_a_newer_version": 1})
        assert got == [flag_id, at, ["a"]]

    async def test_refuses_a_payload_of_the_wrong_shape(self, db: Database):
        @job("flags.wake")
        async def wake(run: Run, *, flag_id: UUID) -> None:
            raise AssertionError

        for payload in ({}, {"flag_id": "x"}, {"flag_id": uuid4(), "more": 1}):
            with pytest.raises(ValidationError):
                await run_job_inline(db, "flags.wake", payload)

    def test_refuses_two_jobs_of_one_name(self):
        @job("flags.wake")
        async def wake(run: Run) -> None: ...

        async def other(run: Run) -> None: ...

        with pytest.raises(ValueError, match=r"two jobs called flags\.wake"):
            job("flags.wake")(other)

    async def test_says_that_there_is_no_such_job(self, db: Database):
        with pytest.raises(kit.UnknownJob, match=r"nobody\.knows"):
            await run_job_inline(db, "nobody.knows")


class TestCarryOut:
    async def test_keeps_a_promise_once(self, db: Database, means: Means):
        attempts: list[tuple[int | None, int]] = []

        @job("flags.wake")
        async def wake(run: Run, **_: object) -> None:
            attempts.append((run.job_id, run.attempt))

        outbox_id = await promise(db, "flags.wake")
        # The same message, delivered six times at once.
        kept = await asyncio.gather(*(carry_out(means, outbox_id, "flags.wake") for _ in range(6)))
        assert sorted(kept) == [False] * 5 + [True]
        assert attempts == [(outbox_id, 1)]
        assert (await look_up(db, outbox_id)).status == "done"
        assert not await carry_out(means, outbox_id, "flags.wake")

    async def test_tries_again_after_a_pause(self, db: Database, means: Means):
        @job("flags.wake", first_pause=timedelta(seconds=40))
        async def wake(run: Run, **_: object) -> None:
            raise OSError("connection reset")

        outbox_id = await promise(db, "flags.wake")
        assert not await carry_out(means, outbox_id, "flags.wake")
        row = await look_up(db, outbox_id)
        assert (row.status, row.error, row.attempts) == ("waiting", "OSError: connection reset", 1)
        assert timedelta(seconds=25) < row.run_at - clock() < timedelta(seconds=50)

    async def test_gives_up_after_the_last_attempt(self, db: Database, means: Means):
        @job("flags.wake", attempts=2, first_pause=timedelta(0))
        async def wake(run: Run, **_: object) -> None:
            raise OSError("connection reset")

        outbox_id = await promise(db, "flags.wake")
        await carry_out(means, outbox_id, "flags.wake")
        await carry_out(means, outbox_id, "flags.wake")
        row = await look_up(db, outbox_id)
        assert (row.status, row.attempts, row.error) == ("dead", 2, "OSError: connection reset")

    async def test_does_not_repeat_what_is_refused(self, db: Database, means: Means):
        class FlagResolved(Conflict):
            """Flag {flag} is resolved already."""

        @job("flags.wake")
        async def wake(run: Run, **_: object) -> None:
            raise FlagResolved(flag=7)

        outbox_id = await promise(db, "flags.wake")
        await carry_out(means, outbox_id, "flags.wake")
        row = await look_up(db, outbox_id)
        assert (row.status, row.error) == ("dead", "Flag 7 is resolved already.")

    async def test_does_not_repeat_a_payload_of_the_wrong_shape(self, db: Database, means: Means):
        @job("flags.wake")
        async def wake(run: Run, *, flag_id: UUID, **_: object) -> None: ...

        outbox_id = await promise(db, "flags.wake", flag_id="x")
        await carry_out(means, outbox_id, "flags.wake")
        row = await look_up(db, outbox_id)
        assert row.status == "dead"
        assert row.error is not None
        assert "flag_id" in row.error

    async def test_does_not_repeat_what_the_job_calls_final(self, db: Database, means: Means):
        @job("flags.wake", final=(KeyError,))
        async def wake(run: Run, **_: object) -> None:
            raise KeyError("gone")

        outbox_id = await promise(db, "flags.wake")
        await carry_out(means, outbox_id, "flags.wake")
        assert (await look_up(db, outbox_id)).status == "dead"

    @pytest.mark.parametrize("kind", ["asked", "later", "limited"])
    async def test_waits_as_long_as_it_is_asked_to(self, db: Database, means: Means, kind: str):
        class Busy(Outage):
            """Busy."""

            retry_after = 600.0

        class Limited(TooMany):
            """Too much."""

            retry_after = 600.0

        failure = {"asked": Busy(), "limited": Limited(), "later": Later("not yet", wait=timedelta(seconds=600))}[kind]

        @job("flags.wake")
        async def wake(run: Run, **_: object) -> None:
            raise failure

        outbox_id = await promise(db, "flags.wake")
        await carry_out(means, outbox_id, "flags.wake")
        row = await look_up(db, outbox_id)
        assert row.status == "waiting"
        assert timedelta(seconds=590) < row.run_at - clock() <= timedelta(seconds=600)

    async def test_stops_what_takes_too_long(self, db: Database, means: Means):
        stopped = asyncio.Event()

        @job("flags.wake", limit=timedelta(seconds=0.05))
        async def wake(run: Run, **_: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        outbox_id = await promise(db, "flags.wake")
        assert not await carry_out(means, outbox_id, "flags.wake")
        assert stopped.is_set()
        row = await look_up(db, outbox_id)
        assert (row.status, row.error) == ("waiting", "TookTooLong: It took longer than 0:00:00.050000.")

    async def test_renews_its_lease_while_it_works(self, db: Database, means: Means):
        lease = timedelta(seconds=0.6)

        @job("flags.wake", lease=lease)
        async def wake(run: Run, **_: object) -> None:
            begun = run.now

            async def outlived() -> bool:
                async with db.reading() as tx:
                    until = await tx.one(datetime, "SELECT lease_until FROM outbox WHERE id = %(id)s", id=run.job_id)
                return until > begun + 2 * lease

            await until(outlived)

        outbox_id = await promise(db, "flags.wake")
        assert await carry_out(means, outbox_id, "flags.wake")

    async def test_stops_when_another_worker_has_taken_over(self, db: Database, means: Means):
        begun, stopped = asyncio.Event(), asyncio.Event()

        @job("flags.wake", lease=timedelta(seconds=0.3))
        async def wake(run: Run, **_: object) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                stopped.set()

        outbox_id = await promise(db, "flags.wake")
        working = asyncio.create_task(carry_out(means, outbox_id, "flags.wake"))
        await begun.wait()
        async with db.transaction(clock() + timedelta(hours=1)) as tx:
            taken = await outbox.claim(tx, outbox_id, worker="other", lease=timedelta(hours=1), attempts=5)
        assert taken is not None
        assert await working is False
        assert stopped.is_set()
        row = await look_up(db, outbox_id)
        assert (row.status, row.worker, row.error) == ("running", "other", None)

    async def test_leaves_an_interrupted_job_to_the_next_worker(self, db: Database, means: Means):
        begun = asyncio.Event()

        @job("flags.wake")
        async def wake(run: Run, **_: object) -> None:
            begun.set()
            await asyncio.Event().wait()

        outbox_id = await promise(db, "flags.wake")
        working = asyncio.create_task(carry_out(means, outbox_id, "flags.wake"))
        await begun.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert (await look_up(db, outbox_id)).status == "running"

    async def test_keeps_its_promise_although_the_database_was_restarted(self, db: Database, means: Means):
        async def cut() -> None:
            """Cut every other connection, as a restart does; the pool finds out when it uses one."""
            other = await Database.open(db.url, size=1)
            async with other.reading() as tx:
                await tx.many(
                    bool,
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()
                    """,
                )
            await other.close()

        @job("flags.wake")
        async def wake(run: Run, **_: object) -> None:
            await cut()

        outbox_id = await promise(db, "flags.wake")
        await cut()
        assert await carry_out(means, outbox_id, "flags.wake")
        assert (await look_up(db, outbox_id)).attempts == 1

    async def test_leaves_a_job_it_does_not_know(self, db: Database, means: Means):
        outbox_id = await promise(db, "reports.print")
        assert not await carry_out(means, outbox_id, "reports.print")
        assert (await look_up(db, outbox_id)).status == "waiting"


class TestRunDueJobs:
    async def test_carries_out_what_is_due_and_what_that_promises(self, db: Database):
        seen: list[str] = []

        @job("mail.read")
        async def read(run: Run, *, name: str, **_: object) -> None:
            seen.append(name)
            async with run.transaction() as tx:
                await tx.enqueue("mail.sort", name=name)
                await tx.enqueue("mail.sort", name="tomorrow", at=tx.now + timedelta(days=1))

        @job("mail.sort")
        async def sort(run: Run, *, name: str, **_: object) -> None:
            seen.append(f"sorted {name}")

        await promise(db, "mail.read", name="a")
        assert await run_due_jobs(db) == ["mail.read", "mail.sort"]
        assert seen == ["a", "sorted a"]


class TestMeans:
    async def test_makes_the_embedder_once_and_closes_it(self, db: Database):
        means = Means(db, Settings(embedding_engine="hashing"))
        first, second = await asyncio.gather(means.embedder(), means.embedder())
        assert first is second
        await means.close()
        await means.close()


class TestMaintenance:
    @pytest.fixture(autouse=True)
    def registry(self) -> None:
        kit.load()

    async def test_forgets_old_promises_and_silent_processes(self, db: Database):
        async with db.transaction(clock() - timedelta(days=8)) as tx:
            await tx.enqueue("outbox.prune")
            claimed = await outbox.claim(tx, 1, worker="w", lease=timedelta(minutes=1), attempts=1)
            assert claimed is not None
            await outbox.finish(tx, claimed)
            await tx.run("INSERT INTO heartbeats (name, beat_at) VALUES ('worker:a:1', %(now)s)")
        await run_job_inline(db, "outbox.prune")
        await run_job_inline(db, "outbox.forget_silent")
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM outbox") == 0
            assert await tx.one(int, "SELECT count(*) FROM heartbeats") == 0

    async def test_seals_anew_what_an_older_key_has_sealed(self, db: Database):
        old, new = base64.b64encode(b"o" * 32).decode(), base64.b64encode(b"n" * 32).decode()
        before = Settings(vault_keys=SecretStr(f"k1:{old}"))
        async with db.transaction() as tx:
            rep = await Given(tx).user()
            sealer = Vault(before.key_ring)
            await vault.keep_secret(tx, sealer, "fireflies", b"key")
            await mail_accounts.connect_account(tx, sealer, rep.user_id or uuid4(), rep.email, "cache")
        await run_job_inline(db, "vault.reseal", settings=Settings(vault_keys=SecretStr(f"k2:{new},k1:{old}")))
        newest = Vault(Settings(vault_keys=SecretStr(f"k2:{new}")).key_ring)
        async with db.reading() as tx:
            assert await vault.read_secret(tx, newest, "fireflies") == b"key"
            sealed = await tx.one(bytes, "SELECT token_cache FROM mail_accounts")
        assert newest.open(f"mail_accounts:{rep.user_id}", sealed) == b"cache"

    async def test_forgets_answers_after_a_day(self, db: Database):
        for hours in (25, 23):
            async with db.transaction(clock() - timedelta(hours=hours)) as tx:
                await tx.run(
                    """
                    INSERT INTO idempotency_keys (user_id, key, route, request_hash, created_at)
                    VALUES (%(user_id)s, 'k', 'r', 'h', %(now)s)
                    """,
                    user_id=uuid4(),
                )
        await run_job_inline(db, "requests.forget_old")
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM idempotency_keys") == 1


class TestBeatTable:
    @pytest.fixture(autouse=True)
    def registry(self) -> None:
        kit.load()

    def test_names_only_jobs_that_exist(self):
        assert set(beat.schedule()) == {entry.job for entry in beat.TABLE}

    def test_a_job_that_does_not_exist_keeps_beat_from_starting(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(beat, "TABLE", (beat.Entry("nobody.knows", beat.every(seconds=1)),))
        with pytest.raises(kit.UnknownJob):
            beat.schedule()
