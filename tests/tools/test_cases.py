"""Support cases: who may open them about what, what is recorded when, who reads what."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from memory import events
from memory.callers import SYSTEM, Caller
from memory.db import Tx
from memory.events import Event, Stream, StreamMoved
from tests.given import Given
from tools import companies
from tools.cases import clocks, decisions, figures, handling, listing
from tools.cases import commands as asked
from tools.cases.commands import Command, CreateCaseIn
from tools.cases.listing import CaseFilter
from tools.cases.rows import WholeCase

RESOLVE = asked.ResolveCaseIn(command="resolve", resolution_summary="Mended")
CLOSE = asked.CloseCaseIn(command="close", close_reason="no_response", force_close=True)
REOPEN = asked.ReopenCaseIn(command="reopen", reason="Broken again")
ANSWER = asked.LogResponseIn(command="log_response", channel="email")


def severity(to: Any) -> Command:
    return asked.ChangeCaseSeverityIn(command="change_severity", to_severity=to)


async def read(tx: Tx, case: Any) -> WholeCase:
    return (await listing.get_case(tx, SYSTEM, case.id)).parse().data


async def after(tx: Tx, case: Any, *commands: Command, by: Caller = SYSTEM, **later: float) -> WholeCase:
    """Carry commands out, each so much later than the one before, and return the case."""
    for command in commands:
        tx.now += timedelta(**later)
        await handling.execute(tx, by, case.id, command)
    return await read(tx, case)


async def jobs(tx: Tx) -> list[str]:
    return await tx.many(str, "SELECT job || ' ' || key FROM outbox ORDER BY id")


async def facts(tx: Tx, case: Any) -> list[tuple[Any, ...]]:
    return await tx.tuples(
        """
        SELECT sla_type, severity, target_hours::float, is_breached, met_at IS NOT NULL, stopped_at IS NULL, actual_hours::float,
               hours_over_sla::float
          FROM support_case_sla_facts WHERE support_case_id = %(case_id)s ORDER BY set_sequence
        """,
        case_id=case.id,
    )


class TestOpenCase:
    async def test_is_open_and_owes_what_is_configured_for_everybody(self, tx: Tx, given: Given):
        rep, company = await given.user(), await given.company("Acme", domain="acme.example")
        held = await given.held(await given.product(), company=company)
        contact = await given.contact("Ann", company=company, email="ann@acme.example")
        body = CreateCaseIn(
            company_id=company.id,
            company_product_id=held.id,
            title=" Broken ",
            severity="urgent",
            contact_id=contact.id,
        )
        opened = await handling.open_case(tx, rep, body)
        case = (await listing.get_case(tx, rep, opened.caseId)).parse().data
        assert (case.title, case.status, case.severity, case.product_id) == (
            "Broken",
            "open",
            "urgent",
            held.product_id,
        )
        assert (case.contact_name, case.contact_email) == ("Ann", "ann@acme.example")
        assert (case.first_response_due_at, case.resolution_due_at, case.update_due_at) == (
            given.ahead(hours=2), given.ahead(hours=8), given.ahead(hours=2),
        )  # fmt: skip
        assert (case.company.name, case.company.domain, case.owner, case.version) == ("Acme", "acme.example", None, 4)
        assert opened.version == 4
        assert await jobs(tx) == [f"health.evaluate {held.id}"]

    async def test_a_product_has_rules_of_its_own(self, tx: Tx, given: Given):
        product = await given.product()
        await given.row(
            "support_sla_config", product_id=product.id, severity="medium", first_response_hours=0.5, resolution_hours=6,
            warning_threshold_percent=50,
        )  # fmt: skip
        case = await given.case(held=await given.held(product))
        assert await facts(tx, case) == [
            ("first_response", "medium", 0.5, False, False, True, None, None),
            ("resolution", "medium", 6.0, False, False, True, None, None),
        ]
        assert (await read(tx, await given.case())).resolution_due_at == given.ahead(hours=72)

    async def test_owes_nothing_where_the_rule_is_switched_off(self, tx: Tx, given: Given):
        await tx.run("UPDATE support_sla_config SET is_active = false")
        case = await given.case()
        assert await facts(tx, case) == []
        assert (await read(tx, case)).resolution_due_at is None

    async def test_refuses_what_belongs_to_another_company(self, tx: Tx, given: Given):
        company, theirs = await given.company(), await given.held(await given.product())
        contact = await given.contact()
        with pytest.raises(handling.ProductOfOtherCompany):
            await handling.open_case(
                tx, SYSTEM, CreateCaseIn(company_id=company.id, company_product_id=theirs.id, title="x")
            )
        with pytest.raises(handling.ContactOfOtherCompany):
            await handling.open_case(tx, SYSTEM, CreateCaseIn(company_id=company.id, contact_id=contact.id, title="x"))

    async def test_refuses_what_does_not_exist(self, tx: Tx, given: Given):
        company = await given.company()
        gone = await given.company(deleted_at=tx.now)
        for body, refusal in (
            ({"company_id": uuid4()}, handling.CompanyNotFound),
            ({"company_id": gone.id}, handling.CompanyNotFound),
            ({"company_id": company.id, "company_product_id": uuid4()}, handling.ProductNotFound),
            ({"company_id": company.id, "contact_id": uuid4()}, handling.ContactNotFound),
        ):
            with pytest.raises(refusal):
                await handling.open_case(tx, SYSTEM, CreateCaseIn.model_validate({"title": "x"} | body))

    async def test_a_source_tells_of_a_case_once(self, tx: Tx, given: Given):
        first = await given.case(source="email", external_id="42")
        with pytest.raises(handling.CaseExists) as refusal:
            await given.case(source="email", external_id="42")
        assert refusal.value.body["existing"] == {"id": str(first.id)}
        await given.case(source="phone", external_id="42")

    async def test_is_nothing_for_an_agent(self, tx: Tx, given: Given):
        case, agent = await given.case(), (await given.user()).for_run(uuid4())
        with pytest.raises(handling.PeopleOnly):
            await handling.open_case(tx, agent, CreateCaseIn(company_id=case.company_id, title="x"))
        with pytest.raises(handling.PeopleOnly):
            await handling.execute(tx, agent, case.id, RESOLVE)


class TestExecute:
    async def test_refuses_an_unknown_case(self, tx: Tx, given: Given):
        with pytest.raises(handling.CaseNotFound):
            await handling.execute(tx, await given.user(), uuid4(), RESOLVE)

    async def test_refuses_a_version_that_the_case_is_not_at(self, tx: Tx, given: Given):
        case = await given.case()
        stale = RESOLVE.model_copy(update={"expectedVersion": case.version - 1})
        with pytest.raises(StreamMoved) as refusal:
            await handling.execute(tx, SYSTEM, case.id, stale)
        assert refusal.value.body["currentVersion"] == case.version
        fresh = RESOLVE.model_copy(update={"expectedVersion": case.version})
        assert (await handling.execute(tx, SYSTEM, case.id, fresh)).version == case.version + 1

    async def test_assigns_to_somebody_who_is_there(self, tx: Tx, given: Given):
        case, rep, away = await given.case(), await given.user(name="Rita"), await given.user(is_active=False)
        found = await after(
            tx, case, asked.AssignCaseIn(command="assign", owner_id=rep.user_id or uuid4(), team="north")
        )
        assert (found.owner_name, found.assigned_team, found.owner and found.owner.email) == (
            "Rita",
            "north",
            rep.email,
        )
        for nobody, refusal in ((uuid4(), handling.UserNotFound), (away.user_id, handling.UserAway)):
            with pytest.raises(refusal):
                await after(tx, case, asked.AssignCaseIn(command="assign", owner_id=nobody or uuid4()))

    async def test_counts_what_is_said_and_remembers_the_last_word(self, tx: Tx, given: Given):
        case = await given.case()
        late = asked.LogMessageIn(command="log_message", channel="chat", received_at=given.ago(days=1))
        now = asked.LogMessageIn(command="log_message", channel="chat")
        found = await after(tx, case, now, late, ANSWER, ANSWER, minutes=30)
        assert (found.response_count, found.customer_response_count, found.agent_response_count) == (4, 2, 2)
        assert found.last_customer_contact_at == found.opened_at + timedelta(minutes=30)
        assert found.first_response_at == found.opened_at + timedelta(minutes=90)
        assert found.last_agent_response_at == found.opened_at + timedelta(minutes=120)

    async def test_health_is_judged_after_what_changes_it_only(self, tx: Tx, given: Given):
        held = await given.held(await given.product())
        case = await given.case(held=held)
        await tx.run("DELETE FROM outbox")
        await after(tx, case, asked.TagCaseIn(command="add_tag", tag="vip"), ANSWER)
        assert await jobs(tx) == []
        await after(tx, case, severity("critical"), RESOLVE)
        assert await jobs(tx) == [f"health.evaluate {held.id}"]

    async def test_a_mentioned_stranger_is_refused(self, tx: Tx, given: Given):
        body = asked.AddCaseNoteIn(command="add_note", content="Look", mentioned_user_ids=[uuid4()])
        with pytest.raises(handling.UserNotFound):
            await after(tx, await given.case(), body)

    async def test_force_is_for_the_owner_and_managers(self, tx: Tx, given: Given):
        case, rep, manager = await given.case(), await given.user(), await given.user("manager")
        with pytest.raises(decisions.ForceNotAllowed):
            await after(tx, case, CLOSE, by=rep)
        found = await after(tx, case, CLOSE, by=manager)
        assert (found.status, found.close_reason, found.engagement_impact) == ("closed", "no_response", "neutral")

    async def test_reopening_forgets_the_end_but_not_the_breach(self, tx: Tx, given: Given):
        case = await given.case(severity="critical")
        ended = await after(tx, case, RESOLVE, hours=5)
        assert (ended.resolved_at, ended.resolution_breached) == (tx.now, True)
        again = await after(tx, case, REOPEN, hours=1)
        assert (again.status, again.resolved_at, again.resolution_summary, again.reopen_count) == (
            "open",
            None,
            None,
            1,
        )
        assert (again.resolution_due_at, again.resolution_breached) == (tx.now + timedelta(hours=4), True)

    @pytest.mark.parametrize(
        ("score", "impact"), [(5, "positive"), (4, "positive"), (3, "neutral"), (2, "negative"), (1, "critical")]
    )
    async def test_a_rating_tells_what_the_case_did_to_the_customer(
        self, tx: Tx, given: Given, score: int, impact: str
    ):
        found = await after(tx, await given.case(), asked.SubmitCsatIn(command="submit_csat", score=score))
        assert (found.csat_score, found.engagement_impact) == (score, impact)


class TestDeleteCompany:
    async def test_a_company_with_an_open_case_stays(self, tx: Tx, given: Given):
        case = await given.case()
        with pytest.raises(companies.CompanyInUse):
            await companies.delete_company(tx, SYSTEM, case.company_id)
        await after(tx, case, RESOLVE)
        await companies.delete_company(tx, SYSTEM, case.company_id)


class TestClocks:
    async def test_an_answer_in_time_meets_two_promises_and_owes_the_next(self, tx: Tx, given: Given):
        case = await given.case(severity="high")
        await after(tx, case, ANSWER, hours=3)
        assert await facts(tx, case) == [
            ("first_response", "high", 4.0, False, True, False, 3.0, None),
            ("resolution", "high", 24.0, False, False, True, None, None),
            ("update", "high", 4.0, False, True, False, 3.0, None),
            ("update", "high", 4.0, False, False, True, None, None),
        ]

    async def test_what_was_late_is_recorded_before_it_is_settled(self, tx: Tx, given: Given):
        case, rep = await given.case(severity="high"), await given.user()
        found = await after(tx, case, ANSWER, by=rep, hours=5)
        assert (found.first_response_breached, found.update_breached, found.resolution_breached) == (True, True, False)
        assert (await facts(tx, case))[0] == ("first_response", "high", 4.0, True, True, False, 5.0, 1.0)
        told = (await listing.get_timeline(tx, rep, case.id)).data
        assert [(event.type, event.actor.type) for event in told[4:]] == [
            ("SlaBreached", "system"), ("SlaBreached", "system"), ("AgentResponseSent", "user"), ("SlaConfigured", "user"),
        ]  # fmt: skip
        assert told[4].data["breached_at"] == (told[0].occurredAt + timedelta(hours=4)).isoformat()

    async def test_a_graver_case_is_due_earlier_and_the_old_promise_ends(self, tx: Tx, given: Given):
        case = await given.case()
        found = await after(tx, case, severity("critical"), minutes=30)
        assert found.resolution_due_at == found.opened_at + timedelta(hours=4)
        assert [row[:2] + row[4:6] for row in await facts(tx, case)] == [
            *((kind, "medium", False, False) for kind in decisions.SLA_TYPES),
            *((kind, "critical", False, True) for kind in decisions.SLA_TYPES),
        ]

    async def test_the_scan_records_each_warning_and_each_breach_once(self, tx: Tx, given: Given):
        case = await given.case(severity="critical")
        assert await clocks.list_due(tx) == []
        tx.now += timedelta(minutes=45)
        assert {row.case_id for row in await clocks.list_due(tx)} == {case.id}
        assert await handling.record_due(tx, case.id) == 2
        assert await clocks.list_due(tx) == []
        assert (await read(tx, case)).is_at_risk
        tx.now += timedelta(minutes=30)
        assert await handling.record_due(tx, case.id) == 2
        assert await handling.record_due(tx, case.id) == 0
        found = await read(tx, case)
        assert (found.is_at_risk, found.first_response_breached, found.update_breached) == (False, True, True)
        breached = await tx.many(dict[str, Any], "SELECT jsonb_build_object('at', breached_at = due_at) FROM support_case_sla_facts WHERE is_breached")  # fmt: skip
        assert breached == [{"at": True}, {"at": True}]

    async def test_the_scan_leaves_ended_cases_alone(self, tx: Tx, given: Given):
        for ending in (RESOLVE, CLOSE):
            await after(tx, await given.case(), ending)
        tx.now += timedelta(days=30)
        assert await clocks.list_due(tx) == []

    async def test_the_scan_goes_on_behind_what_it_has_seen(self, tx: Tx, given: Given):
        for _ in range(40):
            await given.case(severity="critical")
        tx.now += timedelta(days=1)
        first = await clocks.list_due(tx)
        rest = await clocks.list_due(tx, first[-1])
        assert (len(first), len(rest)) == (clocks.BATCH, 20)
        assert len({row.set_event_id for row in first + rest}) == 120


class TestCounts:
    async def test_follow_every_change(self, tx: Tx, given: Given):
        company = await given.company()
        held = await given.held(await given.product(), company=company)
        about, loose = await given.case(held=held, severity="high"), await given.case(company=company)
        waits = asked.ChangeCaseStatusIn(command="change_status", to_status="waiting_on_customer")
        await after(tx, about, waits, asked.SubmitCsatIn(command="submit_csat", score=1))
        whole = await figures.get_company_figures(tx, SYSTEM, company.id)
        own = await figures.get_product_figures(tx, SYSTEM, held.id)
        assert (whole.total_open, whole.open_count, whole.waiting_count, whole.high_count, whole.medium_count) == (
            2,
            1,
            1,
            1,
            1,
        )
        assert (own.total_open, own.open_count, own.waiting_count, own.critical_impact_count) == (1, 0, 1, 1)
        assert await tx.tuples(
            "SELECT unassigned_product_count, high_and_above_count FROM company_open_case_counts"
        ) == [(1, 1)]
        await after(tx, about, RESOLVE)
        await after(tx, loose, severity("urgent"), CLOSE)
        assert (await figures.get_company_figures(tx, SYSTEM, company.id)).total_open == 0
        assert (await figures.get_product_figures(tx, SYSTEM, held.id)).total_open == 0

    async def test_tell_risk_from_breach(self, tx: Tx, given: Given):
        case = await given.case(severity="critical")
        counted: list[tuple[int, ...]] = []
        for minutes in (50, 20):
            tx.now += timedelta(minutes=minutes)
            await handling.record_due(tx, case.id)
            now = await figures.get_company_figures(tx, SYSTEM, case.company_id)
            counted.append(
                (now.at_risk_count, now.first_response_breached_count, now.update_breached_count, now.breached_count)
            )
        assert counted == [(1, 0, 0, 0), (0, 1, 1, 1)]

    async def test_average_the_last_30_days(self, tx: Tx, given: Given):
        company = await given.company()
        for hours, score in ((1, 5), (2, 2)):
            case = await given.case(company=company)
            await after(tx, case, ANSWER, RESOLVE, asked.SubmitCsatIn(command="submit_csat", score=score), hours=hours)
        now = await figures.get_company_figures(tx, SYSTEM, company.id)
        assert (now.avg_first_response_hours, now.avg_resolution_hours, now.avg_csat_score) == (1.5, 3.0, 3.5)
        tx.now += timedelta(days=31)
        now = await figures.get_company_figures(tx, SYSTEM, company.id)
        assert (now.avg_first_response_hours, now.avg_resolution_hours, now.avg_csat_score) == (None, None, None)


class TestListCases:
    async def titles(self, tx: Tx, **asked_for: Any) -> list[str]:
        page = (await listing.list_cases(tx, SYSTEM, CaseFilter.model_validate(asked_for))).parse()
        assert page.pagination.total >= len(page.data)
        return [case.title for case in page.data]

    async def test_filters_by_everything(self, tx: Tx, given: Given):
        company, rep = await given.company("Acme"), await given.user()
        held = await given.held(await given.product(), company=company)
        await after(
            tx,
            await given.case("Bill 100% wrong", held=held),
            asked.AssignCaseIn(command="assign", owner_id=rep.user_id or uuid4()),
        )
        tx.now += timedelta(minutes=1)
        grave = await given.case("bill lost", company=company, severity="critical")
        tx.now += timedelta(minutes=1)
        await after(tx, await given.case("Crash"), RESOLVE)
        for asked_for, titles in (
            ({}, ["Crash", "bill lost", "Bill 100% wrong"]),
            ({"order": "asc"}, ["Bill 100% wrong", "bill lost", "Crash"]),
            ({"company_id": company.id}, ["bill lost", "Bill 100% wrong"]),
            ({"company_product_id": held.id}, ["Bill 100% wrong"]),
            ({"product_id": held.product_id}, ["Bill 100% wrong"]),
            ({"owner_id": rep.user_id}, ["Bill 100% wrong"]),
            ({"status": "open, escalated"}, ["bill lost", "Bill 100% wrong"]),
            ({"status": "resolved"}, ["Crash"]),
            ({"severity": "critical,urgent"}, ["bill lost"]),
            ({"search": "BILL"}, ["bill lost", "Bill 100% wrong"]),
            ({"search": "0%"}, ["Bill 100% wrong"]),
            ({"search": "_"}, []),
            ({"sla_breached": True}, []),
            ({"sort": "severity"}, ["bill lost", "Crash", "Bill 100% wrong"]),
            ({"sort": "status", "order": "asc", "company_id": company.id}, ["bill lost", "Bill 100% wrong"]),
            ({"sort": "title", "order": "asc"}, ["Bill 100% wrong", "bill lost", "Crash"]),
            ({"sort": "resolved_at"}, ["Crash"]),
        ):
            found = await self.titles(tx, **asked_for)
            assert found[: len(titles)] == titles, asked_for
            if asked_for.get("sort") != "resolved_at":
                assert sorted(found) == sorted(titles), asked_for
        tx.now += timedelta(hours=2)
        await handling.record_due(tx, grave.id)
        assert await self.titles(tx, sla_breached=True) == ["bill lost"]
        assert await self.titles(tx, sla_breached=False) == ["Crash", "Bill 100% wrong"]

    async def test_pages_without_gaps(self, tx: Tx, given: Given):
        company = await given.company("Acme")
        made = [(await given.case(company=company)).id for _ in range(5)]
        seen: list[UUID] = []
        for offset, more in ((0, True), (2, True), (4, False)):
            page = (await listing.list_cases(tx, SYSTEM, CaseFilter(limit=2, offset=offset))).parse()
            assert page.pagination.model_dump() == {"total": 5, "limit": 2, "offset": offset, "hasMore": more}
            seen += [case.id for case in page.data]
        assert sorted(seen) == sorted(made)
        assert {case.company.name for case in page.data} == {"Acme"}

    @pytest.mark.parametrize("words", ["", "open,", "opened", "open;closed"])
    def test_refuses_a_status_that_there_is_not(self, words: str):
        with pytest.raises(ValueError, match="is none of open, in_progress"):
            CaseFilter(status=words)


class TestGetTimeline:
    async def test_tells_all_in_order(self, tx: Tx, given: Given):
        rep, case = await given.user(), await given.case()
        await after(tx, case, RESOLVE, by=rep)
        told = (await listing.get_timeline(tx, rep, case.id)).data
        assert [event.sequence for event in told] == [1, 2, 3, 4, 5]
        last = told[-1]
        assert (last.type, last.actor.type, last.actor.id) == ("SupportCaseResolved", "user", str(rep.user_id))
        assert last.data["resolution_summary"] == "Mended"
        assert last.occurredAt == tx.now

    async def test_a_private_note_is_its_authors_alone(self, tx: Tx, given: Given):
        author, manager, case = await given.user(), await given.user("manager"), await given.case()
        for visibility in ("private", "team"):
            note = asked.AddCaseNoteIn(command="add_note", content=visibility, visibility=visibility)
            await after(tx, case, note, by=author)
        for reader, notes in ((author, ["private", "team"]), (manager, ["team"]), (SYSTEM, ["team"])):
            told = (await listing.get_timeline(tx, reader, case.id)).data
            assert [event.data["content"] for event in told if event.type == "InternalNoteAdded"] == notes

    async def test_refuses_an_unknown_case(self, tx: Tx):
        with pytest.raises(handling.CaseNotFound):
            await listing.get_timeline(tx, SYSTEM, uuid4())
        with pytest.raises(handling.CaseNotFound):
            await listing.get_case(tx, SYSTEM, uuid4())


class TestProjectors:
    async def test_an_event_seen_before_changes_nothing(self, tx: Tx, given: Given):
        case = await given.case(severity="critical")
        await after(
            tx, case, asked.LogMessageIn(command="log_message", channel="chat"), ANSWER, RESOLVE, REOPEN, hours=2
        )
        await tx.finish()
        held = "SELECT (SELECT json_agg(m) FROM support_case_read_model m)::text || (SELECT json_agg(f ORDER BY f.set_sequence) FROM support_case_sla_facts f)::text"
        before = await tx.one(str, held)
        for portion in ("true", "e.sequence_number > 3", "e.sequence_number % 2 = 0"):
            await tx.run(f"SELECT project_support_case(array(SELECT e FROM event_store e WHERE {portion} ORDER BY e.sequence_number))")  # pyright: ignore[reportArgumentType]  # fmt: skip
        assert await tx.one(str, held) == before

    async def test_an_event_of_a_type_that_nobody_knows_is_passed_over(self, tx: Tx, given: Given):
        case = await given.case()
        await events.append(
            tx, SYSTEM, Stream("support_case"), case.id, case.version, [Event("SupportCaseSangASong", {}, version=7)]
        )
        found = await read(tx, case)
        assert (found.version, found.last_event_type, found.status) == (5, "SupportCaseSangASong", "open")
