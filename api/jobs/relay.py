"""
The relay: hands promises whose time has come to the broker, after the transaction that made them.

It lives in the beat process, which is the one that must run for anything to happen by itself; the API stays free of
the broker, and a broker that is away slows nobody's request. Any number of relays may run: SKIP LOCKED shares the rows
between them, and a worker claims a promise before it begins. `NOTIFY outbox` wakes it, the next due time bounds its
sleep, and looking every second stands in for a notification that got lost.

    commit of "handed" ──> publish.  A relay that dies between the two leaves rows that are handed over again after
    `outbox.STALE`; one that finds the broker away keeps trying with the rows in its hands.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from api.jobs import kit
from memory import outbox
from memory.db import Database, clock
from memory.outbox import Doorbell, HandedRow

POLL_S = 1.0
BUSY_S = 0.1
SWEEP_S = 5.0
WINDOW = 200
STALE = outbox.STALE
LONGEST_PAUSE_S = 5.0
Publish = Callable[[Sequence[HandedRow]], None]
log = structlog.stdlib.get_logger("rainmaker.relay")


def publish(rows: Sequence[HandedRow]) -> None:
    """Tell the broker the numbers of these promises; blocks."""
    from api.jobs.worker import TASK, celery

    with celery.producer_pool.acquire(block=True) as producer:
        for row in rows:
            celery.send_task(TASK, args=[row.id, row.job], task_id=str(row.id), producer=producer, retry=False)


def _lanes() -> list[list[str]]:
    """Return the names of the jobs of each queue: a queue that is full does not keep another one waiting."""
    jobs = kit.list_jobs()
    return [[job.name for job in jobs if job.queue == queue] for queue in kit.QUEUES]


class Relay:
    """One relay; `broker_away` says whether its last try to publish failed."""

    def __init__(self, db: Database, publish: Publish = publish, *, window: int = WINDOW) -> None:
        self.broker_away = False
        self._db = db
        self._publish = publish
        self._window = window
        self._swept_at = 0.0

    async def run(self) -> None:
        """Relay until cancelled; what goes wrong is logged and tried again."""
        bell = Doorbell(self._db.url)
        try:
            while True:
                await bell.wait(await self._step_safely())
        finally:
            await bell.close()

    async def _step_safely(self) -> float:
        try:
            return await self.step()
        except Exception:
            log.exception("relay failed; trying again")
            return POLL_S

    async def step(self) -> float:
        """Hand over what is due, and return for how many seconds there is nothing to do."""
        rows, idle_s = await self._take()
        if rows:
            await self._deliver(rows)
        return idle_s

    async def _take(self) -> tuple[list[HandedRow], float]:
        """Mark what goes to the broker now; it is committed when this returns."""
        lanes = _lanes()
        rows: list[HandedRow] = []
        async with self._db.transaction() as tx:
            if self._sweep_is_due():
                for jobs in lanes:
                    rows += await outbox.hand_again(tx, jobs, stale=STALE)
                await outbox.set_aside_unknown(tx, [name for jobs in lanes for name in jobs])
            due_at = await outbox.next_due_at(tx)
            if due_at is not None and due_at <= tx.now:
                for jobs in lanes:
                    rows += await outbox.hand_over(tx, jobs, window=self._window)
        if due_at is None:
            return rows, POLL_S
        left_s = (due_at - clock()).total_seconds()
        # What is due and could not be taken (a full window, another relay) is looked at again soon.
        return rows, min(POLL_S, left_s) if left_s > 0 else (0.0 if rows else BUSY_S)

    def _sweep_is_due(self) -> bool:
        now = asyncio.get_running_loop().time()
        if now - self._swept_at < SWEEP_S and self._swept_at:
            return False
        self._swept_at = now
        return True

    async def _deliver(self, rows: Sequence[HandedRow]) -> None:
        """Publish, as often as it takes; a row that is published twice is carried out once."""
        pause_s = 0.2
        while True:
            try:
                await asyncio.to_thread(self._publish, rows)
            except Exception as failure:  # noqa: BLE001 - every transport has exceptions of its own
                self.broker_away = True
                log.warning("broker away", error=str(failure), waiting=len(rows))
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self.broker_away = False
                return
