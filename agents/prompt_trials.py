"""
Prompts tried out before they are released: what a model would read, and what it answers.

A preview puts a sample or a real record into the words; nothing is asked. A dry run asks once, through the one door: it
is paid for and booked as a trial, and nothing in the records comes of it. Both see what the caller may see.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, Field, model_validator

from agents import guards, purposes, questions, readers, registry
from agents.models import Door
from agents.purposes import About, Purpose, untrusted_fields
from agents.questions import Prompts
from agents.readers import Kind
from memory import tokens
from memory.callers import Caller
from memory.db import Database
from memory.errors import Conflict, Invalid
from memory.rows import In, Row
from memory.settings import Settings
from prompts import registry as words
from prompts.registry import Prompt, PromptError
from tools import ai_calls, ai_prompts
from tools.ai_calls import CallRow
from tools.ai_prompts import ActivePrompt, Offer

LONGEST_VALUE = 20_000
"""Characters of a value that a preview lists beside the words; the words hold all of it."""


class NobodyAsks(Conflict):
    """No agent asks for the prompt {key}, so there is nothing to try."""


class NoSample(Conflict):
    """There is no sample for {key}: choose a record."""


class WrongRecord(Invalid):
    """The prompt {key} is not asked about a {kind}; choose {known}."""


class Material(In):
    """Which real record to put in; without one the sample is."""

    subject_type: Kind | None = None
    subject_id: UUID | None = None

    @model_validator(mode="after")
    def _pair(self) -> "Material":
        if (self.subject_type is None) != (self.subject_id is None):
            raise ValueError("subject_type and subject_id belong together")
        return self


class PreviewIn(Material):
    """A version, or words that are not saved yet; absent: the version that is active."""

    version: int | None = Field(default=None, ge=1)
    prompt_template: str | None = Field(default=None, max_length=100_000)
    system_template: str | None = Field(default=None, max_length=100_000)

    @model_validator(mode="after")
    def _one_kind(self) -> "PreviewIn":
        if self.version is not None and self.prompt_template is not None:
            raise ValueError("send a version or words, not both")
        return self


class DryRunIn(Material):
    """Which version to ask, about what."""

    version: int = Field(ge=1)


class Value(Row):
    """One variable: whether the words use it, whether the agent offers it, and what is put in."""

    name: str
    used: bool
    offered: bool
    untrusted: bool
    value: str | None


class PreviewOut(Row):
    """
    What a model would read: `tokens` in all, `problems` where the words cannot be used as they stand.

    Other people's words stand between the marks of the fence; its number is another one in every call.
    """

    key: str
    version: int | None
    source: Literal["sample", "record", "none"]
    variables: list[Value]
    system: str
    user: str
    tokens: int
    problems: list[str]


class DryRunOut(Row):
    """
    What came of one question. `calls` are its tries in the books, under `trial_id`.

    When the rules answered (`degraded` says why, None: no model is configured), the words were not read.
    """

    trial_id: UUID
    key: str
    version: int
    engine: str
    model: str
    degraded: str | None
    reads_prompt: bool
    answer: dict[str, Any]
    system: str
    user: str
    input_tokens: int
    output_tokens: int
    cost_usd: float
    latency_ms: int
    calls: list[CallRow]


# What code offers -------------------------------------------------------------------------------------------------


def find_purpose(key: str) -> Purpose[Any, Any] | None:
    """Return the purpose that asks with this prompt, or with the one it is a suffixed variant of."""
    registry.load()
    base = key.partition("__")[0]
    return next((purpose for purpose in purposes.list_purposes() if purpose.key == base), None)


def subjects_of(key: str) -> tuple[Kind, ...]:
    """Return the kinds of records that this prompt can be tried with."""
    return readers.list_kinds(key.partition("__")[0])


def find_offer(key: str) -> Offer | None:
    """Return what code puts into a prompt of this key; None for keys that no agent asks for."""
    if key == words.SYSTEM:
        return Offer(sample={})
    purpose = find_purpose(key)
    if purpose is None:
        return None
    return Offer(
        sample=questions.values_of(purpose, sample_of(purpose), None),
        untrusted=frozenset(untrusted_fields(purpose.input)),
        answer=frozenset(purpose.output.model_fields),
    )


def sample_of(purpose: Purpose[Any, Any]) -> BaseModel:
    """Return the sample of a purpose; where none is written down, every value is its own name."""
    written = words.find_sample(purpose.folder)
    if written is not None:
        return purpose.input.model_validate(written)
    return purpose.input.model_construct(**{name: f"({name})" for name in purpose.input.model_fields})


# Previews ---------------------------------------------------------------------------------------------------------


async def preview(db: Database, caller: Caller, key: str, body: PreviewIn, now: datetime) -> PreviewOut:
    """
    Return what a model would read. Words that cannot be used are shown all the same, with what is wrong with them.

    Raises `NoSuchPrompt`, `NoSuchVersion`, `WrongRecord`, and what the record's own reader refuses.
    """
    prompt = await _prompt(db, caller, key, body)
    purpose = find_purpose(key)
    values: dict[str, str] = {}
    marked: frozenset[str] = frozenset()
    source: Literal["sample", "record", "none"] = "none"
    if purpose is not None:
        inputs, _ = await _inputs(db, caller, key, purpose, body, now)
        values, marked = questions.values_of(purpose, inputs, prompt.model), frozenset(untrusted_fields(purpose.input))
        source = "record" if body.subject_id else "sample"
    nonce = guards.new_nonce()
    fenced = {name: guards.fence(value, nonce) if name in marked else value for name, value in values.items()}
    system, wrong = _render(prompt.system, fenced, "system message")
    user, also_wrong = _render(prompt.user, fenced, "prompt", offered=purpose is not None)
    if marked:
        system = f"{system}\n\n{guards.rule_of_the_fence(nonce)}"
    used = _used(prompt)
    return PreviewOut(
        key=key,
        version=prompt.version or None,
        source=source,
        variables=list(_variables(values, marked, used)),
        system=system,
        user=user,
        tokens=tokens.count(system, prompt.model) + tokens.count(user, prompt.model),
        problems=[*wrong, *also_wrong],
    )


async def _prompt(db: Database, caller: Caller, key: str, body: PreviewIn) -> Prompt:
    """Return the words to try, with the default system message where they bring none; version 0 is not saved yet."""
    async with db.reading() as tx:
        prompt = await ai_prompts.get_prompt_by_key(tx, caller, key)
        if body.prompt_template is None:
            kept = await ai_prompts.get_version(tx, caller, key, body.version or prompt.version)
            tried = questions.prompt_of(ActivePrompt.model_validate(kept))
        else:
            tried = Prompt(key, 0, body.prompt_template, body.system_template or "", "database")
    return tried if key == words.SYSTEM else await Prompts(db, {key: tried}).find(key)


async def _inputs(
    db: Database, caller: Caller, key: str, purpose: Purpose[Any, Any], body: Material, now: datetime
) -> tuple[BaseModel, About]:
    if body.subject_type is None or body.subject_id is None:
        return sample_of(purpose), About()
    reader = readers.find_reader(purpose.key, body.subject_type)
    if reader is None:
        raise WrongRecord(key=key, kind=body.subject_type, known=", ".join(subjects_of(key)) or "the sample")
    return await reader(db, caller, body.subject_id, now)


def _render(template: str, values: dict[str, str], place: str, *, offered: bool = True) -> tuple[str, list[str]]:
    """Return the words with what there is put in; what there is not stays as it stands there."""
    try:
        missing = sorted(words.variables(template) - values.keys())
    except PromptError as failure:
        return template, [f"In the {place}: {failure}."]
    shown = words.render(template, values | {name: f"{{{{ {name} }}}}" for name in missing})
    return shown, [f"In the {place}: the agent has nothing for {name}." for name in missing if offered]


def _used(prompt: Prompt) -> frozenset[str]:
    found: set[str] = set()
    for template in (prompt.system, prompt.user):
        try:
            found |= words.variables(template)
        except PromptError:
            continue
    return frozenset(found)


def _variables(values: dict[str, str], marked: frozenset[str], used: frozenset[str]) -> Iterator[Value]:
    for name in (*values, *sorted(used - values.keys())):
        value = values.get(name)
        yield Value(
            name=name,
            used=name in used,
            offered=name in values,
            untrusted=name in marked,
            value=value[:LONGEST_VALUE] if value is not None else None,
        )


# Dry runs ---------------------------------------------------------------------------------------------------------


async def dry_run(
    settings: Settings, db: Database, caller: Caller, key: str, body: DryRunIn, now: datetime
) -> DryRunOut:
    """
    Ask once with a version, released or not, and return what came of it; only those who may write prompts may.

    Never call it inside a transaction. Raises `MayNotWritePrompts`, `NoSuchPrompt`, `NoSuchVersion`, `NobodyAsks`,
    `NoSample`, `WrongRecord`, `PromptUnusable`, `ModelUnavailable`.
    """
    ai_prompts.check_writer(caller, settings.prompt_write_roles)
    asked = PreviewIn.model_validate(body.model_dump())
    prompt = await _prompt(db, caller, key, asked)
    purpose = find_purpose(key)
    if purpose is None:
        raise NobodyAsks(key=key)
    if body.subject_id is None and words.find_sample(purpose.folder) is None:
        raise NoSample(key=key)
    inputs, about = await _inputs(db, caller, key, purpose, body, now)
    read = questions.put(prompt, purpose, inputs, prompt.model or settings.model_strong)
    trial_id = uuid4()
    door = Door(settings, db, prompts=Prompts(db, {purpose.key: prompt}), trial=True)
    try:
        answer = await door.ask(purpose, inputs, caller=caller, run_id=trial_id, about=about)
    finally:
        await door.close()
    async with db.reading(now) as tx:
        calls = await ai_calls.list_calls(tx, trial_id)
    return DryRunOut(
        trial_id=trial_id,
        key=key,
        version=body.version,
        engine=answer.engine,
        model=answer.model,
        degraded=answer.degraded,
        reads_prompt=answer.engine != "rules",
        answer=answer.value.model_dump(mode="json"),
        system=read.system,
        user=read.user,
        input_tokens=sum(call.input_tokens for call in calls),
        output_tokens=sum(call.output_tokens for call in calls),
        cost_usd=sum(call.cost_usd for call in calls),
        latency_ms=sum(call.latency_ms or 0 for call in calls),
        calls=calls,
    )
