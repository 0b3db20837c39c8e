"""
What a command makes happen to a support case, or the rule that refuses it. Nothing here reads a clock or a database.

    open, in progress, waiting (for the customer | for us), escalated      working: change_status moves among these
         │ resolve              │ close by force         ▲ reopen
         ▼                      ▼                        │
      resolved ──── close ──> closed ────────────────────┤
         └───────────────────────────────────────────────┘

The event that a command is about comes first; what follows from it (clocks set anew) comes after.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID, uuid4

from memory.errors import Forbidden, Invalid
from memory.events import Event
from memory.rows import Named
from tools.cases import commands as asked
from tools.cases.commands import WORKING, Command, CreateCaseIn
from tools.cases.state import CaseState, Clock, Data


class CaseClosed(Invalid):
    """A closed case refuses {command}: reopen it first."""


class CaseNotWorking(Invalid):
    """Only a case that is being worked on takes {command}: this one is {status}. Reopen it first."""


class NotAmongWorking(Invalid):
    """change_status moves among open, in_progress, waiting_on_customer, waiting_on_internal and escalated: {to} has a command of its own."""


class SameAsBefore(Invalid):
    """A change must change something: {what} is {value} already."""


class CaseResolved(Invalid):
    """A case is resolved once: this one is resolved already."""


class NotResolved(Invalid):
    """A case is closed once it is resolved, or with force_close: this one is {status}."""


class CaseClosedAlready(Invalid):
    """A case is closed once: this one is closed already."""


class ForceNotAllowed(Forbidden):
    """Only its owner or a manager may close a case by force."""


class NothingToReopen(Invalid):
    """Only a resolved or closed case is reopened: this one is {status}."""


class LevelNotHigher(Invalid):
    """An escalation goes up: the case is at level {level} already."""


class AnsweredAlready(Invalid):
    """The first response has been given: nothing is owed that a deadline could be set for."""


class MessageFromFuture(Invalid):
    """A message cannot have been received later than now."""


class TagAbsent(Invalid):
    """The case does not have the tag {tag}."""


class TooManyTags(Invalid):
    """A case has at most {most} tags."""


@dataclass(frozen=True, slots=True)
class Targets:
    """What is owed for one severity, in hours, and at which percentage of it one is warned."""

    first_response_hours: float
    resolution_hours: float
    update_hours: float | None
    warning_threshold_percent: int
    config_source: str

    def of(self, sla_type: str) -> float | None:
        """Return the hours for one kind of answer, or None when none is owed."""
        return cast("float | None", getattr(self, f"{sla_type}_hours"))


@dataclass(frozen=True, slots=True)
class Setting:
    """
    What a command is decided on, beside the case: the moment, who asks, and what the outside knows.

    `targets` are those of the severity that the case will have; `person` is whoever the command names; `new_id` is for
    what the command brings into being.
    """

    now: datetime
    user_id: UUID | None = None
    is_manager: bool = False
    targets: Targets | None = None
    person: Named | None = None
    new_id: UUID = field(default_factory=uuid4)


MOST_TAGS = 50
SLA_TYPES = ("first_response", "resolution", "update")
DEFAULT_WARNING_PERCENT = 75


def open_case(body: CreateCaseIn, setting: Setting) -> list[Event]:
    """Return what happens when a case is opened: it is there, and what is owed begins to be owed."""
    told = body.model_dump(mode="json", exclude={"company_id", "company_product_id"}, exclude_none=True)
    created = Event("SupportCaseCreated", told)
    return [created, *_clocks_of(setting, body.severity, SLA_TYPES, setting.now)]


def decide(state: CaseState, command: Command, setting: Setting) -> list[Event]:
    """
    Return the events that the command makes happen to the case.

    Raises one of the refusals above, which names the rule.
    """
    return _DECIDE[type(command)](state, command, setting)


def due_now(state: CaseState, now: datetime) -> list[Event]:
    """Return what the clock alone makes happen: warnings and breaches that nobody has recorded yet, the earliest first."""
    if not state.is_working:
        return []
    return [event for clock in sorted(state.clocks.values(), key=_due_at) for event in _of_clock(clock, now)]


def _due_at(clock: Clock) -> tuple[datetime, str]:
    return clock.due_at, clock.sla_type


def _of_clock(clock: Clock, now: datetime) -> Iterator[Event]:
    told: Data = {"sla_type": clock.sla_type, "target_hours": clock.target_hours, "due_at": clock.due_at.isoformat()}
    if clock.breached:
        return
    if now > clock.due_at:
        late = {
            "actual_hours": hours_between(clock.started_at, now),
            "hours_over": hours_between(clock.due_at, now),
            "breached_at": clock.due_at.isoformat(),
        }
        yield Event("SlaBreached", told | late)
    elif now >= clock.warning_at and not clock.warned:
        yield Event("SlaWarned", told | {"warning_at": clock.warning_at.isoformat()})


# Clocks -------------------------------------------------------------------------------------------------------------


def _clocks_of(setting: Setting, severity: str, types: tuple[str, ...], since: datetime) -> Iterator[Event]:
    """Yield a clock for each of the types that something is owed for."""
    for sla_type in types:
        if setting.targets is not None and (hours := setting.targets.of(sla_type)) is not None:
            yield _clock(sla_type, severity, hours, since, setting.targets, setting.targets.config_source)


def _clock(
    sla_type: str, severity: str, hours: float, since: datetime, targets: Targets | None, config_source: str
) -> Event:
    percent = targets.warning_threshold_percent if targets else DEFAULT_WARNING_PERCENT
    return Event(
        "SlaConfigured",
        {
            "sla_type": sla_type,
            "severity": severity,
            "target_hours": hours,
            "started_at": since.isoformat(),
            "due_at": (since + timedelta(hours=hours)).isoformat(),
            "warning_at": (since + timedelta(hours=hours * percent / 100)).isoformat(),
            "config_source": config_source,
        },
    )


def _again(clock: Clock, severity: str, since: datetime) -> Event:
    """Return the same clock, begun anew: an update is owed every so many hours, and an answer is one."""
    later = since - clock.started_at
    return Event(
        "SlaConfigured",
        {
            "sla_type": clock.sla_type,
            "severity": severity,
            "target_hours": clock.target_hours,
            "started_at": since.isoformat(),
            "due_at": (clock.due_at + later).isoformat(),
            "warning_at": (clock.warning_at + later).isoformat(),
            "config_source": clock.config_source,
        },
    )


def hours_between(start: datetime, end: datetime) -> float:
    """Return the hours from one moment to another, to the hundredth."""
    return round((end - start).total_seconds() / 3600, 2)


# Rules --------------------------------------------------------------------------------------------------------------


def _not_closed(state: CaseState, command: str) -> None:
    if state.status == "closed":
        raise CaseClosed(command=command)


def _working(state: CaseState, command: str) -> None:
    _not_closed(state, command)
    if not state.is_working:
        raise CaseNotWorking(command=command, status=state.status)


def _told(**values: Any) -> Data:
    """Return a payload; what is not said is left out."""
    return {
        name: str(value) if isinstance(value, UUID) else value for name, value in values.items() if value is not None
    }


# Commands -----------------------------------------------------------------------------------------------------------


def _assign(state: CaseState, command: asked.AssignCaseIn, setting: Setting) -> list[Event]:
    _not_closed(state, command.command)
    assert setting.person is not None
    team = command.team or state.assigned_team
    if state.owned_by(command.owner_id) and team == state.assigned_team:
        raise SameAsBefore(what="the owner", value=setting.person.name)
    told = _told(
        from_owner_id=state.owner_id,
        from_owner_name=state.owner_name,
        to_owner_id=command.owner_id,
        to_owner_name=setting.person.name,
        team=team,
        reason=command.reason,
    )
    return [Event("SupportCaseAssigned", told)]


def _change_status(state: CaseState, command: asked.ChangeCaseStatusIn, _setting: Setting) -> list[Event]:
    if command.to_status not in WORKING:
        raise NotAmongWorking(to=command.to_status)
    _working(state, command.command)
    if state.status == command.to_status:
        raise SameAsBefore(what="the status", value=state.status)
    told = _told(to=command.to_status, reason=command.reason) | {"from": state.status}
    return [Event("SupportCaseStatusChanged", told)]


def _change_severity(state: CaseState, command: asked.ChangeCaseSeverityIn, setting: Setting) -> list[Event]:
    _not_closed(state, command.command)
    if state.severity == command.to_severity:
        raise SameAsBefore(what="the severity", value=state.severity)
    owed = [clock for clock in state.clocks.values() if not clock.breached]
    anew = [
        event
        for clock in owed
        for event in _clocks_of(setting, command.to_severity, (clock.sla_type,), clock.started_at)
    ]
    dues = {
        f"new_{event.data['sla_type']}_due_at": event.data["due_at"]
        for event in anew
        if event.data["sla_type"] != "update"
    }
    told = _told(to=command.to_severity, reason=command.reason, **dues) | {"from": state.severity}
    return [Event("SupportCaseSeverityChanged", told), *anew]


def _change_category(state: CaseState, command: asked.ChangeCaseCategoryIn, _setting: Setting) -> list[Event]:
    _not_closed(state, command.command)
    if (state.category, state.subcategory) == (command.category, command.subcategory):
        raise SameAsBefore(what="the category", value=command.category)
    told = _told(from_category=state.category, from_subcategory=state.subcategory, reason=command.reason)
    told |= {"to_category": command.category, "to_subcategory": command.subcategory}
    return [Event("SupportCaseCategoryChanged", told)]


def _set_next_action(state: CaseState, command: asked.SetCaseActionIn, setting: Setting) -> list[Event]:
    _not_closed(state, command.command)
    assignee = str(command.assigned_to_id) if command.assigned_to_id else None
    present = (state.next_action, state.next_action_due_at, state.next_action_assigned_to_id)
    if present == (command.action, command.due_at, assignee):
        raise SameAsBefore(what="the next action", value=command.action)
    told = _told(
        from_action=state.next_action,
        from_due_at=state.next_action_due_at.isoformat() if state.next_action_due_at else None,
        to_action=command.action,
        to_due_at=command.due_at.isoformat(),
        assigned_to_id=assignee,
        assigned_to_name=setting.person.name if setting.person else None,
    )
    return [Event("NextActionSet", told)]


def _log_message(_state: CaseState, command: asked.LogMessageIn, setting: Setting) -> list[Event]:
    received_at = command.received_at or setting.now
    if received_at > setting.now:
        raise MessageFromFuture
    told = _told(
        message_id=command.message_id,
        channel=command.channel,
        content_preview=command.content_preview,
        sender_email=command.sender_email,
        sender_name=command.sender_name,
        received_at=received_at.isoformat(),
    )
    return [Event("CustomerMessageLogged", told)]


def _log_response(state: CaseState, command: asked.LogResponseIn, setting: Setting) -> list[Event]:
    is_first = state.last_response_at is None
    waited_since = state.opened_at if is_first else state.last_touch_at
    unanswered = is_first or (state.last_response_at is not None and state.last_touch_at > state.last_response_at)
    told = _told(
        response_id=command.response_id,
        channel=command.channel,
        content_preview=command.content_preview,
        is_first_response=is_first,
        response_time_minutes=round((setting.now - waited_since).total_seconds() / 60, 2) if unanswered else None,
    )
    sent = Event("AgentResponseSent", told)
    update = state.clocks.get("update")
    return [sent] if update is None else [sent, _again(update, state.severity, setting.now)]


def _add_note(state: CaseState, command: asked.AddCaseNoteIn, setting: Setting) -> list[Event]:
    told = _told(
        note_id=setting.new_id,
        content=command.content,
        visibility=command.visibility,
    )
    if command.mentioned_user_ids:
        told["mentioned_user_ids"] = [str(user_id) for user_id in dict.fromkeys(command.mentioned_user_ids)]
    return [Event("InternalNoteAdded", told)]


def _configure_sla(state: CaseState, command: asked.ConfigureSlaIn, setting: Setting) -> list[Event]:
    _working(state, command.command)
    if command.sla_type == "first_response" and state.last_response_at is not None:
        raise AnsweredAlready
    clock = state.clocks.get(command.sla_type)
    if clock is not None and clock.target_hours == command.target_hours:
        raise SameAsBefore(what=f"the target for {command.sla_type}", value=f"{command.target_hours} h")
    since = clock.started_at if clock else state.working_since
    return [_clock(command.sla_type, state.severity, command.target_hours, since, setting.targets, "manual")]


def _escalate(state: CaseState, command: asked.EscalateCaseIn, _setting: Setting) -> list[Event]:
    _working(state, command.command)
    level = command.escalation_level or state.escalation_level + 1
    if level <= state.escalation_level:
        raise LevelNotHigher(level=state.escalation_level)
    told = _told(
        escalation_level=level,
        escalated_to_team=command.escalated_to_team,
        escalated_to_user_id=command.escalated_to_user_id,
        reason=command.reason,
    )
    return [Event("SupportCaseEscalated", told)]


def _resolve(state: CaseState, command: asked.ResolveCaseIn, setting: Setting) -> list[Event]:
    _not_closed(state, command.command)
    if state.status == "resolved":
        raise CaseResolved
    clock = state.clocks.get("resolution")
    told = _told(
        resolution_summary=command.resolution_summary,
        root_cause=command.root_cause,
        resolution_time_hours=hours_between(clock.started_at if clock else state.working_since, setting.now),
        sla_hours=clock.target_hours if clock else None,
        sla_met=clock is None or setting.now <= clock.due_at,
    )
    return [Event("SupportCaseResolved", told)]


def _close(state: CaseState, command: asked.CloseCaseIn, setting: Setting) -> list[Event]:
    if state.status == "closed":
        raise CaseClosedAlready
    forced = state.status != "resolved"
    if forced and not command.force_close:
        raise NotResolved(status=state.status)
    if forced and not (setting.is_manager or state.owned_by(setting.user_id)):
        raise ForceNotAllowed
    told = _told(close_reason=command.close_reason, notes=command.notes, forced_close=forced)
    return [Event("SupportCaseClosed", told)]


def _reopen(state: CaseState, command: asked.ReopenCaseIn, setting: Setting) -> list[Event]:
    if state.is_working:
        raise NothingToReopen(status=state.status)
    told = _told(reason=command.reason, previous_close_reason=state.close_reason, reopened_from_status=state.status)
    # A customer who has never been answered is owed that again, too.
    types = SLA_TYPES if state.last_response_at is None else SLA_TYPES[1:]
    return [Event("SupportCaseReopened", told), *_clocks_of(setting, state.severity, types, setting.now)]


def _submit_csat(_state: CaseState, command: asked.SubmitCsatIn, _setting: Setting) -> list[Event]:
    return [Event("CsatSubmitted", _told(score=command.score, comment=command.comment))]


def _add_tag(state: CaseState, command: asked.TagCaseIn, _setting: Setting) -> list[Event]:
    if command.tag in state.tags:
        raise SameAsBefore(what="a tag of the case", value=command.tag)
    if len(state.tags) >= MOST_TAGS:
        raise TooManyTags(most=MOST_TAGS)
    return [Event("TagAdded", {"tag": command.tag, "tags": [*state.tags, command.tag]})]


def _remove_tag(state: CaseState, command: asked.UntagCaseIn, _setting: Setting) -> list[Event]:
    if command.tag not in state.tags:
        raise TagAbsent(tag=command.tag)
    return [Event("TagRemoved", {"tag": command.tag, "tags": [tag for tag in state.tags if tag != command.tag]})]


_DECIDE: dict[type[Command], Callable[[CaseState, Any, Setting], list[Event]]] = {
    asked.AssignCaseIn: _assign,
    asked.ChangeCaseStatusIn: _change_status,
    asked.ChangeCaseSeverityIn: _change_severity,
    asked.ChangeCaseCategoryIn: _change_category,
    asked.SetCaseActionIn: _set_next_action,
    asked.LogMessageIn: _log_message,
    asked.LogResponseIn: _log_response,
    asked.AddCaseNoteIn: _add_note,
    asked.ConfigureSlaIn: _configure_sla,
    asked.EscalateCaseIn: _escalate,
    asked.ResolveCaseIn: _resolve,
    asked.CloseCaseIn: _close,
    asked.ReopenCaseIn: _reopen,
    asked.SubmitCsatIn: _submit_csat,
    asked.TagCaseIn: _add_tag,
    asked.UntagCaseIn: _remove_tag,
}
