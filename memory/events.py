"""
Events: what happened to an aggregate, appended once and replayed in order.

    history = await events.load(tx, STREAM, case_id)          # locks the stream until the transaction ends
    new = decide(replay(history.events), command)             # pure
    recorded = await events.append(tx, caller, STREAM, case_id, history.version, new)

Appending is one statement: compare-and-set of the stream's version, then the inline projectors. The events themselves are
written with the commit, under the lock that makes `global_sequence` the order of commits: always the last lock that a
transaction takes. All is one transaction, so there is never half of it; and when the transaction does nothing else, it is
one round trip.

An event type may change its shape: it gets a higher version, and an upcaster that turns each older one into the next.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from memory.appending import Deferred
from memory.callers import Caller, Kind
from memory.db import Tx
from memory.errors import Conflict
from memory.ids import uuid7

Data = dict[str, Any]
Upcaster = Callable[[Data], Data]
APPENDED_ELSEWHERE = "RM409"
ATTEMPTS = 5


class StreamMoved(Conflict):
    """Somebody else changed this meanwhile; it is at version {currentVersion} now."""

    shows = ("currentVersion",)


class StreamBroken(RuntimeError):
    """A stream has a gap; nothing may be decided on it."""


class CommandRepeated(Conflict):
    """This idempotency key has been used for another request."""


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be appended: its type, its payload (snake_case keys) and the version of the payload's shape."""

    type: str
    data: Data
    version: int = 1


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event as the store has it; `sequence` counts within its stream, from 1."""

    id: UUID
    aggregate_id: UUID
    sequence: int
    type: str
    version: int
    data: Data
    occurred_at: datetime
    actor_type: Kind
    actor_id: str | None
    metadata: Data


@dataclass(frozen=True, slots=True)
class History:
    """All that happened to one aggregate, and the version it is at."""

    version: int
    events: list[Recorded]


@dataclass(frozen=True, slots=True)
class Command:
    """
    What the events answer to. The id makes it one: see `find_result`.

    `id` is the Idempotency-Key spelled with the sender, or by chance; `request_hash` tells one request from another.
    """

    action: str
    id: str = field(default_factory=lambda: str(uuid7()))
    request_hash: str | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What a command answered when it was carried out, and the aggregate that it changed; see `results`."""

    aggregate_id: UUID
    result: list[Data]


@dataclass(frozen=True)
class Stream:
    """A kind of aggregate, and how older shapes of its payloads become today's: `{(type, version): upcaster}`."""

    aggregate_type: str
    upcasters: Mapping[tuple[str, int], Upcaster] = field(default_factory=dict[tuple[str, int], Upcaster])

    def today(self, event_type: str, version: int, data: Data) -> tuple[int, Data]:
        """Return the payload in its present shape."""
        while upcast := self.upcasters.get((event_type, version)):
            version, data = version + 1, upcast(data)
        return version, data


_EVENTS = """
    e.id, e.sequence_number, e.event_type, e.event_version, e.event_data, e.occurred_at, e.actor_type, e.actor_id, e.metadata
"""
# The gate comes before the row: a rebuild, or somebody `alone`, may need the row while we wait at the gate.
LOAD = f"""
    WITH gate AS MATERIALIZED (
        SELECT pg_advisory_xact_lock_shared(7245, 1)
    ), stream AS MATERIALIZED (
        SELECT s.version FROM gate, event_streams s
         WHERE s.aggregate_type = %(aggregate_type)s AND s.aggregate_id = %(aggregate_id)s
           FOR UPDATE OF s
    )
    SELECT stream.version, {_EVENTS}
      FROM stream
      LEFT JOIN event_store e ON e.aggregate_type = %(aggregate_type)s AND e.aggregate_id = %(aggregate_id)s
     ORDER BY e.sequence_number
"""
_READ = f"""
    SELECT {_EVENTS} FROM event_store e
     WHERE e.aggregate_type = %(aggregate_type)s AND e.aggregate_id = %(aggregate_id)s
     ORDER BY e.sequence_number
"""
_UNRECORDED = f"""
    SELECT {_EVENTS} FROM unnest(unrecorded_events()) e
     WHERE e.aggregate_type = %(aggregate_type)s AND e.aggregate_id = %(aggregate_id)s
     ORDER BY e.sequence_number
"""
APPEND = "SELECT append_events(%(command)s, %(last)s)"


async def alone(tx: Tx) -> None:
    """Keep every other writer of events out until the transaction ends; to be called before anything is locked."""
    await tx.run("SELECT pg_advisory_xact_lock(7245, 1)")


