"""The steps of a product analysis."""

import asyncio
from collections import Counter
from typing import Any, TypedDict
from uuid import UUID

from langgraph.runtime import Runtime

from agents import guards
from agents.kit import About, Context
from agents.product_analysis import counting, transcripts
from agents.product_analysis.outputs import (
    CONTRAST,
    READ,
    AnalyzedProductOut,
    ContrastInputs,
    Kind,
    Meeting,
    Pattern,
    Said,
    TranscriptInputs,
    TranscriptReading,
)
from memory.db import Tx
from tools import ai_activity
from tools.products import readings
from tools.products.readings import AnalyzedProduct, KeptReading, NewReading, StageFindings, UnreadTranscript

AT_ONCE = 5
"""Transcripts that are read side by side in one step."""
DECIDED = 3
"""From so many won or lost meetings on they are contrasted."""
CONTRASTED = 10
"""Meetings of each side that are shown to the model."""
TOPICS = 20


class AnalysisState(TypedDict, total=False):
    """What the steps hand on: JSON values only, so that any worker can go on."""

    product_id: UUID
    type: Kind
    product: dict[str, Any]
    unread: list[str]
    topics: list[str]
    read: int
    hidden: int
    engines: list[str]
    patterns: int
    suggested: dict[str, int]
    output: dict[str, Any]


