"""
Who looks at a page, and what they are shown when they may not.

    page: Page           somebody who is signed in by cookie; strangers are led to the sign-in page
    page: PromptPage     somebody who may edit prompts
    page: AdminPage      an admin

Whatever changes something is a form of this console: it comes from this origin and carries the session's token, in a
field or, when htmx sends it, in a header. That is checked before any route runs, so that no route can forget it.
"""

import hmac
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import structlog
from fastapi import APIRouter, Depends, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import RedirectResponse, Response

from api import errors
from api.auth import SAFE_METHODS, SESSION_COOKIE, AdminsOnly, NoProfile, NotSignedIn, csrf_token
from api.console.frame import THEME_COOKIE, THEMES, draw
from api.deps import Public, of
from api.services import Services
from api.telemetry import REQUEST_ID
from memory.callers import Caller
from memory.db import Database
from memory.errors import Forbidden, Unknown

LONGEST_FORM = 1_000_000
MOST_FIELDS = 300
VISIT = "rainmaker.visit"
# The status by which htmx is told to stop asking again.
ENOUGH = 286
# What a page says after a form was taken, by the word in its address.
SAID = {
    "cancelled": "The run stops after the step it is in.",
    "saved": "The draft is kept. It answers once it is released.",
    "unchanged": "Nothing was changed, so there is no new version.",
    "reverted": "The old version is a new draft now. It answers once it is released.",
    "released": "Released: this version answers from now on.",
    "rolled-back": "Rolled back: the earlier version answers again.",
    "restored": "Restored: the shipped default answers again.",
    "evaluating": "The evaluation is asked for; a worker takes it up.",
}
M = TypeVar("M", bound=BaseModel)
log = structlog.get_logger(__name__)


class SignInFirst(Unknown):
    """Sign in first."""


class FormRefused(Forbidden):
    """This form is too old or comes from elsewhere; load the page again."""


class WritersOnly(Forbidden):
    """Prompts are edited and released by people whose role may write prompts."""


class Visit:
    """One request of a person who is signed in."""

    def __init__(self, request: Request, caller: Caller, csrf: str) -> None:
        """`csrf` is what their forms must carry; `sent` is what this one does."""
        self.request = request
        self.caller = caller
        self.csrf = csrf
        self.sent: dict[str, str] = {}

    @property
    def services(self) -> Services:
        """What this process holds."""
        return of(self.request)

    @property
    def db(self) -> Database:
        """The database."""
        return self.services.db

    @property
    def partial(self) -> bool:
        """Whether htmx asks for a part of the page."""
        return self.request.headers.get("hx-request") == "true" and not self.request.headers.get(
            "hx-history-restore-request"
        )

    @property
    def writes_prompts(self) -> bool:
        """Whether this person may edit and release prompts."""
        return self.caller.role in self.writers

    @property
    def writers(self) -> Sequence[str]:
        """The roles that may edit prompts."""
        return self.services.settings.prompt_write_roles

    def show(self, name: str, part: str | None = None, status: int = 200, /, **values: Any) -> Response:
        """Return a page, or only its part when htmx asks for it."""
        if part is not None and self.partial:
            return draw(part, status, **shared(self.request, self), **values)
        return draw(name, status, **shared(self.request, self), **values)

    def go(self, path: str, said: str | None = None) -> Response:
        """Lead to another page of the console, which then says that something was done."""
        if said is not None:
            path += f"{'&' if '?' in path else '?'}said={said}"
        if self.partial:
            return Response(status_code=204, headers={"hx-redirect": path})
        return RedirectResponse(path, 303)

    def take(self, model: type[M], values: Mapping[str, Any]) -> M:
        """
        Return what a form says as the input of an operation.

        Raises `BadRequest`, naming the fields.
        """
        try:
            return model.model_validate(values)
        except ValidationError as failure:
            raise errors.bad_request(failure, "body") from failure


def shared(request: Request, visit: Visit | None) -> dict[str, Any]:
    """Return what every template knows."""
    theme = request.cookies.get(THEME_COOKIE)
    return {
        "visit": visit,
        "path": request.url.path,
        "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
        "theme": theme if theme in THEMES else None,
        "said": SAID.get(request.query_params.get("said", "")),
    }


# Forms --------------------------------------------------------------------------------------------------------------


