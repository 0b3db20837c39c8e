"""Examples for the schema: one believable value for every body, made from its JSON schema and always the same."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any, cast

UUID = "7d0f4f6e-3c52-4c0e-9a55-0d6c1b8a2f10"
BY_FORMAT = {
    "uuid": UUID,
    "date-time": "2026-03-02T09:30:00Z",
    "date": "2026-03-02",
    "time": "09:30:00",
    "email": "ann@acme.example",
    "uri": "https://acme.example",
}
BY_NAME = {
    "email": "ann@acme.example",
    "domain": "acme.example",
    "website": "https://acme.example",
    "phone": "+1 555 0100",
    "name": "Acme",
    "subject": "Your offer",
    "body": "Thank you for your offer.",
    "title": "Send the offer",
    "timezone": "Europe/Berlin",
    "token": "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9...",
}
LISTED = re.compile(r"\^\((\w+)(?:\|\w+)*\)\$")
SHOWN = 3
"""How many optional fields an example has when nothing is required."""

Schema = Mapping[str, Any]


def example_of(schema: Schema, components: Schema, name: str = "") -> Any:
    """Return a value that fits the schema; its own examples and defaults first."""
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components, name)
    given = [schema[key] for key in ("example", "const") if key in schema]
    given += [schema[key][0] for key in ("examples", "enum") if schema.get(key)]
    if given:
        return given[0]
    choices = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if choices:
        return example_of(_telling(choices), components, name)
    return _made(schema, components, name)


def _made(schema: Schema, components: Schema, name: str) -> Any:
    match schema.get("type"):
        case "array":
            return [example_of(schema.get("items", {}), components, name.removesuffix("s"))]
        case "string":
            return _text(schema, name)
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case _:
            return _object(schema, components)


def examples_of(schema: Schema, components: Schema) -> Iterator[Any]:
    """Return values to choose from when rules between fields refuse the first: with one, two, or all optional fields."""
    yield example_of(schema, components)
    whole: Schema = components[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    properties = cast("dict[str, Schema]", whole.get("properties", {}))
    needed = [name for name in whole.get("required", []) if name in properties]
    optional = [name for name in properties if name not in needed]
    for more in (*combinations(optional, 1), *combinations(optional, 2), *combinations(optional, 3), tuple(optional)):
        yield {name: example_of(properties[name], components, name) for name in (*needed, *more)}


def _telling(choices: list[Schema]) -> Schema:
    return next((choice for choice in choices if choice.get("type") != "null"), choices[0])


def _object(schema: Schema, components: Schema) -> dict[str, Any]:
    properties = cast("dict[str, Schema]", schema.get("properties", {}))
    shown = schema.get("required") or list(properties)[:SHOWN]
    return {name: example_of(properties[name], components, name) for name in shown if name in properties}


def _text(schema: Schema, name: str) -> str:
    if schema.get("format") in BY_FORMAT:
        return BY_FORMAT[schema["format"]]
    if listed := LISTED.fullmatch(schema.get("pattern", "")):
        return listed[1]
    known = next((value for part, value in BY_NAME.items() if name == part or name.endswith(f"_{part}")), None)
    text = known or (UUID if name == "id" or name.endswith("_id") else "text")
    text = text[: schema.get("maxLength", len(text))]
    return text.ljust(schema.get("minLength", 0), "x")


def _number(schema: Schema) -> float:
    default = schema.get("default")
    if isinstance(default, (int, float)):
        return default
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if low is not None:
        return low + 1 if high is None or high > low else low
    return 1 if high is None else min(1, high)
