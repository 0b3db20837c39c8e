"""
One ranking from two: what is near in meaning, and what has the words.

Reciprocal rank fusion trusts both rankings alike, and with a weak one it is worse than the better of them alone. Here a
chunk's place among the words counts for as much as the chunk covers of what was asked: the share of the question's
rarity (the sum of its terms' inverse document frequencies) that stands in the chunk. A question by name or number is
covered whole and the words decide; a paraphrase is hardly covered and the meaning decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

# On a plateau of the 100 questions of tests/bench: neighbours in all three directions give the same within .01.
K = 10
WORDS = 1.5
POWER = 1.5


@dataclass(frozen=True, slots=True)
class Found:
    """One chunk and its parts: similarity is the cosine, coverage the share of the question's rarity, ranks from 1."""

    chunk_id: UUID
    score: float
    similarity: float | None
    coverage: float | None
    meaning_rank: int | None
    words_rank: int | None


def fuse(meaning: Sequence[tuple[UUID, float]], words: Sequence[tuple[UUID, float]]) -> list[Found]:
    """
    Return the union of both rankings, best first; each is given best first, with cosine and coverage.

    score = 1 / (K + rank by meaning) + WORDS * coverage ** POWER / (K + rank by words), divided by the best possible.
    """
    similarity, coverage = dict(meaning), dict(words)
    meaning_rank = {chunk_id: rank for rank, chunk_id in enumerate(similarity, 1)}
    words_rank = {chunk_id: rank for rank, chunk_id in enumerate(coverage, 1)}
    best = (1 + WORDS) / (K + 1)

    def score(chunk_id: UUID) -> float:
        near = 1 / (K + meaning_rank[chunk_id]) if chunk_id in meaning_rank else 0.0
        return (near + _by_words(chunk_id, coverage, words_rank)) / best

    found = [
        Found(
            chunk_id=chunk_id,
            score=score(chunk_id),
            similarity=similarity.get(chunk_id),
            coverage=coverage.get(chunk_id),
            meaning_rank=meaning_rank.get(chunk_id),
            words_rank=words_rank.get(chunk_id),
        )
        for chunk_id in {**similarity, **coverage}
    ]
    # Equal scores keep one order, whatever order the rows came in.
    return sorted(found, key=lambda one: (-one.score, -(one.similarity or 0.0), str(one.chunk_id)))


def _by_words(chunk_id: UUID, coverage: Mapping[UUID, float], ranks: Mapping[UUID, int]) -> float:
    if chunk_id not in ranks:
        return 0.0
    return WORDS * min(1.0, coverage[chunk_id]) ** POWER / (K + ranks[chunk_id])
