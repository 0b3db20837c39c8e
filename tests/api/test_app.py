"""The application as a whole: what every answer carries, and that it starts and stops."""

import re

import pytest
from pydantic import SecretStr

from api.app import Rainmaker, create_app
from api.endpoints import GuardMissing
from memory.settings import Misconfigured
from tests.api.conftest import Client, client_of, settings_for_tests


class TestMe:
    async def test_tells_who_the_token_belongs_to(self, rep: Client):
        answer = await rep.get("/api/auth/me")
        assert answer.status_code == 200
        assert answer.json() == {
            "user": {
                "id": str(rep.caller.user_id),
                "auth_id": "auth-rita-rep",
                "name": "Rita-Rep",
                "email": "rita-rep@ours.example",
                "role": "rep",
            }
        }

    async def test_says_that_nobody_is_signed_in(self, client: Client):
        answer = await client.get("/api/auth/me")
        assert answer.status_code == 401
        assert answer.json() == {"error": "Sign in first: send a valid bearer token.", "user": None}
        assert answer.headers["www-authenticate"] == "Bearer"


class TestEveryAnswer:
    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/api/companies", "/nowhere", "/stage/stream"])
    async def test_is_safe_for_browsers(self, stage_client: Client, path: str):
        headers = (await stage_client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in headers

    async def test_asks_for_https_where_it_is_reached_by_it(self, client: Client):
        assert "strict-transport-security" not in (await client.get("/nowhere")).headers
        app = create_app(settings_for_tests(public_url="https://crm.example"))
        async with client_of(app) as far:
            answer = await far.get("/nowhere")
        assert answer.headers["strict-transport-security"] == "max-age=31536000; includeSubDomains"

    async def test_has_an_id_of_its_own(self, client: Client):
        first, second = [(await client.get("/healthz")).headers["x-request-id"] for _ in range(2)]
        assert first != second
        assert re.fullmatch("[0-9a-f]{24}", first)

    @pytest.mark.parametrize(
        ("sent", "taken"),
        [
            ("4bf92f3577b34da6a3ce929d0e0e4736", True),
            ("my_request.id-7", True),
            ("short", False),
            ("x" * 129, False),
            ("has space in it", False),
            ("<script>alert(1)</script>", False),
        ],
    )
    async def test_keeps_a_sane_id(self, client: Client, sent: str, taken: bool):
        answer = await client.get("/healthz", headers={"x-request-id": sent})
        assert (answer.headers["x-request-id"] == sent) is taken

    async def test_has_no_body_for_head(self, rep: Client):
        got, head = await rep.get("/api/companies"), await rep.head("/api/companies")
        assert head.status_code == 200
        assert head.content == b""
        assert head.headers["content-length"] == got.headers["content-length"]
        assert (await rep.head("/nowhere")).content == b""

    async def test_may_be_empty(self, stage_rep: Client):
        answer = await stage_rep.get("/stage/nothing")
        assert (answer.status_code, answer.content) == (204, b"")


class TestCron:
    async def test_lets_the_clock_in(self, stage_client: Client):
        assert (await stage_client.get("/stage/clock")).status_code == 401
        assert (await stage_client.get("/stage/clock", headers={"x-cron-secret": "wrong"})).status_code == 401
        right = await stage_client.get("/stage/clock", headers={"x-cron-secret": "the cron secret of tests"})
        assert right.json() == {"who": "system"}


class TestBrowsersOfOtherOrigins:
    ASK = {"origin": "https://crm.example", "access-control-request-method": "GET"}

    async def test_are_not_let_in(self, client: Client):
        answer = await client.options("/api/companies", headers=self.ASK)
        assert answer.status_code == 405
        assert "access-control-allow-origin" not in answer.headers

    async def test_are_let_in_when_configured(self):
        app = create_app(settings_for_tests(cors_origins=("https://crm.example",)))
        async with client_of(app) as client:
            answer = await client.options("/api/companies", headers=self.ASK)
            assert answer.headers["access-control-allow-origin"] == "https://crm.example"
            other = await client.options("/api/companies", headers=self.ASK | {"origin": "https://evil.example"})
            assert "access-control-allow-origin" not in other.headers


class TestStart:
    async def test_opens_and_closes(self, fresh_url: str, monkeypatch: pytest.MonkeyPatch):
        settings = settings_for_tests(DATABASE_URL=SecretStr(fresh_url), embedding_engine="hashing")
        monkeypatch.setattr("api.services.Services.wake_agents", lambda _self: None)
        monkeypatch.setattr("api.app.configure_logging", lambda _settings: None)
        app = create_app(settings)
        async with app.router.lifespan_context(app):
            async with client_of(app) as client:
                assert (await client.get("/readyz")).json()["ready"] is True
            services = app.state.services
        assert services.db.pool.closed

    async def test_says_when_there_is_no_database(self):
        app = create_app(settings_for_tests())
        with pytest.raises(Misconfigured, match="DATABASE_URL"):
            async with app.router.lifespan_context(app):
                pass

    def test_refuses_a_route_without_a_guard(self):
        from fastapi import APIRouter

        router = APIRouter(prefix="/open")

        @router.get("")
        async def leak() -> dict[str, str]:
            return {}

        with pytest.raises(GuardMissing, match="/open"):
            Rainmaker(settings_for_tests(), (router,))
