"""The books: every try to have a question answered, by a model or by the rules, with what it cost."""

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from memory.db import Tx
from memory.rows import Row

Status = Literal["reserved", "ok", "invalid_output", "error", "blocked_budget", "timeout"]


@dataclass(frozen=True, slots=True)
class NewCall:
    """Who asks what of whom; `input_tokens` is an estimate until the call is settled. A `trial` leads to no record."""

    capability: str
    prompt_key: str
    prompt_version: int
    prompt_source: str
    engine: str
    provider: str
    model: str
    used_fallback: bool = False
    attempt: int = 1
    input_tokens: int = 0
    run_id: UUID | None = None
    user_id: UUID | None = None
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    communication_id: UUID | None = None
    transcription_id: UUID | None = None
    trial: bool = False

    def columns(self) -> dict[str, Any]:
        """Return the values by column."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a try ended; latency in milliseconds."""

    status: Status
    latency_ms: int
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: Decimal = Decimal(0)
    error: str | None = None

    def columns(self) -> dict[str, Any]:
        """Return the values by column."""
        return asdict(self)


CALL = """
    c.id, c.capability, c.prompt_key, c.prompt_version, c.prompt_source, c.engine, c.provider, c.model, c.used_fallback, c.status,
    c.attempt, c.input_tokens, c.output_tokens, c.cached_tokens, c.cost_usd, c.latency_ms, c.error, c.created_at
"""


class CallRow(Row):
    """One try, as the run's page shows it."""

    id: UUID
    capability: str
    prompt_key: str
    prompt_version: int
    prompt_source: str
    engine: str
    provider: str
    model: str
    used_fallback: bool
    status: Status
    attempt: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: float
    latency_ms: int | None
    error: str | None
    created_at: datetime


async def record_call(tx: Tx, call: NewCall, outcome: Outcome) -> UUID:
    """Record a try that cost nothing beforehand: the rules' answers."""
    return await tx.one(
        UUID,
        """
        INSERT INTO ai_calls (capability, prompt_key, prompt_version, prompt_source, engine, provider, model,
                              used_fallback, attempt, run_id, user_id, company_id, contact_id, deal_id,
                              communication_id, transcription_id, created_at, status, input_tokens, output_tokens,
                              cached_tokens, cost_usd, latency_ms, error, trial)
        VALUES (%(capability)s, %(prompt_key)s, %(prompt_version)s, %(prompt_source)s, %(engine)s, %(provider)s,
                %(model)s, %(used_fallback)s, %(attempt)s, %(run_id)s, %(user_id)s, %(company_id)s, %(contact_id)s,
                %(deal_id)s, %(communication_id)s, %(transcription_id)s, %(now)s, %(status)s, %(input_tokens)s,
                %(output_tokens)s, %(cached_tokens)s, %(cost_usd)s, %(latency_ms)s, %(error)s, %(trial)s)
        RETURNING id
        """,
        **call.columns() | outcome.columns(),
    )


async def list_calls(tx: Tx, run_id: UUID) -> list[CallRow]:
    """Return the tries of one run, in their order."""
    return await tx.many(
        CallRow,
        f"SELECT {CALL} FROM ai_calls c WHERE c.run_id = %(run_id)s ORDER BY c.created_at, c.id LIMIT 500",
        run_id=run_id,
    )
