"""Who is signed in, and the console's session."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Field

from api import auth
from api.deps import Public, Services, own_profile
from api.schemas import Done
from memory.callers import Caller
from memory.rows import In, Row
from tools import users

router = APIRouter(prefix="/api/auth", tags=["Auth"])
Me = Annotated[Caller, Depends(own_profile)]


class MeOut(Row):
    """The signed-in user."""

    user: users.ProfileOut


class OpenSessionIn(In):
    """A bearer token to sign in to the console with."""

    token: str = Field(min_length=1, max_length=auth.TOKEN_LONGEST)


class SessionOut(Row):
    """A session is open: its cookie is set; changes also send `csrf_token` as `X-CSRF-Token`."""

    success: Literal[True] = True
    csrf_token: str
    user: users.ProfileOut


@router.get("/me", summary="Get the signed-in user")
async def get_me(user: Me) -> MeOut:
    """Get who the token or session belongs to. Nobody: 401, no active user: 404, both with `user: null`."""
    return MeOut(user=users.profile_of(user))


@router.post("/session", summary="Sign in to the console", dependencies=[Public])
async def open_session(body: OpenSessionIn, services: Services, response: Response) -> SessionOut:
    """Exchange a bearer token for the console's session cookie, which no script can read."""
    caller, session = await services.gate.open_session(body.token)
    services.gate.set_cookie(response, session)
    return SessionOut(csrf_token=auth.csrf_token(services.settings, session), user=users.profile_of(caller))


@router.get("/session", summary="Get the console's CSRF token")
async def get_session(request: Request, user: Me, services: Services) -> SessionOut:
    """Get the CSRF token of the running session, as after a reload of the page."""
    session = auth.session_of(request.scope)
    if session is None:
        raise auth.NotSignedIn
    token = auth.csrf_token(services.settings, session)
    return SessionOut(csrf_token=token, user=users.profile_of(user))


@router.delete("/session", summary="Sign out of the console")
async def close_session(_user: Me, services: Services, response: Response) -> Done:
    """Take the session cookie back."""
    services.gate.unset_cookie(response)
    return Done()
