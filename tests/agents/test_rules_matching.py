"""Placing a message by rules, and what the evidence lets an answer lead to."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest

from agents.matching import clues as reading
from agents.matching import verdicts
from agents.matching.outputs import (
    Company,
    Contact,
    CreateCompany,
    CreateContact,
    Deal,
    Envelope,
    Match,
    Placing,
    Triage,
)
from agents.matching.verdicts import Scene
from agents.rules.matching import place
from tools.matching import (
    Candidates,
    Clues,
    CompanyCandidate,
    ContactCandidate,
    DealCandidate,
    Evidence,
    MatchSubject,
    Offered,
)
from tools.workspace import Workspace


def envelope(
    companies: list[list[str]], contacts: Sequence[tuple[int, list[str]]] = (), deals: Sequence[int] = (), **values: Any
) -> Envelope:
    known: dict[str, Any] = {
        "communicationType": "email", "direction": "inbound", "fromEmail": "dana@lee.example", "fromName": "Dana Lee",
        "emailDomain": "lee.example", "isGenericDomain": False, "subject": "Hello", "contentPreview": "Hello there.", "emailsMentioned": [],
        "phonesMentioned": [], "namesMentioned": [], "companyMentions": [], "products": ["Voice Desk"],
        "candidateCompanies": [Company(number=n, name=f"C{n}", domain=None, status="prospect", evidence=e) for n, e in enumerate(companies, 1)],
        "candidateContacts": [Contact(number=n, name="P", email="p@x.example", title=None, company=c, evidence=e)
                              for n, (c, e) in enumerate(contacts, 1)],
        "candidateDeals": [Deal(number=n, name="D", stage="demo", company=c) for n, c in enumerate(deals, 1)],
    }  # fmt: skip
    return Envelope(**(known | values))


class TestPlace:
    @pytest.mark.parametrize(
        ("evidence", "confidence"),
        [(["sender_email"], 0.97), (["thread"], 0.93), (["domain"], 0.92), (["subdomain"], 0.88), (["contact_domain"], 0.86),
         (["thread_other"], 0.74), (["name"], 0.62), (["body_email"], 0.55)],
    )  # fmt: skip
    def test_is_as_sure_as_the_evidence(self, evidence: list[str], confidence: float):
        assert place(envelope([evidence])).company_match.confidence == confidence

    @pytest.mark.parametrize(
        "text",
        ["Wir suchen eine Software und bitten um ein Angebot.", "Nous aimerions voir une démonstration.", "Buenos días, ¿cuánto cuesta para 20 usuarios?"],
    )  # fmt: skip
    def test_turns_away_no_inquiry_in_another_language(self, text: str):
        triage = place(envelope([], contentPreview=text)).triage

        assert triage is not None
        assert triage.decision == "BOOK"

    def test_prefers_the_better_evidence(self):
        assert place(envelope([["name"], ["domain"]])).company_match.number == 2

    def test_asks_about_two_with_the_same_address(self):
        found = place(envelope([["sender_email"], ["sender_email"]])).company_match

        assert 0.5 <= found.confidence < 0.7

    def test_lets_the_thread_settle_it(self):
        found = place(envelope([["sender_email"], ["sender_email", "thread"]])).company_match

        assert (found.number, found.confidence) == (2, 0.93)

    def test_chooses_the_contact_of_the_chosen_company_and_its_only_deal(self):
        found = place(envelope([["sender_email"], ["name"]], [(2, ["body_email"]), (1, ["sender_email"])], [1]))

        assert (found.contact_match.number, found.deal_match.number) == (2, 1)

    def test_chooses_no_deal_among_two(self):
        assert place(envelope([["sender_email"]], [(1, ["sender_email"])], [1, 1])).deal_match.number == 0

    def test_proposes_a_company_for_a_business_domain_only(self):
        business = place(envelope([]))
        private = place(envelope([], fromEmail="dana@mail.example", isGenericDomain=True))

        assert business.create_company == CreateCompany(name="Lee", domain="lee.example")
        assert business.create_contact == CreateContact(name="Dana Lee", email="dana@lee.example")
        assert private.create_company is None

    @pytest.mark.parametrize(
        ("text", "decision"),
        [("We help companies rank higher. Grow your traffic with our agency.", "REJECT"), ("Could we see a demo next week?", "BOOK"),
         ("What does Voice Desk cost for 20 people?", "ROUTE_TO_PIPELINE"), ("I am looking for a tool for our drivers.", "NURTURE"),
         ("Your parcel has arrived.", "REJECT"), ("Not interested. Please take me off your list.", "REJECT")],
    )  # fmt: skip
    def test_sorts_the_mail_of_strangers(self, text: str, decision: str):
        triage = place(envelope([], contentPreview=text)).triage

        assert triage is not None
        assert triage.decision == decision


A, B = UUID(int=1), UUID(int=2)


def scene(
    *evidence: list[Evidence],
    contacts: Sequence[tuple[UUID, list[Evidence]]] = (),
    deals: Sequence[UUID] = (),
    **values: Any,
) -> Scene:
    candidates = Candidates(
        companies=[
            CompanyCandidate(id=UUID(int=n), name=f"C{n}", domain=None, status="prospect", evidence=e)
            for n, e in enumerate(evidence, 1)
        ],
        contacts=[
            ContactCandidate(id=uuid4(), company_id=c, name="P", email="p@x.example", title=None, evidence=e)
            for c, e in contacts
        ],
        deals=[DealCandidate(id=uuid4(), company_id=c, name="D", stage="demo") for c in deals],
    )
    principal = values.pop("principal", "dana@lee.example")
    clues = Clues(
        principal=principal,
        participants=[],
        body_emails=[],
        domains=["lee.example"],
        own_domains=["lee.example"],
        names=[],
    )
    known: dict[str, Any] = {
        "products": [Offered(name="Voice Desk", slug="voice-desk")],
        "direction": "inbound",
        "generic": False,
    }
    return Scene(clues=clues, candidates=candidates, **(known | values))


def says(number: int = 1, confidence: float = 0.99, **values: Any) -> Placing:
    match = Match(number=number, confidence=confidence, match_type="exact", reasoning="Because.")
    known: dict[str, Any] = {
        "company_match": match,
        "contact_match": Match(),
        "deal_match": Match(),
        "overall_confidence": confidence,
    }
    return Placing(**(known | values))


class TestDecide:
    @pytest.mark.parametrize(
        ("confidence", "outcome"),
        [(0.85, "linked"), (0.84, "verify"), (0.70, "verify"), (0.69, "review"), (0.50, "review"), (0.49, "none")],
    )
    def test_holds_to_the_thresholds(self, confidence: float, outcome: str):
        assert verdicts.decide(says(confidence=confidence), scene(["sender_email"])).outcome == outcome

    @pytest.mark.parametrize("evidence", [["name"], ["body_email"], ["participant_email"]])
    def test_links_nothing_on_what_anybody_can_write(self, evidence: list[Evidence]):
        verdict = verdicts.decide(says(), scene(evidence))

        assert (verdict.outcome, verdict.link) == ("review", None)
        assert verdict.review is not None
        assert verdict.review.company_confidence == 0.69

    def test_trusts_the_recipients_that_we_chose(self):
        assert verdicts.decide(says(), scene(["participant_email"], direction="outbound")).outcome == "linked"

    def test_has_a_person_look_when_a_stranger_joins_a_thread(self):
        assert verdicts.decide(says(), scene(["thread_other"])).outcome == "verify"

    def test_asks_when_the_address_is_at_two_companies(self):
        assert verdicts.decide(says(), scene(["sender_email"], ["sender_email"])).outcome == "review"
        assert verdicts.decide(says(), scene(["sender_email", "thread"], ["sender_email"])).outcome == "linked"
        assert verdicts.decide(says(number=2), scene(["sender_email"], ["domain"])).outcome == "review"

    def test_wants_more_of_a_public_domain(self):
        assert verdicts.decide(says(confidence=0.8), scene(["sender_email"], generic=True)).outcome == "review"
        assert verdicts.decide(says(confidence=0.9), scene(["sender_email"], generic=True)).outcome == "linked"

    @pytest.mark.parametrize("number", [0, -1, 2, 99])
    def test_knows_only_the_numbers_it_offered(self, number: int):
        assert verdicts.decide(says(number=number), scene(["sender_email"])).link is None

    def test_takes_the_contact_only_of_the_company_and_only_by_their_own_address(self):
        chosen: dict[str, Any] = {"contact_match": Match(number=1, confidence=0.99)}
        own = verdicts.decide(says(**chosen), scene(["sender_email"], contacts=[(A, ["sender_email"])]))
        foreign = verdicts.decide(says(**chosen), scene(["sender_email"], contacts=[(B, ["sender_email"])]))
        mentioned = verdicts.decide(says(**chosen), scene(["sender_email"], contacts=[(A, ["body_email"])]))

        assert own.link is not None
        assert own.link.contact_id is not None
        assert [verdict.link and verdict.link.contact_id for verdict in (foreign, mentioned)] == [None, None]

    def test_takes_the_deal_only_of_the_company_and_only_when_sure(self):
        def deal(company: UUID, confidence: float) -> UUID | None:
            placing = says(deal_match=Match(number=1, confidence=confidence))
            verdict = verdicts.decide(placing, scene(["sender_email"], deals=[company]))
            return verdict.link and verdict.link.deal_id

        assert deal(A, 0.9) is not None
        assert (deal(B, 0.99), deal(A, 0.8)) == (None, None)

    def test_scores_the_link(self):
        one_deal = verdicts.decide(says(contact_match=Match(number=1, confidence=0.9)),
                                   scene(["sender_email", "thread"], contacts=[(A, ["sender_email"])], deals=[A]))  # fmt: skip
        domain = verdicts.decide(says(), scene(["domain"]))

        assert [verdict.link and verdict.link.link_score for verdict in (one_deal, domain)] == [75, 35]

    def test_proposes_only_the_senders_own_address_and_domain(self):
        placing = says(0, 0.0, create_company=CreateCompany(name="Bank", domain="bank.example"),
                       create_contact=CreateContact(name="Boss", email="boss@bank.example"))  # fmt: skip
        verdict = verdicts.decide(placing, scene())

        assert verdict.review is not None
        assert verdict.review.create_company == {"name": "Bank", "domain": "lee.example"}
        assert verdict.review.create_contact == {"name": "Boss", "email": "dana@lee.example", "title": None}

    def test_proposes_no_company_for_a_public_domain(self):
        placing = says(
            0,
            0.0,
            create_company=CreateCompany(name="Bank"),
            create_contact=CreateContact(name="Dana", email="d@x.example"),
        )
        verdict = verdicts.decide(placing, scene(generic=True))

        assert verdict.review is not None
        assert verdict.review.create_company is None

    def test_proposes_nobody_who_sells_to_us(self):
        triage = Triage(decision="REJECT", confidence=90, reason="spam")
        verdict = verdicts.decide(says(0, 0.0, create_company=CreateCompany(name="X"), triage=triage), scene())

        assert (verdict.outcome, verdict.review, verdict.triage and verdict.triage.decision) == ("none", None, "REJECT")

    def test_routes_into_the_pipeline_with_an_offered_product_only(self):
        def route(product: int) -> tuple[str, str | None]:
            verdict = verdicts.decide(
                says(0, 0.0, triage=Triage(decision="ROUTE_TO_PIPELINE", product=product, confidence=90, reason="r")),
                scene(),
            )
            assert verdict.triage is not None
            return verdict.triage.decision, verdict.triage.product_slug

        assert route(1) == ("ROUTE_TO_PIPELINE", "voice-desk")
        assert route(7) == ("NURTURE", None)


class TestReadClues:
    HOUSE = Workspace(own_domains=("ours.example",), own_addresses=("me@private.example",), name_stop_words=("inc",))

    def subject(self, **values: Any) -> MatchSubject:
        known: dict[str, Any] = {
            "id": uuid4(), "user_id": uuid4(), "company_id": None, "contact_id": None, "channel": "email", "direction": "inbound",
            "subject": "Offer", "full_content": "Hello", "content_preview": "Hello", "sender_email": "Dana@Mail.Lee.example", "sender_name": "Dana",
            "thread_id": "t", "noise_type": None, "match_status": "unmatched", "their_participants": [],
        }  # fmt: skip
        return MatchSubject(**(known | values))

    def test_reads_addresses_domains_and_names(self):
        people = [
            {"email": "dana@mail.lee.example"},
            {"email": "bo@gmail.com"},
            {"email": "us@ours.example"},
            {"email": "me@private.example"},
        ]
        text = "Write to sales@other.example or us@sub.ours.example. Acme Inc and Lee Robotics agree."
        clues = reading.read_clues(self.subject(their_participants=people, full_content=text), self.HOUSE)

        assert clues.principal == "dana@mail.lee.example"
        assert clues.participants == ["bo@gmail.com"]
        assert clues.body_emails == ["sales@other.example"]
        assert clues.own_domains == ["mail.lee.example"]
        assert clues.domains == ["mail.lee.example", "lee.example"]
        assert {"acme", "leerobotics"} <= set(clues.names)

    def test_takes_the_first_recipient_of_our_own_mail(self):
        clues = reading.read_clues(
            self.subject(
                direction="outbound",
                sender_email=None,
                their_participants=[{"email": "a@x.example"}, {"email": "b@y.example"}],
            ),
            self.HOUSE,
        )

        assert (clues.principal, clues.participants) == ("a@x.example", ["b@y.example"])

    def test_reads_phone_numbers(self):
        assert reading.phones("Call +1 (413) 555-0177 or 0421/55 50 11, order 12345, 2026-03-04.") == [
            "+1 (413) 555-0177",
            "0421/55 50 11",
        ]
