"""
What an answer about a sender may lead to. The same for a model and for rules.

    at least .85   linked
    .70 to .85     linked, and a person may look
    .50 to .70     a person decides
    below          nothing

How sure an answer may be is capped by the evidence behind the number it chose: what anybody can write into a mail (a
name, an address in the text, a person in copy) links nothing by itself.
Source: CRM specification, matching.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from agents import guards
from agents.matching.outputs import Placing, Triage
from tools import names
from tools.matching import Candidates, Clues, CompanyCandidate, ContactCandidate, LinkIn, Offered, ReviewIn, TriageIn

Outcome = Literal["linked", "verify", "review", "none"]
REVIEWED = 0.50
SUGGESTION = 0.69
OF_THE_SENDER = frozenset({"sender_email", "thread", "domain", "subdomain", "contact_domain"})


@dataclass(frozen=True, slots=True)
class Scene:
    """What the evidence is about. `generic` when the sender's address is one that anybody can have."""

    clues: Clues
    candidates: Candidates
    products: list[Offered]
    direction: str
    generic: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done."""

    outcome: Outcome
    link: LinkIn | None = None
    review: ReviewIn | None = None
    triage: TriageIn | None = None


def decide(placing: Placing, scene: Scene) -> Verdict:
    """Return what the answer leads to, once the evidence has had its say."""
    company = _numbered(scene.candidates.companies, placing.company_match.number)
    confidence = _capped(placing.company_match.confidence, company, scene) if company else 0.0
    triage = None if company and confidence >= guards.SHOWN else _triage(placing.triage, scene)
    outcome = _outcome(confidence, scene)
    contact, contact_confidence = _contact(placing, company, scene)
    if company is None or outcome == "none":
        return _unknown(placing, scene, triage)
    deal_id = _deal(placing, company, scene)
    review = ReviewIn(
        company_id=company.id,
        contact_id=contact.id if contact else None,
        deal_id=deal_id,
        company_confidence=round(confidence, 2),
        contact_confidence=round(contact_confidence, 2) if contact else None,
        deal_confidence=round(placing.deal_match.confidence, 2) if deal_id else None,
        candidates=_named(scene.candidates),
        reasoning=guards.clean(placing.company_match.reasoning)[:1000],
        create_contact=None if contact else _new_contact(placing, scene),
    )
    if outcome == "review":
        return Verdict("review", review=review, triage=triage)
    link = LinkIn(
        company_id=company.id,
        contact_id=contact.id if contact else None,
        deal_id=deal_id,
        confidence=round(confidence, 2),
        method=_method(company),
        link_score=_link_score(company, contact, scene.candidates),
        email=scene.clues.principal,
    )
    return Verdict(outcome, link=link, review=review if outcome == "verify" else None)


def _numbered(offered: list[CompanyCandidate], number: int) -> CompanyCandidate | None:
    return offered[number - 1] if 1 <= number <= len(offered) else None


def _outcome(confidence: float, scene: Scene) -> Outcome:
    if confidence >= guards.ACTS:
        return "linked"
    if confidence >= guards.SHOWN and not scene.generic:
        return "verify"
    return "review" if confidence >= REVIEWED else "none"


def _capped(confidence: float, company: CompanyCandidate, scene: Scene) -> float:
    """Return how sure the answer may be, given what speaks for this company."""
    evidence: set[str] = set(company.evidence)
    rivals = [
        other for other in scene.candidates.companies if other.id != company.id and "sender_email" in other.evidence
    ]
    if "sender_email" in evidence and rivals and "thread" not in evidence:
        return min(confidence, SUGGESTION)
    if "sender_email" not in evidence and rivals:
        return min(confidence, SUGGESTION)
    if evidence & OF_THE_SENDER:
        return confidence
    if "participant_email" in evidence and scene.direction == "outbound":
        return confidence
    if "thread_other" in evidence:
        return min(confidence, 0.80)
    return min(confidence, SUGGESTION)


def _contact(placing: Placing, company: CompanyCandidate | None, scene: Scene) -> tuple[ContactCandidate | None, float]:
    """Return the chosen contact when they belong to the company and the address is theirs."""
    chosen = placing.contact_match
    offered = scene.candidates.contacts
    contact = offered[chosen.number - 1] if 1 <= chosen.number <= len(offered) else None
    if contact is None or company is None or contact.company_id != company.id or chosen.confidence < guards.SHOWN:
        return None, 0.0
    addressed: Collection[str] = (
        {"sender_email"} if scene.direction == "inbound" else {"sender_email", "participant_email"}
    )
    return (contact, chosen.confidence) if set(contact.evidence) & set(addressed) else (None, 0.0)


def _deal(placing: Placing, company: CompanyCandidate, scene: Scene) -> UUID | None:
    chosen = placing.deal_match
    offered = scene.candidates.deals
    if chosen.confidence < guards.ACTS or not 1 <= chosen.number <= len(offered):
        return None
    deal = offered[chosen.number - 1]
    return deal.id if deal.company_id == company.id else None


def _method(company: CompanyCandidate) -> str:
    order = (
        "sender_email",
        "thread",
        "domain",
        "participant_email",
        "subdomain",
        "contact_domain",
        "thread_other",
        "name",
        "body_email",
    )
    return next((kind for kind in order if kind in company.evidence), "none")


def _link_score(company: CompanyCandidate, contact: ContactCandidate | None, candidates: Candidates) -> int:
    """Source: CRM specification, queues, link score."""
    deals = sum(deal.company_id == company.id for deal in candidates.deals)
    score = 35 if contact is None or deals == 0 else 45 if deals == 1 else 30
    return score + (30 if {"thread", "thread_other"} & set(company.evidence) else 0)


def _named(candidates: Candidates) -> list[dict[str, object]]:
    return [
        {"company_id": str(company.id), "name": company.name, "evidence": list(company.evidence)}
        for company in candidates.companies
    ]


# Nobody known -----------------------------------------------------------------------------------------------------


def _unknown(placing: Placing, scene: Scene, triage: TriageIn | None) -> Verdict:
    """Propose what a person may create; what sells something to us is not worth a proposal."""
    rejected = triage is not None and triage.decision == "REJECT" and triage.confidence >= 70
    company, contact = _new_company(placing, scene), _new_contact(placing, scene)
    if rejected or scene.direction != "inbound" or (company is None and contact is None):
        return Verdict("none", triage=triage)
    review = ReviewIn(
        candidates=_named(scene.candidates),
        reasoning=guards.clean(placing.company_match.reasoning)[:1000],
        create_company=company,
        create_contact=contact,
    )
    return Verdict("review", review=review, triage=triage)


def _new_company(placing: Placing, scene: Scene) -> dict[str, object] | None:
    """A company is only proposed with the sender's own business domain, whatever the answer says its domain is."""
    domain = names.domain_of(scene.clues.principal)
    wanted = placing.create_company
    if wanted is None or scene.generic or domain is None or domain not in scene.clues.own_domains:
        return None
    name = guards.clean(wanted.name)[:200].strip()
    return {"name": name or domain, "domain": domain}


def _new_contact(placing: Placing, scene: Scene) -> dict[str, object] | None:
    """A contact is only proposed with the sender's own address."""
    wanted = placing.create_contact
    if wanted is None or scene.clues.principal is None or scene.direction != "inbound":
        return None
    name = guards.clean(wanted.name)[:200].strip()
    return {
        "name": name or scene.clues.principal,
        "email": scene.clues.principal,
        "title": guards.clean(wanted.title)[:200] or None,
    }


def _triage(wanted: Triage | None, scene: Scene) -> TriageIn | None:
    """A route into the pipeline needs one of the offered products; without it the message is nurtured."""
    if wanted is None or scene.direction != "inbound":
        return None
    product = scene.products[wanted.product - 1].slug if 1 <= wanted.product <= len(scene.products) else None
    routed = wanted.decision == "ROUTE_TO_PIPELINE"
    return TriageIn(
        decision="NURTURE" if routed and product is None else wanted.decision,
        product_slug=product if routed else None,
        confidence=wanted.confidence,
        reason=guards.clean(wanted.reason)[:500],
    )
