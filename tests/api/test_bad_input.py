"""
Every route under input that its own schema forbids: 400 or 404 with a sentence, and nothing written.

The cases are made from the schema that the application publishes, so a new route is tested the day it appears.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest

from api.app import Rainmaker
from api.auth import SAFE_METHODS
from api.examples import UUID as UUID_OF_EXAMPLES
from memory.db import Json, Tx
from tests.api.conftest import Client
from tests.api.test_hostile import asleep
from tests.given import Given

__all__ = ["asleep"]

NUL = "a NUL byte"
STRANGER = "5d2c8a52-4f0e-4e3b-9a6e-0c6b1f0d7e11"
NOT_JSON = (b"", b"{", b'{"a":', b"nonsense", b"\xff\xfe{}", b"[1,]", b'{"a": NaN}x', b"{" * 50_000, b"[" * 200_000)
NOT_OBJECTS = (b"[]", b'"text"', b"7", b"true", b"null")

# Sign-in, probes and event streams are asked by machines that add parameters of their own.
TAKES_ANY_QUERY = (
    "/healthz", "/readyz", "/metrics", "/api/auth/me", "/api/auth/session", "/api/agents/runs/{run_id}/events",
)  # fmt: skip

Schema = Mapping[str, Any]


class Operation(NamedTuple):
    """One method on one path, as published."""

    method: str
    path: str
    parameters: Sequence[Schema]
    body: Schema | None
    example: Any
    may_lack_body: bool = False

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


class Case(NamedTuple):
    """One request, what is wrong with it, and the field that the refusal must name."""

    wrong: str
    query: dict[str, str] = {}
    body: Any = None
    about: str | None = None


def operations(schema: Schema) -> Iterator[Operation]:
    """Return every operation that takes a query, a path parameter or a JSON body."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            request = operation.get("requestBody", {})
            content = request.get("content", {}).get("application/json", {})
            body = resolved(content["schema"], schema) if content else None
            yield Operation(
                method.upper(),
                path,
                operation.get("parameters", ()),
                body,
                content.get("example") if content else None,
                bool(content) and not request.get("required"),
            )


def resolved(part: Schema, schema: Schema) -> Schema:
    while "$ref" in part:
        part = schema["components"]["schemas"][part["$ref"].rpartition("/")[2]]
    return part


def choices(part: Schema, schema: Schema) -> list[Schema]:
    """Return the alternatives of a schema, null left out."""
    part = resolved(part, schema)
    found = [choice for option in part.get("anyOf", ()) for choice in choices(option, schema)]
    return [choice for choice in found or [part] if choice.get("type") != "null"]


def forbidden(part: Schema, schema: Schema) -> Iterator[tuple[str, Any]]:
    """Return values that a schema forbids, with why."""
    offered = choices(part, schema)
    if any("type" not in choice and "enum" not in choice and "const" not in choice for choice in offered):
        return
    types = {choice.get("type", "string") for choice in offered}
    if "object" not in types:
        yield "an object", {"a": [1]}
    if "array" not in types:
        yield "a list", [[1]]
    if types <= {"string"}:
        yield "a number", 10**30
        yield NUL, "a\x00b"
        yield "too long a text", "x" * 300_000
    if types <= {"integer", "number", "boolean"}:
        yield "words", "many"
        yield "a huge number", 10**300
    if len(offered) == 1:
        yield from beyond(offered[0])


def beyond(choice: Schema) -> Iterator[tuple[str, Any]]:
    """Return values just outside of one schema's limits."""
    if "enum" in choice:
        yield "none of the offered", "no-such-choice"
    if choice.get("format") in ("uuid", "date", "date-time"):
        yield f"no {choice['format']}", "2026-02-30"
    if "maxLength" in choice:
        yield "one letter too many", "x" * (choice["maxLength"] + 1)
    if choice.get("minLength"):
        yield "an empty text", "   "
    if "maxItems" in choice:
        yield "too many", [None] * (choice["maxItems"] + 1)
    for limit, step in (("maximum", 1), ("minimum", -1)):
        if limit in choice:
            yield f"beyond the {limit}", choice[limit] + step


def bad_bodies(operation: Operation, example: dict[str, Any], schema: Schema) -> Iterator[Case]:
    assert operation.body is not None
    yield Case("an unknown field", body=example | {"no_such_field": 1})
    yield Case("a NUL byte in a name", body=example | {"a\x00b": 1})
    for name, part in operation.body.get("properties", {}).items():
        for why, value in forbidden(part, schema):
            yield Case(f"{name}: {why}", body=example | {name: value}, about=None if why == NUL else name)
    for name in operation.body.get("required", ()):
        yield Case(f"without {name}", body={key: value for key, value in example.items() if key != name}, about=name)
        yield Case(f"{name}: null", body=example | {name: None}, about=name)


