"""Places a communication without a model, by the strength of the evidence alone."""

import re
from collections.abc import Sequence

from agents.matching.outputs import (
    MATCHING,
    Company,
    Contact,
    CreateCompany,
    CreateContact,
    Deal,
    Envelope,
    Match,
    MatchType,
    Placing,
    Triage,
)
from agents.rules import answers, playbook, questions, sentences, signals

WORTH = {
    "sender_email": 0.97, "thread": 0.93, "domain": 0.92, "participant_email": 0.90, "subdomain": 0.88, "contact_domain": 0.86, "thread_other": 0.74,
    "name": 0.62, "body_email": 0.55,
}  # fmt: skip
AMBIGUOUS = 0.65
_SELLING = re.compile(
    r"\b(?:we help (?:companies|businesses|teams|brands)|guest post|link building|backlinks?|seo (?:services|audit|agency)|rank(?:ing)? (?:on|higher)|lead generation services|"
    r"offshore (?:team|developers)|outsourc\w+ (?:your|services)|our agency|grow your (?:business|traffic|sales|revenue)|boost your|increase your (?:traffic|sales|revenue|leads)|"
    r"quick question about your website|unsubscribe|limited[- ]time offer|special offer|webinar invitation|crypto|casino|investment opportunity)\b",
    re.IGNORECASE,
)
_BUYING = re.compile(
    r"\b(?:interested in|looking for|pricing|quotes?|quotations?|rfq|rfp|request for (?:quotation|proposals?|information)|bid invitation|tender|(?:need|want|have) a (?:system|solution|software|tool|vendor)|do you (?:do|offer|sell|support|work with|have)|demo|trial|evaluat\w+|learn more about your|purchase|buy|subscribe|sign up|more information about|how much|angebot|anfrage|vorf\u00fchrung|wir suchen|was kostet|devis|d\u00e9mo(?:nstration)?|combien co\u00fbte|nous cherchons|presupuesto|cotizaci\u00f3n|demostraci\u00f3n|cu\u00e1nto cuesta|buscamos)\b",
    re.IGNORECASE,
)
_TITLE_WORDS = re.compile(r"[._+-]+|\d+")


@answers(MATCHING)
def place(envelope: Envelope) -> Placing:
    """Return the candidate with the best evidence; two with the same are a question for a person."""
    company = _best_company(envelope.candidateCompanies)
    contact = _best_contact(envelope.candidateContacts, company.number)
    unknown = company.number == 0 and envelope.direction == "inbound" and "@" in envelope.fromEmail
    generic = envelope.isGenericDomain
    return Placing(
        company_match=company,
        contact_match=contact,
        deal_match=_only_deal(envelope.candidateDeals, company, contact),
        create_company=CreateCompany(name=_name_of_domain(envelope.emailDomain), domain=envelope.emailDomain)
        if unknown and not generic
        else None,
        create_contact=CreateContact(name=_name_of_sender(envelope), email=envelope.fromEmail)
        if contact.number == 0 and envelope.direction == "inbound" and "@" in envelope.fromEmail
        else None,
        overall_confidence=company.confidence,
        triage=_triage(envelope) if unknown else None,
    )


def _strength(evidence: Sequence[str]) -> tuple[float, str]:
    best = max(evidence, key=lambda kind: WORTH.get(kind, 0.0), default="")
    return WORTH.get(best, 0.0), best


def _best_company(candidates: Sequence[Company]) -> Match:
    if not candidates:
        return Match(reasoning="Nobody here is known.")
    ranked = sorted(candidates, key=lambda company: (-_strength(company.evidence)[0], company.number))
    best = ranked[0]
    worth, kind = _strength(best.evidence)
    rivals = [other for other in ranked[1:] if _strength(other.evidence)[1] == kind]
    if rivals:
        return _among_rivals([best, *rivals], worth, kind)
    return Match(
        number=best.number,
        confidence=worth,
        match_type=_type_of(worth),
        reasoning=f"Found by {kind.replace('_', ' ')}.",
    )


