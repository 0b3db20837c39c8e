"""Every route under nonsense: whatever is sent, the answer is a refusal in words and never our mistake."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote
from uuid import UUID

import pytest
import structlog
from fastapi.routing import APIRoute

from api.app import Rainmaker
from api.auth import SAFE_METHODS
from api.examples import UUID as UUID_OF_EXAMPLES
from api.services import AgentsAsleep, Services
from memory.db import Tx
from tests.api.conftest import Client
from tests.given import Given

ID = "8f14e45f-ceea-467a-9538-1f5fb4bdb0ab"
WORDS: tuple[Any, ...] = (
    "",
    "a\x00b",
    "\U0001f9e8\u202e" * 50,
    "%' OR 1=1 --\\",
    "-1",
    "99999999999999999999999999",
    "NaN",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999+14:00",
    "2026-02-30",
    ID,
    "x" * 5000,
)
VALUES: tuple[Any, ...] = (
    *WORDS,
    None,
    True,
    2**31,
    10**30,
    1e308,
    [],
    [None],
    ["x"] * 500,
    [ID, ID],
    {},
    {"a": {"b": [{"c": "\x00"}]}},
    {"x" * 3000: 1},
)
BODIES: tuple[Any, ...] = (None, [], "text", 7, True, {}, {"unknown": 1}, [{}] * 100)


Rows = dict[str, str]


@pytest.fixture
async def rows(given: Given, tx: Tx) -> Rows:
    """One row of what paths and bodies name, so that nonsense gets as far as it can."""
    rep = await given.user()
    company = await given.company()
    contact = await given.contact(company=company)
    deal = await given.deal(company=company)
    communication = await given.communication(user=rep)
    task = await given.task(company=company, deal=deal)
    run = await tx.one(UUID, "INSERT INTO agent_runs (agent, status) VALUES ('analysis', 'succeeded') RETURNING id")
    signal = await tx.one(
        UUID,
        """
        INSERT INTO ai_signals (company_id, deal_id, signal_type, severity, category, title, source)
        VALUES (%(company_id)s, %(deal_id)s, 'stale_deal', 'low', 'risk', 'Quiet', 'manual') RETURNING id
        """,
        company_id=company.id,
        deal_id=deal.id,
    )
    case = await given.case(company=company)
    made = {
        "company": company, "contact": contact, "deal": deal, "communication": communication, "task": task, "case": case,
    }  # fmt: skip
    return {name: str(row.id) for name, row in made.items()} | {"run": str(run), "signal": str(signal)}


def known(rows: Rows, name: str) -> str:
    """Return the id of the row that a parameter or field of this name means: `company_id`, `dealId`, `id`."""
    noun = re.sub(r"(_id|Id)$", "", name).lower()
    return rows.get(noun, rows["deal"] if name == "id" else ID)


def real(rows: Rows, value: Any, name: str = "") -> Any:
    """Return an example with the ids of real rows in it."""
    if isinstance(value, dict):
        return {key: real(rows, item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [real(rows, item, name) for item in value]
    return known(rows, name) if value == UUID_OF_EXAMPLES else value


def path_of(route: APIRoute, rows: Rows, word: str | None = None) -> str:
    path = route.path
    for name in [part[1:-1] for part in path.split("/") if part.startswith("{")]:
        path = path.replace(f"{{{name}}}", quote(known(rows, name) if word is None else word, safe=""))
    return path.replace(ID, "deal") if path.endswith(f"/{rows['deal']}") else path


def queries(route: APIRoute, schema: dict[str, Any]) -> Iterator[dict[str, str]]:
    operation = schema["paths"].get(route.path, {}).get("get", {})
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "query":
            for word in WORDS:
                yield {parameter["name"]: word}


def bodies(route: APIRoute, method: str, schema: dict[str, Any], rows: Rows) -> Iterator[Any]:
    yield from BODIES
    content = schema["paths"].get(route.path, {}).get(method.lower(), {}).get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    model = schema["components"]["schemas"].get(reference.rpartition("/")[2], {})
    example = real(rows, content.get("application/json", {}).get("example"))
    if isinstance(example, dict):
        for name in model.get("properties", {}):
            for value in VALUES:
                yield example | {name: value}


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> None:
    """No agent is asked: what they make of nonsense is for their own tests."""

    async def refuse(_self: Services) -> None:
        raise AgentsAsleep

    monkeypatch.setattr(Services, "engine", refuse)
    monkeypatch.setattr(Services, "wake_agents", lambda _self: None)
    monkeypatch.setattr("api.auth.Gate._count", unlimited)
    monkeypatch.setattr("api.edge.log", structlog.wrap_logger(None, processors=[drop]))


def drop(_logger: Any, _method: str, _event: Any) -> Any:
    raise structlog.DropEvent


async def unlimited(_self: Any, _principal: str, _limit: int) -> None:
    """Nonsense comes in numbers here."""


@pytest.mark.usefixtures("asleep")
class TestNonsense:
    async def test_in_paths(self, admin: Client, built_app: Rainmaker, rows: Rows):
        mistakes: list[str] = []
        for route in built_app.api_routes:
            if "{" not in route.path:
                continue
            for method in route.methods or ():
                for word in WORDS:
                    answer = await admin.request(method, path_of(route, rows, word))
                    if answer.status_code == 500:
                        mistakes.append(f"{method} {route.path} with {word[:30]!r}")
        assert not mistakes, "\n".join(mistakes)

    async def test_in_queries(self, admin: Client, built_app: Rainmaker, rows: Rows):
        mistakes: list[str] = []
        schema = built_app.openapi()
        for route in built_app.api_routes:
            if "GET" not in (route.methods or ()):
                continue
            for query in queries(route, schema):
                answer = await admin.get(path_of(route, rows), params=query)
                if answer.status_code == 500:
                    mistakes.append(f"GET {route.path} with {str(query)[:60]}")
        assert not mistakes, "\n".join(mistakes)

    async def test_in_bodies(self, admin: Client, built_app: Rainmaker, rows: Rows):
        mistakes: list[str] = []
        schema = built_app.openapi()
        for route in built_app.api_routes:
            for method in (route.methods or set()) - SAFE_METHODS:
                for body in bodies(route, method, schema, rows):
                    answer = await admin.request(method, path_of(route, rows), json=body)
                    if answer.status_code == 500:
                        mistakes.append(f"{method} {route.path} with {str(body)[:160]}")
                    elif answer.status_code >= 400 and route.path.startswith("/api/"):
                        assert "error" in answer.json(), f"{method} {route.path}: {answer.text}"
        assert not mistakes, "\n".join(mistakes)
