"""
Parts of the running whole: started, watched, started again when they end, stopped in the opposite order.

Each part runs in a session of its own, so that Ctrl-C reaches the supervisor alone, and is tied to the supervisor's
life, so that nothing stays behind even when that is killed.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from memory import embedded, tether
from memory.errors import Outage

LOG_KEPT_BYTES = 5_000_000
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0


class PartFailed(Outage):
    """{part} does not start: {reason} Its log is {log}."""


class Part(Protocol):
    """Something that runs beside the supervisor."""

    @property
    def name(self) -> str:
        """What it is called in messages."""
        ...

    def start(self) -> None:
        """Start it; raises an `Outage` when that cannot be."""
        ...

    def ended(self) -> str | None:
        """Say how it ended, or None while it runs."""
        ...

    def stop(self, grace_s: float) -> None:
        """End it, by force when it takes longer than `grace_s`."""
        ...


@dataclass(eq=False)
class Program:
    """A part that is a command; what it says goes to `log`."""

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    folder: Path | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the command, adding to its log."""
        self._end_group()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_KEPT_BYTES:
            self.log.replace(self.log.with_suffix(".1.log"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                tether.command(self.command),
                cwd=self.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def ended(self) -> str | None:
        """Say how it ended, or None while it runs."""
        if self.process is None:
            return "was not started"
        status = self.process.poll()
        if status is None:
            return None
        return f"was ended by {signal.Signals(-status).name}" if status < 0 else f"ended with status {status}"

    def stop(self, grace_s: float) -> None:
        """Ask it to end, and end it after `grace_s` seconds."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(grace_s)
        self._end_group()

    def last_words(self) -> str:
        """Return the last line of the log that says something."""
        with suppress(OSError):
            lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()[-40:]]
            last = next((line for line in reversed(lines) if line), "It said nothing.")
            return last.removeprefix("rainmaker: ")
        return "It said nothing."

    def _end_group(self) -> None:
        """End what it may have left behind: a worker that was killed leaves its own workers."""
        if self.process is None:
            return
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass(eq=False)
class Postgres:
    """The embedded database; it comes back on the port its clients know."""

    data: Path
    name: str = "Postgres"
    port: int = field(default_factory=embedded.free_port)
    server: embedded.Server | None = None

    @property
    def url(self) -> str:
        """Where the started server answers."""
        assert self.server is not None
        return self.server.url

    def start(self) -> None:
        """Start the server and wait until it answers; raises `PostgresFailed`."""
        self.server = embedded.start(self.data, port=self.port)

    def ended(self) -> str | None:
        """Say that it ended, or None while it runs."""
        if self.server is None:
            return "was not started"
        return None if self.server.alive() else f"ended with status {self.server.process.returncode}"

    def stop(self, grace_s: float) -> None:
        """Shut it down in order."""
        if self.server is not None:
            self.server.stop(at_once=grace_s <= 0)


@dataclass
class _Trouble:
    """How often a part ended lately, and when it is tried again."""

    pause_s: float = FIRST_PAUSE_S
    started_at: float = 0.0
    retry_at: float | None = None


class Crew:
    """The parts that run, in the order in which they were started."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._parts: list[Part] = []
        self._troubles: dict[str, _Trouble] = {}

    def start(self, part: Part) -> None:
        """Start a part and keep it from now on; raises an `Outage`."""
        self._parts.append(part)
        self._troubles[part.name] = _Trouble(started_at=time.monotonic())
        part.start()

    def tend(self) -> None:
        """Start again what ended, after a pause that grows while it keeps ending."""
        for part in self._parts:
            trouble, now = self._troubles[part.name], time.monotonic()
            how = part.ended()
            if how is None:
                continue
            if trouble.retry_at is None:
                steady = now - trouble.started_at > STEADY_S
                trouble.pause_s = FIRST_PAUSE_S if steady else min(2 * trouble.pause_s, LONGEST_PAUSE_S)
                trouble.retry_at = now + trouble.pause_s
                self._say(f"{part.name} {how}; starting it again in {trouble.pause_s:.0f} s.")
            elif now >= trouble.retry_at:
                trouble.retry_at, trouble.started_at = None, now
                self._restart(part)

    def stop(self, grace_s: float) -> None:
        """Stop every part, the last one first."""
        while self._parts:
            part = self._parts[-1]
            part.stop(grace_s)
            self._parts.pop()

    def _restart(self, part: Part) -> None:
        try:
            part.start()
        except Outage as failure:
            self._say(str(failure))
