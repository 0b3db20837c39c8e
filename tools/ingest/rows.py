"""A mail with its place among the rows that are written."""

from dataclasses import dataclass
from datetime import datetime

from tools.mail.preparing import House, Prepared, domains_of, prepare


@dataclass(slots=True)
class Placed:
    """A mail with its place among the rows: its id, its thread, whom it is with, and who answered it."""

    id: str
    thread: str
    mail: Prepared
    occurred_at: datetime
    preview: str
    company_id: str | None = None
    contact_id: str | None = None
    match_method: str | None = None
    awaits_us: bool = False
    awaits_them: bool = False
    answered_by: "Placed | None" = None


__all__ = ["House", "Placed", "Prepared", "domains_of", "prepare"]
