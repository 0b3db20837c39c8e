"""Tasks over HTTP."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response

from api.deps import Reading, Services, StartsModel, Transaction, User
from api.schemas import Done, doc_response
from memory.rows import In, Named, Row
from tools import task_emails, tasks, transcript_reviews

router = APIRouter(prefix="/api/tasks", tags=["Tasks"])


class SuggestEmailIn(In):
    """The task."""

    taskId: UUID


class EmailSuggestion(Row):
    """A mail to check."""

    subject: str
    body: str
    tone: str
    callToAction: str


class SuggestionContext(Row):
    """Whom and what the mail is about."""

    company: Named | None
    deal: Named | None
    contacts: list[task_emails.TaskContact]


class EmailSuggestedOut(Row):
    """The suggestion and what it is about."""

    suggestion: EmailSuggestion
    context: SuggestionContext


@router.get("", summary="List tasks", response_model=tasks.TasksOut)
async def list_tasks(filter: Annotated[tasks.TaskFilter, Query()], user: User, tx: Reading) -> Response:
    """List the tasks you are assigned or have created, by due time; managers see everybody's."""
    return doc_response(await tasks.list_tasks(tx, user, filter))


@router.post("", summary="Create a task", status_code=201)
async def create_task(body: tasks.CreateTaskIn, user: User, tx: Transaction) -> tasks.TaskOut:
    """Create a task; for yourself and due now unless the body says otherwise."""
    return tasks.TaskOut(task=await tasks.create_task(tx, user, body))


@router.post("/complete", summary="Complete a task")
async def complete_task(body: tasks.CompleteTaskIn, user: User, tx: Transaction) -> tasks.TaskCompletedOut:
    """Complete a task and record what was done about it."""
    return await tasks.complete_task(tx, user, body)


@router.post("/suggest-email", summary="Suggest a mail that does a task", dependencies=[StartsModel])
async def suggest_email(body: SuggestEmailIn, user: User, services: Services) -> EmailSuggestedOut:
    """Suggest a mail for a task. Gaps that only you can fill stand in double square brackets."""
    done = await services.perform(user, "suggesting", {"task_id": body.taskId})
    async with services.db.reading() as tx:
        context = await task_emails.load_task_context(tx, user, body.taskId)
    return EmailSuggestedOut(
        suggestion=EmailSuggestion.model_validate(done["suggestion"]),
        context=SuggestionContext(company=context.task.company, deal=context.task.deal, contacts=context.contacts),
    )


@router.post("/resolve-transcript-review", summary="Settle which company and deal a transcript belongs to")
async def resolve_transcript_review(
    body: transcript_reviews.ResolveTranscriptIn, user: User, tx: Transaction
) -> transcript_reviews.TranscriptResolvedOut:
    """Match the transcript to a company and deal, or create them, and complete the task that asked for it."""
    return await transcript_reviews.resolve_transcript(tx, user, body)


@router.get("/{task_id}", summary="Get a task")
async def get_task(task_id: UUID, user: User, tx: Reading) -> tasks.TaskOut:
    """Get one task with its deal and company."""
    return tasks.TaskOut(task=await tasks.get_task(tx, user, task_id))


@router.patch("/{task_id}", summary="Update a task")
async def update_task(task_id: UUID, body: tasks.UpdateTaskIn, user: User, tx: Transaction) -> tasks.TaskOut:
    """Change the fields that the body names; the others stay."""
    return tasks.TaskOut(task=await tasks.update_task(tx, user, task_id, body))


@router.delete("/{task_id}", summary="Delete a task")
async def delete_task(task_id: UUID, user: User, tx: Transaction) -> Done:
    """Take a task off the list."""
    await tasks.delete_task(tx, user, task_id)
    return Done()
