"""
Batches of mail, read by a process of its own where a second processor is there to run it.

The helper gets its orders on stdin and answers with pickled batches on stdout: a process that we started and that runs
our code, on a pipe that nobody else has. When it dies, reading goes on here from the last batch that arrived. It is
started as a program, not forked: it loads the parsers only, and a worker that may not have children can have it.
While it starts the first batch is read here, so that writing begins at once.
It ends by itself when the pipe breaks, so that nothing outlives a process that was killed.
"""

import fcntl
import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.mail import batches
from tools.mail.batches import Batch, Limits
from tools.mail.preparing import House
from tools.mail.sources import Place

PIPE_BYTES = 1 << 20
_ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def read(path: Path, start: Place | None, house: House, limits: Limits, *, helped: bool) -> Iterator[Iterator[Batch]]:
    """Open the source at the place; `helped` asks for a process of its own."""
    if not helped or (os.cpu_count() or 1) < 2:
        yield batches.read(path, start, house, limits)
        return
    helper = _Helper(path, start, house, limits)
    try:
        yield helper.read()
    finally:
        helper.close()


class _Helper:
    """The process that reads, and the place from which somebody else would have to go on."""

    def __init__(self, path: Path, start: Place | None, house: House, limits: Limits) -> None:
        self.path, self.start, self.house, self.limits = path, start, house, limits
        self.closed = False
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tools.mail.reading"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": str(_ROOT)}, start_new_session=True,
        )  # fmt: skip

    def read(self) -> Iterator[Batch]:
        """Yield a first batch that is read here while the helper starts, then what it sends; when it breaks off, the rest."""
        first = next(batches.read(self.path, self.start, self.house, self.limits), None)
        if first is None:
            return
        self.start = first.place
        with suppress(OSError, ValueError):  # it is dead already: then nothing will be received
            self._order()
        yield first
        try:
            yield from self._received()
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):  # ValueError: closed while we waited
            if not self.closed:
                yield from batches.read(self.path, self.start, self.house, self.limits)

    def _order(self) -> None:
        orders, answers = self.process.stdin, self.process.stdout
        assert orders is not None
        assert answers is not None
        _widen(answers.fileno())
        with orders:
            pickle.dump((self.path, self.start, self.house, self.limits), orders)

    def _received(self) -> Iterator[Batch]:
        answers = self.process.stdout
        assert answers is not None
        while True:
            batch: Batch | None = pickle.load(answers)  # noqa: S301 - our own child on a pipe of our own
            if batch is None:
                return
            self.start = batch.place
            yield batch

    def close(self) -> None:
        """End the process; a thread that waits for it sees the end of the pipe."""
        self.closed = True
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


def _widen(pipe: int) -> None:
    """Let the helper write well ahead, where the system can do so."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        try:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        except OSError:
            return


def _serve() -> None:
    """Read as ordered, until the end or until nobody listens."""
    answers = os.fdopen(os.dup(1), "wb", buffering=PIPE_BYTES)
    os.dup2(2, 1)
    # What is parsed dies with its batch and makes no circles: the collector would look at every mail for nothing.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    path, start, house, limits = pickle.load(sys.stdin.buffer)  # noqa: S301 - our own parent on a pipe of our own
    try:
        for batch in batches.read(path, start, house, limits):
            pickle.dump(batch, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()
        pickle.dump(None, answers)
        answers.flush()
    except BrokenPipeError:
        os._exit(1)


if __name__ == "__main__":
    _serve()
