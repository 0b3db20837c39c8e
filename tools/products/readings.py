"""
What meetings say about a product: which transcripts nobody has read for it yet, what readings found, and what becomes of
them: suggestions and figures on the stages of its sale, and the product's insights.

A meeting counts for the stage in which the company was on that day, as the stage facts tell, and for the way its sale ended.
"""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, NotFound
from memory.rows import Row
from tools.products.rows import ProductNotFound

Outcome = Literal["won", "lost"]
MOST = 50
"""Transcripts that one analysis reads."""


class ProductMissing(NotFound):
    """Product {product_id} does not exist."""


class AnalysisRunning(Conflict):
    """An analysis of this product is running already."""

    shows = ("job_id",)


class AnalyzedStage(Row):
    """A stage of the product's published sales process."""

    id: UUID
    name: str
    is_terminal: bool


class AnalyzedProduct(Row):
    """A product with the stages of its sale in order."""

    id: UUID
    name: str
    slug: str
    description: str | None
    stages: list[AnalyzedStage]


class UnreadTranscript(Row):
    """A transcript to be read for a product, with the people of our house by name."""

    id: UUID
    title: str
    meeting_date: datetime
    company_id: UUID
    company_name: str
    transcription_text: str
    text_hash: str
    our_people: list[str]


class NewReading(Row):
    """What one transcript says, and who read it."""

    transcription_id: UUID
    text_hash: str
    reading: dict[str, Any]
    engine: str
    model: str
    prompt_key: str
    prompt_version: int
    ai_call_id: UUID | None


class KeptReading(Row):
    """A reading with the stage and the outcome that its meeting counts for, as far as they are known."""

    transcription_id: UUID
    title: str
    meeting_date: datetime
    company_id: UUID
    stage_id: UUID | None
    outcome: Outcome | None
    reading: dict[str, Any]


class StageFigures(Row):
    """How long companies stayed in a stage (days) and what part of those who left went on (percent)."""

    stage_id: UUID
    entered: int
    exited: int
    avg_days_in_stage: float | None
    conversion_rate: float | None


class StageFindings(Row):
    """What the analysis proposes for one stage."""

    stage_id: UUID
    pitch_points: list[dict[str, Any]]
    objections: list[dict[str, Any]]
    insights: dict[str, Any]


# Meetings `t` of companies `h` that have the product, unless they were held about another product.
_MEETINGS = """
    meeting_transcriptions t
      JOIN company_products h ON h.company_id = t.company_id AND h.product_id = %(product_id)s AND h.merged_into_id IS NULL
     WHERE (t.company_product_id IS NULL OR t.company_product_id = h.id)
       AND length(btrim(coalesce(t.transcription_text, ''))) > 0
"""
_HASH = "encode(sha256(convert_to(t.transcription_text, 'UTF8')), 'hex')"


async def find_product_id(tx: Tx, slug: str) -> UUID:
    """
    Return the id of the product.

    Raises `ProductNotFound`.
    """
    return await tx.one(
        UUID, "SELECT id FROM products WHERE slug = %(slug)s", missing=ProductNotFound(slug=slug), slug=slug
    )


async def check_idle(tx: Tx, product_id: UUID) -> None:
    """
    Refuse when an analysis of the product is on its way.

    Raises `AnalysisRunning` with the run as `job_id`.
    """
    running = await tx.maybe(
        UUID,
        """
        SELECT id FROM agent_runs
         WHERE agent = 'product_analysis' AND input ->> 'product_id' = %(product_id)s
           AND status IN ('queued', 'running', 'waiting')
        """,
        product_id=str(product_id),
    )
    if running is not None:
        raise AnalysisRunning(job_id=str(running))


async def get_product(tx: Tx, caller: Caller, product_id: UUID) -> AnalyzedProduct:
    """
    Return the product with the stages of its published sales process.

    Raises `ProductMissing`.
    """
    return await tx.one(
        AnalyzedProduct,
        """
        SELECT o.id, o.name, o.slug, o.description,
               coalesce((SELECT json_agg(json_build_object('id', s.id, 'name', s.name, 'is_terminal', s.is_terminal)
                                         ORDER BY s.stage_order)
                           FROM product_processes p JOIN product_process_stages s ON s.process_id = p.id
                          WHERE p.product_id = o.id AND p.process_type = 'sales' AND p.status = 'published'
                            AND s.archived_at IS NULL), '[]') AS stages
          FROM products o WHERE o.id = %(product_id)s
        """,
        missing=ProductMissing(product_id=product_id),
        product_id=product_id,
    )


