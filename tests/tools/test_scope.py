"""What one rep may learn of another's mail: who a company is, and nothing that the other was told."""

from typing import Any

import pytest

from memory.callers import SYSTEM
from memory.db import Json, Tx
from memory.errors import NotFound, Rendered
from tools import (
    activities,
    contact_facts,
    deal_facts,
    drafts,
    health,
    promises,
    signals,
    summaries,
    summary_context,
    task_emails,
    tasks,
    triage,
)
from tools.communications import answering, conversations, linking, listing, notes, queue

QUOTE = "the board has approved our budget"


@pytest.fixture
async def office(tx: Tx, given: Any) -> Any:
    """Two reps at one company: what `theirs` was told is known of the company that `mine` has a deal with."""

    class Office:
        pass

    made: Any = Office()
    made.mine, made.theirs, made.manager = await given.user(), await given.user(), await given.user("manager")
    made.company = await given.company()
    made.contact = await given.contact(company=made.company)
    made.deal = await given.deal(company=made.company, owner=made.mine)
    made.their_deal = await given.deal(company=made.company, owner=made.theirs, estimated_value=70_000)
    made.mail = await given.communication(
        user=made.theirs, contact=made.contact, full_content=QUOTE, subject="Between us", thread_id="theirs"
    )
    await given.analysis(made.mail, summary=QUOTE)
    await given.promise(owner=made.theirs, company=made.company, communication=made.mail, promise_text=QUOTE)
    await given.row(
        "relationship_items", company_id=made.company.id, contact_id=made.contact.id, kind="buying_signal", text=QUOTE,
        detail=Json({"signal": "budget_confirmed"}), quote=QUOTE, confidence=0.9, source_type="email", source_id=made.mail.id,
        occurred_at=tx.now, text_hash="h",
    )  # fmt: skip
    await given.row(
        "activities", company_id=made.company.id, deal_id=made.deal.id, user_id=made.theirs.user_id, type="meeting_held", subject="Copy",
        body=QUOTE, external_id=f"communication:{made.mail.id}", occurred_at=given.ago(hours=1),
    )  # fmt: skip
    return made


class TestSignals:
    async def test_a_scan_tells_that_there_is_a_budget_but_not_in_whose_words(self, tx: Tx, office: Any) -> None:
        found = await signals.detect_signals(tx, office.mine, deal_id=office.deal.id, save=True)
        budget = next(signal for signal in found.signals if signal["signal_type"] == "budget_confirmed")
        assert (budget["title"], budget["description"], budget["evidence"]) == (
            "The budget is confirmed",
            None,
            {"confidence": 0.9},
        )
        assert QUOTE not in found.model_dump_json()

    async def test_the_list_quotes_it_to_the_manager_alone(self, tx: Tx, office: Any) -> None:
        await signals.detect_signals(tx, office.mine, deal_id=office.deal.id, save=True)
        filter = signals.SignalFilter(dealId=office.deal.id, category="insight")
        (shown,) = (await signals.list_signals(tx, office.mine, filter)).parse().signals
        assert (shown.type, shown.description, shown.metadata) == ("budget_confirmed", None, {"confidence": 0.9})
        (told,) = (await signals.list_signals(tx, office.manager, filter)).parse().signals
        assert (told.description, told.metadata["quote"]) == (QUOTE, QUOTE)
        assert (await signals.get_signal(tx, office.mine, shown.id)).metadata == {"confidence": 0.9}

    async def test_who_was_told_reads_it(self, tx: Tx, office: Any) -> None:
        found = await signals.detect_signals(tx, office.theirs, deal_id=office.their_deal.id, save=True)
        budget = next(signal for signal in found.signals if signal["signal_type"] == "budget_confirmed")
        assert budget["evidence"] == {"quote": QUOTE, "source_id": str(office.mail.id), "confidence": 0.9}

    async def test_other_peoples_deals_are_out_of_sight(self, tx: Tx, office: Any) -> None:
        await signals.detect_signals(tx, office.theirs, deal_id=office.their_deal.id, save=True)
        filter = signals.SignalFilter(companyId=office.company.id)
        assert (await signals.list_signals(tx, office.mine, filter)).parse().signals == []
        with pytest.raises(health.NoOpenDeals):
            await signals.detect_signals(tx, office.mine, deal_id=office.their_deal.id, save=False)

    async def test_a_deal_and_another_company_do_not_make_a_signal(self, tx: Tx, office: Any, given: Any) -> None:
        stranger = await given.company()
        body = signals.CreateSignalIn(
            signal_type="momentum_shift", title="x", category="risk", dealId=office.deal.id, companyId=stranger.id
        )
        with pytest.raises(signals.SubjectUnknown):
            await signals.create_signal(tx, office.mine, body)
        whole = body.model_copy(update={"companyId": None})
        assert (await signals.create_signal(tx, office.mine, whole)).signal.companyId == office.company.id


