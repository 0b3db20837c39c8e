"""Whatever goes wrong reads `{error, details?}`, and says nothing of our insides."""

from typing import Any

import pytest

from api.app import Rainmaker
from memory.db import Database, Tx
from tests.api.conftest import Client

THING = "/stage/things"


class TestInput:
    @pytest.mark.parametrize(
        ("body", "details"),
        [
            ({}, ["name: is required"]),
            ({"name": "x", "colour": "red"}, ["colour: is not known here"]),
            ({"name": "x" * 21}, ["name: string should have at most 20 characters"]),
            ({"name": "x", "count": 101}, ["count: input should be less than or equal to 100"]),
            ({"name": "x", "parts": ["a", 7]}, ["parts[1]: input should be a valid string"]),
            ({"name": "nul\x00"}, ["body: a NUL byte is not allowed in text"]),
            ([1], ["body: input should be a valid dictionary or object to extract fields from"]),
        ],
    )
    async def test_is_explained_per_field(self, stage_rep: Client, body: Any, details: list[str]):
        answer = await stage_rep.post(THING, json=body)
        assert answer.status_code == 400
        assert answer.json() == {"error": "The request is not valid.", "details": details}

    @pytest.mark.parametrize(
        ("raw", "kind", "error"),
        [
            (b"{", "application/json", "The body must be JSON, sent with the content type application/json."),
            (
                b'{"name": NaN}',
                "application/json",
                "The body must be JSON, sent with the content type application/json.",
            ),
            (b"\xff\xfe", "application/json", "The body must be JSON, sent with the content type application/json."),
            (b'{"name":"x"}', "text/plain", "The body must be JSON, sent with the content type application/json."),
            (b"[" * 5000 + b"]" * 5000, "application/json", "The body is nested too deeply."),
            (b'{"a":' * 80 + b"1" + b"}" * 80, "application/json", "The body is nested too deeply."),
            (b"", "application/json", "The request is not valid."),
        ],
    )
    async def test_must_be_json(self, stage_rep: Client, raw: bytes, kind: str, error: str):
        answer = await stage_rep.post(THING, content=raw, headers={"content-type": kind})
        assert answer.status_code == 400
        assert answer.json()["error"] == error

    async def test_may_be_wide(self, stage_rep: Client):
        assert (await stage_rep.post(THING, json={"name": "x", "parts": ["y"] * 5000})).status_code == 201

    @pytest.mark.parametrize(
        ("query", "details"),
        [
            ("limit=201", ["limit: input should be less than or equal to 200"]),
            ("limit=0", ["limit: input should be greater than or equal to 1"]),
            ("limit=many", ["limit: input should be a valid integer, unable to parse string as an integer"]),
            ("limit=1&limit=2", ["limit: input should be a valid integer"]),
            ("colour=red", ["colour: is not known here"]),
        ],
    )
    async def test_in_the_query_is_explained(self, stage_rep: Client, query: str, details: list[str]):
        answer = await stage_rep.get(f"{THING}?{query}")
        assert answer.status_code == 400
        assert answer.json()["details"] == details

    async def test_in_the_query_may_repeat_where_it_is_a_list(self, stage_rep: Client):
        answer = await stage_rep.get(f"{THING}?tags=a&tags=b&search=%20x%20")
        assert answer.json() == {"limit": 50, "search": "x", "tags": ["a", "b"]}

    async def test_unknown_in_the_query_of_a_route_without_filter(self, stage_rep: Client):
        thing = f"{THING}/8f14e45f-ceea-467a-9538-1f5fb4bdb0ab"
        assert (await stage_rep.get(f"{thing}?deep=true")).json()["deep"] is True
        answer = await stage_rep.get(f"{thing}?depp=true")
        assert answer.status_code == 400
        assert answer.json()["details"] == ["depp: is not known here"]

    async def test_in_the_path_is_explained(self, stage_rep: Client):
        answer = await stage_rep.get(f"{THING}/42")
        assert answer.status_code == 400
        assert answer.json()["details"][0].startswith("thing_id: input should be a valid UUID")

    async def test_of_two_bodies_is_explained(self, stage_rep: Client):
        good = await stage_rep.post("/stage/two", json={"first": {"name": "a"}, "second": {"name": "b"}})
        assert good.json() == {"first": "a", "second": "b"}
        answer = await stage_rep.post("/stage/two", json={"first": {"name": "a"}})
        assert answer.json()["details"] == ["second: is required"]

    async def test_that_fastapi_reads_by_itself_is_explained_the_same_way(self, stage_client: Client):
        assert (await stage_client.post("/stage/form", data={"word": "x"})).json() == {"word": "x"}
        answer = await stage_client.post("/stage/form", data={})
        assert answer.status_code == 400
        assert answer.json() == {"error": "The request is not valid.", "details": ["word: is required"]}

    async def test_is_not_looked_at_before_the_caller_is_known(self, stage_client: Client):
        assert (await stage_client.post(THING, content=b"{")).status_code == 401