async def list_unread(tx: Tx, product_id: UUID, *, limit: int = MOST) -> list[UUID]:
    """Return the transcripts that nobody has read for this product as they stand now, newest first."""
    return await tx.many(
        UUID,
        f"""
        SELECT t.id FROM {_MEETINGS}
           AND NOT EXISTS (SELECT FROM product_readings k
                            WHERE k.product_id = %(product_id)s AND k.transcription_id = t.id AND k.text_hash = {_HASH})
         ORDER BY t.meeting_date DESC, t.id
         LIMIT %(limit)s
        """,
        product_id=product_id,
        limit=limit,
    )


async def list_to_read(tx: Tx, product_id: UUID, transcription_ids: list[UUID]) -> list[UnreadTranscript]:
    """Return those of the transcripts that are still to be read, with their text."""
    return await tx.many(
        UnreadTranscript,
        f"""
        SELECT t.id, t.title, t.meeting_date, h.company_id, c.name AS company_name, {_HASH} AS text_hash,
               left(t.transcription_text, 200000) AS transcription_text,
               coalesce((SELECT array_agg(u.name ORDER BY u.name) FROM users u
                          WHERE u.id = t.user_id
                             OR u.email IN (SELECT lower(a ->> 'email') FROM jsonb_array_elements(t.attendees) a
                                             WHERE jsonb_typeof(a) = 'object')), '{{}}') AS our_people
          FROM (SELECT t.*, h.id AS held_id FROM {_MEETINGS} AND t.id = ANY (%(ids)s)) t
          JOIN company_products h ON h.id = t.held_id
          JOIN companies c ON c.id = h.company_id
         WHERE NOT EXISTS (SELECT FROM product_readings k
                            WHERE k.product_id = %(product_id)s AND k.transcription_id = t.id AND k.text_hash = {_HASH})
         ORDER BY array_position(%(ids)s::uuid[], t.id)
        """,
        product_id=product_id,
        ids=transcription_ids,
    )


async def save_reading(tx: Tx, product_id: UUID, run_id: UUID, new: NewReading) -> None:
    """Keep what a transcript says about the product, in place of what an earlier text of it said."""
    await tx.run(
        """
        INSERT INTO product_readings (product_id, transcription_id, text_hash, reading, engine, model, prompt_key,
                                      prompt_version, ai_call_id, run_id, read_at)
        VALUES (%(product_id)s, %(transcription_id)s, %(text_hash)s, %(reading)s, %(engine)s, %(model)s, %(prompt_key)s,
                %(prompt_version)s, %(ai_call_id)s, %(run_id)s, %(now)s)
        ON CONFLICT (product_id, transcription_id) DO UPDATE
           SET text_hash = excluded.text_hash, reading = excluded.reading, engine = excluded.engine, model = excluded.model,
               prompt_key = excluded.prompt_key, prompt_version = excluded.prompt_version,
               ai_call_id = excluded.ai_call_id, run_id = excluded.run_id, read_at = excluded.read_at
        """,
        **new.model_dump(exclude={"reading"}),
        reading=Json(new.reading),
        product_id=product_id,
        run_id=run_id,
    )


