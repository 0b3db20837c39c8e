"""Promises are kept once, by one worker at a time, whatever gets lost."""

import asyncio
from datetime import datetime, timedelta

import pytest

from memory import heartbeats, outbox
from memory.db import Database, Tx, clock
from memory.outbox import ClaimRow, Doorbell

LEASE = timedelta(seconds=60)
JOBS = ["mail.send", "flags.wake"]


async def promised(tx: Tx, job: str = "mail.send", **how) -> int:
    await tx.enqueue(job, **how)
    return await tx.one(int, "SELECT max(id) FROM outbox")


async def claimed(tx: Tx, worker: str = "w1", attempts: int = 5, lease: timedelta = LEASE, **how) -> ClaimRow:
    outbox_id = await promised(tx, **how)
    row = await outbox.claim(tx, outbox_id, worker=worker, lease=lease, attempts=attempts)
    assert row is not None
    return row


def later(tx: Tx, **by: float) -> Tx:
    return Tx(tx.connection, tx.now + timedelta(**by))


class TestHandOver:
    async def test_hands_over_what_is_due_oldest_first(self, tx: Tx):
        second = await promised(tx, at=tx.now - timedelta(seconds=1))
        first = await promised(tx, at=tx.now - timedelta(seconds=9))
        await promised(tx, at=tx.now + timedelta(seconds=1))
        handed = await outbox.hand_over(tx, JOBS, window=10)
        assert [row.id for row in handed] == [first, second]
        assert await outbox.hand_over(tx, JOBS, window=10) == []

    async def test_waits_for_a_later_moment(self, tx: Tx):
        due_at = tx.now + timedelta(hours=1)
        outbox_id = await promised(tx, at=due_at)
        assert await outbox.next_due_at(tx) == due_at
        assert [row.id for row in await outbox.hand_over(later(tx, hours=1), JOBS, window=10)] == [outbox_id]

    async def test_keeps_back_what_exceeds_the_window(self, tx: Tx):
        for _ in range(5):
            await promised(tx)
        first = await outbox.hand_over(tx, JOBS, window=3)
        assert len(first) == 3
        assert await outbox.hand_over(tx, JOBS, window=3) == []
        begun = await outbox.claim(tx, first[0].id, worker="w", lease=LEASE, attempts=5)
        assert begun is not None
        assert len(await outbox.hand_over(tx, JOBS, window=3)) == 1

    async def test_leaves_other_jobs_alone(self, tx: Tx):
        await promised(tx, "reports.print")
        assert await outbox.hand_over(tx, JOBS, window=10) == []

    async def test_many_relays_share_the_rows(self, db: Database):
        async with db.transaction() as tx:
            for _ in range(60):
                await tx.enqueue("mail.send")

        async def relay() -> list[int]:
            taken: list[int] = []
            while True:
                async with db.transaction() as tx:
                    rows = await outbox.hand_over(tx, JOBS, window=1000)
                if not rows:
                    return taken
                taken += [row.id for row in rows]

        shares = await asyncio.gather(*(relay() for _ in range(6)))
        taken = [outbox_id for share in shares for outbox_id in share]
        assert len(taken) == len(set(taken)) == 60


class TestHandAgain:
    async def test_brings_back_what_the_broker_lost(self, tx: Tx):
        outbox_id = await promised(tx)
        await outbox.hand_over(tx, JOBS, window=10)
        assert await outbox.hand_again(later(tx, seconds=119), JOBS) == []
        assert [row.id for row in await outbox.hand_again(later(tx, seconds=121), JOBS)] == [outbox_id]

    async def test_is_patient_while_somebody_works_on_the_same_queue(self, tx: Tx):
        outbox_id = await promised(tx)
        await outbox.hand_over(tx, JOBS, window=10)
        await claimed(tx, lease=timedelta(hours=1))
        assert await outbox.hand_again(later(tx, minutes=29), JOBS) == []
        assert [row.id for row in await outbox.hand_again(later(tx, minutes=31), JOBS)] == [outbox_id]

    async def test_brings_back_what_a_worker_left_behind(self, tx: Tx):
        row = await claimed(tx)
        assert await outbox.hand_again(later(tx, seconds=59), JOBS) == []
        assert [again.id for again in await outbox.hand_again(later(tx, seconds=61), JOBS)] == [row.id]
        second = await outbox.claim(later(tx, seconds=61), row.id, worker="w2", lease=LEASE, attempts=5)
        assert second is not None
        assert second.attempt == 2


