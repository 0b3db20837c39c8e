"""
Operations as tools: what an agent may be offered, read from the operation itself.

    COMPLETE = bind(tasks.complete_task, effect="write")

The name is where the operation lives, the words are its docstring's first sentence, and the arguments are those of its
signature behind `tx` and `caller`, a body's fields among them. So a tool cannot promise what the operation does not take.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, Field, create_model

from memory.rows import In

Effect = Literal["read", "write", "send"]
PAGING = frozenset({"limit", "offset"})


@dataclass(frozen=True)
class Tool:
    """One tool. `effect` decides what a call of it needs; ids among the arguments are named by the number of a record."""

    name: str
    about: str
    effect: Effect
    arguments: type[BaseModel]


def bind(
    operation: Callable[..., Any], effect: Effect, *, about: str | None = None, without: frozenset[str] = PAGING
) -> Tool:
    """Return the operation as a tool; `without` are arguments that nobody chooses."""
    name = f"{operation.__module__.removeprefix('tools.').partition('.')[0]}.{operation.__name__}"
    told = about or " ".join((operation.__doc__ or "").strip().partition("\n\n")[0].split())
    return Tool(name, told, effect, _arguments(name, operation, without))


def _arguments(name: str, operation: Callable[..., Any], without: frozenset[str]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(operation, eval_str=True).parameters.values())[2:]:
        kind = parameter.annotation
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            fields |= {field: (told.annotation, told) for field, told in kind.model_fields.items()}
        else:
            fields[parameter.name] = (kind, Field(...) if parameter.default is parameter.empty else parameter.default)
    chosen = {field: told for field, told in fields.items() if field not in without}
    return create_model(name.replace(".", "_"), __base__=In, **chosen)


def records_of(tool: Tool) -> dict[str, bool]:
    """Return the arguments that name a record, and whether they must be given; no model makes up an id."""
    needed = _schema(tool).get("required", [])
    return {name: name in needed for name, told in _properties(tool).items() if _kind(told) == RECORD}


def describe(tool: Tool) -> str:
    """Return the tool in a line: name, effect, what it does, and its arguments."""
    needed = _schema(tool).get("required", [])
    told = [
        f"{name}: {_kind(schema)}{' (needed)' if name in needed else ''}" for name, schema in _properties(tool).items()
    ]
    return f"{tool.name} ({tool.effect}): {tool.about} Arguments: {', '.join(told) or 'none'}"


RECORD = "number of a record"
_KINDS = {"uuid": RECORD, "date-time": "moment with zone", "date": "date"}


def _schema(tool: Tool) -> dict[str, Any]:
    return tool.arguments.model_json_schema()


def _properties(tool: Tool) -> dict[str, dict[str, Any]]:
    return _schema(tool).get("properties", {})


def _kind(schema: dict[str, Any]) -> str:
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    told = choices[0] if choices else schema
    if "enum" in told:
        return " | ".join(map(str, told["enum"]))
    return _KINDS.get(str(told.get("format", "")), str(told.get("type", "object")))
