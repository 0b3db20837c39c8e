"""
The one door to a model.

    prompt ─▶ fence ─▶ reserve ─▶ call ─▶ validate ─▶ settle ─▶ answer
                          │         │         │
                       budget    timeout   not valid
                        spent    429 5xx      │
                          │         │      one repair
                          │     once more     │
                          ▼         ▼         ▼
                    cheap model   fallback model ─▶ rules

Every try is a row in `ai_calls`. An answer that the rules gave in a model's place says why in `degraded`.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar
from uuid import UUID

import structlog
from pydantic import BaseModel

from agents import rules
from agents.attempts import Attempt, Candidate, Desk, Question, Spoken, Unanswered, answer, elapsed_ms, note
from agents.budgets import BudgetSpent, LedgerDown
from agents.calls import CallFailed
from agents.purposes import About, Answer, Purpose, Text
from agents.questions import Prompts
from memory.callers import Caller
from memory.db import Database
from memory.errors import Outage
from memory.settings import Settings
from tools import ai_calls
from tools.ai_calls import NewCall, Outcome

I = TypeVar("I", bound=BaseModel)  # noqa: E741 - what goes in
O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out
log = structlog.get_logger(__name__)


class ModelUnavailable(Outage):
    """No language model answers now ({reason})."""


class ModelFailed(ModelUnavailable):
    """The language model answered wrongly ({reason})."""

    status = 502


class Door:
    """The door of one process and one event loop."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        *,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        prompts: Prompts | None = None,
        trial: bool = False,
    ) -> None:
        """
        Nothing is opened, and no client library loaded, before the first question that needs it.

        The books mark what is asked through a `trial` door: it is paid for, and no record stands on it.
        """
        self._settings = settings
        self._db = db
        self._prompts = prompts or Prompts(db)
        self._trial = trial
        self._desk = Desk(settings, db, sleep)

    async def close(self) -> None:
        """Close the connections to the model."""
        await self._desk.close()

    async def ask(
        self,
        purpose: Purpose[I, O],
        inputs: I,
        *,
        caller: Caller,
        run_id: UUID | None = None,
        about: About = About(),
        suffixes: Sequence[str] = (),
    ) -> Answer[O]:
        """
        Put one question and return a validated answer, a model's or the rules'.

        Prompts are looked up as `key__suffix` for each suffix, then `key`. Never call it inside a transaction: it takes
        seconds. Raises `ModelUnavailable` when nothing can answer.
        """
        prompt = await self._prompts.find(purpose.key, suffixes)
        question = Question(purpose, prompt, inputs, caller, run_id, about, self._trial)
        if self._settings.model_engine == "rules":
            return await self._by_rules(question, None)
        try:
            return await self._by_model(question)
        except Unanswered as nothing:
            return await self._by_rules(question, nothing.reason)

    def stream(
        self,
        purpose: Purpose[I, Text],
        inputs: I,
        *,
        caller: Caller,
        run_id: UUID | None = None,
        about: About = About(),
        suffixes: Sequence[str] = (),
    ) -> "Stream":
        """Put one question whose answer is prose: `async for piece in stream`, then `stream.answer`."""

        async def prepare() -> Question[Text]:
            prompt = await self._prompts.find(purpose.key, suffixes)
            return Question(purpose, prompt, inputs, caller, run_id, about, self._trial)

        return Stream(self, prepare)

    async def _by_model(self, question: Question[O]) -> Answer[O]:
        plan = Plan(self._settings, question)
        while candidate := plan.next():
            try:
                return await Attempt(self._desk, question, candidate).run()
            except (Unanswered, BudgetSpent, LedgerDown) as nothing:
                plan.learn(candidate, nothing)
        raise Unanswered(plan.reason or "unavailable")

    async def _by_rules(self, question: Question[O], degraded: str | None) -> Answer[O]:
        rule = rules.find_rule(question.purpose)
        if rule is None:
            failure = ModelFailed if degraded == "invalid_output" else ModelUnavailable
            raise failure(reason=degraded or "there is neither a model nor a rule for this")
        began = time.perf_counter()
        value = rule(question.inputs)
        call = question.call(engine="rules", provider="rules", model="rules")
        outcome = Outcome("ok", elapsed_ms(began), error=degraded and f"in place of a model: {degraded}")
        call_id = await self._record(call, outcome) if degraded != "ledger" else None
        note(call, outcome, call_id, degraded=degraded)
        return answer(value, call, outcome, call_id, degraded=degraded)

    async def _record(self, call: NewCall, outcome: Outcome) -> UUID:
        async with self._db.reading() as tx:
            return await ai_calls.record_call(tx, call, outcome)

    async def speak(self, question: Question[Text], done: Callable[[Answer[Text]], None]) -> AsyncGenerator[str, None]:
        """
        Yield the pieces of an answer in prose and hand the whole to `done`; `Stream` is the way to call this.

        Raises `ModelUnavailable` before the first piece, `ModelFailed` after it.
        """

        def finish(text: str, call: NewCall, outcome: Outcome, call_id: UUID, low: bool) -> None:
            done(answer(Text(text=text), call, outcome, call_id, low=low))

        plan = Plan(self._settings, question)
        while candidate := plan.next():
            try:
                async with aclosing(Spoken(self._desk, question, candidate).pieces(finish)) as pieces:
                    async for piece in pieces:
                        yield piece
            except CallFailed as failure:
                raise ModelFailed(reason=failure.kind) from failure
            except (Unanswered, BudgetSpent, LedgerDown) as nothing:
                plan.learn(candidate, nothing)
            else:
                return
        found = await self._by_rules(question, plan.reason)
        done(found)
        yield found.value.text


