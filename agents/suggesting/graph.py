"""
A mail that does a task.

    suggest ──▶ end
"""

from typing import Any, TypedDict
from uuid import UUID

from langgraph.graph import StateGraph
from langgraph.runtime import Runtime

from agents.kit import About, Context
from agents.suggesting.outputs import TASK_MAIL, SuggestDone, TaskInputs
from tools import task_emails
from tools.task_emails import TaskContext


class SuggestState(TypedDict, total=False):
    """The task, and then the suggestion."""

    task_id: UUID
    output: dict[str, Any]


async def suggest(state: SuggestState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read the task and have the mail written. Nothing is kept, so the step may begin again."""
    run = runtime.context
    async with run.db.reading(run.now()) as tx:
        context = await task_emails.load_task_context(tx, run.caller, state["task_id"])
    run.read_source("task", context.task.id, context.task.title)
    about = About(company_id=context.task.company_id, deal_id=context.task.deal_id)
    answer = await run.ask(TASK_MAIL, _inputs(context), about=about)
    return {"output": SuggestDone(suggestion=answer.value, engine=answer.engine).model_dump(mode="json")}


def _inputs(context: TaskContext) -> TaskInputs:
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


def build_graph() -> Any:
    """Return the graph, not compiled."""
    graph: Any = StateGraph(SuggestState, context_schema=Context)
    graph.add_node("suggest", suggest)
    graph.set_entry_point("suggest")
    graph.set_finish_point("suggest")
    return graph
