"""What holds of every page and every form of the console, whoever adds one."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest
from fastapi.routing import APIRoute

from api import auth
from api.console import pages
from api.console.frame import FOLDER, templates
from prompts import registry
from tools import ai_prompts

KEY = "communication_hub_analysis"
OPEN = {"/console", "/console/sign-in"}
# The same in every process that collects these tests.
NOBODY = UUID(int=1)
FILLED = {"key": KEY, "version": "1", "run_id": str(NOBODY)}
QUERY = {
    "/console/evals/compare": f"?run_id={NOBODY}&against_run_id={NOBODY}",
    f"/console/prompts/{KEY}/diff": "?base=1&version=1",
}


def routes(method: str) -> Iterator[str]:
    for router in pages.ROUTERS:
        for route in router.routes:
            if isinstance(route, APIRoute) and method in (route.methods or ()) and route.path not in OPEN:
                yield re.sub(r"\{(\w+)\}", lambda found: FILLED[found[1]], route.path)


GETS, POSTS = sorted(routes("GET")), sorted(routes("POST"))


async def enter(client: Any, app_settings: Any, caller: Any) -> str:
    """Sign in, and return the token of the session's forms."""
    session = auth.issue_token(app_settings, caller.auth_id, audience=auth.CONSOLE_AUDIENCE)
    client.cookies.set(auth.SESSION_COOKIE, session)
    return auth.csrf_token(app_settings, session)


@pytest.fixture
async def admin_user(given: Any) -> Any:
    await ai_prompts.sync_shipped(given.tx, registry.shelf())
    return await given.user("admin")


class TestEveryPage:
    @pytest.mark.parametrize("path", [*GETS, *POSTS])
    async def test_leads_strangers_to_the_sign_in_page(self, client: Any, path: str) -> None:
        path += QUERY.get(path, "")
        answer = await (client.post(path) if path in POSTS else client.get(path))
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/console/sign-in")

    @pytest.mark.parametrize("path", GETS)
    async def test_holds_the_browser_to_a_strict_policy(
        self, client: Any, app_settings: Any, admin_user: Any, path: str
    ) -> None:
        await enter(client, app_settings, admin_user)
        answer = await client.get(path + QUERY.get(path, ""))
        assert answer.status_code in {200, 404}
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert not re.search(r"unsafe|\*|https?:|blob:", policy)
        assert answer.headers["cache-control"] == "no-store"
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=|\sstyle=|<style|javascript:|hx-on", answer.text)

    @pytest.mark.parametrize("path", GETS)
    async def test_can_be_read_without_eyes(self, client: Any, app_settings: Any, admin_user: Any, path: str) -> None:
        await enter(client, app_settings, admin_user)
        page = (await client.get(path + QUERY.get(path, ""))).text
        assert page.count("<h1") == 1
        assert re.search(r'<html lang="en"', page)
        assert '<main id="main"' in page
        unnamed = [
            field
            for field in re.findall(r"<(?:input|select|textarea)\b[^>]*>", page)
            if 'type="hidden"' not in field
            and not re.search(r"<label[^>]*>(?:(?!</label>).)*" + re.escape(field), page, re.DOTALL)
        ]
        assert unnamed == []


class TestEveryForm:
    @pytest.mark.parametrize("path", POSTS)
    @pytest.mark.parametrize("csrf", [None, "", "guess"])
    async def test_is_refused_without_the_sessions_own_token(
        self, client: Any, app_settings: Any, admin_user: Any, path: str, csrf: str | None
    ) -> None:
        await enter(client, app_settings, admin_user)
        answer = await client.post(path, data={} if csrf is None else {"csrf": csrf})
        assert answer.status_code == 403
        assert "This form is too old or comes from elsewhere" in answer.text
        header = await client.post(path, headers={"x-csrf-token": csrf or "0" * 64, "hx-request": "true"})
        assert header.status_code == 403

    @pytest.mark.parametrize("path", POSTS)
    async def test_is_refused_from_another_origin(
        self, client: Any, app_settings: Any, admin_user: Any, path: str
    ) -> None:
        csrf = await enter(client, app_settings, admin_user)
        for origin in ("https://evil.example", "null"):
            answer = await client.post(path, data={"csrf": csrf}, headers={"origin": origin})
            assert answer.status_code == 403

    @pytest.mark.parametrize("path", [path for path in POSTS if "/prompts" in path])
    async def test_of_prompts_is_refused_to_those_who_may_not_write_them(
        self, client: Any, app_settings: Any, admin_user: Any, given: Any, path: str
    ) -> None:
        csrf = await enter(client, app_settings, await given.user("manager"))
        answer = await client.post(path, data={"csrf": csrf})
        assert (answer.status_code, "whose role may write prompts" in answer.text) == (403, True)

    async def test_that_is_no_form_or_too_long_is_refused(
        self, client: Any, app_settings: Any, admin_user: Any
    ) -> None:
        csrf = await enter(client, app_settings, admin_user)
        path, headers = f"/console/prompts/{KEY}/preview", {"x-csrf-token": csrf}
        for body in (b"\xff\xfe", b"&".join(b"a=1" for _ in range(400)), b"a=" + b"x" * 1_000_001):
            assert (await client.post(path, content=body, headers=headers)).status_code == 403


