"""Tasks: what a person has promised to do. The assignee, whoever created it and managers see them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, field_validator

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Conflict, Forbidden, Invalid, NotFound
from memory.rows import Doc, In, Named, Row
from tools import activities, deals

Type = Literal["follow_up", "call", "email", "meeting", "review", "custom"]
Priority = Literal["high", "medium", "low"]

TASK = """
    t.id, t.title, t.description, t.type, t.priority, t.due_at, t.completed_at, t.completed_by, t.source, t.assigned_to,
    t.created_by, t.deal_id, t.company_id, t.company_product_id, t.subject_type, t.subject_id, t.created_at, t.updated_at,
    CASE WHEN d.id IS NOT NULL THEN json_build_object('id', d.id, 'name', d.name) END AS deal,
    CASE WHEN c.id IS NOT NULL THEN json_build_object('id', c.id, 'name', c.name) END AS company
"""
JOINED = "tasks t LEFT JOIN deals d ON d.id = t.deal_id LEFT JOIN companies c ON c.id = t.company_id"
VISIBLE = """
    t.deleted_at IS NULL AND (%(scope)s::uuid IS NULL OR t.assigned_to = %(scope)s OR t.created_by = %(scope)s)
"""
ACTIVITY_OF: dict[str | None, activities.Type] = {"email": "email_sent", "call": "call_made", "meeting": "meeting_held"}


class TaskNotFound(NotFound):
    """Task {task_id} does not exist."""


class TaskDone(Conflict):
    """The task is completed already."""


class SubjectUnknown(Invalid):
    """{what} {subject_id} does not exist."""


class DealOfOtherCompany(Invalid):
    """The deal belongs to another company."""


class OthersTasks(Forbidden):
    """Only a manager may list or hand out other people's tasks."""


class TaskRow(Row):
    """One task with its deal and company."""

    id: UUID
    title: str
    description: str | None
    type: Type
    priority: Priority
    due_at: datetime
    completed_at: datetime | None
    completed_by: UUID | None
    source: str
    assigned_to: UUID | None
    created_by: UUID | None
    deal_id: UUID | None
    company_id: UUID | None
    company_product_id: UUID | None
    subject_type: str | None
    subject_id: UUID | None
    created_at: datetime
    updated_at: datetime
    deal: Named | None
    company: Named | None


class TasksOut(Row):
    """A page of tasks by due time."""

    tasks: list[TaskRow]


class TaskOut(Row):
    """One task."""

    task: TaskRow


class TaskFilter(In):
    """Which tasks to list; `assigned_to` somebody else is for managers."""

    status: Literal["all", "open", "completed"] = "all"
    company_id: UUID | None = None
    deal_id: UUID | None = None
    assigned_to: UUID | None = None
    limit: int = Field(default=200, ge=1, le=500)
    offset: int = Field(default=0, ge=0)


class CreateTaskIn(In):
    """A new task; due now and for oneself unless it says otherwise."""

    title: str = Field(min_length=1, max_length=500)
    description: str | None = Field(default=None, max_length=20_000)
    type: Type = "custom"
    priority: Priority = "medium"
    due_at: AwareDatetime | None = None
    deal_id: UUID | None = None
    company_product_id: UUID | None = None
    company_id: UUID | None = None
    assigned_to: UUID | None = None


class UpdateTaskIn(In):
    """What changes; a field that is absent stays."""

    title: str | None = Field(default=None, min_length=1, max_length=500)
    description: str | None = Field(default=None, max_length=20_000)
    type: Type | None = None
    priority: Priority | None = None
    due_at: AwareDatetime | None = None
    completed_at: AwareDatetime | None = None
    assigned_to: UUID | None = None

    @field_validator("title", "type", "priority", "due_at")
    @classmethod
    def _stays_filled(cls, value: object) -> object:
        if value is None:
            raise ValueError("may not be null")
        return value


class TaskAction(In):
    """What was done about it."""

    type: Literal["email_sent", "call_made", "meeting_held", "note"]
    subject: str | None = Field(default=None, max_length=500)
    body: str | None = Field(default=None, max_length=20_000)
    metadata: dict[str, Any] = {}


