"""
What a request costs: our routes beside bare Starlette routes that run the very same SQL.

Both are served by uvicorn on the same loop and parser, over the same embedded Postgres; requests alternate between them
in one run, so that a busy machine slows both. Counted is the processor time of each server and of its own Postgres
backends, from /proc, to the nanosecond where the kernel tells it.
"""

import asyncio
import http.client
import os
import pickle
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

import orjson
import psycopg
from pydantic import SecretStr

from api import auth
from memory import embedded, migrate
from memory.callers import Caller
from memory.db import Database, Tx
from memory.settings import Settings

SECRET = "a secret of the bench that is long enough to sign with"
COMPANIES, CONTACTS, COMMUNICATIONS = 10_000, 100_000, 100_000
ROUTES = 290
WARM, ROUNDS, BATCH = 40, 50, 12


@dataclass(frozen=True)
class Figure:
    """One line of the table; times in milliseconds of processor per request, server and Postgres together."""

    name: str
    ours_ms: float
    bare_ms: float
    limit: float
    ours_server_ms: float = 0.0
    bare_server_ms: float = 0.0
    bytes: int = 0

    @property
    def ratio(self) -> float:
        """Ours over the bare limit."""
        return self.ours_ms / self.bare_ms


# The data -----------------------------------------------------------------------------------------------------------

FILL = f"""
INSERT INTO users (auth_id, email, name, role)
VALUES ('bench', 'bench@ours.example', 'Bench Marker', 'manager'), ('rep', 'rep@ours.example', 'Rep', 'rep');
INSERT INTO companies (name, normalized_name, domain, status, segment, industry, notes)
SELECT 'Company ' || lpad(n::text, 6, '0'), 'company ' || n, 'company' || n || '.example',
       (ARRAY['prospect', 'customer', 'churned'])[1 + n % 3], 'smb', 'other', repeat('A note on this company. ', 4)
  FROM generate_series(1, {COMPANIES}) n;
INSERT INTO contacts (company_id, name, first_name, last_name, email, phone, title, role)
SELECT c.id, 'Person ' || lpad(n::text, 6, '0'), 'Person', n::text, 'p' || n || '@company.example', '+49 30 ' || n,
       'Head of something', 'influencer'
  FROM (SELECT id, row_number() OVER () AS place FROM companies) c
  JOIN generate_series(1, {CONTACTS}) n ON c.place = 1 + n % {COMPANIES};
INSERT INTO communications (user_id, company_id, contact_id, channel, direction, occurred_at, subject, content_preview,
                            full_content, external_id, thread_id, sender_email, sender_name, sender_domain)
SELECT u.id, k.company_id, k.id, 'email', (ARRAY['inbound', 'outbound'])[1 + k.place % 2],
       now() - k.place * interval '5 minutes', 'About order ' || k.place, repeat('Thank you for the offer. ', 8),
       repeat('Thank you for the offer, we will look at it next week and come back to you. ', 10), 'x' || k.place,
       't' || k.place / 4, k.email, k.name, 'company.example'
  FROM (SELECT *, row_number() OVER () AS place FROM contacts LIMIT {COMMUNICATIONS}) k
  CROSS JOIN (SELECT id FROM users WHERE auth_id = 'bench') u;
ANALYZE;
"""


@contextmanager
def filled_database() -> Iterator[str]:
    """Yield the URL of an embedded Postgres with the bench's rows in it."""
    folder = Path(tempfile.mkdtemp(prefix="rainmaker-bench-"))
    folder.chmod(0o755)
    server = embedded.start(folder, {**embedded.UNSAFE, "shared_buffers": "256MB"})
    try:
        asyncio.run(migrate.migrate(server.url))
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(cast("Any", FILL))
            connection.execute("VACUUM ANALYZE")
        yield server.url
    finally:
        server.stop(at_once=True)
        shutil.rmtree((folder / "postgres").resolve(), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)


# The same SQL -------------------------------------------------------------------------------------------------------


class Recorder(Tx):
    """A transaction that keeps what is asked of it."""

    __slots__ = ("asked",)

    def __init__(self, inner: Tx) -> None:
        super().__init__(inner.connection, inner.now)
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def _execute(self, sql: Any, params: dict[str, Any], **how: Any) -> Any:
        cursor = await super()._execute(sql, params, **how)
        self.asked.append((sql, dict(params)))
        return cursor


