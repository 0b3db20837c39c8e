"""
Who is calling, and whether they may.

A request shows one of two things: a bearer token, or the console's session cookie. Tokens come from this service
(HS256, `python -m api token`) or from one of the configured issuers (api/issuers.py). Either way the subject is looked
up among the active users; who was found is remembered for a few seconds under the hash of what they showed, so that a
read costs no second query and a deactivated user is out when those seconds are over.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from http.cookies import CookieError, SimpleCookie
from typing import Any

import jwt
from starlette.responses import Response

from api.issuers import Issuers, TokenRefused
from api.ratelimit import Limiter
from memory.callers import SYSTEM, Caller, Role
from memory.db import Database, clock
from memory.errors import Forbidden, NotFound, Outage, Rendered, Unknown
from memory.settings import Settings
from tools import users

ISSUER = "rainmaker"
API_AUDIENCE = "rainmaker-api"
CONSOLE_AUDIENCE = "rainmaker-console"
SESSION_COOKIE = "rainmaker_session"
CSRF_HEADER = b"x-csrf-token"
IDENTIFIED = "rainmaker.identified"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
REMEMBERED_S = 15.0
REMEMBERED_MOST = 20_000
GUESSES_PER_MINUTE = 120
TOKEN_LONGEST = 8192

Scope = MutableMapping[str, Any]


class NotSignedIn(Unknown):
    """Sign in first: send a valid bearer token."""


class NoProfile(NotFound):
    """There is no active user for this sign-in."""


class NobodyHere(NotSignedIn):
    """Sign in first: send a valid bearer token."""

    shows = ("user",)


class NoSuchProfile(NoProfile):
    """There is no active user for this sign-in."""

    shows = ("user",)


class ManagersOnly(Forbidden):
    """Only managers and admins may do this."""


class AdminsOnly(Forbidden):
    """Only admins may do this."""


class CsrfRefused(Forbidden):
    """The X-CSRF-Token header does not belong to this session."""


class WrongCronSecret(Unknown):
    """The cron secret is missing or wrong."""


class CronClosed(Outage):
    """No CRON_SECRET is set, so nobody may start scheduled work over HTTP."""


def issue_token(
    settings: Settings,
    auth_id: str,
    *,
    now: datetime | None = None,
    lifetime: timedelta | None = None,
    audience: str = API_AUDIENCE,
) -> str:
    """Return a bearer token for the user with this `auth_id`, valid for `jwt_lifetime_h` hours unless told."""
    issued = now or clock()
    claims = {
        "iss": ISSUER,
        "aud": audience,
        "sub": auth_id,
        "iat": issued,
        "exp": issued + (lifetime or timedelta(hours=settings.jwt_lifetime_h)),
        "jti": secrets.token_urlsafe(12),
    }
    return jwt.encode(claims, _secret(settings), algorithm="HS256")


def csrf_token(settings: Settings, session: str) -> str:
    """Return the token that a page of this session must send with every change."""
    return hmac.new(_secret(settings).encode(), b"csrf:" + session.encode(), hashlib.sha256).hexdigest()


def _secret(settings: Settings) -> str:
    if settings.jwt_secret is None:
        raise NotSignedIn
    return settings.jwt_secret.get_secret_value()


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first header of this lower-case name."""
    for key, value in scope["headers"]:
        if key == name:
            return value
    return None


def session_of(scope: Scope) -> str | None:
    """Return the console's cookie, unread."""
    sent = header(scope, b"cookie")
    if sent is None or len(sent) > TOKEN_LONGEST:
        return None
    try:
        cookie = SimpleCookie(sent.decode("latin-1")).get(SESSION_COOKIE)
    except CookieError:
        return None
    return cookie.value if cookie else None


