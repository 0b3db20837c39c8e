"""
Rows that a test starts from: `await given.contact(company=acme, email=...)` names only what matters.

Every builder makes what it needs and is not given, and returns the whole row. `now` is the moment of the test's
transaction; `given.ago(days=3)` and `given.ahead(hours=2)` count from it.
"""

from datetime import datetime, timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from psycopg import sql
from psycopg.rows import dict_row

from memory.callers import SYSTEM, Caller, Role
from memory.db import Json, Tx
from tools import names
from tools.cases import handling
from tools.cases.commands import CreateCaseIn

STAGES = (
    "Discovery", "Proposal", {"name": "Won", "terminal_type": "won"}, {"name": "Lost", "terminal_type": "lost"},
)  # fmt: skip


class Given:
    """Builders on one transaction."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self._numbers = count(1)

    def ago(self, **units: float) -> datetime:
        return self.tx.now - timedelta(**units)

    def ahead(self, **units: float) -> datetime:
        return self.tx.now + timedelta(**units)

    async def row(self, table: str, **values: Any) -> Any:
        """Insert one row and return all its columns as attributes."""
        columns = [sql.Identifier(name) for name in values]
        statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
            sql.Identifier(table), sql.SQL(", ").join(columns), sql.SQL(", ").join(sql.Placeholder() * len(columns))
        )
        await self.tx.begin()
        cursor = self.tx.connection.cursor(row_factory=dict_row)
        await cursor.execute(statement, list(values.values()))
        found = await cursor.fetchone()
        assert found is not None
        return SimpleNamespace(**found)

    async def fetch(self, table: str, id: UUID) -> Any:
        """Return a row as it stands now."""
        await self.tx.begin()
        cursor = self.tx.connection.cursor(row_factory=dict_row)
        await cursor.execute(sql.SQL("SELECT * FROM {} WHERE id = %s").format(sql.Identifier(table)), [id])
        found = await cursor.fetchone()
        assert found is not None
        return SimpleNamespace(**found)

    @staticmethod
    def json(value: Any) -> Any:
        return Json(value)

    async def workspace(self, **config: Any) -> None:
        await self.tx.run("UPDATE workspace SET config = config || %(config)s", config=Json(config))

    async def user(self, role: Role = "rep", **values: Any) -> Caller:
        number = next(self._numbers)
        values = {"auth_id": f"auth-{number}", "email": f"user{number}@ours.example", "name": f"User {number}"} | values
        row = await self.row("users", role=role, **values)
        return Caller(user_id=row.id, role=role, name=row.name, email=row.email, auth_id=row.auth_id)

    async def company(self, name: str | None = None, **values: Any) -> Any:
        name = name or f"Company {next(self._numbers)}"
        values = {"segment": "smb", "industry": "other", "normalized_name": names.normalize_company(name, ())} | values
        return await self.row("companies", name=name, **_jsonb(values))

    async def contact(self, name: str | None = None, *, company: Any = None, **values: Any) -> Any:
        company = company or await self.company()
        return await self.row(
            "contacts", name=name or f"Contact {next(self._numbers)}", company_id=company.id, **_jsonb(values)
        )

    async def deal(self, *, company: Any = None, owner: Caller | None = None, **values: Any) -> Any:
        company = company or await self.company()
        values = {"name": f"Deal {next(self._numbers)}", "stage_entered_at": self.tx.now} | values
        return await self.row(
            "deals", company_id=company.id, owner_id=owner.user_id if owner else None, **_jsonb(values)
        )

    async def product(self, name: str | None = None, **values: Any) -> Any:
        name = name or f"Product {next(self._numbers)}"
        return await self.row("products", name=name, **({"slug": name.lower().replace(" ", "-")} | _jsonb(values)))

    async def process(self, product: Any, process_type: str = "sales", stages: Any = STAGES, **values: Any) -> Any:
        """A published process, with its stages by slug: names, or dicts of columns; the last ones end it."""
        process = await self.row(
            "product_processes",
            product_id=product.id,
            **({"process_type": process_type, "status": "published", "name": process_type} | _jsonb(values)),
        )
        process.stages = {}
        for place, stage in enumerate(stages, 1):
            columns = {"name": stage} if isinstance(stage, str) else dict(stage)
            slug = columns.setdefault("slug", columns["name"].lower().replace(" ", "-"))
            columns |= {"stage_order": place, "is_terminal": "terminal_type" in columns}
            process.stages[slug] = await self.row("product_process_stages", process_id=process.id, **_jsonb(columns))
        return process

    async def held(self, product: Any, *, company: Any = None, owner: Caller | None = None, **stands: Any) -> Any:
        """A company's product; with `stands`, columns of its read model, as if its events had said so."""
        company = company or await self.company()
        held = await self.row("company_products", company_id=company.id, product_id=product.id)
        if stands or owner:
            facts = {
                "last_event_at": self.tx.now,
                "last_event_type": "CompanyProductPhaseSet",
                "last_event_sequence": 1,
            }
            await self.row(
                "company_product_read_model",
                company_product_id=held.id,
                company_id=company.id,
                product_id=product.id,
                owner_id=owner.user_id if owner else None,
                **(facts | _jsonb(stands)),
            )
        return held

    async def counted(self) -> None:
        """Bring the counts of products along, which otherwise follow within seconds."""
        await self.tx.run(
            "INSERT INTO pipeline_dirty_products SELECT DISTINCT product_id FROM company_product_read_model"
        )
        await self.tx.run("SELECT settle_pipeline_stage_counts()")

    async def case(self, title: str | None = None, *, company: Any = None, held: Any = None, **values: Any) -> Any:
        """A support case, opened by its command; about a `held` product, or none."""
        company_id = held.company_id if held else (company or await self.company()).id
        values |= {"title": title or f"Case {next(self._numbers)}", "company_product_id": _id(held)}
        opened = await handling.open_case(self.tx, SYSTEM, CreateCaseIn(company_id=company_id, **values))
        await self.tx.finish()
        return SimpleNamespace(id=opened.caseId, company_id=company_id, version=opened.version)

    async def communication(
        self, *, user: Caller, company: Any = None, contact: Any = None, deal: Any = None, **values: Any
    ) -> Any:
        """An inbound mail that waits for an answer, unless the values say otherwise."""
        number = next(self._numbers)
        values = {
            "channel": "email",
            "direction": "inbound",
            "occurred_at": self.ago(hours=1),
            "subject": f"Subject {number}",
            "full_content": f"Words of message {number}.",
            "sender_email": getattr(contact, "email", None) or f"sender{number}@theirs.example",
            "sender_name": getattr(contact, "name", None) or f"Sender {number}",
            "external_id": f"message-{number}",
            "internet_message_id": f"message-{number}@theirs.example",
            "thread_id": f"thread-{number}",
        } | values
        values.setdefault("sender_domain", names.domain_of(values["sender_email"]))
        values.setdefault("content_preview", (values["full_content"] or "")[:500])
        values.setdefault(
            "their_participants",
            [{"email": values["sender_email"], "name": values["sender_name"], "role": "from"}]
            if values["sender_email"]
            else [],
        )
        inbound = values["direction"] == "inbound"
        values.setdefault("awaiting_our_response", inbound and values.get("noise_type") is None)
        if values["awaiting_our_response"]:
            values.setdefault("response_due_by", values["occurred_at"] + timedelta(hours=4))
        return await self.row(
            "communications",
            user_id=user.user_id,
            company_id=_id(company) or getattr(contact, "company_id", None) or getattr(deal, "company_id", None),
            contact_id=_id(contact),
            deal_id=_id(deal),
            **_jsonb(values),
        )

    async def flag(self, *, company: Any = None, communication: Any = None, **values: Any) -> Any:
        """A flag that somebody raised by hand; with a communication, one that asks to answer it."""
        company_id = _id(company) or getattr(communication, "company_id", None) or (await self.company()).id
        values = {
            "flag_type": "NEEDS_REPLY" if communication else "STALE_IN_STAGE",
            "source_type": "communication" if communication else "manual",
            "source_id": str(communication.id) if communication else None,
            "severity": "medium",
            "reason": f"Reason {next(self._numbers)}",
            "created_at": self.tx.now,
        } | values
        return await self.row("attention_flags", company_id=company_id, **values)

    async def analysis(self, communication: Any, **values: Any) -> Any:
        """The current analysis of a communication."""
        row = await self.row(
            "communication_analysis",
            communication_id=communication.id,
            **({"version": 1, "analyzed_at": self.tx.now} | _jsonb(values)),
        )
        await self.tx.run(
            "UPDATE communications SET current_analysis_id = %(a)s, analysis_status = 'complete' WHERE id = %(c)s",
            a=row.id,
            c=communication.id,
        )
        return row

    async def activity(
        self, *, user: Caller | None = None, company: Any = None, deal: Any = None, **values: Any
    ) -> Any:
        values = {
            "type": "note",
            "subject": f"Activity {next(self._numbers)}",
            "occurred_at": self.ago(hours=2),
        } | values
        return await self.row(
            "activities",
            user_id=user.user_id if user else None,
            company_id=_id(company) or getattr(deal, "company_id", None),
            deal_id=_id(deal),
            **_jsonb(values),
        )

    async def task(self, *, user: Caller | None = None, company: Any = None, deal: Any = None, **values: Any) -> Any:
        values = {"title": f"Task {next(self._numbers)}", "due_at": self.ahead(days=1)} | values
        return await self.row(
            "tasks",
            assigned_to=user.user_id if user else None,
            company_id=_id(company) or getattr(deal, "company_id", None),
            deal_id=_id(deal),
            **_jsonb(values),
        )

    async def promise(self, *, owner: Caller, company: Any = None, communication: Any = None, **values: Any) -> Any:
        number = next(self._numbers)
        values = {
            "direction": "we_promised",
            "promise_text": f"Promise {number}",
            "text_hash": f"hash-{number}",
            "promised_at": self.ago(days=1),
            "confidence": 0.9,
        } | values
        return await self.row(
            "promises",
            owner_user_id=owner.user_id,
            company_id=_id(company),
            source_communication_id=_id(communication),
            **_jsonb(values),
        )

    async def transcript(self, *, user: Caller, company: Any = None, **values: Any) -> Any:
        values = {
            "title": f"Meeting {next(self._numbers)}",
            "meeting_date": self.ago(days=1),
            "transcription_text": "Ana: Hello.\nBo: Hello.",
        } | values
        return await self.row("meeting_transcriptions", user_id=user.user_id, company_id=_id(company), **_jsonb(values))


def _id(row: Any) -> UUID | None:
    return row.id if row is not None else None


def _jsonb(values: dict[str, Any]) -> dict[str, Any]:
    """Send dicts, and lists that are not arrays of plain values, as jsonb."""
    return {
        name: Json(value)
        if isinstance(value, dict)
        or (isinstance(value, list) and (not value or isinstance(value[0], dict | list)) and name not in ARRAYS)
        else value
        for name, value in values.items()
    }


ARRAYS = {
    "tags",
    "competitors",
    "products_discussed",
    "potential_triggers",
    "reference_ids",
    "to_emails",
    "cc_emails",
    "key_points",
    "enabled_modules",
    "included_modules",
}


@pytest.fixture
async def given(tx: Tx) -> Given:
    """Builders on the test's own transaction."""
    return Given(tx)