async def load(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Look up the product, what is still to be read for it, and what earlier readings call things."""
    run, product_id = runtime.context, UUID(str(state["product_id"]))
    async with run.db.reading() as tx:
        product = await readings.get_product(tx, run.caller, product_id)
        reads = state["type"] in ("full", "transcripts")
        unread = await readings.list_unread(tx, product_id) if reads else list[UUID]()
        kept = await readings.list_readings(tx, product_id) if unread else list[KeptReading]()
    return {
        "product": product.model_dump(mode="json"),
        "unread": [str(transcript) for transcript in unread],
        "topics": _topics(kept),
        "read": 0,
        "hidden": 0,
        "engines": [],
        "patterns": 0,
        "suggested": {},
    }


def _topics(kept: list[KeptReading]) -> list[str]:
    named = Counter(
        item["topic"]
        for reading in kept
        for name in ("objections", "pitch_points")
        for item in reading.reading.get(name, [])
    )
    return [topic for topic, _ in named.most_common(TOPICS)]


def is_read(state: AnalysisState) -> bool:
    """Whether no transcript is left."""
    return not state["unread"]


async def read(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Read the next few transcripts side by side, each kept as soon as it is read."""
    run, product = runtime.context, AnalyzedProduct.model_validate(state["product"])
    batch = [UUID(transcript) for transcript in state["unread"][:AT_ONCE]]
    async with run.db.reading() as tx:
        pending = await readings.list_to_read(tx, product.id, batch)
    done = await asyncio.gather(*(_read_one(run, product, state["topics"], transcript) for transcript in pending))
    return {
        "unread": state["unread"][AT_ONCE:],
        "read": state["read"] + len(done),
        "hidden": state["hidden"] + sum(hidden for hidden, _ in done),
        "engines": sorted({*state["engines"], *(engine for _, engine in done)}),
    }


async def _read_one(
    run: Context, product: AnalyzedProduct, topics: list[str], transcript: UnreadTranscript
) -> tuple[int, str]:
    run.read_source("transcription", transcript.id, transcript.title, third_party=True)
    text = guards.clean(transcripts.plain(transcript.transcription_text))
    inputs = TranscriptInputs(
        product=product.name,
        about=(product.description or "")[:1000],
        heldAt=transcript.meeting_date,
        ourPeople=transcript.our_people,
        company=transcript.company_name,
        knownTopics=topics,
        title=transcript.title,
        transcript=text,
    )
    about = About(company_id=transcript.company_id, transcription_id=transcript.id)
    answer = await run.ask(READ, inputs, about=about)
    reading, hidden = counting.settle(answer.value, text)
    new = NewReading(
        transcription_id=transcript.id,
        text_hash=transcript.text_hash,
        reading=reading.model_dump(mode="json"),
        engine=answer.engine,
        model=answer.model,
        prompt_key=answer.prompt_key,
        prompt_version=answer.prompt_version,
        ai_call_id=answer.call_id,
    )

    async def write(tx: Tx) -> dict[str, Any]:
        await readings.save_reading(tx, product.id, run.run_id, new)
        return {}

    await run.once(f"read:{transcript.id}", write)
    return hidden, answer.engine


async def contrast(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Contrast what was said where the sale was won with where it was lost, once enough sales have ended."""
    if state["type"] not in ("full", "patterns"):
        return {}
    run, product = runtime.context, AnalyzedProduct.model_validate(state["product"])
    async with run.db.reading() as tx:
        kept = await readings.list_readings(tx, product.id)
    ended = _ended(kept)
    counts = {"won": len(ended["won"]), "lost": len(ended["lost"])}
    found: dict[str, Any] = counts | {
        "winning": [],
        "losing": [],
        "advice": [],
        "enough": sum(counts.values()) >= DECIDED,
    }
    engines = state["engines"]
    if found["enough"]:
        shown = ended["won"][:CONTRASTED] + ended["lost"][:CONTRASTED]
        meetings = [_meeting(number, reading) for number, reading in enumerate(shown, 1)]
        split = min(len(ended["won"]), CONTRASTED)
        inputs = ContrastInputs(product=product.name, won=meetings[:split], lost=meetings[split:])
        answer = await run.ask(CONTRAST, inputs)
        found |= {
            "winning": _cited(answer.value.winning, meetings, shown),
            "losing": _cited(answer.value.losing, meetings, shown),
            "advice": answer.value.advice,
        }
        engines = sorted({*engines, answer.engine})

    async def write(tx: Tx) -> dict[str, Any]:
        await readings.merge_insights(tx, product.id, run.run_id, {"win_loss": found | {"at": tx.now.isoformat()}})
        return {}

    await run.once("contrast", write)
    return {"patterns": len(found["winning"]) + len(found["losing"]), "engines": engines}


def _ended(kept: list[KeptReading]) -> dict[str, list[KeptReading]]:
    return {side: [reading for reading in kept if reading.outcome == side] for side in ("won", "lost")}


def _meeting(number: int, kept: KeptReading) -> Meeting:
    reading = TranscriptReading.model_validate(kept.reading)
    return Meeting(
        meeting=number,
        summary=reading.summary,
        objections=[Said(topic=item.topic, settled=item.handled, quote=item.quote) for item in reading.objections[:6]],
        pitch_points=[
            Said(topic=item.topic, settled=item.effective, quote=item.quote) for item in reading.pitch_points[:6]
        ],
    )


def _cited(patterns: list[Pattern], meetings: list[Meeting], shown: list[KeptReading]) -> list[dict[str, Any]]:
    """Return the patterns whose quote stands in the meeting that they name."""
    kept: list[dict[str, Any]] = []
    for pattern in patterns:
        if not 1 <= pattern.meeting <= len(meetings) or guards.gate(pattern.confidence) == "hidden":
            continue
        source, reading = meetings[pattern.meeting - 1], shown[pattern.meeting - 1]
        texts = (said.quote for said in (*source.objections, *source.pitch_points))
        spans = (guards.supported(pattern.quote, text) for text in texts)
        if span := next((span for span in spans if span), None):
            kept.append(
                {
                    "pattern": pattern.pattern,
                    "transcription_id": str(reading.transcription_id),
                    "title": reading.title,
                    "quote": span.text,
                    "certainty": guards.gate(pattern.confidence),
                }
            )
    return kept


async def suggest(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Count what all readings say, and propose it to the stages in which it was said."""
    if state["type"] == "metrics":
        return {}
    run, product = runtime.context, AnalyzedProduct.model_validate(state["product"])

    async def write(tx: Tx) -> dict[str, Any]:
        kept = await readings.list_readings(tx, product.id)
        objections, points = counting.objections(kept), counting.pitch_points(kept)
        stages = [stage for stage in product.stages if not stage.is_terminal]
        findings = [
            StageFindings(
                stage_id=stage.id,
                pitch_points=counting.suggested_pitch_points(points, stage.id),
                objections=counting.suggested_objections(objections, stage.id),
                insights=_insights(run, kept, stage.id) | {"analyzed_at": tx.now.isoformat()},
            )
            for stage in stages
        ]
        await readings.save_findings(tx, findings)
        await readings.merge_insights(
            tx,
            product.id,
            run.run_id,
            {
                "transcripts": len(kept),
                "top_objections": counting.top_objections(objections),
                "pitch_points": counting.top_pitch_points(points),
                "at": tx.now.isoformat(),
            },
        )
        return {
            "objections": len(objections),
            "pitch_points": len(points),
            "stages_suggested": sum(bool(found.pitch_points or found.objections) for found in findings),
        }

    return {"suggested": await run.once("suggest", write)}


def _insights(run: Context, kept: list[KeptReading], stage_id: UUID) -> dict[str, Any]:
    here = [reading for reading in kept if reading.stage_id == stage_id]
    return {
        "transcripts": len(here),
        "won": sum(reading.outcome == "won" for reading in here),
        "lost": sum(reading.outcome == "lost" for reading in here),
        "sentiment": dict(Counter(str(reading.reading.get("sentiment")) for reading in here)),
        "run_id": str(run.run_id),
    }


async def measure(state: AnalysisState, runtime: Runtime[Context]) -> dict[str, Any]:
    """Count how long companies stay in each stage and how many go on; then say what was done."""
    run, product_id = runtime.context, UUID(str(state["product_id"]))
    done = AnalyzedProductOut(
        product_id=product_id,
        type=state["type"],
        read=state["read"],
        hidden=state["hidden"],
        patterns=state["patterns"],
        engines=state["engines"],
        **state["suggested"],
    )

    async def write(tx: Tx) -> dict[str, Any]:
        measured = 0
        if state["type"] in ("full", "metrics"):
            figures = await readings.compute_figures(tx, product_id)
            await readings.save_figures(tx, figures)
            measured = sum(figure.exited > 0 for figure in figures)
        output = done.model_copy(update={"stages_measured": measured}).model_dump(mode="json")
        await ai_activity.record_action(
            tx,
            run.caller,
            source="system",
            action_type="ANALYSIS_COMPLETED",
            run_id=run.run_id,
            inputs={"product_id": str(product_id), "type": state["type"]},
            outputs=output,
            key=f"{run.run_id}:product_analysis",
        )
        return output

    return {"output": await run.once("measure", write)}
