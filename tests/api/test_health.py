"""Whether the service says how it is doing."""

import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr

from api.app import Rainmaker
from api.services import Services
from memory import heartbeats
from memory.db import Database
from tests.api.conftest import Client, client_of, settings_for_tests


class TestHealth:
    async def test_asks_nobody(self, live_app: Rainmaker):
        await live_app.state.services.db.pool.close()
        async with client_of(live_app) as client:
            assert (await client.get("/healthz")).json() == {"status": "ok"}


class TestReadiness:
    async def test_names_the_parts(self, live: Client, db: Database):
        async with db.transaction() as tx:
            await heartbeats.record(tx, "worker:here:1")
            await heartbeats.record(tx, "worker:here:2")
        answer = await live.get("/readyz")
        assert answer.status_code == 200
        body = answer.json()
        assert body.pop("parts")["worker"]["alive"] == 2
        assert body == {
            "ready": True,
            "database": "ok",
            "schema": "ok",
            "agents": "not loaded",
            "model_engine": "rules",
        }

    async def test_does_not_hang_on_other_parts(self, live: Client):
        """A worker that is away is for its own alarm: this process can serve."""
        assert (await live.get("/readyz")).json()["parts"] == {}

    async def test_is_denied_while_the_schema_is_behind(self, live: Client, db: Database):
        async with db.transaction() as tx:
            await tx.run("DELETE FROM schema_migrations WHERE name = (SELECT max(name) FROM schema_migrations)")
        answer = await live.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["ready"] is False
        assert answer.json()["database"] == "ok"
        assert "migrat" in answer.json()["schema"]

    async def test_is_denied_without_the_database(self, live: Client, live_app: Rainmaker):
        await live_app.state.services.db.pool.close()
        answer = await live.get("/readyz")
        assert answer.status_code == 503
        assert answer.json()["database"] == "does not answer"
        assert "127.0.0.1" not in answer.text


class TestMetrics:
    async def read(self, client: Client, **headers: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        answer = await client.get("/metrics", headers=headers)
        assert answer.status_code == 200, answer.text
        families = text_string_to_metric_families(answer.text)
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in families
            for sample in family.samples
        }

    async def test_count_requests_by_template(self, live: Client):
        for n in range(3):
            await live.get(f"/api/companies/8f14e45f-ceea-467a-9538-1f5fb4bdb0a{n}")
        await live.get("/nowhere/1")
        await live.get("/nowhere/2")
        seen = await self.read(live)
        route = (("method", "GET"), ("route", "/api/companies/{company_id}"))
        assert seen["rainmaker_http_requests_total", (*route, ("status", "404"))] == 3
        assert seen["rainmaker_http_request_seconds_count", route] == 3
        unknown = (("method", "ANY"), ("route", "none"), ("status", "404"))
        assert seen["rainmaker_http_requests_total", unknown] == 2

    async def test_show_queue_runs_and_money(self, live: Client, db: Database):
        async with db.transaction() as tx:
            await tx.enqueue("a.b")
            await tx.run("INSERT INTO agent_runs (agent, status) VALUES ('analysis', 'failed')")
            await tx.run(
                """
                INSERT INTO ai_calls (capability, prompt_key, prompt_version, engine, provider, model, status, cost_usd)
                VALUES ('analysis', 'k', 1, 'openai', 'openai', 'm', 'ok', 0.25),
                       ('analysis', 'k', 1, 'openai', 'openai', 'm', 'error', 0.50)
                """
            )
        seen = await self.read(live)
        assert seen["rainmaker_outbox_jobs", (("status", "waiting"),)] == 1
        assert seen["rainmaker_agent_runs", (("agent", "analysis"), ("status", "failed"))] == 1
        assert seen["rainmaker_ai_spend_usd", (("model", "m"), ("provider", "openai"))] == 0.75
        assert seen["rainmaker_ai_calls", (("provider", "openai"), ("status", "ok"))] == 1
        assert seen["rainmaker_db_pool", (("what", "pool_size"),)] >= 1

    async def test_are_for_this_machine_only(self, live: Client, live_app: Rainmaker):
        assert (await live.get("/metrics", headers={"x-forwarded-for": "10.0.0.7"})).status_code == 401
        import httpx

        transport = httpx.ASGITransport(app=live_app, client=("10.0.0.7", 1))  # pyright: ignore[reportArgumentType]
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as far:
            assert (await far.get("/metrics")).status_code == 401

    async def test_may_ask_for_a_token(self, live: Client, live_app: Rainmaker, db: Database):
        services = Services(settings_for_tests(metrics_token=SecretStr("scrape me")), db)
        live_app.state.services = services
        assert (await live.get("/metrics", headers={"authorization": "Bearer wrong"})).status_code == 401
        assert (await live.get("/metrics", headers={"authorization": "Bearer scrape me"})).status_code == 200

    async def test_show_what_there_is_without_the_database(
        self, live: Client, live_app: Rainmaker, caplog: pytest.LogCaptureFixture
    ):
        caplog.set_level(logging.ERROR)
        await live_app.state.services.db.pool.close()
        seen = await self.read(live)
        assert not any(name.startswith("rainmaker_outbox_jobs") for name, _ in seen)
