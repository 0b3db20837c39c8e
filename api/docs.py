"""
The documentation pages, without the internet: Swagger UI and Redoc from the files that `fastapi_offline` carries.

The pages run under a policy that lets in no script but ours; Redoc needs its own inline styles and a worker.
"""

import asyncio
import importlib.util
from pathlib import Path

import orjson
from fastapi import APIRouter, Request
from starlette.responses import Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from api.deps import Public

router = APIRouter(include_in_schema=False)
STATIC = "/docs/static"
POLICY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' "
        "data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
SWAGGER = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Rainmaker API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="{STATIC}/favicon.png"><link rel="stylesheet" href="{STATIC}/swagger-ui.css"></head>
<body><div id="swagger-ui"></div>
<script src="{STATIC}/swagger-ui-bundle.js"></script><script src="/docs/start.js"></script></body></html>
"""
REDOC = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Rainmaker API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="{STATIC}/favicon.png"></head>
<body style="margin:0"><redoc spec-url="/openapi.json"></redoc>
<script src="{STATIC}/redoc.standalone.js"></script></body></html>
"""
START = """SwaggerUIBundle({
  url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, persistAuthorization: true, filter: true,
  tagsSorter: "alpha", presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""


def mount() -> Mount:
    """Return the pages' files; found without importing the package, which patches FastAPI."""
    spec = importlib.util.find_spec("fastapi_offline")
    assert spec is not None
    assert spec.origin is not None
    return Mount(STATIC, app=StaticFiles(directory=Path(spec.origin).parent / "static"), name="docs-static")


@router.get("/openapi.json", dependencies=[Public])
async def get_openapi(request: Request) -> Response:
    """Get the schema; writing it takes most of a second, the first time, so it is written beside the loop."""
    schema = await asyncio.to_thread(request.app.openapi)
    return Response(orjson.dumps(schema), media_type="application/json")


@router.get("/docs", dependencies=[Public])
async def get_docs() -> Response:
    """Get the page that tries routes out."""
    return Response(SWAGGER, media_type="text/html", headers=POLICY)


@router.get("/docs/start.js", dependencies=[Public])
async def get_start() -> Response:
    """Get what starts that page."""
    return Response(START, media_type="text/javascript")


@router.get("/redoc", dependencies=[Public])
async def get_redoc() -> Response:
    """Get the page to read."""
    return Response(REDOC, media_type="text/html", headers=POLICY)
