"""
Processes that never outlive the one that started them.

This file is also the program that such a process starts as: it asks the kernel for a signal at its parent's death,
steps down to another user when told to, and becomes the real program. A fork hook could do the same, but hooks
run Python between fork and exec and may hang when another thread holds a lock.

The kernel watches the *thread* that started the process: start from one that lives as long as the owner.
"""

import ctypes  # here, because the interpreter may be out of reach after the change of user
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PR_SET_PDEATHSIG = 1


class Account(NamedTuple):
    """The user a process runs as."""

    uid: int
    gid: int


def command(
    program: Sequence[str | Path], *, at_death: signal.Signals = signal.SIGTERM, account: Account | None = None
) -> list[str]:
    """Return the command line that runs `program` tied to this process, as `account` when that is given."""
    uid, gid = account or (-1, -1)
    tie = [os.getpid(), int(at_death), uid, gid]
    return [sys.executable, "-I", "-S", __file__, *map(str, tie), *map(str, program)]


def follow_parent(parent: int, at_death: signal.Signals) -> None:
    """Have this process signalled when its parent dies (Linux; elsewhere only an orderly stop ends it)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(at_death), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked
        os.kill(os.getpid(), at_death)


def main(arguments: Sequence[str]) -> None:
    """Become the program named after the four numbers of the tie."""
    parent, at_death, uid, gid = map(int, arguments[:4])
    program = list(arguments[4:])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of user: it clears what was asked before.
    follow_parent(parent, signal.Signals(at_death))
    try:
        os.execvp(program[0], program)  # noqa: S606 - replacing this process is the purpose
    except OSError as failure:
        sys.exit(f"{program[0]}: {failure.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
