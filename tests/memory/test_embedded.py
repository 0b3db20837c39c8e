"""A private server: made, stopped, killed, found again, and never left behind."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from memory import embedded
from memory.embedded import PostgresFailed
from tests.databases import open_folder
from tests.processes import gone, wait_until

ROOT = Path(__file__).parents[2]
OWNER = """
import sys, time
from pathlib import Path
from memory import embedded
server = embedded.start(Path(sys.argv[1]))
print(server.process.pid, server.url, flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder with a space in its name."""
    outer = open_folder()
    data = outer / "my data"
    yield data
    if (data / "postgres").is_symlink():
        shutil.rmtree((data / "postgres").resolve())
    shutil.rmtree(outer)


def remember(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")


def remembers(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT one FROM kept").fetchone() == (1,)


class TestStart:
    def test_keeps_the_data_over_a_stop_and_over_a_kill(self, folder):
        server = embedded.start(folder)
        remember(server.url)
        server.stop()
        server = embedded.start(folder)
        assert remembers(server.url)
        server.process.kill()
        server.process.wait()
        server = embedded.start(folder)
        assert remembers(server.url)
        server.stop()
        assert not server.alive()

    def test_comes_with_vectors_and_unicode(self, folder):
        server = embedded.start(folder)
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE EXTENSION vector")
            row = connection.execute("SELECT '[1,2]'::vector <-> '[1,2]', upper('ß→é'), current_setting('timezone')")
            assert row.fetchone() == (0.0, "ß→É", "UTC")
        server.stop()

    def test_takes_the_port_it_is_given(self, folder, unused_port):
        server = embedded.start(folder, port=unused_port)
        assert f"@127.0.0.1:{unused_port}/" in server.url
        server.stop()

    def test_lets_nobody_in_without_the_password(self, folder):
        server = embedded.start(folder)
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(server.url, password="guess")
        assert (folder / "postgres.password").stat().st_mode & 0o077 == 0
        server.stop()

    def test_starts_over_when_the_first_start_was_cut_short(self, folder):
        folder.mkdir()
        (folder / "postgres").mkdir(mode=0o700)
        (folder / "postgres" / "global").mkdir()
        server = embedded.start(folder)
        server.stop()

    def test_passes_by_a_lock_whose_process_is_another_program(self, folder):
        server = embedded.start(folder)
        server.stop()
        (folder / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n")
        server = embedded.start(folder)
        server.stop()

    def test_stops_a_server_that_outlived_its_owner(self, folder):
        orphan = embedded.start(folder)
        server = embedded.start(folder)
        assert not orphan.alive()
        server.stop()

    def test_dies_with_its_owner(self, folder):
        with subprocess.Popen(
            [sys.executable, "-c", OWNER, folder], stdout=subprocess.PIPE, text=True, cwd=ROOT
        ) as owner:
            assert owner.stdout is not None
            pid, url = owner.stdout.readline().split()
            remember(url)
            owner.kill()
        assert wait_until(lambda: gone(int(pid)))
        server = embedded.start(folder)
        assert remembers(server.url)
        server.stop()

    def test_says_when_a_folder_cannot_be_used(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(PostgresFailed, match=r"does not start: (File exists|Not a directory) \(.*file"):
            embedded.start(tmp_path / "file")

    def test_repeats_what_the_server_says(self, folder):
        with pytest.raises(PostgresFailed, match=r"does not start: .*no_such_setting"):
            embedded.start(folder, {"no_such_setting": "1"})

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")
    def test_keeps_the_cluster_where_its_user_can_reach_it(self, folder):
        folder.mkdir(mode=0o700)
        server = embedded.start(folder)
        remember(server.url)
        server.stop()
        assert (folder / "postgres").is_symlink()
        server = embedded.start(folder)
        assert remembers(server.url)
        server.stop()


class TestServing:
    def test_finds_the_server_that_runs(self, folder):
        server = embedded.start(folder)
        with embedded.serving(folder) as url:
            assert url == server.url == embedded.running(folder)
        assert server.alive()
        server.stop()

    def test_starts_one_for_as_long_as_it_is_needed(self, folder):
        assert embedded.running(folder) is None
        with embedded.serving(folder) as url:
            remember(url)
            assert embedded.running(folder) == url
        assert embedded.running(folder) is None


class TestReason:
    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            ("LOG:  x\nFATAL:  could not write: No space left on device\n", "there is no space left on the disk."),
            ("LOG:  starting\nFATAL:  lock file exists\nHINT:  y\n", "FATAL:  lock file exists."),
            ("\n", "it said nothing."),
        ],
    )
    def test_is_the_line_that_tells(self, said, reason):
        assert embedded._reason(said) == reason


def test_a_tied_process_becomes_the_program_and_keeps_its_status():
    from memory import tether

    done = subprocess.run(
        tether.command(["sh", "-c", 'echo "$0 $PPID"; exit 7', "a b"], at_death=signal.SIGKILL),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.returncode) == (f"a b {os.getpid()}\n", 7)
