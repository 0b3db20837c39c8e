"""
How one model gets its chance: reserve, call, validate, settle; once more after a failure, one repair of a bad answer.

`Desk` is what every attempt in a process shares.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import UUID

from pydantic import BaseModel, ValidationError

from agents import budgets, journal, questions
from agents.budgets import Ledger, Reserved
from agents.calls import FORMS, RETRIED, CallFailed, Form, Reply, Request, Turn
from agents.purposes import About, Answer, Engine, Purpose
from memory import tokens, tracing
from memory.callers import Caller
from memory.db import Database
from memory.settings import Settings
from prompts.registry import Prompt
from tools.ai_calls import NewCall, Outcome, Status

if TYPE_CHECKING:
    from agents.compatible import Compatible

O = TypeVar("O", bound=BaseModel)  # noqa: E741 - what comes out

BACKOFF_S = 0.5
LONGEST_WAIT_S = 5.0
FORM_TOKENS = 16
"""What the form of a chat adds to its words, at most, per message."""
ECHOED_TOKENS = 3000
LARGE = 40_000
"""Characters of input from which on preparing them would hold up the event loop."""


class Unanswered(Exception):
    """No model gave an answer, for this reason."""

    def __init__(self, reason: str) -> None:
        """`reason` ends up in the answer's `degraded`."""
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Question(Generic[O]):
    """One question on its way: what every try of it has in common."""

    purpose: Purpose[Any, O]
    prompt: Prompt
    inputs: BaseModel
    caller: Caller
    run_id: UUID | None
    about: About
    trial: bool = False
    tries: Iterator[int] = field(default_factory=lambda: count(1))

    @property
    def max_output_tokens(self) -> int:
        """The longest answer that is paid for."""
        return self.prompt.max_tokens or self.purpose.max_output_tokens

    def call(
        self, *, engine: Engine, provider: str, model: str, fallback: bool = False, input_tokens: int = 0
    ) -> NewCall:
        """Return the next try as the books know it."""
        return NewCall(
            capability=self.purpose.capability,
            prompt_key=self.prompt.key,
            prompt_version=self.prompt.version,
            prompt_source=self.prompt.source,
            engine=engine,
            provider=provider,
            model=model,
            used_fallback=fallback,
            attempt=next(self.tries),
            input_tokens=input_tokens,
            run_id=self.run_id,
            user_id=self.caller.user_id,
            company_id=self.about.company_id,
            contact_id=self.about.contact_id,
            deal_id=self.about.deal_id,
            communication_id=self.about.communication_id,
            transcription_id=self.about.transcription_id,
            trial=self.trial,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model to try; `soft` when it may only spend up to the soft limit."""

    model: str
    soft: bool = False
    fallback: bool = False


class Desk:
    """What attempts share: the client, the books, and in which form each model's server takes questions."""

    def __init__(self, settings: Settings, db: Database, sleep: Callable[[float], Awaitable[object]]) -> None:
        """The client's library is loaded by the first question that needs it."""
        self.settings = settings
        self.ledger = Ledger(settings, db)
        self._sleep = sleep
        self._client: Compatible | None = None
        self._forms: dict[str, Form] = {}

    async def client(self) -> "Compatible":
        """Return the model's client, loading its library (seconds) beside the event loop."""
        if self._client is None:
            module = await asyncio.to_thread(importlib.import_module, "agents.compatible")
            if self._client is None:
                self._client = cast("Compatible", module.Compatible(self.settings))
        return self._client

    async def close(self) -> None:
        """Close the connections to the model."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    def form_of(self, model: str) -> Form:
        """Return in which form this model's server has last accepted a question."""
        return self._forms.get(model, FORMS[0])

    def step_down(self, model: str, refused: Form) -> bool:
        """Remember that the server refuses this form; False when there is no simpler one."""
        at = FORMS.index(refused)
        if at + 1 == len(FORMS):
            return False
        self._forms[model] = FORMS[at + 1]
        return True

    async def pause(self, failure: CallFailed) -> bool:
        """Wait before the second try, as long as the server asks if that is bearable; False when it is not."""
        wanted = failure.retry_after or 0.0
        if wanted > LONGEST_WAIT_S:
            return False
        await self._sleep(max(wanted, BACKOFF_S))
        return True


class NotValid(Exception):
    """The answer does not fit; `turns` tell the model so."""

    def __init__(self, turns: tuple[Turn, ...]) -> None:
        """The turns continue the conversation that led here."""
        super().__init__("the answer does not fit")
        self.turns = turns


class Attempt(Generic[O]):
    """One model's chance to answer one question."""

    def __init__(self, desk: Desk, question: Question[O], candidate: Candidate) -> None:
        """Nothing is asked yet."""
        self._desk = desk
        self._question = question
        self._candidate = candidate

    async def run(self) -> Answer[O]:
        """
        Return the answer.

        Raises `Unanswered`, `BudgetSpent`, `LedgerDown`.
        """
        client = await self._desk.client()
        turns = await self.first_turns()
        retried = repaired = False
        while True:
            form = self._desk.form_of(self._candidate.model)
            try:
                return await self._try(client, turns, form)
            except NotValid as wrong:
                if repaired:
                    raise Unanswered("invalid_output") from wrong
                repaired = True
                turns = (*turns, *wrong.turns)
            except CallFailed as failure:
                if failure.kind == "form_refused" and self._desk.step_down(self._candidate.model, form):
                    continue
                if retried or failure.kind not in RETRIED or not await self._desk.pause(failure):
                    raise Unanswered(failure.kind) from failure
                retried = True

    async def first_turns(self) -> tuple[Turn, ...]:
        """Return system and user message."""
        asked = self._question
        prepare = (asked.prompt, asked.purpose, asked.inputs, self._candidate.model)
        if len(repr(asked.inputs)) > LARGE:
            words = await asyncio.to_thread(questions.put, *prepare)
        else:
            words = questions.put(*prepare)
        return (("system", words.system), ("user", words.user))

    def request(self, turns: tuple[Turn, ...], schema: type[BaseModel] | None, form: Form) -> Request:
        """Return the next try as the client wants it."""
        asked = self._question
        return Request(
            self._candidate.model, turns, asked.max_output_tokens, schema, form, temperature=asked.prompt.temperature
        )

    def call(self, client: "Compatible", request: Request) -> NewCall:
        """Return the next try as the books want it."""
        model = self._candidate.model
        words = sum(tokens.count(text, model) + FORM_TOKENS for _, text in request.turns)
        if request.schema is not None:
            words += _schema_tokens(request.schema, model)
        return self._question.call(
            engine="openai",
            provider=client.provider,
            model=model,
            fallback=self._candidate.fallback,
            input_tokens=words,
        )

    async def reserve(self, call: NewCall) -> Reserved:
        """
        Put the money for one try aside.

        Raises `BudgetSpent`, `LedgerDown`.
        """
        asked = self._question
        try:
            return await self._desk.ledger.reserve(
                call,
                caller=asked.caller,
                about=asked.about,
                max_output_tokens=asked.max_output_tokens,
                soft=self._candidate.soft,
            )
        except budgets.BudgetSpent:
            note(call, Outcome("blocked_budget", 0), None)
            raise

    async def settle(self, call: NewCall, reserved: Reserved, outcome: Outcome) -> None:
        """Book one try, even when the run is being stopped."""
        await asyncio.shield(self._desk.ledger.settle(reserved.call_id, outcome))
        note(call, outcome, reserved.call_id)

    def used(self, call: NewCall, status: Status, began: float, reply: Reply, error: str | None = None) -> Outcome:
        """Return the outcome of a try that the server answered; what it does not say is counted."""
        asked = reply.input_tokens or call.input_tokens
        said = reply.output_tokens or tokens.count(reply.text, call.model)
        usd = budgets.cost(self._desk.settings, call.model, asked, said)
        return Outcome(status, elapsed_ms(began), asked, said, reply.cached_tokens, usd, error)

    async def _try(self, client: "Compatible", turns: tuple[Turn, ...], form: Form) -> Answer[O]:
        request = self.request(turns, self._question.purpose.output, form)
        call = self.call(client, request)
        reserved = await self.reserve(call)
        began = time.perf_counter()
        try:
            with tracing.span("model call", model=call.model, prompt=call.prompt_key):
                reply = await client.call(request)
        except CallFailed as failure:
            await self.settle(call, reserved, self.failed(call, reserved, began, failure))
            if failure.kind == "invalid_output":
                raise NotValid(_reproach(failure.reply, str(failure))) from failure
            raise
        except BaseException:
            await self.settle(
                call, reserved, Outcome("error", elapsed_ms(began), cost_usd=reserved.usd, error="stopped")
            )
            raise
        return await self._judge(call, reserved, began, reply)

    async def _judge(self, call: NewCall, reserved: Reserved, began: float, reply: Reply) -> Answer[O]:
        try:
            # Postgres takes no NUL, and no field of an answer needs one.
            value = self._question.purpose.output.model_validate_json(reply.text.replace("\\u0000", ""))
        except ValidationError as wrong:
            errors = _errors(wrong)
            await self.settle(call, reserved, self.used(call, "invalid_output", began, reply, errors[:500]))
            raise NotValid(_reproach(reply, errors)) from wrong
        outcome = self.used(call, "ok", began, reply)
        await self.settle(call, reserved, outcome)
        return answer(value, call, outcome, reserved.call_id, low=reserved.low)

    def failed(self, call: NewCall, reserved: Reserved, began: float, failure: CallFailed) -> Outcome:
        """Return the outcome of a try without an answer; one that timed out may have cost all that it could."""
        if failure.reply is not None:
            return self.used(call, "invalid_output", began, failure.reply, str(failure))
        if failure.kind == "timeout":
            return Outcome("timeout", elapsed_ms(began), call.input_tokens, cost_usd=reserved.usd, error=str(failure))
        return Outcome("error", elapsed_ms(began), error=f"{failure.kind}: {failure}")


class Spoken(Attempt[O]):
    """A model's chance to answer in prose, piece by piece. Once a piece has been said, there is no second try."""

    async def pieces(self, done: Callable[[str, NewCall, Outcome, UUID, bool], None]) -> AsyncGenerator[str, None]:
        """
        Yield the answer as it comes, and hand the whole to `done`.

        Raises `Unanswered` before the first piece, `CallFailed` after it, `BudgetSpent`, `LedgerDown`.
        """
        client = await self._desk.client()
        request = self.request(await self.first_turns(), None, "text")
        retried = False
        while True:
            call = self.call(client, request)
            reserved = await self.reserve(call)
            began = time.perf_counter()
            said: list[Reply] = []
            try:
                async with aclosing(client.stream(request)) as stream:
                    async for reply in stream:
                        said.append(reply)
                        if reply.text:
                            yield reply.text
            except CallFailed as failure:
                await self._break_off(call, reserved, began, said, failure)
                if any(reply.text for reply in said):
                    raise
                if retried or failure.kind not in RETRIED or not await self._desk.pause(failure):
                    raise Unanswered(failure.kind) from failure
                retried = True
                continue
            except BaseException as stop:
                await self._break_off(call, reserved, began, said, stop)
                raise
            whole = _whole(said)
            outcome = self.used(call, "ok" if whole.text else "invalid_output", began, whole)
            await self.settle(call, reserved, outcome)
            if not whole.text:
                raise Unanswered("invalid_output")
            done(whole.text, call, outcome, reserved.call_id, reserved.low)
            return

    async def _break_off(
        self, call: NewCall, reserved: Reserved, began: float, said: list[Reply], why: BaseException
    ) -> None:
        if said:
            outcome = self.used(call, "error", began, _whole(said), f"broken off: {why or type(why).__name__}")
        elif isinstance(why, CallFailed):
            outcome = self.failed(call, reserved, began, why)
        else:
            outcome = Outcome("error", elapsed_ms(began), cost_usd=reserved.usd, error="stopped")
        await self.settle(call, reserved, outcome)


# Parts --------------------------------------------------------------------------------------------------------------


def answer(
    value: O, call: NewCall, outcome: Outcome, call_id: UUID | None, *, degraded: str | None = None, low: bool = False
) -> Answer[O]:
    """Return the value with its origin."""
    return Answer(
        value=value,
        engine=cast("Engine", call.engine),
        provider=call.provider,
        model=call.model,
        prompt_key=call.prompt_key,
        prompt_version=call.prompt_version,
        prompt_source="database" if call.prompt_source == "database" else "file",
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        cost_usd=float(outcome.cost_usd),
        call_id=call_id,
        degraded=degraded,
        wrap_up=low or degraded == "budget",
    )


def note(call: NewCall, outcome: Outcome, call_id: UUID | None, *, degraded: str | None = None) -> None:
    """Note the try in the events of the run that this code works for."""
    present = journal.current.get()
    if present is None:
        return
    usd = float(outcome.cost_usd)
    present.note(
        "model.called",
        call_id=str(call_id) if call_id else None,
        prompt=call.prompt_key,
        version=call.prompt_version,
        source=call.prompt_source,
        engine=call.engine,
        provider=call.provider,
        model=call.model,
        status=outcome.status,
        attempt=call.attempt,
        input_tokens=outcome.input_tokens,
        output_tokens=outcome.output_tokens,
        cost_usd=usd,
        ms=outcome.latency_ms,
        degraded=degraded,
    )


def elapsed_ms(began: float) -> int:
    """Return the milliseconds since that reading of the performance counter."""
    return round((time.perf_counter() - began) * 1000)


_schema_sizes: dict[tuple[type[BaseModel], str], int] = {}


def _schema_tokens(schema: type[BaseModel], model: str) -> int:
    key = (schema, model)
    if key not in _schema_sizes:
        _schema_sizes[key] = tokens.count(str(schema.model_json_schema()), model)
    return _schema_sizes[key]


def _errors(wrong: ValidationError) -> str:
    lines = [
        f"{'.'.join(map(str, error['loc'])) or 'answer'}: {error['msg']}"
        for error in wrong.errors(include_url=False, include_input=False, include_context=False)
    ]
    return "\n".join(lines[:20])


def _reproach(reply: Reply | None, errors: str) -> tuple[Turn, ...]:
    """The turns that ask for a repair; the answer comes along, so that only what is wrong changes."""
    said = tokens.cap(reply.text, ECHOED_TOKENS) if reply and reply.text else "(no usable answer)"
    return (
        ("assistant", said),
        (
            "user",
            f"That answer does not fit the form that was asked for:\n{errors}\nGive the whole answer again, corrected.",
        ),
    )


def _whole(said: list[Reply]) -> Reply:
    return Reply(
        "".join(reply.text for reply in said),
        max((reply.input_tokens for reply in said), default=0),
        max((reply.output_tokens for reply in said), default=0),
    )
