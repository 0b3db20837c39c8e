"""Waiting for other processes to do something."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path


def wait_until(true: Callable[[], bool], seconds: float = 20.0) -> bool:
    """Ask again every 20 ms until the answer is true or the time is up, and return the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer


def gone(pid: int) -> bool:
    """Tell whether the process has ended; one whose status nobody has asked for counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def children_of(parent: int) -> dict[int, str]:
    """Return the command lines of the processes that this one has started, by their number."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
