"""Vendors are asked with patience; addresses that somebody else chose are fetched from the public internet or not at all."""

import gzip
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
import respx

from tools.clients import http
from tools.clients.http import AddressRefused, Fetcher, PageDown, PageTooLarge, PageUnreadable, is_public

PUBLIC = "93.184.215.14"


class TestIsPublic:
    @pytest.mark.parametrize(
        "address",
        [
            "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
            "100.100.100.200", "168.63.129.16", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
            "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
            "::ffff:127.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "::127.0.0.1",
            "2001:0:7f00:1:0:0:0:1", "not an address", "",
        ],
    )  # fmt: skip
    def test_refuses_what_is_not_on_the_public_internet(self, address: str):
        assert not is_public(address)

    @pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:8.8.8.8"])
    def test_lets_the_public_internet_through(self, address: str):
        assert is_public(address)


class Names:
    """A resolver with a table; counts how often it was asked."""

    def __init__(self, **table: list[str]) -> None:
        self.table = {name.replace("_", "."): addresses for name, addresses in table.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.table:
            raise OSError("no such name")
        return self.table[host]


@pytest.fixture
async def names() -> Names:
    return Names(
        acme_example=[PUBLIC],
        other_example=["8.8.8.8"],
        inside_example=["10.0.0.5"],
        both_example=[PUBLIC, "127.0.0.1"],
        six_example=["2606:2800:21f:cb07:6820:80da:af6b:8b2c"],
    )


@pytest.fixture
async def fetcher(names: Names) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(resolver=names, limit_bytes=1000)
    yield fetcher
    await fetcher.close()


@pytest.fixture
def wire() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as router:
        yield router


class TestFetch:
    async def test_connects_to_the_checked_address_under_the_name(self, fetcher: Fetcher, wire: respx.MockRouter):
        route = wire.get(f"https://{PUBLIC}/about").respond(200, text="Hello", headers={"Content-Type": "text/plain"})
        page = await fetcher.fetch("https://acme.example/about")
        assert (page.url, page.status, page.text) == ("https://acme.example/about", 200, "Hello")
        request = route.calls.last.request
        assert request.headers["Host"] == "acme.example"
        assert request.extensions["sni_hostname"] == "acme.example"

    async def test_connects_to_an_address_of_version_six(self, fetcher: Fetcher, wire: respx.MockRouter):
        wire.get("https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/").respond(200, text="six")
        assert (await fetcher.fetch("https://six.example/")).text == "six"

    @pytest.mark.parametrize(
        "url",
        [
            "http://inside.example/", "https://both.example/", "file:///etc/passwd", "gopher://acme.example/", "ftp://acme.example/",
            "https://user:password@acme.example/", "https://acme.example:6379/", "https:///nowhere", "//acme.example", "not a url",
            "https://acme.example:99999/", "https://[::1", "javascript:alert(1)", "",
        ],
    )  # fmt: skip
    async def test_refuses_before_anything_is_sent(self, fetcher: Fetcher, wire: respx.MockRouter, url: str):
        with pytest.raises(AddressRefused):
            await fetcher.fetch(url)
        assert not wire.calls

    @pytest.mark.parametrize(
        "host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"]
    )
    async def test_sees_through_every_spelling_of_this_machine(self, wire: respx.MockRouter, host: str):
        fetcher = Fetcher()  # with the real resolver
        with pytest.raises(AddressRefused):
            await fetcher.fetch(f"http://{host}/")
        assert not wire.calls
        await fetcher.close()

    async def test_tells_no_password(self, fetcher: Fetcher):
        with pytest.raises(AddressRefused) as refused:
            await fetcher.fetch("https://user:hunter2@acme.example/")
        assert "hunter2" not in refused.value.message

    async def test_checks_every_redirect(self, fetcher: Fetcher, wire: respx.MockRouter):
        wire.get(f"https://{PUBLIC}/").respond(302, headers={"Location": "https://inside.example/admin"})
        with pytest.raises(AddressRefused, match="not on the public internet"):
            await fetcher.fetch("https://acme.example/")
        assert len(wire.calls) == 1

    async def test_follows_redirects_and_tells_strangers_no_secrets(self, fetcher: Fetcher, wire: respx.MockRouter):
        first = wire.get(f"https://{PUBLIC}/a").respond(301, headers={"Location": "/b"})
        second = wire.get(f"https://{PUBLIC}/b").respond(307, headers={"Location": "https://other.example/c"})
        third = wire.get("https://8.8.8.8/c").respond(200, text="there")
        page = await fetcher.fetch("https://acme.example/a", headers={"X-Key": "secret"})
        assert page.url == "https://other.example/c"
        assert [call.calls.last.request.headers.get("X-Key") for call in (first, second, third)] == [
            "secret",
            "secret",
            None,
        ]

    async def test_resolves_anew_for_each_hop(self, fetcher: Fetcher, names: Names, wire: respx.MockRouter):
        # A name that points elsewhere the second time it is asked for.
        def rebind(_: httpx.Request) -> httpx.Response:
            names.table["acme.example"] = ["127.0.0.1"]
            return httpx.Response(302, headers={"Location": "https://acme.example/again"})

        wire.get(f"https://{PUBLIC}/").mock(side_effect=rebind)
        with pytest.raises(AddressRefused):
            await fetcher.fetch("https://acme.example/")
        assert names.asked == ["acme.example", "acme.example"]

    async def test_does_not_leave_the_encrypted_connection(self, fetcher: Fetcher, wire: respx.MockRouter):
        wire.get(f"https://{PUBLIC}/").respond(302, headers={"Location": "http://other.example/"})
        with pytest.raises(AddressRefused, match="encrypted"):
            await fetcher.fetch("https://acme.example/")

    async def test_ends_a_circle(self, fetcher: Fetcher, wire: respx.MockRouter):
        wire.get(f"https://{PUBLIC}/").respond(302, headers={"Location": "/"})
        with pytest.raises(PageUnreadable, match="too often"):
            await fetcher.fetch("https://acme.example/")
        assert len(wire.calls) == 6

    async def test_stops_at_the_limit(self, fetcher: Fetcher, wire: respx.MockRouter):
        taken = 0

        async def endless() -> AsyncIterator[bytes]:
            nonlocal taken
            while True:
                taken += 1
                yield b"x" * 600

        wire.get(f"https://{PUBLIC}/").mock(return_value=httpx.Response(200, content=endless()))
        with pytest.raises(PageTooLarge):
            await fetcher.fetch("https://acme.example/")
        assert taken == 2

    async def test_stops_a_bomb(self, fetcher: Fetcher, wire: respx.MockRouter):
        packed = gzip.compress(b"\0" * 500_000)
        assert len(packed) < 1000
        wire.get(f"https://{PUBLIC}/").respond(200, content=packed, headers={"Content-Encoding": "gzip"})
        with pytest.raises(PageTooLarge):
            await fetcher.fetch("https://acme.example/")

    async def test_unpacks(self, fetcher: Fetcher, wire: respx.MockRouter):
        packed = gzip.compress("Grüße".encode("latin-1"))
        headers = {"Content-Encoding": "gzip", "Content-Type": "text/html; charset=ISO-8859-1"}
        wire.get(f"https://{PUBLIC}/").respond(200, content=packed, headers=headers)
        assert (await fetcher.fetch("https://acme.example/")).text == "Grüße"

    @pytest.mark.parametrize(
        ("encoding", "content"), [("br", b"?"), ("gzip", b"not packed"), ("deflate", zlib.compress(b"x"))]
    )
    async def test_refuses_what_it_cannot_unpack(
        self, fetcher: Fetcher, wire: respx.MockRouter, encoding: str, content: bytes
    ):
        async def body() -> AsyncIterator[bytes]:
            yield content

        # Streamed, so that nobody unpacks it on the way.
        response = httpx.Response(200, content=body(), headers={"Content-Encoding": encoding})
        wire.get(f"https://{PUBLIC}/").mock(return_value=response)
        with pytest.raises(PageUnreadable):
            await fetcher.fetch("https://acme.example/")

    async def test_says_when_nobody_answers(self, fetcher: Fetcher, wire: respx.MockRouter):
        wire.get(f"https://{PUBLIC}/").mock(side_effect=httpx.ConnectTimeout("slow"))
        for url in ("https://acme.example/", "https://unknown.example/"):
            with pytest.raises(PageDown):
                await fetcher.fetch(url)

    async def test_reads_a_page_whose_charset_nobody_knows(self, fetcher: Fetcher, wire: respx.MockRouter):
        wire.get(f"https://{PUBLIC}/").respond(
            200, content=b"ok", headers={"Content-Type": "text/html; charset=x-none"}
        )
        assert (await fetcher.fetch("https://acme.example/")).text == "ok"