class TestRoles:
    async def test_shows_each_role_its_own_ways(self, client: Any, app_settings: Any, given: Any) -> None:
        ways = {}
        for role in ("rep", "manager", "admin"):
            await enter(client, app_settings, await given.user(role))
            page = (await client.get("/console/runs")).text
            ways[role] = re.findall(r'<a href="/console/(\w+)" data-go', page)
        assert ways == {
            "rep": ["runs", "trace"],
            "manager": ["runs", "trace"],
            "admin": ["runs", "prompts", "evals", "trace"],
        }

    async def test_keeps_evals_to_admins(self, client: Any, app_settings: Any, given: Any) -> None:
        await enter(client, app_settings, await given.user("manager"))
        answer = await client.get("/console/evals")
        assert (answer.status_code, "Only admins may do this." in answer.text) == (403, True)


class TestWays:
    @pytest.mark.parametrize(
        ("wanted", "way"),
        [
            ("/console/prompts?state=on", "/console/prompts?state=on"),
            ("https://evil.example/", "/console/runs"),
            ("//evil.example/console/", "/console/runs"),
            ("/console/\\evil.example", "/console/runs"),
            ("/console/sign-out", "/console/runs"),
            ("/api/companies", "/console/runs"),
            ("/console/runs\r\nset-cookie: a=b", "/console/runs"),
        ],
    )
    async def test_leads_back_into_the_console_only(
        self, client: Any, app_settings: Any, given: Any, wanted: str, way: str
    ) -> None:
        token = auth.issue_token(app_settings, (await given.user()).auth_id)
        answer = await client.post("/console/sign-in", data={"token": token, "next": wanted})
        assert (answer.status_code, answer.headers["location"]) == (303, way)

    async def test_tells_a_part_that_the_session_is_over(self, client: Any) -> None:
        answer = await client.get("/console/runs", headers={"hx-request": "true"})
        assert (answer.status_code, answer.headers["hx-redirect"]) == (204, "/console/sign-in")

    async def test_gives_a_part_to_htmx_and_the_page_to_history(
        self, client: Any, app_settings: Any, given: Any
    ) -> None:
        await enter(client, app_settings, await given.user())
        part = await client.get("/console/runs", headers={"hx-request": "true"})
        assert ("<html" in part.text, "No runs yet" in part.text) == (False, True)
        assert "HX-Request" in part.headers["vary"]
        back = await client.get("/console/runs", headers={"hx-request": "true", "hx-history-restore-request": "true"})
        assert "<html" in back.text

    async def test_says_where_there_is_nothing(self, client: Any, app_settings: Any, given: Any) -> None:
        await enter(client, app_settings, await given.user())
        for path in ("/console/nowhere", "/console/runs/no-id", f"/console/runs/{NOBODY}"):
            answer = await client.get(path)
            assert (answer.status_code, "Not here" in answer.text) == (404, True)

    async def test_keeps_the_way_to_look(self, client: Any, app_settings: Any, given: Any) -> None:
        csrf = await enter(client, app_settings, await given.user())
        dark = await client.post("/console/theme", data={"csrf": csrf, "theme": "dark", "back": "/console/trace"})
        assert (dark.status_code, dark.headers["location"]) == (303, "/console/trace")
        assert "rainmaker_theme=dark" in dark.headers["set-cookie"]
        client.cookies.set("rainmaker_theme", '"><script>')
        assert "data-theme" not in (await client.get("/console/runs")).text


class TestFiles:
    async def test_are_kept_by_browsers_until_they_change(self, client: Any) -> None:
        page = (await client.get("/console/sign-in")).text
        named = re.findall(r'(?:src|href)="(/console/static/[^"]+)"', page)
        assert len(named) >= 4
        for address in named:
            answer: httpx.Response = await client.get(address)
            assert (answer.status_code, "immutable" in answer.headers["cache-control"]) == (200, True)
        bare = await client.get("/console/static/console.css")
        assert bare.headers["cache-control"] == "no-cache"

    def test_come_with_the_licence_of_what_is_not_ours(self) -> None:
        foreign = [path for path in (FOLDER / "static").iterdir() if path.name.endswith(".min.js")]
        assert foreign
        assert all((path.parent / path.name.replace(".min.js", ".LICENSE.txt")).exists() for path in foreign)

    @pytest.mark.parametrize("name", sorted(templates.list_templates()))
    def test_every_template_can_be_read(self, name: str) -> None:
        assert templates.get_template(name).name == name
