"""How much and how often: bodies, addresses, requests per minute; measured on a real socket where that matters."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn

from api import ratelimit
from api.app import Rainmaker
from api.ratelimit import Limiter, TooManyRequests
from api.services import Services
from memory.db import Database, Tx
from tests.api.conftest import Client, OneTransaction, a_token, client_of, settings_for_tests


@pytest.fixture
async def small(staged: Rainmaker, tx: Tx) -> AsyncIterator[Client]:
    """A client of an application that takes bodies of 2 kB, 10 requests and 3 models a minute."""
    settings = settings_for_tests(body_limit_bytes=2048, rate_limit_per_minute=10, rate_limit_ai_per_minute=3)
    staged.state.services = services = Services(settings, OneTransaction(tx))
    async with client_of(staged, authorization=await a_token(settings, tx)) as client:
        yield client
    await services.close()


@asynccontextmanager
async def served(app: Rainmaker) -> AsyncIterator[int]:
    """Serve on a socket, in this loop; yields the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, access_log=False, http="httptools"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait for
            await asyncio.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await task


async def speak(port: int, *parts: bytes) -> bytes:
    """Send the parts and return the beginning of what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        return await asyncio.wait_for(reader.read(65_536), 10)
    finally:
        writer.close()
        await writer.wait_closed()


class TestBody:
    @pytest.mark.parametrize("path", ["/stage/things", "/stage/raw"])
    async def test_too_large_is_413(self, small: Client, path: str):
        answer = await small.post(path, content=b" " * 2049, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert answer.json() == {"error": "The request body is too large."}

    @pytest.mark.parametrize("path", ["/stage/things", "/stage/raw"])
    async def test_too_large_in_pieces_is_413(self, small: Client, path: str):
        sent = 0

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(1000):
                sent += 1
                yield b" " * 1024

        answer = await small.post(path, content=pieces(), headers={"content-type": "application/json"})
        assert answer.status_code == 413

    async def test_of_just_the_limit_is_taken(self, small: Client):
        assert (await small.post("/stage/raw", content=b"x" * 2048)).json() == {"size": 2048}

    async def test_that_lies_about_its_length_is_counted(self, small: Client, staged: Rainmaker):
        async with served(staged) as port:
            head = b"POST /stage/raw HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
            said = await speak(port, head, *[b"400\r\n" + b"x" * 1024 + b"\r\n"] * 3)
        assert said.startswith(b"HTTP/1.1 413")
        assert b'{"error":"The request body is too large."}' in said

    async def test_is_refused_by_its_announced_length_before_it_is_sent(self, small: Client, staged: Rainmaker):
        async with served(staged) as port:
            said = await speak(port, b"POST /stage/raw HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 413")

    async def test_of_somebody_who_leaves_changes_nothing(self, small: Client, staged: Rainmaker, tx: Tx):
        async with served(staged) as port:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            token = small.headers["authorization"].encode()
            writer.write(
                b"POST /stage/things HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\nauthorization: " + token
                + b'\r\ncontent-length: 100\r\n\r\n{"name":'
            )  # fmt: skip
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            said = await speak(port, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert said.startswith(b"HTTP/1.1 200")
        assert await tx.maybe(str, "SELECT title FROM users WHERE auth_id = 'auth-stan-stage'") is None


class TestPerMinute:
    async def test_is_counted_per_person(self, small: Client, staged: Rainmaker, tx: Tx):
        statuses = [(await small.get("/stage/things")).status_code for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2
        answer = await small.get("/stage/things")
        assert set(answer.json()) == {"error"}
        assert 1 <= int(answer.headers["retry-after"]) <= 61
        from api import auth
        from tests.api.conftest import add_user

        other = auth.issue_token(staged.state.services.settings, await add_user(tx, "other", "rep"))
        fresh = await small.get("/stage/things", headers={"authorization": f"Bearer {other}"})
        assert fresh.status_code == 200

    async def test_is_tighter_for_models(self, small: Client):
        statuses = [(await small.post("/stage/model")).status_code for _ in range(5)]
        assert statuses == [200] * 3 + [429] * 2
        assert (await small.get("/stage/things")).status_code == 200

    async def test_is_counted_for_strangers_by_address(self, small: Client):
        statuses = [(await small.get("/healthz")).status_code for _ in range(12)]
        assert statuses == [200] * 10 + [429] * 2

    async def test_starts_anew_with_the_minute(self, small: Client, monkeypatch: pytest.MonkeyPatch):
        for _ in range(11):
            await small.get("/stage/things")
        later = time.time() + 60
        monkeypatch.setattr(ratelimit.time, "time", lambda: later)
        assert (await small.get("/stage/things")).status_code == 200


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take its time to report; what is counted is asked here, and not how fast."""
    now = time.time()
    monkeypatch.setattr(ratelimit.time, "time", lambda: now)
    monkeypatch.setattr(ratelimit, "REPORT_S", 300)


@pytest.mark.usefixtures("patient")
class TestProcesses:
    """Two limiters on one database stand for two processes."""

    async def spend(self, limiter: Limiter, times: int, limit: int) -> int:
        allowed = 0
        for _ in range(times):
            try:
                if not limiter.spend("p", limit):
                    await limiter.settle("p", limit)
            except TooManyRequests:
                continue
            allowed += 1
        return allowed

    async def test_share_a_limit(self, db: Database):
        first, second = Limiter(db), Limiter(db)
        allowed = 0
        for _ in range(40):
            allowed += await self.spend(first, 10, 200) + await self.spend(second, 10, 200)
        assert 200 <= allowed < 210

    async def test_share_a_tight_limit_exactly(self, db: Database):
        first, second = Limiter(db), Limiter(db)
        allowed = 0
        for _ in range(20):
            allowed += await self.spend(first, 1, 15) + await self.spend(second, 1, 15)
        assert allowed == 15

    async def test_ask_the_database_rarely(self, db: Database):
        limiter = Limiter(db)
        settled = 0
        for _ in range(300):
            if not limiter.spend("p", 600):
                settled += 1
                await limiter.settle("p", 600)
        assert settled == 10

    async def test_go_on_alone_without_the_database(self, fresh_url: str):
        database = await Database.open(fresh_url)
        await database.close()
        assert await self.spend(Limiter(database), 30, 20) == 20

    async def test_forget_old_windows(self, db: Database):
        async with db.transaction() as tx:
            await tx.run(
                "INSERT INTO rate_windows (principal, window_start) VALUES ('p', %(long_ago)s)",
                long_ago=datetime(2020, 1, 1, tzinfo=UTC),
            )
        assert await self.spend(Limiter(db), 1, 15) == 1
        async with db.reading() as tx:
            assert await tx.one(int, "SELECT count(*) FROM rate_windows") == 1


@pytest.mark.usefixtures("patient")
class TestConcurrency:
    async def test_counts_every_one_of_many_at_once(self, db: Database):
        limiter = Limiter(db)

        async def once() -> bool:
            try:
                if not limiter.spend("p", 50):
                    await limiter.settle("p", 50)
            except TooManyRequests:
                return False
            return True

        outcomes: list[Any] = await asyncio.gather(*[once() for _ in range(200)])
        # A report that finds no connection in time is counted here alone, as while the database is away.
        assert 45 <= sum(outcomes) <= 50 + 50 // ratelimit.SHARE
