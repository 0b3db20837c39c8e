"""An agent for tests: three steps, each with an effect, one of which asks the model."""

import asyncio
import os
import signal
from typing import Annotated, Any, TypedDict
from uuid import UUID

import psycopg
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel

from agents import registry, rules
from agents.kit import About, Context, Purpose, Untrusted
from agents.registry import AgentSpec
from memory.db import Tx
from memory.errors import Invalid, Outage
from prompts import registry as prompts
from prompts.registry import Prompt, Shelf


class ErrandIn(BaseModel):
    """What the errand is about; `trouble` is what happens in its second step."""

    company_id: UUID | None = None
    mail: str = "Please call me."
    trouble: str = ""
    steps: int = 3


class ErrandOut(BaseModel):
    topic: str
    writes: int
    tainted: bool = True


class Asked(BaseModel):
    mail: Annotated[str, Untrusted(200)]


class Judged(BaseModel):
    topic: str


class TooHot(Invalid):
    """This errand is too hot."""


class Elsewhere(Outage):
    """What this needs is elsewhere."""


class ErrandState(TypedDict, total=False):
    company_id: UUID | None
    mail: str
    trouble: str
    steps: int
    judged: Judged
    output: dict[str, Any]


JUDGE = Purpose(
    key="errand_judge", capability="errands", input=Asked, output=Judged, folder="errands/judge", max_output_tokens=50
)
gate = asyncio.Event()
"""Opened by tests that hold a run in its second step."""
reached = asyncio.Event()


@rules.answers(JUDGE)
def judge_by_rules(inputs: Asked) -> Judged:
    return Judged(topic=inputs.mail.split()[0].lower())


async def mark(context: Context, step: str) -> dict[str, Any]:
    """Write a row that must not be doubled."""

    async def write(tx: Tx) -> dict[str, Any]:
        await tx.run(
            "INSERT INTO heartbeats (name, beat_at, detail) VALUES (%(name)s || ':' || gen_random_uuid(), %(now)s, '{}')",
            name=f"{context.run_id}:{step}",
        )
        return {"step": step}

    return await context.once(step, write)


async def load(state: ErrandState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read what the errand is about."""
    context = runtime.context
    context.read_source("communication", context.run_id, "The mail", third_party=True)
    await _die(state["trouble"], "load")
    await mark(context, "load")
    return {"steps": state["steps"]}


async def judge(state: ErrandState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask what it is about, with the trouble that was ordered."""
    context = runtime.context
    await mark(context, "judge")
    await _die(state["trouble"], "judge")
    await _trouble(state["trouble"], context)
    answer = await context.ask(JUDGE, Asked(mail=state["mail"]), about=About(company_id=state.get("company_id")))
    return {"judged": answer.value}


async def _trouble(trouble: str, context: Context) -> None:
    match trouble:
        case "database":
            raise psycopg.OperationalError("the server closed the connection")
        case "wait":
            reached.set()
            await gate.wait()
        case "refuse":
            raise TooHot
        case "outage":
            raise Elsewhere
        case "bug":
            raise ZeroDivisionError("secret detail")
        case _:
            context.called_tool("errands.nothing")


async def _die(trouble: str, step: str) -> None:
    if trouble == f"die in {step}" and os.environ.get("ERRAND_MAY_DIE"):
        os.kill(os.getpid(), signal.SIGKILL)


async def settle(state: ErrandState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Say what came of it."""
    context = runtime.context
    await mark(context, "settle")
    await _die(state["trouble"], "settle")
    async with context.db.reading() as tx:
        writes = await tx.one(
            int, "SELECT count(*) FROM heartbeats WHERE name LIKE %(like)s", like=f"{context.run_id}:%"
        )
    return {"output": {"topic": state["judged"].topic, "writes": writes, "tainted": context.tainted}}


def again(state: ErrandState) -> str:
    """Without steps left there is an end to it."""
    return "settle" if state["steps"] else "load"


def build() -> Any:
    """START ▶ load ▶ judge ▶ settle ▶ END."""
    graph = StateGraph(ErrandState, context_schema=Context)
    graph.add_node(load).add_node(judge).add_node(settle)
    graph.add_edge(START, "load").add_edge("load", "judge").add_edge("settle", END)
    graph.add_conditional_edges("judge", again, ["settle", "load"])
    return graph


ERRAND = registry.register(
    AgentSpec(
        name="errand",
        capability="errands",
        input=ErrandIn,
        output=ErrandOut,
        graph=build,
        about=lambda asked: About(company_id=asked.company_id),
        recursion_limit=8,
    )
)
MANAGERS = registry.register(
    AgentSpec(
        name="managers_errand", capability="errands", input=ErrandIn, output=ErrandOut, graph=build, role="manager"
    )
)

SHELF = Shelf(
    {
        "errand_judge": Prompt(key="errand_judge", version=1, user="{{ mail }}", system="Name the topic."),
        "core_system": Prompt(key="core_system", version=1, user="", system="Be plain."),
    }
)


def use_own_prompts() -> None:
    """Let the registry of this process know the errand's prompt."""
    prompts.shelf = lambda: SHELF  # type: ignore[assignment]
