"""The application as a whole: it answers, it starts, and a commit comes before its answer."""

from tests.api.conftest import Client


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


class TestCompanies:
    async def test_come_and_go(self, rep: Client):
        made = await rep.post("/api/companies", json={"name": "Acme"})
        assert made.status_code == 201, made.text
        got = await rep.get("/api/companies?limit=50")
        assert got.status_code == 200, got.text
