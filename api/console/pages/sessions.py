"""Signing in and out, and how the console looks."""

from typing import Annotated, Any

from fastapi import Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response

from api.console.frame import THEME_COOKIE, THEMES, draw
from api.console.visits import Guest, Page, find_visit, read_form, refuse, router, safe_way, shared
from api.deps import of
from memory.errors import Refusal

LONGEST_SIGN_IN = 20_000
A_YEAR_S = 31_536_000
router = router()


@router.get("")
async def index() -> Response:
    """Lead to the runs."""
    return RedirectResponse("/console/runs", 303)


@router.get("/sign-in")
async def show_sign_in(request: Request, guest: Guest, way: Annotated[str, Query(alias="next")] = "") -> Response:
    """Ask for a token."""
    if guest:
        return RedirectResponse(safe_way(way), 303)
    return draw("sign_in.html", **shared(request, None), problem=None, next=safe_way(way))


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Exchange a token for a session."""
    services, sent = of(request), await read_form(request, LONGEST_SIGN_IN)
    way = safe_way(sent.get("next", ""))
    try:
        _, session = await services.gate.open_session(sent.get("token", "").strip())
    except Refusal as refused:
        return draw("sign_in.html", refused.status, **shared(request, None), problem=refused.message, next=way)
    answer = RedirectResponse(way, 303)
    services.gate.set_cookie(answer, session)
    return answer


@router.post("/sign-out")
async def sign_out(page: Page) -> Response:
    """End the session."""
    answer = RedirectResponse("/console/sign-in", 303)
    page.services.gate.unset_cookie(answer)
    return answer


@router.post("/theme")
async def set_theme(page: Page) -> Response:
    """Keep whether this browser shows the console light, dark, or as its system is."""
    answer = RedirectResponse(safe_way(page.sent.get("back", "")), 303)
    theme = page.sent.get("theme")
    if theme in THEMES:
        secure = page.services.settings.url.startswith("https://")
        answer.set_cookie(
            THEME_COOKIE, theme, max_age=A_YEAR_S, httponly=True, samesite="strict", secure=secure, path="/console"
        )
    else:
        answer.delete_cookie(THEME_COOKIE, path="/console")
    return answer


async def nowhere(scope: Any, receive: Any, send: Any) -> None:
    """Say that there is no page at this address."""
    request = Request(scope, receive)
    await find_visit(request)
    await refuse(request, HTTPException(404))(scope, receive, send)
