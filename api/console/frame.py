"""What every page stands in: the templates, the policy that browsers hold them to, and the files they use."""

import hashlib
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from api.console import wording

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
THEMES = ("light", "dark")
THEME_COOKIE = "rainmaker_theme"
HEADERS = {
    # Under "no-referrer" a browser calls the origin of our own forms "null".
    "referrer-policy": "same-origin",
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    # A part that htmx asks for and the page around it have one address.
    "vary": "HX-Request, Cookie",
}


def _stamp() -> str:
    """Return what changes whenever one of the files does."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:12]


templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=select_autoescape(),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
templates.filters.update(wording.FILTERS)
cast("dict[str, Any]", templates.globals).update(stamp=_stamp(), themes=THEMES)


class Files(StaticFiles):
    """The console's own files: kept by browsers for as long as the address that names their stamp is asked for."""

    async def get_response(self, path: str, scope: Any) -> Response:
        """Return a file, or 404."""
        answer = await super().get_response(path, scope)
        stamped = scope["query_string"].startswith(b"v=")
        answer.headers["cache-control"] = "public, max-age=31536000, immutable" if stamped else "no-cache"
        return answer


def draw(name: str, status: int = 200, /, **values: Any) -> Response:
    """Return a page, or a part of one, under a policy that lets in nothing from elsewhere and nothing inline."""
    return Response(templates.get_template(name).render(**values), status, HEADERS, "text/html")
