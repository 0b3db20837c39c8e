"""
`Idempotency-Key`: the first answer to a change is every answer for 24 hours.

On a route with a transaction the key is reserved, and the answer kept, in that transaction: a request that fails leaves
no trace and may be tried again, and a second one that comes meanwhile waits for the first and repeats its answer. A route
that cannot hold a transaction (it asks a model) reserves its key beforehand; a second request meanwhile is a conflict,
for ten minutes at most if the process dies.
"""

import hashlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from starlette.responses import Response, StreamingResponse

from api.errors import BadRequest
from api.schemas import DocResponse
from memory.db import Database, Tx
from memory.errors import Conflict
from memory.rows import Row

LONGEST = 200
REPLAYED = (b"idempotent-replayed", b"true")


class KeyTooLong(BadRequest):
    """An Idempotency-Key has between 1 and 200 printable characters."""


class KeyReused(Conflict):
    """This Idempotency-Key was used for another request already."""


class KeyBusy(Conflict):
    """The first request with this Idempotency-Key is not answered yet."""


class KeptRow(Row):
    """What was asked and answered under a key; no status while it is not answered."""

    request_hash: str
    status: int | None
    body: str | None


@dataclass(frozen=True, slots=True)
class Ask:
    """One request under a key."""

    user_id: UUID
    key: str
    route: str
    request_hash: str

    @classmethod
    def of(cls, scope: MutableMapping[str, Any], key: bytes, user_id: UUID, template: str, body: bytes) -> "Ask":
        """
        Return the request as it is compared with a later one: method, address, query and body.

        Raises `KeyTooLong`.
        """
        text = key.decode("latin-1")
        if not 1 <= len(text) <= LONGEST or not text.isprintable():
            raise KeyTooLong
        method = scope["method"]
        said = b"\n".join((method.encode(), scope["path"].encode(), scope["query_string"], body))
        return cls(user_id, text, f"{method} {template}", hashlib.sha256(said).hexdigest())


async def reserve(tx: Tx, ask: Ask) -> Response | None:
    """
    Take the key, or return the answer that was given under it.

    Raises `KeyReused`, `KeyBusy`.
    """
    taken = await tx.run(
        """
        INSERT INTO idempotency_keys (user_id, key, route, request_hash, created_at)
        VALUES (%(user_id)s, %(key)s, %(route)s, %(request_hash)s, %(now)s)
        ON CONFLICT (user_id, key) DO UPDATE
           SET route = EXCLUDED.route, request_hash = EXCLUDED.request_hash, created_at = EXCLUDED.created_at,
               status = NULL, body = NULL
         WHERE idempotency_keys.created_at < %(now)s - interval '24 hours'
            OR (idempotency_keys.status IS NULL AND idempotency_keys.created_at < %(now)s - interval '10 minutes')
        """,
        user_id=ask.user_id,
        key=ask.key,
        route=ask.route,
        request_hash=ask.request_hash,
    )
    return None if taken else await _answered(tx, ask)


async def _answered(tx: Tx, ask: Ask) -> Response:
    kept = await tx.one(
        KeptRow,
        """
        SELECT request_hash, status, body #>> '{}' AS body
          FROM idempotency_keys WHERE user_id = %(user_id)s AND key = %(key)s
        """,
        user_id=ask.user_id,
        key=ask.key,
    )
    if kept.request_hash != ask.request_hash:
        raise KeyReused
    if kept.status is None:
        raise KeyBusy
    response = DocResponse((kept.body or "").encode(), kept.status)
    response.raw_headers.append(REPLAYED)
    return response


async def keep(tx: Tx, ask: Ask, response: Response) -> None:
    """Keep the answer, to the byte; a stream cannot be kept and gives its key back."""
    if isinstance(response, StreamingResponse):
        await _give_back(tx, ask)
        return
    await tx.run(
        """
        UPDATE idempotency_keys SET status = %(status)s, body = to_jsonb(%(body)s::text)
         WHERE user_id = %(user_id)s AND key = %(key)s
        """,
        status=response.status_code,
        body=bytes(response.body).decode(),
        user_id=ask.user_id,
        key=ask.key,
    )


async def _give_back(tx: Tx, ask: Ask) -> None:
    await tx.run(
        "DELETE FROM idempotency_keys WHERE user_id = %(user_id)s AND key = %(key)s AND status IS NULL",
        user_id=ask.user_id,
        key=ask.key,
    )


async def apart(db: Database, ask: Ask, carry_out: Callable[[], Awaitable[Response]]) -> Response:
    """
    Answer once without holding a transaction meanwhile; a failure gives the key back.

    Raises `KeyReused`, `KeyBusy`, and whatever the route raises.
    """
    async with db.transaction() as tx:
        kept = await reserve(tx, ask)
    if kept is not None:
        return kept
    try:
        response = await carry_out()
    except BaseException:
        async with db.transaction() as tx:
            await _give_back(tx, ask)
        raise
    async with db.transaction() as tx:
        await keep(tx, ask, response)
    return response