class Gate:
    """The door of one process: it knows the issuers, the users of the last seconds, and the limits."""

    def __init__(self, settings: Settings, db: Database, limiter: Limiter, issuers: Issuers | None = None) -> None:
        """Nothing is fetched before the first foreign token comes."""
        self.settings = settings
        self.db = db
        self.limiter = limiter
        self.issuers = issuers or Issuers(settings)
        self._known: dict[bytes, tuple[Caller, float]] = {}

    async def admit(self, scope: Scope, role: Role) -> Caller:
        """
        Return who is calling, when their role is enough and their minute is not used up.

        Raises `NotSignedIn`, `NoProfile`, `ManagersOnly`, `AdminsOnly`, `CsrfRefused`, `TooManyRequests`.
        """
        caller = await self.identify(scope)
        if role != "rep":
            _require(caller, role)
        await self._count(caller.auth_id, self.settings.rate_limit_per_minute)
        return caller

    async def admit_model(self, caller: Caller) -> None:
        """
        Count a request that starts a language model.

        Raises `TooManyRequests`.
        """
        await self._count(f"model:{caller.auth_id}", self.settings.rate_limit_ai_per_minute)

    def admit_stranger(self, scope: Scope) -> None:
        """
        Count a request of somebody who need not sign in, by the address it comes from.

        Raises `TooManyRequests`.
        """
        self.limiter.hold(f"at:{_address(scope)}", self.settings.rate_limit_per_minute)

    async def _count(self, principal: str, limit: int) -> None:
        if not self.limiter.spend(principal, limit):
            await self.limiter.settle(principal, limit)

    async def identify(self, scope: Scope) -> Caller:
        """
        Return who is calling.

        Raises `NotSignedIn`, `NoProfile`, `CsrfRefused`.
        """
        found = scope.get(IDENTIFIED)
        if found is not None:
            if isinstance(found, Rendered):
                raise found
            return found
        sent = header(scope, b"authorization")
        if sent is not None:
            key = hashlib.blake2b(sent, digest_size=20).digest()
            known = self._known.get(key)
            if known is not None and known[1] > time.monotonic():
                return known[0]
            return await self._remember(scope, key, _bearer(sent), API_AUDIENCE)
        session = session_of(scope)
        if session is None:
            raise NotSignedIn
        if scope["method"] not in SAFE_METHODS:
            self._check_csrf(scope, session)
        key = hashlib.blake2b(session.encode(), digest_size=20, person=b"session").digest()
        known = self._known.get(key)
        if known is not None and known[1] > time.monotonic():
            return known[0]
        return await self._remember(scope, key, session, CONSOLE_AUDIENCE)

    def _check_csrf(self, scope: Scope, session: str) -> None:
        sent = header(scope, CSRF_HEADER) or b""
        if not hmac.compare_digest(sent, csrf_token(self.settings, session).encode()):
            raise CsrfRefused

    async def _remember(self, scope: Scope, key: bytes, token: str, audience: str) -> Caller:
        """Look an unknown token up; whoever only guesses is slowed down by their address."""
        guesser = f"guess:{_address(scope)}"
        self.limiter.check(guesser, GUESSES_PER_MINUTE)
        try:
            claims = await self.read(token, audience)
            async with self.db.reading() as tx:
                caller = await users.find_caller(tx, _subjects(claims))
            if caller is None:
                raise NoProfile
        except (NotSignedIn, NoProfile):
            self.limiter.hold(guesser, GUESSES_PER_MINUTE)
            raise
        if len(self._known) >= REMEMBERED_MOST:
            self._known.clear()
        left = float(claims["exp"]) - datetime.now(UTC).timestamp()
        self._known[key] = (caller, time.monotonic() + min(REMEMBERED_S, left))
        return caller

    async def read(self, token: str, audience: str) -> dict[str, Any]:
        """
        Return the claims of a token after every check that belongs to its issuer.

        Raises `NotSignedIn`.
        """
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
            if issuer == ISSUER:
                return self._own(token, audience)
            if audience == API_AUDIENCE and isinstance(issuer, str):
                return await self.issuers.read(issuer, token)
        except (jwt.PyJWTError, TokenRefused) as failure:
            raise NotSignedIn from failure
        raise NotSignedIn

    def _own(self, token: str, audience: str) -> dict[str, Any]:
        return jwt.decode(
            token,
            _secret(self.settings),
            algorithms=["HS256"],
            audience=audience,
            issuer=ISSUER,
            options={"require": ["exp", "sub", "aud", "iss"]},
        )

    def admit_clock(self, scope: Scope) -> None:
        """
        Let in whoever knows the cron secret.

        Raises `CronClosed`, `WrongCronSecret`.
        """
        secret = self.settings.cron_secret
        if secret is None or not secret.get_secret_value():
            raise CronClosed
        sent = header(scope, b"x-cron-secret")
        if sent is None:
            sent = (header(scope, b"authorization") or b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(sent, secret.get_secret_value().encode()):
            raise WrongCronSecret

    async def admit_or_clock(self, scope: Scope, role: Role) -> Caller:
        """
        Return the service itself for whoever sends the cron secret, else who is calling when their role is enough.

        Raises what `admit_clock` and `admit` raise.
        """
        if header(scope, b"x-cron-secret") is None:
            return await self.admit(scope, role)
        self.admit_clock(scope)
        return SYSTEM

    async def open_session(self, token: str) -> tuple[Caller, str]:
        """
        Return who a bearer token belongs to, and a session for the console that ends when the token does.

        Raises `NotSignedIn`, `NoProfile`.
        """
        claims = await self.read(token, API_AUDIENCE)
        async with self.db.reading() as tx:
            caller = await users.find_caller(tx, _subjects(claims))
        if caller is None:
            raise NoProfile
        now = clock()
        left = datetime.fromtimestamp(float(claims["exp"]), UTC) - now
        lifetime = min(left, timedelta(hours=self.settings.jwt_lifetime_h))
        session = issue_token(self.settings, caller.auth_id, now=now, lifetime=lifetime, audience=CONSOLE_AUDIENCE)
        return caller, session

    def set_cookie(self, response: Response, session: str) -> None:
        """Give the browser the session: out of reach of scripts and of other sites."""
        response.set_cookie(SESSION_COOKIE, session, httponly=True, samesite="strict", secure=self._secure, path="/")

    def unset_cookie(self, response: Response) -> None:
        """Take the session back."""
        response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="strict", secure=self._secure, path="/")

    @property
    def _secure(self) -> bool:
        return self.settings.url.startswith("https://")

    def forget(self) -> None:
        """Ask the database again for everybody."""
        self._known.clear()

    async def close(self) -> None:
        """Close the connections to issuers."""
        await self.issuers.close()


def _address(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def _require(caller: Caller, role: Role) -> None:
    if role == "admin" and caller.role != "admin":
        raise AdminsOnly
    if role == "manager" and not caller.sees_all:
        raise ManagersOnly


def _bearer(sent: bytes) -> str:
    scheme, _, token = sent.partition(b" ")
    if scheme.lower() != b"bearer" or not token or len(token) > TOKEN_LONGEST:
        raise NotSignedIn
    try:
        return token.strip().decode("ascii")
    except UnicodeDecodeError:
        raise NotSignedIn from None


def _subjects(claims: dict[str, Any]) -> list[str]:
    """Entra ID names a person by `oid` (its `sub` differs per application); everybody else by `sub`."""
    return [str(claims[name]) for name in ("oid", "sub") if claims.get(name)]