class TestSummaries:
    async def test_are_made_without_a_colleagues_words(self, tx: Tx, office: Any) -> None:
        subjects: list[tuple[summary_context.EntityType, Any]] = [
            ("company", office.company), ("deal", office.deal), ("contact", office.contact),
        ]  # fmt: skip
        for type, subject in subjects:
            mine = await summary_context.load_context(tx, office.mine, type, subject.id)
            assert QUOTE not in mine.model_dump_json(), type
            whole = await summary_context.load_context(tx, office.manager, type, subject.id)
            assert QUOTE in whole.model_dump_json(), type

    async def test_of_a_deal_that_was_handed_on_are_no_longer_listed(self, tx: Tx, office: Any, given: Any) -> None:
        await given.row(
            "ai_summaries", deal_id=office.deal.id, audience_id=office.mine.user_id, summary_type="deal_overview", summary=Json({}),
            summary_text="x", generated_at=tx.now, context_hash="h",
        )  # fmt: skip
        assert (await summaries.list_summaries(tx, office.mine, summaries.SummaryFilter())).total == 1
        await tx.run(
            "UPDATE deals SET owner_id = %(new)s WHERE id = %(id)s", new=office.theirs.user_id, id=office.deal.id
        )
        assert (await summaries.list_summaries(tx, office.mine, summaries.SummaryFilter())).total == 0

    async def test_that_nobody_can_make_again_do_not_stand_in_line(self, tx: Tx, office: Any, given: Any) -> None:
        async def stale(reader: Any, **subject: Any) -> None:
            type = "deal_overview" if "deal_id" in subject else "company_overview"
            await given.row(
                "ai_summaries", **subject, audience_id=reader and reader.user_id, summary_type=type, summary=Json({}), summary_text="x",
                generated_at=tx.now, context_hash="h", stale=True,
            )  # fmt: skip

        gone, left = await given.company(deleted_at=tx.now), await given.user(is_active=False)
        await stale(None, company_id=gone.id)
        await stale(office.mine, deal_id=office.their_deal.id)
        await stale(left, company_id=office.company.id)
        await stale(office.manager, company_id=office.company.id)
        assert await summaries.list_stale(tx, SYSTEM) == []
        await stale(None, company_id=office.company.id)
        await stale(office.mine, deal_id=office.deal.id)
        readers = {subject.audience_id for subject in await summaries.list_stale(tx, SYSTEM)}
        assert readers == {None, office.mine.user_id}
        assert [s.audience_id for s in await summaries.list_stale(tx, office.mine)] == [office.mine.user_id]