def bad_queries(operation: Operation, schema: Schema) -> Iterator[Case]:
    known = {part["name"]: part for part in operation.parameters if part["in"] == "query"}
    required = {name: UUID_OF_EXAMPLES for name, part in known.items() if part.get("required")}
    yield Case("an unknown parameter", query=required | {"no_such_parameter": "1"})
    for name, part in known.items():
        for why, value in forbidden(part["schema"], schema):
            if isinstance(value, str | int) and why not in ("a number", "too long a text"):
                yield Case(f"{name}: {why}", query=required | {name: str(value)[:500]})


def unbounded(part: Schema, schema: Schema, place: str) -> Iterator[str]:
    """Return where a schema takes a text or a list without an end."""
    offered = choices(part, schema)
    for choice in offered:
        match choice.get("type"):
            case "string" if len(offered) > 1 and any(other.get("type") == "number" for other in offered):
                pass  # an amount, written as a text
            case "string" if not {"maxLength", "enum", "const", "format", "pattern"} & set(choice):
                yield place
            case "array":
                if "maxItems" not in choice:
                    yield place
                yield from unbounded(choice.get("items", {}), schema, f"{place}[]")
            case "object":
                for name, field in choice.get("properties", {}).items():
                    yield from unbounded(field, schema, f"{place}.{name}")
            case _:
                pass


Rows = dict[str, str]


@pytest.fixture
async def theirs(given: Given, tx: Tx) -> Rows:
    """One row of a kind, all of somebody else."""
    other = await given.user()
    company = await given.company()
    contact = await given.contact(company=company)
    deal = await given.deal(company=company, owner=other)
    communication = await given.communication(user=other, contact=contact)
    task = await given.task(user=other, company=company, deal=deal)
    activity = await given.activity(user=other, deal=deal)
    transcript = await given.transcript(user=other, company=company)
    draft = await given.row(
        "email_drafts", user_id=other.user_id, origin="communication", communication_id=communication.id,
        to_emails=["a@b.example"], subject="x", body_text="x",
    )  # fmt: skip
    signal = await given.row(
        "ai_signals", company_id=company.id, deal_id=deal.id, signal_type="stale_deal", severity="low", category="risk", title="Quiet",
        source="time_based", evidence=Json({}),
    )  # fmt: skip
    run = await given.row("agent_runs", agent="analysis", status="succeeded", user_id=other.user_id)
    case = await given.case(company=company)
    rows = {
        "company": company, "contact": contact, "deal": deal, "communication": communication, "task": task, "activity": activity,
        "transcription": transcript, "draft": draft, "signal": signal, "run": run, "case": case,
    }  # fmt: skip
    return {name: str(row.id) for name, row in rows.items()}


def filled(value: Any, rows: Rows, name: str = "") -> Any:
    """Return an example with the ids of rows in it."""
    if isinstance(value, dict):
        return {key: filled(item, rows, key) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item, rows, name) for item in value]
    return row_of(name, rows) if value == UUID_OF_EXAMPLES else value


def row_of(name: str, rows: Rows) -> str:
    noun = name.removesuffix("_id").removesuffix("Id").lower()
    return rows.get(noun, rows.get("deal", STRANGER) if noun == "id" else STRANGER)


def address(operation: Operation, rows: Rows, word: str | None = None) -> str:
    path = operation.path
    for part in operation.parameters:
        if part["in"] == "path":
            usual = {"type": "deal", "version": "1", "process_type": "sales"}.get(part["name"]) or row_of(
                part["name"], rows
            )
            value = usual if word is None else word
            path = path.replace("{" + part["name"] + "}", quote(value, safe=""))
    return path


