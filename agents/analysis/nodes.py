"""The steps of a reading."""

from datetime import datetime
from typing import Any
from uuid import UUID

from langgraph.runtime import Runtime

from agents import guards
from agents.analysis import checks, words
from agents.analysis.outputs import ANALYSIS, AnalyzedOut, Message, Reading
from agents.analysis.state import AnalysisState
from agents.kit import About, Context
from memory.db import Tx
from tools import workspace
from tools.analysis import claims, context, saving
from tools.analysis.saving import NewAnalysis


async def load(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Claim the communication, and read it with what belongs beside it."""
    run = runtime.context
    communication_id = UUID(str(state["communication_id"]))
    standing = await _claim(state, run, communication_id)
    if standing["status"] != "claimed":
        output = AnalyzedOut.model_validate({"communication_id": communication_id} | standing)
        return {"output": output.model_dump(mode="json")}
    async with run.db.reading() as tx:
        found = await context.get_message_context(tx, run.caller, communication_id)
        house = await workspace.get_workspace(tx)
    run.read_source("communication", found.id, found.subject or "", third_party=found.direction == "inbound")
    raw = f"{found.subject or ''}\n{found.full_content or found.content_preview or ''}"
    return {
        "claim": standing["claimed_at"],
        "message": words.message(found, house).model_dump(mode="json"),
        "offered": [str(promise.id) for promise in found.open_promises],
        "suspected": guards.suspicious(raw),
    }


def is_claimed(state: AnalysisState) -> bool:
    """Whether there is something to read."""
    return "claim" in state


async def _claim(state: AnalysisState, run: Context, communication_id: UUID) -> dict[str, Any]:
    if token := state.get("claimed_at"):
        return {"status": "claimed", "claimed_at": str(token)}

    async def write(tx: Tx) -> dict[str, Any]:
        standing = await claims.claim_communication(tx, run.caller, communication_id, force=bool(state.get("force")))
        return standing.model_dump(mode="json")

    return await run.once("load", write)


async def ask(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Ask what the message says."""
    message = Message.model_validate(state["message"])
    about = About(communication_id=UUID(str(state["communication_id"])))
    answer = await runtime.context.ask(ANALYSIS, message, about=about)
    return {
        "answered": {
            "value": answer.value.model_dump(mode="json"),
            "engine": answer.engine,
            "model_used": answer.model,
            "prompt_key": answer.prompt_key,
            "prompt_version": answer.prompt_version,
            "ai_call_id": str(answer.call_id) if answer.call_id else None,
            "degraded": answer.degraded,
        }
    }


async def verify(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Let only stand what the message supports."""
    answered = state["answered"]
    checked = checks.check(
        Reading.model_validate(answered["value"]),
        Message.model_validate(state["message"]),
        [UUID(promise_id) for promise_id in state["offered"]],
        suspected=state["suspected"],
    )
    source = {name: answered[name] for name in ("engine", "model_used", "prompt_key", "prompt_version", "ai_call_id")}
    reading = NewAnalysis.model_validate(source | {"run_id": runtime.context.run_id} | checked.kept)
    return {"reading": reading.model_dump(mode="json"), "hidden": checked.hidden}


async def settle(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Keep the reading, once."""
    communication_id = UUID(str(state["communication_id"]))
    reading = NewAnalysis.model_validate(state["reading"])
    claimed_at = datetime.fromisoformat(state["claim"])

    async def write(tx: Tx) -> dict[str, Any]:
        saved = await saving.save_analysis(tx, communication_id, claimed_at, reading)
        return saved.model_dump(mode="json")

    saved = await runtime.context.once("settle", write)
    output = AnalyzedOut(
        communication_id=communication_id,
        status="complete",
        engine=reading.engine,
        degraded=state["answered"]["degraded"],
        hidden=state["hidden"],
        **saved,
    )
    return {"output": output.model_dump(mode="json")}
