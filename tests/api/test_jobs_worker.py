"""Real workers, a real beat and a real broker: killed, lost and asked to end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from api.supervisor import broker
from api.supervisor.broker import Broker
from tests.processes import gone, wait_until

PROGRAM = Path(__file__).with_name("jobs_program.py")
PATIENCE_S = 60
pytestmark = pytest.mark.skipif(broker.find_program() is None, reason="there is no Redis or Valkey on this machine")


class House:
    """Processes of this test, and what they leave in the database."""

    def __init__(self, url: str, data: Path) -> None:
        self.url, self.data = url, data
        self.redis: Broker = broker.prepare(data)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.redis.start()
        self.sql("CREATE TABLE done (what text)")

    def sql(self, statement: str, *values: object) -> list[tuple]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement, values)  # pyright: ignore[reportArgumentType, reportCallIssue]
            return cursor.fetchall() if cursor.description else []

    def start(self, command: str) -> subprocess.Popen[bytes]:
        with (self.data / f"{command}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(PROGRAM), command],
                env={
                    **os.environ,
                    "DATABASE_URL": self.url,
                    "CELERY_BROKER_URL": self.redis.url,
                    "RAINMAKER_DATA": str(self.data),
                    "RAINMAKER_WORKER_CONCURRENCY": "1",
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def promise(self, job: str, payload: str = "{}") -> int:
        (row,) = self.sql("INSERT INTO outbox (job, payload) VALUES (%s, %s) RETURNING id", job, payload)
        self.sql("NOTIFY outbox")
        return row[0]

    def told(self, what: str) -> dict[str, int]:
        """Wait until a job has told how far it is, and return its process."""
        rows: list[tuple] = []

        def has_told() -> bool:
            rows[:] = self.sql("SELECT detail FROM heartbeats WHERE name = %s", what)
            return bool(rows)

        assert wait_until(has_told, PATIENCE_S), f"never told {what}\n{self.logs()}"
        return rows[0][0]

    def becomes(self, outbox_id: int, status: str) -> bool:
        return wait_until(
            lambda: self.sql("SELECT status FROM outbox WHERE id = %s", outbox_id) == [(status,)], PATIENCE_S
        )

    def count(self, what: str) -> int:
        return self.sql("SELECT count(*) FROM done WHERE what = %s", what)[0][0]

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace")[-4000:] for path in self.data.glob("*.log"))

    def close(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.redis.stop(0)


@pytest.fixture
def house(fresh_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(fresh_url, tmp_path)
    try:
        yield house
    finally:
        house.close()


class TestKillNine:
    def test_a_job_survives_its_process_and_its_worker_and_has_its_effect_once(self, house: House):
        first = house.start("work")
        house.start("beat")
        outbox_id = house.promise("tests.survive", '{"deaths": 2}')

        os.kill(house.told("attempt:1")["pid"], signal.SIGKILL)  # the process in the pool; its parent makes a new one
        second = house.told("attempt:2")
        assert second["parent"] == first.pid

        os.killpg(first.pid, signal.SIGKILL)  # the whole worker
        assert wait_until(lambda: gone(second["pid"]))
        other = house.start("work")
        assert house.told("attempt:3")["parent"] == other.pid

        assert house.becomes(outbox_id, "done"), house.logs()
        assert house.count("effect") == 1
        assert house.sql("SELECT attempts FROM outbox WHERE id = %s", outbox_id) == [(3,)]


class TestOrderlyEnd:
    def test_a_worker_that_is_asked_to_end_finishes_its_job(self, house: House):
        worker = house.start("work")
        beat = house.start("beat")
        outbox_id = house.promise("tests.finish")
        house.told("begun:1")
        worker.send_signal(signal.SIGTERM)
        house.sql("INSERT INTO done (what) VALUES ('told to end')")
        assert worker.wait(PATIENCE_S) == 0, house.logs()
        assert house.sql("SELECT status, attempts FROM outbox WHERE id = %s", outbox_id) == [("done", 1)]
        beat.send_signal(signal.SIGTERM)
        assert beat.wait(PATIENCE_S) == 0, house.logs()
        assert house.sql("SELECT name FROM heartbeats WHERE name ~ '^(worker|beat|relay):'") == []


class TestLostBroker:
    def test_what_it_carried_is_carried_out_all_the_same(self, house: House):
        house.start("beat")
        # With no worker yet, the message waits at the broker; then the broker dies and forgets it.
        outbox_id = house.promise("tests.tick")
        assert house.becomes(outbox_id, "handed"), house.logs()
        house.redis.stop(0)
        for path in (house.data / "redis").rglob("*aof*"):
            path.unlink()
        house.redis.start()
        house.start("work")
        assert house.becomes(outbox_id, "done"), house.logs()


class TestBeat:
    def test_promises_what_is_due_and_shows_life(self, house: House):
        house.start("beat")
        waiting = "SELECT count(*) FROM outbox WHERE job = 'tests.tick' AND status IN ('waiting', 'handed')"
        assert wait_until(lambda: house.sql(waiting) == [(1,)], PATIENCE_S), house.logs()
        alive = "SELECT name FROM heartbeats WHERE starts_with(name, 'beat:')"
        assert wait_until(lambda: bool(house.sql(alive)), PATIENCE_S), house.logs()
        # Nobody works: however often it is due, it is promised once.
        ticked = "SELECT count(*) FROM outbox WHERE job = 'tests.tick'"
        assert not wait_until(lambda: house.sql(ticked) != [(1,)], 3)
        house.start("work")
        assert wait_until(lambda: house.count("tick") >= 2, PATIENCE_S), house.logs()