async def recorded(url: str, path: str) -> list[tuple[str, dict[str, Any]]]:
    """Return the statements and parameters that our route of this path runs."""
    from api.app import create_app
    from api.endpoints import Endpoint

    app = create_app(settings_of(url, 1))
    parts = urlsplit(path)
    found = app.table.find(parts.path)
    assert found is not None
    endpoint = found[0]["GET"]
    assert isinstance(endpoint, Endpoint)
    db = await Database.open(url)
    try:
        async with db.reading() as tx:
            user_id = await tx.one(UUID, "SELECT id FROM users WHERE auth_id = 'bench'")
            caller = Caller(user_id=user_id, role="manager", auth_id="bench")
            recorder = Recorder(tx)
            arguments: dict[str, Any] = {}
            errors: list[Any] = []
            await endpoint._query.read(parts.query.encode(), arguments, errors)
            assert not errors
            for name, value in zip(endpoint.names, found[1], strict=True):
                arguments[name] = UUID(value)
            names = {child.name for child in endpoint.route.dependant.dependencies}
            arguments |= {"tx": recorder} | {name: caller for name in names - {"tx"} if name}
            await endpoint._call(**arguments)
    finally:
        await db.close()
    return recorder.asked


# The servers --------------------------------------------------------------------------------------------------------


def settings_of(url: str, port: int) -> Settings:
    """Return the settings of our server under test."""
    values: dict[str, Any] = {
        "DATABASE_URL": SecretStr(url),
        "jwt_secret": SecretStr(SECRET),
        "port": port,
        "log_level": "info",
        "log_format": "json",
        "rate_limit_per_minute": 10_000_000,
        "data": Path(tempfile.gettempdir()),
        "embedding_engine": "hashing",
        "embedding_dimensions": 384,
    }
    return Settings(_env_file=None, **values)  # pyright: ignore[reportCallIssue]


def serve(which: str, url: str, port: int, statements: str) -> None:
    """Serve one of the two applications until killed; runs in a process of its own."""
    import uvicorn

    app = our_app(url, port) if which == "ours" else bare_app(url, Path(statements))
    uvicorn.run(
        app, host="127.0.0.1", port=port, loop="uvloop", http="httptools", log_config=None, access_log=False,
        server_header=False,
        timeout_keep_alive=600,
    )  # fmt: skip


def our_app(url: str, port: int) -> Any:
    """Return our application with a table of `ROUTES` routes, the first and the last of which do the same."""
    from fastapi import APIRouter

    from api.app import create_app
    from api.routes import ROUTERS, companies

    def same(prefix: str) -> APIRouter:
        router = APIRouter(prefix=f"/api/{prefix}")
        router.add_api_route("/{company_id}", companies.get_company, response_model=None)
        return router

    known = sum(len(router.routes) for router in ROUTERS)
    fillers = [same(f"filler-{number}") for number in range(max(0, ROUTES - known - 2))]
    return create_app(settings_of(url, port), (same("first"), *ROUTERS, *fillers, same("last")))


def bare_app(url: str, statements: Path) -> Any:
    """Return a Starlette application that runs recorded statements and sends what they give."""
    from contextlib import asynccontextmanager

    from psycopg_pool import AsyncConnectionPool
    from starlette.applications import Starlette

    asked: dict[str, list[tuple[Any, dict[str, Any]]]] = pickle.loads(statements.read_bytes())
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url,
        min_size=1,
        max_size=10,
        open=False,
        kwargs={"autocommit": True, "prepare_threshold": 3, "options": "-c timezone=UTC"},
    )

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await pool.open(wait=True)
        yield
        await pool.close()

    return Starlette(routes=[bare_route(pool, path, asked[path]) for path in asked], lifespan=lifespan)


def bare_route(pool: Any, path: str, statements: list[tuple[Any, dict[str, Any]]]) -> Any:
    """Return a Starlette route that sends the last value that the statements give."""
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(request: Request) -> Response:
        dict(request.query_params)
        async with pool.connection() as connection:
            body = ""
            for sql, params in statements:
                cursor = await connection.execute(sql, params)
                row = await cursor.fetchone()
                assert row is not None
                body = row[0]
        return Response(body, media_type="application/json")

    return Route(urlsplit(path).path, answer)


