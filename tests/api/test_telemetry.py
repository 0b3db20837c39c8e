"""What operators read: lines with the request's id, without secrets; traces when there is a collector."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from api import telemetry
from api.app import Rainmaker
from api.edge import Edge
from api.telemetry import AccessLog
from tests.api.conftest import Client, client_of, settings_for_tests


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Log as JSON into memory, and leave the process as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    out = io.StringIO()
    telemetry.configure_logging(settings_for_tests(log_format="json", log_level="info"), out)
    yield out
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level


def read(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


class TestLogs:
    def test_carry_the_id_of_the_request(self, lines: io.StringIO):
        telemetry.REQUEST_ID.set("request-7")
        structlog.get_logger("ours").info("something_happened", count=2)
        logging.getLogger("a.library").warning("it said %s", "this")
        telemetry.REQUEST_ID.set("")
        logging.getLogger("a.library").warning("outside")
        ours, theirs, outside = read(lines)
        assert (ours["event"], ours["count"], ours["request_id"]) == ("something_happened", 2, "request-7")
        assert (theirs["event"], theirs["level"], theirs["request_id"]) == ("it said this", "warning", "request-7")
        assert "request_id" not in outside

    @pytest.mark.parametrize(
        "said",
        [
            "Authorization: Bearer eyJhbGciOi.eyJzdWIi.c2ln",
            "key sk-proj-abcdefghijklmnop",
            "postgresql://user:hunter2secret@host/db",
        ],
    )
    def test_keep_secrets(self, lines: io.StringIO, said: str):
        logging.getLogger("a.library").error(said)
        (entry,) = read(lines)
        assert "***" in entry["event"]
        for secret in ("eyJzdWIi", "abcdefghijklmnop", "hunter2secret"):
            assert secret not in entry["event"]

    @pytest.mark.parametrize("said", ["Running on http://127.0.0.1:8000 (Ctrl-C quits)", "see https://a.example/b:c@d"])
    def test_keep_addresses(self, lines: io.StringIO, said: str):
        logging.getLogger("a.library").error(said)
        assert read(lines)[0]["event"] == said

    async def test_of_a_mistake_have_the_traceback(self, lines: io.StringIO, stage_rep: Client):
        await stage_rep.post("/stage/refuse/oops", headers={"x-request-id": "mistake-1"})
        entry = next(entry for entry in read(lines) if entry["event"] == "request_failed")
        assert entry["request_id"] == "mistake-1"
        assert entry["route"] == "/stage/refuse/{what}"
        assert "KeyError: 'secret insides'" in entry["exception"]
        assert "Bearer" not in lines.getvalue()


class TestAccessLog:
    def note(self, log: AccessLog) -> None:
        log.note(0.0, "GET", "/a\nb", 200, 0.00123, "id-123456", "/{x}")

    async def test_writes_json(self):
        out = io.StringIO()
        log = AccessLog(settings_for_tests(log_format="json", log_level="info"), out)
        self.note(log)
        assert out.getvalue() == "", "lines are written together"
        log.flush()
        assert json.loads(out.getvalue()) == {
            "event": "request",
            "level": "info",
            "timestamp": "1970-01-01T00:00:00.000+00:00",
            "method": "GET",
            "path": "/a\nb",
            "route": "/{x}",
            "status": 200,
            "ms": 1.23,
            "request_id": "id-123456",
        }

    async def test_writes_for_a_console_on_one_line(self):
        out = io.StringIO()
        log = AccessLog(settings_for_tests(log_format="console", log_level="info"), out)
        self.note(log)
        log.flush()
        assert out.getvalue() == ("1970-01-01T00:00:00.000Z [info     ] GET /a\\nb 200 1.2 ms request_id=id-123456\n")

    async def test_is_silent_above_info(self):
        out = io.StringIO()
        log = AccessLog(settings_for_tests(log_level="warning"), out)
        self.note(log)
        log.flush()
        assert out.getvalue() == ""

    async def test_does_not_wait_for_ever(self):
        out = io.StringIO()
        log = AccessLog(settings_for_tests(log_format="json", log_level="info"), out)
        for _ in range(telemetry.FLUSH_LINES):
            self.note(log)
        assert len(out.getvalue().splitlines()) == telemetry.FLUSH_LINES


class TestTraces:
    def test_cost_nothing_without_a_collector(self):
        assert telemetry.start_tracing(settings_for_tests(), "x") is None

    async def test_show_route_status_and_caller(self, stage_app: Rainmaker, stage_rep: Client):
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(kept))
        edge = Edge(
            stage_app,
            stage_app.table,
            (),
            stage_app.metrics,
            stage_app.access,
            provider.get_tracer("tests"),
        )
        async with client_of(edge) as client:  # pyright: ignore[reportArgumentType]
            trace = "0af7651916cd43dd8448eb211c80319c"
            headers = {**stage_rep.headers, "traceparent": f"00-{trace}-b7ad6b7169203331-01"}
            await client.get("/stage/things", headers=headers)
            await client.post("/stage/refuse/oops", headers=headers)
        first, second = kept.get_finished_spans()
        assert first.name == "GET /stage/things"
        assert first.context is not None
        assert f"{first.context.trace_id:032x}" == trace
        assert first.attributes is not None
        assert first.attributes["http.response.status_code"] == 200
        assert second.name == "POST /stage/refuse/{what}"
        assert not second.status.is_ok

    async def test_show_jobs_and_model_calls_below_what_asked_for_them(self, monkeypatch: pytest.MonkeyPatch):
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

        from memory import tracing

        kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(kept))
        monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
        with pytest.raises(KeyError), tracing.span("job", job="a.b", attempt=2), tracing.span("model call", model="m"):
            raise KeyError("x")
        call, job = kept.get_finished_spans()
        assert (call.name, dict(call.attributes or {})) == ("model call", {"rainmaker.model": "m"})
        assert (job.name, dict(job.attributes or {})) == ("job", {"rainmaker.job": "a.b", "rainmaker.attempt": 2})
        assert call.parent is not None
        assert job.context is not None
        assert call.parent.span_id == job.context.span_id
        assert not job.status.is_ok

    def test_leave_for_the_collector(self, monkeypatch: pytest.MonkeyPatch):
        """In a process of its own: a provider is set once and for all."""
        import http.server
        import subprocess
        import sys
        import threading

        arrived: list[tuple[str, bytes]] = []

        class Collector(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                arrived.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            code = (
                "from api import telemetry; from memory import tracing; from memory.settings import Settings\n"
                f"s = Settings(_env_file=None, OTEL_EXPORTER_OTLP_ENDPOINT='http://127.0.0.1:{server.server_port}/')\n"
                "telemetry.start_tracing(s, 'rainmaker-tests')\n"
                "with tracing.span('job', job='a.b'): pass\n"
            )
            subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
        finally:
            server.shutdown()
            server.server_close()
        ((path, body),) = arrived
        assert path == "/v1/traces"
        assert b"rainmaker-tests" in body
        assert b"a.b" in body