class TestSetAsideUnknown:
    async def test_postpones_and_says_why(self, tx: Tx):
        outbox_id = await promised(tx, "reports.print")
        assert await outbox.set_aside_unknown(tx, JOBS, tries=2) == 1
        row = await outbox.get_promise(tx, outbox_id)
        assert (row.status, row.error) == ("waiting", "There is no job of this name.")
        assert row.run_at == tx.now + timedelta(minutes=1)

    async def test_gives_up_in_the_end(self, tx: Tx):
        outbox_id = await promised(tx, "reports.print")
        await outbox.set_aside_unknown(tx, JOBS, tries=2)
        await outbox.set_aside_unknown(later(tx, minutes=2), JOBS, tries=2)
        assert (await outbox.get_promise(tx, outbox_id)).status == "dead"


class TestClaim:
    async def test_lets_one_of_many_workers_in(self, db: Database):
        async with db.transaction() as tx:
            outbox_id = await promised(tx)

        async def work(number: int) -> ClaimRow | None:
            async with db.transaction() as tx:
                return await outbox.claim(tx, outbox_id, worker=f"w{number}", lease=LEASE, attempts=5)

        rows = await asyncio.gather(*(work(number) for number in range(12)))
        assert len([row for row in rows if row is not None]) == 1

    async def test_gives_the_payload_and_counts_the_attempt(self, tx: Tx):
        await tx.enqueue("mail.send", key="k", to="a@example.com", copies=2)
        outbox_id = await tx.one(int, "SELECT max(id) FROM outbox")
        row = await outbox.claim(tx, outbox_id, worker="w1", lease=LEASE, attempts=5)
        assert row is not None
        assert row.model_dump(exclude={"status"}) == {
            "id": outbox_id,
            "job": "mail.send",
            "payload": {"to": "a@example.com", "copies": 2},
            "key": "k",
            "attempt": 1,
            "worker": "w1",
        }

    async def test_refuses_what_is_done_dead_or_not_due(self, tx: Tx):
        done, dead = await claimed(tx), await claimed(tx)
        await outbox.finish(tx, done)
        await outbox.bury(tx, dead, "no use")
        early = await promised(tx, at=tx.now + timedelta(seconds=5))
        for outbox_id in (done.id, dead.id, early, 10**9):
            assert await outbox.claim(tx, outbox_id, worker="w2", lease=LEASE, attempts=5) is None

    async def test_buries_what_kills_its_workers(self, tx: Tx):
        row = await claimed(tx, attempts=2)
        again = await outbox.claim(later(tx, minutes=2), row.id, worker="w2", lease=LEASE, attempts=2)
        assert again is not None
        assert await outbox.claim(later(tx, minutes=4), row.id, worker="w3", lease=LEASE, attempts=2) is None
        buried = await outbox.get_promise(tx, row.id)
        assert (buried.status, buried.attempts) == ("dead", 2)
        assert buried.error == "Given up: worker w2 vanished."


