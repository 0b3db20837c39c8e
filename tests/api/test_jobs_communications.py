"""The jobs that match and read communications."""

import asyncio

import pytest

from api.jobs import communications, kit
from api.jobs.kit import run_due_jobs, run_job_inline
from memory.db import Database
from memory.settings import Settings
from tests.given import Given
from tools.analysis import claims


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(_env_file=None, data=tmp_path, OPENAI_API_KEY=None, OPENAI_BASE_URL=None)  # pyright: ignore[reportCallIssue]


async def fill(db: Database, count: int, **values) -> list:
    async with db.transaction() as tx:
        given = Given(tx)
        rep = await given.user()
        await given.contact("Dana", email="dana@lee.example")
        return [
            await given.communication(user=rep, sender_email="dana@lee.example", full_content=f"I will send report {number} by Friday.",
                                      occurred_at=given.ago(hours=count - number), **values)
            for number in range(count)
        ]  # fmt: skip


async def count(db: Database, what: str) -> int:
    async with db.reading() as tx:
        return await tx.one(int, f"SELECT count(*) FROM {what}")  # pyright: ignore[reportArgumentType]


class TestAnalyzePending:
    async def test_matches_and_reads_all_that_wait(self, db: Database, settings: Settings):
        await fill(db, 5)

        await run_job_inline(db, "communications.analyze_pending", settings=settings)

        assert await count(db, "communications WHERE analysis_status = 'complete' AND match_status = 'auto'") == 5
        assert await count(db, "communication_analysis") == 5
        assert await count(db, "promises") == 5

    async def test_promises_the_rest_so_that_others_can_help(
        self, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(communications, "BATCH", 2)
        await fill(db, 5)

        await run_job_inline(db, "communications.analyze_pending", settings=settings)
        promised = await count(db, "outbox WHERE job = 'communications.analyze_pending'")
        await run_due_jobs(db, settings=settings)

        assert promised == 1
        assert await count(db, "communications WHERE analysis_status = 'complete'") == 5

    async def test_two_workers_read_every_message_once(
        self, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(communications, "BATCH", 3)
        await fill(db, 12)

        async def work() -> None:
            for _ in range(4):
                await run_job_inline(db, "communications.analyze_pending", settings=settings)

        await asyncio.gather(work(), work())

        assert await count(db, "communications WHERE analysis_status = 'complete'") == 12
        assert await count(db, "communication_analysis") == 12
        assert await count(db, "agent_runs WHERE agent = 'analysis'") == 12

    async def test_gives_up_a_message_after_three_failures_and_reads_the_others(
        self, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        from agents.analysis import checks

        broken, *_ = await fill(db, 3)
        check = checks.check

        def fail(reading, message, offered, *, suspected):
            if "report 0" in message.content:
                raise RuntimeError("cannot be read")
            return check(reading, message, offered, suspected=suspected)

        monkeypatch.setattr(checks, "check", fail)
        for _ in range(4):
            await run_job_inline(db, "communications.analyze_pending", settings=settings)

        assert await count(db, "communications WHERE analysis_status = 'complete'") == 2
        async with db.reading() as tx:
            row = await tx.one(
                str,
                "SELECT analysis_status || ' ' || analysis_attempts || ' ' || (analysis_error <> '') FROM communications WHERE id = %(id)s",
                id=broken.id,
            )
        assert row == "failed 3 true"

    async def test_gives_back_what_it_has_not_begun_when_it_is_stopped(
        self, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(communications, "AT_ONCE", 1)
        await fill(db, 4)
        began = asyncio.Event()

        async def hang(*_):
            began.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(communications, "_read", hang)
        job = asyncio.create_task(run_job_inline(db, "communications.analyze_pending", settings=settings))
        await began.wait()
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

        assert await count(db, "communications WHERE analysis_status = 'pending' AND analysis_attempts = 0") == 3
        assert await count(db, "communications WHERE analysis_status = 'processing'") == 1
        assert await count(db, "outbox WHERE job = 'communications.analyze_pending'") == 1

    async def test_hands_the_rest_on_when_its_worker_is_about_to_end(
        self, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(communications, "AT_ONCE", 1)
        await fill(db, 4)

        async def read(run: kit.Run, *_) -> bool:
            run.means.closing = True
            return True

        monkeypatch.setattr(communications, "_read", read)
        await run_job_inline(db, "communications.analyze_pending", settings=settings)

        assert await count(db, "communications WHERE analysis_status = 'pending' AND analysis_attempts = 0") == 3
        assert await count(db, "outbox WHERE job = 'communications.analyze_pending'") == 1


class TestAnalyzeOne:
    async def test_reads_one_and_again_by_force(self, db: Database, settings: Settings):
        row, _ = await fill(db, 2)

        await run_job_inline(db, "communications.analyze_one", {"communication_id": row.id}, settings=settings)
        await run_job_inline(
            db, "communications.analyze_one", {"communication_id": row.id, "force": True}, settings=settings
        )

        assert await count(db, "communication_analysis") == 2
        async with db.transaction() as tx:
            assert await claims.has_pending(tx)


class TestMarkOverdue:
    async def test_marks_what_is_late(self, db: Database):
        async with db.transaction() as tx:
            given = Given(tx)
            await given.promise(owner=await given.user(), due_by=given.ago(days=1))

        await run_job_inline(db, "promises.mark_overdue")

        assert await count(db, "promises WHERE status = 'overdue'") == 1


def test_the_jobs_are_known():
    assert {"communications.analyze_pending", "communications.analyze_one", "promises.mark_overdue"} <= {
        job.name for job in kit.list_jobs()
    }
