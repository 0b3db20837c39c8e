"""
Cases: what is put before an agent, and what a good answer has. A dataset is a YAML list of them.

    - id: analysis-promise-by-friday
      why: A plain promise with a weekday is the commonest of all.
      tags: [promise, english]
      split: dev
      input: {direction: outbound, sentAt: 2026-03-03T15:00:00Z, content: "I will send you the quote by Friday."}
      expect: {promises: [{direction: we, contains: quote, due: 2026-03-06}]}

Inputs are the agents' own input models with defaults for what a case does not care about. In an expectation, what is
left out is not scored; an empty list says that there must be none.
"""

import hashlib
from datetime import UTC, date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast
from uuid import UUID

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from agents.analysis.outputs import Message, OpenPromise
from agents.drafting.outputs import ReplyInputs
from agents.matching.outputs import Company, Contact, Deal

FOLDER = Path(__file__).parent / "datasets"
Split = Literal["dev", "held_out"]
I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
E = TypeVar("E", bound=BaseModel)


class DatasetBroken(Exception):
    """A dataset is not what it should be; the message names the file and the case."""


class Exact(BaseModel):
    """Something that a person wrote by hand: a misspelt field must not pass as one left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Case(Exact, Generic[I, E]):
    """One case; `why` says what it is there to tell."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{2,79}$")]
    why: Annotated[str, Field(min_length=10)]
    tags: list[str] = []
    split: Split = "dev"
    input: I
    expect: E


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Phrase = Annotated[str, Field(min_length=1)]
Phrases = Annotated[list[Phrase], BeforeValidator(_as_list)]
"""Words to look for, whatever their case and spacing. `one | other` is found when either is."""

# Analysis, due dates ------------------------------------------------------------------------------------------------