class CompleteTaskIn(In):
    """The task, and what was done about it."""

    taskId: UUID
    action: TaskAction | None = None
    notes: str | None = Field(default=None, max_length=5000)


class CompletedTask(Row):
    """The task's id and when it was completed."""

    id: UUID
    completed_at: datetime


class TaskCompletedOut(Row):
    """The task is done."""

    success: bool = True
    message: str = "The task is completed."
    task: CompletedTask


async def list_tasks(tx: Tx, caller: Caller, filter: TaskFilter) -> Doc[TasksOut]:
    """
    Return a page of tasks by due time; a rep's own unless a manager asks.

    Raises `OthersTasks`.
    """
    if not caller.sees_all and filter.assigned_to not in (None, caller.user_id):
        raise OthersTasks
    return await tx.doc(
        TasksOut,
        f"""
        SELECT json_build_object('tasks', coalesce(json_agg(x), '[]'))::text
          FROM (SELECT {TASK}
                  FROM {JOINED}
                 WHERE {VISIBLE}
                   AND CASE %(status)s WHEN 'open' THEN t.completed_at IS NULL
                                       WHEN 'completed' THEN t.completed_at IS NOT NULL ELSE true END
                   AND (%(company_id)s::uuid IS NULL OR t.company_id = %(company_id)s)
                   AND (%(deal_id)s::uuid IS NULL OR t.deal_id = %(deal_id)s)
                   AND (%(assigned_to)s::uuid IS NULL OR t.assigned_to = %(assigned_to)s)
                 ORDER BY t.due_at, t.id
                 LIMIT %(limit)s OFFSET %(offset)s) x
        """,
        **filter.model_dump(),
        scope=caller.scope,
    )


async def get_task(tx: Tx, caller: Caller, task_id: UUID) -> TaskRow:
    """
    Return one task.

    Raises `TaskNotFound`.
    """
    return await tx.one(
        TaskRow,
        f"SELECT {TASK} FROM {JOINED} WHERE t.id = %(task_id)s AND {VISIBLE}",
        missing=TaskNotFound(task_id=task_id),
        task_id=task_id,
        scope=caller.scope,
    )


async def create_task(tx: Tx, caller: Caller, body: CreateTaskIn) -> TaskRow:
    """
    Write a task down; its company follows from the deal when only the deal is named.

    Raises `SubjectUnknown`, `DealOfOtherCompany`, `OthersTasks`.
    """
    assignee = body.assigned_to or caller.user_id
    await _check_assignee(tx, caller, assignee)
    company_id = await _check_subjects(tx, caller, body)
    task_id = await tx.one(
        UUID,
        """
        INSERT INTO tasks (title, description, type, priority, due_at, assigned_to, created_by, deal_id, company_id, company_product_id)
        VALUES (%(title)s, %(description)s, %(type)s, %(priority)s, coalesce(%(due_at)s::timestamptz, %(now)s), %(assignee)s, %(user_id)s,
                %(deal_id)s, %(company_id)s, %(company_product_id)s)
        RETURNING id
        """,
        **body.model_dump(exclude={"company_id", "assigned_to"}),
        company_id=company_id,
        assignee=assignee,
        user_id=caller.user_id,
    )
    return await get_task(tx, caller, task_id)


