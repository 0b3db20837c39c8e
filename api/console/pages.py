"""The console's pages. Who is not signed in is led to the sign-in page; what changes something carries a CSRF token."""

import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from api.auth import SESSION_COOKIE, NoProfile, NotSignedIn, csrf_token
from api.deps import Public, of
from memory.callers import Caller
from memory.errors import Forbidden, Refusal
from prompts import registry
from tools import ai_prompts, runs
from tools.ai_prompts import PromptWordsRow
from tools.runs import RunFilter, RunOut

router = APIRouter(prefix="/console", include_in_schema=False, dependencies=[Public])
FOLDER = Path(__file__).parent
PAGE = 50
LONGEST_FORM = 20_000
HEADERS = {
    # Under "no-referrer" a browser calls the origin of our own forms "null".
    "referrer-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
}
templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
)


class FormRefused(Forbidden):
    """This form is too old or comes from elsewhere; load the page again."""


class SignInFirst(Exception):
    """Nobody is signed in."""


class Visitor:
    """Who looks at the page, and the token that their forms carry."""

    def __init__(self, caller: Caller, csrf: str) -> None:
        self.caller = caller
        self.csrf = csrf


async def _visitor(request: Request) -> Visitor | None:
    """Return who is signed in by cookie, or None."""
    services, session = of(request), request.cookies.get(SESSION_COOKIE)
    if not session:
        return None
    try:
        # Read as a GET: the form's own token is checked where a form is taken.
        caller = await services.gate.identify({**request.scope, "method": "GET"})
    except (NotSignedIn, NoProfile):
        return None
    return Visitor(caller, csrf_token(services.settings, session))


Guest = Annotated[Visitor | None, Depends(_visitor)]


def mount() -> Mount:
    """Return the console's own files."""
    return Mount("/console/static", app=StaticFiles(directory=FOLDER / "static"), name="console-static")


def page(name: str, status: int = 200, **values: Any) -> Response:
    """Return a page under a policy that lets in nothing from elsewhere and no inline script."""
    return Response(templates.get_template(name).render(**values), status, HEADERS, "text/html")


def to_sign_in() -> Response:
    """Lead to the sign-in page."""
    return RedirectResponse("/console/sign-in", 303)


async def form(request: Request) -> dict[str, str]:
    """
    Return the fields of a posted form.

    Raises `FormRefused` when it comes from another site or is too long.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise FormRefused
    body = await request.body()
    if len(body) > LONGEST_FORM:
        raise FormRefused
    return {
        name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True).items()
    }


def check_token(visitor: Visitor, sent: dict[str, str]) -> None:
    """
    Refuse a form that was not made for this session.

    Raises `FormRefused`.
    """
    if not hmac.compare_digest(sent.get("csrf", "").encode(), visitor.csrf.encode()):
        raise FormRefused


@router.get("")
async def index() -> Response:
    """Lead to the runs."""
    return RedirectResponse("/console/runs", 303)


@router.get("/sign-in")
async def show_sign_in(guest: Guest) -> Response:
    """Ask for a token."""
    return RedirectResponse("/console/runs", 303) if guest else page("sign_in.html", visitor=None, problem=None)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    """Exchange a token for a session."""
    services, sent = of(request), await form(request)
    try:
        services.gate.admit_stranger(request.scope)
        _, session = await services.gate.open_session(sent.get("token", "").strip())
    except Refusal as refused:
        return page("sign_in.html", refused.status, visitor=None, problem=refused.message)
    answer = RedirectResponse("/console/runs", 303)
    services.gate.set_cookie(answer, session)
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, guest: Guest) -> Response:
    """End the session."""
    answer = to_sign_in()
    if guest:
        check_token(guest, await form(request))
        of(request).gate.unset_cookie(answer)
    return answer


@router.get("/runs")
async def show_runs(request: Request, guest: Guest, agent: str = "", status: str = "", offset: int = 0) -> Response:
    """List runs, newest first."""
    if guest is None:
        return to_sign_in()
    known = ("queued", "running", "waiting", "succeeded", "failed", "cancelled")
    chosen = RunFilter.model_validate(
        {
            "agent": agent[:80] or None,
            "status": status if status in known else None,
            "offset": max(0, min(offset, 100_000)),
            "limit": PAGE,
        }
    )
    async with of(request).db.reading() as tx:
        listed = (await runs.list_runs(tx, guest.caller, chosen)).parse()
    return page(
        "runs.html", visitor=guest, runs=listed.runs, total=listed.total, filter=chosen, statuses=known, page=PAGE
    )


@router.get("/runs/{run_id}")
async def show_run(request: Request, guest: Guest, run_id: UUID) -> Response:
    """Show one run: steps, model calls with their prompts, tokens and cost, and what was read."""
    if guest is None:
        return to_sign_in()
    try:
        async with of(request).db.reading() as tx:
            shown = (await runs.show_run(tx, guest.caller, run_id)).parse()
            keys = sorted({(call.prompt_key, call.prompt_version) for call in shown.calls})
            words = {key: await _words(tx, *key) for key in keys}
    except Refusal as refused:
        return page("missing.html", refused.status, visitor=guest, problem=refused.message)
    return page(
        "run.html",
        visitor=guest,
        shown=shown,
        words=words,
        over=shown.run.status in runs.OVER,
        longest=max((step.ms or 0 for step in shown.steps), default=0) or 1,
        cost=sum(call.cost_usd for call in shown.calls),
        citations=_citations(shown),
    )


@router.post("/runs/{run_id}/cancel")
async def cancel_run(request: Request, guest: Guest, run_id: UUID) -> Response:
    """Ask a run to stop after its step."""
    if guest is None:
        return to_sign_in()
    check_token(guest, await form(request))
    try:
        async with of(request).db.transaction() as tx:
            await runs.cancel_run(tx, guest.caller, run_id)
    except Refusal as refused:
        return page("missing.html", refused.status, visitor=guest, problem=refused.message)
    return RedirectResponse(f"/console/runs/{run_id}", 303)


async def _words(tx: Any, key: str, version: int) -> PromptWordsRow | None:
    """Return the words of a prompt's version: released ones from the database, shipped ones from their files."""
    if kept := await ai_prompts.find_words(tx, key, version):
        return kept
    shipped = next((p for p in registry.shelf().versions.get(key, ()) if p.version == version), None)
    return PromptWordsRow(system_template=shipped.system, prompt_template=shipped.user) if shipped else None


def _citations(shown: RunOut) -> list[dict[str, Any]]:
    """Return the quotes that a run's output cites, wherever it carries them."""
    found: list[dict[str, Any]] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            record = cast("dict[str, Any]", value)
            if record.get("quote"):
                found.append(record)
            walk(list(record.values()))
        elif isinstance(value, list):
            for part in cast("list[Any]", value):
                walk(part)

    walk(shown.run.output or {})
    return found


def _pretty(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def _ago(moment: datetime | None) -> str:
    """Return how long ago a moment was, in one unit."""
    if moment is None:
        return ""
    seconds = (datetime.now(UTC) - moment).total_seconds()
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return "now"


def _moment(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%d %H:%M:%S") if at else ""


templates.filters.update(pretty=_pretty, ago=_ago, moment=_moment)
