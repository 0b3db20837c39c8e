"""Texts cut into chunks: whole sentences up to a cap of tokens, each chunk beginning with the end of the one before."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from memory import tokens

TOKENS = 200
"""Most tokens of a chunk: what the local model reads at once, and about one thought."""
OVERLAP = 40
MOST_CHUNKS = 500
_LETTERS_PER_TOKEN = 16

# A sentence ends at a mark and a blank, at a full stop of Chinese or Japanese, or with the line.
_END = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+|(?<=[。！？])|\n+")


@dataclass(frozen=True, slots=True)
class _Sentence:
    start: int
    end: int
    tokens: int


def split_text(text: str, *, cap: int = TOKENS, overlap: int = OVERLAP) -> list[str]:
    """
    Return the chunks of a text, verbatim, at most `cap` tokens each and 500 of them; none for a text without words.

    A chunk repeats the last sentences of the one before it, up to `overlap` tokens, so that no thought is cut in two.
    """
    sentences = list(_sentences(tokens.cap(text, cap * MOST_CHUNKS), cap))
    chunks: list[str] = []
    first = 0
    while first < len(sentences) and len(chunks) < MOST_CHUNKS:
        last, size = first, sentences[first].tokens
        while last + 1 < len(sentences) and size + sentences[last + 1].tokens <= cap:
            last += 1
            size += sentences[last].tokens
        chunks.append(text[sentences[first].start : sentences[last].end].strip())
        if last + 1 == len(sentences):
            break
        first = _step_back(sentences, first, last + 1, cap, overlap)
    return [chunk for chunk in chunks if re.search(r"\w", chunk)]


def _step_back(sentences: list[_Sentence], first: int, after: int, cap: int, overlap: int) -> int:
    """Return where the next chunk begins: before `after`, as far back as the overlap and the cap allow."""
    start, repeated = after, 0
    while start - 1 > first:
        repeated += sentences[start - 1].tokens
        if repeated > overlap or repeated + sentences[after].tokens > cap:
            break
        start -= 1
    return start


def _sentences(text: str, cap: int) -> Iterator[_Sentence]:
    start = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        if text[start:end].strip():
            yield from _pieces(text, start, end, cap)
            start = end


def _pieces(text: str, start: int, end: int, cap: int) -> Iterator[_Sentence]:
    """Cut a sentence that is longer than a chunk, at a blank where there is one."""
    while start < end:
        # No more is looked at than a chunk can hold, or a megabyte without a full stop takes minutes.
        window = text[start : min(end, start + cap * _LETTERS_PER_TOKEN)]
        kept = tokens.cap(window, cap)
        if len(kept) < len(window):
            blank = max(kept.rfind(" "), kept.rfind("\n")) + 1
            kept = kept[:blank] if blank > len(kept) // 2 else kept or window[0]
        yield _Sentence(start, start + len(kept), tokens.count(kept))
        start += len(kept)


def hash_text(*parts: str) -> str:
    """Return what tells whether a text is still the one that was read: 32 hex digits."""
    return sha256("\x1f".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
