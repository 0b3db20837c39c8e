"""
Promised work: rows that a transaction left behind, and the worker that keeps each promise.

    waiting ──hand over──> handed ──claim──> running ──> done
       ^                     ^                 │  │
       │                     └── lease over ───┘  ├──> dead   (tried often enough, or never worth a try)
       └───────────── try again later ────────────┘

The broker only carries ids, so losing it, or a message of it, or getting a message twice changes nothing: what is
handed over and not begun, and what a vanished worker left running, is handed over again, and `claim` lets one worker in.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal

from psycopg import AsyncConnection, Error

from memory.db import Json, Tx, UniqueViolation
from memory.errors import Conflict, NotFound
from memory.rows import Row

CHANNEL = "outbox"
STALE = timedelta(minutes=2)
"""How long a promise may lie at the broker, while nobody works on its kind, before it is handed over again."""
QUEUED = timedelta(minutes=30)
"""How long it may lie there while somebody does: then it is in line behind others, or lost."""
Status = Literal["waiting", "handed", "running", "done", "dead"]


class PromiseNotFound(NotFound):
    """Job {outbox_id} does not exist."""


class PromiseNotDead(Conflict):
    """Job {outbox_id} is {status}; only dead jobs are brought back."""


class HandedRow(Row):
    """What the broker carries."""

    id: int
    job: str


class ClaimRow(Row):
    """What one worker may carry out now; `worker` and `attempt` are its right to do so."""

    id: int
    job: str
    payload: dict[str, Any]
    key: str | None
    attempt: int
    worker: str


class PromiseRow(Row):
    """A promise as operators see it."""

    id: int
    job: str
    payload: dict[str, Any]
    key: str | None
    status: Status
    run_at: datetime
    attempts: int
    worker: str | None
    error: str | None
    finished_at: datetime | None
    created_at: datetime


PROMISE = "id, job, payload, key, status, run_at, attempts, worker, error, finished_at, created_at"


# Handing over -------------------------------------------------------------------------------------------------------


async def hand_over(tx: Tx, jobs: Sequence[str], *, window: int) -> list[HandedRow]:
    """
    Mark the due promises of these jobs as handed over and return them, oldest first; commit, then tell the broker.

    At most `window` of them are with the broker at once: the rest keeps its place here, where it can be seen and where
    handing over again what the broker lost stays cheap. Several relays share the rows between them.
    """
    return await tx.many(
        HandedRow,
        """
        WITH room AS (
            SELECT greatest(%(window)s - count(*), 0) AS rows FROM outbox WHERE status = 'handed' AND job = ANY(%(jobs)s)
        ), due AS (
            SELECT id FROM outbox
             WHERE status = 'waiting' AND run_at <= %(now)s AND job = ANY(%(jobs)s)
             ORDER BY run_at, id
             LIMIT (SELECT rows FROM room)
               FOR UPDATE SKIP LOCKED
        ), handed AS (
            UPDATE outbox SET status = 'handed', handed_at = %(now)s
             WHERE id IN (SELECT id FROM due)
            RETURNING id, job, run_at
        )
        SELECT id, job FROM handed ORDER BY run_at, id
        """,
        jobs=list(jobs),
        window=window,
    )


async def hand_again(
    tx: Tx, jobs: Sequence[str], *, stale: timedelta = STALE, queued: timedelta = QUEUED, limit: int = 200
) -> list[HandedRow]:
    """
    Mark as handed over, once more, what the broker seems to have lost, and what a worker left behind unfinished.

    `jobs` are those that share a queue: what lies there longer than `stale` is lost, unless somebody works on one of
    them, and then it is after `queued`.
    """
    return await tx.many(
        HandedRow,
        """
        WITH patience AS (
            SELECT CASE WHEN EXISTS (SELECT FROM outbox
                                      WHERE status = 'running' AND lease_until >= %(now)s AND job = ANY(%(jobs)s))
                        THEN %(queued)s::interval ELSE %(stale)s::interval END AS time
        ), lost AS (
            SELECT id FROM outbox
             WHERE job = ANY(%(jobs)s)
               AND (status = 'handed' AND handed_at < %(now)s - (SELECT time FROM patience)
                    OR status = 'running' AND lease_until < %(now)s)
             ORDER BY id
             LIMIT %(limit)s
               FOR UPDATE SKIP LOCKED
        )
        UPDATE outbox SET status = 'handed', handed_at = %(now)s, lease_until = NULL
         WHERE id IN (SELECT id FROM lost)
        RETURNING id, job
        """,
        jobs=list(jobs),
        stale=stale,
        queued=queued,
        limit=limit,
    )


async def set_aside_unknown(
    tx: Tx, jobs: Sequence[str], *, tries: int = 60, wait: timedelta = timedelta(minutes=1)
) -> int:
    """
    Postpone due promises of jobs that are not among `jobs`, and give them up after `tries`; return how many.

    During a release the new version may promise what the old one has never heard of.
    """
    return await tx.run(
        """
        UPDATE outbox
           SET attempts = attempts + 1,
               error = 'There is no job of this name.',
               run_at = %(now)s + %(wait)s,
               status = CASE WHEN attempts + 1 >= %(tries)s THEN 'dead' ELSE 'waiting' END,
               finished_at = CASE WHEN attempts + 1 >= %(tries)s THEN %(now)s END
         WHERE id IN (SELECT id FROM outbox
                       WHERE status = 'waiting' AND run_at <= %(now)s AND NOT job = ANY(%(jobs)s)
                       LIMIT 100
                         FOR UPDATE SKIP LOCKED)
        """,
        jobs=list(jobs),
        tries=tries,
        wait=wait,
    )


async def next_due_at(tx: Tx) -> datetime | None:
    """Return when the next waiting promise is due, or None."""
    return await tx.maybe(datetime, "SELECT min(run_at) FROM outbox WHERE status = 'waiting'")


# Carrying out -------------------------------------------------------------------------------------------------------


async def claim(tx: Tx, outbox_id: int, *, worker: str, lease: timedelta, attempts: int) -> ClaimRow | None:
    """
    Take the promise for this worker until the lease ends; None when it is not to be had.

    It is not when another worker has it, when it is finished, or when its time has not come. One that was begun
    `attempts` times already, and never ended, kills its workers: it is dead now.
    """
    row = await tx.maybe(
        _Claimed,
        """
        UPDATE outbox
           SET status = CASE WHEN attempts >= %(attempts)s THEN 'dead' ELSE 'running' END,
               error = CASE WHEN attempts >= %(attempts)s
                            THEN coalesce(error || ' ', '') || 'Given up: worker ' || coalesce(worker, '?') || ' vanished.'
                            ELSE error END,
               finished_at = CASE WHEN attempts >= %(attempts)s THEN %(now)s END,
               lease_until = CASE WHEN attempts < %(attempts)s THEN %(now)s + %(lease)s END,
               worker = %(worker)s,
               attempts = least(attempts + 1, %(attempts)s)
         WHERE id = %(outbox_id)s
           AND (status = 'handed'
                OR status = 'waiting' AND run_at <= %(now)s
                OR status = 'running' AND lease_until < %(now)s)
        RETURNING id, job, payload, key, attempts AS attempt, worker, status
        """,
        outbox_id=outbox_id,
        worker=worker,
        lease=lease,
        attempts=attempts,
    )
    return row if row is not None and row.status == "running" else None


class _Claimed(ClaimRow):
    status: Status


async def renew(tx: Tx, claimed: ClaimRow, *, lease: timedelta) -> bool:
    """Extend the lease; False when the promise is not this worker's any more."""
    return bool(
        await tx.run(
            """
            UPDATE outbox SET lease_until = %(now)s + %(lease)s
             WHERE id = %(id)s AND status = 'running' AND attempts = %(attempt)s AND worker = %(worker)s
            """,
            id=claimed.id,
            attempt=claimed.attempt,
            worker=claimed.worker,
            lease=lease,
        )
    )


