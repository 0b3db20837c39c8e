"""Records that a prompt can be tried with: the newest ones of each kind that somebody may see."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Row
from tools import deals, tasks
from tools.communications import rows as messages

EACH = 12


class MaterialRow(Row):
    """One record to try a prompt with."""

    kind: Literal["communication", "deal", "company", "contact", "task"]
    id: UUID
    name: str
    at: datetime


async def list_material(tx: Tx, caller: Caller, kinds: Sequence[str]) -> list[MaterialRow]:
    """Return the newest records of these kinds, a dozen of each."""
    if not kinds:
        return []
    return await tx.many(
        MaterialRow,
        f"""
        (SELECT 'communication' AS kind, m.id,
                concat_ws(': ', coalesce(m.sender_name, m.sender_email), coalesce(nullif(m.subject, ''), m.channel)) AS name,
                m.occurred_at AS at
           FROM communications m
          WHERE 'communication' = ANY(%(kinds)s) AND m.excluded_at IS NULL AND m.noise_type IS NULL AND {messages.VISIBLE}
          ORDER BY m.occurred_at DESC, m.id LIMIT %(each)s)
        UNION ALL
        (SELECT 'deal', d.id, d.name, d.updated_at FROM deals d
          WHERE 'deal' = ANY(%(kinds)s) AND {deals.VISIBLE} ORDER BY d.updated_at DESC, d.id LIMIT %(each)s)
        UNION ALL
        (SELECT 'company', c.id, c.name, c.updated_at FROM companies c
          WHERE 'company' = ANY(%(kinds)s) AND c.deleted_at IS NULL ORDER BY c.updated_at DESC, c.id LIMIT %(each)s)
        UNION ALL
        (SELECT 'contact', p.id, p.name, p.updated_at FROM contacts p
          WHERE 'contact' = ANY(%(kinds)s) AND p.deleted_at IS NULL ORDER BY p.updated_at DESC, p.id LIMIT %(each)s)
        UNION ALL
        (SELECT 'task', t.id, t.title, t.created_at FROM tasks t
          WHERE 'task' = ANY(%(kinds)s) AND {tasks.VISIBLE} ORDER BY t.created_at DESC, t.id LIMIT %(each)s)
        ORDER BY 1, 4 DESC, 2
        """,
        kinds=list(kinds),
        each=EACH,
        scope=caller.scope,
    )
