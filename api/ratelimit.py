"""
How often a principal may call, counted in fixed minutes and shared between processes.

A read must not cost a second query, so each process counts by itself and reports in arrears: when a twentieth of the
limit has gathered (and every call once the limit is near), one statement adds the gathered calls to `rate_windows` and
brings back what all processes have seen. A process therefore knows of all but the last twentieth of each other
process: with two processes a limit of 600 ends between 600 and 629 calls. Tight limits (a model's) are reported call by
call and are exact. While the database is away, each process holds the limit by itself.
"""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from memory import failures
from memory.db import Database
from memory.errors import TooMany

WINDOW_S = 60
SHARE = 20
MOST_PRINCIPALS = 100_000
REPORT_S = 2.0

log = structlog.get_logger(__name__)


class TooManyRequests(TooMany):
    """Too many requests in this minute: at most {limit}. Try again in {retry_after} seconds."""

    @property
    def retry_after(self) -> int:
        """Seconds until the next window."""
        return int(self.facts["retry_after"])


@dataclass(slots=True)
class Count:
    """One principal's minute: calls `seen` by all processes, `reporting` and `unreported` ones of this process."""

    window: int
    seen: int = 0
    reporting: int = 0
    unreported: int = 0

    @property
    def total(self) -> int:
        """Every call that this process knows of."""
        return self.seen + self.reporting + self.unreported


class Limiter:
    """The counts of one process."""

    def __init__(self, db: Database) -> None:
        """Nothing is counted yet."""
        self._db = db
        self._counts: dict[str, Count] = {}
        self._swept = 0

    def spend(self, principal: str, limit: int) -> bool:
        """Count one call; False when it must be settled with the other processes before anything else is awaited."""
        count = self._current(principal)
        count.unreported += 1
        chunk = limit // SHARE
        return count.unreported < chunk and count.total + chunk <= limit

    def hold(self, principal: str, limit: int) -> None:
        """
        Count one call in this process alone: health must not hang on the database.

        Raises `TooManyRequests` when the limit is passed.
        """
        count = self._current(principal)
        count.unreported += 1
        if count.unreported > limit:
            raise _too_many(count, limit)

    def check(self, principal: str, limit: int) -> None:
        """
        Count nothing.

        Raises `TooManyRequests` when this process has seen the limit used up.
        """
        count = self._counts.get(principal)
        if count is not None and count.window == int(time.time()) // WINDOW_S and count.unreported >= limit:
            raise _too_many(count, limit)

    def _current(self, principal: str) -> Count:
        window = int(time.time()) // WINDOW_S
        count = self._counts.get(principal)
        if count is None or count.window != window:
            if len(self._counts) >= MOST_PRINCIPALS:
                self._counts = {name: count for name, count in self._counts.items() if count.window == window}
            count = self._counts[principal] = Count(window)
        return count

    async def settle(self, principal: str, limit: int) -> None:
        """
        Report this principal's calls and learn of the others'; the call that reports stands last among them.

        Raises `TooManyRequests` when the limit is passed.
        """
        count = self._counts[principal]
        if count.seen >= limit:
            raise _too_many(count, limit)
        place = count.total
        reported, count.unreported = count.unreported, 0
        count.reporting += reported
        try:
            place = await self._report(principal, count.window, reported)
            count.seen = max(count.seen, place)
        except Exception as failure:
            if failures.told(failure) is None and not isinstance(failure, TimeoutError):
                raise
            count.unreported += reported
            log.warning("rate_limits_not_shared", reason=type(failure).__name__)
        finally:
            count.reporting -= reported
        if place > limit:
            raise _too_many(count, limit)

    async def _report(self, principal: str, window: int, hits: int) -> int:
        started_at = datetime.fromtimestamp(window * WINDOW_S, UTC)
        async with asyncio.timeout(REPORT_S), self._db.reading() as tx:
            if self._swept != window:
                self._swept = window
                await tx.run("DELETE FROM rate_windows WHERE window_start < %(now)s - interval '10 minutes'")
            return await tx.one(
                int,
                """
                INSERT INTO rate_windows (principal, window_start, hits) VALUES (%(principal)s, %(started_at)s, %(hits)s)
                ON CONFLICT (principal, window_start) DO UPDATE SET hits = rate_windows.hits + EXCLUDED.hits
                RETURNING hits
                """,
                principal=principal,
                started_at=started_at,
                hits=hits,
            )


def _too_many(count: Count, limit: int) -> TooManyRequests:
    left = (count.window + 1) * WINDOW_S - time.time()
    return TooManyRequests(limit=limit, retry_after=max(1, int(left) + 1))
