"""
A demo workspace: a vendor of warehouse scanning software with a year of mail, meetings and deals behind it.

    material (YAML, written by hand) -> lives (threads told backwards from today) -> mailroom (read as the ingest reads) -> rows

The same seed and the same moment give the same rows, and ids never change. What became of products and support cases is
told by commands (chronicle.py). What agents find out (analyses, promises, summaries) is not part of it: they find it out
once the demo is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from memory.db import Json, Tx
from memory.errors import Conflict
from memory.rows import Row
from tools import knowledge, workspace
from tools.demo import accounts, loose, material, offers, shelves
from tools.demo.cast import Cast
from tools.demo.chronicle import Chronicle
from tools.demo.clockwork import Clockwork
from tools.demo.desk import Desk
from tools.demo.lives import Lives
from tools.demo.mailroom import Filed, Mailroom
from tools.demo.meetings import Recorder
from tools.demo.threads import Teller, Thread

SEED = 20
COMMUNICATIONS = 1500
FOLLOWING = (
    "communications.analyze_pending",
    "lifecycle.scan_stages",
    "cases.scan_clocks",
    "health.evaluate_changed",
    "attention.raise_stalls",
    "projections.catch_up",
)
"""What workers do with the demo first."""


class WorkspaceInUse(Conflict):
    """This workspace holds somebody's data; the demo is loaded into an empty one only."""


class DemoCounts(Row):
    """How much the demo holds; `loaded` is False when it was there already."""

    loaded: bool
    users: int
    companies: int
    contacts: int
    deals: int
    communications: int
    transcripts: int
    tasks: int


@dataclass(frozen=True)
class World:
    """The demo before it is written: every table, and the messages they come from."""

    tables: list[shelves.Table]
    filed: list[Filed]
    threads: list[Thread]
    chronicle: Chronicle


def imagine(now: datetime, seed: int = SEED) -> World:
    """Return the demo as it stands at `now`; nothing is read or written but the material."""
    rng = Random(seed)  # noqa: S311 - a story, not a secret
    cast = Cast(material.read())
    clock = Clockwork(cast.material.house.timezone, rng)
    teller = Teller(cast, clock, rng)
    lives = Lives(cast, teller, clock, rng, now)
    deals = lives.of_deals()
    threads = [thread for life in deals for thread in life.threads] + lives.of_customers()
    sorter = loose.Sorter(cast, teller.phrasing, clock, rng, now)
    alone = loose.as_threads([*sorter.noise(threads), *sorter.specials()])
    threads += lives.fill(deals, COMMUNICATIONS - sum(len(thread.messages) for thread in (*threads, *alone)))
    recorder = Recorder(cast, teller.phrasing, clock, rng)
    meetings = [message for thread in threads for message in thread.messages if message.channel == "meeting"]
    transcripts = {message.key: transcript for message in meetings if (transcript := recorder.record(message))}
    filed = Mailroom(cast).file([*threads, *alone], transcripts)
    desk = Desk(cast, teller.phrasing, clock, rng, now)
    tables = [
        *accounts.tables_of(cast, deals, _last_touch(filed), now, rng),
        *offers.tables_of(cast.material, now - timedelta(days=420)),
        desk.activities(filed, deals, threads),
        *shelves.tables_of(filed, accounts.main_products(cast), now),
        *desk.tables(deals),
    ]
    return World(tables, filed, [*threads, *alone], Chronicle(cast, deals, threads, now))


def _last_touch(filed: Sequence[Filed]) -> dict[UUID, datetime]:
    touched: dict[UUID, datetime] = {}
    for row in filed:
        contact = row.contact.contact_id if row.contact and row.noise is None else None
        if contact is not None:
            touched[contact] = max(row.message.at, touched.get(contact, row.message.at))
    return touched


async def load_demo(tx: Tx, now: datetime, *, seed: int = SEED) -> DemoCounts:
    """
    Load the demo into an empty workspace, once, and promise what the agents do with it.

    Raises `WorkspaceInUse`.
    """
    await tx.lock("demo")
    settings = await workspace.get_workspace(tx)
    if settings.demo_loaded_at is not None:
        return await _count(tx, loaded=False)
    if await tx.one(bool, "SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM companies)"):
        raise WorkspaceInUse
    world = imagine(now, seed)
    for table, columns, rows in world.tables:
        await tx.copy(table, columns, rows)
    await world.chronicle.write(tx)
    await tx.run(
        "UPDATE workspace SET config = %(config)s, updated_at = %(now)s",
        config=Json(accounts.workspace_of(material.read(), now)),
    )
    for job in FOLLOWING:
        await tx.enqueue(job, key="demo")
    await knowledge.promise_collecting(tx)
    return await _count(tx, loaded=True)


async def _count(tx: Tx, *, loaded: bool) -> DemoCounts:
    return await tx.one(
        DemoCounts,
        """
        SELECT %(loaded)s::boolean AS loaded, (SELECT count(*) FROM users) AS users, (SELECT count(*) FROM companies) AS companies,
               (SELECT count(*) FROM contacts) AS contacts, (SELECT count(*) FROM deals) AS deals,
               (SELECT count(*) FROM communications) AS communications, (SELECT count(*) FROM meeting_transcriptions) AS transcripts,
               (SELECT count(*) FROM tasks) AS tasks
        """,
        loaded=loaded,
    )


__all__ = ["COMMUNICATIONS", "FOLLOWING", "SEED", "DemoCounts", "WorkspaceInUse", "World", "imagine", "load_demo"]
