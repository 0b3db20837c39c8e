"""Communications: lists, queue, conversations, linking, answering, promises, triage."""

from typing import Any
from uuid import uuid4

import pytest

from memory.db import Tx
from tools import knowledge, promises, triage
from tools.communications import answering, conversations, linking, listing, notes, queue
from tools.communications.answering import AnsweredInFuture, RespondIn
from tools.communications.conversations import ConversationFilter
from tools.communications.linking import (
    AssignIn,
    CompanyNameNeeded,
    ContactOfOtherCompany,
    CreateLeadIn,
    ExcludeIn,
    LinkedAlready,
    NotAnOutsideAddress,
)
from tools.communications.listing import CommunicationFilter, SourceFilter, SourceNotFound, StatsFilter
from tools.communications.rows import CommunicationNotFound
from tools.promises import PromiseFilter
from tools.triage import DecideTriageIn


async def subjects(tx: Tx, caller: Any, **filter: Any) -> list[str | None]:
    page = (await listing.list_communications(tx, caller, CommunicationFilter(**filter))).parse()
    return [row.subject for row in page.communications]


class TestListCommunications:
    async def test_shows_a_rep_their_own_and_a_manager_everything(self, tx: Tx, given: Any) -> None:
        me, other, manager = await given.user(), await given.user(), await given.user("manager")
        await given.communication(user=me, subject="mine", occurred_at=given.ago(days=2))
        await given.communication(user=other, subject="theirs", occurred_at=given.ago(days=1))
        assert await subjects(tx, me) == ["mine"]
        assert await subjects(tx, manager) == ["theirs", "mine"]

    async def test_joins_what_it_is_linked_to_and_the_current_analysis(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        bo = await given.contact("Bo", email="bo@acme.example")
        mail = await given.communication(user=me, contact=bo, full_content="All of it")
        await given.analysis(mail, summary="Short", sentiment="positive")
        page = (await listing.list_communications(tx, me, CommunicationFilter(id=mail.id))).parse()
        row = page.communications[0]
        assert row.company is not None
        assert row.contact is not None
        assert row.current_analysis is not None
        assert (row.contact.name, row.current_analysis.summary, row.full_content, page.total) == (
            "Bo",
            "Short",
            "All of it",
            1,
        )
        listed = (await listing.list_communications(tx, me, CommunicationFilter())).parse()
        assert listed.communications[0].full_content is None

    async def test_filters_combine(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        await given.communication(user=me, company=acme, subject="in")
        await given.communication(user=me, company=acme, subject="out", direction="outbound")
        await given.communication(user=me, company=acme, subject="call", channel="call")
        await given.communication(user=me, subject="elsewhere")
        assert await subjects(tx, me, company_id=acme.id, direction="inbound", channel="email") == ["in"]
        assert set(await subjects(tx, me, awaiting_response=False)) == {"out"}

    async def test_finds_unlinked_ones_by_address_domain_or_mention(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        await given.communication(user=me, subject="address", sender_email="bo@new.example")
        await given.communication(user=me, subject="domain", sender_email="li@new.example")
        await given.communication(user=me, subject="mention", full_content="write to Bo@new.example please")
        await given.communication(
            user=me, subject="linked", company=await given.company(), sender_email="bo@new.example"
        )
        assert set(await subjects(tx, me, sender_email="BO@new.example")) == {"address", "domain", "mention"}

    async def test_a_free_mail_domain_does_not_group(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        for name in ("bo", "li"):
            await given.communication(user=me, subject=name, sender_email=f"{name}@gmail.com")
        assert await subjects(tx, me, sender_email="bo@gmail.com") == ["bo"]


class TestSource:
    async def test_gives_the_original_only_to_whom_it_belongs(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me)
        await given.row(
            "email_messages", communication_id=mail.id, user_id=me.user_id, message_id="x", body_text="as it came"
        )
        wanted = SourceFilter(table="email_messages", id=mail.id)
        assert (await listing.get_source(tx, me, wanted)).source["body_text"] == "as it came"
        with pytest.raises(SourceNotFound):
            await listing.get_source(tx, await given.user(), wanted)


class TestStats:
    async def test_counts_one_company(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        mail = await given.communication(
            user=me, company=acme, occurred_at=given.ago(hours=5), responded_at=given.ago(hours=2)
        )
        signal = {"signal": "budget_confirmed", "confidence": 0.9, "quote": "q"}
        await given.analysis(mail, products_discussed=["Scan"], extracted_signals=[signal], sentiment="positive")
        await given.communication(user=me, company=acme, direction="outbound")
        stats = (await listing.get_stats(tx, me, StatsFilter(company_id=acme.id))).stats
        assert (stats.inbound, stats.outbound, stats.avg_response_time, stats.products_discussed) == (
            1,
            1,
            3.0,
            ["Scan"],
        )
        assert [(s.signal, s.type) for s in stats.recent_signals] == [("budget_confirmed", "positive")]

    async def test_of_a_silent_company_are_zero(self, tx: Tx, given: Any) -> None:
        stats = (
            await listing.get_stats(tx, await given.user(), StatsFilter(company_id=(await given.company()).id))
        ).stats
        assert (stats.total_communications, stats.avg_response_time, stats.recent_signals) == (0, None, [])


class TestConversations:
    async def test_groups_by_company_and_by_unknown_sender(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company("Acme")
        await given.communication(user=me, company=acme, subject="old", occurred_at=given.ago(days=3))
        await given.communication(
            user=me, company=acme, subject="new", occurred_at=given.ago(days=1), direction="outbound"
        )
        await given.communication(user=me, subject="who", sender_email="x@new.example", occurred_at=given.ago(days=2))
        await given.communication(user=me, subject="noise", noise_type="marketing")
        shown = (await conversations.list_conversations(tx, me, ConversationFilter())).parse().conversations
        assert [
            (c.company_name, c.last_communication.subject, c.communication_count, c.is_unlinked) for c in shown
        ] == [
            ("Acme", "new", 2, False),
            (None, "who", 1, True),
        ]
        assert (await conversations.get_conversation_stats(tx, me)).model_dump() == {"linked": 1, "unlinked": 1}
        linked = (await conversations.list_conversations(tx, me, ConversationFilter(link_filter="linked"))).parse()
        assert len(linked.conversations) == 1


class TestResponseQueue:
    async def test_groups_by_when_the_answer_is_due(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        for subject, due in (
            ("late", given.ago(hours=3)),
            ("soon", given.ahead(hours=1)),
            ("later", given.ahead(hours=9)),
        ):
            await given.communication(user=me, subject=subject, response_due_by=due)
        await given.communication(user=me, excluded_at=tx.now)
        await given.communication(user=await given.user())
        found = await queue.list_response_queue(tx, me)
        groups = found.response_queue
        assert [(m.subject, m.hours_overdue) for m in groups.overdue] == [("late", 3.0)]
        assert [(m.subject, m.hours_remaining) for m in groups.due_soon] == [("soon", 1.0)]
        assert ([m.subject for m in groups.upcoming], found.total) == (["later"], 3)


class TestAssign:
    async def test_links_the_thread_flags_once_and_has_it_read_again(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        mail = await given.communication(user=me, thread_id="t", analysis_status="complete")
        other = await given.communication(user=me, thread_id="t", direction="outbound")
        done = await linking.assign_company(tx, me, mail.id, AssignIn(company_id=acme.id))
        assert (done.company.name, done.followUpCreated) == (acme.name, True)
        assert (await linking.assign_company(tx, me, mail.id, AssignIn(company_id=acme.id))).followUpCreated is False
        after = await given.fetch("communications", mail.id)
        assert (after.company_id, after.match_status, after.analysis_status) == (acme.id, "manual", "pending")
        assert (await given.fetch("communications", other.id)).match_method == "thread_inherited"
        assert await tx.many(str, "SELECT job FROM outbox WHERE status = 'waiting'") == [
            "communications.analyze_pending"
        ]

    async def test_finds_the_person_by_address(self, tx: Tx, given: Any) -> None:
        me, bo = await given.user(), await given.contact(email="bo@acme.example")
        mail = await given.communication(user=me, sender_email="bo@acme.example")
        await linking.assign_company(tx, me, mail.id, AssignIn(company_id=bo.company_id))
        assert (await given.fetch("communications", mail.id)).contact_id == bo.id

    async def test_refuses_somebody_elses_contact_and_mail(self, tx: Tx, given: Any) -> None:
        me, acme, stranger = await given.user(), await given.company(), await given.contact()
        mail = await given.communication(user=me)
        with pytest.raises(ContactOfOtherCompany):
            await linking.assign_company(tx, me, mail.id, AssignIn(company_id=acme.id, contact_id=stranger.id))
        with pytest.raises(CommunicationNotFound):
            await linking.assign_company(tx, await given.user(), mail.id, AssignIn(company_id=acme.id))


class TestCreateLead:
    async def test_creates_company_and_contact_and_takes_the_senders_other_mail_along(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me, sender_email="bo.li@newco.example", sender_name="Bo Li")
        other = await given.communication(user=me, sender_email="bo.li@newco.example")
        lead = await linking.create_lead(tx, me, mail.id, CreateLeadIn())
        assert (lead.action, lead.company.name, lead.contact.name, lead.additional_linked) == (
            "created",
            "Newco",
            "Bo Li",
            1,
        )
        assert (await given.fetch("companies", lead.company.id)).status == "cold_lead"
        assert (await given.fetch("communications", other.id)).company_id == lead.company.id

    async def test_links_to_a_company_with_exactly_this_domain(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        acme = await given.company("Acme", domain="acme.example")
        await given.company("Decoy", domain="notacme.example")
        mail = await given.communication(user=me, sender_email="bo@acme.example")
        lead = await linking.create_lead(tx, me, mail.id, CreateLeadIn())
        assert (lead.action, lead.company.id) == ("linked_existing", acme.id)

    async def test_links_to_a_known_contact(self, tx: Tx, given: Any) -> None:
        me, bo = await given.user(), await given.contact("Bo", email="bo@acme.example")
        mail = await given.communication(user=me, sender_email="bo@acme.example")
        lead = await linking.create_lead(tx, me, mail.id, CreateLeadIn())
        assert (lead.action, lead.contact.id) == ("linked_existing_contact", bo.id)

    async def test_refuses_an_address_that_the_message_does_not_have(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me, sender_email="bo@acme.example")
        with pytest.raises(NotAnOutsideAddress) as refused:
            await linking.create_lead(tx, me, mail.id, CreateLeadIn(email="evil@elsewhere.example"))
        assert refused.value.body["available_emails"] == ["bo@acme.example"]

    async def test_needs_a_name_for_a_public_mail_service(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me, sender_email="bo@gmail.com")
        with pytest.raises(CompanyNameNeeded):
            await linking.create_lead(tx, me, mail.id, CreateLeadIn())
        lead = await linking.create_lead(tx, me, mail.id, CreateLeadIn(companyName="Bo's Bikes"))
        assert (await given.fetch("companies", lead.company.id)).domain is None

    async def test_refuses_a_linked_one(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me, company=await given.company())
        with pytest.raises(LinkedAlready):
            await linking.create_lead(tx, me, mail.id, CreateLeadIn())


class TestExclude:
    async def test_leaves_lists_and_memory_and_comes_back(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me, subject="private")
        await given.row("knowledge_models", model="m", dimensions=3, state="answering")
        await knowledge.index_source(tx, "communication", mail.id, "private", owner_user_id=me.user_id)
        assert await tx.one(int, "SELECT count(*) FROM knowledge_sources") == 1
        await linking.exclude(tx, me, mail.id, ExcludeIn(reason="personal"))
        assert await subjects(tx, me) == []
        assert (await queue.list_response_queue(tx, me)).total == 0
        assert await tx.one(int, "SELECT count(*) FROM knowledge_sources") == 0
        await linking.restore(tx, me, mail.id)
        assert await subjects(tx, me) == ["private"]
        assert (await queue.list_response_queue(tx, me)).total == 1


class TestMarkAnswered:
    async def test_takes_the_thread_out_of_the_queue_and_resolves_the_flag(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        earlier = await given.communication(user=me, company=acme, thread_id="t", occurred_at=given.ago(hours=5))
        mail = await given.communication(user=me, company=acme, thread_id="t")
        await linking.assign_company(tx, me, mail.id, AssignIn(company_id=acme.id))
        await answering.mark_answered(tx, me, mail.id, RespondIn(notes="By phone"))
        assert (await queue.list_response_queue(tx, me)).total == 0
        assert (await given.fetch("communications", earlier.id)).responded_at == tx.now
        assert await tx.many(str, "SELECT status FROM attention_flags") == ["resolved"]
        assert [
            n.content for n in (await notes.list_notes(tx, me, mail.id)).notes if n.action_type == "marked_done"
        ] == ["By phone"]

    async def test_refuses_the_future(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        mail = await given.communication(user=me)
        with pytest.raises(AnsweredInFuture):
            await answering.mark_answered(tx, me, mail.id, RespondIn(responded_at=given.ahead(hours=1)))


class TestPromises:
    async def test_groups_by_the_readers_own_days(self, tx: Tx, given: Any) -> None:
        me = await given.user(timezone="Pacific/Auckland")
        for text, due, status in (
            ("late", given.ago(days=3), "overdue"), ("some day", None, "pending"), ("far", given.ahead(days=30), "pending"),
            ("kept", given.ago(days=9), "completed"),
        ):  # fmt: skip
            await given.promise(owner=me, promise_text=text, due_by=due, status=status)
        await given.promise(owner=await given.user(), promise_text="theirs")
        await given.promise(owner=me, promise_text="hidden", is_hidden=True)
        found = await promises.list_promises(tx, me, PromiseFilter())
        groups = {name: [p.promise_text for p in group] for name, group in dict(found.promises).items() if group}
        assert groups == {"overdue": ["late"], "no_due_date": ["some day"], "upcoming": ["far"], "completed": ["kept"]}
        assert (found.promises.overdue[0].days_overdue, found.total) == (3, 4)


class TestTriage:
    async def test_shows_what_belongs_nowhere_with_what_matching_suggests(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company("Acme")
        mail = await given.communication(user=me, subject="who")
        await given.communication(user=me, company=acme)
        await given.communication(user=me, noise_type="calendar")
        await given.row(
            "entity_match_reviews",
            subject_type="communication",
            subject_id=mail.id,
            proposed_company_id=acme.id,
            company_confidence=0.6,
        )
        found = await triage.list_triage(tx, me)
        assert (found.count, found.items[0].subject) == (1, "who")
        assert found.items[0].suggestion is not None
        assert (found.items[0].suggestion["company_name"], found.items[0].suggestion["confidence"]) == ("Acme", 0.6)

    async def test_keeps_the_decision(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        first, second = await given.communication(user=me), await given.communication(user=me)
        await triage.decide_triage(tx, me, DecideTriageIn(communicationId=first.id, companyId=acme.id, action="assign"))
        await triage.decide_triage(tx, me, DecideTriageIn(communicationId=second.id, action="ignore"))
        assert await tx.many(str, "SELECT decision FROM triage_decisions ORDER BY decision") == ["ASSIGN", "REJECT"]
        assert (await triage.list_triage(tx, me)).count == 0

    async def test_refuses_an_unknown_message(self, tx: Tx, given: Any) -> None:
        with pytest.raises(CommunicationNotFound):
            await triage.decide_triage(tx, await given.user(), DecideTriageIn(communicationId=uuid4(), action="ignore"))
