"""
The schema that `/openapi.json`, the docs pages and `python -m api openapi` show.

FastAPI writes what the routes declare; what is the same everywhere (how errors look, who is let in, `Idempotency-Key`)
is added here once, from the same guards that let callers in.
"""

from collections.abc import Sequence
from typing import Any, cast

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from api.auth import SAFE_METHODS
from api.endpoints import guard_of
from api.examples import examples_of

ABOUT = """
An agent-centric service for a CRM: agents read mail and meetings, cite what they found, draft and propose; people decide.

Send `Authorization: Bearer <token>`. Every error is `{"error": "...", "details": ["..."]}`. Changes take an
`Idempotency-Key`: the first answer is every answer for 24 hours. Every answer has an `X-Request-Id`.
"""
PROBLEM = {"$ref": "#/components/schemas/Problem"}
SAID = {
    "400": ("The request is not valid.", "limit: input should be less than or equal to 200"),
    "401": ("Sign in first: send a valid bearer token.", None),
    "403": ("Only managers and admins may do this.", None),
    "404": ("There is no such thing, or not for you.", None),
    "409": ("The present state does not allow this.", None),
    "413": ("The request body is too large.", None),
    "429": ("Too many requests in this minute; see Retry-After.", None),
    "500": ("Something went wrong on our side.", "Request 5f1c2a..."),
    "503": ("Something this needs is not available now.", None),
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "Makes a repeated request harmless: the first answer is every answer for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


def describe(app: FastAPI, routes: Sequence[APIRoute]) -> dict[str, Any]:
    """Return the complete schema."""
    schema = get_openapi(title=app.title, version=app.version, description=ABOUT.strip(), routes=routes)
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    components["Problem"] = _problem()
    for route in routes:
        for method in sorted(route.methods or ()):
            operation = schema["paths"].get(route.path_format, {}).get(method.lower())
            if operation is not None:
                _complete(operation, route, method)
                _exemplify(operation, route, components)
    schema["tags"] = [{"name": name} for name in _tags(routes)]
    return schema


def _problem() -> dict[str, Any]:
    return {
        "title": "Problem",
        "description": "What every refusal and every failure looks like; some put more facts beside it.",
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {"type": "string", "description": "What is wrong, in a sentence."},
            "details": {"type": "array", "items": {"type": "string"}, "description": "One line per field or cause."},
        },
        "additionalProperties": True,
    }


def _complete(operation: dict[str, Any], route: APIRoute, method: str) -> None:
    guard = guard_of(route)
    responses = cast("dict[str, Any]", operation.setdefault("responses", {}))
    if "HTTPValidationError" in str(responses.get("422")):
        responses.pop("422")
    for status in _statuses(route, guard, method):
        responses.setdefault(status, _error(status))
    if guard in {"user", "manager", "admin"} and method not in SAFE_METHODS:
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    operation["x-guard"] = guard


def _exemplify(operation: dict[str, Any], route: APIRoute, components: dict[str, Any]) -> None:
    """Give every body an example that its route would take; a model's own is kept."""
    body = route.body_field
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if body is None or "examples" in content or "example" in content:
            continue
        candidates = examples_of(content.get("schema", {}), components)
        taken = (value for value in candidates if not body.validate(value, {}, loc=("body",))[1])
        example = next(taken, None)
        if example is not None:
            content["example"] = example


def _statuses(route: APIRoute, guard: str, method: str) -> list[str]:
    statuses = ["400", "429", "500", "503"]
    if guard not in {"public", "signed"}:
        statuses.append("401")
    if guard in {"manager", "admin"} or method not in SAFE_METHODS:
        statuses.append("403")
    if "{" in route.path:
        statuses.append("404")
    if method not in SAFE_METHODS:
        statuses += ["409", "413"]
    return sorted(statuses)


def _error(status: str) -> dict[str, Any]:
    said, detail = SAID[status]
    example: dict[str, Any] = {"error": said}
    if detail is not None:
        example["details"] = [detail]
    return {"description": said, "content": {"application/json": {"schema": PROBLEM, "example": example}}}


def _tags(routes: Sequence[APIRoute]) -> list[str]:
    return list(dict.fromkeys(str(tag) for route in routes for tag in route.tags))