async def finish(tx: Tx, claimed: ClaimRow) -> bool:
    """Record that the promise is kept; False when it is not this worker's any more."""
    return bool(
        await tx.run(
            """
            UPDATE outbox SET status = 'done', finished_at = %(now)s, lease_until = NULL, error = NULL
             WHERE id = %(id)s AND status = 'running' AND attempts = %(attempt)s AND worker = %(worker)s
            """,
            id=claimed.id,
            attempt=claimed.attempt,
            worker=claimed.worker,
        )
    )


async def bury(tx: Tx, claimed: ClaimRow, error: str) -> bool:
    """Give the promise up for good, visibly; False when it is not this worker's any more."""
    return bool(
        await tx.run(
            """
            UPDATE outbox SET status = 'dead', finished_at = %(now)s, lease_until = NULL, error = %(error)s
             WHERE id = %(id)s AND status = 'running' AND attempts = %(attempt)s AND worker = %(worker)s
            """,
            id=claimed.id,
            attempt=claimed.attempt,
            worker=claimed.worker,
            error=_brief(error),
        )
    )


async def put_back(tx: Tx, claimed: ClaimRow, error: str, *, wait: timedelta) -> bool:
    """
    Have the promise tried again after `wait`; False when it is not this worker's any more.

    When the same promise (job and key) has been made anew meanwhile, that one stands for both.
    """
    for _ in range(3):
        try:
            async with tx.savepoint():
                return await _wait_again(tx, claimed, _brief(error), wait)
        except UniqueViolation:  # made anew between the look and the write
            continue
    return False


