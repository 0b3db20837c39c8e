"""Who gets in: tokens of our own, tokens of issuers, the console's cookie, the cron secret."""

import base64
import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from pydantic import SecretStr

from api import auth, issuers
from api.app import Rainmaker
from api.issuers import Issuers
from api.services import Services
from memory.db import Database, Tx
from memory.settings import Settings
from tests.api.conftest import SECRET, Client, OneTransaction, SignIn, add_user, client_of, settings_for_tests

ENTRA = "https://login.microsoftonline.com/6a1d/v2.0"
SUPABASE = "https://abc.supabase.co/auth/v1"
AUDIENCE = "api://rainmaker"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def status_of(client: Client, token: str) -> int:
    return (await client.get("/api/auth/me", headers=bearer(token))).status_code


class TestOwnTokens:
    async def test_let_their_user_in(self, client: Client, app_settings: Settings, tx: Tx):
        token = auth.issue_token(app_settings, await add_user(tx, "otto", "rep"))
        assert await status_of(client, token) == 200

    @pytest.mark.parametrize(
        "change",
        [
            {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
            {"aud": "somebody else"},
            {"aud": auth.CONSOLE_AUDIENCE},
            {"iss": "somebody else"},
            {"exp": None},
            {"sub": None},
        ],
    )
    async def test_are_checked(self, client: Client, tx: Tx, change: dict[str, Any]):
        claims = {
            "iss": auth.ISSUER,
            "aud": auth.API_AUDIENCE,
            "sub": await add_user(tx, "otto", "rep"),
            "exp": datetime.now(UTC) + timedelta(hours=1),
        }
        good = jwt.encode(claims, SECRET, "HS256")
        bad = jwt.encode(
            {name: value for name, value in (claims | change).items() if value is not None}, SECRET, "HS256"
        )
        assert await status_of(client, good) == 200
        assert await status_of(client, bad) == 401

    async def test_are_refused_when_signed_with_another_secret_or_not_at_all(self, client: Client, tx: Tx):
        claims = {
            "iss": auth.ISSUER,
            "aud": auth.API_AUDIENCE,
            "sub": await add_user(tx, "otto", "rep"),
            "exp": datetime.now(UTC) + timedelta(hours=1),
        }
        assert await status_of(client, jwt.encode(claims, "x" * 40, "HS256")) == 401
        assert await status_of(client, jwt.encode(claims, "", "none")) == 401
        assert await status_of(client, jwt.encode(claims, "x" * 80, "HS512")) == 401

    @pytest.mark.parametrize(
        "sent", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer " + "a" * 9000, "Bearer \u00e9", "abc"]
    )
    async def test_survive_nonsense(self, client: Client, sent: str):
        answer = await client.get("/api/companies", headers={"authorization": sent.encode("latin-1")})  # pyright: ignore[reportArgumentType]
        assert answer.status_code == 401
        assert set(answer.json()) == {"error"}

    async def test_of_nobody_are_told_so(self, client: Client, app_settings: Settings):
        answer = await client.get("/api/auth/me", headers=bearer(auth.issue_token(app_settings, "nobody")))
        assert answer.status_code == 404
        assert answer.json() == {"error": "There is no active user for this sign-in.", "user": None}


class TestDeactivatedUser:
    async def test_is_out_when_what_is_remembered_is_over(
        self, sign_in: SignIn, tx: Tx, monkeypatch: pytest.MonkeyPatch
    ):
        client = await sign_in(await add_user(tx, "leaver", "rep"))
        assert (await client.get("/api/companies")).status_code == 200
        await tx.run("UPDATE users SET is_active = false WHERE auth_id = 'auth-leaver'")
        assert (await client.get("/api/companies")).status_code == 200
        now = time.monotonic()
        monkeypatch.setattr("api.auth.time.monotonic", lambda: now + 30)
        assert (await client.get("/api/companies")).status_code == 404

    async def test_reads_without_a_second_query_meanwhile(
        self, rep: Client, app: Rainmaker, monkeypatch: pytest.MonkeyPatch
    ):
        await rep.get("/api/companies")
        used: list[str] = []
        reading = OneTransaction.reading
        monkeypatch.setattr(OneTransaction, "reading", lambda self, now=None: used.append("x") or reading(self, now))
        assert (await rep.get("/api/companies")).status_code == 200
        assert used == ["x"]

    async def test_may_not_use_a_token_beyond_its_end(self, client: Client, app_settings: Settings, tx: Tx):
        """What is remembered ends with the token, even when that is sooner."""
        auth_id = await add_user(tx, "brief", "rep")
        token = auth.issue_token(app_settings, auth_id, lifetime=timedelta(seconds=1.2))
        assert await status_of(client, token) == 200
        gate = client._transport.app.state.services.gate  # pyright: ignore[reportAttributeAccessIssue]
        (until,) = [until for caller, until in gate._known.values() if caller.auth_id == auth_id]
        assert until - time.monotonic() < 1.3


# Issuers ------------------------------------------------------------------------------------------------------------


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def published(key: Any, kid: str, **more: str) -> dict[str, Any]:
    kind: Any = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    return json.loads(kind.to_jwk(key.public_key())) | {"kid": kid, "use": "sig"} | more


def entra_claims(**changes: Any) -> dict[str, Any]:
    claims = {
        "iss": ENTRA,
        "aud": AUDIENCE,
        "sub": "pairwise-for-this-app",
        "oid": "auth-olga",
        "tid": "6a1d",
        "exp": datetime.now(UTC) + timedelta(hours=1),
    } | changes
    return {name: value for name, value in claims.items() if value is not None}


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa_key()


@pytest.fixture
def wire() -> Any:
    with respx.mock(assert_all_called=False) as mocked:
        yield mocked


@pytest.fixture
async def federated(built_app: Rainmaker, tx: Tx, wire: respx.MockRouter) -> AsyncIterator[Client]:
    """A client of an application that trusts Entra ID and Supabase; Olga is a user."""
    settings = settings_for_tests(oidc_issuers=(ENTRA, SUPABASE), oidc_audience=AUDIENCE)
    built_app.state.services = services = Services(settings, OneTransaction(tx))
    await add_user(tx, "olga", "manager")
    async with client_of(built_app) as client:
        yield client
    await services.close()


def publish(wire: respx.MockRouter, *keys: dict[str, Any]) -> respx.Route:
    wire.get(f"{ENTRA}/.well-known/openid-configuration").respond(
        json={"issuer": ENTRA, "jwks_uri": "https://login.microsoftonline.com/6a1d/discovery/v2.0/keys"}
    )
    return wire.get("https://login.microsoftonline.com/6a1d/discovery/v2.0/keys").respond(json={"keys": list(keys)})


class TestEntra:
    async def test_names_a_person_by_oid(self, federated: Client, wire: respx.MockRouter, key: Any):
        publish(wire, published(key, "k1"))
        token = jwt.encode(entra_claims(), key, "RS256", headers={"kid": "k1"})
        answer = await federated.get("/api/auth/me", headers=bearer(token))
        assert answer.json()["user"]["email"] == "olga@ours.example"

    @pytest.mark.parametrize(
        "change",
        [
            {"aud": "api://another"},
            {"iss": "https://login.microsoftonline.com/evil/v2.0"},
            {"exp": datetime(2020, 1, 1, tzinfo=UTC)},
            {"nbf": datetime.now(UTC) + timedelta(hours=1)},
            {"exp": None},
        ],
    )
    async def test_is_checked(self, federated: Client, wire: respx.MockRouter, key: Any, change: dict[str, Any]):
        publish(wire, published(key, "k1"))
        token = jwt.encode(entra_claims(**change), key, "RS256", headers={"kid": "k1"})
        assert await status_of(federated, token) == 401

    async def test_keys_are_fetched_once(self, federated: Client, wire: respx.MockRouter, key: Any):
        route = publish(wire, published(key, "k1"))
        for n in range(3):
            token = jwt.encode(entra_claims(nonce=n), key, "RS256", headers={"kid": "k1"})
            assert await status_of(federated, token) == 200
        assert route.call_count == 1

    async def test_keys_may_change(
        self, federated: Client, wire: respx.MockRouter, key: Any, monkeypatch: pytest.MonkeyPatch
    ):
        publish(wire, published(key, "k1"))
        assert await status_of(federated, jwt.encode(entra_claims(), key, "RS256", headers={"kid": "k1"})) == 200
        new = rsa_key()
        route = publish(wire, published(new, "k2"))
        calls = route.call_count
        token = jwt.encode(entra_claims(), new, "RS256", headers={"kid": "k2"})
        assert await status_of(federated, token) == 401, "not asked again within half a minute"
        assert route.call_count == calls
        now = time.monotonic()
        monkeypatch.setattr("api.issuers.time.monotonic", lambda: now + 31)
        assert await status_of(federated, token) == 200

    async def test_old_keys_serve_while_the_issuer_is_down(
        self, federated: Client, wire: respx.MockRouter, key: Any, monkeypatch: pytest.MonkeyPatch
    ):
        publish(wire, published(key, "k1"))
        assert await status_of(federated, jwt.encode(entra_claims(n=1), key, "RS256", headers={"kid": "k1"})) == 200
        wire.get(f"{ENTRA}/.well-known/openid-configuration").mock(side_effect=httpx.ConnectTimeout)
        now = time.monotonic()
        monkeypatch.setattr("api.issuers.time.monotonic", lambda: now + 4000)
        assert await status_of(federated, jwt.encode(entra_claims(n=2), key, "RS256", headers={"kid": "k1"})) == 200
        monkeypatch.setattr("api.issuers.time.monotonic", lambda: now + 90_000)
        assert await status_of(federated, jwt.encode(entra_claims(n=3), key, "RS256", headers={"kid": "k1"})) == 503

    async def test_public_key_is_no_shared_secret(self, federated: Client, wire: respx.MockRouter, key: Any):
        """The classic confusion: a token signed by HMAC with the published key."""
        publish(wire, published(key, "k1"))
        pem = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "k1"}).encode()).rstrip(b"=")
        claims = entra_claims(exp=int(time.time()) + 600)
        body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=")
        import hashlib
        import hmac

        sign = base64.urlsafe_b64encode(hmac.new(pem, head + b"." + body, hashlib.sha256).digest()).rstrip(b"=")
        assert await status_of(federated, b".".join((head, body, sign)).decode()) == 401

    async def test_own_issuer_never_takes_a_foreign_key(self, federated: Client, wire: respx.MockRouter, key: Any):
        publish(wire, published(key, "k1"))
        claims = entra_claims(iss=auth.ISSUER, aud=auth.API_AUDIENCE, sub="auth-olga")
        assert await status_of(federated, jwt.encode(claims, key, "RS256", headers={"kid": "k1"})) == 401

    async def test_our_secret_signs_for_no_other_issuer(self, federated: Client, wire: respx.MockRouter, key: Any):
        publish(wire, published(key, "k1"))
        assert await status_of(federated, jwt.encode(entra_claims(), SECRET, "HS256", headers={"kid": "k1"})) == 401


