"""`python -m api ingest`: a mailbox is read in front of the one who asked, and the result is told."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from memory.callers import SYSTEM
from memory.db import Database
from memory.errors import NotFound
from tools import ingest, users


class NobodyToReadFor(NotFound):
    """The workspace has no active rep; say whose mailbox it is with --mailbox."""


def read(url: str, path: Path, mailbox: str | None, console: Console) -> None:
    """Read the source into the mailbox, with a bar on a terminal; raises what `ingest.ingest` raises."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[seen]} messages"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(path.name, total=None, seen=0)

        def show(progress: ingest.Progress) -> None:
            bar.update(task, total=progress.bytes_total, completed=progress.bytes_done, seen=progress.seen)

        run = asyncio.run(_read(url, path, mailbox, show))
    _report(run, console)


async def _read(url: str, path: Path, mailbox: str | None, show: Callable[[ingest.Progress], None]) -> ingest.IngestRow:
    database = await Database.open(url, size=4)
    try:
        if mailbox is None:
            async with database.reading() as tx:
                first = await users.find_caller_by_role(tx, "rep")
            if first is None:
                raise NobodyToReadFor
            mailbox = first.email
        request = ingest.IngestIn(path=str(path), mailbox=mailbox)
        return await ingest.ingest(database, SYSTEM, request, progress=show)
    finally:
        await database.close()


def _report(run: ingest.IngestRow, console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    for words, count in (
        ("messages seen", run.seen),
        ("written", run.written),
        ("known already", run.duplicates),
        ("with a problem", run.damaged),
    ):
        table.add_row(words, f"{count:,}")
    for reason, count in sorted(run.report.items(), key=lambda item: -item[1]):
        table.add_row(f"  {reason}", f"{count:,}")
    console.print(table)
