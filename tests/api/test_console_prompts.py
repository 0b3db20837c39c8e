"""Prompts in the console, as a browser without scripts sends and sees them."""

from typing import Any

import pytest

from api import auth
from memory.db import Tx
from prompts import registry
from tools import ai_prompts

KEY = "deal_summary"
DRAFT = {
    "system_template": "You write summaries.",
    "prompt_template": "The deal: {{ dealInfo }}",
    "change_reason": "Shorter",
    "model": "",
    "max_tokens": "900",
    "temperature": "0.3",
}


class Desk:
    """An admin at the console."""

    def __init__(self, client: Any, csrf: str) -> None:
        self.client = client
        self.csrf = csrf

    async def see(self, path: str) -> str:
        answer = await self.client.get(f"/console/prompts/{path}")
        assert answer.status_code == 200, answer.text
        return answer.text

    async def send(self, path: str, **fields: str) -> Any:
        return await self.client.post(f"/console/prompts/{path}", data={"csrf": self.csrf, **fields})


@pytest.fixture
async def desk(client: Any, app_settings: Any, given: Any, tx: Tx) -> Desk:
    await ai_prompts.sync_shipped(tx, registry.shelf())
    session = auth.issue_token(app_settings, (await given.user("admin")).auth_id, audience=auth.CONSOLE_AUDIENCE)
    client.cookies.set(auth.SESSION_COOKIE, session)
    return Desk(client, auth.csrf_token(app_settings, session))


async def active(tx: Tx) -> int:
    return await tx.one(int, "SELECT active_version FROM ai_prompts WHERE key = %(key)s", key=KEY)


class TestEditing:
    async def test_keeps_a_draft_with_its_settings_and_changes_nothing_that_answers(self, desk: Desk, tx: Tx) -> None:
        answer = await desk.send(f"{KEY}/edit", **DRAFT)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/console/prompts/{KEY}/release/2?said=saved")
        assert await active(tx) == 1
        kept = await tx.one(
            dict,  # pyright: ignore[reportArgumentType]
            """
            SELECT json_build_object('words', v.prompt_template, 'model', v.model, 'max_tokens', v.max_tokens,
                                     'temperature', v.temperature, 'reason', v.change_reason)
              FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id WHERE p.key = %(key)s AND v.version = 2
            """,
            key=KEY,
        )  # fmt: skip
        assert kept == {
            "words": "The deal: {{ dealInfo }}", "model": None, "max_tokens": 900, "temperature": 0.3, "reason": "Shorter",
        }  # fmt: skip

    async def test_gives_broken_words_back_with_what_is_wrong(self, desk: Desk) -> None:
        answer = await desk.send(f"{KEY}/edit", **(DRAFT | {"prompt_template": "<b> {{ dealInfo | upper }}"}))
        assert answer.status_code == 400
        assert "The template is not valid" in answer.text
        assert "&lt;b&gt; {{ dealInfo | upper }}</textarea>" in answer.text

    async def test_names_the_field_of_a_setting_that_is_none(self, desk: Desk) -> None:
        answer = await desk.send(f"{KEY}/edit", **(DRAFT | {"temperature": "hot"}))
        assert (answer.status_code, "temperature:" in answer.text) == (400, True)

    async def test_says_that_nothing_was_changed(self, desk: Desk, tx: Tx) -> None:
        shipped = registry.shelf().active[KEY]
        answer = await desk.send(f"{KEY}/edit", system_template=shipped.system, prompt_template=shipped.user)
        assert answer.headers["location"] == f"/console/prompts/{KEY}?said=unchanged"
        assert "Nothing was changed" in await desk.see(f"{KEY}?said=unchanged")

    async def test_edits_the_default_system_message_which_has_no_prompt(self, desk: Desk) -> None:
        page = await desk.see("core_system/edit")
        assert "it is the system message of others" in page
        answer = await desk.send(
            "core_system/edit", system_template="You help people who sell.", prompt_template="", change_reason="Shorter"
        )
        assert answer.headers["location"] == "/console/prompts/core_system/release/2?said=saved"
        assert "You help people who sell." in await desk.see("core_system/versions/2")

    async def test_previews_without_keeping(self, desk: Desk, tx: Tx) -> None:
        answer = await desk.send(f"{KEY}/preview", prompt_template="The deal: {{ dealInfo }} {{ nothing }}")
        assert answer.status_code == 200
        assert 'class="value" title="dealInfo"' in answer.text
        assert "the agent has nothing for nothing" in answer.text
        assert (
            await tx.one(
                int,
                "SELECT count(*) FROM ai_prompt_versions v JOIN ai_prompts p ON p.id = v.prompt_id WHERE p.key = %(key)s",
                key=KEY,
            )
            == 1
        )

    async def test_says_when_a_record_is_none(self, desk: Desk) -> None:
        for record in (
            "deal:nonsense",
            "deal:00000000-0000-0000-0000-000000000000",
            "planet:00000000-0000-0000-0000-000000000000",
        ):
            answer = await desk.send(f"{KEY}/preview", prompt_template="x", record=record)
            assert (answer.status_code, 'role="alert"' in answer.text) == (200, True)