class TestSupabase:
    async def test_names_a_person_by_sub_and_needs_no_discovery(self, federated: Client, wire: respx.MockRouter):
        curve = ec.generate_private_key(ec.SECP256R1())
        wire.get(f"{SUPABASE}/.well-known/openid-configuration").respond(404)
        wire.get(f"{SUPABASE}/.well-known/jwks.json").respond(json={"keys": [published(curve, "s1")]})
        claims = {
            "iss": SUPABASE,
            "aud": AUDIENCE,
            "sub": "auth-olga",
            "role": "authenticated",
            "exp": int(time.time()) + 600,
        }
        assert await status_of(federated, jwt.encode(claims, curve, "ES256", headers={"kid": "s1"})) == 200
        confused = jwt.encode(claims, rsa_key(), "RS256", headers={"kid": "s1"})
        assert await status_of(federated, confused) == 401


class TestIssuersAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            "http://169.254.169.254/latest/meta-data",
            "http://internal.example/keys",
            "file:///etc/passwd",
            "ftp://keys.example/",
            "https:///keys",
            "gopher://x",
        ],
    )
    async def test_that_are_not_https_are_not_asked(self, wire: respx.MockRouter, address: str):
        wire.get(f"{ENTRA}/.well-known/openid-configuration").respond(json={"jwks_uri": address})
        made = Issuers(settings_for_tests(oidc_issuers=(ENTRA,), oidc_audience=AUDIENCE))
        token = jwt.encode(entra_claims(), rsa_key(), "RS256", headers={"kid": "k1"})
        with pytest.raises(issuers.IssuerDown):
            await made.read(ENTRA, token)
        assert wire.calls.call_count == 1
        await made.close()

    async def test_of_a_token_are_never_asked(self, federated: Client, wire: respx.MockRouter, key: Any):
        """Neither `iss` nor `jku` or `x5u` of a token choose where we call."""
        evil = "https://evil.example"
        token = jwt.encode(
            entra_claims(iss=evil), key, "RS256", headers={"kid": "k1", "jku": f"{evil}/keys", "x5u": f"{evil}/x"}
        )
        assert await status_of(federated, token) == 401
        assert wire.calls.call_count == 0

    @pytest.mark.parametrize(
        "broken",
        [
            {"content": b"not json"},
            {"json": []},
            {"json": {"keys": "none"}},
            {"status_code": 302, "headers": {"location": "http://127.0.0.1/"}},
            {"status_code": 500},
            {"content": b" " * 600_000},
        ],
    )
    async def test_may_answer_anything(
        self, federated: Client, wire: respx.MockRouter, broken: dict[str, Any], key: Any
    ):
        wire.get(f"{ENTRA}/.well-known/openid-configuration").respond(json={"jwks_uri": f"{ENTRA}/keys"})
        wire.get(f"{ENTRA}/keys").respond(**broken)
        token = jwt.encode(entra_claims(), key, "RS256", headers={"kid": "k1"})
        assert await status_of(federated, token) in {401, 503}