class Pauses:
    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def client(pauses: Pauses) -> AsyncIterator[httpx.AsyncClient]:
    async with http.open_client(base_url="https://vendor.example", pause=pauses) as client:
        yield client


class TestOpenClient:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
    async def test_asks_again_when_reading(
        self, client: httpx.AsyncClient, pauses: Pauses, wire: respx.MockRouter, status: int
    ):
        wire.get("https://vendor.example/a").mock(side_effect=[httpx.Response(status), httpx.Response(200)])
        assert (await client.get("/a")).status_code == 200
        assert len(pauses.taken) == 1

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    async def test_does_not_repeat_what_may_have_happened(
        self, client: httpx.AsyncClient, wire: respx.MockRouter, status: int
    ):
        route = wire.post("https://vendor.example/a").respond(status)
        assert (await client.post("/a")).status_code == status
        assert route.call_count == 1

    async def test_repeats_a_post_that_was_not_accepted(
        self, client: httpx.AsyncClient, pauses: Pauses, wire: respx.MockRouter
    ):
        answers = [
            httpx.Response(429, headers={"Retry-After": "7"}),
            httpx.ConnectError("refused"),
            httpx.Response(201),
        ]
        route = wire.post("https://vendor.example/a").mock(side_effect=answers)
        assert (await client.post("/a", json={"n": 1})).status_code == 201
        assert route.call_count == 3
        assert pauses.taken[0] == 7

    async def test_does_not_repeat_a_post_whose_answer_was_lost(
        self, client: httpx.AsyncClient, wire: respx.MockRouter
    ):
        route = wire.post("https://vendor.example/a").mock(side_effect=httpx.ReadTimeout("slow"))
        with pytest.raises(httpx.ReadTimeout):
            await client.post("/a")
        assert route.call_count == 1

    async def test_repeats_a_post_that_is_safe(self, client: httpx.AsyncClient, wire: respx.MockRouter):
        route = wire.post("https://vendor.example/a").mock(side_effect=[httpx.ReadTimeout("slow"), httpx.Response(200)])
        await client.post("/a", extensions={"retry": "safe"})
        assert route.call_count == 2

    async def test_tries_once_when_told_to(self, client: httpx.AsyncClient, wire: respx.MockRouter):
        route = wire.get("https://vendor.example/a").respond(503)
        await client.get("/a", extensions={"retry": "never"})
        assert route.call_count == 1

    async def test_gives_up_after_four(self, client: httpx.AsyncClient, pauses: Pauses, wire: respx.MockRouter):
        route = wire.get("https://vendor.example/a").respond(503)
        assert (await client.get("/a")).status_code == 503
        assert route.call_count == 4
        assert [round(seconds / base) for seconds, base in zip(pauses.taken, (0.5, 1, 2), strict=True)] == [1, 1, 1]

    async def test_leaves_a_long_wait_to_the_caller(
        self, client: httpx.AsyncClient, pauses: Pauses, wire: respx.MockRouter
    ):
        wire.get("https://vendor.example/a").respond(429, headers={"Retry-After": "600"})
        response = await client.get("/a")
        assert http.retry_after(response) == 600
        assert pauses.taken == []

    async def test_does_not_follow_redirects(self, client: httpx.AsyncClient, wire: respx.MockRouter):
        wire.get("https://vendor.example/a").respond(302, headers={"Location": "https://elsewhere.example"})
        assert (await client.get("/a")).status_code == 302


class TestRetryAfter:
    def test_reads_seconds_dates_and_nonsense(self):
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
        past = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)
        told = {"5": 5.0, past: 0.0, "": None, "soon": None, "-3": None}
        for text, seconds in told.items():
            assert http.retry_after(httpx.Response(429, headers={"Retry-After": text})) == seconds
        assert 80 < (http.retry_after(httpx.Response(429, headers={"Retry-After": soon})) or 0) <= 90
