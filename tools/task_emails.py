"""What a mail that does a task is written from."""

from typing import Any
from uuid import UUID

from memory.callers import Caller
from memory.db import Tx
from memory.rows import Row
from tools import deals, tasks
from tools.activities import BODY as ACTIVITY_BODY
from tools.activities import VISIBLE as ACTIVITY_VISIBLE
from tools.tasks import TaskRow


class TaskContact(Row):
    """A person at the task's company."""

    name: str
    email: str | None
    title: str | None


class TaskDeal(Row):
    """The task's deal."""

    id: UUID
    name: str
    stage: str


class TaskContext(Row):
    """The task, its company and deal, the last five things that happened, five people."""

    task: TaskRow
    sender_name: str
    deal: TaskDeal | None
    contacts: list[TaskContact]
    happened: list[str]


async def load_task_context(tx: Tx, caller: Caller, task_id: UUID) -> TaskContext:
    """
    Return what a mail that does this task is written from.

    Raises `tasks.TaskNotFound`.
    """
    task = await tasks.get_task(tx, caller, task_id)
    params: dict[str, Any] = {"company_id": task.company_id, "deal_id": task.deal_id, "scope": caller.scope}
    deal = await tx.maybe(
        TaskDeal, f"SELECT d.id, d.name, d.stage FROM deals d WHERE d.id = %(deal_id)s AND {deals.VISIBLE}", **params
    )
    people = await tx.many(
        TaskContact,
        """
        SELECT name, email, title FROM contacts WHERE company_id = %(company_id)s AND deleted_at IS NULL
         ORDER BY is_primary DESC, last_contacted_at DESC NULLS LAST, id LIMIT 5
        """,
        **params,
    )
    happened = await tx.many(
        str,
        f"""
        SELECT to_char(a.occurred_at, 'YYYY-MM-DD') || ' ' || a.type || ': ' || left(concat_ws('; ', a.subject, {ACTIVITY_BODY}), 300)
          FROM activities a
         WHERE a.company_id = %(company_id)s AND a.match_status <> 'excluded' AND {ACTIVITY_VISIBLE}
         ORDER BY a.occurred_at DESC, a.id LIMIT 5
        """,
        **params,
    )
    return TaskContext(task=task, sender_name=caller.name, deal=deal, contacts=people, happened=happened)
