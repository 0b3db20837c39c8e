"""
A real browser on the real application: `house` is the service on a port of its own with a database of the test's own,
`visit(caller)` a page in headless Chromium with somebody signed in.

What the browser complains about (a script's error, a breach of the policy, a request that failed) fails the test.
Everything here lives on the session's event loop: one browser serves all tests.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import uvicorn
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request, async_playwright, expect

from api import auth
from api.app import Rainmaker, create_app
from api.services import Services
from memory import embedded
from memory.callers import Caller
from memory.db import Database
from memory.settings import Settings
from tests.api.conftest import settings_for_tests
from tests.given import Given

CHROMIUM = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
SHOTS = os.environ.get("RAINMAKER_SHOTS")
# How far things moved without anybody having done something, as browsers measure it.
SHIFT = """() => new Promise(done => {
  let sum = 0;
  new PerformanceObserver(list => { for (const one of list.getEntries()) if (!one.hadRecentInput) sum += one.value; })
    .observe({ type: "layout-shift", buffered: true });
  requestAnimationFrame(() => requestAnimationFrame(() => done(sum)));
})"""
DESKTOP = {"width": 1200, "height": 800}
PHONE = {"width": 400, "height": 800}
# A machine that is busy with other tests takes its time.
PATIENCE_MS = 20_000
expect.set_options(timeout=PATIENCE_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run on the session's loop; without a browser there is nothing to look with."""
    missing = pytest.mark.skip(reason="there is no Chromium on this machine (Debian: apt install chromium)")
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)
            if CHROMIUM is None:
                item.add_marker(missing)


class House:
    """The service, listening."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        self.app: Rainmaker
        self.db: Database

    @asynccontextmanager
    async def given(self) -> AsyncIterator[Given]:
        """Builders whose rows are committed."""
        async with self.db.transaction() as tx:
            yield Given(tx)


class Visitor:
    """One browser window of one person."""

    def __init__(self, page: Page, url: str, *, script: bool) -> None:
        self.page = page
        self.url = url
        self.script = script
        self.complaints: list[str] = []
        self.expected: set[int] = set()
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", self._failed)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(
            f"status of {status}" in message.text for status in self.expected
        ):
            self.complaints.append(f"{message.type}: {message.text}")

    def _failed(self, request: Request) -> None:
        # The page that is left, or a newer question, ends what is still under way.
        if request.failure != "net::ERR_ABORTED":
            self.complaints.append(f"{request.method} {request.url}: {request.failure}")

    async def go(self, path: str) -> Page:
        """Open a page of the console, wait until it is at rest, and see that nothing moved meanwhile."""
        await self.page.goto(self.url + path)
        await self.page.wait_for_load_state("load")
        # Without scripts nobody measures, and nothing would ever answer.
        shift = await self.page.evaluate(SHIFT) if self.script else 0
        assert shift < 0.01, f"{path} moved by {shift} while it was loaded"
        return self.page

    async def look(self, name: str) -> None:
        """Keep a picture of the whole page where RAINMAKER_SHOTS says, and hold it against what every page owes."""
        overflow = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{name} is {overflow} px wider than its window"
        if SHOTS:
            await self.page.screenshot(path=f"{SHOTS}/{name}.png", full_page=True)


@pytest.fixture(scope="session")
def house_settings() -> Settings:
    port = embedded.free_port()
    return settings_for_tests(port=port, rate_limit_per_minute=100_000, rate_limit_ai_per_minute=100_000)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def listening(house_settings: Settings) -> AsyncIterator[House]:
    """The application behind a real server; its database comes with each test."""
    house = House(house_settings, f"http://127.0.0.1:{house_settings.port}")
    house.app = create_app(house_settings)
    config = uvicorn.Config(house.app, port=house_settings.port, lifespan="off", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(), name="listening")
    while not server.started:
        assert not task.done(), "the server did not start"
        await asyncio.sleep(0.01)
    yield house
    server.should_exit = True
    await task


@pytest_asyncio.fixture(loop_scope="session")
async def house(listening: House, fresh_url: str) -> AsyncIterator[House]:
    listening.db = await Database.open(fresh_url)
    listening.app.state.services = services = Services(listening.settings, listening.db)
    yield listening
    await services.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield launched
        await launched.close()


Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="session")
async def visit(house: House, browser: Browser) -> AsyncIterator[Visit]:
    """Open a window for a caller; `scheme` is light or dark, `size` a viewport, `script` whether scripts run."""
    windows: list[tuple[BrowserContext, Visitor]] = []

    async def open_window(
        caller: Caller | None, *, scheme: Any = "light", size: Any = DESKTOP, script: bool = True
    ) -> Visitor:
        context = await browser.new_context(
            color_scheme=scheme,
            viewport=size,
            java_script_enabled=script,
            reduced_motion="reduce",
            service_workers="block",
        )
        context.set_default_timeout(PATIENCE_MS)
        visitor = Visitor(await context.new_page(), house.url, script=script)
        windows.append((context, visitor))
        if caller is not None:
            session = auth.issue_token(house.settings, caller.auth_id, audience=auth.CONSOLE_AUDIENCE)
            await context.add_cookies(
                [{"name": auth.SESSION_COOKIE, "value": session, "url": house.url, "sameSite": "Strict"}]
            )
        return visitor

    yield open_window
    for context, _ in windows:
        await context.close()
    assert [complaint for _, visitor in windows for complaint in visitor.complaints] == []
