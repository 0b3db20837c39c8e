"""Reading communications: whose they are, then what they say."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from typing import TYPE_CHECKING
from uuid import UUID

from api.jobs.kit import Run, job
from memory.callers import SYSTEM
from memory.errors import Rendered
from tools.analysis import claims
from tools.analysis.claims import ClaimLost, ClaimRow

if TYPE_CHECKING:
    from agents.runs import Engine

BATCH = 40
AT_ONCE = 4
"""Threads that are read side by side; the messages of one thread are read one after the other."""
PENDING = "pending"


@job("communications.analyze_pending", queue="agents", lease=timedelta(seconds=60), limit=timedelta(minutes=14))
async def analyze_pending(run: Run, **_: object) -> None:
    """
    Match and read the oldest communications that wait, and promise the next batch before this one is begun.

    So as many workers read as there are; what one holds the others pass by.
    """
    async with run.transaction() as tx:
        claimed = await claims.claim_pending(tx, limit=BATCH)
        if len(claimed) == BATCH and await claims.has_pending(tx):
            await tx.enqueue("communications.analyze_pending", key=PENDING)
    if not claimed:
        return
    engine = await run.engine()
    turns = asyncio.Semaphore(AT_ONCE)
    begun: set[UUID] = set()
    try:
        failures = await asyncio.gather(
            *(_read_thread(run, engine, turns, begun, thread) for thread in _threads(claimed))
        )
    except BaseException:
        await asyncio.shield(_give_back(run, claimed, begun))
        raise
    if run.means.closing:
        await _give_back(run, claimed, begun)
    run.log.info("communications read", count=len(begun), failed=sum(failures))


def _threads(claimed: Iterable[ClaimRow]) -> list[list[ClaimRow]]:
    ordered = sorted(claimed, key=lambda claim: (str(claim.user_id), claim.thread_id, claim.occurred_at))
    return [list(group) for _, group in groupby(ordered, key=lambda claim: (claim.user_id, claim.thread_id))]


async def _read_thread(
    run: Run, engine: "Engine", turns: asyncio.Semaphore, begun: set[UUID], thread: Sequence[ClaimRow]
) -> int:
    """Read the messages of a thread in their order, and return how many could not be read."""
    failed = 0
    async with turns:
        for claim in thread:
            if run.means.closing:  # the worker is about to end: others go on from here
                break
            begun.add(claim.id)
            failed += not await _read(run, engine, claim)
    return failed


async def _read(run: Run, engine: "Engine", claim: ClaimRow) -> bool:
    """Match and read one communication; a failure gives it back, with its reason."""
    from agents import runs
    from agents.analysis.outputs import AnalyzedOut, AnalyzeIn
    from agents.matching.outputs import MatchedOut, MatchIn

    try:
        if claim.company_id is None and claim.match_status == "unmatched":
            await runs.perform(engine, SYSTEM, "matching", MatchIn(communication_id=claim.id), output=MatchedOut)
        asked = AnalyzeIn(communication_id=claim.id, claimed_at=claim.claimed_at)
        await runs.perform(engine, SYSTEM, "analysis", asked, output=AnalyzedOut)
    except ClaimLost:
        run.log.info("communication taken over", communication_id=str(claim.id))
    except Exception as failure:  # noqa: BLE001 - one message that cannot be read must not keep the others waiting
        said = failure.message if isinstance(failure, Rendered) else f"{type(failure).__name__}: {failure}"
        run.log.warning("communication not read", communication_id=str(claim.id), error=said)
        async with run.transaction() as tx:
            await claims.release_failed(tx, claim.id, claim.claimed_at, said)
        return False
    return True


async def _give_back(run: Run, claimed: Sequence[ClaimRow], begun: set[UUID]) -> None:
    """Hand what was not begun to others at once; what was begun comes back when its claim runs out."""
    waiting = [claim.id for claim in claimed if claim.id not in begun]
    if waiting:
        async with run.transaction() as tx:
            await claims.give_back(tx, waiting, claimed[0].claimed_at)
            await tx.enqueue("communications.analyze_pending", key=PENDING)


@job("communications.analyze_one", queue="agents", limit=timedelta(minutes=10), final=(ClaimLost,))
async def analyze_one(run: Run, *, communication_id: UUID, force: bool = False, **_: object) -> None:
    """Match one communication if nobody has, and read it; by `force` also when it has been read."""
    from agents import runs
    from agents.analysis.outputs import AnalyzedOut, AnalyzeIn
    from agents.matching.outputs import MatchedOut, MatchIn

    engine = await run.engine()
    await runs.perform(engine, SYSTEM, "matching", MatchIn(communication_id=communication_id), output=MatchedOut)
    asked = AnalyzeIn(communication_id=communication_id, force=force)
    await runs.perform(engine, SYSTEM, "analysis", asked, output=AnalyzedOut)