class Server:
    """One server process and the Postgres backends that work for it."""

    def __init__(self, which: str, url: str, statements: Path, headers: dict[str, str]) -> None:
        """Start it and wait until it answers."""
        self.name = f"bench-{which}"
        self.port = free_port()
        self._headers = headers
        self._observer = psycopg.connect(url, autocommit=True)
        command = [sys.executable, "-m", "tests.bench.routes", which, url, str(self.port), str(statements)]
        environment = {**os.environ, "PGAPPNAME": self.name}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        self._connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def wait(self, path: str) -> None:
        """Return once the path is answered, and all background work of the start is over."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if self.get(path):
                    return
            except OSError:
                self._connection.close()
                time.sleep(0.1)
        raise TimeoutError(f"{self.name} does not answer")

    def get(self, path: str) -> bytes:
        """Return the body of one request on the open connection."""
        self._connection.request("GET", path, headers=self._headers)
        response = self._connection.getresponse()
        body = response.read()
        if response.status != 200:
            raise RuntimeError(f"{self.name} {path}: {response.status} {body[:200]!r}")
        return body

    def spent(self) -> tuple[float, float]:
        """Return the seconds of processor that the server and its backends have used."""
        rows = self._observer.execute(
            "SELECT pid FROM pg_stat_activity WHERE application_name = %s", [self.name]
        ).fetchall()
        return cpu_of(self.process.pid), sum(cpu_of(row[0]) for row in rows)

    def stop(self) -> None:
        """End the process that was started."""
        self._connection.close()
        self._observer.close()
        self.process.terminate()
        self.process.wait(10)


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_of(pid: int) -> float:
    """Return the seconds of processor of a process, all threads."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9
    except (FileNotFoundError, ValueError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# The measurement ----------------------------------------------------------------------------------------------------


def alternate(first: Server, first_path: str, second: Server, second_path: str) -> tuple[list[float], int]:
    """
    Return milliseconds per request (first server, first Postgres, second server, second Postgres) and the body's size.

    The median over many short rounds: a heartbeat or a busy neighbour touches few of them.
    """
    for _ in range(WARM):
        first.get(first_path)
        second.get(second_path)
    taken: list[list[float]] = [[], [], [], []]
    size = 0
    for _ in range(ROUNDS):
        for offset, server, path in ((0, first, first_path), (2, second, second_path)):
            before = server.spent()
            for _ in range(BATCH):
                size = len(server.get(path))
            after = server.spent()
            taken[offset].append(after[0] - before[0])
            taken[offset + 1].append(after[1] - before[1])
    return [statistics.median(times) * 1000 / BATCH for times in taken], size


def measure() -> list[Figure]:
    """Return the cost of the named routes beside their bare limits, and of the last route beside the first."""
    with filled_database() as url:
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT id FROM companies ORDER BY name LIMIT 1 OFFSET 4711").fetchone()
        assert row is not None
        paths = {
            "GET /api/companies/{id}": f"/api/companies/{row[0]}",
            "GET /api/companies, 50": "/api/companies?limit=50",
            "GET /api/contacts, 50": "/api/contacts?limit=50",
            "GET /api/communications, 50": "/api/communications?limit=50",
        }
        asked = {path: asyncio.run(recorded(url, path)) for path in paths.values()}
        return _measure(url, paths, asked, str(row[0]))


def _measure(url: str, paths: dict[str, str], asked: dict[str, Any], company_id: str) -> list[Figure]:
    token = auth.issue_token(settings_of(url, 1), "bench")
    headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder:
        statements = Path(folder) / "statements"
        statements.write_bytes(pickle.dumps(asked))
        first = next(iter(paths.values()))
        with (
            started("ours", url, statements, headers, first) as ours,
            started("bare", url, statements, headers, first) as bare,
        ):
            _settle(ours)
            for name, path in paths.items():
                spent, size = alternate(ours, path, bare, path)
                figures.append(Figure(name, spent[0] + spent[1], spent[2] + spent[3], 1.5, spent[0], spent[2], size))
            spent, size = alternate(ours, f"/api/last/{company_id}", ours, f"/api/first/{company_id}")
            figures.append(
                Figure(
                    f"last of {ROUTES} routes / first", spent[0] + spent[1], spent[2] + spent[3], 1.1, spent[0], spent[2],
                    size,
                )
            )  # fmt: skip
    return figures


@contextmanager
def started(which: str, url: str, statements: Path, headers: dict[str, str], path: str) -> Iterator[Server]:
    """Yield a server that answers; one after the other, so that they do not choose the same free port."""
    server = Server(which, url, statements, headers)
    try:
        server.wait(path)
        yield server
    finally:
        server.stop()


def _settle(server: Server) -> None:
    """Wait until the server no longer works by itself: it loads its agents after the start."""
    deadline = time.monotonic() + 120
    while orjson.loads(server.get("/readyz"))["agents"] == "loading":
        if time.monotonic() > deadline:
            raise TimeoutError(f"{server.name} still loads its agents")
        time.sleep(0.3)


def main() -> None:
    """Serve when asked to by the measurement, else measure and print."""
    if len(sys.argv) > 1:
        which, url, port, statements = sys.argv[1:]
        serve(which, url, int(port), statements)
        return
    for figure in measure():
        print(  # noqa: T201 - a table for the shell
            f"{figure.name:34} ours {figure.ours_ms:6.3f} ms  bare {figure.bare_ms:6.3f} ms  ratio {figure.ratio:5.2f}"
            f" (limit {figure.limit})  server only {figure.ours_server_ms:6.3f}/{figure.bare_server_ms:6.3f}"
            f"  {figure.bytes} bytes"
        )


if __name__ == "__main__":
    main()
