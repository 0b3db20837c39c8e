"""
The one layer between the server and the routes.

For every request: an id, the size and shape of the address, the route, the answer or what is said instead of it,
headers that browsers heed, one line in the log, two numbers in the metrics.
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import Histogram
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import BaseRoute, Match

from api import errors
from api.auth import header
from api.dispatch import Table
from api.endpoints import Endpoint, Receive, Scope, Send, Untouched
from api.schemas import DocResponse
from api.telemetry import REQUEST_ID, AccessLog, Metrics

LONGEST_ADDRESS = 16_384
STREAMED = "http.response.body"
GONE = 499
ID_LENGTHS = range(8, 129)
ID_CHARACTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
SECURITY: errors.Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]

TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")
log = structlog.get_logger(__name__)


class NulInAddress(errors.BadRequest):
    """A NUL byte is not allowed in an address."""


class Exchange:
    """One request and its answer, as far as it has come."""

    __slots__ = ("_always", "request_id", "send", "started", "status", "template")

    def __init__(self, send: Send, request_id: str, always: errors.Headers) -> None:
        self._always = always
        self.send = send
        self.request_id = request_id
        self.template = ""
        self.status = 0
        self.started = False

    async def pass_on(self, message: Any) -> None:
        """Send a message of a route that answers by itself, with our headers where it has none of its own."""
        if message["type"] == "http.response.start":
            self.started = True
            self.status = message["status"]
            own: errors.Headers = list(message.get("headers", ()))
            message = {**message, "headers": own + self.headers({name.lower() for name, _ in own})}
        await self.send(message)

    def headers(self, own: set[bytes]) -> errors.Headers:
        """Return the headers that belong on every answer and are not there already."""
        mine = [pair for pair in self._always if pair[0] not in own]
        mine.append((b"x-request-id", self.request_id.encode("ascii")))
        return mine

    async def finish(self, status: int, headers: errors.Headers, body: bytes) -> None:
        """Send a whole answer that has none of our headers yet."""
        self.started = True
        self.status = status
        headers = [*headers, *self._always, (b"x-request-id", self.request_id.encode("ascii"))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": STREAMED, "body": body})


class Gauges:
    """The metrics of one route, bound to their labels once."""

    __slots__ = ("_counts", "_labels", "_metrics", "latency")

    def __init__(self, metrics: Metrics, method: str, template: str) -> None:
        self._metrics = metrics
        self._labels = (method, template)
        self._counts: dict[int, Any] = {}
        self.latency: Histogram = metrics.latency.labels(method, template)

    def note(self, status: int, took: float) -> None:
        """Count one answer; `took` in seconds."""
        count = self._counts.get(status)
        if count is None:
            count = self._counts[status] = self._metrics.requests.labels(*self._labels, str(status))
        count.inc()
        self.latency.observe(took)


class Edge:
    """The ASGI application for HTTP."""

    def __init__(
        self,
        app: Any,
        table: Table[Endpoint | Untouched],
        mounts: Sequence[BaseRoute],
        metrics: Metrics,
        access: AccessLog,
        tracer: Any = None,
        *,
        secure: bool = False,
    ) -> None:
        """`mounts` are asked, in order, for what the table does not know."""
        self._app = app
        self._table = table
        self._mounts = mounts
        self._metrics = metrics
        self._access = access
        self.tracer = tracer
        self._always = [*SECURITY, TRANSPORT] if secure else SECURITY
        self._gauges: dict[tuple[str, str], Gauges] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = time.perf_counter()
        exchange = Exchange(send, request_id_of(scope), self._always)
        REQUEST_ID.set(exchange.request_id)
        try:
            if self.tracer is None:
                await self._answer(scope, receive, exchange)
            else:
                await self._trace(scope, receive, exchange)
        finally:
            took = time.perf_counter() - began
            method = scope["method"]
            self._gauge(method, exchange.template).note(exchange.status, took)
            self._access.note(
                time.time(), method, scope["path"], exchange.status, took, exchange.request_id, exchange.template
            )

    def _gauge(self, method: str, template: str) -> Gauges:
        key = (method if template else "ANY", template)
        found = self._gauges.get(key)
        if found is None:
            found = self._gauges[key] = Gauges(self._metrics, key[0], template or "none")
        return found

    async def _answer(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
        try:
            await self._route(scope, receive, exchange)
        except ClientDisconnect:
            exchange.status = GONE
        except Exception as failure:  # noqa: BLE001 - the last place where it can be answered
            await self._refuse(scope, exchange, failure)

    async def _route(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
        path = scope["path"]
        if "\x00" in path or b"%00" in scope["query_string"]:
            raise NulInAddress
        if len(path) + len(scope["query_string"]) > LONGEST_ADDRESS:
            raise HTTPException(414, "The address is too long.")
        scope["app"] = self._app
        found = self._table.find(path)
        if found is None:
            await self._mounted(scope, receive, exchange)
            return
        methods, values = found
        method = scope["method"]
        target = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if target is None:
            raise HTTPException(405, headers={"Allow": ", ".join(sorted(methods))})
        exchange.template = target.template
        if isinstance(target, Untouched):
            scope["path_params"] = dict(zip(target.names, values, strict=True))
            await target(scope, receive, exchange.pass_on)
            return
        response = await target.answer(scope, receive, values)
        await self._send(scope, receive, exchange, response)

    async def _send(self, scope: Scope, receive: Receive, exchange: Exchange, response: Response) -> None:
        if type(response) is DocResponse:
            body = b"" if scope["method"] == "HEAD" else response.body
            await exchange.finish(response.status_code, response.raw_headers, body)
            return
        await response(scope, receive, exchange.pass_on)  # pyright: ignore[reportArgumentType]

    async def _mounted(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
        for mount in self._mounts:
            match, more = mount.matches(scope)
            if match is not Match.NONE:
                exchange.template = getattr(mount, "path", "")
                scope.update(more)
                await mount.handle(scope, receive, exchange.pass_on)  # pyright: ignore[reportArgumentType]
                return
        raise HTTPException(404)

    async def _refuse(self, scope: Scope, exchange: Exchange, failure: Exception) -> None:
        answer = errors.render(failure, exchange.request_id)
        if answer.mistake:
            log.error("request_failed", method=scope["method"], route=exchange.template, exc_info=failure)
        elif answer.status >= 500:
            reason = repr(failure.__cause__ or failure)
            log.warning("request_not_served", route=exchange.template, error=answer.body["error"], reason=reason)
        if exchange.started:
            # Half an answer is out: the server closes the connection, so that nobody takes it for a whole one.
            raise failure
        body = b"" if scope["method"] == "HEAD" else answer.encoded()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer.encoded()))]
        await exchange.finish(answer.status, headers + answer.headers, body)

    async def _trace(self, scope: Scope, receive: Receive, exchange: Exchange) -> None:
        from opentelemetry import propagate
        from opentelemetry.trace import SpanKind, StatusCode

        sent = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        parent = propagate.extract(sent)
        with self.tracer.start_as_current_span("request", context=parent, kind=SpanKind.SERVER) as span:
            await self._answer(scope, receive, exchange)
            span.update_name(f"{scope['method']} {exchange.template or 'none'}")
            span.set_attribute("http.request.method", scope["method"])
            span.set_attribute("http.route", exchange.template)
            span.set_attribute("http.response.status_code", exchange.status)
            span.set_attribute("rainmaker.request_id", exchange.request_id)
            if exchange.status >= 500:
                span.set_status(StatusCode.ERROR)


def request_id_of(scope: Scope) -> str:
    """Return the caller's X-Request-Id when it is a sane one, else a new one."""
    sent = header(scope, b"x-request-id")
    if sent is not None and len(sent) in ID_LENGTHS and ID_CHARACTERS.issuperset(sent):
        return sent.decode("ascii")
    return secrets.token_hex(12)
