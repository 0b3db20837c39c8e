"""What tests of tools stand on, beside a database."""

from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import pytest
import respx

from memory.db import Database
from tests.given import Given
from tests.tools.desk import SETTINGS, VAULT, Desk
from tests.tools.exchange import Exchange, SignIn, token_cache
from tools import mail_accounts
from tools.mail_accounts import Mailboxes


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with respx.mock(assert_all_called=False) as router:
        exchange = Exchange(router)
        exchange.sign_in = SignIn(router, exchange)  # pyright: ignore[reportAttributeAccessIssue]
        yield exchange


@pytest.fixture
async def desk(db: Database, exchange: Exchange) -> AsyncIterator[Desk]:
    async with db.transaction() as tx:
        given = Given(tx)
        rep = await given.user(email="rep@ours.example", name="Rita Rep")
        company = await given.company("Acme")
        contact = await given.contact("Ann Acme", company=company, email="ann@acme.example")
        message_id = exchange.receive(internetMessageId="<asked@acme.example>", conversationId="c-9")
        inbound = await given.communication(
            user=rep, company=company, contact=contact, provider="microsoft", external_id=message_id,
            internet_message_id="asked@acme.example", thread_id="c-9", subject="Prices",
        )  # fmt: skip
        await given.row(
            "email_conversations",
            user_id=rep.user_id,
            conversation_id="c-9",
            status="pending",
            response_due_at=given.ahead(hours=3),
        )
        await mail_accounts.connect_account(tx, VAULT, rep.user_id or uuid4(), "Rep@ours.example", token_cache())
    mailboxes = Mailboxes(SETTINGS, db.transaction)
    yield Desk(db, exchange, mailboxes, rep, company.id, contact.id, inbound.id)
    await mailboxes.close()
