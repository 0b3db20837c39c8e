"""What speaks for a version and against it: its checks, and what the evals say of it against what answers now."""

from collections.abc import Sequence
from uuid import UUID

from memory.db import Tx
from memory.rows import Row
from tools.ai_prompts import checks
from tools.ai_prompts.checks import Check, Offer
from tools.ai_prompts.rows import PromptRow, State
from tools.ai_prompts.versions import VersionDetail
from tools.evaluations import verdicts
from tools.evaluations.rows import VerdictName
from tools.evaluations.verdicts import Evidence

GRAVITY: tuple[VerdictName, ...] = ("regressed", "inconclusive", "same", "improved")


class Heard(Row):
    """A verdict as it was when a release looked at it."""

    id: UUID
    suite: str
    verdict: VerdictName
    reason: str
    engine: str
    model: str | None


class ReadinessOut(Row):
    """
    Whether a version may be released now, and why not.

    It is held against `against_version` of `against_key`, which answers now; both are None where nothing does. Every
    check that blocks must pass; beyond that `may_release` says that the evals carry it, else an admin may override.
    """

    key: str
    version: int
    state: State
    active_version: int | None
    against_key: str | None
    against_version: int | None
    checks: list[Check]
    evidence: Evidence | None
    may_release: bool
    may_override: bool
    explanation: str


async def weigh(tx: Tx, prompt: PromptRow, version: VersionDetail, offer: Offer | None) -> ReadinessOut:
    """Return whether a version of this prompt may be released now, with every check and all evidence."""
    found = checks.check_version(version, offer)
    against = await _against(tx, prompt)
    evidence = await verdicts.evidence_for(tx, prompt.key, version.version, against[1], against[0]) if against else None
    sound = not checks.blocked(found) and version.state != "active"
    return ReadinessOut(
        key=prompt.key,
        version=version.version,
        state=version.state,
        active_version=prompt.active_version,
        against_key=against[0] if against else None,
        against_version=against[1] if against else None,
        checks=found,
        evidence=evidence,
        may_release=sound and evidence is not None and evidence.releasable,
        may_override=sound,
        explanation=_explain(version, found, evidence),
    )


async def _against(tx: Tx, prompt: PromptRow) -> tuple[str, int] | None:
    """Return what answers now: the prompt's own active version, or that of the prompt for which a suffix is."""
    if prompt.active_version is not None:
        return prompt.key, prompt.active_version
    base, _, suffix = prompt.key.partition("__")
    if not suffix:
        return None
    version = await tx.maybe(int, "SELECT active_version FROM ai_prompts WHERE key = %(base)s AND is_active", base=base)
    return (base, version) if version is not None else None


def _explain(version: VersionDetail, found: Sequence[Check], evidence: Evidence | None) -> str:
    if version.state == "active":
        return "It is active."
    if failed := checks.blocked(found):
        return " ".join(check.detail for check in failed)
    if evidence is None:
        return "Nothing answers for this key now, so there is nothing to hold it against."
    if not evidence.covered:
        return "No suite of evals holds this prompt."
    if evidence.regressed:
        return f"It is worse than what answers now: {', '.join(evidence.regressed)}."
    if evidence.missing:
        return f"No verdict yet from {', '.join(evidence.missing)}, by an engine that reads prompts."
    if evidence.inconclusive:
        return f"No suite says that it is worse; {', '.join(evidence.inconclusive)} could not tell."
    return "Every suite was asked, and none says that it is worse."


def heard(evidence: Evidence | None) -> list[Heard]:
    """Return the verdicts that were looked at, the gravest first."""
    found = [one.verdict for one in evidence.suites if one.verdict] if evidence else []
    found.sort(key=lambda verdict: GRAVITY.index(verdict.verdict))
    return [Heard.model_validate(verdict) for verdict in found]


def lines(evidence: Evidence | None) -> list[str]:
    """Return the verdicts as a refusal lists them."""
    return [f"{one.suite}: {one.verdict}. {one.reason}" for one in heard(evidence)]
