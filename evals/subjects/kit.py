"""
What subjects stand on: the door to the model, with a purse and a memory.

A model's answer is remembered by (prompt, model, inputs), so that an interrupted run goes on where it stopped and a
second one costs nothing. The rules are asked afresh: they are what changes.
"""

import hashlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import orjson
from pydantic import BaseModel

from agents import budgets
from agents.models import Door
from agents.purposes import Answer, Purpose
from agents.questions import Prompts
from memory.callers import SYSTEM
from memory.db import Database
from memory.errors import Outage
from memory.settings import Settings
from prompts.registry import Prompt

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out
T = TypeVar("T")


class ModelSilent(Outage):
    """The model did not answer ({reason}); what the rules said in its place is not its result."""


class PurseEmpty(Outage):
    """The limit of {limit} USD for this run is reached."""


@dataclass(frozen=True)
class Answered(Generic[T]):
    """What is left of an answer after the agent's checks, and where it came from."""

    value: T
    origin: Answer[Any]


@dataclass
class Purse:
    """
    What a run may spend, in USD. Each call under way is counted as the dearest so far.

    A call that failed may have been charged all the same: `risked` is the most that can have been.
    """

    limit: float
    spent: float = 0.0
    risked: float = 0.0
    dearest: float = 0.0
    open: int = 0

    def take(self) -> None:
        """
        Make room for one more call.

        Raises `PurseEmpty`.
        """
        gone = self.spent + self.risked
        if gone + self.dearest * (self.open + 1) > self.limit or gone >= self.limit:
            raise PurseEmpty(limit=f"{self.limit:.2f}")
        self.open += 1

    def pay(self, usd: float) -> None:
        """Book what a call cost."""
        self.open -= 1
        self.spent += usd
        self.dearest = max(self.dearest, usd)

    def risk(self, usd: float) -> None:
        """Book what a call that gave nothing can have cost."""
        self.open -= 1
        self.risked += usd


@dataclass(frozen=True, slots=True)
class Asked:
    """One question that was answered: from memory or not, in how many milliseconds then, for what."""

    cached: bool
    ms: int
    tokens: int
    usd: float


@dataclass
class Asker:
    """
    The way of a subject to the model. `cache` is a folder, or None to ask everything again.

    `prompts` are those of the door, so that both speak of the same words.
    """

    settings: Settings
    door: Door
    purse: Purse
    prompts: Prompts
    cache: Path | None = None
    asked: list[Asked] = field(default_factory=list[Asked])

    @classmethod
    def open(
        cls,
        settings: Settings,
        db: Database,
        purse: Purse,
        cache: Path | None = None,
        pinned: Mapping[str, Prompt] | None = None,
        **door: Any,
    ) -> "Asker":
        """Return an asker with a door of its own, which somebody must close; `pinned` prompts go before all others."""
        prompts = Prompts(db, pinned)
        return cls(settings, Door(settings, db, prompts=prompts, trial=True, **door), purse, prompts, cache)

    def for_case(self) -> "Asker":
        """Return an asker that counts by itself and shares all else."""
        return replace(self, asked=[])

    async def ask(self, purpose: Purpose[I, O], inputs: I) -> Answer[O]:
        """
        Put one question.

        Raises `ModelSilent` when the rules answered in a model's place, `PurseEmpty`, `ModelUnavailable`.
        """
        place = None if self.settings.model_engine == "rules" else await self._place(purpose, inputs)
        if place is not None and place.exists():
            said = orjson.loads(place.read_bytes())
            return self._note(_restored(purpose, said), said.get("ms", 0), cached=True)
        began = time.perf_counter()
        if self.settings.model_engine == "rules":
            answer = await self.door.ask(purpose, inputs, caller=SYSTEM)
        else:
            answer = await self._pay_for(purpose, inputs)
        ms = round((time.perf_counter() - began) * 1000)
        if place is not None:
            _store(place, answer, ms)
        return self._note(answer, ms, cached=False)

    def _note(self, answer: Answer[O], ms: int, *, cached: bool) -> Answer[O]:
        self.asked.append(Asked(cached, ms, answer.input_tokens + answer.output_tokens, answer.cost_usd))
        return answer

    async def _pay_for(self, purpose: Purpose[I, O], inputs: I) -> Answer[O]:
        self.purse.take()
        most = float(budgets.cost(self.settings, self._model(purpose), 0, purpose.max_output_tokens))
        try:
            answer = await self.door.ask(purpose, inputs, caller=SYSTEM)
        except BaseException:
            self.purse.risk(most)
            raise
        if answer.engine == "rules":
            self.purse.risk(most)
            raise ModelSilent(reason=answer.degraded or "unknown")
        self.purse.pay(answer.cost_usd)
        return answer

    def _model(self, purpose: Purpose[Any, Any]) -> str:
        return self.settings.model_strong if purpose.tier == "strong" else self.settings.model_cheap

    async def _place(self, purpose: Purpose[Any, Any], inputs: BaseModel) -> Path | None:
        if self.cache is None:
            return None
        prompt = await self.prompts.find(purpose.key)
        model = prompt.model or self._model(purpose)
        identity = orjson.dumps(
            [
                purpose.key, prompt.version, prompt.source, prompt.system, prompt.user, prompt.temperature, prompt.max_tokens, model,
                self.settings.openai_base_url, inputs.model_dump(mode="json"), purpose.output.model_json_schema(),
            ],
            option=orjson.OPT_SORT_KEYS,
        )  # fmt: skip
        name = hashlib.sha256(identity).hexdigest()
        return self.cache / name[:2] / f"{name}.json"


def _store(place: Path, answer: Answer[Any], ms: int) -> None:
    """Write it whole or not at all, whatever interrupts."""
    place.parent.mkdir(parents=True, exist_ok=True)
    said = {name: value for name, value in vars(answer).items() if name not in ("value", "call_id")}
    with tempfile.NamedTemporaryFile(dir=place.parent, delete=False) as draft:
        draft.write(orjson.dumps(said | {"ms": ms, "value": answer.value.model_dump(mode="json")}))
    Path(draft.name).replace(place)


def _restored(purpose: Purpose[Any, O], said: dict[str, Any]) -> Answer[O]:
    """Return an answer of before. What it cost then is what it costs to get, whoever paid."""
    origin: dict[str, Any] = {name: value for name, value in said.items() if name not in ("value", "ms")}
    return Answer(value=purpose.output.model_validate(said["value"]), **origin)
