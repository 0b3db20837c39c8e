"""
Tokens of other issuers: Entra ID, Supabase, or anybody who publishes OpenID Connect discovery.

Only configured issuers are ever asked, and only at addresses below https (plain http on this machine alone), without
following redirects. A token's own header chooses among the issuer's published keys and nothing else: the algorithms are
ours, so that a public key is never taken for a shared secret.
"""

import asyncio
import ipaddress
import time
from typing import Any, cast
from urllib.parse import urlsplit

import httpx
import jwt
import structlog

from memory.errors import Outage
from memory.settings import Settings

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
FRESH_S = 3600.0
USABLE_S = 86400.0
AGAIN_S = 30.0
LARGEST = 512 * 1024
LEEWAY_S = 60

log = structlog.get_logger(__name__)


class TokenRefused(Exception):
    """The token is not one of a configured issuer, or does not hold."""


class IssuerDown(Outage):
    """The sign-in service {issuer} does not answer, so its tokens cannot be checked."""


class Keys:
    """The published keys of one issuer, fetched when first needed and again when a token names an unknown one."""

    def __init__(self, issuer: str, client: httpx.AsyncClient) -> None:
        """Nothing is fetched yet."""
        self.issuer = issuer
        self._client = client
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = float("-inf")
        self._tried_at = float("-inf")
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> jwt.PyJWK:
        """
        Return the key that the token names; without a name, the only one there is.

        Raises `TokenRefused`, `IssuerDown`.
        """
        age = time.monotonic() - self._fetched_at
        if age > FRESH_S or self._get(key_id) is None:
            await self._refresh(key_id)
        key = self._get(key_id)
        if key is None:
            raise TokenRefused("no such key")
        return key

    def _get(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    async def _refresh(self, key_id: str | None) -> None:
        """Fetch at most once in `AGAIN_S`, whatever key ids are thrown at us; old keys serve while the issuer is down."""
        async with self._lock:
            now = time.monotonic()
            fresh = now - self._fetched_at <= FRESH_S
            if fresh and self._get(key_id) is not None:
                return
            if now - self._tried_at >= AGAIN_S:
                self._tried_at = now
                try:
                    self._keys = await self._fetch()
                    self._fetched_at = now
                except (httpx.HTTPError, ValueError, KeyError, jwt.PyJWTError) as failure:
                    log.warning("issuer_keys_not_fetched", issuer=self.issuer, reason=type(failure).__name__)
            if now - self._fetched_at > USABLE_S:
                self._keys = {}
                raise IssuerDown(issuer=self.issuer)

    async def _fetch(self) -> dict[str | None, jwt.PyJWK]:
        base = self.issuer.rstrip("/")
        try:
            document = await self._get_json(f"{base}/.well-known/openid-configuration")
            address = str(document["jwks_uri"])
        except httpx.HTTPStatusError:
            address = f"{base}/.well-known/jwks.json"
        published = (await self._get_json(address))["keys"]
        if not isinstance(published, list):
            raise ValueError("not a list of keys")  # noqa: TRY004 - the document is wrong, not our call
        return {key.key_id: key for entry in cast("list[Any]", published) if (key := self._understood(entry))}

    def _understood(self, entry: Any) -> jwt.PyJWK | None:
        """Return a key that signs; issuers publish others beside them."""
        if not isinstance(entry, dict):
            return None
        fields = cast("dict[str, Any]", entry)
        if fields.get("use", "sig") != "sig" or fields.get("kty") not in KEY_TYPES.values():
            return None
        try:
            return jwt.PyJWK(fields)
        except jwt.PyJWTError:
            log.info("issuer_key_not_understood", issuer=self.issuer)
            return None

    async def _get_json(self, address: str) -> dict[str, Any]:
        _check_address(address)
        async with self._client.stream("GET", address) as response:
            response.raise_for_status()
            if response.is_redirect:
                raise ValueError("a redirect")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST:
                    raise ValueError("too large")
        document = httpx.Response(200, content=body).json()
        if not isinstance(document, dict):
            raise ValueError("not an object")  # noqa: TRY004 - the document is wrong, not our call
        return document  # pyright: ignore[reportUnknownVariableType]


def _check_address(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return
    try:
        loopback = parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = False
    if parts.scheme != "http" or not loopback:
        raise ValueError("not an https address")


class Issuers:
    """The configured issuers of one process."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient | None = None) -> None:
        """`client` is replaced in tests."""
        timeout = httpx.Timeout(5.0, connect=3.0)
        self._client = client or httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False)
        self._audience = settings.oidc_audience
        self._keys = {issuer.rstrip("/"): Keys(issuer, self._client) for issuer in settings.oidc_issuers}

    async def read(self, issuer: str, token: str) -> dict[str, Any]:
        """
        Return the claims of a token of this issuer: signature, issuer, audience and times checked.

        Raises `TokenRefused`, `IssuerDown`, `jwt.PyJWTError`.
        """
        keys = self._keys.get(issuer.rstrip("/"))
        if keys is None or not self._audience:
            raise TokenRefused("not a configured issuer")
        head = jwt.get_unverified_header(token)
        algorithm = head.get("alg")
        if algorithm not in ALGORITHMS:
            raise TokenRefused("not an accepted algorithm")
        key = await keys.find(head.get("kid"))
        if key.key_type != KEY_TYPES[algorithm[:2]]:
            raise TokenRefused("the key is of another kind")
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            audience=self._audience,
            issuer=[keys.issuer, keys.issuer.rstrip("/"), keys.issuer.rstrip("/") + "/"],
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