class MessageInput(Message):
    """A communication; the default is a mail from somebody known at a company that talks with us about a deal."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: str = "email"
    direction: Literal["inbound", "outbound", "internal"] = "inbound"
    sentAt: datetime = datetime(2026, 3, 3, 15, 0, tzinfo=UTC)
    timezone: str = "America/New_York"
    subject: str = "Our conversation"
    ourParticipants: list[str] = ["Ava Lindqvist"]
    theirParticipants: list[str] = ["Dana Whitfield"]
    threadTail: str = ""
    relationshipContext: str = ""
    openPromises: list[OpenPromise] = []
    products: list[str] = ["Stock Control", "Dock Scheduler", "Pick Assistant"]
    competitors: list[str] = ["ScanHive", "Binlogic"]
    priceWords: list[str] = ["per user", "licence"]
    playbookTriggers: list[str] = []


class PromiseExpected(Exact):
    """
    A promise that must be found: whose, words of its text or quote, and its day in the message's own zone.

    `due: null` says that no day may be given; without `due` the day is not scored.
    """

    direction: Literal["we", "they"]
    contains: Phrase
    due: date | None = None

    @property
    def dated(self) -> bool:
        """Whether the case says anything about the day."""
        return "due" in self.model_fields_set


class AnalysisExpected(Exact):
    """What a reading must have. `no_promises` is the same as an empty list of promises."""

    promises: list[PromiseExpected] | None = None
    no_promises: bool = False
    questions: Phrases | None = None
    objections: Phrases | None = Field(default=None, description="Kinds: price, timing, ... as the reading names them")
    sentiment: Phrases | None = Field(default=None, description="The mood, or moods of which any will do")
    urgency: Phrases | None = None
    requires_response: bool | None = None
    fulfilled: list[int] | None = Field(default=None, description="Numbers of the open promises that are kept by it")

    @model_validator(mode="after")
    def _says_something(self) -> "AnalysisExpected":
        if not self.model_fields_set:
            raise ValueError("expect must say something")
        if self.no_promises and self.promises:
            raise ValueError("no_promises, but there are promises")
        return self

    @property
    def all_promises(self) -> list[PromiseExpected] | None:
        """The promises that must be found; None when the case is not about them."""
        return [] if self.no_promises else self.promises


# Matching -----------------------------------------------------------------------------------------------------------


class CompanyInput(Company):
    """A candidate company; numbers run from 1 in the order of the list."""

    model_config = ConfigDict(extra="forbid")

    number: int = 0
    domain: str | None = None
    status: str = "prospect"


class ContactInput(Contact):
    """A candidate contact; `company` is the number of their company."""

    model_config = ConfigDict(extra="forbid")

    number: int = 0
    email: str | None = None
    title: str | None = None
    company: int = 1


class DealInput(Deal):
    """An open deal of a candidate company."""

    model_config = ConfigDict(extra="forbid")

    number: int = 0
    stage: str = "qualifying"
    company: int = 1


class EnvelopeInput(Exact):
    """
    A communication from outside and who may be meant; the rest of the agent's envelope is read from these.

    `evidence` of candidates: thread, thread_other, sender_email, participant_email, domain, subdomain, contact_domain,
    name, body_email. `emailDomain` is the sender's when left out; lists of what is mentioned are read from the text.
    """

    communicationType: str = "email"
    direction: Literal["inbound", "outbound", "internal"] = "inbound"
    fromEmail: str
    fromName: str = ""
    emailDomain: str | None = None
    isGenericDomain: bool = False
    subject: str = ""
    contentPreview: str = ""
    emailsMentioned: list[str] = []
    phonesMentioned: list[str] | None = None
    namesMentioned: list[str] = []
    companyMentions: list[str] | None = None
    candidateCompanies: list[CompanyInput] = []
    candidateContacts: list[ContactInput] = []
    candidateDeals: list[DealInput] = []
    products: list[str] = ["Stock Control", "Dock Scheduler", "Pick Assistant"]


class MatchingExpected(Exact):
    """
    Where it must end: `auto` is linked (with or without a later look), `review` asks a person, `none` does nothing.

    `company` and `contact` are numbers of candidates: who is linked or proposed, null for nobody; left out, it is not
    scored. `triage` is what a message from somebody unknown deserves, null for no decision; several are alternatives.
    """

    verdict: Literal["auto", "review", "none"]
    company: int | None = None
    contact: int | None = None
    triage: Annotated[list[str] | None, BeforeValidator(_as_list)] = None

    def says(self, field: str) -> bool:
        """Whether the case speaks of this field at all."""
        return field in self.model_fields_set


# Reply drafts -------------------------------------------------------------------------------------------------------


class ReplyInput(ReplyInputs):
    """What an answer is written from; `to_email` is the sender's address, to which it goes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    company_name: str = "Harborline Goods"
    contact_first_name: str = "Dana"
    contact_title: str = "Operations Manager"
    sender_name: str = "Ava Lindqvist"
    product_name: str = "Stock Control"
    stage_name: str = "qualifying"
    stage_context: str = "We are finding out whether we fit. Ask about their situation."
    temporal_context: str = "They wrote yesterday."
    reason: str = "They wait for our answer."
    recommended_action: str = "Answer what they asked; where the material has no answer, leave a placeholder."
    email_date: str = "2026-03-02"
    current_date: str = "2026-03-03"
    available_times: list[str] = []
    open_promises: list[str] = []
    style: str = ""
    tone: str = "as they write to us"
    instructions: str = ""
    subject: str = "Our conversation"
    questions: list[str] = []
    last_outbound_summary: str = ""
    to_email: str = "dana@harborline.example"


class ReplyExpected(Exact):
    """
    What a draft must have. `gaps`: whether something must be left open as [[...]] for a person to fill.

    `mentions` and `must_not` are phrases of subject and body; `language` is that of the draft.
    """

    mentions: Phrases = []
    must_not: Phrases = []
    gaps: bool | None = None
    language: Literal["en", "de", "fr", "es", "it", "nl", "pt"] | None = None


# Summaries ----------------------------------------------------------------------------------------------------------


class SourceInput(Exact):
    """Something said or done; numbered from 1 in the order of the list, newest first."""

    type: Literal["communication", "activity", "note", "transcript"] = "communication"
    date: date
    direction: Literal["inbound", "outbound"] | None = "inbound"
    who: str | None = None
    title: str | None = None
    text: str
    sentiment: str | None = None


