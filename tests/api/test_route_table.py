"""Who may call what, pinned; and that the guards hold for every single route."""

import re

import pytest

from api.app import Rainmaker
from api.endpoints import guard_of
from tests.api import route_table
from tests.api.conftest import Client


def filled(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "8f14e45f-ceea-467a-9538-1f5fb4bdb0ab", path)


class TestRouteTable:
    def test_is_the_pinned_one(self, built_app: Rainmaker):
        """Made anew with `python -m tests.api.route_table > tests/api/route_table.txt`."""
        assert route_table.FILE.read_text().splitlines() == route_table.lines_of(built_app.api_routes)

    def test_finds_every_route_where_fastapi_would(self, built_app: Rainmaker):
        for route in built_app.api_routes:
            found = built_app.table.find(filled(route.path))
            assert found is not None
            for method in route.methods or ():
                assert found[0][method].template == route.path


class TestGuards:
    async def test_refuse_anonymous_callers(self, client: Client, built_app: Rainmaker):
        open_to_strangers: list[str] = []
        for route in built_app.api_routes:
            guard = guard_of(route)
            for method in route.methods or ():
                if guard in {"public", "signed"}:
                    open_to_strangers.append(f"{method} {route.path}")
                    continue
                answer = await client.request(method, filled(route.path))
                assert answer.status_code == 401, f"{method} {route.path} is {answer.status_code}: {answer.text}"
                assert answer.headers["www-authenticate"] == "Bearer"
        assert set(open_to_strangers) >= {"GET /healthz", "POST /api/auth/session"}

    async def test_refuse_wrong_secrets(self, client: Client, built_app: Rainmaker):
        """Signed routes check their sender themselves; without a valid signature they do nothing."""
        for route in built_app.api_routes:
            if guard_of(route) != "signed":
                continue
            for method in route.methods or ():
                answer = await client.request(
                    method, filled(route.path), headers={"x-cron-secret": "wrong", "authorization": "Bearer wrong"}
                )
                assert answer.status_code in {400, 401, 403, 302, 303}, f"{method} {route.path}"

    @pytest.mark.parametrize("guard", ["manager", "admin"])
    async def test_refuse_reps(self, rep: Client, built_app: Rainmaker, guard: str):
        guarded = [route for route in built_app.api_routes if guard_of(route) == guard]
        for route in guarded:
            for method in route.methods or ():
                answer = await rep.request(method, filled(route.path))
                assert answer.status_code == 403, f"{method} {route.path}"

    async def test_know_a_manager_from_a_rep(self, rep: Client, manager: Client):
        assert (await rep.delete("/api/companies/8f14e45f-ceea-467a-9538-1f5fb4bdb0ab")).status_code == 403
        assert (await manager.delete("/api/companies/8f14e45f-ceea-467a-9538-1f5fb4bdb0ab")).status_code == 404
