"""The job that reads a mailbox."""

from uuid import uuid4

import pytest

from api.jobs import kit
from tests.given import Given
from tools import ingest

LETTER = "From: ann@fir.example\nTo: dana@ours.example\nDate: Tue, 5 Mar 2024 10:11:12 +0000\nSubject: Hi\nMessage-ID: <1@x>\n\nHello\n"


class TestReadMail:
    async def test_reads_into_the_mailbox_of_the_one_who_asked(self, db, tmp_path):
        (tmp_path / "a.eml").write_text(LETTER)
        async with db.transaction() as tx:
            dana = await Given(tx).user(email="dana@ours.example")
        await kit.run_job_inline(db, "ingest.read_mail", {"path": str(tmp_path), "user_id": dana.user_id})
        async with db.reading() as tx:
            [run] = await ingest.list_runs(tx, dana)
            assert (run.status, run.written, run.user_id) == ("complete", 1, dana.user_id)

    async def test_refuses_somebody_who_is_not_there(self, db, tmp_path):
        (tmp_path / "a.eml").write_text(LETTER)
        with pytest.raises(ingest.NoSuchMailbox):
            await kit.run_job_inline(db, "ingest.read_mail", {"path": str(tmp_path), "user_id": uuid4()})
