"""Mail accounts: whose mailbox is connected, how it sends, and the tokens that open it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Literal
from uuid import UUID

import httpx

from memory.callers import Caller
from memory.db import Tx
from memory.errors import Invalid, Outage
from memory.rows import Row
from memory.settings import Settings
from memory.vault import Vault
from tools.clients import microsoft
from tools.clients.http import open_client
from tools.clients.microsoft import Application, Mailbox, NeedsReauth, Token

Begin = Callable[[], AbstractAsyncContextManager[Tx]]
"""How the edge lends a transaction: entered, it begins one; left without an exception, it commits."""
SendMode = Literal["send", "draft"]
Status = Literal["connected", "needs_reauth", "disconnected"]
EARLY_S = 60.0
ACCOUNT = "id, user_id, provider, address, send_mode, status, created_at, updated_at"


class MailboxNotConnected(Invalid):
    """No mailbox is connected; connect yours before sending mail."""


class MailNotConfigured(Outage):
    """This installation has no app registration for mailboxes; set RAINMAKER_MICROSOFT_CLIENT_ID."""


class AccountRow(Row):
    """One person's mailbox; `draft` mode leaves drafts for the person instead of sending."""

    id: UUID
    user_id: UUID
    provider: Literal["microsoft"]
    address: str
    send_mode: SendMode
    status: Status
    created_at: datetime
    updated_at: datetime


async def find_account(tx: Tx, user_id: UUID) -> AccountRow | None:
    """Return the mailbox of a user, connected or not, or None."""
    return await tx.maybe(
        AccountRow, f"SELECT {ACCOUNT} FROM mail_accounts WHERE user_id = %(user_id)s", user_id=user_id
    )


async def get_account(tx: Tx, caller: Caller) -> AccountRow:
    """
    Return the caller's connected mailbox.

    Raises `MailboxNotConnected`, `NeedsReauth`.
    """
    account = await find_account(tx, caller.user_id) if caller.user_id else None
    if account is None or account.status == "disconnected":
        raise MailboxNotConnected
    if account.status == "needs_reauth":
        raise NeedsReauth
    return account


async def connect_account(tx: Tx, vault: Vault, user_id: UUID, address: str, token_cache: str) -> AccountRow:
    """Connect a mailbox, or connect it anew, with the token cache that signing in has given."""
    return await tx.one(
        AccountRow,
        f"""
        INSERT INTO mail_accounts (user_id, address, token_cache, status, created_at, updated_at)
        VALUES (%(user_id)s, lower(%(address)s), %(sealed)s, 'connected', %(now)s, %(now)s)
        ON CONFLICT (user_id) DO UPDATE
           SET address = excluded.address, token_cache = excluded.token_cache, status = 'connected', updated_at = %(now)s
        RETURNING {ACCOUNT}
        """,
        user_id=user_id,
        address=address,
        sealed=vault.seal(_secret_name(user_id), token_cache.encode()),
    )


async def disconnect_account(tx: Tx, caller: Caller) -> bool:
    """Forget the tokens of the caller's mailbox; tell whether one was connected."""
    return bool(
        await tx.run(
            """
            UPDATE mail_accounts SET status = 'disconnected', token_cache = NULL, updated_at = %(now)s
             WHERE user_id = %(user_id)s AND status <> 'disconnected'
            """,
            user_id=caller.user_id,
        )
    )


async def choose_send_mode(tx: Tx, caller: Caller, send_mode: SendMode) -> AccountRow:
    """
    Choose whether the caller's mail is sent or left as a draft.

    Raises `MailboxNotConnected`.
    """
    return await tx.one(
        AccountRow,
        f"""
        UPDATE mail_accounts SET send_mode = %(send_mode)s, updated_at = %(now)s
         WHERE user_id = %(user_id)s AND status <> 'disconnected'
        RETURNING {ACCOUNT}
        """,
        missing=MailboxNotConnected(),
        user_id=caller.user_id,
        send_mode=send_mode,
    )


async def require_reauth(tx: Tx, user_id: UUID, sealed: bytes | None = None) -> None:
    """Mark that the person has to sign in again, unless another token cache than `sealed` has come meanwhile."""
    await tx.run(
        """
        UPDATE mail_accounts SET status = 'needs_reauth', updated_at = %(now)s
         WHERE user_id = %(user_id)s AND status = 'connected' AND (%(sealed)s::bytea IS NULL OR token_cache = %(sealed)s)
        """,
        user_id=user_id,
        sealed=sealed,
    )


