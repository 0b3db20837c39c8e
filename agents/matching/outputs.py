"""What is asked about the sender of a communication, and what comes back: numbers of offered candidates, never ids."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agents.purposes import Purpose, Untrusted
from memory.rows import In

Confidence = Annotated[float, Field(ge=0, le=1)]
MatchType = Literal["exact", "confident", "probable", "none"]


class Match(BaseModel):
    """One choice: the number of a candidate, 0 for none."""

    match_type: MatchType = "none"
    number: int = 0
    confidence: Confidence = 0.0
    reasoning: str = ""


class CreateCompany(BaseModel):
    """A company that is not among the candidates. Only a proposal."""

    name: str
    domain: str = ""


class CreateContact(BaseModel):
    """A person who is not among the candidates. Only a proposal."""

    name: str
    email: str
    title: str = ""


class Triage(BaseModel):
    """What the message of an unknown sender deserves; `product` is the number of an offered product, 0 for none."""

    decision: Literal["REJECT", "NURTURE", "BOOK", "ROUTE_TO_PIPELINE"]
    product: int = 0
    confidence: Annotated[int, Field(ge=0, le=100)]
    reason: str


class Placing(BaseModel):
    """Whose communication it is, as far as the evidence goes."""

    company_match: Match
    contact_match: Match
    deal_match: Match
    create_company: CreateCompany | None = None
    create_contact: CreateContact | None = None
    overall_confidence: Confidence
    triage: Triage | None = None


class Company(BaseModel):
    """A candidate company under its number."""

    number: int
    name: str
    domain: str | None
    status: str
    evidence: list[str]


class Contact(BaseModel):
    """A candidate contact under its number; `company` is the number of their company."""

    number: int
    name: str
    email: str | None
    title: str | None
    company: int
    evidence: list[str]


class Deal(BaseModel):
    """An open deal under its number; `company` is the number of its company."""

    number: int
    name: str
    stage: str
    company: int


class Envelope(BaseModel):
    """A communication seen from outside, with everybody who may be meant."""

    model_config = ConfigDict(frozen=True)

    communicationType: str
    direction: Literal["inbound", "outbound", "internal"]
    fromEmail: Annotated[str, Untrusted(60)]
    fromName: Annotated[str, Untrusted(60)]
    emailDomain: Annotated[str, Untrusted(60)]
    isGenericDomain: bool
    subject: Annotated[str, Untrusted(200)]
    contentPreview: Annotated[str, Untrusted(800)]
    emailsMentioned: Annotated[list[str], Untrusted(200)]
    phonesMentioned: Annotated[list[str], Untrusted(100)]
    namesMentioned: Annotated[list[str], Untrusted(150)]
    companyMentions: Annotated[list[str], Untrusted(200)]
    candidateCompanies: Annotated[list[Company], Untrusted(1500)]
    candidateContacts: Annotated[list[Contact], Untrusted(1500)]
    candidateDeals: Annotated[list[Deal], Untrusted(800)]
    products: list[str]


MATCHING: Purpose[Envelope, Placing] = Purpose(
    key="entity_matching",
    capability="matching",
    input=Envelope,
    output=Placing,
    folder="matching/entity_matching",
    tier="cheap",
    max_output_tokens=900,
)


class MatchIn(In):
    """Which communication to place."""

    communication_id: UUID


class MatchedOut(BaseModel):
    """
    What became of it: `linked`, `verify` (linked, a person may look), `review` (a person decides), `none`, `unchanged`
    (linked before), or `skipped` (noise, or among ourselves).
    """

    communication_id: UUID
    outcome: Literal["linked", "verify", "review", "none", "unchanged", "skipped"]
    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    confidence: float = 0.0
    method: str | None = None
    triage: str | None = None
    engine: str | None = None
    degraded: str | None = None
