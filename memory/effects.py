"""
The effect ledger: what must happen once, however often the code that does it runs.

Two kinds of rows. A *write* in Postgres commits together with its row (`once`, `keep`), so repeating it finds the row.
An *act* that leaves the house cannot share a transaction with it, so its row moves ahead of it:

    reserved ──▶ sent ──▶ confirmed     the vendor said so
        │          └────▶ unknown       nobody knows whether it happened: a person looks, nothing repeats it
        └───────────────▶ failed        it certainly did not happen; may be reserved again

Whoever reserves holds a lease. A reservation whose lease ran out was never sent, and may be taken over; one that was
`sent` may have happened, so its lease ending makes it `unknown`.
"""

import hashlib
from datetime import timedelta
from typing import Any, Literal
from uuid import UUID

import orjson

from memory.db import Json, Tx
from memory.errors import Conflict
from memory.rows import Row

Status = Literal["reserved", "sent", "confirmed", "unknown", "failed"]
LEASE = timedelta(minutes=2)

EFFECT = "id, key, kind, content_hash, status, run_id, step, user_id, request, result, attempts, error"


class EffectElsewhere(Conflict):
    """The effect {key} is being carried out elsewhere."""


class OtherContent(Conflict):
    """The effect {key} was reserved with other content."""


class NotReserved(Conflict):
    """The effect {key} is not reserved by this attempt any more."""


class EffectRow(Row):
    """One act; `attempts` is also the fence of whoever reserved it last."""

    id: UUID
    key: str
    kind: str
    content_hash: str
    status: Status
    run_id: UUID | None
    step: str | None
    user_id: UUID | None
    request: dict[str, Any]
    result: dict[str, Any] | None
    attempts: int
    error: str | None


def hash_content(*parts: object) -> str:
    """Return the hash that ties an act (or its approval) to exactly this content."""
    return hashlib.sha256(orjson.dumps(parts, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()


# Writes in Postgres -----------------------------------------------------------------------------------------------


async def once(
    tx: Tx, key: str, *, kind: str = "write", run_id: UUID | None = None, step: str | None = None
) -> dict[str, Any] | None:
    """
    Return None the first time: go on, in this transaction. Later return what `keep` kept (`{}` when nothing was).

    A second caller waits until the first one's transaction ends.
    """
    inserted = await tx.run(
        """
        INSERT INTO effects (key, kind, content_hash, status, run_id, step, attempts)
        VALUES (%(key)s, %(kind)s, '', 'confirmed', %(run_id)s, %(step)s, 1)
        ON CONFLICT (key) DO NOTHING
        """,
        key=key,
        kind=kind,
        run_id=run_id,
        step=step,
    )
    if inserted:
        return None
    return await tx.one(dict[str, Any], "SELECT coalesce(result, '{}') FROM effects WHERE key = %(key)s", key=key)


async def keep(tx: Tx, key: str, result: dict[str, Any]) -> None:
    """Keep what the write of this key gave, for whoever repeats it."""
    await tx.run(
        "UPDATE effects SET result = %(result)s, updated_at = %(now)s WHERE key = %(key)s",
        key=key,
        result=Json(result),
    )


# Acts that leave the house ----------------------------------------------------------------------------------------


async def reserve(
    tx: Tx,
    key: str,
    kind: str,
    content_hash: str,
    *,
    request: dict[str, Any] | None = None,
    run_id: UUID | None = None,
    step: str | None = None,
    user_id: UUID | None = None,
    lease: timedelta = LEASE,
) -> EffectRow:
    """
    Take the act, or learn what became of it: go on only when `status` is `reserved`.

    A reservation whose lease ran out and an act that failed are taken over.
    Raises `EffectElsewhere` while somebody else holds it, `OtherContent` when the content is not what was reserved.
    """
    row = await tx.maybe(
        EffectRow,
        f"""
        INSERT INTO effects (key, kind, content_hash, request, run_id, step, user_id, attempts, lease_until)
        VALUES (%(key)s, %(kind)s, %(content_hash)s, %(request)s, %(run_id)s, %(step)s, %(user_id)s, 1,
                clock_timestamp() + %(lease)s)
        ON CONFLICT (key) DO UPDATE
           SET status = 'reserved', attempts = effects.attempts + 1, lease_until = clock_timestamp() + %(lease)s,
               error = NULL, updated_at = %(now)s
         WHERE effects.content_hash = EXCLUDED.content_hash
           AND (effects.status = 'failed' OR (effects.status = 'reserved' AND effects.lease_until < clock_timestamp()))
        RETURNING {EFFECT}
        """,
        key=key,
        kind=kind,
        content_hash=content_hash,
        request=Json(request or {}),
        run_id=run_id,
        step=step,
        user_id=user_id,
        lease=lease,
    )
    if row is not None:
        return row
    found = await tx.one(EffectRow, f"SELECT {EFFECT} FROM effects WHERE key = %(key)s", key=key)
    if found.content_hash != content_hash:
        raise OtherContent(key=key)
    if found.status == "reserved":
        raise EffectElsewhere(key=key)
    return found


async def mark_sent(tx: Tx, effect: EffectRow, *, lease: timedelta = LEASE) -> None:
    """
    Say that the act is about to leave; commit this before it does.

    Raises `NotReserved` when somebody took the reservation over.
    """
    moved = await tx.run(
        """
        UPDATE effects SET status = 'sent', lease_until = clock_timestamp() + %(lease)s, updated_at = %(now)s
         WHERE id = %(effect_id)s AND status = 'reserved' AND attempts = %(attempts)s
        """,
        effect_id=effect.id,
        attempts=effect.attempts,
        lease=lease,
    )
    if not moved:
        raise NotReserved(key=effect.key)


async def settle(
    tx: Tx,
    effect: EffectRow,
    status: Literal["confirmed", "unknown", "failed"],
    *,
    result: dict[str, Any] | None = None,
    error: str | None = None,
) -> EffectRow:
    """
    Record how the act ended.

    Raises `NotReserved` when it is not this attempt's any more.
    """
    row = await tx.maybe(
        EffectRow,
        f"""
        UPDATE effects
           SET status = %(status)s, result = coalesce(%(result)s, result), error = %(error)s, lease_until = NULL,
               updated_at = %(now)s
         WHERE id = %(effect_id)s AND attempts = %(attempts)s AND status IN ('reserved', 'sent', 'unknown')
        RETURNING {EFFECT}
        """,
        effect_id=effect.id,
        attempts=effect.attempts,
        status=status,
        result=None if result is None else Json(result),
        error=error,
    )
    if row is None:
        raise NotReserved(key=effect.key)
    return row


async def find_effect(tx: Tx, key: str) -> EffectRow | None:
    """Return the row of this key."""
    return await tx.maybe(EffectRow, f"SELECT {EFFECT} FROM effects WHERE key = %(key)s", key=key)


async def doubt_stale(tx: Tx) -> int:
    """Mark acts as `unknown` that were sent by somebody who did not live to say how it ended; return how many."""
    return await tx.run(
        """
        UPDATE effects SET status = 'unknown', lease_until = NULL, updated_at = %(now)s,
               error = coalesce(error, 'the process ended while the act was under way')
         WHERE status = 'sent' AND lease_until < clock_timestamp()
        """
    )