async def kept(tx: Tx) -> dict[str, str]:
    """Return what each table holds: its number of rows and their digest."""
    tables = await tx.many(str, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    each = " UNION ALL ".join(
        f"SELECT '{table}' AS name, count(*) || ' ' || coalesce(md5(string_agg(r::text, '' ORDER BY r::text)), '') AS rows"
        f" FROM {table} r"
        for table in tables
    )
    return await tx.one(dict[str, str], f"SELECT json_object_agg(name, rows) FROM ({each}) t")  # pyright: ignore[reportArgumentType]


def refused(answer: httpx.Response, *allowed: int) -> str | None:
    """Return what is wrong with a refusal, or None."""
    if answer.status_code not in allowed:
        return f"{answer.status_code} {answer.text[:200]}"
    said = answer.json().get("error")
    return None if isinstance(said, str) and " " in said else f"says {said!r}"


@pytest.mark.usefixtures("asleep")
class TestBadInput:
    async def test_in_bodies(self, admin: Client, built_app: Rainmaker, theirs: Rows, tx: Tx):
        schema, mistakes, tried = built_app.openapi(), list[str](), 0
        before = await kept(tx)
        for operation in operations(schema):
            if operation.body is None:
                continue
            example = filled(operation.example, theirs)
            assert isinstance(example, dict), operation.name
            for case in bad_bodies(operation, example, schema):
                tried += 1
                answer = await admin.request(operation.method, address(operation, theirs), json=case.body)
                if wrong := refused(answer, 400):
                    mistakes.append(f"{operation.name} with {case.wrong}: {wrong}")
                elif case.about and case.about not in answer.text:
                    mistakes.append(f"{operation.name} with {case.wrong} does not say what is wrong: {answer.text}")
        assert tried > 500
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before

    def test_every_text_and_list_has_an_end(self, built_app: Rainmaker):
        schema = built_app.openapi()
        endless = [
            f"{operation.name}: {place}"
            for operation in operations(schema)
            if operation.body is not None
            for place in unbounded(operation.body, schema, "body")
        ]
        assert not endless, "\n".join(endless)

    async def test_in_what_should_be_json(self, admin: Client, built_app: Rainmaker, theirs: Rows, tx: Tx):
        mistakes, before = list[str](), await kept(tx)
        for operation in operations(built_app.openapi()):
            if operation.body is None:
                continue
            for content in (*NOT_JSON, *NOT_OBJECTS):
                answer = await admin.request(
                    operation.method,
                    address(operation, theirs),
                    content=content,
                    headers={"content-type": "application/json"},
                )
                # A body that may be left out is none of the mistakes; the row is nobody's, then.
                left_out = operation.may_lack_body and content in {b"", b"null"}
                if wrong := refused(answer, 404 if left_out else 400):
                    mistakes.append(f"{operation.name} with {content[:20]!r}: {wrong}")
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before

    async def test_in_depths(self, admin: Client, built_app: Rainmaker, theirs: Rows, tx: Tx):
        mistakes, before = list[str](), await kept(tx)
        deep = "{" + '"a":{' * 5000 + "}" * 5000 + "}"
        for operation in operations(built_app.openapi()):
            for name in (operation.body or {}).get("properties", ()):
                answer = await admin.request(
                    operation.method,
                    address(operation, theirs),
                    content=f'{{"{name}": {deep}}}'.encode(),
                    headers={"content-type": "application/json"},
                )
                if wrong := refused(answer, 400):
                    mistakes.append(f"{operation.name} with a deep {name}: {wrong}")
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before

    async def test_in_queries(self, admin: Client, built_app: Rainmaker, theirs: Rows, tx: Tx):
        schema, mistakes, tried = built_app.openapi(), list[str](), 0
        before = await kept(tx)
        for operation in operations(schema):
            if operation.method not in SAFE_METHODS or operation.path in TAKES_ANY_QUERY:
                continue
            for case in bad_queries(operation, schema):
                tried += 1
                answer = await admin.request(operation.method, address(operation, theirs), params=case.query)
                if wrong := refused(answer, 400):
                    mistakes.append(f"{operation.name} with {case.wrong}: {wrong}")
        assert tried > 100
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before

    @pytest.mark.parametrize("word", ["nobody", "a\x00b", "%", "0", "x" * 3000, STRANGER[:-1]])
    async def test_in_paths(self, admin: Client, built_app: Rainmaker, theirs: Rows, tx: Tx, word: str):
        mistakes, before = list[str](), await kept(tx)
        for operation in operations(built_app.openapi()):
            if address(operation, theirs, word) == operation.path:
                continue
            body = filled(operation.example, theirs)
            answer = await admin.request(operation.method, address(operation, theirs, word), json=body)
            if wrong := refused(answer, 400, 404):
                mistakes.append(f"{operation.name}: {wrong}")
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before


@pytest.mark.usefixtures("asleep")
class TestOtherPeoplesRows:
    async def test_ids_that_are_nobodys_are_not_found(self, admin: Client, built_app: Rainmaker, tx: Tx):
        mistakes, before = list[str](), await kept(tx)
        for operation in operations(built_app.openapi()):
            if STRANGER not in address(operation, {}):
                continue
            asked = {part["name"] for part in operation.parameters if part["in"] == "query"}
            query = {name: "1" for name in ("index", "base", "version") if name in asked}
            body = filled(operation.example, {})
            answer = await admin.request(operation.method, address(operation, {}), params=query, json=body)
            # 503: an agent would have been asked, and finds nobody either.
            if wrong := refused(answer, 404, 503):
                mistakes.append(f"{operation.name}: {wrong}")
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before

    async def test_a_rep_neither_reads_nor_changes_what_is_a_colleagues(
        self, rep: Client, built_app: Rainmaker, theirs: Rows, tx: Tx
    ):
        private = ("communication", "task", "signal", "run")
        mistakes, tried, before = list[str](), 0, await kept(tx)
        for operation in operations(built_app.openapi()):
            named = {part["name"].removesuffix("_id") for part in operation.parameters if part["in"] == "path"}
            if not named.intersection(private):
                continue
            tried += 1
            body = filled(operation.example, theirs)
            answer = await rep.request(operation.method, address(operation, theirs), json=body)
            if wrong := refused(answer, 403, 404, 503):
                mistakes.append(f"{operation.name}: {wrong}")
        assert tried > 15
        assert not mistakes, "\n".join(mistakes)
        assert await kept(tx) == before
