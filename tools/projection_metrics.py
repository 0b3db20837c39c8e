"""What operators watch of commands, events and projectors, counted in the database that all processes share."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from memory import projections
from memory.db import Tx
from memory.projections import Checkpoint, Projector
from memory.rows import In, Row

MANY_ERRORS = 10
FAR_BEHIND = 1000
Category = Literal["command", "event", "projector", "sla", "rebuild", "guardrail"]


class MetricsFilter(In):
    """As JSON or as Prometheus' text, and how many lines of which log."""

    format: Literal["prometheus"] | None = None
    logs: int = Field(default=50, ge=1, le=1000)
    category: Category | None = None


class ProjectorMetrics(Row):
    """One projector: how far it is, and what went wrong."""

    name: str
    status: str
    lastProcessedSequence: int
    lagEvents: int
    lastProcessedAt: datetime | None
    eventsProcessedTotal: int
    errorsCount: int
    lastError: str | None
    lastErrorAt: datetime | None


class ProjectorTotals(Row):
    """All projectors together."""

    totalProjectors: int
    activeProjectors: int
    totalLag: int
    totalErrors: int


class CommandCounts(Row):
    """Commands of the last 24 hours."""

    executed: int
    succeeded: int
    failed: int
    byType: dict[str, int]


class EventCounts(Row):
    """Events of the last 24 hours; `processed` counts each for every projector that has seen it."""

    appended: int
    processed: int
    byType: dict[str, int]


class Counts(Row):
    """What happened within the last 24 hours, over all processes."""

    commands: CommandCounts
    events: EventCounts
    projectorRuns: int
    slaBreaches: int


class LogLine(Row):
    """Something that happened, for people who read along."""

    timestamp: datetime
    level: Literal["info", "warn", "error"]
    category: Category
    message: str
    data: dict[str, Any]
    error: str | None


class MetricsOut(Row):
    """Projectors, counts of the last 24 hours, and the latest log lines."""

    timestamp: datetime
    latestEventSequence: int
    projectors: list[ProjectorMetrics]
    totals: ProjectorTotals
    inMemoryMetrics: Counts
    recentLogs: list[LogLine]
    warnings: list[str]


class _Count(Row):
    name: str
    status: str = ""
    count: int


async def get_metrics(tx: Tx, filter: MetricsFilter) -> MetricsOut:
    """Return how far every projector is, what was counted over the last 24 hours, and the latest log lines."""
    latest = await projections.latest_sequence(tx)
    events = await tx.many(
        _Count,
        """
        SELECT event_type AS name, aggregate_type AS status, count(*) FROM event_store
         WHERE recorded_at > %(now)s - interval '24 hours' GROUP BY 1, 2 ORDER BY 1
        """,
    )
    known = projections.known()
    checkpoints = {each.projector_name: each for each in await projections.list_checkpoints(tx)}
    totals_by_kind = dict(
        await tx.tuples("SELECT aggregate_type, sum(version)::bigint FROM event_streams GROUP BY aggregate_type")
    )
    shown = [
        _projector(each, checkpoints.get(each.name), latest, totals_by_kind.get(each.aggregate_type, 0))
        for each in known
    ]
    totals = ProjectorTotals(
        totalProjectors=len(shown),
        activeProjectors=sum(each.status == "active" for each in shown),
        totalLag=sum(each.lagEvents for each in shown),
        totalErrors=sum(each.errorsCount for each in shown),
    )
    appended = sum(each.count for each in events)
    counts = Counts(
        commands=await _count_commands(tx),
        events=EventCounts(
            appended=appended,
            processed=sum(
                max(0, _of_kind(events, each) - metrics.lagEvents) for each, metrics in zip(known, shown, strict=True)
            ),
            byType={each.name: each.count for each in events},
        ),
        projectorRuns=sum(each.eventsProcessedTotal > 0 for each in shown),
        slaBreaches=sum(
            each.count for each in events if each.name.endswith("SLABreached") or each.name.endswith("SlaBreached")
        ),
    )
    return MetricsOut(
        timestamp=tx.now,
        latestEventSequence=latest,
        projectors=shown,
        totals=totals,
        inMemoryMetrics=counts,
        recentLogs=await list_log(tx, filter),
        warnings=_warnings(shown),
    )


def _of_kind(events: list[_Count], projector: Projector) -> int:
    return sum(each.count for each in events if each.status == projector.aggregate_type)


def _projector(projector: Projector, checkpoint: Checkpoint | None, latest: int, of_kind: int) -> ProjectorMetrics:
    """An inline projector has seen whatever was appended; only those that run behind have a lag."""
    reached = latest if projector.inline else (checkpoint.last_processed_global_sequence if checkpoint else 0)
    return ProjectorMetrics(
        name=projector.name,
        status=checkpoint.status if checkpoint else "active",
        lastProcessedSequence=reached,
        lagEvents=latest - reached,
        lastProcessedAt=checkpoint.last_processed_at if checkpoint else None,
        eventsProcessedTotal=of_kind if projector.inline else (checkpoint.events_processed_count if checkpoint else 0),
        errorsCount=checkpoint.errors_count if checkpoint else 0,
        lastError=checkpoint.last_error if checkpoint else None,
        lastErrorAt=checkpoint.last_error_at if checkpoint else None,
    )