class SummaryCompanyInput(Exact):
    """The company of the subject."""

    name: str = "Harborline Goods"
    status: str = "prospect"
    segment: str = "mid_market"
    industry: str = "distribution"
    agent_count: int = 40
    crm_platform: str | None = None
    became_customer_at: date | None = None
    products: list[str] = []


class SummaryContactInput(Exact):
    """A person at the company."""

    name: str
    title: str | None = None
    role: str | None = None


class SummaryDealInput(Exact):
    """A deal of the subject."""

    name: str
    stage: str = "qualifying"
    estimated_value: float = 0
    health_score: int = 70
    health_trend: str | None = None
    days_in_stage: int = 5
    expected_close_date: date | None = None
    owner_name: str | None = None


class SummaryPromiseInput(Exact):
    """An open promise."""

    direction: Literal["we", "they"]
    text: str
    due: date | None = None


class SummaryInput(Exact):
    """What a summary may be made of; the counts of messages are made from the sources and `today`."""

    type: Literal["deal", "company", "contact"] = "deal"
    today: date = date(2026, 3, 3)
    company: SummaryCompanyInput = SummaryCompanyInput()
    contacts: list[SummaryContactInput] = []
    deals: list[SummaryDealInput] = []
    tasks: list[str] = []
    promises: list[SummaryPromiseInput] = []
    sources: list[SourceInput] = []

    @model_validator(mode="after")
    def _has_its_subject(self) -> "SummaryInput":
        if (self.type == "deal" and not self.deals) or (self.type == "contact" and not self.contacts):
            raise ValueError(f"the summary of a {self.type} needs one")
        return self


class SummaryExpected(Exact):
    """
    What the kept summary must say (`covers`, and in the list of that name `risks` and `opportunities`), and what not.

    Phrases are looked for in the headline, the claims and the words that they quote; `must_not` in the text alone.
    """

    covers: Phrases = []
    must_not: Phrases = []
    risks: Phrases | None = None
    opportunities: Phrases | None = None


# The judge ----------------------------------------------------------------------------------------------------------


class JudgeInput(Exact):
    """A question that a model answers about an answer, held against the material."""

    question: str
    material: str
    answer: str


class JudgeExpected(Exact):
    """What a person would say."""

    passes: bool


# Datasets -----------------------------------------------------------------------------------------------------------


def read_cases(path: Path, input: type[I], expect: type[E]) -> list[Case[I, E]]:
    """
    Return the cases of one dataset in their order.

    Raises `DatasetBroken`, saying everything that is wrong.
    """
    try:
        said = _parsed(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as failure:
        raise DatasetBroken(f"{path.name}: {failure}") from failure
    if not isinstance(said, list):
        raise DatasetBroken(f"{path.name}: a dataset is a list of cases")
    adapter: TypeAdapter[Case[I, E]] = TypeAdapter(cast("type[Case[I, E]]", Case[input, expect]))  # type: ignore[valid-type]
    cases: list[Case[I, E]] = []
    wrong: list[str] = []
    for place, item in enumerate(cast("list[Any]", said), 1):
        name = _name(item) or f"case {place}"
        try:
            cases.append(adapter.validate_python(item))
        except ValidationError as failure:
            wrong += [f"{name}: {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in failure.errors()]
    ids = [case.id for case in cases]
    wrong += [f"{id}: this id is taken" for id in sorted({id for id in ids if ids.count(id) > 1})]
    if wrong:
        raise DatasetBroken("\n".join(f"{path.name}: {line}" for line in wrong))
    return cases


@lru_cache(maxsize=32)
def _parsed(text: str) -> Any:
    """Parse once what is read several times in a run; cases are models of their own, so nobody changes what is shared."""
    return yaml.safe_load(text)


def _name(item: Any) -> str:
    return str(cast("dict[str, Any]", item).get("id") or "") if isinstance(item, dict) else ""


def digest(cases: list[Case[Any, Any]]) -> str:
    """Return what changes when what is asked or expected does: reasons, tags, order and layout do not count."""
    lines = sorted(case.model_dump_json(include={"id", "input", "expect"}, exclude_unset=True) for case in cases)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def made_id(*parts: object) -> UUID:
    """Return an id for a record that only a case knows, the same each time."""
    return UUID(hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:32])