class TestAddress:
    async def test_unknown_is_404(self, stage_rep: Client):
        answer = await stage_rep.get("/api/nothing-here")
        assert answer.status_code == 404
        assert answer.json() == {"error": "There is nothing at this address."}

    async def test_with_another_method_is_405(self, stage_rep: Client):
        answer = await stage_rep.put(THING)
        assert answer.status_code == 405
        assert answer.json() == {"error": "This address does not take that method."}
        assert answer.headers["allow"] == "GET, POST"

    @pytest.mark.parametrize("path", ["/stage/things/%00", "/stage/things?search=%00", "/stage/things?search=a%00b"])
    async def test_with_a_nul_byte_is_400(self, stage_rep: Client, path: str):
        answer = await stage_rep.get(path)
        assert answer.status_code == 400
        assert answer.json() == {"error": "A NUL byte is not allowed in an address."}

    async def test_of_megabytes_is_414(self, stage_rep: Client):
        assert (await stage_rep.get("/stage/things?search=" + "x" * 20_000)).status_code == 414


class TestRefusals:
    async def test_show_their_facts(self, stage_rep: Client):
        answer = await stage_rep.post("/stage/refuse/conflict")
        assert answer.status_code == 409
        assert answer.json() == {"error": "There is a thing called x already.", "existing": {"id": "7"}}

    async def test_are_found_in_a_task_group(self, stage_rep: Client):
        answer = await stage_rep.post("/stage/refuse/group")
        assert answer.status_code == 409
        assert answer.json() == {"error": "There is a thing called in a group already."}

    async def test_of_vendors_are_outages(self, stage_rep: Client):
        assert (await stage_rep.post("/stage/refuse/gateway")).status_code == 502
        away = await stage_rep.post("/stage/refuse/outage")
        assert away.status_code == 503
        assert away.json() == {"error": "The vendor does not answer.", "details": ["they are closed"]}
        assert away.headers["retry-after"] == "5"

    async def test_undo_what_was_written(self, stage_rep: Client, tx: Tx):
        await stage_rep.post("/stage/refuse/conflict")
        title = await tx.maybe(str, "SELECT title FROM users WHERE id = %(id)s", id=stage_rep.caller.user_id)
        assert title is None


class TestDatabase:
    @pytest.mark.parametrize(
        ("what", "status", "error"),
        [
            ("unique", 409, "There is such a row already."),
            ("foreign", 400, "The request names a row that does not exist."),
            ("check", 400, "The values do not fit together or to the rules."),
            ("range", 400, "A value is out of range or not storable."),
            ("canceled", 503, "The database is busy; try again in a moment."),
        ],
    )
    async def test_refusals_are_ours(self, stage_rep: Client, what: str, status: int, error: str):
        answer = await stage_rep.post(f"/stage/sql/{what}")
        assert (answer.status_code, answer.json()) == (status, {"error": error})

    async def test_without_a_free_connection_is_503(self, stage_live: Client, stage_live_app: Rainmaker):
        services = stage_live_app.state.services
        assert (await stage_live.get("/stage/things")).status_code == 200
        async with services.db.reading(), services.db.reading():
            services.db.pool.timeout = 0.05
            answer = await stage_live.get("/stage/things")
            services.db.pool.timeout = 30
        assert answer.status_code == 503
        assert answer.json() == {"error": "The database is busy; try again in a moment."}
        assert (await stage_live.get("/stage/things")).status_code == 200

    async def test_gone_is_503(self, stage_live: Client, stage_live_app: Rainmaker):
        assert (await stage_live.get("/stage/things")).status_code == 200
        await stage_live_app.state.services.db.pool.close()
        answer = await stage_live.get("/stage/things")
        assert answer.status_code == 503
        assert answer.json() == {"error": "The database is not available now."}


class TestMistakes:
    @pytest.mark.parametrize("path", ["/stage/refuse/oops", "/stage/sql/mistake"])
    async def test_tell_only_the_request_id(self, stage_rep: Client, path: str):
        answer = await stage_rep.post(path, headers={"x-request-id": "abc-12345"})
        assert answer.status_code == 500
        assert answer.json() == {"error": "Something went wrong on our side.", "details": ["Request abc-12345"]}
        assert answer.headers["x-request-id"] == "abc-12345"

    async def test_of_an_operation_that_breaks_its_promise(self, stage_rep: Client):
        answer = await stage_rep.get("/stage/broken-answer")
        assert answer.status_code == 500
        assert "name" not in answer.text

    async def test_in_the_middle_of_a_stream_end_the_connection(self, stage_client: Client):
        whole = await stage_client.get("/stage/stream")
        assert whole.text == "one two"
        with pytest.raises(KeyError):
            await stage_client.get("/stage/stream?break=1")


class TestCommit:
    @pytest.mark.parametrize("path", ["/stage/commit-fails", "/stage/commit-fails-in-fastapi"])
    async def test_that_fails_is_no_success(self, stage_live: Client, path: str, db: Database):
        answer = await stage_live.post(path)
        assert answer.status_code == 409
        assert answer.json() == {"error": "There is such a row already."}
        async with db.reading() as tx:
            assert await tx.maybe(str, "SELECT to_regclass('later')::text") is None
