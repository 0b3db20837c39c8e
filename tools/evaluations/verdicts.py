"""What a version of a prompt is against another, and whether that is evidence enough to release it."""

from typing import Any
from uuid import UUID

from memory.db import Json, Tx
from memory.rows import Row
from tools.evaluations import suites
from tools.evaluations.rows import Engine, VerdictName, VerdictRow

VERDICT = """
    v.id, v.run_id, v.against_run_id, v.prompt_key, v.prompt_version, v.against_key, v.against_version, v.suite, v.engine,
    v.model, v.dataset, v.verdict, v.reason, v.detail, v.created_at
"""


class NewVerdict(Row):
    """A verdict of a complete run: every case that the prompt concerns, and each of them answered in both runs."""

    run_id: UUID
    against_run_id: UUID | None
    prompt_key: str
    prompt_version: int
    against_key: str
    against_version: int
    suite: str
    engine: Engine
    model: str | None
    dataset: str
    verdict: VerdictName
    reason: str
    detail: dict[str, Any]


class SuiteEvidence(Row):
    """What one suite says; None where nobody has asked it yet."""

    suite: str
    about: str
    dear: str
    verdict: VerdictRow | None


class Evidence(Row):
    """
    What all suites that hold a prompt say about a version against another.

    `stale` are those that said something of cases which have been changed since: they have to be asked again. `covered` is false where no suite holds the prompt. `releasable`: every suite was asked and none says regressed;
    an inconclusive one is no regression, and is named.
    """

    suites: list[SuiteEvidence]
    covered: bool
    missing: list[str]
    regressed: list[str]
    inconclusive: list[str]
    releasable: bool
    stale: list[str] = []


async def record_verdict(tx: Tx, new: NewVerdict) -> VerdictRow:
    """Write a verdict down; verdicts are never changed."""
    return await tx.one(
        VerdictRow,
        f"""
        INSERT INTO eval_verdicts AS v (run_id, against_run_id, prompt_key, prompt_version, against_key, against_version, suite,
                                        engine, model, dataset, verdict, reason, detail, created_at)
        VALUES (%(run_id)s, %(against_run_id)s, %(prompt_key)s, %(prompt_version)s, %(against_key)s, %(against_version)s,
                %(suite)s, %(engine)s, %(model)s, %(dataset)s, %(verdict)s, %(reason)s, %(detail)s, %(now)s)
        RETURNING {VERDICT}
        """,
        **new.model_dump(exclude={"detail"}),
        detail=Json(new.detail),
    )


async def verdicts_of(
    tx: Tx, key: str, version: int, against_version: int, against_key: str | None = None
) -> list[VerdictRow]:
    """Return the newest verdict of each suite, engine and model on a version against another, newest first."""
    found = await tx.many(
        VerdictRow,
        f"""
        SELECT DISTINCT ON (v.suite, v.engine, v.model) {VERDICT} FROM eval_verdicts v
         WHERE v.prompt_key = %(key)s AND v.prompt_version = %(version)s AND v.against_key = %(against_key)s
           AND v.against_version = %(against_version)s
         ORDER BY v.suite, v.engine, v.model, v.created_at DESC, v.id
        """,
        key=key,
        version=version,
        against_key=against_key or key,
        against_version=against_version,
    )
    return sorted(found, key=lambda verdict: verdict.created_at, reverse=True)


async def evidence_for(
    tx: Tx, key: str, version: int, against_version: int, against_key: str | None = None
) -> Evidence:
    """
    Return what every suite that holds the prompt says about a version against another.

    Only engines that read prompts are heard, on the cases that the suite has now, and each suite by its newest verdict.
    """
    present = {suite.name: suite.dataset for suite in suites.suites_of(key)}
    asked = await verdicts_of(tx, key, version, against_version, against_key)
    heard = [one for one in asked if one.engine != "rules" and one.dataset == present.get(one.suite)]
    outdated = {one.suite for one in asked if one.engine != "rules" and one.suite in present} - {
        one.suite for one in heard
    }
    found = [
        SuiteEvidence(
            suite=suite.name,
            about=suite.about,
            dear=suite.dear,
            verdict=next((verdict for verdict in heard if verdict.suite == suite.name), None),
        )
        for suite in suites.suites_of(key)
    ]
    said: dict[str | None, list[str]] = {}
    for one in found:
        said.setdefault(one.verdict.verdict if one.verdict else None, []).append(one.suite)
    missing, regressed = said.get(None, []), said.get("regressed", [])
    return Evidence(
        suites=found,
        covered=bool(found),
        missing=missing,
        regressed=regressed,
        inconclusive=said.get("inconclusive", []),
        releasable=bool(found) and not missing and not regressed,
        stale=sorted(outdated),
    )
