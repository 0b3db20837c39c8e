"""The workspace: what is particular to the company that runs this service, as data with neutral defaults."""

from typing import Literal

from pydantic import ConfigDict, Field

from memory.callers import Caller
from memory.db import Json, Tx
from memory.errors import Forbidden, Invalid
from memory.rows import Row

FREE_MAIL = (
    "gmail.com", "googlemail.com", "outlook.com", "hotmail.com", "live.com", "msn.com", "yahoo.com", "icloud.com", "me.com",
    "aol.com", "gmx.com", "gmx.de", "gmx.net", "web.de", "proton.me", "protonmail.com", "mail.com", "zoho.com", "yandex.com",
    "qq.com", "163.com", "126.com", "orange.fr", "free.fr", "laposte.net", "libero.it", "t-online.de", "mail.ru",
)  # fmt: skip
LEGAL_FORMS = (
    "inc", "incorporated", "llc", "corp", "corporation", "company", "co", "ltd", "limited", "gmbh", "ag", "bv", "sa", "sas",
    "plc", "pty", "service", "services", "solutions", "group", "enterprise", "enterprises",
)  # fmt: skip
PRICE_WORDS = ("price", "pricing", "cost", "quote", "proposal", "discount", "budget", "fee", "payment", "invoice")
OBJECTION_WORDS = (
    "concern", "worried", "issue", "not sure", "competitor", "alternative", "too expensive", "not ready", "hold off",
)  # fmt: skip
STALL_DAYS = {"discovery": 4, "demo": 5, "proposal": 3, "negotiat": 2}


class Workspace(Row):
    """
    What a workspace says of itself.

    Lists of allowed values (`industries`, `segments` ...) are closed: a value outside is refused, an empty list allows
    everything. Domains and addresses are lower-case. A sale is stalled after `stall_days` in a stage whose name holds the
    word, the first that fits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = "Workspace"
    currency: str = "USD"
    timezone: str = "UTC"
    own_domains: tuple[str, ...] = ()
    own_addresses: tuple[str, ...] = ()
    internal_domains: tuple[str, ...] = ()
    generic_mail_domains: tuple[str, ...] = FREE_MAIL
    notetaker_domains: tuple[str, ...] = (
        "fireflies.ai", "otter.ai", "grain.com", "fathom.video", "avoma.com", "gong.io", "chorus.ai", "tldv.io", "fellow.app",
    )  # fmt: skip
    industries: tuple[str, ...] = ()
    segments: tuple[str, ...] = ("smb", "mid_market", "enterprise")
    sales_teams: tuple[str, ...] = ()
    crm_platforms: tuple[str, ...] = ()
    company_attributes: dict[str, Literal["text", "number", "boolean", "date"]] = {}
    name_stop_words: tuple[str, ...] = LEGAL_FORMS
    price_words: tuple[str, ...] = PRICE_WORDS
    objection_words: tuple[str, ...] = OBJECTION_WORDS
    competitors: tuple[str, ...] = ()
    stall_days: dict[str, int] = STALL_DAYS
    stall_days_otherwise: int = Field(default=5, ge=1)
    proposal_stages: tuple[str, ...] = ("proposal", "negotiat")
    default_segment: str = "smb"
    default_industry: str = "other"
    default_sales_team: str | None = None
    reply_sla_minutes: int = Field(default=240, ge=1)
    demo_loaded_at: str | None = None


class OnlyAdmins(Forbidden):
    """Only an admin may change the workspace."""


class ValueNotOffered(Invalid):
    """{field} must be one of: {offered}."""


async def get_workspace(tx: Tx) -> Workspace:
    """Return what the workspace says of itself, defaults filled in."""
    return Workspace.model_validate(await tx.one(dict[str, object], "SELECT config FROM workspace"))


async def update_workspace(tx: Tx, caller: Caller, workspace: Workspace) -> Workspace:
    """
    Replace what the workspace says of itself.

    Raises `OnlyAdmins`.
    """
    if caller.role != "admin":
        raise OnlyAdmins
    await tx.run("UPDATE workspace SET config = %(config)s, updated_at = %(now)s", config=Json(workspace))
    return workspace


def check_offered(field: str, value: str | None, offered: tuple[str, ...]) -> None:
    """
    Refuse a value that a closed list of the workspace does not hold.

    Raises `ValueNotOffered`.
    """
    if value is not None and offered and value not in offered:
        raise ValueNotOffered(field=field, offered=", ".join(offered))
