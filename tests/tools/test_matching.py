"""Who may be meant, and what is kept of the verdict."""

from typing import Any

from memory.callers import SYSTEM
from memory.db import Tx
from tests.given import Given
from tools import matching
from tools.matching import Candidates, Clues, LinkIn, MatchSubject, ReviewIn, TriageIn


def clues(**values: Any) -> Clues:
    known: dict[str, Any] = {
        "principal": None,
        "participants": [],
        "body_emails": [],
        "domains": [],
        "own_domains": [],
        "names": [],
    }
    return Clues(**(known | values))


async def find(tx: Tx, mail: Any, **values: Any) -> tuple[MatchSubject, Candidates]:
    subject = await matching.get_subject(tx, SYSTEM, mail.id)
    return subject, await matching.find_candidates(tx, subject, clues(**values))


class TestFindCandidates:
    async def test_finds_by_address_domain_name_and_colleagues_with_the_evidence(self, tx: Tx, given: Given):
        acme = await given.company("Acme", domain="acme.example", normalized_name="acme")
        dana = await given.contact("Dana", company=acme, email="dana@acme.example")
        beta = await given.company("Beta", normalized_name="beta")
        await given.contact(company=beta, email="bo@beta.example")
        parent = await given.company("Group", domain="group.example")
        await given.company("Gone", domain="acme.example", deleted_at=given.ago(days=1))
        await given.deal(company=acme, name="Pilot")
        await given.deal(company=acme, name="Lost", stage="closed_lost")
        mail = await given.communication(user=await given.user(), sender_email="dana@acme.example")

        _, found = await find(
            tx, mail, principal="dana@acme.example", own_domains=["acme.example", "beta.example", "x.group.example"],
            domains=["acme.example", "beta.example", "x.group.example", "group.example"], names=["acme"],
        )  # fmt: skip

        evidence = {company.name: set(company.evidence) for company in found.companies}
        assert evidence == {
            "Acme": {"sender_email", "domain", "contact_domain", "name"},
            "Beta": {"contact_domain"},
            "Group": {"subdomain"},
        }
        assert [(contact.id, contact.evidence) for contact in found.contacts] == [(dana.id, ["sender_email"])]
        assert [deal.name for deal in found.deals] == ["Pilot"]
        assert found.companies[0].id == acme.id
        assert parent.id in {company.id for company in found.companies}

    async def test_tells_a_thread_of_the_sender_from_a_thread_of_others(self, tx: Tx, given: Given):
        rep = await given.user()
        acme = await given.company("Acme")
        await given.communication(user=rep, company=acme, thread_id="t", sender_email="dana@acme.example")
        again = await given.communication(user=rep, thread_id="t", sender_email="dana@acme.example")
        stranger = await given.communication(user=rep, thread_id="t", sender_email="eve@evil.example")

        _, own = await find(tx, again, principal="dana@acme.example")
        _, foreign = await find(tx, stranger, principal="eve@evil.example")

        assert own.companies[0].evidence == ["thread"]
        assert foreign.companies[0].evidence == ["thread_other"]

    async def test_does_not_look_into_the_threads_of_others(self, tx: Tx, given: Given):
        acme = await given.company("Acme")
        await given.communication(user=await given.user(), company=acme, thread_id="t", sender_email="d@a.example")
        mail = await given.communication(user=await given.user(), thread_id="t", sender_email="d@a.example")

        _, found = await find(tx, mail, principal="d@a.example")

        assert found.companies == []

    async def test_offers_at_most_fifteen(self, tx: Tx, given: Given):
        for number in range(20):
            await given.company(f"Acme {number}", domain="acme.example")
        mail = await given.communication(user=await given.user())

        _, found = await find(tx, mail, domains=["acme.example"], own_domains=["acme.example"])

        assert len(found.companies) == 15


class TestLinkCommunication:
    async def test_links_message_conversation_and_participant_once(self, tx: Tx, given: Given):
        rep = await given.user()
        dana = await given.contact("Dana", email="dana@acme.example")
        mail = await given.communication(user=rep, thread_id="t", sender_email="dana@acme.example")
        talk = await given.row("email_conversations", user_id=rep.user_id, conversation_id="t")
        await given.row(
            "communication_participants", communication_id=mail.id, side="their", role="from", email="dana@acme.example"
        )
        link = LinkIn(
            company_id=dana.company_id,
            contact_id=dana.id,
            confidence=0.97,
            method="sender_email",
            link_score=75,
            email="dana@acme.example",
        )

        assert await matching.link_communication(tx, mail.id, link)
        assert not await matching.link_communication(tx, mail.id, link)

        row, shown = await given.fetch("communications", mail.id), await given.fetch("email_conversations", talk.id)
        assert (row.company_id, row.contact_id, row.match_status, float(row.match_confidence), row.match_method) == (
            dana.company_id, dana.id, "auto", 0.97, "sender_email",
        )  # fmt: skip
        assert (shown.company_id, shown.link_confidence, shown.link_method) == (dana.company_id, 75, "auto_high")
        assert await tx.one(int, "SELECT count(*) FROM communication_participants WHERE contact_id IS NOT NULL") == 1
        assert await tx.one(int, "SELECT count(*) FROM ai_action_log WHERE action_type = 'ENTITY_LINKED'") == 1

    async def test_leaves_what_a_person_has_linked(self, tx: Tx, given: Given):
        mine, other = await given.company(), await given.company()
        mail = await given.communication(user=await given.user(), company=mine, match_status="manual")

        assert not await matching.link_communication(
            tx, mail.id, LinkIn(company_id=other.id, confidence=0.99, method="domain", link_score=35)
        )
        assert (await given.fetch("communications", mail.id)).company_id == mine.id


class TestOpenReview:
    async def test_replaces_the_question_that_was_open(self, tx: Tx, given: Given):
        acme = await given.company()
        mail = await given.communication(user=await given.user())

        first = await matching.open_review(tx, mail.id, ReviewIn(company_id=acme.id, company_confidence=0.6))
        second = await matching.open_review(
            tx, mail.id, ReviewIn(create_company={"name": "Acme", "domain": "acme.example"})
        )

        assert (await given.fetch("entity_match_reviews", first)).status == "superseded"
        assert (await given.fetch("entity_match_reviews", second)).create_company == {
            "name": "Acme",
            "domain": "acme.example",
        }
        assert (await given.fetch("communications", mail.id)).match_status == "review"


class TestRecordTriage:
    async def test_replaces_what_an_agent_said_and_never_what_a_person_decided(self, tx: Tx, given: Given):
        mail = await given.communication(user=await given.user())
        await given.row("triage_decisions", communication_id=mail.id, decision="REJECT", decided_by_kind="user")

        await matching.record_triage(tx, mail.id, TriageIn(decision="NURTURE", confidence=60, reason="a"))
        await matching.record_triage(tx, mail.id, TriageIn(decision="BOOK", confidence=80, reason="b"))

        kept = await tx.many(str, "SELECT decision || ' ' || decided_by_kind FROM triage_decisions ORDER BY decision")
        assert kept == ["BOOK ai", "REJECT user"]