class Stream:
    """An answer in prose on its way. `answer` is there once the pieces have been taken."""

    def __init__(self, door: Door, prepare: Callable[[], Awaitable[Question[Text]]]) -> None:
        """Nothing is asked before the first piece is wanted."""
        self._door = door
        self._prepare = prepare
        self.answer: Answer[Text] | None = None

    def _keep(self, found: Answer[Text]) -> None:
        self.answer = found

    async def __aiter__(self) -> AsyncGenerator[str, None]:
        """Yield the pieces; closing early breaks the call off and books what was said."""
        question = await self._prepare()
        async with aclosing(self._door.speak(question, self._keep)) as pieces:
            async for piece in pieces:
                yield piece


class Plan:
    """Which models get their chance, in which order: the one that is meant, a cheap one when money is low, a fallback."""

    def __init__(self, settings: Settings, question: Question[Any]) -> None:
        """Without a model there is nothing to try, and no reason to be given for that."""
        self.reason: str | None = None
        self._cheap = settings.model_cheap
        self._waiting: list[Candidate] = []
        if settings.model_engine == "rules":
            return
        prompt = question.prompt
        strong = question.purpose.tier == "strong"
        first = prompt.model or (settings.model_strong if strong else settings.model_cheap)
        fallback = prompt.fallback_model or settings.model_fallback
        self._waiting.append(Candidate(first, soft=strong and first != settings.model_cheap))
        if fallback and fallback != first:
            self._waiting.append(Candidate(fallback, fallback=True))

    def next(self) -> Candidate | None:
        """Return the next model to try."""
        return self._waiting.pop(0) if self._waiting else None

    def learn(self, candidate: Candidate, failure: Unanswered | BudgetSpent | LedgerDown) -> None:
        """Change the plan for what happened to this candidate."""
        match failure:
            case Unanswered():
                self.reason = failure.reason
            case BudgetSpent():
                self.reason = "budget"
                self._waiting = [Candidate(self._cheap)] if candidate.soft else []
            case LedgerDown():
                log.error("ledger_down", reason=str(failure))
                self.reason = "ledger"
                self._waiting = []
