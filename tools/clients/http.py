"""
HTTP to the outside: clients for vendors, and a guarded fetch for addresses that somebody else chose.

`open_client` waits and retries for vendors we know. `Fetcher` reads a page whose URL came from a person, a mail or a
model: it resolves the name itself, refuses every address that is not on the public internet, connects to exactly the
address it has checked, does the same after each redirect, and stops at a size and a time.
"""

import asyncio
import ipaddress
import random
import socket
import ssl
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import httpx

from memory.errors import BadGateway, Invalid, Outage, TooLarge

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
Pause = Callable[[float], Awaitable[None]]
Retry = Literal["safe", "refused", "never"]

TIMEOUT = httpx.Timeout(20.0, connect=5.0)
ATTEMPTS = 4
LONGEST_PAUSE_S = 30.0
AGENT = "Rainmaker/1.0"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
PASSING = frozenset({500, 502, 503, 504})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Public by number, but the cloud's own: Azure's wire server.
CLOUD_INTERNAL = frozenset({ipaddress.ip_address("168.63.129.16")})
NAT64 = ipaddress.ip_network("64:ff9b::/96")


class AddressRefused(Invalid):
    """The address {url} is not fetched: {reason}."""


class PageTooLarge(TooLarge):
    """The page at {url} is larger than {limit} bytes."""


class PageUnreadable(BadGateway):
    """The page at {url} cannot be read: {reason}."""


class PageDown(Outage):
    """The server of {url} does not answer."""


# Vendors we know ----------------------------------------------------------------------------------------------------


class RetryingTransport(httpx.AsyncBaseTransport):
    """
    Tries again what is worth it, with a growing pause or the one the server asks for.

    What a request allows (`extensions={"retry": ...}`; by default its method decides):
    `safe`     repeating does no harm: any failure that may pass
    `refused`  repeating may double something: only when the server says that it did nothing (429), or was not reached
    `never`    one try
    A server that asks for a longer pause than we wait gets its way: its answer goes to the caller.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        attempts: int = ATTEMPTS,
        longest_pause_s: float = LONGEST_PAUSE_S,
        pause: Pause = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._attempts = attempts
        self._longest_pause_s = longest_pause_s
        self._pause = pause

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request, again when that is allowed and may help."""
        may: Retry = request.extensions.get("retry") or ("safe" if request.method in SAFE_METHODS else "refused")
        for attempt in range(1, self._attempts + 1):
            last = attempt == self._attempts or may == "never"
            try:
                response = await self._inner.handle_async_request(request)
            except httpx.TransportError as failure:
                if last or not _may_repeat_after(failure, may):
                    raise
                await self._pause(_backoff(attempt))
                continue
            wait = None if last else self._wait_before_repeating(response, attempt, may)
            if wait is None:
                return response
            await response.aclose()
            await self._pause(wait)
        raise AssertionError("the last attempt returns or raises")

    def _wait_before_repeating(self, response: httpx.Response, attempt: int, may: Retry) -> float | None:
        if not (response.status_code == 429 or (may == "safe" and response.status_code in PASSING)):
            return None
        asked = retry_after(response)
        wait = _backoff(attempt) if asked is None else asked
        return wait if wait <= self._longest_pause_s else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def _may_repeat_after(failure: httpx.TransportError, may: Retry) -> bool:
    if isinstance(failure, (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)):
        return True
    return may == "safe" and not isinstance(failure, (httpx.UnsupportedProtocol, httpx.LocalProtocolError))


def _backoff(attempt: int) -> float:
    return 0.5 * 2 ** (attempt - 1) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads retries, guards nothing


def retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that the server asks to wait for (a number or a date), or None."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def open_client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    timeout: httpx.Timeout = TIMEOUT,
    attempts: int = ATTEMPTS,
    connections: int = 20,
    pause: Pause = asyncio.sleep,
) -> httpx.AsyncClient:
    """Return a client for a vendor we know; close it at the end of the process."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    inner = httpx.AsyncHTTPTransport(limits=limits, http2=False)
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"User-Agent": AGENT, **(headers or {})},
        timeout=timeout,
        follow_redirects=False,
        transport=RetryingTransport(inner, attempts=attempts, pause=pause),
    )


# Addresses that somebody else chose ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Page:
    """What was fetched: from where in the end, of what type, and its bytes."""

    url: str
    status: int
    content_type: str
    body: bytes

    @property
    def text(self) -> str:
        """The body as text, by the charset that the server names, else UTF-8."""
        charset = next(
            (part[8:] for part in self.content_type.replace(" ", "").split(";") if part.startswith("charset=")), ""
        )
        try:
            return self.body.decode(charset.strip("\"'") or "utf-8", errors="replace")
        except LookupError:
            return self.body.decode(errors="replace")


async def resolve(host: str, port: int) -> list[str]:
    """Return every address of a name."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in found]


