"""
How a route is carried out.

FastAPI declares: signatures, models, OpenAPI. But its per-request machinery (two exit stacks, a walk over dependency
trees, a second validation of what is already valid) costs more than our queries. So a route whose signature asks only
for what api/deps.py offers, path, query and one JSON body is compiled once into an `Endpoint`, which does the same in a
straight line: admit, validate, open the transaction, call, close it, answer. Every other route (a raw `Request`, forms,
streams, headers) runs in FastAPI as it is, as an `Untouched`.

The order matters: nobody learns what a body should look like before they are admitted, nothing holds a connection before
the request is valid, and nothing is sent before the commit.
"""

import contextlib
import inspect
import urllib.parse
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AsyncExitStack
from typing import Any, cast, get_args, get_origin

import orjson
from fastapi import params
from fastapi.datastructures import DefaultPlaceholder
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_body_to_args, request_params_to_args
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticUndefined
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from api import deps, idempotency
from api.auth import IDENTIFIED, SAFE_METHODS, header
from api.errors import BadRequest, bad_request
from api.schemas import DocResponse
from api.services import Services
from memory.callers import SYSTEM, Caller
from memory.errors import Rendered
from memory.rows import Doc

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

DEEPEST = 64
ROLES = {
    deps.signed_in: "rep",
    deps.as_manager: "manager",
    deps.as_manager_or_clock: "manager",
    deps.as_admin: "admin",
}
GUARDS: dict[Any, str] = {
    deps.signed_in: "user",
    deps.as_manager: "manager",
    deps.as_manager_or_clock: "manager or cron",
    deps.as_admin: "admin",
    deps.as_clock: "cron",
    deps.own_profile: "user",
    deps.anybody: "public",
    deps.sender: "signed",
}
STRICT = frozenset({"user", "manager", "manager or cron", "admin", "cron"})


class GuardMissing(Exception):
    """A route says nothing on who may call it."""


class NotJson(BadRequest):
    """The body must be JSON, sent with the content type application/json."""


class TooDeep(BadRequest):
    """The body is nested too deeply."""


class AnswerBroken(Exception):
    """An operation answered with something else than its route declares."""


def guard_of(route: APIRoute) -> str:
    """
    Return who may call the route: user, manager, manager or cron, admin, cron, public or signed.

    Raises `GuardMissing`.
    """
    found = [GUARDS[dependant.call] for dependant in _flat(route.dependant) if dependant.call in GUARDS]
    if not found:
        raise GuardMissing(f"{sorted(route.methods or ())} {route.path}")
    return max(found, key=["public", "signed", "user", "cron", "manager or cron", "manager", "admin"].index)


def _flat(dependant: Dependant) -> list[Dependant]:
    return [item for child in dependant.dependencies for item in (child, *_flat(child))]


def build(route: APIRoute, services: Callable[[], Services]) -> "Endpoint | Untouched":
    """Return what carries the route out."""
    return Endpoint(route, services) if _straight(route) else Untouched(route, services)


def _straight(route: APIRoute) -> bool:
    dependant = route.dependant
    asks_more = (
        dependant.header_params
        or dependant.cookie_params
        or dependant.request_param_name
        or dependant.http_connection_param_name
        or dependant.response_param_name
        or dependant.background_tasks_param_name
        or any(isinstance(field.field_info, params.Form) for field in dependant.body_params)
    )
    shapes_answer = (
        route.response_model_include
        or route.response_model_exclude
        or route.response_model_exclude_unset
        or route.response_model_exclude_defaults
        or route.response_model_exclude_none
        or not isinstance(route.response_class, DefaultPlaceholder)
    )
    return (
        not asks_more
        and not shapes_answer
        and inspect.iscoroutinefunction(route.endpoint)
        and all(child.call in OFFERED for child in dependant.dependencies)
    )


OFFERED: frozenset[Any] = frozenset(
    {
        *ROLES,
        deps.as_clock,
        deps.transaction,
        deps.reading,
        deps.services,
        deps.agents_engine,
        deps.anybody,
        deps.sender,
        deps.starts_model,
    }
)


