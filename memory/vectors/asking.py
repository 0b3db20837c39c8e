"""Questions with vectors of the model that answers at the moment, also while another one is taking over."""

from typing import Self

import structlog

from memory.db import Database
from memory.embeddings import Embedder, by_name
from memory.errors import Outage
from memory.settings import Settings
from memory.vectors import models
from memory.vectors.search import Question

log = structlog.stdlib.get_logger("rainmaker.memory")


class Asker:
    """
    Asks for one process: with its embedder as a rule, with the previous model's until the new vectors are complete.

    A question without a vector is searched by words: that is what is left when the answering model cannot be had.
    """

    def __init__(self, db: Database, embedder: Embedder, settings: Settings) -> None:
        self._db = db
        self._embedder = embedder
        self._settings = settings
        self._others: dict[str, Embedder] = {}

    async def ask(self, text: str) -> Question:
        """Return the question with its vector. Not inside a transaction: this is a model's work."""
        async with self._db.reading() as tx:
            answering = await models.find_answering(tx)
        if answering is None:
            return Question(text)
        try:
            embedder = self._of(answering)
            return Question(text, answering.model, await embedder.embed_query(text))
        except Outage as failure:
            log.warning("question without a vector", model=answering.model, reason=failure.message)
            return Question(text)

    async def close(self) -> None:
        """Let go of the embedders that were opened here."""
        while self._others:
            await self._others.popitem()[1].close()

    def _of(self, answering: models.ModelRow) -> Embedder:
        if answering.model == self._embedder.model:
            return self._embedder
        if answering.model not in self._others:
            self._others[answering.model] = by_name(answering.model, answering.dimensions, self._settings)
        return self._others[answering.model]

    async def __aenter__(self) -> Self:
        """Ask within a block, and let go at its end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
