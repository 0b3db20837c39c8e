"""What a mail that does a task is written from."""

from datetime import datetime
from uuid import UUID

from agents.purposes import About
from agents.readers import reads
from agents.suggesting.outputs import TASK_MAIL, TaskInputs
from memory.callers import Caller
from memory.db import Database
from tools import task_emails
from tools.task_emails import TaskContext


@reads(TASK_MAIL, "task")
async def read(db: Database, caller: Caller, task_id: UUID, now: datetime) -> tuple[TaskInputs, About]:
    """
    Return what the mail that does this task would be written from now.

    Raises `tasks.TaskNotFound`.
    """
    async with db.reading(now) as tx:
        context = await task_emails.load_task_context(tx, caller, task_id)
    return inputs(context), About(company_id=context.task.company_id, deal_id=context.task.deal_id)


def inputs(context: TaskContext) -> TaskInputs:
    """Return the task and what surrounds it as words."""
    task, deal = context.task, context.deal
    due = f" (due {task.due_at.date().isoformat()})"
    return TaskInputs(
        task=f"{task.title}{due}" + (f"\n{task.description}" if task.description else ""),
        sender=context.sender_name,
        company=task.company.name if task.company else "",
        deal=f"{deal.name}, {deal.stage}" if deal else "",
        contacts=[f"{person.name}, {person.title or 'title unknown'}" for person in context.contacts],
        activities=context.happened,
    )