class TestDealFacts:
    async def test_a_meeting_and_its_copy_are_one_meeting(self, tx: Tx, office: Any, given: Any) -> None:
        meeting = await given.communication(
            user=office.mine, deal=office.deal, channel="meeting", occurred_at=given.ago(days=2)
        )
        (before,) = await deal_facts.list_facts(tx, office.mine, deal_id=office.deal.id)
        await given.activity(
            user=office.mine, deal=office.deal, type="meeting_held", occurred_at=given.ago(days=2),
            external_id=f"communication:{meeting.id}",
        )  # fmt: skip
        (after,) = await deal_facts.list_facts(tx, office.mine, deal_id=office.deal.id)
        assert after == before
        assert after.meetings_14d == 1
        sources = (await summary_context.load_context(tx, office.mine, "deal", office.deal.id)).sources
        assert [(source.type, source.id) for source in sources] == [("communication", meeting.id)]

    async def test_an_activity_of_its_own_counts(self, tx: Tx, office: Any, given: Any) -> None:
        await given.activity(user=office.mine, deal=office.deal, type="call_made", external_id="telephone:7")
        (facts,) = await deal_facts.list_facts(tx, office.mine, deal_id=office.deal.id)
        assert facts.kinds_30d == 2  # the colleague's mail, and the call


class TestLists:
    async def test_hold_nothing_of_a_colleagues_mailbox(self, tx: Tx, office: Any) -> None:
        me = office.mine
        company = listing.CommunicationFilter(company_id=office.company.id)
        assert (await listing.list_communications(tx, me, company)).parse().total == 0
        byid = listing.CommunicationFilter(id=office.mail.id)
        assert (await listing.list_communications(tx, me, byid)).parse().communications == []
        assert (
            await conversations.list_conversations(tx, me, conversations.ConversationFilter())
        ).parse().conversations == []
        assert (await queue.list_response_queue(tx, me)).total == 0
        assert (await triage.list_triage(tx, me)).count == 0
        stats = (await listing.get_stats(tx, me, listing.StatsFilter(company_id=office.company.id))).stats
        assert (stats.total_communications, stats.recent_signals) == (0, [])
        for filter in (promises.PromiseFilter(), promises.PromiseFilter(user_id=office.theirs.user_id)):
            assert (await promises.list_promises(tx, me, filter)).total == 0
        assert QUOTE not in (await contact_facts.get_intelligence(tx, me, office.contact.id)).model_dump_json()

    async def test_my_mail_does_not_tell_the_worth_of_a_colleagues_deal(self, tx: Tx, office: Any, given: Any) -> None:
        mail = await given.communication(user=office.mine, contact=office.contact, deal=office.their_deal)
        filter = listing.CommunicationFilter(id=mail.id)
        (mine,) = (await listing.list_communications(tx, office.mine, filter)).parse().communications
        assert (mine.id, mine.deal) == (mail.id, None)
        (whole,) = (await listing.list_communications(tx, office.manager, filter)).parse().communications
        assert whole.deal
        assert float(whole.deal.estimated_value) == 70_000

    async def test_activities_are_their_authors_and_the_deals_peoples(self, tx: Tx, office: Any, given: Any) -> None:
        await given.activity(user=office.theirs, company=office.company, subject="private")
        await given.activity(user=office.theirs, deal=office.their_deal, subject="theirs")
        filter = activities.ActivityFilter(company_id=office.company.id)
        shown = (await activities.list_activities(tx, office.mine, filter)).parse().activities
        assert [activity.subject for activity in shown] == ["Copy"]
        shared = office.their_deal
        await given.row("deal_collaborators", deal_id=shared.id, user_id=office.mine.user_id)
        shown = (await activities.list_activities(tx, office.mine, filter)).parse().activities
        assert sorted(str(activity.subject) for activity in shown) == ["Copy", "theirs"]

    async def test_the_copy_of_a_colleagues_meeting_keeps_its_words_to_itself(
        self, tx: Tx, office: Any, given: Any
    ) -> None:
        filter = activities.ActivityFilter(deal_id=office.deal.id)
        for reader, body in ((office.mine, None), (office.theirs, QUOTE), (office.manager, QUOTE)):
            (copy,) = (await activities.list_activities(tx, reader, filter)).parse().activities
            assert (copy.subject, copy.body) == ("Copy", body)
        task = await given.task(user=office.mine, deal=office.deal)
        happened = (await task_emails.load_task_context(tx, office.mine, task.id)).happened
        assert [line.partition(": ")[2] for line in happened] == ["Copy"]

    async def test_a_task_does_not_open_its_deal(self, tx: Tx, office: Any, given: Any) -> None:
        task = await given.task(user=office.mine, deal=office.their_deal)
        assert (await task_emails.load_task_context(tx, office.mine, task.id)).deal is None
        body = tasks.CreateTaskIn(title="x", deal_id=office.their_deal.id)
        with pytest.raises(tasks.SubjectUnknown):
            await tasks.create_task(tx, office.mine, body)


