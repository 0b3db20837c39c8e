"""What would go wrong later, said first and in one sentence."""

import errno
import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from memory.errors import Outage
from memory.settings import Settings

OPENAI = "https://api.openai.com/v1"
NEEDED_BYTES = 300_000_000
KEY_TIMEOUT_S = 4.0


class PortInUse(Outage):
    """Port {port} is in use already; stop what listens there, or choose another with RAINMAKER_PORT."""


class AddressUnusable(Outage):
    """Rainmaker cannot listen on {host}:{port}: {reason}."""


class DiskFull(Outage):
    """There is too little space for {folder}: {free} MB are left, {needed} MB are needed."""


class FolderUnusable(Outage):
    """The data folder {folder} cannot be used: {reason}."""


class RunsAlready(Outage):
    """Rainmaker runs in {folder} already (process {pid}); stop it, or choose another folder with RAINMAKER_DATA."""


class KeyRefused(Outage):
    """The model server at {place} refuses OPENAI_API_KEY; correct it, or unset it to let the rules answer."""


@contextmanager
def only_one(data: Path) -> Iterator[None]:
    """
    Hold the data folder for this process; the kernel lets go of it however the process ends.

    Raises `FolderUnusable`, `RunsAlready`.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / "lock").open("a+")
    except OSError as failure:
        raise FolderUnusable(folder=data, reason=_words(failure)) from failure
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise RunsAlready(folder=data, pid=lock.read().strip() or "unknown") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def check_disk(data: Path) -> None:
    """Raise `DiskFull` when the data folder has no room for what a start writes."""
    free = shutil.disk_usage(data).free
    if free < NEEDED_BYTES:
        raise DiskFull(folder=data, free=free // 1_000_000, needed=NEEDED_BYTES // 1_000_000)


def check_port(host: str, port: int) -> None:
    """Raise `PortInUse` or `AddressUnusable` when nobody could listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            if failure.errno == errno.EADDRINUSE:
                raise PortInUse(port=port) from None
            raise AddressUnusable(host=host, port=port, reason=_words(failure)) from None


def check_model(settings: Settings) -> str | None:
    """
    Ask the model server for its list of models, and return what is wrong but can be lived with.

    Raises `KeyRefused`.
    """
    if settings.model_engine == "rules":
        return None
    place = (settings.openai_base_url or OPENAI).rstrip("/")
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = httpx.get(f"{place}/models", headers=headers, timeout=KEY_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL, UnicodeEncodeError) as failure:
        return f"The model server at {place} does not answer ({failure or type(failure).__name__}); the rules step in."
    if answer.status_code in (401, 403):
        raise KeyRefused(place=place)
    return None


def _words(failure: OSError) -> str:
    return (failure.strerror or str(failure)).lower()
