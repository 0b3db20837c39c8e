"""
Who reads a communication: one reader at a time, three attempts, and no claim that outlives its reader.

The moment of the claim is its token: a reader whose claim ran out and was given to another saves nothing.
"""

from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict
from memory.rows import Row
from tools.communications.rows import VISIBLE, CommunicationNotFound

LEASE = timedelta(minutes=15)
ATTEMPTS = 3


class AnalysisRunning(Conflict):
    """Communication {communication_id} is being analysed now."""


class ClaimLost(Conflict):
    """Communication {communication_id} was given to another reader."""


class ClaimRow(Row):
    """A communication to read, and the token of the claim on it."""

    id: UUID
    user_id: UUID
    thread_id: str
    company_id: UUID | None
    match_status: str
    occurred_at: datetime
    claimed_at: datetime


class StandingRow(Row):
    """What became of a claim: `claimed` with its token, `unchanged` when it was read before, `skipped` as noise."""

    status: Literal["claimed", "unchanged", "skipped"]
    claimed_at: datetime | None = None
    analysis_id: UUID | None = None
    version: int | None = None
    engine: str | None = None


class _State(Row):
    analysis_status: str
    analysis_claimed_at: datetime | None
    noise_type: str | None
    excluded_at: datetime | None
    analysis_id: UUID | None
    version: int | None
    engine: str | None


async def claim_pending(tx: Tx, *, limit: int) -> list[ClaimRow]:
    """
    Claim the oldest communications that wait to be read, past what others hold; noise is skipped on the way.

    Oldest first, so that a promise is known before the message that keeps it.
    """
    await _tidy(tx)
    return await tx.many(
        ClaimRow,
        """
        WITH due AS (
            SELECT id FROM communications
             WHERE analysis_status = 'pending' AND excluded_at IS NULL AND noise_type IS NULL
             ORDER BY occurred_at, id
             LIMIT %(limit)s
               FOR UPDATE SKIP LOCKED)
        UPDATE communications m
           SET analysis_status = 'processing', analysis_claimed_at = %(now)s, analysis_attempts = m.analysis_attempts + 1
          FROM due
         WHERE m.id = due.id
        RETURNING m.id, m.user_id, m.thread_id, m.company_id, m.match_status, m.occurred_at, m.analysis_claimed_at AS claimed_at
        """,
        limit=limit,
    )


async def _tidy(tx: Tx) -> None:
    """Take back claims whose reader died, give up what has been tried often enough, skip noise."""
    await tx.run(
        """
        WITH lost AS (
            SELECT id FROM communications
             WHERE analysis_status = 'processing' AND analysis_claimed_at < %(now)s::timestamptz - %(lease)s::interval
               FOR UPDATE SKIP LOCKED)
        UPDATE communications m
           SET analysis_status = CASE WHEN m.analysis_attempts >= %(attempts)s THEN 'failed' ELSE 'pending' END,
               analysis_claimed_at = NULL, analysis_error = coalesce(m.analysis_error, 'the reader died')
          FROM lost
         WHERE m.id = lost.id
        """,
        lease=LEASE,
        attempts=ATTEMPTS,
    )
    await tx.run(
        """
        WITH noise AS (
            SELECT id FROM communications
             WHERE analysis_status = 'pending' AND noise_type IS NOT NULL
               FOR UPDATE SKIP LOCKED)
        UPDATE communications m SET analysis_status = 'skipped' FROM noise WHERE m.id = noise.id
        """
    )


async def has_pending(tx: Tx) -> bool:
    """Tell whether something waits to be read."""
    return await tx.one(
        bool,
        "SELECT EXISTS (SELECT FROM communications WHERE analysis_status = 'pending' AND excluded_at IS NULL AND noise_type IS NULL)",
    )