async def _wait_again(tx: Tx, claimed: ClaimRow, error: str, wait: timedelta) -> bool:
    return bool(
        await tx.run(
            """
            UPDATE outbox AS mine
               SET status = CASE WHEN twin.id IS NULL THEN 'waiting' ELSE 'done' END,
                   finished_at = CASE WHEN twin.id IS NOT NULL THEN %(now)s END,
                   run_at = %(now)s + %(wait)s,
                   lease_until = NULL,
                   handed_at = NULL,
                   error = CASE WHEN twin.id IS NULL THEN %(error)s
                                ELSE %(error)s || ' (promised again as ' || twin.id || ')' END
              FROM outbox AS me
              LEFT JOIN outbox AS twin
                     ON twin.job = me.job AND twin.key = me.key AND twin.status = 'waiting' AND twin.id <> me.id
             WHERE me.id = %(id)s AND mine.id = me.id AND mine.status = 'running'
               AND mine.attempts = %(attempt)s AND mine.worker = %(worker)s
            """,
            id=claimed.id,
            attempt=claimed.attempt,
            worker=claimed.worker,
            error=error,
            wait=wait,
        )
    )


def pause(attempt: int, *, first: float = 5.0, longest: float = 3600.0) -> timedelta:
    """Return how long to wait after this attempt (from 1): first, 3x, 9x ... with a fifth of jitter, in seconds."""
    seconds = min(longest, first * 3.0 ** (attempt - 1))
    return timedelta(seconds=seconds * random.uniform(0.8, 1.2))  # noqa: S311 - spreads retries, guards nothing


def _brief(error: str) -> str:
    return error.replace("\x00", "")[:2000]


class Doorbell:
    """
    Hears that something was promised: LISTEN on a connection of its own.

    When that connection is lost, `wait` only lets the time pass, and tries to listen again the next time.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: AsyncConnection[Any] | None = None

    async def wait(self, seconds: float) -> bool:
        """Wait until something was promised, at most so long; tell whether it was."""
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout(max(seconds, 0.05)):
                connection = await self._listening()
            heard = False
            async for _ in connection.notifies(
                timeout=max(0.0, deadline - asyncio.get_running_loop().time()), stop_after=1
            ):
                heard = True
        except (Error, OSError, TimeoutError):
            await self.close()
            await asyncio.sleep(max(0.0, deadline - asyncio.get_running_loop().time()))
            return False
        else:
            return heard

    async def _listening(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await AsyncConnection.connect(self._url, autocommit=True, connect_timeout=5)
            await self._connection.execute("LISTEN outbox")
        return self._connection

    async def close(self) -> None:
        """Hang up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Error, OSError):
                await connection.close()


