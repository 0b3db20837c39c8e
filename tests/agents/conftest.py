"""A model at the wire, and people to ask it: what the tests of agents stand on."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import httpx
import pytest
import respx

from agents.models import Door
from agents.runs import Engine
from memory.callers import Caller
from memory.db import Database
from memory.settings import Settings

URL = "http://model.test/v1"
Scripted = str | dict[str, Any] | httpx.Response | Exception | Callable[[dict[str, Any]], Any]


def completion(
    content: Any, *, model: str = "m", usage: tuple[int, int] | None = (100, 20), **message: Any
) -> httpx.Response:
    """What a compatible server answers; usage None for servers that do not say."""
    text = content if isinstance(content, str) or content is None else json.dumps(content)
    said: dict[str, Any] = {"role": "assistant", "content": text, **message}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {"index": 0, "message": said, "finish_reason": "tool_calls" if "tool_calls" in message else "stop"}
        ],
    }
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return httpx.Response(200, json=body)


def refusal(status: int, message: str = "no", **headers: str) -> httpx.Response:
    """An error as OpenAI words it."""
    return httpx.Response(status, json={"error": {"message": message, "type": "error", "code": None}}, headers=headers)


def spoken(*pieces: str, usage: tuple[int, int] | None = (100, 20)) -> httpx.Response:
    """A streamed answer."""
    base = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    chunks: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": {"role": "assistant", "content": piece}, "finish_reason": None}]}
        for piece in pieces
    ]
    chunks.append({**base, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    if usage:
        counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
        chunks.append({**base, "choices": [], "usage": counted})
    lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
    return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=lines.encode())


@dataclass
class Wire:
    """A scripted server: each request takes the next answer, the last one is repeated. `asked` are the bodies."""

    answers: list[Scripted] = field(default_factory=list[Scripted])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def says(self, *answers: Scripted) -> None:
        self.answers = list(answers)

    def words(self, request: int = -1) -> str:
        """All that the model was told in one request."""
        return "\n".join(str(message["content"]) for message in self.asked[request]["messages"])

    def respond(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        self.asked.append(body)
        answer: Any = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if callable(answer):
            answer = answer(body)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else completion(answer, model=body["model"])


@pytest.fixture
def wire() -> Iterator[Wire]:
    """The server behind `settings_with_model`, answered at the wire."""
    server = Wire()
    with respx.mock(assert_all_called=False) as router:
        router.post(f"{URL}/chat/completions").mock(side_effect=server.respond)
        yield server


@pytest.fixture
def settings(tmp_path: Any) -> Settings:
    """Settings without a model: the rules answer."""
    return Settings(_env_file=None, data=tmp_path, OPENAI_API_KEY=None, OPENAI_BASE_URL=None)  # pyright: ignore[reportCallIssue]


@pytest.fixture
def settings_with_model(settings: Settings) -> Settings:
    """Settings with a compatible server: a strong, a cheap and a fallback model, each with a price."""
    return settings.model_copy(
        update={
            "openai_base_url": URL,
            "model_strong": "strong",
            "model_cheap": "cheap",
            "model_fallback": "spare",
            "model_prices": {"strong": (10.0, 30.0), "cheap": (1.0, 3.0), "spare": (5.0, 15.0)},
            "model_timeout_s": 5.0,
        }
    )


@dataclass
class Pauses:
    """The waits that were asked for, none of which took place."""

    seconds: list[float] = field(default_factory=list[float])

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def door(settings_with_model: Settings, db: Database, pauses: Pauses) -> AsyncIterator[Door]:
    """A door to the scripted server."""
    opened = Door(settings_with_model, db, sleep=pauses)
    yield opened
    await opened.close()


async def hire(db: Database, name: str = "Rita Rep", role: str = "rep") -> Caller:
    """Make a user and return them as a caller."""
    async with db.transaction() as tx:
        user_id = await tx.one(
            UUID,
            """
            INSERT INTO users (auth_id, email, name, role)
            VALUES (%(email)s, %(email)s, %(name)s, %(role)s) RETURNING id
            """,
            email=f"{name.split(maxsplit=1)[0].lower()}.{role}@example.com",
            name=name,
            role=role,
        )
    return Caller(user_id=user_id, role=role, name=name, email="", auth_id="")  # pyright: ignore[reportArgumentType]


@pytest.fixture
async def rep(db: Database) -> Caller:
    """A rep with a row in `users`."""
    return await hire(db)


@pytest.fixture
async def engine(db: Database, settings: Settings) -> AsyncIterator[Engine]:
    """What runs agents, answered by the rules."""
    opened = await Engine.open(settings, db)
    yield opened
    await opened.close()


@pytest.fixture
async def engine_with_model(db: Database, settings_with_model: Settings) -> AsyncIterator[Engine]:
    """What runs agents, answered by the scripted server."""
    opened = await Engine.open(settings_with_model, db)
    yield opened
    await opened.close()
