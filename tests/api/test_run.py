"""The whole of it, from one command, as an operator meets it."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from memory import embedded, settings
from memory.settings import Settings
from tests.databases import open_folder
from tests.processes import children_of, gone, wait_until

ROOT = Path(__file__).parents[2]
PARTS = ("postgres", "redis-server", "api serve", "api work", "api beat")


@pytest.fixture
def data() -> Iterator[Path]:
    outer = open_folder()
    yield outer / "my data"
    if (outer / "my data" / "postgres").is_symlink():
        shutil.rmtree((outer / "my data" / "postgres").resolve())
    shutil.rmtree(outer)


class Running:
    """One `python -m api run` and what it said."""

    def __init__(self, data: Path, port: int, *options: str) -> None:
        ours = {settings.variable(field) for field in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name not in ours}
        self.url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "api", "run", *options],
            cwd=ROOT,
            env={**kept, "RAINMAKER_DATA": str(data), "RAINMAKER_PORT": str(port)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""

    def read_until(self, words: str) -> str:
        """Read on until a line has these words; fails when the process ends before."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return line
        raise AssertionError(f"it ended with {self.process.wait()}:\n{self.said}")

    def read_token(self, role: str) -> str:
        """Read on until the token of this role."""
        self.read_until(f"Token of {role}")
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def parts(self) -> dict[str, int]:
        """Return the process of each part."""
        children = children_of(self.process.pid).items()
        return {part: pid for pid, command in children for part in PARTS if part in command}

    def ready(self) -> bool:
        """Ask the API."""
        try:
            return httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def stop(self) -> int:
        """Press Ctrl-C, and return the status."""
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        self.said += self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(30)


@pytest.fixture
def start(data: Path, unused_port: int) -> Iterator[Callable[..., Running]]:
    """Start everything; what still runs after the test is killed."""
    started: list[Running] = []

    def start(*options: str) -> Running:
        started.append(Running(data, unused_port, *options))
        return started[-1]

    yield start
    for running in reversed(started):
        if running.process.poll() is None:
            parts = running.parts()
            running.process.kill()
            running.process.wait()
            assert all(wait_until(lambda pid=pid: gone(pid)) for pid in parts.values())
        assert running.process.stdout is not None
        running.process.stdout.close()


def test_everything_starts_heals_and_stops(start, data: Path):
    running = start()
    running.read_until("Rainmaker is running")
    for said in ("API", "Console", "Docs", "the rules engine", "Data"):
        running.read_until(said)
    tokens = {role: running.read_token(role) for role in ("a rep", "a manager", "an admin")}
    for _ in range(3):
        url = running.read_until("curl").split("'")[1]
        answer = httpx.get(url, headers={"Authorization": f"Bearer {tokens['a rep']}"}, timeout=10)
        assert answer.status_code == 200, answer.text
        assert answer.json()
    assert httpx.get(f"{running.url}/api/auth/me", timeout=5).status_code == 401
    assert running.ready()
    parts = running.parts()
    assert set(parts) == set(PARTS)

    os.kill(parts["api work"], signal.SIGKILL)
    assert re.fullmatch(
        r"[\d:]+ Worker was ended by SIGKILL; starting it again in 1 s.\n", running.read_until("Worker")
    )
    assert wait_until(lambda: running.parts().get("api work", parts["api work"]) != parts["api work"])
    parts = running.parts()

    assert running.stop() == 0
    assert all(wait_until(lambda pid=pid: gone(pid)) for pid in parts.values())
    assert embedded.running(data) is None


def test_nothing_outlives_a_kill_of_the_supervisor(start):
    running = start("--no-demo")
    running.read_until("Rainmaker is running")
    parts = running.parts()
    running.process.kill()
    assert all(wait_until(lambda pid=pid: gone(pid)) for pid in parts.values())


def test_a_second_start_in_the_same_folder_is_refused(start, data: Path):
    first = start("--no-demo")
    first.read_until("Starting Redis")
    second = start("--no-demo")
    said = second.read_until("rainmaker: ")
    assert said.startswith(f"rainmaker: Rainmaker runs in {data} already (process {first.process.pid}); stop it, or")
    assert second.process.wait() == 1