def _among_rivals(rivals: Sequence[Company], worth: float, kind: str) -> Match:
    """The thread, else more evidence than any other has, settles it; otherwise a person does."""
    in_thread = [company for company in rivals if "thread" in company.evidence]
    if kind != "thread" and len(in_thread) == 1:
        return Match(number=in_thread[0].number, confidence=min(worth, WORTH["thread"]), match_type="confident",
                     reasoning=f"Several share the {kind.replace('_', ' ')}; the thread belongs to this one.")  # fmt: skip
    ranked = sorted(
        rivals, key=lambda company: -sum(WORTH.get(item, 0.0) for item in company.evidence if item != "name")
    )
    first, second = (sum(WORTH.get(item, 0.0) for item in company.evidence if item != "name") for company in ranked[:2])
    if first > second and kind != "sender_email":
        return Match(number=ranked[0].number, confidence=min(worth, 0.86), match_type="confident",
                     reasoning=f"Several share the {kind.replace('_', ' ')}; more speaks for this one.")  # fmt: skip
    return Match(number=ranked[0].number, confidence=min(worth, AMBIGUOUS), match_type="probable",
                 reasoning=f"{len(rivals)} companies share the {kind.replace('_', ' ')}.")  # fmt: skip


def _best_contact(candidates: Sequence[Contact], company: int) -> Match:
    fitting = [contact for contact in candidates if contact.company == company and company]
    addressed = [contact for contact in fitting if {"sender_email", "participant_email"} & set(contact.evidence)]
    if not addressed:
        return Match(reasoning="No known person there has this address.")
    best = max(addressed, key=lambda contact: (_strength(contact.evidence)[0], -contact.number))
    worth, kind = _strength([item for item in best.evidence if item != "thread"])
    return Match(
        number=best.number,
        confidence=worth,
        match_type=_type_of(worth),
        reasoning=f"Found by {kind.replace('_', ' ')}.",
    )


def _only_deal(deals: Sequence[Deal], company: Match, contact: Match) -> Match:
    open_deals = [deal for deal in deals if deal.company == company.number]
    if len(open_deals) != 1 or contact.number == 0 or company.confidence < WORTH["contact_domain"]:
        return Match(reasoning="No open deal stands out.")
    return Match(
        number=open_deals[0].number,
        confidence=0.86,
        match_type="confident",
        reasoning="It is the only open deal there.",
    )


def _type_of(worth: float) -> MatchType:
    return "exact" if worth >= 0.9 else "confident" if worth >= 0.85 else "probable" if worth >= 0.5 else "none"


def _name_of_domain(domain: str) -> str:
    label = domain.rsplit(".", 1)[0].rsplit(".", maxsplit=1)[-1]
    return " ".join(word.capitalize() for word in re.split(r"[-_]+", label) if word)


def _name_of_sender(envelope: Envelope) -> str:
    name = envelope.fromName.strip()
    if name and "@" not in name:
        return name[:200]
    return (
        " ".join(word.capitalize() for word in _TITLE_WORDS.split(envelope.fromEmail.split("@")[0]) if word)[:200]
        or envelope.fromEmail
    )


def _triage(envelope: Envelope) -> Triage:
    """Return what the message of somebody unknown deserves, by what it asks for."""
    text = f"{envelope.subject}\n{envelope.contentPreview}"
    said = sentences.split(envelope.contentPreview)
    shown = {finding.name for finding in signals.find_signals(said)}
    asked = [ask for ask in questions.find_asks(said) if ask.kind != "proposal"]
    if _SELLING.search(text):
        return Triage(decision="REJECT", confidence=78, reason="It sells something to us.")
    if playbook.is_away_notice(envelope.subject, envelope.contentPreview):
        return Triage(decision="REJECT", confidence=90, reason="It is an automatic reply.")
    if "deal_at_risk" in shown:
        return Triage(decision="REJECT", confidence=85, reason="They do not want to hear from us.")
    if shown & {"demo_request", "trial_request"} or re.search(r"\b(?:demo|trial) request\b", text, re.IGNORECASE):
        return Triage(decision="BOOK", confidence=82, reason="It asks for a demo or a trial.")
    named = signals.find_products(text, envelope.products)
    if named and (asked or _BUYING.search(text)):
        number = envelope.products.index(named[0]) + 1
        return Triage(decision="ROUTE_TO_PIPELINE", product=number, confidence=80, reason=f"It asks about {named[0]}.")
    if _BUYING.search(text) or shown & {"ready_to_proceed", "budget_confirmed", "timeline_urgent"}:
        return Triage(decision="BOOK" if asked else "NURTURE", confidence=70, reason="It shows interest in buying.")
    return Triage(decision="REJECT", confidence=55, reason="Nothing in it is about buying.")