# Keeping order ------------------------------------------------------------------------------------------------------


async def promise_unless_open(tx: Tx, job: str, key: str, /, **payload: Any) -> bool:
    """Promise the job unless one with this key is waiting, with the broker or running; tell whether it was."""
    await tx.lock(CHANNEL, job, key)
    made = await tx.run(
        """
        INSERT INTO outbox (job, payload, key, run_at)
        SELECT %(job)s, %(payload)s, %(key)s, %(now)s
         WHERE NOT EXISTS (SELECT 1 FROM outbox
                            WHERE job = %(job)s AND key = %(key)s AND status IN ('waiting', 'handed', 'running'))
        ON CONFLICT (job, key) WHERE status = 'waiting' AND key IS NOT NULL DO NOTHING
        """,
        job=job,
        key=key,
        payload=Json(payload),
    )
    if made:
        await tx.run("SELECT pg_notify('outbox', '')")
    return bool(made)


async def get_promise(tx: Tx, outbox_id: int) -> PromiseRow:
    """
    Return one promise.

    Raises `PromiseNotFound`.
    """
    row = await tx.maybe(PromiseRow, f"SELECT {PROMISE} FROM outbox WHERE id = %(outbox_id)s", outbox_id=outbox_id)
    if row is None:
        raise PromiseNotFound(outbox_id=outbox_id)
    return row


async def list_promises(tx: Tx, status: Status, *, limit: int = 100) -> list[PromiseRow]:
    """Return the newest promises of one status."""
    return await tx.many(
        PromiseRow,
        f"SELECT {PROMISE} FROM outbox WHERE status = %(status)s ORDER BY id DESC LIMIT %(limit)s",
        status=status,
        limit=limit,
    )


async def revive(tx: Tx, outbox_id: int) -> PromiseRow:
    """
    Give a dead promise all its attempts again, at once.

    Raises `PromiseNotFound`, `PromiseNotDead`.
    """
    row = await tx.maybe(
        PromiseRow,
        f"""
        UPDATE outbox
           SET status = 'waiting', key = NULL, run_at = %(now)s, attempts = 0, error = NULL, finished_at = NULL,
               handed_at = NULL, worker = NULL
         WHERE id = %(outbox_id)s AND status = 'dead'
        RETURNING {PROMISE}
        """,
        outbox_id=outbox_id,
    )
    if row is None:
        raise PromiseNotDead(outbox_id=outbox_id, status=(await get_promise(tx, outbox_id)).status)
    await tx.run("SELECT pg_notify('outbox', '')")
    return row


class CountsRow(Row):
    """How many promises are in which state, and how late the oldest due one is."""

    waiting: int
    handed: int
    running: int
    done: int
    dead: int
    late_s: float


async def count_promises(tx: Tx) -> CountsRow:
    """Count promises by status."""
    return await tx.one(
        CountsRow,
        """
        SELECT count(*) FILTER (WHERE status = 'waiting') AS waiting,
               count(*) FILTER (WHERE status = 'handed') AS handed,
               count(*) FILTER (WHERE status = 'running') AS running,
               count(*) FILTER (WHERE status = 'done') AS done,
               count(*) FILTER (WHERE status = 'dead') AS dead,
               greatest(0, coalesce(extract(epoch FROM %(now)s - min(run_at) FILTER (WHERE status = 'waiting')), 0)) AS late_s
          FROM outbox
        """,
    )


async def prune_promises(tx: Tx, *, done_before: datetime, dead_before: datetime, limit: int = 5000) -> int:
    """Delete promises kept before the first moment and given up before the second; return how many."""
    return await tx.run(
        """
        DELETE FROM outbox
         WHERE id IN (SELECT id FROM outbox
                       WHERE status = 'done' AND finished_at < %(done_before)s
                          OR status = 'dead' AND finished_at < %(dead_before)s
                       LIMIT %(limit)s
                         FOR UPDATE SKIP LOCKED)
        """,
        done_before=done_before,
        dead_before=dead_before,
        limit=limit,
    )
