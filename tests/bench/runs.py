"""
What durability costs an agent: our runs beside bare LangGraph with its own Postgres checkpointer.

Both walk the same six steps (two ask a model, one writes a row, three only pass state on) with `durability="sync"`, in
one process, on one Postgres with the settings it is shipped with, batches in turn so that a busy machine slows both. The
model stands at the wire and answers at once, so all the time there is is overhead. Bare asks through `ChatOpenAI` with
structured output; ours has the row, the lease, the events, prompts, fences, budgets, books and the effect ledger as well.
"""

import asyncio
import json
import shutil
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypedDict
from uuid import UUID

import httpx
import psycopg
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, SecretStr

from agents import compatible, registry, runs
from agents.kit import Context, Purpose, Untrusted
from agents.registry import AgentSpec
from memory import checkpoints, embedded, migrate
from memory.callers import Caller
from memory.db import Database, Tx
from memory.settings import Settings
from prompts import registry as prompts
from prompts.registry import Prompt, Shelf

URL = "http://model.bench/v1"
STEPS = 6
MAIL = "Dear team, could you send the renewal offer by Friday? We compare it with another vendor. " * 12
SYSTEM = "You read mail for a sales team and say what it is about."
GOAL = 1.2
ROUNDS = {1: 30, 16: 8}


@dataclass
class Figure:
    """Milliseconds per step, wall clock and this process's processor, with so many runs at once."""

    at_once: int
    ours_ms: float
    bare_ms: float
    ours_cpu_ms: float
    bare_cpu_ms: float

    @property
    def ratio(self) -> float:
        """Ours over the bare limit."""
        return self.ours_ms / self.bare_ms

    @property
    def met(self) -> bool:
        """Whether it is within the goal."""
        return self.ratio <= GOAL


class Mail(BaseModel):
    mail: Annotated[str, Untrusted(2000)]


class Judged(BaseModel):
    """What the mail is about."""

    topic: str
    urgent: bool


class ErrandIn(BaseModel):
    mail: str


class ErrandOut(BaseModel):
    topic: str


class State(TypedDict, total=False):
    mail: str
    first: dict[str, Any]
    second: dict[str, Any]
    steps: int
    output: dict[str, Any]


ASK = Purpose(key="bench_ask", capability="bench", input=Mail, output=Judged, folder="bench/ask", max_output_tokens=200)
WORDS = "The mail:\n{{ mail }}\nWhat is it about?"
SHELF = Shelf(
    {
        "bench_ask": Prompt(key="bench_ask", version=1, user=WORDS, system=SYSTEM),
        "core_system": Prompt(key="core_system", version=1, user="", system=SYSTEM),
    }
)
ROW = "INSERT INTO heartbeats (name, beat_at) VALUES (gen_random_uuid()::text, now())"


