"""
Microsoft Graph v1.0: a person's mailbox, with their own delegated token.

Mail leaves in two steps, because only a draft has an identity to ask about afterwards:

    create_draft | create_reply_draft ──> update_draft ──> send_draft

A draft is stamped with a key of ours, and its immutable id stays the same in Sent Items. So what became of a send that
nobody answered can be looked up (`find_message`, `find_by_key`), and sending one draft twice sends one mail.
`send_mail` leaves in one step and gives no id: with a key it can be looked up, too, but it can not be repeated safely.
"""

import asyncio
import html
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from memory.errors import BadGateway, Invalid, Outage
from tools.clients.http import retry_after

GRAPH = "https://graph.microsoft.com/v1.0"
LOGIN = "https://login.microsoftonline.com"
SCOPES = ("User.Read", "Mail.ReadWrite", "Mail.Send", "MailboxSettings.Read", "Calendars.ReadWrite")
# A named property of our own namespace; names and namespace must never change, or old mails are not found any more.
KEY_PROPERTY = "String {7d0b6c1e-52f0-4d0a-9b53-2f6f6b1c8e11} Name RainmakerKey"
FIELDS = "id,conversationId,internetMessageId,isDraft,sentDateTime,subject,body"
# Four requests at once is what Graph grants an app per mailbox.
AT_ONCE = 4
M = TypeVar("M", bound=BaseModel)
SIGN_IN_ERRORS = frozenset({"invalid_grant", "interaction_required", "consent_required", "login_required"})


class NeedsReauth(Invalid):
    """The connection to the mailbox has expired or was withdrawn; connect it again."""


class MailRefused(Invalid):
    """The mail service refuses the mail: {reason}"""


class MailboxDenied(BadGateway):
    """The mail service does not allow this for the mailbox: {reason}"""


class MailServiceWrong(BadGateway):
    """The mail service answered in a way that is not understood ({reason})."""


class MailServiceBusy(Outage):
    """The mail service asks to wait {retry_after:.0f} seconds."""

    def __init__(self, *, retry_after: float) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after


class MailServiceDown(Outage):
    """The mail service does not answer now."""

    def __init__(self, *, reached: bool = True) -> None:
        """Keep whether the request may have reached the service, and so may have been carried out."""
        super().__init__()
        self.reached = reached