class TestLease:
    async def test_a_renewed_lease_keeps_others_out(self, tx: Tx):
        row = await claimed(tx)
        assert await outbox.renew(later(tx, seconds=50), row, lease=LEASE)
        assert await outbox.hand_again(later(tx, seconds=100), JOBS) == []

    @pytest.mark.parametrize("act", ["renew", "finish", "bury", "put_back"])
    async def test_a_worker_that_lost_its_lease_changes_nothing(self, tx: Tx, act: str):
        first = await claimed(tx)
        second = await outbox.claim(later(tx, minutes=2), first.id, worker="w2", lease=LEASE, attempts=5)
        assert second is not None
        acts = {
            "renew": lambda: outbox.renew(tx, first, lease=LEASE),
            "finish": lambda: outbox.finish(tx, first),
            "bury": lambda: outbox.bury(tx, first, "late"),
            "put_back": lambda: outbox.put_back(tx, first, "late", wait=LEASE),
        }
        before = await outbox.get_promise(tx, first.id)
        assert await acts[act]() is False
        assert await outbox.get_promise(tx, first.id) == before

    async def test_a_revived_promise_is_not_finished_by_its_former_worker(self, tx: Tx):
        first = await claimed(tx, worker="w1")
        await outbox.bury(tx, first, "no use")
        await outbox.revive(tx, first.id)
        assert await outbox.claim(tx, first.id, worker="w2", lease=LEASE, attempts=5) is not None
        assert await outbox.finish(tx, first) is False


class TestPutBack:
    async def test_waits_and_is_handed_over_again(self, tx: Tx):
        row = await claimed(tx)
        assert await outbox.put_back(tx, row, "server busy", wait=timedelta(seconds=30))
        waiting = await outbox.get_promise(tx, row.id)
        assert (waiting.status, waiting.error) == ("waiting", "server busy")
        assert await outbox.hand_over(later(tx, seconds=29), JOBS, window=10) == []
        assert len(await outbox.hand_over(later(tx, seconds=30), JOBS, window=10)) == 1

    async def test_gives_way_to_the_same_promise_made_anew(self, tx: Tx):
        row = await claimed(tx, key="daily")
        twin = await promised(tx, key="daily")
        assert twin != row.id
        assert await outbox.put_back(tx, row, "server busy", wait=timedelta(0))
        old = await outbox.get_promise(tx, row.id)
        assert (old.status, old.error) == ("done", f"server busy (promised again as {twin})")
        assert (await outbox.get_promise(tx, twin)).status == "waiting"


class TestPause:
    def test_grows_threefold_up_to_the_longest(self):
        for attempt, seconds in ((1, 5), (2, 15), (3, 45), (20, 3600)):
            pause = outbox.pause(attempt).total_seconds()
            assert 0.8 * seconds <= pause <= 1.2 * seconds


class TestPromiseUnlessOpen:
    async def test_does_not_pile_up(self, tx: Tx):
        assert await outbox.promise_unless_open(tx, "mail.send", "beat", folder="inbox")
        outbox_id = await tx.one(int, "SELECT max(id) FROM outbox")
        assert not await outbox.promise_unless_open(tx, "mail.send", "beat")
        await outbox.hand_over(tx, JOBS, window=10)
        assert not await outbox.promise_unless_open(tx, "mail.send", "beat")
        row = await outbox.claim(tx, outbox_id, worker="w", lease=LEASE, attempts=5)
        assert row is not None
        assert row.payload == {"folder": "inbox"}
        assert not await outbox.promise_unless_open(tx, "mail.send", "beat")
        await outbox.finish(tx, row)
        assert await outbox.promise_unless_open(tx, "mail.send", "beat")

    async def test_two_clocks_promise_once(self, db: Database):
        async def tick() -> bool:
            async with db.transaction() as tx:
                return await outbox.promise_unless_open(tx, "mail.send", "beat")

        assert sorted(await asyncio.gather(*(tick() for _ in range(8)))) == [False] * 7 + [True]


