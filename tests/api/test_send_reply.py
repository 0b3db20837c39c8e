"""Answers over HTTP, with a mailbox at the wire: sent once, refused in a sentence."""

import base64
from collections.abc import AsyncIterator, Iterator
from typing import Any
from uuid import uuid4

import pytest
import respx
from pydantic import SecretStr

from memory.db import Database
from memory.settings import Settings
from memory.vault import Vault
from tests.given import Given
from tests.tools.exchange import Exchange, SignIn, token_cache
from tools import mail_accounts
from tools.mail_accounts import Mailboxes

SETTINGS = Settings(
    microsoft_client_id="app-1",
    microsoft_client_secret=SecretStr("s"),
    vault_keys=SecretStr(f"k1:{base64.b64encode(b'v' * 32).decode()}"),
)


@pytest.fixture
def exchange() -> Iterator[Exchange]:
    with respx.mock(assert_all_called=False) as router:
        router.route(host="test").pass_through()
        made = Exchange(router)
        made.sign_in = SignIn(router, made)  # pyright: ignore[reportAttributeAccessIssue]
        yield made


@pytest.fixture
async def asked(db: Database, live: Any, live_app: Any, exchange: Exchange) -> AsyncIterator[Any]:
    """A message that waits in the connected mailbox of whoever `live` is."""
    live_app.state.services._mailboxes = Mailboxes(SETTINGS, db.transaction)
    async with db.transaction() as tx:
        given = Given(tx)
        ann = await given.contact("Ann Acme", email="ann@acme.example")
        message_id = exchange.receive(internetMessageId="<asked@acme.example>", conversationId="c-9")
        mail = await given.communication(
            user=live.caller, contact=ann, provider="microsoft", external_id=message_id, thread_id="c-9", subject="Prices",
            internet_message_id="asked@acme.example",
        )  # fmt: skip
        await mail_accounts.connect_account(
            tx, Vault(SETTINGS.key_ring), live.caller.user_id or uuid4(), "lena@ours.example", token_cache()
        )
    yield mail
    await live_app.state.services._mailboxes.close()


def reply(mail: Any, **changes: Any) -> dict[str, Any]:
    return {
        "communicationId": str(mail.id),
        "to": "ann@acme.example",
        "subject": "Re: Prices",
        "body": "Until Friday.",
    } | changes


class TestSendReply:
    async def test_the_same_answer_twice_is_one_mail(self, live: Any, asked: Any, exchange: Exchange) -> None:
        answers = [(await live.post("/api/communications/send-reply", json=reply(asked))).json() for _ in range(2)]
        assert answers[0] == answers[1] == {"success": True, "message_id": exchange.sent[0]["id"], "is_draft": False}
        assert len(exchange.sent) == 1
        assert (await live.get("/api/communications/response-queue")).json()["total"] == 0

    @pytest.mark.parametrize(
        "changes", [{"to": "nonsense"}, {"body": "It costs [[price]]."}, {"to": []}, {"draftId": str(uuid4())}]
    )
    async def test_refuses_what_should_not_leave(self, live: Any, asked: Any, exchange: Exchange, changes: Any) -> None:
        answer = await live.post("/api/communications/send-reply", json=reply(asked, **changes))
        assert (answer.status_code in {400, 404}, exchange.sent) == (True, [])

    async def test_needs_a_connected_mailbox(self, live: Any, asked: Any, db: Database, exchange: Exchange) -> None:
        async with db.transaction() as tx:
            await mail_accounts.disconnect_account(tx, live.caller)
        answer = await live.post("/api/communications/send-reply", json=reply(asked))
        assert (answer.status_code, "mailbox" in answer.json()["error"].lower(), exchange.sent) == (400, True, [])


class TestRespond:
    async def test_sends_the_body_to_the_sender_and_marks_the_thread(
        self, live: Any, asked: Any, exchange: Exchange
    ) -> None:
        answer = await live.post(f"/api/communications/{asked.id}/respond", json={"body": "Until Friday."})
        assert (answer.status_code, answer.json()["sent"]) == (200, True)
        assert exchange.sent[0]["toRecipients"][0]["emailAddress"]["address"] == "ann@acme.example"

    async def test_only_marks_when_there_is_no_body(self, live: Any, asked: Any, exchange: Exchange) -> None:
        answer = await live.post(f"/api/communications/{asked.id}/respond", json={"notes": "By phone"})
        assert (answer.status_code, answer.json()["sent"], exchange.sent) == (200, None, [])
        assert (await live.get("/api/communications/response-queue")).json()["total"] == 0
