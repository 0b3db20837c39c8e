"""
What operators see: logs, metrics, traces.

Logs are structlog lines, JSON or for a console; libraries' logs go the same way; the id of the request is on each of
them. Requests have one line each, written in batches. Traces exist only when a collector is configured.
"""

import asyncio
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from memory.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
FLUSH_S = 0.25
FLUSH_LINES = 200
SECRETS = re.compile(r"(?i)(\bbearer |\bsk-|\bsk_live_|://[^/@\s:]*:(?=[^/@\s]+@))[^\s\"'@]+")


def configure_logging(settings: Settings, out: TextIO | None = None) -> None:
    """Send every log of this process, ours and the libraries', to standard output in the configured form."""
    stream = out or sys.stdout
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        _add_request_id,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_last(settings, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(LEVELS[settings.log_level])
    for noisy in ("httpx", "httpcore", "uvicorn.access", "openai", "psycopg.pool", "asyncio", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _last(settings: Settings, stream: TextIO) -> list[Any]:
    """Return what makes a line of an event; tracebacks without local variables, which hold customers' data."""
    if settings.log_format == "json":
        renderer: Any = structlog.processors.JSONRenderer(serializer=_dumps)
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty())
    return [structlog.processors.format_exc_info, _hide_secrets, renderer]


def _dumps(value: Any, **_: Any) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _add_request_id(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if request_id := REQUEST_ID.get():
        event.setdefault("request_id", request_id)
    return event


def _hide_secrets(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Tokens, keys and passwords in addresses do not belong into logs, whichever library writes them."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = SECRETS.sub(r"\1***", value)
    return event


class AccessLog:
    """One line per request, gathered for a quarter of a second and written at once."""

    def __init__(self, settings: Settings, out: TextIO | None = None) -> None:
        """Lines below `info` are not written at all."""
        self._out = out
        self._json = settings.log_format == "json"
        self._on = LEVELS[settings.log_level] <= logging.INFO
        self._lines: list[tuple[float, str, str, int, float, str, str]] = []
        self._waiting: asyncio.TimerHandle | None = None

    def note(self, at: float, method: str, path: str, status: int, took: float, request_id: str, route: str) -> None:
        """Keep a request's line; `at` in epoch seconds, `took` in seconds."""
        if not self._on:
            return
        self._lines.append((at, method, path, status, took, request_id, route))
        if len(self._lines) >= FLUSH_LINES:
            self.flush()
        elif self._waiting is None:
            self._waiting = asyncio.get_running_loop().call_later(FLUSH_S, self.flush)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        lines, self._lines = self._lines, []
        if lines:
            out = self._out or sys.stdout
            out.write("".join(map(self._line, lines)))
            out.flush()

    def _line(self, entry: tuple[float, str, str, int, float, str, str]) -> str:
        at, method, path, status, took, request_id, route = entry
        moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
        if not self._json:
            shown = path.encode("unicode_escape").decode()
            return (
                f"{moment[:-6]}Z [info     ] {method} {shown} {status} {took * 1000:.1f} ms request_id={request_id}\n"
            )
        event = {
            "event": "request",
            "level": "info",
            "timestamp": moment,
            "method": method,
            "path": path,
            "route": route,
            "status": status,
            "ms": round(took * 1000, 2),
            "request_id": request_id,
        }
        return orjson.dumps(event).decode() + "\n"


class Metrics:
    """The numbers of one process, in a registry of its own."""

    def __init__(self) -> None:
        """Every metric that `/metrics` shows; those of the database are set when it is asked."""
        self.registry = CollectorRegistry()
        made: Any = {"registry": self.registry, "namespace": "rainmaker"}
        labels = ("method", "route")
        self.requests = Counter("http_requests", "Requests by route template.", (*labels, "status"), **made)
        self.latency = Histogram("http_request_seconds", "Time to answer.", labels, buckets=BUCKETS, **made)
        self.pool = Gauge("db_pool", "Connections and waiting requests.", ("what",), **made)
        self.outbox = Gauge("outbox_jobs", "Promised jobs by status.", ("status",), **made)
        self.late = Gauge("outbox_late_seconds", "How late the oldest due job is.", **made)
        self.runs = Gauge("agent_runs", "Agent runs of the last 24 hours by status.", ("agent", "status"), **made)
        self.spend = Gauge("ai_spend_usd", "Cost of models in the last 24 hours.", ("provider", "model"), **made)
        self.calls = Gauge(
            "ai_calls", "Calls to models in the last 24 hours by outcome.", ("provider", "status"), **made
        )
        self.beats = Gauge(
            "heartbeat_age_seconds", "Seconds since a part of the service was last heard.", ("part",), **made
        )


def start_tracing(settings: Settings, service: str) -> "Tracer | None":
    """Send spans to the configured collector; None, and no cost, when there is none."""
    if not settings.otlp_endpoint:
        return None
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    address = f"{settings.otlp_endpoint.rstrip('/')}/v1/traces"
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=address)))
    trace.set_tracer_provider(provider)
    return provider.get_tracer("rainmaker")
