"""Whose mailbox is connected, and how its tokens are kept."""

import asyncio
import base64
from collections.abc import Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
import respx
from pydantic import SecretStr

from memory.db import Database, Tx
from memory.settings import Settings
from memory.vault import NotReadable, Vault
from tests.given import Given
from tests.tools.exchange import Exchange, SignIn, token_cache
from tools import mail_accounts
from tools.clients.microsoft import NeedsReauth
from tools.mail_accounts import Mailboxes, MailboxNotConnected, MailNotConfigured

SETTINGS = Settings(microsoft_client_id="app-1", vault_keys=SecretStr(f"k1:{base64.b64encode(b'v' * 32).decode()}"))
VAULT = Vault(SETTINGS.key_ring)


@pytest.fixture
def sign_in() -> Iterator[SignIn]:
    with respx.mock(assert_all_called=False) as router:
        yield SignIn(router, Exchange(router))


async def connect(db: Database) -> UUID:
    async with db.transaction() as tx:
        rep = await Given(tx).user()
        assert rep.user_id is not None
        await mail_accounts.connect_account(tx, VAULT, rep.user_id, rep.email, token_cache())
    return rep.user_id


class TestConnectAccount:
    async def test_keeps_the_tokens_sealed_for_this_user_alone(self, tx: Tx, given: Given):
        rep, other = await given.user(), await given.user()
        assert rep.user_id is not None
        account = await mail_accounts.connect_account(tx, VAULT, rep.user_id, "Rep@Ours.Example", "tokens")
        assert (account.address, account.send_mode, account.status) == ("rep@ours.example", "send", "connected")
        sealed = await tx.one(bytes, "SELECT token_cache FROM mail_accounts")
        assert b"tokens" not in sealed
        assert VAULT.open(f"mail_accounts:{rep.user_id}", sealed) == b"tokens"
        with pytest.raises(NotReadable):
            VAULT.open(f"mail_accounts:{other.user_id}", sealed)

    async def test_connects_anew_after_an_end(self, tx: Tx, given: Given):
        rep = await given.user()
        assert rep.user_id is not None
        await mail_accounts.connect_account(tx, VAULT, rep.user_id, rep.email, "old")
        await mail_accounts.choose_send_mode(tx, rep, "draft")
        await mail_accounts.require_reauth(tx, rep.user_id)
        with pytest.raises(NeedsReauth):
            await mail_accounts.get_account(tx, rep)
        await mail_accounts.connect_account(tx, VAULT, rep.user_id, rep.email, "new")
        account = await mail_accounts.get_account(tx, rep)
        assert (account.status, account.send_mode) == ("connected", "draft")


class TestDisconnectAccount:
    async def test_forgets_the_tokens(self, tx: Tx, given: Given):
        rep = await given.user()
        assert rep.user_id is not None
        await mail_accounts.connect_account(tx, VAULT, rep.user_id, rep.email, "tokens")
        assert await mail_accounts.disconnect_account(tx, rep)
        assert not await mail_accounts.disconnect_account(tx, rep)
        assert await tx.maybe(bytes, "SELECT token_cache FROM mail_accounts") is None
        for act in (mail_accounts.get_account(tx, rep), mail_accounts.choose_send_mode(tx, rep, "send")):
            with pytest.raises(MailboxNotConnected):
                await act


class TestRequireReauth:
    async def test_does_not_undo_a_sign_in_that_came_meanwhile(self, tx: Tx, given: Given):
        rep = await given.user()
        assert rep.user_id is not None
        await mail_accounts.connect_account(tx, VAULT, rep.user_id, rep.email, "old")
        old = await tx.one(bytes, "SELECT token_cache FROM mail_accounts")
        await mail_accounts.connect_account(tx, VAULT, rep.user_id, rep.email, "new")
        await mail_accounts.require_reauth(tx, rep.user_id, old)
        assert (await mail_accounts.get_account(tx, rep)).status == "connected"


class TestMailboxes:
    async def test_many_requests_at_once_redeem_once(self, db: Database, sign_in: SignIn):
        mailboxes = Mailboxes(SETTINGS, db.transaction)
        mailbox = mailboxes.open(await connect(db))
        await asyncio.gather(*(mailbox.find_by_key(str(number)) for number in range(8)))
        assert sign_in.route.call_count == 1
        await mailboxes.close()

    async def test_does_not_write_over_what_another_process_has_renewed(self, db: Database, sign_in: SignIn):
        user_id = await connect(db)
        turns = 0

        @asynccontextmanager
        async def begin():
            nonlocal turns
            turns += 1
            async with db.transaction() as tx:
                if turns == 2:  # ours is renewed and about to be kept
                    await mail_accounts.connect_account(tx, VAULT, user_id, "rep@ours.example", "from another process")
                yield tx

        mailboxes = Mailboxes(SETTINGS, begin)
        await mailboxes.open(user_id).find_by_key("k")
        async with db.reading() as tx:
            sealed = await tx.one(bytes, "SELECT token_cache FROM mail_accounts")
        assert VAULT.open(f"mail_accounts:{user_id}", sealed) == b"from another process"
        await mailboxes.close()

    async def test_holds_no_transaction_while_it_asks_the_network(self, db: Database, sign_in: SignIn):
        user_id = await connect(db)
        open_now, seen = 0, []

        @asynccontextmanager
        async def begin():
            nonlocal open_now
            open_now += 1
            async with db.transaction() as tx:
                yield tx
            open_now -= 1

        redeem: Any = sign_in.route.side_effect

        def watch(request):
            seen.append(open_now)
            return redeem(request)

        sign_in.route.mock(side_effect=watch)
        mailboxes = Mailboxes(SETTINGS, begin)
        await mailboxes.open(user_id).find_by_key("k")
        assert seen == [0]
        await mailboxes.close()

    async def test_says_that_nothing_is_configured(self, db: Database):
        mailboxes = Mailboxes(Settings(vault_keys=SETTINGS.vault_keys), db.transaction)
        with pytest.raises(MailNotConfigured, match="RAINMAKER_MICROSOFT_CLIENT_ID"):
            mailboxes.open(await connect(db))
        await mailboxes.close()