# The console --------------------------------------------------------------------------------------------------------


class TestSession:
    async def test_lets_the_console_in(self, client: Client, app_settings: Settings, tx: Tx):
        token = auth.issue_token(app_settings, await add_user(tx, "cora", "rep"))
        opened = await client.post("/api/auth/session", json={"token": token})
        assert opened.status_code == 200
        cookie = opened.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert token not in cookie
        assert (await client.get("/api/companies")).status_code == 200

    async def test_needs_the_csrf_token_for_changes(self, client: Client, app_settings: Settings, tx: Tx):
        token = auth.issue_token(app_settings, await add_user(tx, "cora", "rep"))
        opened = (await client.post("/api/auth/session", json={"token": token})).json()
        company = {"name": "Acme"}
        assert (await client.post("/api/companies", json=company)).status_code == 403
        assert (
            await client.post("/api/companies", json=company, headers={"x-csrf-token": "0" * 64})
        ).status_code == 403
        right = {"x-csrf-token": opened["csrf_token"]}
        assert (await client.post("/api/companies", json=company, headers=right)).status_code == 201
        assert (await client.get("/api/auth/session")).json()["csrf_token"] == opened["csrf_token"]

    async def test_of_another_session_has_another_csrf_token(self, app_settings: Settings):
        assert auth.csrf_token(app_settings, "a") != auth.csrf_token(app_settings, "b")

    async def test_is_no_bearer_token(self, client: Client, app_settings: Settings, tx: Tx):
        token = auth.issue_token(app_settings, await add_user(tx, "cora", "rep"))
        await client.post("/api/auth/session", json={"token": token})
        session = client.cookies[auth.SESSION_COOKIE]
        client.cookies.clear()
        assert await status_of(client, session) == 401
        answer = await client.get("/api/companies", headers={"cookie": f"{auth.SESSION_COOKIE}={token}"})
        assert answer.status_code == 401

    async def test_ends(self, client: Client, app_settings: Settings, tx: Tx):
        token = auth.issue_token(app_settings, await add_user(tx, "cora", "rep"))
        opened = (await client.post("/api/auth/session", json={"token": token})).json()
        closed = await client.delete("/api/auth/session", headers={"x-csrf-token": opened["csrf_token"]})
        assert closed.status_code == 200
        assert auth.SESSION_COOKIE not in client.cookies

    async def test_cannot_be_opened_without_a_token(self, client: Client):
        assert (await client.post("/api/auth/session", json={"token": "a.b.c"})).status_code == 401

    async def test_cookie_is_secure_below_https(self):
        from starlette.responses import Response

        settings = settings_for_tests(public_url="https://crm.example")
        gate = auth.Gate(settings, Database.__new__(Database), None)  # pyright: ignore[reportArgumentType]
        response = Response()
        gate.set_cookie(response, "x")
        assert "Secure" in response.headers["set-cookie"]
        await gate.close()