class _Sealed(Row):
    user_id: UUID
    token_cache: bytes


async def reseal_accounts(tx: Tx, vault: Vault) -> int:
    """
    Seal anew the token caches that an older key has sealed; return how many there were.

    Raises `NotReadable` when the ring has lost a key.
    """
    rows = await tx.many(
        _Sealed,
        "SELECT user_id, token_cache FROM mail_accounts WHERE token_cache IS NOT NULL ORDER BY user_id FOR UPDATE",
    )
    stale = [row for row in rows if vault.is_stale(row.token_cache)]
    for row in stale:
        name = _secret_name(row.user_id)
        await tx.run(
            "UPDATE mail_accounts SET token_cache = %(sealed)s WHERE user_id = %(user_id)s",
            user_id=row.user_id,
            sealed=vault.seal(name, vault.open(name, row.token_cache)),
        )
    return len(stale)


def _secret_name(user_id: UUID) -> str:
    return f"mail_accounts:{user_id}"


# Opening ------------------------------------------------------------------------------------------------------------


class Mailboxes:
    """
    Opens people's mailboxes; one per process.

    Access tokens stay in memory while they last. The token cache in Postgres is read in one transaction, redeemed with
    no transaction open, and written back in another only if nobody else has written it meanwhile.
    """

    def __init__(self, settings: Settings, begin: Begin) -> None:
        self._settings = settings
        self._begin = begin
        self._vault = Vault(settings.key_ring)
        self._http = open_client(headers={"Accept": "application/json"})
        self._sign_in = httpx.Client(timeout=15.0)
        self._tokens: dict[UUID, tuple[str, float]] = {}
        self._locks: dict[UUID, asyncio.Lock] = {}

    def open(self, user_id: UUID) -> Mailbox:
        """
        Return the mailbox of a user; its first request gets the token.

        Raises `MailNotConfigured`.
        """
        self._application()

        async def token(renew: bool) -> str:
            return await self._token(user_id, renew=renew)

        return Mailbox(self._http, token)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        self._sign_in.close()

    def _application(self) -> Application:
        settings = self._settings
        if not settings.microsoft_client_id:
            raise MailNotConfigured
        secret = settings.microsoft_client_secret
        return Application(
            settings.microsoft_client_id, secret.get_secret_value() if secret else None, settings.microsoft_tenant
        )

    async def _token(self, user_id: UUID, *, renew: bool) -> str:
        lock = self._locks.setdefault(user_id, asyncio.Lock())
        async with lock:
            known, until = self._tokens.get(user_id, ("", 0.0))
            if known and not renew and time.monotonic() < until:
                return known
            token = await self._redeem(user_id, renew=renew)
            self._tokens[user_id] = (token.value, time.monotonic() + token.expires_in_s - EARLY_S)
            return token.value

    async def _redeem(self, user_id: UUID, *, renew: bool) -> Token:
        """
        Redeem the stored token cache.

        Raises `MailboxNotConnected`, `NeedsReauth`, `MailServiceDown`.
        """
        name = _secret_name(user_id)
        async with self._begin() as tx:
            sealed = await tx.maybe(
                bytes,
                "SELECT token_cache FROM mail_accounts WHERE user_id = %(user_id)s AND status = 'connected'",
                user_id=user_id,
            )
        if sealed is None:
            raise MailboxNotConnected
        cache = self._vault.open(name, sealed).decode()
        try:
            token = await asyncio.to_thread(microsoft.redeem, self._application(), cache, self._sign_in, renew=renew)
        except NeedsReauth:
            async with self._begin() as tx:
                await require_reauth(tx, user_id, sealed)
            raise
        if token.cache is not None:
            await self._keep(user_id, before=sealed, after=self._vault.seal(name, token.cache.encode()))
        return token

    async def _keep(self, user_id: UUID, *, before: bytes, after: bytes) -> None:
        """Keep a changed token cache; another process that was faster has one that is as good."""
        async with self._begin() as tx:
            await tx.run(
                """
                UPDATE mail_accounts SET token_cache = %(after)s, updated_at = %(now)s
                 WHERE user_id = %(user_id)s AND token_cache = %(before)s
                """,
                user_id=user_id,
                before=before,
                after=after,
            )
