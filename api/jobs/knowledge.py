"""Jobs of vector memory: take up what is new, give it vectors, change the model without a gap."""

from datetime import timedelta

from api.jobs.kit import Run, job
from memory import vectors
from memory.embeddings import Embedder, Floats
from memory.errors import BadGateway, Outage
from tools import knowledge

COLLECTED_AT_ONCE = 200
EMBEDDED_AT_ONCE = 64
MOST_BATCHES = 5
REBUILD_WAIT = timedelta(seconds=15)
PROBE = "a question"


@job("knowledge.collect", attempts=2)
async def collect(run: Run, **_: object) -> None:
    """Adopt the configured model, and index what is new or has changed."""
    await vectors.prepare(run.db, await run.embedder())
    while True:
        async with run.transaction() as tx:
            taken = await knowledge.collect_pending(tx, limit=COLLECTED_AT_ONCE)
        if taken < COLLECTED_AT_ONCE:
            break
    async with run.transaction() as tx:
        # Claims of a worker that died come back without anything new being written.
        if (await knowledge.get_knowledge_state(tx)).pending:
            await vectors.promise_embedding(tx)


@job("knowledge.embed_pending", attempts=8)
async def embed_pending(run: Run, **_: object) -> None:
    """Give chunks their vectors, batch after batch; many workers may do so at once."""
    embedder = await run.embedder()
    await embedder.ready()
    for batch in range(MOST_BATCHES + 1):
        if batch == MOST_BATCHES or run.means.closing:
            # Others want this worker too, or it is about to end: the rest is another promise.
            async with run.transaction() as tx:
                await vectors.promise_embedding(tx)
            return
        async with run.transaction() as tx:
            claimed = await vectors.claim_pending(tx, embedder.model, limit=EMBEDDED_AT_ONCE)
        if not claimed:
            break
        await _embed(run, embedder, claimed)
    async with run.transaction() as tx:
        rebuild = await vectors.find_rebuild(tx)
        if rebuild is not None and not rebuild.pending:
            await tx.enqueue("knowledge.rebuild", key="knowledge.rebuild")


async def _embed(run: Run, embedder: Embedder, claimed: list[vectors.PendingRow]) -> None:
    """Embed and store; one text that the model refuses does not keep the others of its batch waiting."""
    try:
        try:
            found = await embedder.embed([row.text for row in claimed])
        except BadGateway:
            await embedder.embed_query(PROBE)  # refused as well: it is the endpoint, not a text
            await _embed_singly(run, embedder, claimed)
            return
    except Outage:
        async with run.transaction() as tx:
            await vectors.release(tx, claimed, blameless=True)
        raise
    await _store(run, claimed, found)


async def _embed_singly(run: Run, embedder: Embedder, claimed: list[vectors.PendingRow]) -> None:
    stored: list[tuple[vectors.PendingRow, Floats]] = []
    refused: list[vectors.PendingRow] = []
    for row in claimed:
        try:
            stored.append((row, await embedder.embed_query(row.text)))
        except BadGateway as failure:
            run.log.warning("text not embedded", chunk_id=str(row.id), reason=failure.message)
            refused.append(row)
    await _store(run, [row for row, _ in stored], [vector for _, vector in stored])
    async with run.transaction() as tx:
        await vectors.release(tx, refused, blameless=False)


async def _store(run: Run, claimed: list[vectors.PendingRow], found: list[Floats]) -> None:
    async with run.transaction() as tx:
        await vectors.store_vectors(tx, claimed, found)


@job("knowledge.rebuild", attempts=8)
async def rebuild(run: Run, **_: object) -> None:
    """Build the vectors of a newly configured model beside the old ones, and let it answer once they are complete."""
    copied = 0
    while True:
        async with run.transaction() as tx:
            got = await vectors.copy_chunks(tx)
        if not got:
            break
        copied += got
    async with run.transaction() as tx:
        state = await vectors.find_rebuild(tx)
        if state is not None and state.pending:
            # Nothing copied and still waiting: another worker has claimed them, and is given time.
            at = None if copied else tx.now + REBUILD_WAIT
            await tx.enqueue("knowledge.embed_pending", key="knowledge.embed_pending", at=at)
            return
    if state is not None:
        await _take_over(run, state.model)
    while True:
        async with run.transaction() as tx:
            gone = await vectors.prune_retired(tx)
        if not gone:
            break
    await vectors.drop_unused_indexes(run.db)


async def _take_over(run: Run, model: str) -> None:
    """The index stands before the model answers, so that no search in between is slow."""
    async with run.transaction() as tx:
        dimensions = next(row.dimensions for row in await vectors.list_models(tx) if row.model == model)
    await vectors.ensure_index(run.db, model, dimensions)
    async with run.transaction() as tx:
        took_over = await vectors.promote(tx)
        if not took_over:
            await tx.enqueue("knowledge.rebuild", key="knowledge.rebuild", at=tx.now + REBUILD_WAIT)
    run.log.info("knowledge model", model=model, answering=took_over)