class TestEnqueue:
    async def test_is_undone_with_its_transaction(self, db: Database):
        async def fail() -> None:
            async with db.transaction() as tx:
                await tx.enqueue("mail.send")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            await fail()
        async with db.reading() as tx:
            assert (await outbox.count_promises(tx)).waiting == 0

    async def test_a_key_makes_it_one(self, tx: Tx):
        await tx.enqueue("mail.send", key="k", n=1)
        await tx.enqueue("mail.send", key="k", n=2)
        await tx.enqueue("flags.wake", key="k", n=3)
        assert await tx.many(int, "SELECT (payload->>'n')::int FROM outbox ORDER BY id") == [1, 3]

    async def test_leans_on_a_promise_that_is_handed_over_and_not_begun(self, tx: Tx):
        outbox_id = await promised(tx, key="k")
        await outbox.hand_over(tx, JOBS, window=10)
        await tx.enqueue("mail.send", key="k")
        await tx.enqueue("mail.send", key="k", at=tx.now + timedelta(seconds=5))
        assert await tx.many(int, "SELECT id FROM outbox") == [outbox_id]
        assert await outbox.claim(tx, outbox_id, worker="w", lease=LEASE, attempts=5) is not None
        await tx.enqueue("mail.send", key="k")
        assert await tx.one(int, "SELECT count(*) FROM outbox") == 2

    async def test_is_for_the_earlier_moment_of_two(self, tx: Tx):
        for hours, expected in ((5, 5), (3, 3), (4, 3), (0, 0)):
            await tx.enqueue("mail.send", key="k", at=tx.now + timedelta(hours=hours))
            assert await tx.many(datetime, "SELECT run_at FROM outbox") == [tx.now + timedelta(hours=expected)]

    async def test_does_not_lean_on_now_for_what_is_meant_for_later(self, tx: Tx):
        await promised(tx, key="k")
        await outbox.hand_over(tx, JOBS, window=10)
        await tx.enqueue("mail.send", key="k", at=tx.now + timedelta(hours=1))
        assert await tx.one(int, "SELECT count(*) FROM outbox") == 2

    @pytest.mark.parametrize("handed", [True, False])
    async def test_a_promise_that_is_leaned_on_is_not_begun_before_the_commit(self, db: Database, handed: bool):
        """Else the worker would not see what the second transaction wrote, and nobody would come again for it."""
        async with db.transaction() as tx:
            outbox_id = await promised(tx, key="k")
            if handed:
                await outbox.hand_over(tx, JOBS, window=10)
        seen: list[int] = []

        async def work() -> None:
            while not seen:
                async with db.transaction() as tx:
                    await outbox.hand_over(tx, JOBS, window=10)
                async with db.transaction() as tx:
                    status = await tx.one(str, "SELECT status FROM outbox WHERE id = %(id)s", id=outbox_id)
                    if status == "handed":
                        await outbox.claim(tx, outbox_id, worker="w", lease=LEASE, attempts=5)
                        seen.append(await tx.one(int, "SELECT count(*) FROM heartbeats"))

        async with db.transaction() as tx:
            await heartbeats.record(tx, "written:by:us")
            await tx.enqueue("mail.send", key="k")
            worker = asyncio.create_task(work())
            for _ in range(20):  # time enough for a worker that does not wait
                await asyncio.sleep(0.005)
            assert seen == []
        await worker
        assert seen == [1]

    async def test_many_at_once_make_one_promise(self, db: Database):
        async def promise() -> None:
            async with db.transaction() as tx:
                await tx.enqueue("mail.send", key="k")

        await asyncio.gather(*(promise() for _ in range(12)))
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM outbox") == 1


class TestRevive:
    async def test_gives_all_attempts_again(self, tx: Tx):
        row = await claimed(tx)
        await outbox.bury(tx, row, "no use")
        assert [dead.id for dead in await outbox.list_promises(tx, "dead")] == [row.id]
        revived = await outbox.revive(tx, row.id)
        assert (revived.status, revived.attempts, revived.error) == ("waiting", 0, None)

    async def test_refuses_what_is_not_dead(self, tx: Tx):
        row = await claimed(tx)
        with pytest.raises(outbox.PromiseNotDead, match="is running"):
            await outbox.revive(tx, row.id)
        with pytest.raises(outbox.PromiseNotFound):
            await outbox.revive(tx, 10**9)


