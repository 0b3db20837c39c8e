"""Ingest runs: what was read from where, how far it came, and what could not be read."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Invalid, NotFound
from memory.rows import Row
from tools import workspace
from tools.ingest.rows import House
from tools.mail.sources import Item, Place

MAX_REJECTED_BYTES = 1 << 20

RUN = "r.id, r.user_id, r.source, r.status, r.checkpoint, r.seen, r.written, r.duplicates, r.damaged, r.report, r.started_at, r.finished_at"


class NothingToRead(Invalid):
    """{path} holds no mail: neither an mbox, nor .eml files, nor Graph JSON."""


class NoSuchMailbox(NotFound):
    """There is no active user {who} whose mailbox this could be."""


class IngestRow(Row):
    """
    One source of mail and how far its reading came.

    `seen` = `written` + `duplicates` + what could not be kept as mail; `damaged` counts everything that had a problem,
    and `report` counts the problems, and what was not kept, by reason.
    """

    id: UUID
    user_id: UUID
    source: str
    status: str
    checkpoint: dict[str, Any]
    seen: int
    written: int
    duplicates: int
    damaged: int
    report: dict[str, Any]
    started_at: datetime
    finished_at: datetime | None


async def begin_run(tx: Tx, user_id: UUID, source: str, fingerprint: str) -> IngestRow:
    """Open the source's run, or go on with the one that was broken off; one that is complete begins anew."""
    return await tx.one(
        IngestRow,
        f"""
        INSERT INTO ingest_runs AS r (user_id, source, fingerprint, started_at)
        VALUES (%(user_id)s, %(source)s, %(fingerprint)s, %(now)s)
        ON CONFLICT (user_id, fingerprint) DO UPDATE
           SET status = 'running', source = excluded.source, finished_at = NULL,
               checkpoint = CASE WHEN r.status = 'complete' THEN '{{}}' ELSE r.checkpoint END,
               seen = CASE WHEN r.status = 'complete' THEN 0 ELSE r.seen END,
               written = CASE WHEN r.status = 'complete' THEN 0 ELSE r.written END,
               duplicates = CASE WHEN r.status = 'complete' THEN 0 ELSE r.duplicates END,
               damaged = CASE WHEN r.status = 'complete' THEN 0 ELSE r.damaged END,
               report = CASE WHEN r.status = 'complete' THEN '{{}}' ELSE r.report END,
               started_at = CASE WHEN r.status = 'complete' THEN excluded.started_at ELSE r.started_at END
        RETURNING {RUN}
        """,
        user_id=user_id,
        source=source,
        fingerprint=fingerprint,
    )


async def advance_run(
    tx: Tx, run_id: UUID, place: Place, head: str, counts: dict[str, int], report: dict[str, int]
) -> None:
    """Move the run's checkpoint and add to its counts, in the transaction that wrote the rows."""
    await tx.run(
        """
        UPDATE ingest_runs r
           SET checkpoint = %(checkpoint)s, seen = r.seen + %(seen)s, written = r.written + %(written)s,
               duplicates = r.duplicates + %(duplicates)s, damaged = r.damaged + %(damaged)s,
               report = r.report || (
                   SELECT coalesce(jsonb_object_agg(n.key, n.value::int + coalesce((r.report ->> n.key)::int, 0)), '{}')
                     FROM jsonb_each_text(%(report)s) AS n)
         WHERE r.id = %(run_id)s
        """,
        run_id=run_id,
        checkpoint=Json({"file": place.file, "offset": place.offset, "head": head}),
        report=Json(report),
        **counts,
    )


async def finish_run(tx: Tx, run_id: UUID, status: str) -> IngestRow:
    """Close the run as `complete` or `failed`; a failed one can be gone on with."""
    return await tx.one(
        IngestRow,
        f"""
        UPDATE ingest_runs r SET status = %(status)s, finished_at = %(now)s
         WHERE r.id = %(run_id)s
        RETURNING {RUN}
        """,
        run_id=run_id,
        status=status,
    )


async def keep_rejects(tx: Tx, run_id: UUID, items: Sequence[Item]) -> None:
    """Keep what could not be read, whole as far as a megabyte goes, with the reason."""
    if not items:
        return
    await tx.run_many(
        """
        INSERT INTO ingest_rejects (run_id, file, position, reason, raw)
        VALUES (%(run_id)s, %(file)s, %(position)s, %(reason)s, %(raw)s)
        ON CONFLICT (run_id, file, position) DO NOTHING
        """,
        [
            {
                "run_id": run_id,
                "file": item.start.file,
                "position": item.start.offset,
                "reason": item.reason[:500],
                "raw": item.raw[:MAX_REJECTED_BYTES],
            }
            for item in items
        ],
    )


async def find_run(tx: Tx, caller: Caller, run_id: UUID) -> IngestRow | None:
    """Return the run, when it is the caller's own or the caller sees all."""
    return await tx.maybe(
        IngestRow,
        f"SELECT {RUN} FROM ingest_runs r WHERE r.id = %(run_id)s AND (%(scope)s::uuid IS NULL OR r.user_id = %(scope)s)",
        run_id=run_id,
        scope=caller.scope,
    )


async def list_runs(tx: Tx, caller: Caller, limit: int = 50) -> list[IngestRow]:
    """Return the latest runs that the caller may see."""
    return await tx.many(
        IngestRow,
        f"""
        SELECT {RUN} FROM ingest_runs r
         WHERE %(scope)s::uuid IS NULL OR r.user_id = %(scope)s
         ORDER BY r.started_at DESC LIMIT %(limit)s
        """,
        scope=caller.scope,
        limit=min(limit, 200),
    )


class _Person(Row):
    id: UUID
    email: str


async def find_owner(tx: Tx, people: Sequence[str]) -> str | None:
    """Return the address of the active user who comes first among these people, else of the first admin."""
    return await tx.maybe(
        str,
        """
        SELECT email FROM users WHERE is_active
         ORDER BY array_position(%(people)s::text[], email), (role = 'admin') DESC, created_at, id
         LIMIT 1
        """,
        people=list(people[:10_000]),
    )


async def get_house(tx: Tx, mailbox: str | None, user_id: UUID | None) -> House:
    """
    Return whose mailbox it is (by address or id) and which addresses are the workspace's own.

    Raises `NoSuchMailbox`.
    """
    owner = await tx.maybe(
        _Person,
        """
        SELECT id, email FROM users
         WHERE is_active AND ((%(mailbox)s::text IS NOT NULL AND email = lower(%(mailbox)s)) OR (%(mailbox)s::text IS NULL AND id = %(user_id)s))
        """,
        mailbox=mailbox,
        user_id=user_id,
    )
    if owner is None:
        raise NoSuchMailbox(who=mailbox or str(user_id))
    settings = await workspace.get_workspace(tx)
    people = await tx.many(_Person, "SELECT id, email FROM users")
    return House(
        user_id=owner.id,
        email=owner.email,
        own_domains=frozenset((*settings.own_domains, *settings.internal_domains)),
        own_addresses=frozenset(settings.own_addresses),
        users={person.email: str(person.id) for person in people},
        notetakers=frozenset(settings.notetaker_domains),
        free_domains=frozenset(settings.generic_mail_domains),
        sla_minutes=settings.reply_sla_minutes,
    )
