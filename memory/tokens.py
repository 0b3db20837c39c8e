"""
Tokens: how much a text costs a model, counted exactly where the tokenizer is known, never below the truth elsewhere.

tiktoken downloads its rank files when it first needs them. Here they come with the code: unpacked once into a cache
folder under the names tiktoken looks for, and checked, so that it never opens a socket.
"""

import hashlib
import lzma
import math
import os
import re
import tempfile
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import tiktoken
import tiktoken.model

_DATA = Path(__file__).parent / "data"
_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}
_SAME_RANKS = {"o200k_base": "o200k_base", "o200k_harmony": "o200k_base", "cl100k_base": "cl100k_base"}
DEFAULT_ENCODING = "o200k_base"

# Smaller vocabularies (32k to 128k) split prose, numbers and code up to a quarter finer than cl100k.
_HEADROOM = 1.25
# One window is encoded at a time, so that a hostile megabyte costs memory for one window only.
_WINDOW = 32_768


@lru_cache(maxsize=1)
def unpack_ranks() -> Path | None:
    """
    Unpack the rank files into tiktoken's cache folder and point tiktoken at it.

    Answers with the folder: `TIKTOKEN_CACHE_DIR` when set, else one in the user's cache, else a temporary one; or
    None when nothing can be written anywhere, in which case counts are estimates.
    """
    for folder in _folders():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, digest in _SHA256.items():
                _unpack(name, digest, folder)
        except OSError:
            continue
        os.environ["TIKTOKEN_CACHE_DIR"] = str(folder)
        return folder
    return None


def _folders() -> Iterator[Path]:
    if chosen := os.environ.get("TIKTOKEN_CACHE_DIR"):
        yield Path(chosen)
    if cache := os.environ.get("XDG_CACHE_HOME"):
        yield Path(cache) / "rainmaker" / "tiktoken"
    elif home := os.environ.get("HOME"):
        yield Path(home) / ".cache" / "rainmaker" / "tiktoken"
    try:
        yield Path(tempfile.mkdtemp(prefix="tiktoken-"))
    except OSError:
        return


def _unpack(name: str, digest: str, folder: Path) -> None:
    # tiktoken names its cache files so, and fetches again when the content's sha256 is not the expected one.
    target = folder / hashlib.sha1(_ADDRESS.format(name).encode(), usedforsecurity=False).hexdigest()
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == digest:
        return
    ranks = lzma.decompress((_DATA / f"{name}.tiktoken.xz").read_bytes())
    if hashlib.sha256(ranks).hexdigest() != digest:
        raise OSError(f"{name}: the shipped ranks are damaged")
    handle, partial = tempfile.mkstemp(dir=folder, prefix=f"{target.name}.")
    with os.fdopen(handle, "wb") as file:
        file.write(ranks)
    Path(partial).replace(target)


@lru_cache(maxsize=4)
def _encoding(name: str) -> tiktoken.Encoding | None:
    return tiktoken.get_encoding(name) if unpack_ranks() else None


@lru_cache(maxsize=256)
def _encoding_name(model: str | None) -> str | None:
    """Return the tokenizer of a model if its ranks are at hand; providers' prefixes (`openai/`) are ignored."""
    if model is None:
        return DEFAULT_ENCODING
    try:
        name = tiktoken.model.encoding_name_for_model(model.rsplit("/", 1)[-1].lower())
    except KeyError:
        return None
    return name if name in _SAME_RANKS else None


def is_exact(model: str | None) -> bool:
    """Tell whether counts for this model are its own tokenizer's and not an estimate."""
    name = _encoding_name(model)
    return name is not None and _encoding(name) is not None


def count(text: str, model: str | None = None) -> int:
    """
    Count the tokens of a text for a model; without a model for the default tokenizer.

    For a model whose tokenizer is not at hand the answer is an estimate that errs high.
    """
    name = _encoding_name(model)
    encoding = _encoding(name or "cl100k_base")
    if encoding is None:
        return estimate(text)
    total = sum(len(encoding.encode_ordinary(window)) for window in _windows(text))
    return total if name else math.ceil(total * _HEADROOM)


def cap(text: str, tokens: int, model: str | None = None) -> str:
    """Return the longest beginning of the text found to cost at most that many tokens, never half a character."""
    if tokens <= 0:
        return ""
    if len(text.encode("utf-8", "replace")) <= tokens and is_exact(model):
        return text  # a token is at least one byte
    if count(text, model) <= tokens:
        return text
    kept = _beginning(text, tokens, model)
    while kept and (over := count(kept, model) - tokens) > 0:
        # Cutting can split the last piece finer than it stood in the whole text.
        kept = kept[: -max(1, over)]
    return kept


def _beginning(text: str, tokens: int, model: str | None) -> str:
    name = _encoding_name(model)
    encoding = _encoding(name or "cl100k_base")
    if encoding is None:
        return text[: max(1, int(len(text) * tokens / estimate(text)))]
    allowed = tokens if name else int(tokens / _HEADROOM)
    parts: list[str] = []
    for window in _windows(text):
        ids = encoding.encode_ordinary(window)
        if len(ids) > allowed:
            parts.append(encoding.decode_bytes(ids[:allowed]).decode("utf-8", "ignore"))
            break
        parts.append(window)
        allowed -= len(ids)
    return "".join(parts)


def _windows(text: str) -> Iterator[str]:
    """Cut a long text where a line or a word ends, so that the windows together cost what the whole does."""
    start = 0
    while len(text) - start > _WINDOW:
        end = start + _WINDOW
        cut = max(text.rfind(" ", start + _WINDOW // 2, end), text.rfind("\n", start + _WINDOW // 2, end))
        end = cut if cut > start else end
        yield text[start:end]
        start = end
    yield text[start:]


_PIECES = re.compile(
    r"(?P<plain>[A-Z]?[a-z]+(?![A-Za-z0-9]))|(?P<digits>[0-9]+(?![A-Za-z]))|(?P<mixed>[A-Za-z0-9]+)"
    r"|(?P<space>\s+)|(?P<ascii>[\x21-\x7e])|(?P<foreign>.)",
    re.DOTALL,
)


def estimate(text: str) -> int:
    """
    Estimate tokens without any tokenizer, erring high (measured on prose, code, markup, keys and eight languages).

    Short words cost one, longer ones grow with their letters; capitals, keys and non-Latin letters are dear.
    """
    total = 0.0
    for piece in _PIECES.finditer(text):
        size = piece.end() - piece.start()
        match piece.lastgroup:
            case "plain":
                total += 1 if size <= 6 else 1 + (size - 3) * 0.16
            case "digits":
                total += math.ceil(size / 3)
            case "mixed":
                total += max(1.0, size * 0.75)
            case "space":
                total += 0 if piece.group() == " " else 0.5 + size / 8
            case "ascii":
                total += 0.65
            case _:
                total += len(piece.group().encode("utf-8", "replace")) * 0.75
    return math.ceil(total * 1.12)
