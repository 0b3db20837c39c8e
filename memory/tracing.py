"""
Spans: where a request's, a job's or a model call's time went, for the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names.

The edge of each process decides whether there is one (api/telemetry.py); without it a span costs a microsecond.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace


@contextmanager
def span(name: str, **attributes: str | int) -> Iterator[None]:
    """Time what happens inside, below the span that is open here; an exception marks it as failed."""
    named = {f"rainmaker.{key}": value for key, value in attributes.items()}
    with trace.get_tracer("rainmaker").start_as_current_span(name, attributes=named):
        yield
