"""
What a summary is asked with, and what comes back.

A model is shown the records (source 0) and what was said and done (sources 1, 2, ...). Every claim names its source by
number and quotes it; people are named by their number. Ids never pass through a model.
"""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from agents.purposes import About, Purpose, Untrusted

Level = Literal["high", "medium", "low"]
RECORDS = 0


class SummaryIn(BaseModel):
    """Which deal, company or contact; `force` makes a new summary even when the last one is fresh."""

    model_config = ConfigDict(extra="forbid")

    type: Literal["deal", "company", "contact"]
    id: UUID
    force: bool = False


class SummaryDone(BaseModel):
    """The summary that stands now, whether this run made it, and what it cost."""

    summary_id: UUID
    is_new: bool
    was_stale: bool
    tokens_used: int = 0
    engine: str


class Material(BaseModel):
    """One numbered source as a model is shown it."""

    source: int
    type: str
    date: str
    direction: str | None
    who: str | None
    title: str | None
    text: str


class DealInputs(BaseModel):
    """What the deal summary is made of."""

    dealInfo: str
    companyInfo: str
    contactsInfo: Annotated[str, Untrusted(1000)]
    activitiesInfo: Annotated[list[Material], Untrusted(6000)]
    tasksInfo: str
    metricsInfo: str


class CompanyInputs(BaseModel):
    """What the company summary is made of."""

    companyInfo: str
    contactsInfo: Annotated[str, Untrusted(1000)]
    dealsInfo: str
    activitiesInfo: Annotated[list[Material], Untrusted(6000)]
    productsInfo: str
    engagementInfo: str


class ContactInputs(BaseModel):
    """What the contact summary is made of."""

    contactInfo: str
    companyInfo: str
    dealsInfo: str
    communicationsInfo: Annotated[list[Material], Untrusted(6000)]
    engagementInfo: str


class Claim(BaseModel):
    """One statement: the number of its source, and the words there that carry it."""

    text: str = Field(max_length=600)
    source: int = Field(ge=0)
    quote: str = Field(max_length=600)
    importance: Level = "medium"
    confidence: float = Field(default=0.8, ge=0, le=1)


class Action(BaseModel):
    """What to do next, and why."""

    action: str = Field(max_length=300)
    priority: Level = "medium"
    reasoning: str = Field(default="", max_length=500)


class SummaryOutput(BaseModel):
    """A summary as the model gives it; code checks every claim and adds the numbers."""

    headline: Claim
    overview: list[Claim] = Field(default=[], max_length=8)
    key_points: list[Claim] = Field(default=[], max_length=8)
    risks: list[Claim] = Field(default=[], max_length=6)
    opportunities: list[Claim] = Field(default=[], max_length=6)
    recommended_actions: list[Action] = Field(default=[], max_length=5)
    confidence: float = Field(default=0.7, ge=0, le=1)


class ContactOutput(SummaryOutput):
    """A contact's summary: what moves this person, and how to deal with them."""

    insights: list[Claim] = Field(default=[], max_length=6)
    pain_points: list[Claim] = Field(default=[], max_length=6)
    interests: list[Claim] = Field(default=[], max_length=6)
    relationship_tips: list[Action] = Field(default=[], max_length=4)


DEAL = Purpose(
    key="deal_summary",
    capability="summaries",
    input=DealInputs,
    output=SummaryOutput,
    folder="summaries/deal",
    tier="strong",
)
COMPANY = Purpose(
    key="company_summary",
    capability="summaries",
    input=CompanyInputs,
    output=SummaryOutput,
    folder="summaries/company",
    tier="strong",
)
CONTACT = Purpose(
    key="contact_summary",
    capability="summaries",
    input=ContactInputs,
    output=ContactOutput,
    folder="summaries/contact",
    tier="strong",
)


class Cited(BaseModel):
    """A claim that stands: `cites` are numbers in the summary's list of sources."""

    text: str
    cites: list[int]
    importance: Level = "medium"
    certainty: Literal["plain", "possible"]


class Citation(BaseModel):
    """One thing that the summary cites, with the words it rests on."""

    number: int
    type: str
    id: UUID | None
    title: str | None
    occurred_at: datetime | None
    quote: str


class Kept(BaseModel):
    """What is kept of an answer after checking, and how many claims were dropped because nothing carries them."""

    headline: str | None
    overview: list[Cited]
    key_points: list[Cited]
    risks: list[Cited]
    opportunities: list[Cited]
    insights: list[Cited] = []
    pain_points: list[Cited] = []
    interests: list[Cited] = []
    recommended_actions: list[Action]
    relationship_tips: list[Action] = []
    citations: list[Citation]
    dropped: int
    confidence: float


Shape = dict[str, Any]
"""The JSON of a finished summary, in the shape of its type."""


def about(type: Literal["deal", "company", "contact"], subject_id: UUID) -> About:
    """Return the record that a summary concerns, for the books."""
    match type:
        case "deal":
            return About(deal_id=subject_id)
        case "company":
            return About(company_id=subject_id)
        case "contact":
            return About(contact_id=subject_id)
