"""
Releases: how a version becomes the one that answers.

    draft ──▶ checks pass? ──▶ every suite asked, none regressed? ──▶ active
                                          │ no
                                          └── an admin's override, with a reason ──▶ active

What was active before may come back at any time in one step, and so may the shipped default. Every step is a row.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Conflict, Forbidden
from memory.rows import In, Row
from tools.ai_prompts import checks, weighing
from tools.ai_prompts.checks import Check, Offer
from tools.ai_prompts.rows import (
    PromptRow,
    Reason,
    check_writer,
    get_prompt_by_key,
    lock_by_key,
)
from tools.ai_prompts.versions import HistoryFilter, get_version
from tools.ai_prompts.weighing import Heard, ReadinessOut
from tools.evaluations.verdicts import Evidence

Kind = Literal["verdict", "override", "rollback", "restore", "shipped"]
MOST = 100_000


class ChecksFailed(Conflict):
    """Version {version} of {key} cannot answer: {failed}"""


class NotReleasable(Conflict):
    """Version {version} of {key} may not be released: {why} An admin can override this with a reason."""


class AlreadyActive(Conflict):
    """Version {version} of {key} is active already."""


class NeverReleased(Conflict):
    """Version {version} of {key} has never been active: release it instead."""


class NothingBefore(Conflict):
    """No other version of {key} was active before this one."""


class NotShipped(Conflict):
    """The service ships no default for {key}."""


class MayNotOverride(Forbidden):
    """Only an admin may release a prompt without a verdict."""


class ReleaseIn(In):
    """Which version shall answer; `override_reason` is an admin's, where the evals do not carry it."""

    version: int = Field(ge=1)
    override_reason: Reason | None = None
    lock_version: int | None = Field(default=None, ge=0)


class RollbackIn(In):
    """Which version shall answer again (absent: the one that was active before this one), and why."""

    version: int | None = Field(default=None, ge=1)
    reason: Reason
    lock_version: int | None = Field(default=None, ge=0)


class RestoreIn(In):
    """Why the shipped default shall answer again."""

    reason: str | None = Field(default=None, max_length=1000)
    lock_version: int | None = Field(default=None, ge=0)


class ReleaseRow(Row):
    """One release: which version became active in place of which, on whose word and on what evidence."""

    id: UUID
    key: str
    version: int
    previous_version: int | None
    kind: Kind
    reason: str | None
    verdict_id: UUID | None
    verdicts: list[Heard]
    checks: list[Check]
    released_by: UUID | None
    released_by_name: str | None
    released_at: datetime


class ReleasesOut(Row):
    """The releases of a prompt, newest first."""

    releases: list[ReleaseRow]


RELEASED = """
    r.id, p.key, r.version, r.previous_version, r.kind, r.reason, r.verdict_id, r.verdicts, r.checks, r.released_by,
    u.name AS released_by_name, r.released_at
"""


async def list_releases(tx: Tx, caller: Caller, key: str, filter: HistoryFilter) -> ReleasesOut:
    """
    Return the releases of a prompt, newest first.

    Raises `NoSuchPrompt`.
    """
    prompt = await get_prompt_by_key(tx, caller, key)
    releases = await tx.many(
        ReleaseRow,
        f"""
        SELECT {RELEASED}
          FROM prompt_releases r JOIN ai_prompts p ON p.id = r.prompt_id LEFT JOIN users u ON u.id = r.released_by
         WHERE r.prompt_id = %(prompt_id)s
         ORDER BY r.released_at DESC, r.seq DESC LIMIT %(limit)s
        """,
        prompt_id=prompt.id,
        limit=filter.limit,
    )
    return ReleasesOut(releases=releases)


async def get_readiness(
    tx: Tx, caller: Caller, key: str, version: int, offer: Offer | None, writers: Sequence[str] = ("admin",)
) -> ReadinessOut:
    """
    Return whether this version may be released now, with every check and all evidence, to those who may release it.

    Raises `MayNotWritePrompts`, `NoSuchPrompt`, `NoSuchVersion`.
    """
    check_writer(caller, writers)
    prompt = await get_prompt_by_key(tx, caller, key)
    return await weighing.weigh(tx, prompt, await get_version(tx, caller, key, version), offer)


async def release_version(
    tx: Tx, caller: Caller, key: str, body: ReleaseIn, writers: Sequence[str], offer: Offer | None
) -> ReleaseRow:
    """
    Make a version the active one, on the evidence of the evals or an admin's word.

    Raises `MayNotWritePrompts`, `MayNotOverride`, `NoSuchPrompt`, `NoSuchVersion`, `PromptChanged`, `AlreadyActive`,
    `ChecksFailed`, `NotReleasable`.
    """
    check_writer(caller, writers)
    prompt = await lock_by_key(tx, caller, key, body.lock_version)
    return await release(tx, caller, prompt, body.version, body.override_reason, offer)