def answer(_: httpx.Request) -> httpx.Response:
    """Answer at once, as a compatible server does."""
    said = {"role": "assistant", "content": json.dumps({"topic": "renewal", "urgent": True})}
    return httpx.Response(
        200,
        json={
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "bench",
            "choices": [{"index": 0, "message": said, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 300, "completion_tokens": 12, "total_tokens": 312},
        },
    )  # fmt: skip


def wired() -> httpx.AsyncClient:
    """Return a client whose server is the function above."""
    return httpx.AsyncClient(transport=httpx.MockTransport(answer))


# Ours -------------------------------------------------------------------------------------------------------------


def our_graph() -> Any:
    """START ▶ load ▶ first ▶ weigh ▶ second ▶ note ▶ settle ▶ END."""

    async def load(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        runtime.context.read_source("communication", runtime.context.run_id, "The mail", third_party=True)
        return {"steps": 1}

    async def first(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        return {"first": (await runtime.context.ask(ASK, Mail(mail=state["mail"]))).value.model_dump()}

    async def second(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        return {"second": (await runtime.context.ask(ASK, Mail(mail=state["mail"]))).value.model_dump()}

    async def note(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
        async def write(tx: Tx) -> dict[str, Any]:
            await tx.run(ROW)
            return {}

        await runtime.context.once("note", write)
        return {"steps": 5}

    return _drawn(StateGraph(State, context_schema=Context), load, first, second, note)


async def weigh(state: State) -> dict[str, Any]:
    """Pass on."""
    return {"steps": 3}


async def settle(state: State) -> dict[str, Any]:
    """Say what came of it."""
    return {"output": {"topic": state["first"]["topic"]}}


def _drawn(graph: Any, load: Any, first: Any, second: Any, note: Any) -> Any:
    nodes = {"load": load, "first": first, "weigh": weigh, "second": second, "note": note, "settle": settle}
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield what carries out one of our runs, from the row to its end."""
    registry.register(AgentSpec(name="bench", capability="bench", input=ErrandIn, output=ErrandOut, graph=our_graph))
    db = await Database.open(url, size=10)
    values: dict[str, Any] = {"_env_file": None, "OPENAI_BASE_URL": URL, "model_cheap": "bench"}
    values |= {"model_prices": {"*": (1.0, 3.0)}, "budget_run_usd": 100, "budget_user_day_usd": 10_000}
    settings = Settings(**values, budget_org_day_usd=100_000)
    engine = await runs.Engine.open(settings, db)
    client = compatible.Compatible(settings)
    client._async_http = wired()  # pyright: ignore[reportPrivateUsage]
    engine.door._desk._client = client  # pyright: ignore[reportPrivateUsage]
    async with db.transaction() as tx:
        user_id = await tx.one(
            UUID,
            "INSERT INTO users (auth_id, email, name, role) VALUES ('b', 'b@ours.example', 'B', 'rep') RETURNING id",
        )
    caller = Caller(user_id=user_id, role="rep")

    async def once() -> None:
        found = await runs.perform(engine, caller, "bench", {"mail": MAIL}, output=ErrandOut)
        assert found.topic == "renewal"

    yield once
    await engine.close()
    await db.close()


# Bare -------------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def bare(url: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Yield what carries out one bare run."""
    pool: Any = AsyncConnectionPool(
        url, min_size=1, max_size=10, open=False,
        kwargs={"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row},
    )  # fmt: skip
    await pool.open()
    model = ChatOpenAI(
        model="bench", base_url=URL, api_key=SecretStr("none"), max_retries=0, use_responses_api=False,
        http_async_client=wired(), http_client=httpx.Client(), max_tokens=200,  # pyright: ignore[reportCallIssue]
    )  # fmt: skip
    structured = model.with_structured_output(Judged, strict=True)

    async def load(state: State) -> dict[str, Any]:
        return {"steps": 1}

    async def ask(state: State) -> Any:
        turns = [("system", SYSTEM), ("user", WORDS.replace("{{ mail }}", state["mail"]))]
        return (await structured.ainvoke(turns)).model_dump()  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue]

    async def first(state: State) -> dict[str, Any]:
        return {"first": await ask(state)}

    async def second(state: State) -> dict[str, Any]:
        return {"second": await ask(state)}

    async def note(state: State) -> dict[str, Any]:
        async with pool.connection() as connection, connection.transaction():
            await connection.execute(ROW)
        return {"steps": 5}

    graph = _drawn(StateGraph(State), load, first, second, note).compile(checkpointer=AsyncPostgresSaver(pool))

    async def once() -> None:
        config = {"configurable": {"thread_id": str(uuid.uuid4())}, "recursion_limit": 25}
        state = await graph.ainvoke({"mail": MAIL}, config, durability="sync")
        assert state["output"]["topic"] == "renewal"

    yield once
    await pool.close()


# Measuring --------------------------------------------------------------------------------------------------------


@dataclass
class Samples:
    """Seconds per step of each batch."""

    wall: list[float] = field(default_factory=list[float])
    cpu: list[float] = field(default_factory=list[float])

    async def take(self, once: Callable[[], Awaitable[None]], at_once: int, runs_each: int) -> None:
        """Carry out a batch."""

        async def some() -> None:
            for _ in range(runs_each):
                await once()

        wall, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(some() for _ in range(at_once)))
        steps = at_once * runs_each * STEPS
        self.wall.append((time.perf_counter() - wall) / steps)
        self.cpu.append((time.process_time() - cpu) / steps)

    def figures(self) -> tuple[float, float]:
        """Return the medians in milliseconds."""
        return statistics.median(self.wall) * 1000, statistics.median(self.cpu) * 1000


def measure(rounds: dict[int, int] | None = None) -> list[Figure]:
    """Return the figures for one run at a time and for sixteen."""
    former = prompts.shelf
    prompts.shelf = lambda: SHELF  # type: ignore[assignment]
    try:
        with _postgres() as url:
            return asyncio.run(_measure(url, rounds or ROUNDS))
    finally:
        prompts.shelf = former


async def _measure(url: str, rounds: dict[int, int]) -> list[Figure]:
    await migrate.migrate(url, then=(checkpoints.setup,))
    figures: list[Figure] = []
    async with ours(url) as our_run, bare(url) as bare_run:
        for run in (our_run, bare_run, our_run, bare_run):
            await run()
        for at_once, times in rounds.items():
            mine, theirs = Samples(), Samples()
            for _ in range(times):
                await theirs.take(bare_run, at_once, 2)
                await mine.take(our_run, at_once, 2)
            (ours_ms, ours_cpu), (bare_ms, bare_cpu) = mine.figures(), theirs.figures()
            figures.append(Figure(at_once, ours_ms, bare_ms, ours_cpu, bare_cpu))
    return figures


@contextmanager
def _postgres() -> Iterator[str]:
    """Serve a private Postgres with the settings it is shipped with."""
    folder = Path(tempfile.mkdtemp(prefix="rainmaker-bench-"))
    folder.chmod(0o755)  # the server may run as another user
    server = embedded.start(folder)
    try:
        with psycopg.connect(server.url):
            yield server.url
    finally:
        server.stop(at_once=True)
        shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Print the figures."""
    for figure in measure():
        print(  # noqa: T201 - the table is what this is for
            f"{figure.at_once:>3} at once: ours {figure.ours_ms:6.2f} ms a step, bare {figure.bare_ms:6.2f}, "
            f"ratio {figure.ratio:.2f} (goal {GOAL}); processor {figure.ours_cpu_ms:.2f} against {figure.bare_cpu_ms:.2f}"
        )


if __name__ == "__main__":
    main()
