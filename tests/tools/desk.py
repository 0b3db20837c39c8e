"""A rep at a desk: a mailbox that is connected, and a mail that waits for an answer."""

import base64
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from pydantic import SecretStr

from api.jobs.kit import run_due_jobs
from memory.callers import Caller
from memory.db import Database
from memory.effects import EffectRow
from memory.settings import Settings
from memory.vault import Vault
from tests.tools.exchange import Exchange
from tools import outbound
from tools.mail_accounts import Mailboxes
from tools.outbound import DeliveryRow, SendMailIn

SETTINGS = Settings(
    microsoft_client_id="app-1",
    microsoft_client_secret=SecretStr("s"),
    vault_keys=SecretStr(f"k1:{base64.b64encode(b'v' * 32).decode()}"),
)
VAULT = Vault(SETTINGS.key_ring)


@dataclass
class Desk:
    """A rep with a connected mailbox, and a mail that waits for an answer."""

    db: Database
    exchange: Exchange
    mailboxes: Mailboxes
    rep: Caller
    company_id: UUID
    contact_id: UUID
    inbound_id: UUID

    def letter(self, body: str = "Yes, until Friday.", **fields: Any) -> SendMailIn:
        given: dict[str, Any] = {
            "to": ["ann@acme.example"],
            "subject": "Re: Prices",
            "communication_id": self.inbound_id,
            **fields,
        }
        return SendMailIn(body=body, **given)

    async def send(self, letter: SendMailIn, *, caller: Caller | None = None, begin: Any = None) -> DeliveryRow:
        return await outbound.send_mail(begin or self.db.transaction, self.mailboxes, caller or self.rep, letter)

    async def effect(self, letter: SendMailIn) -> EffectRow:
        async with self.db.reading() as tx:
            key = outbound.key_of(self.rep.user_id or uuid4(), letter)
            return await tx.one(EffectRow, "SELECT * FROM effects WHERE key = %(key)s", key=key)

    async def later(self) -> list[str]:
        """Carry out the promised jobs as if every lease and pause had passed."""
        async with self.db.transaction() as tx:
            await tx.run("UPDATE effects SET lease_until = clock_timestamp() - interval '1 second'")
            await tx.run("UPDATE outbox SET run_at = now() - interval '1 second' WHERE status = 'waiting'")
            await tx.run("DELETE FROM outbox WHERE job <> %(job)s", job=outbound.JOB)
        return await run_due_jobs(self.db, settings=SETTINGS, rounds=1)

    async def many(self, sql: Any, **params: Any) -> list[Any]:
        async with self.db.reading() as tx:
            return await tx.many(Any, sql, **params)  # pyright: ignore[reportArgumentType]
