"""The steps of a letter that deals with a flag."""

from typing import Any, TypedDict
from uuid import UUID

from langgraph.runtime import Runtime

from agents.attention import checks, words
from agents.attention.outputs import DraftAbout, FlagDraftDone
from agents.drafting import checks as of_drafts
from agents.drafting.outputs import ReplyOutput
from agents.kit import About, Context
from agents.models import ModelUnavailable
from agents.questions import PromptUnusable
from memory.db import Tx
from memory.errors import BadGateway
from tools import ai_activity
from tools.attention import context as flag_context
from tools.attention.context import FlagContext, FlagDraft


class DraftFailed(BadGateway):
    """No draft could be written: {reason}"""

    shows = ("tried_prompt_keys",)


class FlagDraftState(TypedDict, total=False):
    """What the steps hand on: JSON values only, so that any worker can go on."""

    flag_id: UUID
    context: dict[str, Any]
    answer: dict[str, Any]
    origin: dict[str, Any]
    output: dict[str, Any]


async def load(state: FlagDraftState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read the flag, the sale, and what was said last."""
    run = runtime.context
    async with run.db.transaction(run.now()) as tx:
        context = await flag_context.load_flag_context(tx, run.caller, state["flag_id"])
    flag = context.flag
    run.read_source("attention_flag", flag.id, flag.flag_type, third_party=flag.source_type == "communication")
    if context.last_inbound_id:
        run.read_source("communication", context.last_inbound_id, context.subject, third_party=True)
    if context.last_outbound_id:
        run.read_source("communication", context.last_outbound_id, context.subject)
    return {"context": context.model_dump(mode="json")}


async def write(state: FlagDraftState, runtime: Runtime[Context]) -> dict[str, Any]:
    """
    Have the letter written, by the product's own prompt if there is one.

    Raises `DraftFailed`.
    """
    run, context = runtime.context, FlagContext.model_validate(state["context"])
    purpose, inputs = words.question(context, run.now())
    suffixes = [context.product_slug] if context.product_slug else []
    about = About(
        company_id=context.flag.company_id,
        contact_id=context.contact_id,
        communication_id=context.flag.communication_id and context.last_inbound_id,
    )
    try:
        answer = await run.ask(purpose, inputs, about=about, suffixes=suffixes)
    except (ModelUnavailable, PromptUnusable) as failure:
        tried = [*(f"{purpose.key}__{suffix}" for suffix in suffixes), purpose.key]
        raise DraftFailed(reason=failure.message, tried_prompt_keys=tried) from failure
    origin = {
        "engine": answer.engine,
        "prompt_key": answer.prompt_key,
        "prompt_version": answer.prompt_version,
        "call_id": str(answer.call_id) if answer.call_id else None,
    }
    return {"answer": answer.value.model_dump(mode="json"), "origin": origin}


async def keep(state: FlagDraftState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Check the words and keep the draft; it goes to whom the records name and to nobody else."""
    run, context = runtime.context, FlagContext.model_validate(state["context"])
    output = ReplyOutput.model_validate(state["answer"])
    placeholders, doubtful = of_drafts.gaps(output), checks.doubts(output, context)
    sure = of_drafts.confidence(output, placeholders, doubtful)
    origin = state["origin"]
    draft = FlagDraft(
        to_email=context.contact_email,
        subject=checks.subject_of(output, context, answers=context.flag.flag_type == "NEEDS_REPLY"),
        body=output.body,
        confidence=sure,
        needs_human_review=[*output.needs_human_review, *doubtful],
        placeholders=placeholders,
        engine=origin["engine"],
        prompt_key=origin["prompt_key"],
        prompt_version=origin["prompt_version"],
        run_id=run.run_id,
        sources=[str(source) for source in (context.last_inbound_id, context.last_outbound_id) if source],
    )

    async def store(tx: Tx) -> dict[str, Any]:
        draft_id = await flag_context.save_flag_draft(tx, run.caller, context.flag, draft)
        await _log(tx, run, context, origin, draft_id, sure)
        done = FlagDraftDone(
            draft_id=draft_id,
            **draft.model_dump(
                include={"subject", "body", "confidence", "needs_human_review", "placeholders", "engine"}
            ),
            quality_checks=of_drafts.quality_of(draft.body, words.first_name(context), context.last_inbound),
            about=_about(context),
        )
        return done.model_dump(mode="json")

    return {"output": await run.once("keep", store)}


def _about(context: FlagContext) -> DraftAbout:
    return DraftAbout(
        company_name=context.flag.company.name,
        contact_name=context.contact_name,
        contact_email=context.contact_email,
        product_name=context.product_name,
        stage_name=context.stage_name,
        flag_type=context.flag.flag_type,
        reason=context.flag.reason,
    )


async def _log(tx: Tx, run: Context, context: FlagContext, origin: dict[str, Any], draft_id: UUID, sure: int) -> None:
    flag = context.flag
    await ai_activity.record_action(
        tx,
        run.caller,
        source="communications" if flag.flag_type == "NEEDS_REPLY" else "pipeline",
        action_type="EMAIL_DRAFTED",
        company_id=flag.company_id,
        contact_id=context.contact_id,
        company_product_id=flag.company_product_id,
        communication_id=context.last_inbound_id if flag.communication_id else None,
        attention_flag_id=flag.id,
        ai_call_id=UUID(origin["call_id"]) if origin["call_id"] else None,
        run_id=run.run_id,
        inputs={"flag_id": str(flag.id), "flag_type": flag.flag_type, "prompt_key": origin["prompt_key"]},
        outputs={"draft_id": str(draft_id), "confidence": sure, "engine": origin["engine"]},
        key=f"{run.run_id}:draft",
    )
