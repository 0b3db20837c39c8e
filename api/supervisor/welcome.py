"""What `run` says while it starts, and once everything is healthy."""

from collections.abc import Mapping
from datetime import datetime

from rich.console import Console
from rich.status import Status
from rich.table import Table

from api import auth
from memory.callers import Role
from memory.db import Database
from memory.settings import Settings
from tools import users

ROLES: tuple[Role, ...] = ("rep", "manager", "admin")
CURLS = (
    ("who am I", "/api/auth/me"),
    ("the deals", "/api/deals?limit=5"),
    ("what needs an answer", "/api/communications/response-queue"),
)


class Narrator:
    """Says what is going on: on a terminal as one changing line, elsewhere as plain lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._status: Status | None = None

    def step(self, words: str) -> None:
        """Say what is being done now."""
        if not self.console.is_terminal:
            self.console.print(f"{words} ...", markup=False, highlight=False)
        elif self._status is None:
            self._status = self.console.status(f"{words} ...")
            self._status.start()
        else:
            self._status.update(f"{words} ...")

    def note(self, words: str) -> None:
        """Say something that stays on the screen."""
        moment = datetime.now().astimezone().strftime("%H:%M:%S")
        self.console.print(f"{moment} {words}", markup=False, highlight=False, soft_wrap=True)

    def quiet(self) -> None:
        """Take the changing line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


async def issue_tokens(settings: Settings, database: Database) -> dict[str, str]:
    """Return a bearer token for one user of each role that the workspace has."""
    tokens: dict[str, str] = {}
    async with database.reading() as tx:
        for role in ROLES:
            if (caller := await users.find_caller_by_role(tx, role)) is not None:
                tokens[role] = auth.issue_token(settings, caller.auth_id)
    return tokens


def show(console: Console, settings: Settings, tokens: Mapping[str, str]) -> None:
    """Print the addresses, who answers, the tokens and three requests to try."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("API", settings.url),
        ("Console", f"{settings.url}/console"),
        ("Docs", f"{settings.url}/docs"),
        ("Answers", _engine(settings)),
        ("Data", str(settings.data)),
    ):
        table.add_row(f"[bold]{name}[/bold]", value)
    console.print()
    console.print("[bold green]Rainmaker is running.[/bold green] Ctrl-C stops it.")
    console.print(table)
    for role, token in tokens.items():
        console.print(f"\n[bold]Token of a {role}[/bold]" if role != "admin" else "\n[bold]Token of an admin[/bold]")
        console.print(token, markup=False, highlight=False, soft_wrap=True)
    if tokens:
        console.print("\n[bold]Try[/bold]")
        _line(console, f"TOKEN={next(iter(tokens.values()))}")
        for words, path in CURLS:
            _line(console, f"curl -s -H \"Authorization: Bearer $TOKEN\" '{settings.url}{path}'   # {words}")
    console.print()


def _engine(settings: Settings) -> str:
    if settings.model_engine == "rules":
        return "the rules engine (set OPENAI_API_KEY or OPENAI_BASE_URL for a model)"
    return f"{settings.model_strong} and {settings.model_cheap} at {settings.openai_base_url or 'OpenAI'}"


def _line(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