class _Graph(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore")


class Body(_Graph):
    """The text of a message, `text` or `html`."""

    content_type: str = "text"
    content: str = ""


class Message(_Graph):
    """What Graph says about one message."""

    id: str
    conversation_id: str | None = None
    internet_message_id: str | None = None
    is_draft: bool = False
    sent_date_time: datetime | None = None
    subject: str | None = None
    body: Body = Body()


class _Page(_Graph):
    value: list[Message]


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be sent: plain text, addresses already checked."""

    to: Sequence[str]
    subject: str
    text: str
    cc: Sequence[str] = field(default_factory=tuple)
    bcc: Sequence[str] = field(default_factory=tuple)

    def fields(self) -> dict[str, Any]:
        """Return recipients and subject as Graph names them."""
        return {
            "subject": self.subject,
            "toRecipients": _recipients(self.to),
            "ccRecipients": _recipients(self.cc),
            "bccRecipients": _recipients(self.bcc),
        }


def _recipients(addresses: Sequence[str]) -> list[dict[str, Any]]:
    return [{"emailAddress": {"address": address}} for address in addresses]


def _stamp(key: str) -> dict[str, Any]:
    return {"singleValueExtendedProperties": [{"id": KEY_PROPERTY, "value": key}]}


class Mailbox:
    """One person's mailbox; `token` gives a valid access token, a fresh one when asked to."""

    def __init__(self, http: httpx.AsyncClient, token: Callable[[bool], Awaitable[str]]) -> None:
        self._http = http
        self._token = token
        self._slots = asyncio.Semaphore(AT_ONCE)

    # Drafts

    async def create_draft(self, letter: Letter, key: str) -> Message:
        """Create a draft of a new mail, stamped with the key."""
        body = {"contentType": "text", "content": letter.text}
        return await self._message("POST", "/me/messages", {**letter.fields(), **_stamp(key), "body": body})

    async def create_reply_draft(self, message_id: str, letter: Letter, key: str) -> Message:
        """Create a draft that answers a message in its thread: our text above the quote that Graph makes."""
        asked = {"message": {"toRecipients": _recipients(letter.to), **_stamp(key)}}
        draft = await self._message("POST", f"/me/messages/{_id(message_id)}/createReply", asked)
        await self.update_draft(draft, letter)
        return draft

    async def update_draft(self, draft: Message, letter: Letter) -> None:
        """Give a draft these recipients, this subject and this text; what it quotes stays below."""
        quoted = draft.body.content if draft.body.content_type.lower() == "html" else ""
        body = {"contentType": "html", "content": _above_quote(letter.text, quoted)}
        await self._call("PATCH", f"/me/messages/{_id(draft.id)}", {**letter.fields(), "body": body})

    async def send_draft(self, message_id: str) -> None:
        """
        Send a draft; sending it again finds no draft any more and sends nothing.

        Raises `MailServiceDown` with `reached` when nobody knows whether it was sent.
        """
        await self._call("POST", f"/me/messages/{_id(message_id)}/send")

    async def delete_draft(self, message_id: str) -> None:
        """Delete a draft, or do nothing when it is gone."""
        await self._call("DELETE", f"/me/messages/{_id(message_id)}", missing_is_fine=True)

    async def send_mail(self, letter: Letter, key: str) -> None:
        """Send a new mail in one step; it is in Sent Items, under the key, a little later."""
        message = {**letter.fields(), **_stamp(key), "body": {"contentType": "text", "content": letter.text}}
        await self._call("POST", "/me/sendMail", {"message": message, "saveToSentItems": True})

    # What became of it

    async def find_message(self, message_id: str) -> Message | None:
        """Return the message of this immutable id, wherever it was moved, or None."""
        response = await self._call(
            "GET", f"/me/messages/{_id(message_id)}", params={"$select": FIELDS}, missing_is_fine=True
        )
        return None if response.status_code == 404 else _parse(Message, response)

    async def find_by_key(self, key: str) -> Message | None:
        """Return the message stamped with the key, a sent one before a draft, or None."""
        stamped = f"singleValueExtendedProperties/Any(ep: ep/id eq '{KEY_PROPERTY}' and ep/value eq '{_quoted(key)}')"
        found = await self._search(stamped)
        return min(found, key=lambda message: message.is_draft, default=None)

    async def find_by_internet_id(self, internet_message_id: str) -> Message | None:
        """Return the message with this Message-ID in this mailbox, or None."""
        found = await self._search(f"internetMessageId eq '{_quoted(internet_message_id)}'")
        return next((message for message in found if not message.is_draft), None)

    async def _search(self, condition: str) -> list[Message]:
        response = await self._call(
            "GET", "/me/messages", params={"$filter": condition, "$select": FIELDS, "$top": "10"}
        )
        return _parse(_Page, response).value

    # The wire

    async def _message(self, method: str, path: str, asked: dict[str, Any]) -> Message:
        return _parse(Message, await self._call(method, path, asked))

    async def _call(
        self,
        method: str,
        path: str,
        asked: dict[str, Any] | None = None,
        *,
        params: dict[str, str] | None = None,
        missing_is_fine: bool = False,
    ) -> httpx.Response:
        """Send one request; a refused token is renewed once."""
        async with self._slots:
            for renew in (False, True):
                response = await self._send(method, path, asked, params, await self._token(renew))
                if response.status_code != 401:
                    break
        if not (missing_is_fine and response.status_code == 404):
            _check(response)
        return response

    async def _send(
        self, method: str, path: str, asked: dict[str, Any] | None, params: dict[str, str] | None, token: str
    ) -> httpx.Response:
        try:
            return await self._http.request(
                method,
                f"{GRAPH}{path}",
                json=asked,
                params=params,
                headers={"Authorization": f"Bearer {token}", "Prefer": 'IdType="ImmutableId"'},
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as failure:
            raise MailServiceDown(reached=False) from failure
        except httpx.TransportError as failure:
            raise MailServiceDown(reached=True) from failure


def _id(message_id: str) -> str:
    return quote(message_id, safe="")


def _quoted(text: str) -> str:
    return text.replace("'", "''")


def _parse(model: type[M], response: httpx.Response) -> M:
    try:
        return model.model_validate_json(response.content)
    except ValidationError as failure:
        raise MailServiceWrong(reason=f"status {response.status_code}") from failure


def _check(response: httpx.Response) -> None:
    """Raise what the status means; 5xx leaves open whether the request was carried out."""
    status = response.status_code
    if status < 300:
        return
    code, message = _error(response)
    if status == 401:
        raise NeedsReauth
    if status == 429 or (status == 503 and retry_after(response) is not None):
        raise MailServiceBusy(retry_after=retry_after(response) or 10.0)
    if status >= 500:
        raise MailServiceDown(reached=True)
    if status == 403:
        raise MailboxDenied(reason=code)
    if status in {400, 413, 422}:
        raise MailRefused(reason=message or code)
    raise MailServiceWrong(reason=f"status {status}, {code}")


def _error(response: httpx.Response) -> tuple[str, str]:
    """Return code and message of Graph's error body, shortened, whatever the body is."""
    try:
        error: Any = response.json()["error"]
        return str(error["code"])[:80], str(error["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return f"status {response.status_code}", ""


def _above_quote(text: str, quoted: str) -> str:
    """Return our text as HTML paragraphs, put at the top of the body of the quoted document."""
    ours = "".join(
        f"<p>{html.escape(paragraph).replace(chr(10), '<br>')}</p>"
        for paragraph in re.split(r"\n{2,}", text.replace("\r\n", "\n").strip("\n"))
    )
    opening = re.search(r"<body\b[^>]*>", quoted, re.IGNORECASE)
    at = opening.end() if opening else 0
    return quoted[:at] + ours + quoted[at:]


# Tokens -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Application:
    """The app registration that people have given their consent to."""

    client_id: str
    client_secret: str | None
    tenant: str = "organizations"


@dataclass(frozen=True, slots=True)
class Token:
    """An access token, how long it lasts, and the token cache when it has changed."""

    value: str
    expires_in_s: float
    cache: str | None


def redeem(application: Application, cache: str, http: httpx.Client, *, renew: bool = False) -> Token:
    """
    Return an access token out of the token cache, renewing it with Microsoft when it has expired; blocks.

    Raises `NeedsReauth` when the person has to sign in again, `MailServiceDown` when Microsoft cannot be asked.
    """
    import msal

    # MSAL is untyped here, and its constructor already asks the network.
    library: Any = msal
    tokens = library.SerializableTokenCache()
    try:
        tokens.deserialize(cache)
        kind = library.ConfidentialClientApplication if application.client_secret else library.PublicClientApplication
        app = kind(
            application.client_id,
            client_credential=application.client_secret,
            authority=f"{LOGIN}/{application.tenant}",
            token_cache=tokens,
            http_client=http,
            instance_discovery=False,
        )
        account = next(iter(app.get_accounts()), None)
        answer: dict[str, Any] | None = app.acquire_token_silent_with_error(list(SCOPES), account, force_refresh=renew)
    except (httpx.HTTPError, RuntimeError) as failure:
        raise MailServiceDown(reached=False) from failure
    except ValueError as failure:
        raise MailServiceWrong(reason="sign-in is not configured rightly") from failure
    if answer is None or answer.get("error") in SIGN_IN_ERRORS:
        raise NeedsReauth
    if "access_token" not in answer:
        raise MailServiceWrong(reason=f"sign-in: {str(answer.get('error'))[:60]}")
    changed = tokens.serialize() if tokens.has_state_changed else None
    return Token(answer["access_token"], float(answer.get("expires_in", 300)), changed)
