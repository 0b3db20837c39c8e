"""The mailbox at the wire: what is asked of Graph, and what its answers mean."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import orjson
import pytest
import respx

from tests.tools.exchange import Exchange, SignIn, error, token_cache
from tools.clients import microsoft
from tools.clients.http import open_client
from tools.clients.microsoft import (
    KEY_PROPERTY,
    Application,
    Letter,
    Mailbox,
    MailboxDenied,
    MailRefused,
    MailServiceBusy,
    MailServiceDown,
    MailServiceWrong,
    NeedsReauth,
)

LETTER = Letter(
    to=["ann@acme.example"], cc=["bob@acme.example"], subject="Prices & terms", text="Hello <Ann>,\n\nyes.\nBye"
)


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def exchange(wire: respx.MockRouter) -> Exchange:
    return Exchange(wire)


@pytest.fixture
async def mailbox(exchange: Exchange) -> AsyncIterator[Mailbox]:
    async def token(renew: bool) -> str:
        return "token-1"

    async def at_once(seconds: float) -> None: ...

    async with open_client(pause=at_once) as client:
        yield Mailbox(client, token)


class TestCreateDraft:
    async def test_stamps_a_new_mail(self, mailbox: Mailbox, exchange: Exchange):
        draft = await mailbox.create_draft(LETTER, "key-1")
        assert draft.is_draft
        request = exchange.requests[-1]
        assert request.headers["Prefer"] == 'IdType="ImmutableId"'
        assert request.headers["Authorization"] == "Bearer token-1"
        assert orjson.loads(request.content) == {
            "subject": "Prices & terms",
            "toRecipients": [{"emailAddress": {"address": "ann@acme.example"}}],
            "ccRecipients": [{"emailAddress": {"address": "bob@acme.example"}}],
            "bccRecipients": [],
            "singleValueExtendedProperties": [{"id": KEY_PROPERTY, "value": "key-1"}],
            "body": {"contentType": "text", "content": "Hello <Ann>,\n\nyes.\nBye"},
        }


class TestCreateReplyDraft:
    async def test_answers_in_the_thread_above_the_quote(self, mailbox: Mailbox, exchange: Exchange):
        answered = exchange.receive(body={"contentType": "html", "content": "<p>How much?</p>"}, conversationId="c-9")
        draft = await mailbox.create_reply_draft(answered, LETTER, "key-1")
        kept = exchange.messages[draft.id]
        assert kept["conversationId"] == draft.conversation_id == "c-9"
        assert kept["singleValueExtendedProperties"] == [{"id": KEY_PROPERTY, "value": "key-1"}]
        assert kept["subject"] == "Prices & terms"
        assert kept["body"] == {
            "contentType": "html",
            "content": "<html><head></head><body lang='en'><p>Hello &lt;Ann&gt;,</p><p>yes.<br>Bye</p>"
            "<hr><p>How much?</p></body></html>",
        }

    async def test_says_that_the_message_is_gone(self, mailbox: Mailbox, exchange: Exchange):
        with pytest.raises(MailServiceWrong, match="ErrorItemNotFound"):
            await mailbox.create_reply_draft("nowhere", LETTER, "key-1")


class TestSendDraft:
    async def test_sends_one_draft_once(self, mailbox: Mailbox, exchange: Exchange):
        draft = await mailbox.create_draft(LETTER, "key-1")
        await mailbox.send_draft(draft.id)
        with pytest.raises(MailServiceWrong, match="404"):
            await mailbox.send_draft(draft.id)
        assert [message["id"] for message in exchange.sent] == [draft.id]

    @pytest.mark.parametrize(
        "failure", [httpx.ReadTimeout("slow"), error(500, "InternalServerError"), error(504, "GatewayTimeout")]
    )
    async def test_says_that_it_may_have_been_sent(self, mailbox: Mailbox, exchange: Exchange, failure):
        draft = await mailbox.create_draft(LETTER, "key-1")
        exchange.fault("send", failure, times=9)
        with pytest.raises(MailServiceDown) as down:
            await mailbox.send_draft(draft.id)
        assert down.value.reached

    async def test_says_that_nobody_was_reached(self, mailbox: Mailbox, exchange: Exchange):
        exchange.fault("send", httpx.ConnectError("refused"), times=9)
        with pytest.raises(MailServiceDown) as down:
            await mailbox.send_draft("x")
        assert not down.value.reached


class TestSendMail:
    async def test_can_be_found_by_its_key(self, mailbox: Mailbox, exchange: Exchange):
        await mailbox.send_mail(LETTER, "it's key-1")
        found = await mailbox.find_by_key("it's key-1")
        assert found is not None
        assert not found.is_draft
        assert await mailbox.find_by_key("key-2") is None


class TestFind:
    async def test_finds_by_immutable_id(self, mailbox: Mailbox, exchange: Exchange):
        draft = await mailbox.create_draft(LETTER, "key-1")
        assert (await mailbox.find_message(draft.id)) == draft
        await mailbox.send_draft(draft.id)
        found = await mailbox.find_message(draft.id)
        assert found is not None
        assert not found.is_draft
        # Slashes and signs of an id are no part of the path.
        assert b"/AAMk1%2F%2B%3D?" in exchange.requests[-1].url.raw_path
        await mailbox.delete_draft(draft.id)
        await mailbox.delete_draft(draft.id)
        assert await mailbox.find_message(draft.id) is None

    async def test_prefers_the_sent_one_of_a_key(self, mailbox: Mailbox, exchange: Exchange):
        first = await mailbox.create_draft(LETTER, "key-1")
        second = await mailbox.create_draft(LETTER, "key-1")
        await mailbox.send_draft(second.id)
        found = await mailbox.find_by_key("key-1")
        assert found is not None
        assert found.id == second.id != first.id

    async def test_finds_by_message_id(self, mailbox: Mailbox, exchange: Exchange):
        received = exchange.receive(internetMessageId="<it's@theirs.example>")
        found = await mailbox.find_by_internet_id("<it's@theirs.example>")
        assert found is not None
        assert found.id == received


class TestAnswers:
    @pytest.mark.parametrize(
        ("response", "refusal", "status"),
        [
            (error(400, "ErrorInvalidRecipients"), MailRefused, 400),
            (error(413, "RequestEntityTooLarge"), MailRefused, 400),
            (error(403, "ErrorAccessDenied"), MailboxDenied, 502),
            (error(404, "ErrorItemNotFound"), MailServiceWrong, 502),
            (error(409, "ErrorIrresolvableConflict"), MailServiceWrong, 502),
            (httpx.Response(201, text="<html>"), MailServiceWrong, 502),
            (httpx.Response(502, text="<html>"), MailServiceDown, 503),
        ],
    )
    async def test_mean_something(self, mailbox: Mailbox, exchange: Exchange, response, refusal, status):
        exchange.fault("create", response)
        with pytest.raises(refusal) as refused:
            await mailbox.create_draft(LETTER, "key-1")
        assert refused.value.status == status
        assert "<html>" not in refused.value.message

    async def test_are_waited_for_when_graph_asks_for_a_moment(self, mailbox: Mailbox, exchange: Exchange):
        exchange.fault("create", error(429, "ApplicationThrottled", **{"Retry-After": "2"}), times=2)
        assert (await mailbox.create_draft(LETTER, "key-1")).is_draft

    @pytest.mark.parametrize("status", [429, 503])
    async def test_say_how_long_to_wait(self, mailbox: Mailbox, exchange: Exchange, status: int):
        exchange.fault("create", error(status, "TooManyRequests", **{"Retry-After": "120"}))
        with pytest.raises(MailServiceBusy, match="120 seconds") as busy:
            await mailbox.create_draft(LETTER, "key-1")
        assert busy.value.retry_after == 120

    async def test_asks_for_a_fresh_token_once(self, exchange: Exchange):
        asked: list[bool] = []

        async def token(renew: bool) -> str:
            asked.append(renew)
            return "token-1" if renew else "expired"

        async with open_client() as client:
            assert (await Mailbox(client, token).create_draft(LETTER, "k")).is_draft
            exchange.tokens = set()
            with pytest.raises(NeedsReauth):
                await Mailbox(client, token).create_draft(LETTER, "k")
        assert asked == [False, True, False, True]

    async def test_come_for_four_requests_at_once(self, wire: respx.MockRouter):
        now, most = 0, 0

        async def answer(request: httpx.Request) -> httpx.Response:
            nonlocal now, most
            now += 1
            most = max(most, now)
            for _ in range(5):
                await asyncio.sleep(0)
            now -= 1
            return httpx.Response(200, json={"value": []})

        async def token(renew: bool) -> str:
            return "t"

        wire.get(url__startswith=microsoft.GRAPH).mock(side_effect=answer)
        async with open_client() as client:
            mailbox = Mailbox(client, token)
            await asyncio.gather(*(mailbox.find_by_key(str(number)) for number in range(20)))
        assert most == 4


class TestRedeem:
    @pytest.fixture
    def sign_in(self, wire: respx.MockRouter, exchange: Exchange) -> SignIn:
        return SignIn(wire, exchange)

    @pytest.mark.parametrize("secret", ["s3cret", None])
    def test_renews_an_expired_token_and_keeps_the_new_cache(self, sign_in: SignIn, secret: str | None):
        with httpx.Client() as client:
            token = microsoft.redeem(Application("app-1", secret), token_cache(), client)
            assert token.value == "token-1"
            assert token.expires_in_s > 3000
            assert token.cache is not None
            # The new cache holds the token: nobody is asked again.
            again = microsoft.redeem(Application("app-1", secret), token.cache, client)
            assert (again.value, again.cache) == ("token-1", None)
            assert sign_in.route.call_count == 1
            assert microsoft.redeem(Application("app-1", secret), token.cache, client, renew=True).value == "token-2"

    @pytest.mark.parametrize("code", ["invalid_grant", "interaction_required"])
    def test_says_that_the_person_must_sign_in(self, sign_in: SignIn, code: str):
        sign_in.refused = code
        with httpx.Client() as client, pytest.raises(NeedsReauth):
            microsoft.redeem(Application("app-1", "s"), token_cache(), client)

    def test_says_that_nobody_is_signed_in(self, sign_in: SignIn):
        with httpx.Client() as client, pytest.raises(NeedsReauth):
            microsoft.redeem(Application("app-1", "s"), "", client)

    def test_does_not_blame_the_person_for_anything_else(self, sign_in: SignIn, wire: respx.MockRouter):
        sign_in.refused = "invalid_client"
        with httpx.Client() as client, pytest.raises(MailServiceWrong):
            microsoft.redeem(Application("app-1", "s"), token_cache(), client)
        sign_in.route.mock(side_effect=httpx.ConnectError("refused"))
        with httpx.Client() as client, pytest.raises(MailServiceDown):
            microsoft.redeem(Application("app-1", "s"), token_cache(), client)