class TestCountPromises:
    async def test_counts_by_status_and_says_how_late(self, tx: Tx):
        await outbox.finish(tx, await claimed(tx))
        await outbox.bury(tx, await claimed(tx), "no use")
        await claimed(tx)
        await promised(tx)
        await outbox.hand_over(tx, JOBS, window=10)
        await promised(tx, at=tx.now - timedelta(seconds=90))
        counts = await outbox.count_promises(tx)
        assert counts.model_dump() == {"waiting": 1, "handed": 1, "running": 1, "done": 1, "dead": 1, "late_s": 90.0}


class TestPrunePromises:
    async def test_forgets_only_what_is_old_and_over(self, tx: Tx):
        done, dead, running = await claimed(tx), await claimed(tx), await claimed(tx)
        await outbox.finish(tx, done)
        await outbox.bury(tx, dead, "no use")
        waiting = await promised(tx)
        after = tx.now + timedelta(seconds=1)
        assert await outbox.prune_promises(tx, done_before=after, dead_before=tx.now) == 1
        assert await tx.many(int, "SELECT id FROM outbox ORDER BY id") == [dead.id, running.id, waiting]
        assert await outbox.prune_promises(tx, done_before=after, dead_before=after) == 1


class TestDoorbell:
    async def test_rings_at_a_commit(self, db: Database):
        bell = Doorbell(db.url)
        try:
            assert await bell.wait(0.05) is False
            ringing = asyncio.create_task(bell.wait(20))
            async with db.transaction() as tx:
                await tx.enqueue("mail.send")
            assert await ringing is True
        finally:
            await bell.close()

    async def test_hears_what_rang_between_two_waits(self, db: Database):
        bell = Doorbell(db.url)
        try:
            await bell.wait(0.05)
            async with db.transaction() as tx:
                await tx.enqueue("mail.send")
            assert await bell.wait(20) is True
        finally:
            await bell.close()

    async def test_listens_again_after_its_connection_was_cut(self, db: Database):
        bell = Doorbell(db.url)
        try:
            await bell.wait(0.05)
            async with db.reading() as tx:
                cut = await tx.many(
                    bool,
                    """
                    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                     WHERE datname = current_database() AND starts_with(query, 'LISTEN')
                    """,
                )
            assert cut == [True]
            assert await bell.wait(0.05) is False
            ringing = asyncio.create_task(bell.wait(20))
            # The bell listens anew inside wait(): ring until it is heard.
            while not ringing.done():
                async with db.transaction() as tx:
                    await tx.enqueue("mail.send")
                await asyncio.wait({ringing}, timeout=0.05)
            assert ringing.result() is True
        finally:
            await bell.close()

    async def test_lets_the_time_pass_when_nobody_answers(self):
        bell = Doorbell("postgresql://nobody@127.0.0.1:1/none")
        before = clock()
        assert await bell.wait(0.1) is False
        assert clock() - before >= timedelta(seconds=0.1)


class TestHeartbeats:
    async def test_tells_who_is_alive(self, tx: Tx):
        await heartbeats.record(tx, "worker:host:1", jobs=3)
        await heartbeats.record(later(tx, minutes=-5), "worker:host:2")
        await heartbeats.record(tx, "beat:host:3")
        assert [(row.name, row.detail) for row in await heartbeats.list_alive(tx, "worker")] == [
            ("worker:host:1", {"jobs": 3})
        ]
        await heartbeats.record(later(tx, seconds=40), "worker:host:1")
        assert [row.name for row in await heartbeats.list_alive(later(tx, seconds=41), "worker")] == ["worker:host:1"]

    async def test_forgets_the_departed(self, tx: Tx):
        await heartbeats.record(tx, "worker:host:1")
        await heartbeats.record(tx, "worker:host:2")
        await heartbeats.forget(tx, "worker:host:1")
        assert await heartbeats.prune(tx, before=tx.now + timedelta(seconds=1)) == 1
        assert await heartbeats.list_alive(tx, "worker") == []