class TestWrites:
    async def test_a_colleagues_mail_does_not_exist(self, tx: Tx, office: Any) -> None:
        me, mail = office.mine, office.mail.id
        before = await tx.one(dict[str, Any], "SELECT to_jsonb(m) FROM communications m WHERE id = %(id)s", id=mail)
        attempts = [
            notes.list_notes(tx, me, mail),
            notes.add_note(tx, me, mail, notes.AddNoteIn(content="x")),
            linking.assign_company(tx, me, mail, linking.AssignIn(company_id=office.company.id)),
            linking.create_lead(tx, me, mail, linking.CreateLeadIn()),
            linking.exclude(tx, me, mail, linking.ExcludeIn()),
            linking.restore(tx, me, mail),
            answering.mark_answered(tx, me, mail, answering.RespondIn()),
            answering.get_reply_address(tx, me, mail),
            drafts.load_reply_context(tx, me, mail),
            triage.decide_triage(tx, me, triage.DecideTriageIn(communicationId=mail, action="ignore")),
            listing.get_source(tx, me, listing.SourceFilter(table="email_messages", id=mail)),
        ]
        for attempt in attempts:
            with pytest.raises(Rendered) as refusal:
                await attempt
            assert isinstance(refusal.value, NotFound)
        after = await tx.one(dict[str, Any], "SELECT to_jsonb(m) FROM communications m WHERE id = %(id)s", id=mail)
        assert after == before

    async def test_a_thread_id_of_a_colleague_links_nothing_of_theirs(self, tx: Tx, office: Any, given: Any) -> None:
        theirs = await given.communication(user=office.theirs, thread_id="shared")
        mine = await given.communication(user=office.mine, thread_id="shared")
        await linking.assign_company(tx, office.mine, mine.id, linking.AssignIn(company_id=office.company.id))
        await answering.mark_answered(tx, office.mine, mine.id, answering.RespondIn())
        after = await given.fetch("communications", theirs.id)
        assert (after.company_id, after.awaiting_our_response, after.responded_at) == (None, True, None)

    async def test_a_lead_does_not_count_a_colleagues_messages(self, tx: Tx, office: Any, given: Any) -> None:
        sender = {"sender_email": "bo@newco.example", "sender_name": "Bo"}
        mine = await given.communication(user=office.mine, **sender)
        theirs = await given.communication(user=office.theirs, **sender)
        put_away = await given.communication(user=office.theirs, excluded_at=tx.now, **sender)
        lead = await linking.create_lead(tx, office.mine, mine.id, linking.CreateLeadIn())
        assert lead.additional_linked == 0
        assert (await given.fetch("communications", theirs.id)).company_id == lead.company.id
        assert (await given.fetch("communications", put_away.id)).company_id is None


class TestExclude:
    async def test_takes_the_copy_along_and_back(self, tx: Tx, office: Any) -> None:
        filter = activities.ActivityFilter(deal_id=office.deal.id)
        await linking.exclude(tx, office.theirs, office.mail.id, linking.ExcludeIn())
        assert (await activities.list_activities(tx, office.mine, filter)).parse().activities == []
        await linking.restore(tx, office.theirs, office.mail.id)
        assert len((await activities.list_activities(tx, office.mine, filter)).parse().activities) == 1
