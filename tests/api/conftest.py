"""
The API under test: one application per session, its services per test.

    client          nobody is signed in
    sign_in(user)   a client for a user: `given.user()`, an `auth_id`, or a row with one
    rep, manager, admin   clients of three people, each with `.caller`

By default requests run inside the test's own transaction (`tx`), each under a savepoint, so that `given` and the routes
see the same rows and nothing stays. `live` is a client on a database of the test's own (`db`), for what must commit.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
from pydantic import SecretStr

from api import auth
from api.app import Rainmaker, create_app
from api.services import Services
from memory.callers import Caller
from memory.db import Database, Tx, clock
from memory.recall import Recall
from memory.settings import Settings
from tools import users

SECRET = "a secret of tests that is long enough to sign with"
CRON = "the cron secret of tests"


class TwoConnections(AssertionError):
    """Ten such requests at once would wait for each other's connections."""


class OneTransaction(Database):
    """A database whose every transaction is a savepoint of the test's own."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.url = ""
        self.recall = Recall()
        self._lock = asyncio.Lock()
        self._holder: asyncio.Task[Any] | None = None

    @asynccontextmanager
    async def transaction(self, now: datetime | None = None) -> AsyncIterator[Tx]:
        if self._lock.locked() and self._holder is asyncio.current_task():
            raise TwoConnections("this request holds a transaction and asks for another")
        async with self._lock, self.tx.connection.transaction():
            self._holder = asyncio.current_task()
            tx = Tx(self.tx.connection, now or clock())
            yield tx
            await tx.finish()

    @asynccontextmanager
    async def reading(self, now: datetime | None = None) -> AsyncIterator[Tx]:
        async with self.transaction(now) as tx:
            yield tx

    async def close(self) -> None:
        """The test's transaction is closed by the test."""


class Client(httpx.AsyncClient):
    """A client that knows who is signed in."""

    caller: Caller


def settings_for_tests(**overrides: Any) -> Settings:
    """Return settings that nothing outside the test decides."""
    values = {"jwt_secret": SecretStr(SECRET), "cron_secret": SecretStr(CRON), "log_level": "error"}
    return Settings(_env_file=None, data=Path("/nonexistent"), **(values | overrides))  # pyright: ignore[reportCallIssue]


@pytest.fixture(scope="session")
def app_settings() -> Settings:
    return settings_for_tests()


@pytest.fixture(scope="session")
def built_app(app_settings: Settings) -> Rainmaker:
    return create_app(app_settings)


@pytest.fixture
async def app(built_app: Rainmaker, app_settings: Settings, tx: Tx) -> AsyncIterator[Rainmaker]:
    """The application on the test's transaction."""
    built_app.state.services = services = Services(app_settings, OneTransaction(tx))
    yield built_app
    await services.close()


def client_of(app: Rainmaker, **headers: str) -> Client:
    """Return a client that says `headers` with every request."""
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)  # pyright: ignore[reportArgumentType]
    return Client(transport=transport, base_url="http://test", headers=headers)


@pytest.fixture
async def client(app: Rainmaker) -> AsyncIterator[Client]:
    async with client_of(app) as made:
        yield made


SignIn = Callable[[Any], Awaitable[Client]]


@pytest.fixture
async def sign_in(app: Rainmaker, app_settings: Settings, tx: Tx) -> AsyncIterator[SignIn]:
    """Sign somebody in: a Caller, a row or id of a user, or an `auth_id`."""
    opened: list[Client] = []

    async def enter(who: Any) -> Client:
        if isinstance(who, UUID):
            who = await tx.one(str, "SELECT auth_id FROM users WHERE id = %(id)s", id=who)
        auth_id = who if isinstance(who, str) else who.auth_id
        made = client_of(app, authorization=f"Bearer {auth.issue_token(app_settings, auth_id)}")
        caller = await users.find_caller(tx, [auth_id])
        assert caller is not None
        made.caller = caller
        opened.append(made)
        return made

    yield enter
    for made in opened:
        await made.aclose()