async def read_form(request: Request, longest: int = LONGEST_FORM) -> dict[str, str]:
    """
    Return the fields of a posted form.

    Raises `FormRefused` when it comes from another site, is too long or is no form.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise FormRefused
    body = await request.body()
    if len(body) > longest:
        raise FormRefused
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS)
    except ValueError:
        raise FormRefused from None
    # A browser sends a line break as two characters; what is kept has one.
    return {name: value.replace("\r\n", "\n") for name, value in fields}


def check_token(request: Request, csrf: str, sent: Mapping[str, str]) -> None:
    """
    Refuse a form that was not made for this session.

    Raises `FormRefused`.
    """
    shown = request.headers.get("x-csrf-token") or sent.get("csrf", "")
    if not hmac.compare_digest(shown.encode(), csrf.encode()):
        raise FormRefused


# Guards -------------------------------------------------------------------------------------------------------------


async def find_visit(request: Request) -> Visit | None:
    """Return who is signed in by cookie, or None."""
    services, session = of(request), request.cookies.get(SESSION_COOKIE)
    if not session:
        return None
    try:
        # Read as a GET: the form's own token is checked below.
        caller = await services.gate.identify({**request.scope, "method": "GET"})
    except (NotSignedIn, NoProfile):
        return None
    visit = Visit(request, caller, csrf_token(services.settings, session))
    request.scope[VISIT] = visit
    return visit


Guest = Annotated[Visit | None, Depends(find_visit)]


async def signed_in(request: Request, guest: Guest) -> Visit:
    """
    Return who is signed in, with the form they sent.

    Raises `SignInFirst`, `FormRefused`.
    """
    if guest is None:
        raise SignInFirst
    if request.method not in SAFE_METHODS:
        guest.sent = await read_form(request)
        check_token(request, guest.csrf, guest.sent)
    return guest


Page = Annotated[Visit, Depends(signed_in)]


async def as_writer(page: Page) -> Visit:
    """
    Return somebody who may edit prompts.

    Raises `WritersOnly`.
    """
    if not page.writes_prompts:
        raise WritersOnly
    return page


async def as_admin(page: Page) -> Visit:
    """
    Return an admin.

    Raises `AdminsOnly`.
    """
    if page.caller.role != "admin":
        raise AdminsOnly
    return page


PromptPage = Annotated[Visit, Depends(as_writer)]
AdminPage = Annotated[Visit, Depends(as_admin)]


# Routes -------------------------------------------------------------------------------------------------------------


def to_sign_in(request: Request) -> Response:
    """Lead to the sign-in page, and remember the way back."""
    path = "/console/sign-in"
    if request.method in SAFE_METHODS and request.url.path != "/console":
        back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        path += "?" + urlencode({"next": back}, quote_via=quote)
    if request.headers.get("hx-request") == "true":
        return Response(status_code=204, headers={"hx-redirect": "/console/sign-in"})
    return RedirectResponse(path, 303)


def safe_way(path: str) -> str:
    """Return a way within the console; anything else leads to its first page."""
    inside = path.startswith("/console/") and "\\" not in path and path.isprintable()
    return path if inside and not path.startswith("/console/sign-") else "/console/runs"


def refuse(request: Request, failure: Exception) -> Response:
    """Return the page, or the part of one, that says why something is not shown or done."""
    answer = errors.render(failure, REQUEST_ID.get())
    if answer.mistake:
        log.error("page_failed", method=request.method, path=request.url.path, exc_info=failure)
    status = 404 if isinstance(failure, RequestValidationError) and request.method in SAFE_METHODS else answer.status
    part = request.headers.get("hx-request") == "true"
    shown = draw(
        "parts/refused.html" if part else "refused.html",
        status,
        **shared(request, request.scope.get(VISIT)),
        status=status,
        problem=answer.body["error"],
        details=answer.body.get("details", []),
    )
    for name, value in answer.headers:
        if name == b"retry-after":
            shown.headers["retry-after"] = value.decode()
    return shown


class PageRoute(APIRoute):
    """A route that answers people: refusals are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the route, with words for whatever it refuses."""
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except ClientDisconnect:
                raise
            except SignInFirst:
                return to_sign_in(request)
            except Exception as failure:  # noqa: BLE001 - a person is told, the log holds the rest
                return refuse(request, failure)

        return handle


def router() -> APIRouter:
    """Return a table for pages of the console."""
    return APIRouter(prefix="/console", include_in_schema=False, dependencies=[Public], route_class=PageRoute)