async def list_readings(tx: Tx, product_id: UUID) -> list[KeptReading]:
    """
    Return what the product's meetings were read to say, newest first, at most a thousand.

    A meeting counts for the stage that the company had entered last by then, or for its first one.
    """
    return await tx.many(
        KeptReading,
        f"""
        SELECT t.id AS transcription_id, t.title, t.meeting_date, t.company_id, k.reading,
               coalesce(
                   (SELECT f.stage_id FROM company_product_stage_facts f
                     WHERE f.company_product_id = t.held_id AND f.process_type = 'sales' AND f.entered_at <= t.meeting_date
                     ORDER BY f.entered_at DESC LIMIT 1),
                   (SELECT f.stage_id FROM company_product_stage_facts f
                     WHERE f.company_product_id = t.held_id AND f.process_type = 'sales'
                     ORDER BY f.entered_at LIMIT 1)) AS stage_id,
               CASE WHEN r.onboarding_started_at IS NOT NULL OR r.activated_at IS NOT NULL THEN 'won'
                    WHEN r.declined_at IS NOT NULL THEN 'lost' END AS outcome
          FROM (SELECT t.*, h.id AS held_id FROM {_MEETINGS}) t
          JOIN product_readings k ON k.product_id = %(product_id)s AND k.transcription_id = t.id
          LEFT JOIN company_product_read_model r ON r.company_product_id = t.held_id
         ORDER BY t.meeting_date DESC, t.id
         LIMIT 1000
        """,
        product_id=product_id,
    )


async def compute_figures(tx: Tx, product_id: UUID) -> list[StageFigures]:
    """
    Count from the stage facts how long companies stayed in each stage of the sale, and how many of those who left went on:
    to a later stage, or won.

    Source: CRM specification, product analysis: metrics from stage facts.
    """
    return await tx.many(
        StageFigures,
        """
        SELECT s.id AS stage_id, count(f.entry_event_id) AS entered, count(f.exited_at) AS exited,
               round((avg(f.duration_seconds) FILTER (WHERE f.exited_at IS NOT NULL) / 86400)::numeric, 2)
                   AS avg_days_in_stage,
               round(100.0 * count(*) FILTER (
                         WHERE f.exit_reason = 'progressed' OR f.exit_reason = 'completed' AND EXISTS (
                             SELECT FROM event_store e
                              WHERE e.aggregate_type = 'company_product' AND e.aggregate_id = f.company_product_id
                                AND e.id = f.exit_event_id AND e.event_data ->> 'outcome' = 'won'))
                     / nullif(count(f.exited_at), 0), 2) AS conversion_rate
          FROM product_processes p
          JOIN product_process_stages s ON s.process_id = p.id AND s.archived_at IS NULL
          LEFT JOIN company_product_stage_facts f ON f.stage_id = s.id
         WHERE p.product_id = %(product_id)s AND p.process_type = 'sales' AND p.status = 'published'
         GROUP BY s.id, s.stage_order
         ORDER BY s.stage_order
        """,
        product_id=product_id,
    )


async def save_figures(tx: Tx, figures: list[StageFigures]) -> None:
    """Write the figures into the stages."""
    await tx.run(
        """
        UPDATE product_process_stages s
           SET avg_days_in_stage = n.avg_days_in_stage, conversion_rate = n.conversion_rate
          FROM jsonb_to_recordset(%(figures)s) AS n (stage_id uuid, avg_days_in_stage numeric, conversion_rate numeric)
         WHERE s.id = n.stage_id
        """,
        figures=Json(figures),
    )


async def save_findings(tx: Tx, findings: list[StageFindings]) -> None:
    """Write what the analysis proposes into the stages; what people wrote there stays."""
    await tx.run(
        """
        UPDATE product_process_stages s
           SET ai_suggested_pitch_points = n.pitch_points, ai_suggested_objections = n.objections, ai_insights = n.insights
          FROM jsonb_to_recordset(%(findings)s) AS n (stage_id uuid, pitch_points jsonb, objections jsonb, insights jsonb)
         WHERE s.id = n.stage_id
        """,
        findings=Json(findings),
    )


async def merge_insights(tx: Tx, product_id: UUID, run_id: UUID, found: dict[str, Any]) -> None:
    """Put what was found beside what earlier analyses found about the product; what was found again is replaced."""
    await tx.run(
        """
        INSERT INTO product_insights (product_id, insights, run_id, computed_at)
        VALUES (%(product_id)s, %(found)s, %(run_id)s, %(now)s)
        ON CONFLICT (product_id) DO UPDATE
           SET insights = product_insights.insights || excluded.insights, run_id = excluded.run_id,
               computed_at = excluded.computed_at
        """,
        product_id=product_id,
        found=Json(found),
        run_id=run_id,
    )
