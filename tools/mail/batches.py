"""Mail in the portions in which it is written: read, prepared, and with a place at which reading can go on."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tools.mail import sources
from tools.mail.preparing import House, Prepared, prepare
from tools.mail.sources import Item, Place


class Limits(NamedTuple):
    """How much a batch holds: mails, and characters of text."""

    mails: int
    chars: int


@dataclass(slots=True)
class Batch:
    """Some mails in a row, what could not be kept of the source between them, and the place after the last."""

    mails: list[Prepared] = field(default_factory=list[Prepared])
    rejected: list[Item] = field(default_factory=list[Item])
    problems: Counter[str] = field(default_factory=Counter[str])
    damaged: int = 0
    chars: int = 0
    seen: int = 0
    place: Place = field(default_factory=lambda: Place("", 0))

    def add(self, item: Item, house: House) -> None:
        """Take the next item of the source."""
        self.seen += 1
        self.place = item.after
        if item.mail is None:
            self.rejected.append(item)
            self.problems[f"not kept as mail: {item.reason}"] += 1
            self.damaged += 1
            return
        if item.mail.is_draft:
            self.problems["not kept as mail: a draft"] += 1
            self.rejected.append(item._replace(reason="a draft"))
            return
        if item.mail.problems:
            self.problems.update(item.mail.problems)
            self.damaged += 1
        mail = prepare(item, house)
        self.mails.append(mail)
        self.chars += len(mail.full_content) + len(mail.body_text) + len(item.mail.html)


def read(path: Path, start: Place | None, house: House, limits: Limits) -> Iterator[Batch]:
    """Yield the source from the place on, in batches of about this size."""
    batch = Batch()
    for item in sources.read(path, start):
        batch.add(item, house)
        # A batch ends only where reading can go on: not inside a line that holds a page of messages.
        if (batch.seen >= limits.mails or batch.chars >= limits.chars) and item.after != item.start:
            yield batch
            batch = Batch()
    if batch.seen:
        yield batch
