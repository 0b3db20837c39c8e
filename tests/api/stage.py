"""Routes that exist only to be tested: each does one thing that an operation may do."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from api.deps import CronSecret, Public, Reading, Signed, StartsModel, Transaction, User
from memory.errors import BadGateway, Conflict, Outage
from memory.rows import In, Row

router = APIRouter(prefix="/stage", tags=["Stage"])


class ThingIn(In):
    name: str = Field(max_length=20)
    count: int = Field(default=1, ge=0, le=100)
    parts: list[str] = []


class ThingOut(Row):
    name: str
    count: int


class ThingFilter(In):
    search: str | None = None
    limit: int = Field(default=50, ge=1, le=200)
    tags: list[str] = []


class ThingExists(Conflict):
    """There is a thing called {name} already."""

    shows = ("existing",)


class VendorSilly(BadGateway):
    """The vendor answered with nonsense."""


class VendorAway(Outage):
    """The vendor does not answer."""


@router.get("/things")
async def list_things(filter: Annotated[ThingFilter, Query()], user: User, tx: Reading) -> dict[str, Any]:
    return {"limit": filter.limit, "search": filter.search, "tags": filter.tags}


@router.post("/things", status_code=201)
async def make_thing(thing: ThingIn, user: User, tx: Transaction) -> ThingOut:
    await tx.run("UPDATE users SET title = coalesce(title, '') || 'x' WHERE id = %(id)s", id=user.user_id)
    return ThingOut(name=thing.name, count=thing.count)


@router.get("/things/{thing_id}")
async def get_thing(thing_id: UUID, user: User, deep: bool = False) -> dict[str, Any]:
    return {"id": str(thing_id), "deep": deep}


@router.post("/sql/{what}")
async def run_sql(what: str, user: User, tx: Transaction) -> Row:
    statements: dict[str, Any] = {
        "unique": "INSERT INTO users (auth_id, email, name, role) SELECT auth_id, 'new', 'x', 'rep' FROM users LIMIT 1",
        "foreign": "INSERT INTO contacts (company_id, name) VALUES (gen_random_uuid(), 'x')",
        "check": "UPDATE users SET role = 'king'",
        "range": "SELECT 99999999999::int",
        "mistake": "SELECT nothing FROM nowhere",
        "canceled": "SET LOCAL statement_timeout = '5ms'; SELECT pg_sleep(1)",
        "late": "SELECT 1",
    }
    await tx.run(statements[what])
    return Row()


@router.post("/commit-fails")
async def commit_fails(user: User, tx: Transaction) -> Row:
    """The constraint is checked by COMMIT, after the route has returned."""
    await tx.run("CREATE TABLE later (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    await tx.run("INSERT INTO later VALUES (1), (1)")
    return Row()


@router.post("/commit-fails-in-fastapi")
async def commit_fails_untouched(request: Request, user: User, tx: Transaction) -> Row:
    return await commit_fails(user, tx)


@router.post("/refuse/{what}", dependencies=[StartsModel])
async def refuse(what: str, user: User, tx: Transaction) -> Row:
    await tx.run("UPDATE users SET title = 'touched' WHERE id = %(id)s", id=user.user_id)
    match what:
        case "conflict":
            raise ThingExists(name="x", existing={"id": "7"})
        case "gateway":
            raise VendorSilly
        case "outage":
            raise VendorAway("they are closed")
        case "group":
            async with asyncio.TaskGroup() as group:
                group.create_task(fail(ThingExists(name="in a group")))
        case _:
            raise KeyError("secret insides")
    return Row()


async def fail(failure: Exception) -> None:
    raise failure


@router.post("/model", dependencies=[StartsModel])
async def ask_model(user: User) -> dict[str, str]:
    return {"said": "yes"}


@router.post("/slow")
async def answer_slowly(user: User) -> dict[str, str]:
    """Holds no transaction while it waits, as a route that asks a model."""
    await asyncio.sleep(0.2)
    return {"said": "at last"}


@router.post("/fails-apart")
async def fail_apart(user: User) -> Row:
    raise VendorSilly


@router.post("/two")
async def take_two(user: User, first: ThingIn, second: ThingIn) -> dict[str, str]:
    return {"first": first.name, "second": second.name}


@router.post("/form", dependencies=[Signed])
async def take_form(word: Annotated[str, Form()]) -> dict[str, str]:
    return {"word": word}


@router.post("/raw", dependencies=[Signed])
async def take_raw(request: Request) -> dict[str, int]:
    return {"size": len(await request.body())}


@router.get("/stream", dependencies=[Public])
async def stream(request: Request) -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        if "break" in request.query_params:
            raise KeyError("in the middle")
        yield b"two"

    return StreamingResponse(parts(), media_type="text/plain")


@router.get("/nothing")
async def nothing(user: User) -> Response:
    return Response(status_code=204)


@router.get("/clock")
async def tick(clock: CronSecret) -> dict[str, str]:
    return {"who": clock.name}


@router.get("/broken-answer")
async def broken_answer(user: User) -> ThingOut:
    return {"name": 7}  # pyright: ignore[reportReturnType]
