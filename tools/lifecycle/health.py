"""Health of a company's product: 100 minus what its open support cases and its stage cost. Pure."""

from typing import Literal
from uuid import UUID

from memory.rows import Row
from tools.lifecycle.state import RiskLevel

VERSION = "1.0"
LEVELS: tuple[tuple[int, RiskLevel], ...] = ((85, "none"), (70, "low"), (50, "medium"), (0, "high"))
MANY, MANY_MORE = 3, 5
Source = Literal["support_cases", "sla"]


class HealthInputs(Row):
    """What health is judged on. Counts are of open cases, impacts also of those that were rated lately."""

    critical: int = 0
    urgent: int = 0
    high: int = 0
    total: int = 0
    response_breached: int = 0
    resolution_breached: int = 0
    escalated: int = 0
    negative_impact: int = 0
    critical_impact: int = 0
    stage_breached: bool = False


class Reason(Row):
    """One thing that costs points; `impact` is negative."""

    code: str
    description: str
    impact: int
    source: Source
    reference_id: UUID | None = None


class Health(Row):
    """How a company's product stands: 0 to 100, and why; `input_hash` tells the facts it was judged on."""

    score: int
    risk_level: RiskLevel
    reasons: list[Reason]
    input_hash: str


def judge(inputs: HealthInputs, input_hash: str) -> Health:
    """
    Return the health that follows from these facts.

    Source: CRM specification, health v1.0: deductions from 100, clamped to 0..100; some force a high risk whatever the
    score, else 85 and more is none, 70 low, 50 medium.
    """
    found = [(reason, forces) for reason, forces in _reasons(inputs) if reason.impact]
    score = max(0, min(100, 100 + sum(reason.impact for reason, _ in found)))
    level: RiskLevel = (
        "high" if any(forces for _, forces in found) else next(name for least, name in LEVELS if score >= least)
    )
    return Health(score=score, risk_level=level, reasons=[reason for reason, _ in found], input_hash=input_hash)


def _reasons(it: HealthInputs) -> list[tuple[Reason, bool]]:
    """Every rule with its cost, 0 when it does not apply, and whether it forces a high risk."""
    severe = it.critical + it.urgent
    cases, sla = "support_cases", "sla"
    return [
        _rule("severe_case_open", f"Critical or urgent cases open: {severe}", -40 if severe else 0, cases, forces=True),
        _rule("high_case_open", f"Cases of high severity open: {it.high}", -25 if it.high else 0, cases),
        _rule("response_breached", f"Open cases that were not answered in time: {it.response_breached}",
              -20 if it.response_breached else 0, cases, forces=True),
        _rule("resolution_breached", f"Open cases past their resolution due: {it.resolution_breached}",
              -30 if it.resolution_breached else 0, cases, forces=True),
        _rule("many_cases_open", f"Cases open: {it.total}", -15 if it.total >= MANY else 0, cases),
        _rule("very_many_cases_open", f"Cases open: {it.total}", -10 if it.total >= MANY_MORE else 0, cases),
        _rule("case_escalated", f"Escalated cases: {it.escalated}", -15 if it.escalated else 0, cases),
        _rule("negative_impact", f"Cases that left a bad impression: {it.negative_impact}", -10 * it.negative_impact, cases),
        _rule("critical_impact", f"Cases that left the worst impression: {it.critical_impact}",
              -20 * it.critical_impact, cases, forces=True),
        _rule("stage_sla_breached", "The stage has lasted longer than it may", -15 if it.stage_breached else 0, sla,
              forces=True),
    ]  # fmt: skip


def _rule(code: str, description: str, impact: int, source: Source, *, forces: bool = False) -> tuple[Reason, bool]:
    return Reason(code=code, description=description, impact=impact, source=source), forces