async def claim_communication(tx: Tx, caller: Caller, communication_id: UUID, *, force: bool) -> StandingRow:
    """
    Claim one communication for reading now; what has been read is read again only by force.

    Raises `CommunicationNotFound`, `AnalysisRunning`.
    """
    state = await tx.one(
        _State,
        f"""
        SELECT m.analysis_status, m.analysis_claimed_at, m.noise_type, m.excluded_at, a.id AS analysis_id, a.version, a.engine
          FROM communications m LEFT JOIN communication_analysis a ON a.id = m.current_analysis_id
         WHERE m.id = %(communication_id)s AND {VISIBLE}
           FOR UPDATE OF m
        """,
        missing=CommunicationNotFound(communication_id=communication_id),
        communication_id=communication_id,
        scope=caller.scope,
    )
    if state.noise_type is not None or state.excluded_at is not None:
        await _skip(tx, communication_id)
        return StandingRow(status="skipped")
    if (
        state.analysis_status == "processing"
        and state.analysis_claimed_at
        and state.analysis_claimed_at > tx.now - LEASE
    ):
        raise AnalysisRunning(communication_id=communication_id)
    if state.analysis_status == "complete" and not force:
        return StandingRow(
            status="unchanged", analysis_id=state.analysis_id, version=state.version, engine=state.engine
        )
    claimed_at = await tx.one(
        datetime,
        """
        UPDATE communications
           SET analysis_status = 'processing', analysis_claimed_at = %(now)s,
               analysis_attempts = CASE WHEN analysis_status IN ('pending', 'processing') THEN least(analysis_attempts + 1, %(attempts)s) ELSE 1 END
         WHERE id = %(communication_id)s
        RETURNING analysis_claimed_at
        """,
        communication_id=communication_id,
        attempts=ATTEMPTS,
    )
    return StandingRow(status="claimed", claimed_at=claimed_at)


async def _skip(tx: Tx, communication_id: UUID) -> None:
    await tx.run(
        """
        UPDATE communications SET analysis_status = 'skipped', analysis_claimed_at = NULL
         WHERE id = %(communication_id)s AND analysis_status IN ('pending', 'processing', 'failed')
        """,
        communication_id=communication_id,
    )


async def hold(tx: Tx, communication_id: UUID, claimed_at: datetime) -> None:
    """
    Lock a claimed communication until the commit.

    Raises `ClaimLost` when the claim has gone to somebody else.
    """
    await tx.one(
        UUID,
        """
        SELECT id FROM communications
         WHERE id = %(communication_id)s AND analysis_status = 'processing' AND analysis_claimed_at = %(claimed_at)s
           FOR UPDATE
        """,
        missing=ClaimLost(communication_id=communication_id),
        communication_id=communication_id,
        claimed_at=claimed_at,
    )


async def release_failed(tx: Tx, communication_id: UUID, claimed_at: datetime, error: str) -> bool:
    """
    Give a claim back after a failure; the third failure is final and keeps its reason.

    Tells whether the claim was still held.
    """
    touched = await tx.run(
        """
        UPDATE communications
           SET analysis_status = CASE WHEN analysis_attempts >= %(attempts)s THEN 'failed' ELSE 'pending' END,
               analysis_claimed_at = NULL, analysis_error = left(%(error)s, 500)
         WHERE id = %(communication_id)s AND analysis_status = 'processing' AND analysis_claimed_at = %(claimed_at)s
        """,
        communication_id=communication_id,
        claimed_at=claimed_at,
        attempts=ATTEMPTS,
        error=error,
    )
    return touched > 0


async def give_back(tx: Tx, communication_ids: list[UUID], claimed_at: datetime) -> int:
    """Give claims back that were never begun, as if they had not been taken."""
    return await tx.run(
        """
        UPDATE communications
           SET analysis_status = 'pending', analysis_claimed_at = NULL, analysis_attempts = greatest(analysis_attempts - 1, 0)
         WHERE id = ANY(%(communication_ids)s) AND analysis_status = 'processing' AND analysis_claimed_at = %(claimed_at)s
        """,
        communication_ids=communication_ids,
        claimed_at=claimed_at,
    )