class Untouched:
    """A route that FastAPI carries out by itself."""

    def __init__(self, route: APIRoute, services: Callable[[], Services]) -> None:
        """Remember the route and who may call it."""
        self.route = route
        self._services = services
        self.template = route.path
        self.guard = guard_of(route)
        self.names = _names(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """
        Give FastAPI the scope that it expects.

        Who is calling is found out first: FastAPI may open the route's transaction before it asks, and a request that
        holds one connection and waits for another can stop the service.
        """
        if self.guard in {"user", "manager", "admin"}:
            try:
                scope[IDENTIFIED] = await self._services().gate.identify(scope)
            except Rendered as refused:
                scope[IDENTIFIED] = refused
        async with AsyncExitStack() as files:
            scope["fastapi_middleware_astack"] = files
            scope["route"] = self.route
            scope["endpoint"] = self.route.endpoint
            await self.route.app(scope, counted(scope, receive, self._services().settings.body_limit_bytes), send)


def _names(route: APIRoute) -> list[str]:
    return [part[1:-1] for part in route.path.split("/") if part.startswith("{")]


class Endpoint:
    """A compiled route."""

    def __init__(self, route: APIRoute, services: Callable[[], Services]) -> None:
        """Read the route's signature once."""
        dependant = route.dependant
        self.route = route
        self.template = route.path
        self.guard = guard_of(route)
        self.names = _names(route)
        self._services = services
        self._call = cast("Callable[..., Awaitable[Any]]", route.endpoint)
        offers = {child.call: child.name for child in dependant.dependencies}
        self._role = next((role for call, role in ROLES.items() if call in offers), None)
        self._callers = [child.name for child in dependant.dependencies if child.name and child.call in ROLES]
        self._or_clock = deps.as_manager_or_clock in offers
        self._clock = deps.as_clock in offers
        self._clock_name = offers.get(deps.as_clock)
        self._starts_model = deps.starts_model in offers
        self._services_name = offers.get(deps.services)
        self._engine_name = offers.get(deps.agents_engine)
        self._tx_name = offers.get(deps.transaction)
        self._reading_name = offers.get(deps.reading)
        self._path = dependant.path_params
        self._query = Query(dependant, strict=self.guard in STRICT)
        self._body = Body(route) if dependant.body_params else None
        self._writes = not (route.methods or set()) <= SAFE_METHODS
        self._status = route.status_code or 200
        self._field = route.response_field
        self._model = route.response_model if isinstance(route.response_model, type) else None

    async def answer(self, scope: Scope, receive: Receive, values: list[str]) -> Response:
        """
        Carry the route out and return what to send.

        Raises every `Refusal` and `Outage` of the operation, and those of who may call and what was sent.
        """
        services = self._services()
        arguments: dict[str, Any] = {}
        caller = await self._admit(services, scope, arguments)
        raw = await read_body(scope, receive, services.settings.body_limit_bytes) if self._body else b""
        errors: list[Any] = []
        if self._path:
            given = dict(zip(self.names, values, strict=True))
            for field in self._path:
                arguments[field.name], wrong = field.validate(given[field.alias], {}, loc=("path", field.alias))
                errors += wrong
        await self._query.read(scope["query_string"], arguments, errors)
        if self._body is not None:
            await self._body.read(scope, raw, arguments, errors)
        if errors:
            raise RequestValidationError(errors)
        if self._services_name:
            arguments[self._services_name] = services
        if self._engine_name:
            arguments[self._engine_name] = await services.engine()
        key = header(scope, b"idempotency-key") if self._writes and caller is not None else None
        if key is not None and caller is not None and caller.user_id is not None:
            ask = idempotency.Ask.of(scope, key, caller.user_id, self.template, raw)
            return await self._answer_once(services, ask, arguments)
        return await self._carry_out(services, arguments)

    async def _admit(self, services: Services, scope: Scope, arguments: dict[str, Any]) -> Caller | None:
        if self._role is not None:
            admit = services.gate.admit_or_clock if self._or_clock else services.gate.admit
            caller = await admit(scope, self._role)  # pyright: ignore[reportArgumentType]
            for name in self._callers:
                arguments[name] = caller
            if self._starts_model:
                await services.gate.admit_model(caller)
            return caller
        if self._clock:
            services.gate.admit_clock(scope)
            if self._clock_name:
                arguments[self._clock_name] = SYSTEM
        elif self.guard == "public":
            services.gate.admit_stranger(scope)
        return None

    async def _carry_out(self, services: Services, arguments: dict[str, Any]) -> Response:
        if self._tx_name:
            async with services.db.transaction() as tx:
                arguments[self._tx_name] = tx
                return self._respond(await self._call(**arguments))
        if self._reading_name:
            async with services.db.reading() as tx:
                arguments[self._reading_name] = tx
                return self._respond(await self._call(**arguments))
        return self._respond(await self._call(**arguments))

    async def _answer_once(self, services: Services, ask: idempotency.Ask, arguments: dict[str, Any]) -> Response:
        if not self._tx_name:
            return await idempotency.apart(services.db, ask, lambda: self._carry_out(services, arguments))
        async with services.db.transaction() as tx:
            kept = await idempotency.reserve(tx, ask)
            if kept is not None:
                return kept
            arguments[self._tx_name] = tx
            response = self._respond(await self._call(**arguments))
            await idempotency.keep(tx, ask, response)
            return response

    def _respond(self, result: Any) -> Response:
        if isinstance(result, Response):
            return result
        if isinstance(result, Doc):
            return DocResponse(cast("Doc[Any]", result).body, self._status)
        if self._field is None or self._status == 204:
            return DocResponse(b"" if self._status == 204 else orjson.dumps(result), self._status)
        if self._model is None or not isinstance(result, self._model):
            result, errors = self._field.validate(result, {}, loc=("response",))
            if errors:
                raise AnswerBroken(f"{self.template}: {errors[0]['loc']} {errors[0]['msg']}")
        return DocResponse(self._field.serialize_json(result), self._status)


class Query:
    """The query of one route: a filter model, single parameters, or nothing."""

    def __init__(self, dependant: Dependant, *, strict: bool) -> None:
        """A strict route refuses what it does not know."""
        self._fields = dependant.query_params
        self._strict = strict
        self._model: type[BaseModel] | None = None
        self._lists: frozenset[str] = frozenset()
        self._empty: dict[str, Any] | None = None
        if len(self._fields) == 1:
            annotation = self._fields[0].field_info.annotation
            if isinstance(annotation, type) and issubclass(annotation, BaseModel):
                self._model = annotation
                self._lists = _list_fields(annotation)
        frozen = self._model is not None and bool(self._model.model_config.get("frozen"))
        if frozen and self._model is not None:
            with contextlib.suppress(ValidationError):
                self._empty = {self._fields[0].name: self._model.model_validate({})}

    async def read(self, sent: bytes, arguments: dict[str, Any], errors: list[Any]) -> None:
        """Add the route's query arguments, or what is wrong with them."""
        if not sent:
            if self._empty is not None:
                arguments |= self._empty
                return
            if not self._fields:
                return
        if self._model is not None:
            self._read_model(sent, arguments, errors)
            return
        params_sent = QueryParams(sent)
        if self._strict:
            known = {field.alias for field in self._fields}
            errors += [_extra(name) for name in params_sent if name not in known]
        found, wrong = request_params_to_args(self._fields, params_sent)
        arguments |= found
        errors += wrong

    def _read_model(self, sent: bytes, arguments: dict[str, Any], errors: list[Any]) -> None:
        values: dict[str, Any] = {}
        for name, value in urllib.parse.parse_qsl(sent.decode("latin-1"), keep_blank_values=True):
            if name in self._lists:
                values.setdefault(name, []).append(value)
            elif name in values:
                values[name] = [values[name], value]  # a scalar given twice: no model takes the list
            else:
                values[name] = value
        field = self._fields[0]
        arguments[field.name], wrong = field.validate(values, {}, loc=("query",))
        errors += wrong


def _list_fields(model: type[BaseModel]) -> frozenset[str]:
    names: set[str] = set()
    for name, info in model.model_fields.items():
        kinds = [info.annotation, *get_args(info.annotation)]
        if any((get_origin(kind) or kind) in (list, tuple, set, frozenset) for kind in kinds):
            names |= {name, info.alias or name}
    return frozenset(names)


def _extra(name: str) -> dict[str, Any]:
    return {"type": "extra_forbidden", "loc": ("query", name), "msg": ""}


class Body:
    """The JSON body of one route."""

    def __init__(self, route: APIRoute) -> None:
        """One parameter is the body itself; several are its fields."""
        self._fields = route.dependant.body_params
        self._embed = route._embed_body_fields  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    async def read(self, scope: Scope, raw: bytes, arguments: dict[str, Any], errors: list[Any]) -> None:
        """
        Add the route's body arguments, or what is wrong with them.

        Raises `NotJson`, `TooDeep`.
        """
        value = _parse(scope, raw) if raw else PydanticUndefined
        found, wrong = await request_body_to_args(self._fields, value, self._embed)
        arguments |= found
        errors += wrong


def _parse(scope: Scope, raw: bytes) -> Any:
    kind = (header(scope, b"content-type") or b"").partition(b";")[0].strip().lower()
    if kind != b"application/json" and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise NotJson
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as failure:
        if "depth" in str(failure):
            raise TooDeep from None
        raise NotJson(f"{failure.msg} (line {failure.lineno}, column {failure.colno})") from None
    if raw.count(b"[") + raw.count(b"{") > DEEPEST and _depth_exceeds(value, DEEPEST):
        raise TooDeep
    return value


def _depth_exceeds(value: Any, most: int) -> bool:
    """Walk level by level: recursion is what a deep body attacks."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        below: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                below += cast("dict[str, Any]", item).values()
            elif isinstance(item, list):
                below += cast("list[Any]", item)
        level = [item for item in below if isinstance(item, (dict, list))]
        if not level:
            return False
    return True


def counted(scope: Scope, receive: Receive, most: int) -> Any:
    """
    Return a `receive` that counts what it passes on.

    It raises 413 as soon as the body is known to be too large.
    """
    announced = header(scope, b"content-length")
    left = -1 if announced is not None and announced.isdigit() and int(announced) > most else most

    async def receive_counted() -> MutableMapping[str, Any]:
        nonlocal left
        if left < 0:
            raise HTTPException(413)
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return receive_counted


async def read_body(scope: Scope, receive: Receive, most: int) -> bytes:
    """
    Return the body, counted while it arrives.

    Raises 413 as soon as it is known to be too large, `ClientDisconnect` when the caller has gone.
    """
    announced = header(scope, b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > most:
        raise HTTPException(413)
    message = await receive()
    body = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= most:
        return body
    chunks, size = [body], len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        if size > most:
            raise HTTPException(413)
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])


__all__ = ["Endpoint", "GuardMissing", "Untouched", "bad_request", "build", "guard_of", "read_body"]
