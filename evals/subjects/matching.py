"""A communication, placed by the matching agent: what the verdict does with the answer."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel

from agents.matching import clues as reading
from agents.matching import verdicts
from agents.matching.outputs import MATCHING, Company, Contact, Deal, Envelope
from agents.matching.verdicts import Scene, Verdict
from agents.purposes import Purpose
from evals.cases import EnvelopeInput, made_id
from evals.subjects.kit import Answered, Asker
from tools import names
from tools.matching import Candidates, Clues, CompanyCandidate, ContactCandidate, DealCandidate, Offered


class Placed(BaseModel):
    """
    Where it ended: who is linked (`auto`) or proposed (`review`), by number.

    `proposed` is what a person is offered to create, in words.
    """

    verdict: Literal["auto", "review", "none"]
    company: int | None = None
    contact: int | None = None
    deal: int | None = None
    triage: str | None = None
    reasons: list[str] = []
    proposed: list[str] = []


def asks(_: EnvelopeInput) -> Purpose[Any, Any]:
    """Return the question that is put."""
    return MATCHING


async def answer(asker: Asker, case: EnvelopeInput) -> Answered[Placed]:
    """
    Have the communication placed as the agent has it placed.

    Raises `ModelUnavailable` and what `Asker.ask` raises.
    """
    said = await asker.ask(MATCHING, envelope(case))
    return Answered(_placed(verdicts.decide(said.value, scene(case)), case), said)


def envelope(case: EnvelopeInput) -> Envelope:
    """Return what the agent would ask about the case."""
    text, domain = case.contentPreview, case.emailDomain
    return Envelope.model_validate(
        case.model_dump()
        | {
            "emailDomain": domain if domain is not None else names.domain_of(case.fromEmail) or "",
            "phonesMentioned": reading.phones(text) if case.phonesMentioned is None else case.phonesMentioned,
            "companyMentions": reading.capitalized(text) if case.companyMentions is None else case.companyMentions,
            "candidateCompanies": [
                Company(number=place, **one.model_dump(exclude={"number"}))
                for place, one in enumerate(case.candidateCompanies, 1)
            ],
            "candidateContacts": [
                Contact(number=place, **one.model_dump(exclude={"number"}))
                for place, one in enumerate(case.candidateContacts, 1)
            ],
            "candidateDeals": [
                Deal(number=place, **one.model_dump(exclude={"number"}))
                for place, one in enumerate(case.candidateDeals, 1)
            ],
        }
    )


def scene(case: EnvelopeInput) -> Scene:
    """Return the evidence that the verdict is held against; records get ids by their numbers."""
    asked = envelope(case)
    principal = names.normalize_email(case.fromEmail)
    business = [asked.emailDomain] if asked.emailDomain and not case.isGenericDomain else []
    clues = Clues(
        principal=principal, participants=[], body_emails=case.emailsMentioned, domains=business, own_domains=business,
        names=[],
    )  # fmt: skip
    return Scene(
        clues=clues,
        candidates=_candidates(asked),
        products=[Offered(name=name, slug=name.lower().replace(" ", "-")) for name in case.products],
        direction=case.direction,
        generic=case.isGenericDomain,
    )


def _candidates(asked: Envelope) -> Candidates:
    companies = [
        CompanyCandidate.model_validate(one.model_dump(exclude={"number"}) | {"id": made_id("company", one.number)})
        for one in asked.candidateCompanies
    ]
    contacts = [
        ContactCandidate.model_validate(
            one.model_dump(exclude={"number", "company"})
            | {"id": made_id("contact", one.number), "company_id": made_id("company", one.company)}
        )
        for one in asked.candidateContacts
    ]
    deals = [
        DealCandidate(
            id=made_id("deal", one.number),
            company_id=made_id("company", one.company),
            name=one.name,
            stage=one.stage,
        )
        for one in asked.candidateDeals
    ]
    return Candidates(companies=companies, contacts=contacts, deals=deals)


def _placed(verdict: Verdict, case: EnvelopeInput) -> Placed:
    kept = verdict.link or verdict.review
    review = verdict.review
    created = [review.create_company, review.create_contact] if review else []
    return Placed(
        verdict="auto" if verdict.link else "review" if review else "none",
        company=_number("company", kept.company_id if kept else None, len(case.candidateCompanies)),
        contact=_number("contact", kept.contact_id if kept else None, len(case.candidateContacts)),
        deal=_number("deal", kept.deal_id if kept else None, len(case.candidateDeals)),
        triage=verdict.triage.decision if verdict.triage else None,
        reasons=[
            *([review.reasoning] if review else []),
            *([verdict.triage.reason or ""] if verdict.triage else []),
        ],
        proposed=[" ".join(str(value) for value in proposal.values() if value) for proposal in created if proposal],
    )


def _number(kind: str, record_id: UUID | None, most: int) -> int | None:
    return next((place for place in range(1, most + 1) if made_id(kind, place) == record_id), None)