async def load(tx: Tx, stream: Stream, aggregate_id: UUID) -> History:
    """
    Lock the stream for this transaction and return all that happened in it; an unknown one begins at version 0.

    Raises `StreamBroken` when a sequence number is missing.
    """
    key = {"aggregate_type": stream.aggregate_type, "aggregate_id": aggregate_id}
    for _ in range(ATTEMPTS):
        rows = await tx.tuples(LOAD, **key)
        if not rows:
            await tx.run(
                """
                INSERT INTO event_streams (aggregate_type, aggregate_id) VALUES (%(aggregate_type)s, %(aggregate_id)s)
                ON CONFLICT DO NOTHING
                """,
                **key,
            )
            continue
        version: int = rows[0][0]
        stored = [row[1:] for row in rows if row[1] is not None]
        if tx.has_more_to_write:
            stored += await tx.tuples(_UNRECORDED, **key)
        # A statement that waited for the lock sees the new version beside the old events: ask again.
        if len(stored) == version:
            return History(version, _recorded(stream, aggregate_id, stored))
    raise StreamBroken(f"{stream.aggregate_type} {aggregate_id} does not have as many events as its version says")


async def read(tx: Tx, stream: Stream, aggregate_id: UUID) -> list[Recorded]:
    """Return all that happened in the stream, without locking it."""
    key = {"aggregate_type": stream.aggregate_type, "aggregate_id": aggregate_id}
    rows = await tx.tuples(_READ, **key)
    if tx.has_more_to_write:
        rows += await tx.tuples(_UNRECORDED, **key)
    return _recorded(stream, aggregate_id, rows)


def _recorded(stream: Stream, aggregate_id: UUID, rows: Sequence[tuple[Any, ...]]) -> list[Recorded]:
    found: list[Recorded] = []
    for expected, row in enumerate(rows, 1):
        event_id, sequence, kind, version, data, *rest = row
        if sequence != expected:
            raise StreamBroken(f"{stream.aggregate_type} {aggregate_id} lacks event {expected}")
        shape = stream.today(kind, version, data) if stream.upcasters else (version, data)
        found.append(Recorded(event_id, aggregate_id, sequence, kind, *shape, *rest))
    return found


async def append(
    tx: Tx,
    caller: Caller,
    stream: Stream,
    aggregate_id: UUID,
    expected: int,
    new: Sequence[Event],
    *,
    command: Command | None = None,
    occurred_at: datetime | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> list[Recorded]:
    """
    Append the events after version `expected`, bring the inline read models along, and return what was recorded.

    Who acted is the caller: an agent's run id goes into the metadata as its evidence. Nothing to append is no command.

    The statement is sent with the next one or with the commit, so a stale `expected` (one that `load` did not give)
    raises `StreamMoved` there.
    """
    if not new:
        return []
    moment = occurred_at or tx.now
    about = {**(metadata or {}), **({"command_id": command.id} if command else {})}
    if caller.run_id is not None:
        about["run_id"] = str(caller.run_id)
    actor_id = str(caller.user_id) if caller.user_id else None
    recorded = [
        Recorded(
            uuid.uuid4(),
            aggregate_id,
            sequence,
            event.type,
            event.version,
            event.data,
            moment,
            caller.kind,
            actor_id,
            about,
        )
        for sequence, event in enumerate(new, expected + 1)
    ]
    said = {
        "aggregate_type": stream.aggregate_type,
        "aggregate_id": aggregate_id,
        "expected": expected,
        "events": [{"id": e.id, "type": e.type, "version": e.version, "data": e.data} for e in recorded],
        "metadata": about,
        "actor_type": caller.kind,
        "actor_id": actor_id,
        "occurred_at": moment,
        "log": _logged(command, recorded),
    }
    await tx.defer(Deferred(APPEND, said, "SELECT record_events()", _refused))
    return recorded


def _refused(sqlstate: str, message: str, constraint: str) -> Exception | None:
    if sqlstate == APPENDED_ELSEWHERE:
        return StreamMoved(currentVersion=int(message))
    return CommandRepeated() if constraint == "command_log_pkey" else None


def _logged(command: Command | None, recorded: Sequence[Recorded]) -> Data | None:
    if command is None:
        return None
    return {
        "id": command.id,
        "action": command.action,
        "request_hash": command.request_hash,
        "result": results(recorded),
    }


def results(recorded: Sequence[Recorded]) -> list[Data]:
    """Return what a command answers for its events: `[{success, eventId, sequenceNumber}]`."""
    return [{"success": True, "eventId": str(event.id), "sequenceNumber": event.sequence} for event in recorded]


async def find_result(tx: Tx, command: Command) -> Kept | None:
    """
    Return what a command of this id answered before, or None when it is new; to be asked once the stream is locked.

    Raises `CommandRepeated` when it was another request.
    """
    rows = await tx.tuples(
        "SELECT request_hash, aggregate_id, result FROM command_log WHERE command_id = %(command_id)s",
        command_id=command.id,
    )
    if not rows:
        return None
    request_hash, aggregate_id, result = rows[0]
    if request_hash != command.request_hash:
        raise CommandRepeated
    return Kept(aggregate_id, result)
