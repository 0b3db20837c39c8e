"""The rules of a support case: what each command makes happen to what has happened before, and what it refuses."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from memory.errors import Refusal
from memory.events import Event, Recorded
from memory.rows import Named
from tools.cases import commands as asked
from tools.cases import decisions
from tools.cases.commands import Command, CreateCaseIn
from tools.cases.decisions import Setting, Targets
from tools.cases.state import CaseState, evolve, replay

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
OWNER = Named(id=UUID("11111111-1111-4111-8111-111111111111"), name="Olga Owner")
MEDIUM = Targets(8, 72, 8, 75, "default")
CRITICAL = Targets(1, 4, 1, 75, "product")
CREATED = Event("SupportCaseCreated", {"title": "Broken", "severity": "medium", "source": "portal"})
RESOLVED = Event("SupportCaseResolved", {"resolution_summary": "Mended", "resolution_time_hours": 1.0, "sla_met": True})
CLOSED = Event("SupportCaseClosed", {"close_reason": "resolved", "forced_close": False})
ANSWERED = Event("AgentResponseSent", {"channel": "email", "is_first_response": True})


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def clock(sla_type: str, hours: float, since: float = 0, source: str = "default", severity: str = "medium") -> Event:
    told = {
        "sla_type": sla_type,
        "severity": severity,
        "target_hours": hours,
        "started_at": at(since).isoformat(),
        "due_at": at(since + hours).isoformat(),
        "warning_at": at(since + hours * 0.75).isoformat(),
        "config_source": source,
    }
    return Event("SlaConfigured", told)


FRESH = (CREATED, clock("first_response", 8), clock("resolution", 72), clock("update", 8))


def case(*happened: Event | tuple[float, Event]) -> CaseState:
    """Return a case to which this happened, at the start or so many hours later."""
    state = CaseState()
    for entry in happened:
        hours, event = entry if isinstance(entry, tuple) else (0, entry)
        evolve(state, event.type, event.data, at(hours))
    return state


def when(state: CaseState, command: Command, hours: float = 1, **about: Any) -> list[Event]:
    return decisions.decide(state, command, Setting(now=at(hours), **about))


def refused(state: CaseState, command: Command, rule: type[Refusal], **about: Any) -> str:
    with pytest.raises(rule) as refusal:
        when(state, command, **about)
    return refusal.value.message


def working(status: str) -> CaseState:
    return case(CREATED, Event("SupportCaseStatusChanged", {"from": "open", "to": status}))


ASSIGN = asked.AssignCaseIn(command="assign", owner_id=OWNER.id)
RESOLVE = asked.ResolveCaseIn(command="resolve", resolution_summary="Mended")
CLOSE = asked.CloseCaseIn(command="close", close_reason="resolved")
FORCE = asked.CloseCaseIn(command="close", close_reason="duplicate", force_close=True)
REOPEN = asked.ReopenCaseIn(command="reopen", reason="Broken again")
NEXT = asked.SetCaseActionIn(command="set_next_action", action="Call", due_at=at(5))
ESCALATE = asked.EscalateCaseIn(command="escalate", reason="The customer is angry")
ANSWER = asked.LogResponseIn(command="log_response", channel="email")


def to_status(status: Any) -> Command:
    return asked.ChangeCaseStatusIn(command="change_status", to_status=status)


def to_severity(severity: Any) -> Command:
    return asked.ChangeCaseSeverityIn(command="change_severity", to_severity=severity)


class TestOpenCase:
    def test_begins_a_clock_for_each_answer_that_is_owed(self):
        body = CreateCaseIn(company_id=uuid4(), title="Broken")
        assert decisions.open_case(body, Setting(now=START, targets=MEDIUM)) == list(FRESH)

    def test_owes_no_updates_where_none_are_configured(self):
        body = CreateCaseIn(company_id=uuid4(), title="Broken")
        new = decisions.open_case(body, Setting(now=START, targets=Targets(8, 72, None, 75, "product")))
        assert [event.data.get("sla_type") for event in new] == [None, "first_response", "resolution"]

    def test_owes_nothing_where_nothing_is_configured(self):
        body = CreateCaseIn(company_id=uuid4(), title="Broken", category="Billing", external_id="7")
        [created] = decisions.open_case(body, Setting(now=START))
        assert created.data == {
            "title": "Broken", "severity": "medium", "source": "portal", "category": "Billing", "external_id": "7",
        }  # fmt: skip


class TestAssign:
    def test_names_the_old_and_the_new_owner_and_keeps_the_team(self):
        first = Event("SupportCaseAssigned", {"to_owner_id": "x", "to_owner_name": "Xi", "team": "north"})
        [assigned] = when(case(CREATED, first), ASSIGN, person=OWNER)
        assert assigned.type == "SupportCaseAssigned"
        assert assigned.data == {
            "from_owner_id": "x", "from_owner_name": "Xi", "to_owner_id": str(OWNER.id), "to_owner_name": "Olga Owner", "team": "north",
        }  # fmt: skip

    def test_refuses_the_owner_that_it_has(self):
        state = case(CREATED, *when(case(CREATED), ASSIGN, person=OWNER))
        assert "the owner is Olga Owner already" in refused(state, ASSIGN, decisions.SameAsBefore, person=OWNER)

    def test_a_closed_case_refuses(self):
        assert refused(case(CREATED, CLOSED), ASSIGN, decisions.CaseClosed, person=OWNER) == (
            "A closed case refuses assign: reopen it first."
        )


class TestChangeStatus:
    @pytest.mark.parametrize("before", sorted(asked.WORKING))
    @pytest.mark.parametrize("after", sorted(asked.WORKING))
    def test_moves_among_working_states_but_not_to_itself(self, before: str, after: str):
        if before == after:
            refused(working(before), to_status(after), decisions.SameAsBefore)
        else:
            [changed] = when(working(before), to_status(after))
            assert changed == Event("SupportCaseStatusChanged", {"from": before, "to": after})

    @pytest.mark.parametrize("after", ["resolved", "closed"])
    def test_does_not_resolve_or_close(self, after: str):
        assert f"{after} has a command of its own" in refused(
            case(CREATED), to_status(after), decisions.NotAmongWorking
        )

    def test_does_not_reopen(self):
        refused(case(CREATED, RESOLVED), to_status("open"), decisions.CaseNotWorking)
        refused(case(CREATED, CLOSED), to_status("open"), decisions.CaseClosed)


class TestChangeSeverity:
    def test_sets_every_running_clock_anew_from_when_it_began(self):
        new = when(case(*FRESH), to_severity("critical"), hours=0.5, targets=CRITICAL)
        told = {
            "from": "medium", "to": "critical", "new_first_response_due_at": at(1).isoformat(),
            "new_resolution_due_at": at(4).isoformat(),
        }  # fmt: skip
        assert new[0] == Event("SupportCaseSeverityChanged", told)
        assert new[1:] == [
            clock(kind, hours, source="product", severity="critical")
            for kind, hours in (("first_response", 1), ("resolution", 4), ("update", 1))
        ]

    def test_leaves_alone_what_is_met_or_late(self):
        late = Event("SlaBreached", {"sla_type": "resolution", "breached_at": at(72).isoformat()})
        state = case(*FRESH, (1, ANSWERED), (73, late))
        new = when(state, to_severity("critical"), hours=74, targets=CRITICAL)
        assert [event.type for event in new] == ["SupportCaseSeverityChanged"]

    def test_refuses_the_severity_that_it_has_and_a_closed_case(self):
        refused(case(CREATED), to_severity("medium"), decisions.SameAsBefore)
        refused(case(CREATED, CLOSED), to_severity("high"), decisions.CaseClosed)


class TestSetNextAction:
    def test_tells_what_it_was_before(self):
        state = case(CREATED, *when(case(CREATED), NEXT))
        after = asked.SetCaseActionIn(command="set_next_action", action="Visit", due_at=at(9), assigned_to_id=OWNER.id)
        [changed] = when(state, after, person=OWNER)
        assert changed.data == {
            "from_action": "Call", "from_due_at": at(5).isoformat(), "to_action": "Visit", "to_due_at": at(9).isoformat(),
            "assigned_to_id": str(OWNER.id), "assigned_to_name": "Olga Owner",
        }  # fmt: skip
        refused(state, NEXT, decisions.SameAsBefore)

    def test_a_closed_case_refuses(self):
        refused(case(CREATED, CLOSED), NEXT, decisions.CaseClosed)


class TestLogResponse:
    def test_the_first_one_is_timed_from_the_opening_and_owes_the_next_update(self):
        sent, update = when(case(*FRESH), ANSWER, hours=2.5)
        assert sent.data == {"channel": "email", "is_first_response": True, "response_time_minutes": 150.0}
        assert update == clock("update", 8, since=2.5)

    def test_a_later_one_is_timed_from_the_customers_last_word(self):
        message = Event("CustomerMessageLogged", {"channel": "email", "received_at": at(3).isoformat()})
        [sent] = when(case(CREATED, (1, ANSWERED), (3, message)), ANSWER, hours=3.25)
        assert sent.data == {"channel": "email", "is_first_response": False, "response_time_minutes": 15.0}

    def test_one_that_answers_nothing_has_no_time(self):
        [sent] = when(case(CREATED, (1, ANSWERED)), ANSWER, hours=2)
        assert sent.data == {"channel": "email", "is_first_response": False}

    def test_updates_by_hand_stay_as_they_were_agreed(self):
        state = case(CREATED, clock("update", 3, source="manual"))
        assert when(state, ANSWER, hours=1)[1] == clock("update", 3, since=1, source="manual")


class TestLogMessage:
    def test_is_received_now_unless_it_says_when(self):
        body = asked.LogMessageIn(command="log_message", channel="phone")
        assert when(case(CREATED), body, hours=2)[0].data == {"channel": "phone", "received_at": at(2).isoformat()}

    def test_refuses_the_future(self):
        body = asked.LogMessageIn(command="log_message", channel="phone", received_at=at(3))
        refused(case(CREATED), body, decisions.MessageFromFuture)


class TestConfigureSla:
    def body(self, kind: Any, hours: float) -> Command:
        return asked.ConfigureSlaIn(command="configure_sla", sla_type=kind, target_hours=hours)

    def test_counts_from_when_the_clock_began(self):
        [set_anew] = when(case(*FRESH), self.body("resolution", 10), hours=5)
        assert set_anew == clock("resolution", 10, source="manual")

    def test_refuses_what_is_met_what_is_the_same_and_cases_nobody_works_on(self):
        refused(case(*FRESH, ANSWERED), self.body("first_response", 2), decisions.AnsweredAlready)
        refused(case(*FRESH), self.body("first_response", 8), decisions.SameAsBefore)
        refused(case(*FRESH, CLOSED), self.body("resolution", 2), decisions.CaseClosed)
        refused(case(*FRESH, RESOLVED), self.body("resolution", 2), decisions.CaseNotWorking)


class TestEscalate:
    def test_goes_one_level_up_and_is_its_own_status(self):
        [first] = when(case(CREATED), ESCALATE)
        assert first.data == {"escalation_level": 1, "reason": "The customer is angry"}
        state = case(CREATED, first)
        assert state.status == "escalated"
        assert when(state, ESCALATE)[0].data["escalation_level"] == 2

    def test_does_not_go_down(self):
        state = case(CREATED, Event("SupportCaseEscalated", {"escalation_level": 3, "reason": "x"}))
        down = asked.EscalateCaseIn(command="escalate", reason="x", escalation_level=3)
        assert "at level 3 already" in refused(state, down, decisions.LevelNotHigher)

    def test_refuses_a_case_nobody_works_on(self):
        refused(case(CREATED, RESOLVED), ESCALATE, decisions.CaseNotWorking)
        refused(case(CREATED, CLOSED), ESCALATE, decisions.CaseClosed)


class TestResolve:
    @pytest.mark.parametrize(("hours", "met"), [(72, True), (72.01, False)])
    def test_is_met_up_to_the_very_moment(self, hours: float, met: bool):
        [resolved] = when(case(*FRESH), RESOLVE, hours=hours)
        assert resolved.data == {
            "resolution_summary": "Mended", "resolution_time_hours": hours, "sla_hours": 72, "sla_met": met,
        }  # fmt: skip

    def test_without_a_promise_it_is_met(self):
        [resolved] = when(case(CREATED), RESOLVE, hours=1000)
        assert resolved.data == {"resolution_summary": "Mended", "resolution_time_hours": 1000.0, "sla_met": True}

    def test_once(self):
        refused(case(CREATED, RESOLVED), RESOLVE, decisions.CaseResolved)
        refused(case(CREATED, CLOSED), RESOLVE, decisions.CaseClosed)

    def test_needs_words(self):
        with pytest.raises(ValueError, match="resolution_summary"):
            asked.ResolveCaseIn(command="resolve", resolution_summary="   ")


class TestClose:
    def test_a_resolved_case_by_anybody(self):
        assert when(case(CREATED, RESOLVED), CLOSE) == [CLOSED]

    def test_an_unresolved_one_only_by_force(self):
        assert "this one is open" in refused(case(CREATED), CLOSE, decisions.NotResolved)

    def test_force_is_for_its_owner_and_managers(self):
        owned = case(CREATED, Event("SupportCaseAssigned", {"to_owner_id": str(OWNER.id), "to_owner_name": "Olga"}))
        forced = Event("SupportCaseClosed", {"close_reason": "duplicate", "forced_close": True})
        assert when(owned, FORCE, user_id=OWNER.id) == [forced]
        assert when(owned, FORCE, user_id=uuid4(), is_manager=True) == [forced]
        refused(owned, FORCE, decisions.ForceNotAllowed, user_id=uuid4())
        refused(case(CREATED), FORCE, decisions.ForceNotAllowed, user_id=None)

    def test_once(self):
        refused(case(CREATED, CLOSED), FORCE, decisions.CaseClosedAlready, is_manager=True)


class TestReopen:
    def test_owes_resolution_and_updates_anew(self):
        state = case(*FRESH, (1, ANSWERED), (2, RESOLVED), (3, CLOSED))
        assert when(state, REOPEN, hours=100, targets=MEDIUM) == [
            Event(
                "SupportCaseReopened",
                {"reason": "Broken again", "previous_close_reason": "resolved", "reopened_from_status": "closed"},
            ),
            clock("resolution", 72, since=100),
            clock("update", 8, since=100),
        ]

    def test_a_customer_never_answered_is_owed_that_too(self):
        state = case(*FRESH, (2, RESOLVED))
        owed = [event.data.get("sla_type") for event in when(state, REOPEN, hours=100, targets=MEDIUM)]
        assert owed == [None, "first_response", "resolution", "update"]

    def test_refuses_a_case_in_work(self):
        assert "this one is open" in refused(case(CREATED), REOPEN, decisions.NothingToReopen)


class TestNotesTagsAndRatings:
    def test_a_note_names_each_mentioned_person_once(self):
        note_id = uuid4()
        body = asked.AddCaseNoteIn(
            command="add_note", content="Look", visibility="private", mentioned_user_ids=[OWNER.id, OWNER.id]
        )
        [noted] = when(case(CREATED, CLOSED), body, new_id=note_id)
        assert noted.data == {
            "note_id": str(note_id), "content": "Look", "visibility": "private", "mentioned_user_ids": [str(OWNER.id)],
        }  # fmt: skip

    def test_tags_are_a_set_and_the_event_holds_them_all(self):
        add = asked.TagCaseIn(command="add_tag", tag="vip")
        remove = asked.UntagCaseIn(command="remove_tag", tag="vip")
        [added] = when(case(CREATED, Event("TagAdded", {"tag": "eu", "tags": ["eu"]})), add)
        assert added.data == {"tag": "vip", "tags": ["eu", "vip"]}
        tagged = case(CREATED, added)
        refused(tagged, add, decisions.SameAsBefore)
        assert when(tagged, remove)[0].data == {"tag": "vip", "tags": ["eu"]}
        refused(case(CREATED), remove, decisions.TagAbsent)

    def test_a_case_has_so_many_tags_and_no_more(self):
        full = case(CREATED, Event("TagAdded", {"tag": "t", "tags": [f"t{n}" for n in range(decisions.MOST_TAGS)]}))
        refused(full, asked.TagCaseIn(command="add_tag", tag="more"), decisions.TooManyTags)

    def test_a_rating_may_be_given_at_any_time(self):
        body = asked.SubmitCsatIn(command="submit_csat", score=2, comment="Slow")
        assert when(case(CREATED, CLOSED), body) == [Event("CsatSubmitted", {"score": 2, "comment": "Slow"})]

    def test_a_category_is_changed_only_to_another(self):
        body = asked.ChangeCaseCategoryIn(command="change_category", category="Billing")
        [changed] = when(case(CREATED), body)
        assert changed.data == {"to_category": "Billing", "to_subcategory": None}
        refused(case(CREATED, changed), body, decisions.SameAsBefore)


class TestDueNow:
    def test_nothing_before_the_warning(self):
        assert decisions.due_now(case(*FRESH), at(5.99)) == []

    def test_warns_once_and_then_breaches_at_the_due_moment(self):
        state = case(*FRESH)
        warned = decisions.due_now(state, at(6))
        told = {"target_hours": 8, "due_at": at(8).isoformat(), "warning_at": at(6).isoformat()}
        assert warned == [Event("SlaWarned", {"sla_type": kind} | told) for kind in ("first_response", "update")]
        state = case(*FRESH, *warned)
        assert decisions.due_now(state, at(8)) == []
        late = decisions.due_now(state, at(9.5))
        told = {
            "target_hours": 8, "due_at": at(8).isoformat(), "actual_hours": 9.5, "hours_over": 1.5,
            "breached_at": at(8).isoformat(),
        }  # fmt: skip
        assert late == [Event("SlaBreached", {"sla_type": kind} | told) for kind in ("first_response", "update")]
        assert decisions.due_now(case(*FRESH, *warned, *late), at(10)) == []

    def test_late_without_a_warning_is_only_late(self):
        assert {event.type for event in decisions.due_now(case(*FRESH), at(1000))} == {"SlaBreached"}

    @pytest.mark.parametrize("ended", [RESOLVED, CLOSED])
    def test_nothing_is_owed_once_nobody_works_on_it(self, ended: Event):
        assert decisions.due_now(case(*FRESH, ended), at(1000)) == []


class TestReplay:
    def test_events_of_a_type_that_nobody_knows_count_as_versions(self):
        told = [CREATED, Event("SupportCaseSangASong", {"song": "x"}), RESOLVED]
        recorded = [
            Recorded(uuid4(), uuid4(), n, event.type, 1, event.data, START, "user", None, {})
            for n, event in enumerate(told, 1)
        ]
        state = replay(recorded)
        assert (state.version, state.status) == (3, "resolved")

    def test_a_breach_of_a_clock_that_does_not_run_is_no_harm(self):
        state = case(CREATED, Event("SlaBreached", {"sla_type": "update"}), Event("SlaWarned", {"sla_type": "update"}))
        assert (state.version, state.clocks) == (3, {})
