"""What is asked about a sender: the communication from outside, and everybody who may be meant."""

from datetime import datetime
from uuid import UUID

from agents.matching import clues as reading
from agents.matching.outputs import MATCHING, Company, Contact, Deal, Envelope
from agents.purposes import About
from agents.readers import reads
from memory.callers import Caller
from memory.db import Database
from tools import matching, names, workspace
from tools.matching import Candidates, Clues, MatchSubject, Offered
from tools.workspace import Workspace


@reads(MATCHING, "communication")
async def read(db: Database, caller: Caller, communication_id: UUID, now: datetime) -> tuple[Envelope, About]:
    """
    Return what would be asked about this communication now, whether or not it has found its place already.

    Raises `CommunicationNotFound`.
    """
    async with db.reading(now) as tx:
        subject = await matching.get_subject(tx, caller, communication_id)
        house = await workspace.get_workspace(tx)
        clues = reading.read_clues(subject, house)
        candidates = await matching.find_candidates(tx, subject, clues)
        products = await matching.list_offered_products(tx)
    about = About(communication_id=communication_id)
    return envelope(subject, clues, candidates, products, house), about


def envelope(
    subject: MatchSubject, clues: Clues, candidates: Candidates, products: list[Offered], house: Workspace
) -> Envelope:
    """Return the question about this message; candidates stand under numbers, never under ids."""
    text = reading.body(subject)
    number = {company.id: place for place, company in enumerate(candidates.companies, start=1)}
    return Envelope(
        communicationType=subject.channel,
        direction=subject.direction,
        fromEmail=clues.principal or "",
        fromName=_name_of(subject, clues.principal),
        emailDomain=names.domain_of(clues.principal) or "",
        isGenericDomain=reading.is_generic(clues.principal, house),
        subject=(subject.subject or "")[:500],
        contentPreview=text[:3000],
        emailsMentioned=[*clues.participants, *clues.body_emails],
        phonesMentioned=reading.phones(text),
        namesMentioned=[str(person.get("name")) for person in subject.their_participants[:20] if person.get("name")],
        companyMentions=reading.capitalized(text[:3000]),
        candidateCompanies=[
            Company(number=place, name=company.name, domain=company.domain, status=company.status, evidence=list(company.evidence))
            for place, company in enumerate(candidates.companies, start=1)
        ],
        candidateContacts=[
            Contact(number=place, name=contact.name, email=contact.email, title=contact.title,
                    company=number.get(contact.company_id, 0), evidence=list(contact.evidence))
            for place, contact in enumerate(candidates.contacts, start=1)
        ],
        candidateDeals=[
            Deal(number=place, name=deal.name, stage=deal.stage, company=number.get(deal.company_id, 0))
            for place, deal in enumerate(candidates.deals, start=1)
        ],
        products=[product.name for product in products],
    )  # fmt: skip


def _name_of(subject: MatchSubject, principal: str | None) -> str:
    if subject.sender_email == principal and subject.sender_name:
        return subject.sender_name
    return next(
        (str(person.get("name") or "") for person in subject.their_participants if person.get("email") == principal), ""
    )
