"""
Vector memory: texts are remembered as chunks and found again by meaning and by words, within what the reader may see.

    chunking.py   texts into chunks
    chunks.py     writing, claiming, embedding, forgetting
    models.py     whose vectors answer, their index, the takeover by another model
    search.py     one company exactly, the workspace approximately, both with full text
    fusion.py     one ranking from two
    asking.py     questions for the model that answers at the moment
"""

from memory.vectors.asking import Asker
from memory.vectors.chunking import hash_text, split_text
from memory.vectors.chunks import (
    ATTEMPTS,
    PendingRow,
    Source,
    SourceType,
    claim_pending,
    forget_source,
    promise_embedding,
    release,
    store_vectors,
    write_sources,
)
from memory.vectors.models import (
    ModelRow,
    RebuildRow,
    adopt,
    copy_chunks,
    drop_unused_indexes,
    ensure_index,
    find_answering,
    find_rebuild,
    list_models,
    prepare,
    promote,
    prune_retired,
)
from memory.vectors.search import Hit, Question, Scope, ask, search, search_meaning, search_words

__all__ = [
    "ATTEMPTS", "Asker", "Hit", "ModelRow", "PendingRow", "Question", "RebuildRow", "Scope", "Source", "SourceType", "adopt", "ask",
    "claim_pending", "copy_chunks", "drop_unused_indexes", "ensure_index", "find_answering", "find_rebuild",
    "forget_source", "hash_text", "list_models", "prepare", "promise_embedding", "promote", "prune_retired", "release", "search",
    "search_meaning", "search_words", "split_text", "store_vectors", "write_sources",
]  # fmt: skip
