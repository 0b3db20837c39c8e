"""A change that is asked for twice happens once."""

import asyncio

import httpx
import pytest

from api.app import Rainmaker
from memory.db import Tx
from tests.api.conftest import Client

KEY = {"idempotency-key": "order-7"}


async def title_of(tx: Tx) -> str | None:
    return await tx.maybe(str, "SELECT title FROM users WHERE auth_id = 'auth-stan-stage'")


class TestIdempotencyKey:
    async def test_repeats_the_first_answer(self, stage_rep: Client, tx: Tx):
        first = await stage_rep.post("/stage/things", json={"name": "a"}, headers=KEY)
        again = await stage_rep.post("/stage/things", json={"name": "a"}, headers=KEY)
        assert (first.status_code, first.content) == (again.status_code, again.content)
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert await title_of(tx) == "x"

    async def test_without_it_happens_twice(self, stage_rep: Client, tx: Tx):
        await stage_rep.post("/stage/things", json={"name": "a"})
        await stage_rep.post("/stage/things", json={"name": "a"})
        assert await title_of(tx) == "xx"

    async def test_of_another_request_is_a_conflict(self, stage_rep: Client, tx: Tx):
        await stage_rep.post("/stage/things", json={"name": "a"}, headers=KEY)
        other = await stage_rep.post("/stage/things", json={"name": "b"}, headers=KEY)
        assert other.status_code == 409
        assert other.json() == {"error": "This Idempotency-Key was used for another request already."}
        assert (await stage_rep.post("/stage/model", headers=KEY)).status_code == 409
        assert await title_of(tx) == "x"

    async def test_of_a_refused_request_may_be_used_again(self, stage_rep: Client):
        assert (await stage_rep.post("/stage/things", json={"name": ""} | {"bad": 1}, headers=KEY)).status_code == 400
        assert (await stage_rep.post("/stage/refuse/conflict", headers=KEY)).status_code == 409
        assert (await stage_rep.post("/stage/things", json={"name": "a"}, headers=KEY)).status_code == 201

    async def test_belongs_to_one_person(self, stage_rep: Client, tx: Tx):
        from api import auth
        from tests.api.conftest import add_user, settings_for_tests

        await stage_rep.post("/stage/things", json={"name": "a"}, headers=KEY)
        token = auth.issue_token(settings_for_tests(), await add_user(tx, "somebody", "rep"))
        other = await stage_rep.post(
            "/stage/things", json={"name": "b"}, headers=KEY | {"authorization": f"Bearer {token}"}
        )
        assert other.status_code == 201

    async def test_is_forgotten_after_a_day(self, stage_rep: Client, tx: Tx):
        await stage_rep.post("/stage/things", json={"name": "a"}, headers=KEY)
        await tx.run("UPDATE idempotency_keys SET created_at = created_at - interval '25 hours'")
        other = await stage_rep.post("/stage/things", json={"name": "b"}, headers=KEY)
        assert (other.status_code, other.json()["name"]) == (201, "b")

    @pytest.mark.parametrize("key", ["", "x" * 201, "tab\there"])
    async def test_must_be_sane(self, stage_rep: Client, key: str):
        answer = await stage_rep.post("/stage/things", json={"name": "a"}, headers={"idempotency-key": key})
        assert answer.status_code == 400

    async def test_is_ignored_on_reads(self, stage_rep: Client, tx: Tx):
        assert (await stage_rep.get("/stage/things", headers=KEY)).status_code == 200
        assert await tx.one(int, "SELECT count(*) FROM idempotency_keys") == 0


class TestAtOnce:
    async def test_two_requests_change_once(self, stage_live: Client, stage_live_app: Rainmaker):
        async def send() -> httpx.Response:
            return await stage_live.post("/stage/things", json={"name": "a"}, headers=KEY)

        answers = await asyncio.gather(send(), send())
        assert [answer.status_code for answer in answers] == [201, 201]
        assert sorted("idempotent-replayed" in answer.headers for answer in answers) == [False, True]
        async with stage_live_app.state.services.db.reading() as tx:
            assert await title_of(tx) == "x"

    async def test_a_long_one_is_a_conflict_until_it_is_answered(self, stage_live: Client):
        """Whichever comes second is told so; afterwards everybody reads the first answer."""
        answers = await asyncio.gather(*[stage_live.post("/stage/slow", headers=KEY) for _ in range(2)])
        assert sorted(answer.status_code for answer in answers) == [200, 409]
        refused = next(answer for answer in answers if answer.status_code == 409)
        assert refused.json() == {"error": "The first request with this Idempotency-Key is not answered yet."}
        third = await stage_live.post("/stage/slow", headers=KEY)
        assert third.json() == {"said": "at last"}
        assert third.headers["idempotent-replayed"] == "true"

    async def test_a_long_one_that_fails_gives_its_key_back(self, stage_live: Client):
        assert (await stage_live.post("/stage/fails-apart", headers=KEY)).status_code == 502
        assert (await stage_live.post("/stage/slow", headers=KEY)).status_code == 200
