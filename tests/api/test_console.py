"""The console's pages: signing in, what a rep sees of runs, and forms that come from elsewhere."""

import re
from typing import Any

import httpx

from api import auth
from memory.db import Tx


async def enter(client: Any, app_settings: Any, caller: Any) -> httpx.Response:
    """Sign in as a browser would."""
    token = auth.issue_token(app_settings, caller.auth_id)
    answer = await client.post("/console/sign-in", data={"token": token})
    client.cookies.update(answer.cookies)
    return answer


async def given_run(given: Any, user: Any, **values: Any) -> Any:
    run = await given.row("agent_runs", agent="drafting", user_id=user.user_id, **({"status": "succeeded"} | values))
    for seq, (kind, step, data) in enumerate(
        [
            ("step.started", "write", {}),
            (
                "source.read",
                "write",
                {"record": "communication", "id": "x", "title": "<b>Scanners</b>", "third_party": True},
            ),
            ("step.finished", "write", {"ms": 12}),
        ],
        1,
    ):
        await given.row("agent_run_events", run_id=run.id, seq=seq, kind=kind, step=step, data=given.json(data))
    await given.row(
        "ai_calls", capability="drafting", prompt_key="email_followup_needs_reply", prompt_version=1, engine="rules", provider="rules",
        model="rules", status="ok", run_id=run.id, input_tokens=7,
    )  # fmt: skip
    return run


class TestSignIn:
    async def test_leads_strangers_to_the_sign_in_page(self, client: Any) -> None:
        answer = await client.get("/console/runs")
        assert (answer.status_code, answer.headers["location"]) == (303, "/console/sign-in?next=%2Fconsole%2Fruns")
        page = await client.get("/console/sign-in")
        assert (page.status_code, "Paste a token" in page.text) == (200, True)

    async def test_refuses_a_bad_token_in_a_sentence(self, client: Any) -> None:
        answer = await client.post("/console/sign-in", data={"token": "nonsense"})
        assert (answer.status_code, 'role="alert"' in answer.text) == (401, True)

    async def test_gives_a_cookie_that_scripts_cannot_read(self, client: Any, app_settings: Any, given: Any) -> None:
        answer = await enter(client, app_settings, await given.user())
        assert answer.status_code == 303
        assert {"httponly", "samesite=strict"} <= {
            part.strip().lower() for part in answer.headers["set-cookie"].split(";")
        }

    async def test_refuses_a_form_of_another_site(self, client: Any, app_settings: Any, given: Any) -> None:
        token = auth.issue_token(app_settings, (await given.user()).auth_id)
        for origin in ("https://evil.example", "null"):
            answer = await client.post("/console/sign-in", data={"token": token}, headers={"origin": origin})
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)

    async def test_lets_the_browser_name_the_origin_of_our_own_forms(
        self, client: Any, app_settings: Any, given: Any
    ) -> None:
        # Under "no-referrer" a browser says "null" of them, too.
        page = await client.get("/console/sign-in")
        assert page.headers.get_list("referrer-policy") == ["same-origin"]
        token = auth.issue_token(app_settings, (await given.user()).auth_id)
        answer = await client.post("/console/sign-in", data={"token": token}, headers={"origin": "http://test"})
        assert answer.status_code == 303


class TestRuns:
    async def test_shows_a_rep_their_own_and_nobody_elses(self, client: Any, app_settings: Any, given: Any) -> None:
        me, other = await given.user(), await given.user()
        mine, theirs = await given_run(given, me), await given_run(given, other)
        await enter(client, app_settings, me)
        listed = (await client.get("/console/runs")).text
        assert (str(mine.id) in listed, str(theirs.id) in listed) == (True, False)
        assert (await client.get(f"/console/runs/{theirs.id}")).status_code == 404

    async def test_shows_steps_prompts_tokens_and_sources_escaped(
        self, client: Any, app_settings: Any, given: Any
    ) -> None:
        me = await given.user()
        run = await given_run(given, me, output=given.json({"citations": [{"quote": "word <for> word"}]}))
        await enter(client, app_settings, me)
        answer = await client.get(f"/console/runs/{run.id}")
        for part in (
            "write",
            "12 ms",
            "email_followup_needs_reply",
            "7 + 0 tokens",
            "You draft e-mail answers",
            "from outside",
        ):
            assert part in answer.text
        assert "&lt;b&gt;Scanners&lt;/b&gt;" in answer.text
        assert "<q>word &lt;for&gt; word</q>" in answer.text
        assert "unsafe-inline" not in answer.headers["content-security-policy"]
        assert not re.search(r"<script(?![^>]*src=)|\son\w+=|style=", answer.text)

    async def test_cancels_with_the_sessions_own_token_only(
        self, client: Any, app_settings: Any, given: Any, tx: Tx
    ) -> None:
        me = await given.user()
        run = await given_run(given, me, status="queued")
        await enter(client, app_settings, me)
        refused = await client.post(f"/console/runs/{run.id}/cancel", data={"csrf": "guess"})
        assert (refused.status_code, (await given.fetch("agent_runs", run.id)).status) == (403, "queued")
        csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get(f"/console/runs/{run.id}")).text)
        assert csrf is not None
        done = await client.post(f"/console/runs/{run.id}/cancel", data={"csrf": csrf[1]})
        assert (done.status_code, (await given.fetch("agent_runs", run.id)).status) == (303, "cancelled")

    async def test_signs_out(self, client: Any, app_settings: Any, given: Any) -> None:
        await enter(client, app_settings, await given.user())
        csrf = re.search(r'name="csrf" value="([^"]+)"', (await client.get("/console/runs")).text)
        assert csrf is not None
        answer = await client.post("/console/sign-out", data={"csrf": csrf[1]})
        assert (answer.status_code, 'rainmaker_session=""' in answer.headers["set-cookie"]) == (303, True)