class TestCron:
    """No cron route exists without a guard; the guard itself is asked here."""

    def gate(self, **overrides: Any) -> auth.Gate:
        return auth.Gate(settings_for_tests(**overrides), None, None)  # pyright: ignore[reportArgumentType]

    def scope(self, name: bytes, value: bytes) -> dict[str, Any]:
        return {"headers": [(name, value)]}

    def test_takes_the_secret_in_two_places(self):
        gate = self.gate(cron_secret=SecretStr("s3cret"))
        gate.admit_clock(self.scope(b"x-cron-secret", b"s3cret"))
        gate.admit_clock(self.scope(b"authorization", b"Bearer s3cret"))

    @pytest.mark.parametrize("sent", [b"", b"s3cre", b"s3cret ", b"\xff\x00"])
    def test_refuses_another(self, sent: bytes):
        with pytest.raises(auth.WrongCronSecret):
            self.gate(cron_secret=SecretStr("s3cret")).admit_clock(self.scope(b"x-cron-secret", sent))

    @pytest.mark.parametrize("secret", [None, SecretStr("")])
    @pytest.mark.parametrize("sent", [b"", b"None", b"anything"])
    def test_is_closed_while_there_is_none(self, secret: SecretStr | None, sent: bytes):
        with pytest.raises(auth.CronClosed):
            self.gate(cron_secret=secret).admit_clock(self.scope(b"x-cron-secret", sent))


class TestGuessing:
    async def test_is_slowed_down_by_address(self, client: Client, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(auth, "GUESSES_PER_MINUTE", 5)
        statuses = [await status_of(client, f"a.b.{n}") for n in range(7)]
        assert statuses == [401] * 5 + [429] * 2