class TestReleasing:
    async def test_needs_evidence_or_an_admins_reason(self, desk: Desk, tx: Tx) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        refused = await desk.send(f"{KEY}/release/2")
        assert (refused.status_code, "No verdict yet from" in refused.text, await active(tx)) == (409, True, 1)
        empty = await desk.send(f"{KEY}/release/2", override="yes", override_reason="  ")
        assert (empty.status_code, await active(tx)) == (409, 1)
        done = await desk.send(f"{KEY}/release/2", override="yes", override_reason="The customer waits")
        assert (done.headers["location"], await active(tx)) == (f"/console/prompts/{KEY}?said=released", 2)
        assert "The customer waits" in await desk.see(KEY)

    async def test_refuses_a_version_that_fails_a_check_whatever_the_reason(self, desk: Desk, tx: Tx) -> None:
        await desk.send(f"{KEY}/edit", **(DRAFT | {"prompt_template": "{{ nothing_like_it }}"}))
        page = await desk.see(f"{KEY}/release/2")
        assert "A version that fails a check cannot be released by anybody" in page
        refused = await desk.send(f"{KEY}/release/2", override="yes", override_reason="The customer waits")
        assert (refused.status_code, await active(tx)) == (409, 1)

    async def test_goes_back_in_one_step(self, desk: Desk, tx: Tx) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        await desk.send(f"{KEY}/release/2", override="yes", override_reason="The customer waits")
        nameless = await desk.send(f"{KEY}/rollback", reason="")
        assert (nameless.status_code, await active(tx)) == (400, 2)
        done = await desk.send(f"{KEY}/rollback", reason="It dropped promises")
        assert (done.headers["location"], await active(tx)) == (f"/console/prompts/{KEY}?said=rolled-back", 1)

    async def test_restores_what_is_shipped(self, desk: Desk, tx: Tx) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        await desk.send(f"{KEY}/release/2", override="yes", override_reason="The customer waits")
        done = await desk.send(f"{KEY}/restore")
        assert (done.headers["location"], await active(tx)) == (f"/console/prompts/{KEY}?said=restored", 1)
        again = await desk.send(f"{KEY}/restore")
        assert (again.status_code, "is active already" in again.text) == (409, True)

    async def test_refuses_to_decide_on_a_page_that_is_too_old(self, desk: Desk, tx: Tx) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        old = await desk.send(
            f"{KEY}/release/2", override="yes", override_reason="The customer waits", lock_version="0"
        )
        assert (old.status_code, "Somebody else has changed the prompt" in old.text, await active(tx)) == (409, True, 1)

    async def test_shows_a_draft_beside_what_answers(self, desk: Desk) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        page = await desk.see(f"{KEY}/diff?base=1&version=2")
        assert "Shorter" in await desk.see(f"{KEY}/versions/2")
        assert "temperature" in page
        assert "<ins>0.3</ins>" in page
        for path in (f"{KEY}/versions/99", f"{KEY}/diff?base=1&version=99", "no_such_prompt", f"{KEY}/release/99"):
            assert (await desk.client.get(f"/console/prompts/{path}")).status_code == 404


class TestTrying:
    async def test_asks_once_and_books_it_as_a_trial(self, desk: Desk, tx: Tx) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        whole = await desk.send(f"{KEY}/try/2")
        assert (whole.status_code, "They did not read these words" in whole.text) == (200, True)
        part = await desk.client.post(
            f"/console/prompts/{KEY}/try/2", data={"csrf": desk.csrf}, headers={"hx-request": "true"}
        )
        assert (part.status_code, "<html" in part.text, "Answer" in part.text) == (200, False, True)
        assert await tx.one(int, "SELECT count(*) FROM ai_calls WHERE trial") == 2
        assert await active(tx) == 1

    async def test_says_that_nobody_asks_with_a_key(self, desk: Desk) -> None:
        refused = await desk.send("core_system/try/1")
        assert (refused.status_code, "No agent asks for the prompt" in refused.text) == (409, True)


class TestEvaluating:
    async def test_says_that_rules_read_no_prompts(self, desk: Desk) -> None:
        await desk.send(f"{KEY}/edit", **DRAFT)
        assert "they do not read prompts" in await desk.see(f"{KEY}/release/2")

    async def test_asks_the_suites_that_hold_the_prompt_and_shows_how_far_they_are(
        self, desk: Desk, app: Any, tx: Tx
    ) -> None:
        services = app.state.services
        services.settings = services.settings.model_copy(update={"openai_base_url": "http://127.0.0.1:9/v1"})
        await desk.send(f"{KEY}/edit", **DRAFT)
        assert "Evaluate</button>" in await desk.see(f"{KEY}/release/2")
        asked = {
            "csrf": desk.csrf,
            "prompt_key": KEY,
            "prompt_version": "2",
            "suite": "",
            "limit_usd": "2",
            "back": "release",
        }
        answer = await desk.client.post("/console/evals", data=asked)
        assert answer.headers["location"] == f"/console/prompts/{KEY}/release/2?said=evaluating"
        assert await tx.one(int, "SELECT count(*) FROM eval_runs WHERE status = 'queued' AND limit_usd = 2") >= 2
        page = await desk.see(f"{KEY}/release/2")
        assert 'hx-trigger="every 3s"' in page
        part = await desk.client.get(f"/console/prompts/{KEY}/release/2", headers={"hx-request": "true"})
        assert part.status_code == 200
        await tx.run("UPDATE eval_runs SET status = 'failed', error = 'No connection'")
        over = await desk.client.get(f"/console/prompts/{KEY}/release/2", headers={"hx-request": "true"})
        assert over.status_code == 286, "htmx stops asking"
        again = await desk.client.post("/console/evals", data=asked | {"prompt_version": "1"})
        assert (again.status_code, "held against itself" in again.text) == (400, True)
