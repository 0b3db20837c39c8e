"""
What reading support cases costs when there are a thousand of them, ten thousand, and a hundred thousand.

Counted is the processor time of this process and of its Postgres backend, from /proc, per read. Beside ours stands the
page alone: the same rows by the same index, built into JSON by one statement with neither a count nor a model around it.
All three workspaces are read in turn, so that a busy machine slows them alike.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import sql

from memory import embedded, migrate
from memory.callers import SYSTEM
from memory.db import Database, Tx
from tools.cases import figures, listing
from tools.cases.listing import CaseFilter
from tools.cases.rows import CASE

SIZES = (1_000, 10_000, 100_000)
OPEN, PER_COMPANY = 500, 50
WARM, ROUNDS, BATCH = 10, 12, 10
FLAT = 2.0
"""How much dearer a read may be with a hundred times the cases, measured on a machine that does other things, too."""

PEOPLE: LiteralString = """
    INSERT INTO users (auth_id, email, name, role) SELECT 'bench' || n, 'bench' || n || '@ours.example', 'Bench', 'rep' FROM generate_series(1, 20) n
"""
COMPANIES: LiteralString = """
    INSERT INTO companies (name, normalized_name, segment, industry)
    SELECT 'Company ' || n, 'company ' || n, 'smb', 'other' FROM generate_series(1, %(companies)s) n
"""
CASES: LiteralString = """
    INSERT INTO support_cases (company_id, source, title)
    SELECT c.id, 'email', 'Case about ' || md5(n::text) || CASE WHEN n %% 5 = 0 THEN ' invoice' ELSE '' END
      FROM generate_series(1, %(cases)s) n JOIN (SELECT id, row_number() OVER () - 1 AS place FROM companies) c ON c.place = n %% %(companies)s
"""
READ_MODEL: LiteralString = """
    INSERT INTO support_case_read_model (support_case_id, company_id, title, description, status, severity, source, tags, opened_at, owner_id,
        first_response_warned, first_response_breached, resolution_warned, resolution_breached, update_warned, update_breached, response_count,
        customer_response_count, agent_response_count, escalation_count, escalation_level, reopen_count, resolution_due_at, last_event_at,
        last_event_type, last_event_sequence)
    SELECT s.id, s.company_id, s.title, repeat('It does not work. ', 20), CASE WHEN s.place > %(closed)s THEN 'open' ELSE 'closed' END,
           (ARRAY['low', 'medium', 'high', 'urgent', 'critical'])[1 + s.place %% 5], 'email', '{}', %(now)s - s.place * interval '10 minutes', u.id,
           false, s.place %% 10 = 0, false, false, false, false, 0, 0, 0, 0, 0, 0, %(now)s, %(now)s, 'SupportCaseCreated', 1
      FROM (SELECT *, row_number() OVER (ORDER BY id) AS place FROM support_cases) s
      JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM users) u ON u.place = s.place %% 20
"""
PAGE: LiteralString = f"""
    SELECT json_agg(x)::text
      FROM (SELECT {CASE}, json_build_object('id', c.id, 'name', c.name) AS company
              FROM support_case_read_model m JOIN companies c ON c.id = m.company_id
             ORDER BY m.opened_at DESC, m.support_case_id LIMIT 50) x
"""
Read = Callable[[Tx], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Workspace:
    """One size of workspace, with rows to ask for."""

    cases: int
    db: Database
    company_id: UUID
    owner_id: UUID
    case_id: UUID

    def reads(self) -> dict[str, Read]:
        """Return what is read of cases."""
        filters = {
            "the newest": CaseFilter(),
            "open ones by what is due": CaseFilter(status="open,in_progress", sort="resolution_due_at", order="asc"),
            "a company's": CaseFilter(company_id=self.company_id),
            "somebody's open ones": CaseFilter(owner_id=self.owner_id, status="open"),
            "late ones": CaseFilter(sla_breached=True),
            "urgent ones": CaseFilter(severity="urgent,critical"),
            "by words of the title": CaseFilter(search="no such words"),
        }

        def listed(filter: CaseFilter) -> Read:
            return lambda tx: listing.list_cases(tx, SYSTEM, filter)

        return {
            "bare page": lambda tx: tx.tuples(PAGE),
            **{name: listed(filter) for name, filter in filters.items()},
            "one case": lambda tx: listing.get_case(tx, SYSTEM, self.case_id),
            "a company's figures": lambda tx: figures.get_company_figures(tx, SYSTEM, self.company_id),
        }


@contextmanager
def serve() -> Iterator[str]:
    """Serve a private Postgres with the settings it is shipped with."""
    with tempfile.TemporaryDirectory(prefix="rainmaker-bench-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        with embedded.serving(Path(folder)) as url:
            yield url


async def make_database(url: str, name: str) -> str:
    """Make a database with our schema and return its URL."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    own = f"{url.rpartition('/')[0]}/{name}"
    await migrate.migrate(own)
    return own


async def fill(url: str, cases: int) -> Workspace:
    """Fill a database with this many cases, 500 of them open."""
    db = await Database.open(url, size=2)
    async with db.transaction() as tx:
        await tx.run(PEOPLE)
        await tx.run(COMPANIES, companies=cases // PER_COMPANY)
        await tx.run(CASES, cases=cases, companies=cases // PER_COMPANY)
        await tx.run(READ_MODEL, closed=cases - OPEN)
    async with db.reading() as tx:
        await tx.run("VACUUM ANALYZE")
        [(case_id, company_id, owner_id)] = await tx.tuples(
            "SELECT support_case_id, company_id, owner_id FROM support_case_read_model WHERE status = 'open' LIMIT 1"
        )
    return Workspace(cases, db, company_id, owner_id, case_id)


def _used(backend: int) -> float:
    """Return the processor seconds of this process and of one backend."""
    nanoseconds = int(Path(f"/proc/{backend}/schedstat").read_text(encoding="ascii").split()[0])
    return time.process_time() + nanoseconds / 1e9


async def measure() -> dict[str, list[float]]:
    """Return milliseconds of processor per read, by what is read and the number of cases."""
    with serve() as url:
        spaces = [await fill(await make_database(url, f"cases{size}"), size) for size in SIZES]
        best: dict[str, list[float]] = {name: [float("inf")] * len(SIZES) for name in spaces[0].reads()}
        for nth in range(ROUNDS + 1):
            for at, space in enumerate(spaces):
                async with space.db.reading() as tx:
                    for name, read in space.reads().items():
                        spent = await _time(tx, read, BATCH if nth else WARM)
                        best[name][at] = min(best[name][at], spent) if nth else best[name][at]
        for space in spaces:
            await space.db.close()
        return best


async def _time(tx: Tx, read: Read, times: int) -> float:
    backend = tx.connection.info.backend_pid
    before = _used(backend)
    for _ in range(times):
        await read(tx)
    return (_used(backend) - before) / times * 1000


def render(best: dict[str, list[float]]) -> str:
    """Return the figures as a table."""
    lines = [
        f"{'ms of processor per read':28} {''.join(f'{size:>10,}' for size in SIZES)} {'growth':>8}  goal {FLAT} x"
    ]
    for name, spent in best.items():
        growth = spent[-1] / spent[0]
        verdict = "met" if growth <= FLAT else "MISSED"
        lines.append(f"{name:28} {''.join(f'{ms:10.2f}' for ms in spent)} {growth:8.2f}  {verdict}")
    return "\n".join(lines)


if __name__ == "__main__":
    found = asyncio.run(measure())
    sys.stdout.write(render(found) + "\n")
    sys.exit(any(spent[-1] / spent[0] > FLAT for spent in found.values()))
