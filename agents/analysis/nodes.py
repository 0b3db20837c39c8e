"""The steps of a reading."""

from datetime import datetime
from typing import Any
from uuid import UUID

from langgraph.runtime import Runtime

from agents import guards
from agents.analysis import checks
from agents.analysis.outputs import ANALYSIS, CONTENT_TOKENS, AnalyzedOut, Message, OpenPromise, Reading
from agents.analysis.state import AnalysisState
from agents.kit import About, Context
from memory.db import Tx
from tools import workspace
from tools.analysis import claims, context, saving
from tools.analysis.context import MessageContext, OfferedPromise
from tools.analysis.saving import NewAnalysis
from tools.playbook import PLAYS
from tools.workspace import Workspace


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
        "message": _message(found, house).model_dump(mode="json"),
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


# What is asked ----------------------------------------------------------------------------------------------------


def _message(found: MessageContext, house: Workspace) -> Message:
    content = guards.clean(found.full_content or found.content_preview or "")
    return Message(
        channel=found.channel,
        direction=found.direction,
        sentAt=found.occurred_at,
        timezone=found.timezone,
        subject=guards.clean(found.subject or "")[:500],
        content=guards.capped(content, CONTENT_TOKENS),
        ourParticipants=_names(found.our_participants),
        theirParticipants=_names(found.their_participants),
        threadTail="\n".join(
            f"{earlier.occurred_at:%Y-%m-%d} {earlier.direction}: {earlier.said}" for earlier in found.earlier
        ),
        relationshipContext=_relationship(found),
        openPromises=[_offered(number, promise) for number, promise in enumerate(found.open_promises, start=1)],
        products=found.products,
        competitors=list(house.competitors),
        priceWords=list(house.price_words),
        playbookTriggers=sorted(PLAYS),
        stage=found.stage or "none",
        isCustomer=found.company_status == "customer",
        isKnown=found.company_id is not None or found.direction != "inbound",
        isReply=found.in_reply_to_id is not None or bool(found.earlier),
    )


def _names(people: list[dict[str, Any]]) -> list[str]:
    return [name for person in people[:20] if (name := str(person.get("name") or person.get("email") or "").strip())]


def _relationship(found: MessageContext) -> str:
    lines = [
        f"Company: {found.company_name} ({found.company_status})" if found.company_name else "Company: not known",
        f"Contact: {found.contact_name}{f', {found.contact_title}' if found.contact_title else ''}"
        if found.contact_name
        else "",
        f"Deal stage: {found.stage}" if found.stage else "",
        *(f"Known ({known.kind}): {known.text}" for known in found.known),
        *(f"Note of a colleague: {note}" for note in found.notes),
    ]
    return "\n".join(line for line in lines if line)


def _offered(number: int, promise: OfferedPromise) -> OpenPromise:
    return OpenPromise(
        number=number,
        who="us" if promise.direction == "we_promised" else "them",
        promise=promise.promise_text,
        promised_on=promise.promised_at.date().isoformat(),
        same_thread=promise.in_thread,
    )