def is_public(text: str) -> bool:
    """Tell whether an address is one of the public internet, looking through every way to write an IPv4 one in IPv6."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return all(
        one.is_global and not one.is_multicast and not one.is_reserved and one not in CLOUD_INTERNAL
        for one in _meant_by(address)
    )


def _meant_by(address: Address) -> list[Address]:
    """Return the IPv4 addresses that an IPv6 one carries, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    low = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    if address in NAT64:
        return [low]
    if address.sixtofour is not None:
        return [address, address.sixtofour]
    if address.teredo is not None:
        return [address, *address.teredo]
    if int(address) >> 32 == 0:  # ::a.b.c.d, deprecated, still routed to the IPv4 address by some systems
        return [address, low]
    return [address]


class Fetcher:
    """Reads pages of third parties; one per process."""

    def __init__(
        self,
        *,
        schemes: Collection[str] = ("https", "http"),
        ports: Collection[int] = (80, 443),
        limit_bytes: int = 2_000_000,
        within_s: float = 20.0,
        redirects: int = 5,
        resolver: Resolver = resolve,
    ) -> None:
        self._schemes, self._ports = frozenset(schemes), frozenset(ports)
        self._limit = limit_bytes
        self._within_s = within_s
        self._redirects = redirects
        self._resolver = resolver
        # No proxy and no credentials from the environment: the request goes where it was checked to go.
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(10.0, connect=5.0),
            trust_env=False,
            verify=ssl.create_default_context(),
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def fetch(self, url: str, *, headers: Mapping[str, str] | None = None) -> Page:
        """
        Return the page behind the URL, following redirects.

        Raises `AddressRefused`, `PageTooLarge`, `PageUnreadable`, `PageDown`.
        """
        try:
            async with asyncio.timeout(self._within_s):
                return await self._follow(url, dict(headers or {}))
        except (httpx.TransportError, TimeoutError) as failure:
            raise PageDown(url=url) from failure
        except (httpx.InvalidURL, UnicodeError) as failure:
            raise AddressRefused(url=url, reason="it is not a web address") from failure

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _follow(self, url: str, headers: dict[str, str]) -> Page:
        at = httpx.URL(url)
        for _ in range(self._redirects + 1):
            async with self._get(at, headers) as response:
                target = response.headers.get("Location")
                if response.status_code in REDIRECTS and target:
                    onward = at.join(target)
                    if at.scheme == "https" and onward.scheme != "https":
                        raise AddressRefused(url=str(onward), reason="it would leave the encrypted connection")
                    if (onward.scheme, onward.host, onward.port) != (at.scheme, at.host, at.port):
                        headers = {}  # what was meant for one server is not told another
                    at = onward
                    continue
                body = await self._read(response, str(at))
                return Page(str(at), response.status_code, response.headers.get("Content-Type", ""), body)
        raise PageUnreadable(url=url, reason="it redirects too often")

    @asynccontextmanager
    async def _get(self, url: httpx.URL, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """Open the response from the checked address, with the name in Host and in the TLS handshake."""
        address = await self._checked_address(url)
        request = self._client.build_request(
            "GET",
            url.copy_with(host=address),
            headers={
                "User-Agent": AGENT,
                "Accept-Encoding": "gzip, identity",
                **headers,
                "Host": url.netloc.decode("ascii"),
            },
            extensions={"sni_hostname": url.host},
        )
        response = await self._client.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def _checked_address(self, url: httpx.URL) -> str:
        """
        Return one address of the host, when all of them are public.

        Raises `AddressRefused`.
        """
        port = url.port or {"https": 443, "http": 80}.get(url.scheme, 0)
        if url.scheme not in self._schemes:
            raise AddressRefused(url=str(url), reason=f"its scheme is none of {', '.join(sorted(self._schemes))}")
        if url.userinfo:
            raise AddressRefused(url=url.host, reason="it carries credentials")
        if not url.host or port not in self._ports:
            raise AddressRefused(url=str(url), reason="its host or port is not allowed")
        try:
            addresses = await self._resolver(url.host, port)
        except OSError as failure:
            raise PageDown(url=str(url)) from failure
        if not addresses or not all(map(is_public, addresses)):
            raise AddressRefused(url=str(url), reason="it is not on the public internet")
        return addresses[0]

    async def _read(self, response: httpx.Response, url: str) -> bytes:
        """Read at most the limit, on the wire and unpacked."""
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in {"identity", "gzip", "x-gzip", ""}:
            raise PageUnreadable(url=url, reason=f"it is packed as {encoding[:20]}")
        raw = bytearray()
        async for chunk in response.aiter_raw():
            raw += chunk
            if len(raw) > self._limit:
                raise PageTooLarge(url=url, limit=self._limit)
        return self._unpack(bytes(raw), url) if "gzip" in encoding else bytes(raw)

    def _unpack(self, raw: bytes, url: str) -> bytes:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            body = unpacker.decompress(raw, self._limit + 1)
        except zlib.error as failure:
            raise PageUnreadable(url=url, reason="it is packed badly") from failure
        if len(body) > self._limit:
            raise PageTooLarge(url=url, limit=self._limit)
        return body
