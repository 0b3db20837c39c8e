"""The schema says everything, and its pages load without the internet."""

import re
from typing import Any

import pytest

from api.app import Rainmaker
from api.endpoints import guard_of
from tests.api.conftest import Client

METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture(scope="session")
def schema(built_app: Rainmaker) -> dict[str, Any]:
    return built_app.openapi()


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


class TestSchema:
    def test_has_every_route(self, schema: dict[str, Any], built_app: Rainmaker):
        declared = {
            (method.lower(), route.path)
            for route in built_app.api_routes
            if route.include_in_schema
            for method in route.methods or ()
        }
        assert {(method, path) for method, path, _ in operations(schema)} == declared

    def test_describes_every_operation(self, schema: dict[str, Any]):
        for method, path, operation in operations(schema):
            where = f"{method} {path}"
            assert operation.get("summary"), where
            assert operation.get("tags"), where
            assert operation.get("description"), where
            assert "422" not in operation["responses"], where
            assert {"400", "429", "500", "503"} <= set(operation["responses"]), where
            if path != "/metrics":
                answer = next(answer for status, answer in operation["responses"].items() if status < "300")
                described = answer.get("content", {}).get("application/json", {}).get("schema")
                streamed = set(answer.get("content", {})) & {"text/event-stream", "text/html"}
                assert described or streamed or operation["responses"].keys() & {"204"}, f"{where} has no shape"

    def test_says_who_may_call(self, schema: dict[str, Any], built_app: Rainmaker):
        guards = {
            (method.lower(), route.path): guard_of(route)
            for route in built_app.api_routes
            for method in route.methods or ()
        }
        for method, path, operation in operations(schema):
            if guards[method, path] in {"user", "manager", "admin"}:
                assert {"bearer": []} in operation["security"], f"{method} {path}"
                assert "401" in operation["responses"], f"{method} {path}"
        assert set(schema["components"]["securitySchemes"]) >= {"bearer", "session"}

    def test_shows_errors_as_they_are(self, schema: dict[str, Any]):
        answer = schema["paths"]["/api/companies/{company_id}"]["get"]["responses"]["404"]
        content = answer["content"]["application/json"]
        assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
        assert content["example"] == {"error": "There is no such thing, or not for you."}

    def test_offers_idempotency_where_it_works(self, schema: dict[str, Any]):
        offered = {
            (method, path)
            for method, path, operation in operations(schema)
            if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", ()))
        }
        assert ("post", "/api/companies") in offered
        assert not any(method == "get" for method, _ in offered)
        assert ("post", "/api/auth/session") not in offered

    def test_has_a_valid_example_for_every_body(self, schema: dict[str, Any], built_app: Rainmaker):
        """Where one cannot be made from the schema, the model brings its own in `json_schema_extra`."""
        wrong: list[str] = []
        for route in built_app.api_routes:
            if not route.include_in_schema or route.body_field is None:
                continue
            for method in route.methods or ():
                content = schema["paths"][route.path][method.lower()]["requestBody"]["content"]
                example = content.get("application/json", {}).get("example")
                _, errors = route.body_field.validate(example, {}, loc=("body",))
                wrong += [f"{method} {route.path}: {error['loc']} {error['msg']}" for error in errors]
        assert not wrong, "\n".join(wrong)

    def test_refers_to_nothing_that_is_not_there(self, schema: dict[str, Any]):
        for name in set(re.findall(r"#/components/schemas/([^'\"]+)", str(schema))):
            assert name in schema["components"]["schemas"]

    def test_has_one_name_per_operation(self, schema: dict[str, Any]):
        names = [operation["operationId"] for _, _, operation in operations(schema)]
        assert len(names) == len(set(names))


class TestPages:
    @pytest.mark.parametrize("path", ["/docs", "/redoc"])
    async def test_ask_only_this_service(self, client: Client, path: str):
        page = await client.get(path)
        assert page.status_code == 200
        assert "script-src 'self'" in page.headers["content-security-policy"]
        assert not re.search(r"https?://", page.text)
        assert "<script>" not in page.text
        for address in re.findall(r'(?:src|href|spec-url)="([^"]+)"', page.text):
            answer = await client.get(address)
            assert answer.status_code == 200, address

    async def test_cannot_leave_their_folder(self, client: Client):
        for path in ("/docs/static/..%2f..%2fcore.py", "/docs/static/../core.py", "/docs/static/", "/docs/static/x.js"):
            assert (await client.get(path)).status_code == 404, path
