"""What differs between two versions of a prompt: its words line by line, its settings by name."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

from pydantic import Field

from memory.callers import Caller
from memory.db import Tx
from memory.rows import In, Row
from tools.ai_prompts.rows import SETTINGS
from tools.ai_prompts.versions import VersionDetail, get_version

Part = Literal["system_template", "prompt_template", "schema_template"]
PARTS: tuple[Part, ...] = ("system_template", "prompt_template", "schema_template")


class DiffFilter(In):
    """Two versions; `base` is the one that is taken as given."""

    base: int = Field(ge=1)
    version: int = Field(ge=1)


class DiffLine(Row):
    """One line: where it stands in the base and in the version, None where it does not."""

    kind: Literal["same", "added", "removed"]
    text: str
    base_line: int | None
    line: int | None


class PartDiff(Row):
    """One part of the words, whole; `added` and `removed` count lines."""

    name: Part
    added: int
    removed: int
    lines: list[DiffLine]


class SettingDiff(Row):
    """One setting that differs."""

    name: str
    before: str | None
    after: str | None


class DiffOut(Row):
    """What differs; parts and settings that are alike are left out, so empty lists mean equal versions."""

    key: str
    base: int
    version: int
    parts: list[PartDiff]
    settings: list[SettingDiff]


async def diff_versions(tx: Tx, caller: Caller, key: str, filter: DiffFilter) -> DiffOut:
    """
    Return what differs between two versions of a prompt.

    Raises `NoSuchVersion`.
    """
    before = await get_version(tx, caller, key, filter.base)
    after = await get_version(tx, caller, key, filter.version)
    return DiffOut(
        key=key,
        base=filter.base,
        version=filter.version,
        parts=[part for name in PARTS if (part := _part(name, getattr(before, name), getattr(after, name)))],
        settings=list(_settings(before, after)),
    )


def _settings(before: VersionDetail, after: VersionDetail) -> Iterator[SettingDiff]:
    for name in ("variables", *SETTINGS):
        old, new = _said(getattr(before, name)), _said(getattr(after, name))
        if old != new:
            yield SettingDiff(name=name, before=old, after=new)


def _said(value: Any) -> str | None:
    if isinstance(value, list):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return None if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _part(name: Part, before: str | None, after: str | None) -> PartDiff | None:
    if (before or "") == (after or ""):
        return None
    lines = diff_lines((before or "").splitlines(), (after or "").splitlines())
    kinds = [line.kind for line in lines]
    return PartDiff(name=name, added=kinds.count("added"), removed=kinds.count("removed"), lines=lines)


def diff_lines(before: Sequence[str], after: Sequence[str]) -> list[DiffLine]:
    """
    Return both texts as one sequence of lines: what left before what came.

    From 200 lines on, lines that repeat often align nothing: with them, a long text of few words would take minutes.
    """
    matcher = SequenceMatcher(None, before, after)
    lines: list[DiffLine] = []
    for kind, start, end, begin, stop in matcher.get_opcodes():
        if kind == "equal":
            pairs = zip(range(start, end), range(begin, stop), strict=True)
            lines += [DiffLine(kind="same", text=after[new], base_line=old + 1, line=new + 1) for old, new in pairs]
            continue
        lines += [DiffLine(kind="removed", text=before[at], base_line=at + 1, line=None) for at in range(start, end)]
        lines += [DiffLine(kind="added", text=after[at], base_line=None, line=at + 1) for at in range(begin, stop)]
    return lines