async def release(
    tx: Tx, caller: Caller, prompt: PromptRow, version: int, override_reason: str | None, offer: Offer | None
) -> ReleaseRow:
    """
    Make a version of a locked prompt the active one, on the evidence of the evals or an admin's word.

    Raises `MayNotOverride`, `NoSuchVersion`, `AlreadyActive`, `ChecksFailed`, `NotReleasable`.
    """
    if override_reason is not None and caller.kind != "system" and caller.role != "admin":
        raise MayNotOverride
    if prompt.active_version == version:
        raise AlreadyActive(version=version, key=prompt.key)
    found = await weighing.weigh(tx, prompt, await get_version(tx, caller, prompt.key, version), offer)
    if failed := checks.blocked(found.checks):
        said = [check.detail for check in failed]
        raise ChecksFailed(*said, version=version, key=prompt.key, failed=" ".join(said))
    if not found.may_release and override_reason is None:
        raise NotReleasable(*weighing.lines(found.evidence), version=version, key=prompt.key, why=found.explanation)
    kind: Kind = "verdict" if found.may_release else "override"
    return await activate(
        tx, caller, prompt, version, kind, override_reason, checks=found.checks, evidence=found.evidence
    )


async def rollback_prompt(
    tx: Tx, caller: Caller, key: str, body: RollbackIn, writers: Sequence[str], offer: Offer | None = None
) -> ReleaseRow:
    """
    Let a version answer again that was active before. It needs no verdict, and nothing stands in its way.

    Raises `MayNotWritePrompts`, `NoSuchPrompt`, `NoSuchVersion`, `PromptChanged`, `AlreadyActive`, `NeverReleased`,
    `NothingBefore`.
    """
    check_writer(caller, writers)
    prompt = await lock_by_key(tx, caller, key, body.lock_version)
    version = body.version or await _before(tx, prompt)
    target = await get_version(tx, caller, key, version)
    if target.state == "active":
        raise AlreadyActive(version=version, key=key)
    if target.state == "draft":
        raise NeverReleased(version=version, key=key)
    found = checks.check_version(target, offer)
    return await activate(tx, caller, prompt, version, "rollback", body.reason, checks=found)


async def restore_default(
    tx: Tx, caller: Caller, key: str, body: RestoreIn, writers: Sequence[str], offer: Offer | None = None
) -> ReleaseRow:
    """
    Let the default that the service ships answer again; a later shipped version then takes its place by itself.

    Raises `MayNotWritePrompts`, `NoSuchPrompt`, `PromptChanged`, `AlreadyActive`, `NotShipped`.
    """
    check_writer(caller, writers)
    prompt = await lock_by_key(tx, caller, key, body.lock_version)
    if not prompt.is_system or prompt.default_version is None:
        raise NotShipped(key=key)
    if prompt.active_version == prompt.default_version:
        raise AlreadyActive(version=prompt.default_version, key=key)
    found = checks.check_version(await get_version(tx, caller, key, prompt.default_version), offer)
    return await activate(tx, caller, prompt, prompt.default_version, "restore", body.reason, checks=found)


async def activate(
    tx: Tx,
    caller: Caller,
    prompt: PromptRow,
    version: int,
    kind: Kind,
    reason: str | None,
    *,
    checks: Sequence[Check] = (),
    evidence: Evidence | None = None,
) -> ReleaseRow:
    """Make a version of a locked prompt the active one and write down how that came about; whoever may, has decided."""
    await tx.run(
        """
        UPDATE ai_prompts p
           SET active_version = v.version, variables = v.variables, lock_version = p.lock_version + 1, updated_by = %(user_id)s,
               updated_at = %(now)s
          FROM ai_prompt_versions v
         WHERE p.id = %(prompt_id)s AND v.prompt_id = p.id AND v.version = %(version)s
        """,
        prompt_id=prompt.id,
        version=version,
        user_id=caller.user_id,
    )
    heard = weighing.heard(evidence)
    return await tx.one(
        ReleaseRow,
        f"""
        WITH r AS (
            INSERT INTO prompt_releases (prompt_id, version, previous_version, kind, verdict_id, verdicts, checks, reason, released_by,
                                         released_at)
            VALUES (%(prompt_id)s, %(version)s, %(previous)s, %(kind)s, %(verdict_id)s, %(verdicts)s, %(checks)s, %(reason)s,
                    %(user_id)s, %(now)s)
            RETURNING *
        )
        SELECT {RELEASED} FROM r JOIN ai_prompts p ON p.id = r.prompt_id LEFT JOIN users u ON u.id = r.released_by
        """,
        prompt_id=prompt.id,
        version=version,
        previous=prompt.active_version,
        kind=kind,
        verdict_id=heard[0].id if heard else None,
        verdicts=Json(heard),
        checks=Json(list(checks)),
        reason=reason,
        user_id=caller.user_id,
    )


# The way back ---------------------------------------------------------------------------------------------------


class Step(Row):
    """One release, as the way back needs it."""

    version: int
    kind: Kind


async def _before(tx: Tx, prompt: PromptRow) -> int:
    """
    Return the version that was active before the active one.

    A rollback takes its steps back: after going from 3 to 2, the version before is 1, not 3. Raises `NothingBefore`.
    """
    steps = await tx.many(
        Step,
        """
        SELECT version, kind FROM prompt_releases WHERE prompt_id = %(prompt_id)s ORDER BY released_at, seq LIMIT %(most)s
        """,
        prompt_id=prompt.id,
        most=MOST,
    )
    way: list[int] = []
    for step in steps:
        if step.kind == "rollback" and step.version in way:
            del way[len(way) - way[::-1].index(step.version) :]
        elif not way or way[-1] != step.version:
            way.append(step.version)
    earlier = [version for version in way if version != prompt.active_version]
    if not earlier:
        raise NothingBefore(key=prompt.key)
    return earlier[-1]
