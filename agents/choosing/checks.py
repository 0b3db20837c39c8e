"""What is left of a choice: a tool on the belt, arguments it takes, and records that were offered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from pydantic import ValidationError

from agents import guards
from agents.choosing.outputs import Choice, Record
from tools.bindings import kit
from tools.bindings.kit import Tool

Gate = Literal["plain", "possible", "hidden"]
KINDS = {
    "taskid": "task", "dealid": "deal", "companyid": "company", "contactid": "contact", "communicationid": "communication",
    "assignedto": "user", "userid": "user",
}  # fmt: skip
"""The kind of record that an argument names."""


@dataclass(frozen=True)
class Chosen:
    """
    A tool with arguments that it takes, records by number; None when nothing is to be done, or what was said cannot be.

    `certainty` says whether it may act: plainly asked for, possible, or too unsure to be shown.
    """

    tool: Tool | None
    certainty: Gate
    arguments: dict[str, Any] = field(default_factory=dict[str, Any])
    problems: list[str] = field(default_factory=list[str])


def kind_of(argument: str) -> str | None:
    """Return the kind of record that an argument names."""
    return KINDS.get(argument.replace("_", "").lower())


def settle(choice: Choice, belt: Sequence[Tool], records: Sequence[Record]) -> Chosen:
    """Return what is left of the choice once every number in it was looked up."""
    certainty = guards.gate(choice.confidence)
    if choice.tool is None:
        return Chosen(None, certainty)
    if not 1 <= choice.tool <= len(belt):
        return Chosen(None, certainty, problems=[f"There is no tool {choice.tool}."])
    tool = belt[choice.tool - 1]
    said = {argument.name: argument.value for argument in choice.arguments if argument.value.strip()}
    named, problems = _look_up(tool, said, records)
    problems += [f"{tool.name} takes no {name}." for name in said.keys() - tool.arguments.model_fields.keys()]
    plain = {name: value for name, value in said.items() if name not in named and name in tool.arguments.model_fields}
    missing = [name for name, needed in kit.records_of(tool).items() if needed and name not in named]
    if missing:
        return Chosen(None, certainty, problems=[*problems, f"{tool.name} needs {', '.join(missing)}."])
    return _validated(tool, certainty, named, plain, problems)


def _look_up(tool: Tool, said: dict[str, str], records: Sequence[Record]) -> tuple[dict[str, int], list[str]]:
    """Return the records that were named by a number that was offered, and whose kind fits."""
    named: dict[str, int] = {}
    problems: list[str] = []
    offered = {str(record.number): record for record in records}
    for name in kit.records_of(tool):
        value = said.pop(name, None)
        if value is None:
            continue
        record = offered.get(value.strip())
        if record is None or record.kind != kind_of(name):
            problems.append(f"{value} is no record for {name}.")
        else:
            named[name] = record.number
    return named, problems


def _validated(
    tool: Tool, certainty: Gate, named: dict[str, int], plain: dict[str, str], problems: list[str]
) -> Chosen:
    ids = {name: UUID(int=number) for name, number in named.items()}
    try:
        kept = tool.arguments.model_validate(plain | ids)
    except ValidationError as wrong:
        told = [f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in wrong.errors(include_url=False)]
        return Chosen(None, certainty, problems=[*problems, *told])
    given = kept.model_dump(mode="json", include=set(plain))
    return Chosen(tool, certainty, given | named, problems)
