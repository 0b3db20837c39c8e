"""The steps of a draft."""

import html
from typing import Any, TypedDict
from uuid import UUID

from langgraph.runtime import Runtime

from agents.drafting import checks, words
from agents.drafting.outputs import REPLY, DraftDone, DraftIn, ReplyOutput, Tone
from agents.kit import Context
from memory.db import Tx
from memory.vectors import Asker
from tools import ai_activity, drafts
from tools.drafts import NewDraft, ReplyContext


class DraftState(TypedDict, total=False):
    """What the steps hand on: JSON values only, so that any worker can go on."""

    communication_id: UUID
    instructions: str | None
    tone: Tone | None
    context: dict[str, Any]
    history: list[str]
    answer: dict[str, Any]
    origin: dict[str, Any]
    output: dict[str, Any]


async def load(state: DraftState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read the thread, the deal, and what is known of the person."""
    run = runtime.context
    async with run.db.transaction(run.now()) as tx:
        context = await drafts.load_reply_context(tx, run.caller, state["communication_id"])
    run.read_source("communication", context.last_inbound_id, context.subject, third_party=True)
    if context.last_outbound_id:
        run.read_source("communication", context.last_outbound_id, context.subject)
    return {"context": context.model_dump(mode="json"), "history": await _recall(run, context)}


async def _recall(run: Context, context: ReplyContext) -> list[str]:
    asker = Asker(run.db, run.embedder, run.settings) if run.embedder else None
    hits = await words.recall(run.db, run.caller, context, run.now(), asker)
    for hit in hits:
        run.read_source(hit.source_type, hit.source_id, hit.title, third_party=True)
    return words.passages(hits)


async def write(state: DraftState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Have the answer written."""
    run, context = runtime.context, ReplyContext.model_validate(state["context"])
    inputs = words.inputs(context, _asked(state), run.now(), state.get("history", []))
    suffixes = (context.product_slug or "",)
    answer = await run.ask(REPLY, inputs, about=words.about(context), suffixes=suffixes)
    origin = {
        "engine": answer.engine,
        "prompt_key": answer.prompt_key,
        "prompt_version": answer.prompt_version,
        "call_id": str(answer.call_id) if answer.call_id else None,
        "inputs": inputs.model_dump(mode="json"),
    }
    return {"answer": answer.value.model_dump(mode="json"), "origin": origin}


async def keep(state: DraftState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Check the words and keep the draft; it goes to the thread's own sender and to nobody else."""
    run, context = runtime.context, ReplyContext.model_validate(state["context"])
    output = ReplyOutput.model_validate(state["answer"])
    inputs = REPLY.input.model_validate(state["origin"]["inputs"])
    placeholders, doubtful = checks.gaps(output), checks.doubts(output, inputs, context)
    review = [*output.needs_human_review, *doubtful]
    sure = checks.confidence(output, placeholders, doubtful)

    async def store(tx: Tx) -> dict[str, Any]:
        draft = await drafts.save_draft(
            tx,
            run.caller,
            context,
            NewDraft(
                to_emails=[context.to_email],
                subject=_reply_subject(context.subject, output.subject),
                body_text=output.body,
                body_html=_as_html(output.body),
                confidence=sure,
                needs_human_review=review,
                placeholders=placeholders,
                context={
                    "sources": [str(context.last_inbound_id), *filter(None, [str(context.last_outbound_id or "")])]
                },
                engine=state["origin"]["engine"],
                prompt_key=state["origin"]["prompt_key"],
                prompt_version=state["origin"]["prompt_version"],
                ai_call_id=state["origin"]["call_id"],
                run_id=run.run_id,
                trigger="requested",
            ),
        )
        await _log(tx, run, context, state["origin"], draft.id, sure)
        done = DraftDone(
            draft_id=draft.id, subject=draft.subject, body=draft.body_text, confidence=sure, needs_human_review=review,
            placeholders=placeholders, quality_checks=checks.quality(output, inputs, context), engine=state["origin"]["engine"],
        )  # fmt: skip
        return done.model_dump(mode="json")

    return {"output": await run.once("keep", store)}


async def _log(tx: Tx, run: Context, context: ReplyContext, origin: dict[str, Any], draft_id: UUID, sure: int) -> None:
    await ai_activity.record_action(
        tx,
        run.caller,
        source="communications",
        action_type="EMAIL_DRAFTED",
        company_id=context.company_id,
        contact_id=context.contact_id,
        communication_id=context.communication_id,
        ai_call_id=UUID(origin["call_id"]) if origin["call_id"] else None,
        run_id=run.run_id,
        inputs={"communication_id": str(context.communication_id)},
        outputs={"draft_id": str(draft_id), "confidence": sure, "engine": origin["engine"]},
        key=f"{run.run_id}:draft",
    )


def _asked(state: DraftState) -> DraftIn:
    return DraftIn(
        communication_id=state["communication_id"], instructions=state.get("instructions"), tone=state.get("tone")
    )


def _reply_subject(original: str, written: str) -> str:
    """Return the thread's own subject as an answer; a subject of the model's only where the thread has none."""
    subject = original.strip() or written.strip()
    return subject if subject.lower().startswith("re:") else f"Re: {subject}"


def _as_html(text: str) -> str:
    return "".join(
        f"<p>{html.escape(part).replace(chr(10), '<br>')}</p>" for part in text.split("\n\n") if part.strip()
    )