async def add_user(tx: Tx, name: str, role: str) -> str:
    """Insert a user and return the `auth_id`."""
    return await tx.one(
        str,
        """
        INSERT INTO users (auth_id, email, name, role)
        VALUES (%(auth_id)s, %(email)s, %(name)s, %(role)s) RETURNING auth_id
        """,
        auth_id=f"auth-{name}",
        email=f"{name}@ours.example",
        name=name.title(),
        role=role,
    )


@pytest.fixture
async def rep(sign_in: SignIn, tx: Tx) -> Client:
    return await sign_in(await add_user(tx, "rita rep".replace(" ", "-"), "rep"))


@pytest.fixture
async def manager(sign_in: SignIn, tx: Tx) -> Client:
    return await sign_in(await add_user(tx, "mona-manager", "manager"))


@pytest.fixture
async def admin(sign_in: SignIn, tx: Tx) -> Client:
    return await sign_in(await add_user(tx, "ada-admin", "admin"))


@pytest.fixture
async def live_app(db: Database, app_settings: Settings) -> AsyncIterator[Rainmaker]:
    """An application on a database of the test's own."""
    made = create_app(app_settings)
    made.state.services = Services(app_settings, db)
    yield made
    await made.state.services.gate.close()


@pytest.fixture
async def live(live_app: Rainmaker, db: Database, app_settings: Settings) -> AsyncIterator[Client]:
    """A rep's client on a database of the test's own."""
    async with db.transaction() as tx:
        auth_id = await add_user(tx, "lena-live", "rep")
        caller = await users.find_caller(tx, [auth_id])
    assert caller is not None
    async with client_of(live_app, authorization=f"Bearer {auth.issue_token(app_settings, auth_id)}") as made:
        made.caller = caller
        yield made


# A stage: routes that exist only to be tested ------------------------------------------------------------------------


@pytest.fixture(scope="session")
def staged(app_settings: Settings) -> Rainmaker:
    from api.routes import ROUTERS
    from tests.api import stage

    return create_app(app_settings, (*ROUTERS, stage.router))


@pytest.fixture
async def stage_app(staged: Rainmaker, app_settings: Settings, tx: Tx) -> AsyncIterator[Rainmaker]:
    staged.state.services = services = Services(app_settings, OneTransaction(tx))
    yield staged
    await services.close()


@pytest.fixture
async def stage_client(stage_app: Rainmaker) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(app=stage_app)  # pyright: ignore[reportArgumentType]
    async with Client(transport=transport, base_url="http://test") as made:
        yield made


@pytest.fixture
async def stage_rep(stage_app: Rainmaker, app_settings: Settings, tx: Tx) -> AsyncIterator[Client]:
    async with client_of(stage_app, authorization=await a_token(app_settings, tx)) as made:
        made.caller = await a_caller(tx)
        yield made


@pytest.fixture
async def stage_live_app(staged: Rainmaker, app_settings: Settings, fresh_url: str) -> AsyncIterator[Rainmaker]:
    """The stage on a database of the test's own, with two connections."""
    database = await Database.open(fresh_url, size=2)
    staged.state.services = services = Services(app_settings, database)
    yield staged
    await services.close()


@pytest.fixture
async def stage_live(stage_live_app: Rainmaker, app_settings: Settings) -> AsyncIterator[Client]:
    async with stage_live_app.state.services.db.transaction() as tx:
        token = await a_token(app_settings, tx)
    async with client_of(stage_live_app, authorization=token) as made:
        yield made


async def a_token(settings: Settings, tx: Tx) -> str:
    return f"Bearer {auth.issue_token(settings, await add_user(tx, 'stan-stage', 'rep'))}"


async def a_caller(tx: Tx) -> Caller:
    caller = await users.find_caller(tx, ["auth-stan-stage"])
    assert caller is not None
    return caller
