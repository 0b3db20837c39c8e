"""The steps of a summary."""

from typing import Any, TypedDict
from uuid import UUID

from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.kit import Context
from agents.summaries import checks, words
from agents.summaries.outputs import ContactOutput, SummaryDone, SummaryOutput, about
from memory.db import Tx
from tools import ai_activity, summaries, summary_context
from tools.summaries import NewSummary
from tools.summary_context import EntityType, SummaryContext


class SummaryState(TypedDict, total=False):
    """What the steps hand on: JSON values only, so that any worker can go on."""

    type: EntityType
    id: UUID
    force: bool
    context: dict[str, Any]
    was_stale: bool
    answer: dict[str, Any]
    origin: dict[str, Any]
    output: dict[str, Any]


async def load(state: SummaryState, runtime: Runtime[Context]) -> Command[Any]:
    """Read what there is; a fresh summary of the same context ends the run."""
    run = runtime.context
    async with run.db.transaction(run.now()) as tx:
        context = await summary_context.load_context(tx, run.caller, state["type"], state["id"])
        before = await summaries.find_summary(tx, run.caller, state["type"], state["id"])
        if before and not state.get("force") and summaries.is_fresh(before, context.hash, tx.now):
            done = SummaryDone(summary_id=before.id, is_new=False, was_stale=False, engine=before.engine)
            return Command(update={"output": done.model_dump(mode="json")}, goto="__end__")
    for source in context.sources:
        run.read_source(source.type, source.id, source.title or "", third_party=source.direction == "inbound")
    return Command(update={"context": context.model_dump(mode="json"), "was_stale": before is not None}, goto="ask")


async def ask(state: SummaryState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Have the summary written."""
    run = runtime.context
    context = SummaryContext.model_validate(state["context"])
    purpose, inputs = words.question(context, run.now())
    answer = await run.ask(purpose, inputs, about=about(state["type"], state["id"]))
    origin = {
        "engine": answer.engine,
        "model": answer.model,
        "prompt_key": answer.prompt_key,
        "prompt_version": answer.prompt_version,
        "tokens": answer.input_tokens + answer.output_tokens,
        "call_id": str(answer.call_id) if answer.call_id else None,
        "records": words.records(inputs),
    }
    return {"answer": answer.value.model_dump(mode="json"), "origin": origin}


async def keep(state: SummaryState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Check every claim against its source, add the numbers, and keep the result."""
    run, context, origin = runtime.context, SummaryContext.model_validate(state["context"]), state["origin"]
    kind = ContactOutput if state["type"] == "contact" else SummaryOutput
    kept = checks.check(kind.model_validate(state["answer"]), context, origin["records"])

    async def write(tx: Tx) -> dict[str, Any]:
        shape = checks.shape(context, kept, tx.now)
        new = NewSummary(
            summary=shape,
            summary_text=f"{shape['headline']}\n{shape['overview']}",
            key_points=[claim.text for claim in kept.key_points],
            risks=[claim.text for claim in kept.risks],
            opportunities=[claim.text for claim in kept.opportunities],
            sources=shape["citations"],
            context_hash=context.hash,
            engine=origin["engine"],
            model_used=origin["model"],
            prompt_key=origin["prompt_key"],
            prompt_version=origin["prompt_version"],
            ai_call_id=origin["call_id"],
            run_id=run.run_id,
            tokens_used=origin["tokens"],
            confidence=kept.confidence,
        )
        saved = await summaries.save_summary(tx, run.caller, state["type"], state["id"], new)
        await _log(tx, run, state, kept.dropped, saved.id, origin)
        done = SummaryDone(
            summary_id=saved.id,
            is_new=True,
            was_stale=state.get("was_stale", False),
            tokens_used=origin["tokens"],
            engine=origin["engine"],
        )
        return done.model_dump(mode="json")

    return {"output": await run.once("keep", write)}


async def _log(
    tx: Tx, run: Context, state: SummaryState, dropped: int, summary_id: UUID, origin: dict[str, Any]
) -> None:
    subject = about(state["type"], state["id"])
    await ai_activity.record_action(
        tx,
        run.caller,
        source="system",
        action_type="SUMMARY_GENERATED",
        deal_id=subject.deal_id,
        company_id=subject.company_id,
        contact_id=subject.contact_id,
        ai_call_id=UUID(origin["call_id"]) if origin["call_id"] else None,
        run_id=run.run_id,
        inputs={"type": state["type"], "id": str(state["id"])},
        outputs={"summary_id": str(summary_id), "engine": origin["engine"], "dropped_claims": dropped},
        key=f"{run.run_id}:summary",
    )
