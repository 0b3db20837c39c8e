"""
Every failure as `{error, details?}`, and nothing of our insides in it.

The edge asks `render` for any exception that reaches it. What is not a refusal, an outage or a mistake in the request is
a mistake of ours: it is logged with the request's id, and the caller gets the id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from api.ratelimit import TooManyRequests
from memory import failures
from memory.errors import Invalid, Outage, Rendered, Unknown

Headers = list[tuple[bytes, bytes]]
MOST_DETAILS = 20
PLACES = frozenset({"body", "query", "path", "header", "cookie"})
SAID = {
    404: "There is nothing at this address.",
    405: "This address does not take that method.",
    413: "The request body is too large.",
    500: "Something went wrong on our side.",
}


class BadRequest(Invalid):
    """The request is not valid."""


@dataclass(slots=True)
class Answer:
    """What is sent instead of a result; `mistake` when it is ours."""

    status: int
    body: dict[str, Any]
    headers: Headers = field(default_factory=list[tuple[bytes, bytes]])
    mistake: bool = False

    def encoded(self) -> bytes:
        """Return the body as JSON."""
        return orjson.dumps(self.body, default=str, option=orjson.OPT_NON_STR_KEYS)


def render(failure: BaseException, request_id: str) -> Answer:
    """Return the answer that this failure means."""
    failure = _innermost(failure)
    told = failures.told(failure)
    if told is not None:
        return Answer(told.status, told.body, _headers_of(told))
    match failure:
        case RequestValidationError():
            return Answer(400, BadRequest(*explain(failure.errors())).body)
        case HTTPException():
            return Answer(_status_of(failure), _body_of(failure), _pairs(failure.headers))
        case _:
            body = {"error": SAID[500], "details": [f"Request {request_id}"]}
            return Answer(500, body, mistake=True)


def _innermost(failure: BaseException) -> BaseException:
    """A task group wraps what happened in it."""
    while isinstance(failure, BaseExceptionGroup):
        failure = cast("BaseExceptionGroup[BaseException]", failure).exceptions[0]
    return failure


def _headers_of(told: Rendered) -> Headers:
    match told:
        case TooManyRequests():
            return [(b"retry-after", b"%d" % told.retry_after)]
        case Unknown():
            return [(b"www-authenticate", b"Bearer")]
        case Outage():
            return [(b"retry-after", b"5")]
        case _:
            return []


def _status_of(failure: HTTPException) -> int:
    """A 422 never leaves this house."""
    return 400 if failure.status_code == 422 else failure.status_code


def _body_of(failure: HTTPException) -> dict[str, Any]:
    return {"error": SAID.get(failure.status_code) or str(failure.detail or "The request is not valid.")}


def _pairs(headers: Mapping[str, str] | None) -> Headers:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]


def bad_request(failure: ValidationError, place: str) -> BadRequest:
    """Return the refusal for what Pydantic found in one place of the request."""
    errors = failure.errors(include_url=False, include_input=False, include_context=False)
    return BadRequest(*explain([{**error, "loc": (place, *error["loc"])} for error in errors]))


def explain(errors: Sequence[Any]) -> list[str]:
    """Return one readable line per error: where, what; never the value."""
    lines = [f"{_where(error['loc'])}: {_what(error)}" for error in errors[:MOST_DETAILS]]
    if len(errors) > MOST_DETAILS:
        lines.append(f"and {len(errors) - MOST_DETAILS} more")
    return lines


def _where(location: Sequence[str | int]) -> str:
    """`body.items[2].name`; the name alone for a query or path parameter."""
    place, *rest = location or ("body",)
    path = "" if place in PLACES else str(place)
    for part in rest:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path or str(place)


def _what(error: Mapping[str, Any]) -> str:
    message = str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    match error["type"]:
        case "extra_forbidden":
            return "is not known here"
        case "missing":
            return "is required"
        case "json_invalid":
            return "is not valid JSON"
        case _:
            return message[:1].lower() + message[1:]
