"""What is asked of a model, about whom, and what it answered."""

from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar, get_type_hints
from uuid import UUID

from pydantic import BaseModel

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out
Tier = Literal["strong", "cheap"]
Engine = Literal["openai", "rules"]


@dataclass(frozen=True, slots=True)
class Untrusted:
    """
    Marks an input as somebody else's words: `Annotated[str, Untrusted(tokens=6000)]`.

    The door cleans it, caps it and fences it; lists of text are fenced as one.
    """

    tokens: int = 6000


@dataclass(frozen=True)
class Purpose(Generic[I, O]):
    """
    One kind of question.

    `key` is the prompt's key; `folder` is where its shipped file lies below prompts/, without `.vN.md`. The field
    names of `input` are the prompt's variables. `output` is what the answer is validated into.
    """

    key: str
    capability: str
    input: type[I]
    output: type[O]
    folder: str
    tier: Tier = "cheap"
    max_output_tokens: int = 2000

    def __post_init__(self) -> None:
        """Be known, so that prompts and rules can be held against the purposes they are for."""
        _known[self.key] = self


_known: dict[str, Purpose[Any, Any]] = {}


def list_purposes() -> list[Purpose[Any, Any]]:
    """Return the purposes of every module imported so far, by key."""
    return [_known[key] for key in sorted(_known)]


@dataclass(frozen=True, slots=True)
class About:
    """Which records a question, or a run, is about; for the books."""

    company_id: UUID | None = None
    contact_id: UUID | None = None
    deal_id: UUID | None = None
    communication_id: UUID | None = None
    transcription_id: UUID | None = None


@dataclass(frozen=True)
class Answer(Generic[O]):
    """
    A validated answer, and where it came from.

    `degraded` says why the rules answered in place of a model (`budget`, `timeout`, `invalid_output` ...); it is None
    when the engine that was meant to answer did.
    """

    value: O
    engine: Engine
    provider: str
    model: str
    prompt_key: str
    prompt_version: int
    prompt_source: Literal["file", "database"]
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0
    call_id: UUID | None = None
    degraded: str | None = None
    wrap_up: bool = False


class Text(BaseModel):
    """The answer of purposes that want prose; these can be streamed."""

    text: str


@cache
def untrusted_fields(model: type[BaseModel]) -> dict[str, Untrusted]:
    """Return the marked fields of an input model."""
    hints: dict[str, Any] = get_type_hints(model, include_extras=True)
    return {
        name: mark
        for name in model.model_fields
        for mark in getattr(hints[name], "__metadata__", ())
        if isinstance(mark, Untrusted)
    }
