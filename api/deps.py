"""
What a route may ask for; its signature is its policy.

    user: User            a signed-in person (401 otherwise)
    manager: Manager      a manager or an admin (403 otherwise)
    admin: Admin          an admin (403 otherwise)
    clock: CronSecret     whoever knows the cron secret (401; 503 while none is set)
    caller: ManagerOrClock   a manager or an admin, or whoever sends the cron secret
    tx: Transaction       one transaction, committed before the answer is sent, undone when the route raises
    tx: Reading           one connection in autocommit mode: for routes that read with single statements
    agents: Agents        the agents' engine; hold no transaction while a model is asked
    services: Services    what this process holds: settings, database, gate

    @router.get("/api/track/open", dependencies=[Public])     anybody, on purpose
    @router.post("/api/sms/webhook", dependencies=[Signed])   anybody; the route itself checks the sender's signature
    @router.post("/draft", dependencies=[StartsModel])        counts against the tighter limit for routes that ask a model

A route that says nothing on who may call it keeps the service from starting. On routes with a signed-in person that
change something, `Idempotency-Key` works by itself: the first answer is every answer for 24 hours.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPBearer

from api.auth import SESSION_COOKIE, NobodyHere, NoProfile, NoSuchProfile, NotSignedIn
from api.services import Services as ProcessServices
from memory.callers import SYSTEM, Caller
from memory.db import Tx

if TYPE_CHECKING:
    from agents.runs import Engine
else:
    Engine = Any  # importing LangChain takes seconds

BEARER = HTTPBearer(scheme_name="bearer", auto_error=False, description="A token of this service or of your issuer.")
SESSION = APIKeyCookie(
    name=SESSION_COOKIE,
    scheme_name="session",
    auto_error=False,
    description="The console's cookie; requests that change something also send `X-CSRF-Token`.",
)
CRON = APIKeyHeader(name="x-cron-secret", scheme_name="cron", auto_error=False)


def of(request: Request) -> ProcessServices:
    """Return what this process holds."""
    return request.app.state.services


async def services(request: Request) -> ProcessServices:
    """Lend what this process holds."""
    return of(request)


async def agents_engine(request: Request) -> Engine:
    """
    Lend the agents' engine.

    Raises `AgentsAsleep`.
    """
    return await of(request).engine()


async def signed_in(
    request: Request, _bearer: Annotated[Any, Security(BEARER)], _session: Annotated[Any, Security(SESSION)]
) -> Caller:
    """
    Return who is calling.

    Raises `NotSignedIn`, `NoProfile`.
    """
    return await of(request).gate.admit(request.scope, "rep")


async def as_manager(
    request: Request, _bearer: Annotated[Any, Security(BEARER)], _session: Annotated[Any, Security(SESSION)]
) -> Caller:
    """
    Return who is calling, a manager or an admin.

    Raises `NotSignedIn`, `NoProfile`, `ManagersOnly`.
    """
    return await of(request).gate.admit(request.scope, "manager")


async def as_admin(
    request: Request, _bearer: Annotated[Any, Security(BEARER)], _session: Annotated[Any, Security(SESSION)]
) -> Caller:
    """
    Return who is calling, an admin.

    Raises `NotSignedIn`, `NoProfile`, `AdminsOnly`.
    """
    return await of(request).gate.admit(request.scope, "admin")


async def own_profile(
    request: Request, _bearer: Annotated[Any, Security(BEARER)], _session: Annotated[Any, Security(SESSION)]
) -> Caller:
    """
    Return who is calling; whoever is not known reads `user: null` beside the error.

    Raises `NobodyHere`, `NoSuchProfile`.
    """
    try:
        return await of(request).gate.admit(request.scope, "rep")
    except NotSignedIn:
        raise NobodyHere(user=None) from None
    except NoProfile:
        raise NoSuchProfile(user=None) from None


async def as_clock(request: Request, _secret: Annotated[Any, Security(CRON)]) -> Caller:
    """
    Return the service itself, when the cron secret is right.

    Raises `WrongCronSecret`, `CronClosed`.
    """
    of(request).gate.admit_clock(request.scope)
    return SYSTEM


async def as_manager_or_clock(
    request: Request,
    _bearer: Annotated[Any, Security(BEARER)],
    _session: Annotated[Any, Security(SESSION)],
    _secret: Annotated[Any, Security(CRON)],
) -> Caller:
    """
    Return who is calling: a manager, an admin, or the service itself when the cron secret is sent and right.

    Raises `NotSignedIn`, `NoProfile`, `ManagersOnly`, `WrongCronSecret`, `CronClosed`.
    """
    return await of(request).gate.admit_or_clock(request.scope, "manager")


async def transaction(request: Request) -> AsyncIterator[Tx]:
    """Commit before the answer leaves: a failing commit is a failing request."""
    async with of(request).db.transaction() as tx:
        yield tx


async def reading(request: Request) -> AsyncIterator[Tx]:
    """Lend a connection in autocommit mode."""
    async with of(request).db.reading() as tx:
        yield tx


async def anybody(request: Request) -> None:
    """
    Say that a route is open on purpose; strangers are counted by their address.

    Raises `TooManyRequests`.
    """
    of(request).gate.admit_stranger(request.scope)


async def sender() -> None:
    """Say that a route checks the signature of its sender itself."""


User = Annotated[Caller, Depends(signed_in)]


async def starts_model(request: Request, caller: User) -> None:
    """
    Count a route that starts a language model.

    Raises `TooManyRequests`.
    """
    await of(request).gate.admit_model(caller)


Manager = Annotated[Caller, Depends(as_manager)]
Admin = Annotated[Caller, Depends(as_admin)]
CronSecret = Annotated[Caller, Depends(as_clock)]
ManagerOrClock = Annotated[Caller, Depends(as_manager_or_clock)]
Transaction = Annotated[Tx, Depends(transaction, scope="function")]
Reading = Annotated[Tx, Depends(reading, scope="function")]
Services = Annotated[ProcessServices, Depends(services)]
Agents = Annotated[Engine, Depends(agents_engine)]
Public = Depends(anybody)
Signed = Depends(sender)
StartsModel = Depends(starts_model)
