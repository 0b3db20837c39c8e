"""The log of commands: what was asked of aggregates, by whom, and how it ended."""

import hashlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from pydantic import BaseModel

from memory.callers import Caller
from memory.db import Database, Json, Tx
from memory.errors import NotFound, Refusal
from memory.events import Command
from memory.ids import uuid7

R = TypeVar("R")


def command_of(caller: Caller, action: str, body: BaseModel, key: str | None) -> Command | None:
    """Return the command that an Idempotency-Key makes one, for this caller; None without a key."""
    if not key:
        return None
    said = body.model_dump_json(exclude_unset=True).encode()
    return Command(action, f"{caller.user_id}:{key}", hashlib.sha256(said).hexdigest())


async def attempt(
    db: Database,
    caller: Caller,
    action: str,
    aggregate_type: str,
    aggregate_id: UUID,
    work: Callable[[Tx], Awaitable[R]],
) -> R:
    """
    Carry a command out in a transaction of its own, and return what the work returns; it may be done twice, see `decide`.

    When the aggregate refuses it, nothing of it stays but a line in the log.

    Raises what the work raises.
    """
    try:
        return await db.decide(work)
    except NotFound:
        raise  # there is nothing that could have refused
    except Refusal as refusal:
        async with db.transaction() as tx:
            await _log_refused(tx, caller, action, aggregate_type, aggregate_id, refusal)
        raise


async def _log_refused(
    tx: Tx, caller: Caller, action: str, aggregate_type: str, aggregate_id: UUID, refusal: Refusal
) -> None:
    await tx.run(
        """
        INSERT INTO command_log (command_id, action, aggregate_type, aggregate_id, actor_type, actor_id, status, result, created_at)
        VALUES (%(command_id)s, %(action)s, %(aggregate_type)s, %(aggregate_id)s, %(actor_type)s, %(actor_id)s, 'failed',
                %(result)s, %(now)s)
        """,
        command_id=str(uuid7()),
        action=action,
        aggregate_type=aggregate_type,
        aggregate_id=aggregate_id,
        actor_type=caller.kind,
        actor_id=str(caller.user_id) if caller.user_id else None,
        result=Json({"rule": type(refusal).__name__, "error": refusal.message}),
    )