async def update_task(tx: Tx, caller: Caller, task_id: UUID, body: UpdateTaskIn) -> TaskRow:
    """
    Change what the body names and leave the rest.

    Raises `TaskNotFound`, `SubjectUnknown`, `OthersTasks`.
    """
    task = await get_task(tx, caller, task_id)
    given = body.model_fields_set
    if "assigned_to" in given and body.assigned_to != task.assigned_to:
        await _check_assignee(tx, caller, body.assigned_to)
    await tx.run(
        """
        UPDATE tasks
           SET title = coalesce(%(title)s, title),
               type = coalesce(%(type)s, type),
               priority = coalesce(%(priority)s, priority),
               due_at = coalesce(%(due_at)s::timestamptz, due_at),
               description = CASE WHEN 'description' = ANY(%(given)s) THEN %(description)s ELSE description END,
               completed_at = CASE WHEN 'completed_at' = ANY(%(given)s) THEN %(completed_at)s::timestamptz ELSE completed_at END,
               completed_by = CASE WHEN 'completed_at' <> ALL(%(given)s) THEN completed_by
                                   WHEN %(completed_at)s::timestamptz IS NULL THEN NULL ELSE %(user_id)s END,
               assigned_to = CASE WHEN 'assigned_to' = ANY(%(given)s) THEN %(assigned_to)s ELSE assigned_to END
         WHERE id = %(task_id)s
        """,
        **body.model_dump(),
        given=sorted(given),
        user_id=caller.user_id,
        task_id=task_id,
    )
    # Handing a task to somebody else may take it out of the caller's own sight.
    return await tx.one(TaskRow, f"SELECT {TASK} FROM {JOINED} WHERE t.id = %(task_id)s", task_id=task_id)


async def delete_task(tx: Tx, caller: Caller, task_id: UUID) -> None:
    """
    Take a task off the list.

    Raises `TaskNotFound`.
    """
    await get_task(tx, caller, task_id)
    await tx.run("UPDATE tasks SET deleted_at = %(now)s WHERE id = %(task_id)s", task_id=task_id)


async def complete_task(tx: Tx, caller: Caller, body: CompleteTaskIn) -> TaskCompletedOut:
    """
    Complete a task, and record what was done about it as an activity when there is something to record it with.

    Raises `TaskNotFound`, `TaskDone`.
    """
    task = await get_task(tx, caller, body.taskId)
    touched = await tx.run(
        """
        UPDATE tasks SET completed_at = %(now)s, completed_by = %(user_id)s
         WHERE id = %(task_id)s AND completed_at IS NULL AND deleted_at IS NULL
        """,
        task_id=task.id,
        user_id=caller.user_id,
    )
    if not touched:
        raise TaskDone
    if body.action or task.company_id:
        action = body.action
        await activities.record_activity(
            tx,
            caller,
            type=action.type if action else ACTIVITY_OF.get(task.type, "note"),
            subject=(action.subject if action else None) or task.title,
            body=(action.body if action else None) or body.notes,
            company_id=task.company_id,
            deal_id=task.deal_id,
            company_product_id=task.company_product_id,
            metadata={"task_id": str(task.id), **(action.metadata if action else {})},
        )
    return TaskCompletedOut(task=CompletedTask(id=task.id, completed_at=tx.now))


async def _check_assignee(tx: Tx, caller: Caller, assignee: UUID | None) -> None:
    if assignee == caller.user_id:
        return
    if not caller.sees_all:
        raise OthersTasks
    await tx.one(
        UUID,
        "SELECT id FROM users WHERE id = %(user_id)s AND is_active",
        missing=SubjectUnknown(what="User", subject_id=assignee),
        user_id=assignee,
    )


async def _check_subjects(tx: Tx, caller: Caller, body: CreateTaskIn) -> UUID | None:
    """Return the company of the task after checking that what it names exists and belongs together."""
    company_id = body.company_id
    if body.deal_id:
        of_deal = await tx.one(
            UUID,
            f"SELECT d.company_id FROM deals d WHERE d.id = %(deal_id)s AND {deals.VISIBLE}",
            missing=SubjectUnknown(what="Deal", subject_id=body.deal_id),
            deal_id=body.deal_id,
            scope=caller.scope,
        )
        if company_id and company_id != of_deal:
            raise DealOfOtherCompany
        company_id = of_deal
    if company_id:
        await tx.one(
            UUID,
            "SELECT id FROM companies WHERE id = %(company_id)s AND deleted_at IS NULL",
            missing=SubjectUnknown(what="Company", subject_id=company_id),
            company_id=company_id,
        )
    if body.company_product_id:
        await tx.one(
            UUID,
            """
            SELECT id FROM company_products
             WHERE id = %(product_id)s AND (%(company_id)s::uuid IS NULL OR company_id = %(company_id)s)
            """,
            missing=SubjectUnknown(what="Company product", subject_id=body.company_product_id),
            product_id=body.company_product_id,
            company_id=company_id,
        )
    return company_id
