"""
A mail that does a task.

    suggest ──▶ end
"""

from typing import Any, TypedDict
from uuid import UUID

from langgraph.graph import StateGraph
from langgraph.runtime import Runtime

from agents.kit import About, Context
from agents.suggesting import words
from agents.suggesting.outputs import TASK_MAIL, SuggestDone
from tools import task_emails


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
    answer = await run.ask(TASK_MAIL, words.inputs(context), about=about)
    done = SuggestDone(
        suggestion=answer.value,
        engine=answer.engine,
        prompt_key=answer.prompt_key,
        prompt_version=answer.prompt_version,
    )
    return {"output": done.model_dump(mode="json")}


def build_graph() -> Any:
    """Return the graph, not compiled."""
    graph: Any = StateGraph(SuggestState, context_schema=Context)
    graph.add_node("suggest", suggest)
    graph.set_entry_point("suggest")
    graph.set_finish_point("suggest")
    return graph