def _warnings(shown: list[ProjectorMetrics]) -> list[str]:
    return [f"{each.name} has had {each.errorsCount} errors" for each in shown if each.errorsCount > MANY_ERRORS] + [
        f"{each.name} is {each.lagEvents} events behind" for each in shown if each.lagEvents > FAR_BEHIND
    ]


async def _count_commands(tx: Tx) -> CommandCounts:
    found = await tx.many(
        _Count,
        """
        SELECT action AS name, status, count(*) FROM command_log
         WHERE created_at > %(now)s - interval '24 hours' GROUP BY 1, 2 ORDER BY 1
        """,
    )
    by_type: dict[str, int] = {}
    for each in found:
        by_type[each.name] = by_type.get(each.name, 0) + each.count
    succeeded = sum(each.count for each in found if each.status == "succeeded")
    executed = sum(by_type.values())
    return CommandCounts(executed=executed, succeeded=succeeded, failed=executed - succeeded, byType=by_type)


async def list_log(tx: Tx, filter: MetricsFilter) -> list[LogLine]:
    """Return the latest log lines, newest first, of one category or of all."""
    return await tx.many(
        LogLine,
        """
        SELECT * FROM (
            (SELECT created_at AS timestamp, CASE status WHEN 'failed' THEN 'warn' ELSE 'info' END AS level,
                    CASE WHEN status = 'failed' AND actor_type = 'ai' THEN 'guardrail' ELSE 'command' END AS category,
                    action || ' ' || status AS message,
                    jsonb_build_object('aggregate_type', aggregate_type, 'aggregate_id', aggregate_id,
                                       'actor_type', actor_type, 'duration_ms', duration_ms) AS data,
                    result ->> 'error' AS error
               FROM command_log
              WHERE CASE %(category)s::text WHEN 'command' THEN NOT (status = 'failed' AND actor_type = 'ai')
                                            WHEN 'guardrail' THEN status = 'failed' AND actor_type = 'ai'
                                            ELSE %(category)s::text IS NULL END
              ORDER BY created_at DESC LIMIT %(logs)s)
            UNION ALL
            (SELECT recorded_at, 'info', CASE WHEN event_type ~* 'sla(warning|breached)$' THEN 'sla' ELSE 'event' END,
                    event_type,
                    jsonb_build_object('aggregate_type', aggregate_type, 'aggregate_id', aggregate_id,
                                       'sequence_number', sequence_number, 'global_sequence', global_sequence),
                    NULL
               FROM event_store
              WHERE CASE %(category)s::text WHEN 'event' THEN event_type !~* 'sla(warning|breached)$'
                                            WHEN 'sla' THEN event_type ~* 'sla(warning|breached)$'
                                            ELSE %(category)s::text IS NULL END
              ORDER BY global_sequence DESC LIMIT %(logs)s)
            UNION ALL
            (SELECT last_error_at, 'error', 'projector', projector_name || ' failed',
                    jsonb_build_object('errors_count', errors_count, 'status', status), last_error
               FROM projector_checkpoints
              WHERE last_error_at IS NOT NULL AND (%(category)s::text IS NULL OR %(category)s::text = 'projector'))
            UNION ALL
            (SELECT coalesce(finished_at, started_at, created_at), CASE status WHEN 'failed' THEN 'error' ELSE 'info' END,
                    'rebuild', mode || ' ' || status, jsonb_build_object('rebuild_id', id, 'projectors', projectors), error
               FROM projection_rebuilds
              WHERE %(category)s::text IS NULL OR %(category)s::text = 'rebuild'
              ORDER BY created_at DESC LIMIT %(logs)s)
        ) lines
         ORDER BY timestamp DESC LIMIT %(logs)s
        """,
        logs=filter.logs,
        category=filter.category,
    )


def as_prometheus(metrics: MetricsOut) -> str:
    """Return the metrics in Prometheus' text exposition format, version 0.0.4."""
    lines = [
        "# TYPE rainmaker_events_latest_sequence gauge",
        f"rainmaker_events_latest_sequence {metrics.latestEventSequence}",
    ]
    lines += ["# TYPE rainmaker_projector_lag_events gauge"]
    lines += [
        f'rainmaker_projector_lag_events{{projector="{each.name}"}} {each.lagEvents}' for each in metrics.projectors
    ]
    lines += ["# TYPE rainmaker_projector_errors_total counter"]
    lines += [
        f'rainmaker_projector_errors_total{{projector="{each.name}"}} {each.errorsCount}' for each in metrics.projectors
    ]
    lines += ["# TYPE rainmaker_projector_active gauge"]
    lines += [
        f'rainmaker_projector_active{{projector="{each.name}"}} {int(each.status == "active")}'
        for each in metrics.projectors
    ]
    commands, events = metrics.inMemoryMetrics.commands, metrics.inMemoryMetrics.events
    lines += ["# TYPE rainmaker_commands_24h gauge"]
    lines += [
        f'rainmaker_commands_24h{{status="succeeded"}} {commands.succeeded}',
        f'rainmaker_commands_24h{{status="failed"}} {commands.failed}',
    ]
    lines += ["# TYPE rainmaker_events_24h gauge"]
    lines += [f'rainmaker_events_24h{{type="{name}"}} {count}' for name, count in events.byType.items()]
    lines += [
        "# TYPE rainmaker_sla_breaches_24h gauge",
        f"rainmaker_sla_breaches_24h {metrics.inMemoryMetrics.slaBreaches}",
    ]
    return "\n".join(lines) + "\n"
