"""Tasks: whose they are, what completing one records, and where a transcript belongs."""

from typing import Any

import pytest

from memory.db import Tx
from tools import tasks, transcript_reviews
from tools.companies import CompanyExists
from tools.tasks import (
    CompleteTaskIn,
    CreateTaskIn,
    OthersTasks,
    SubjectUnknown,
    TaskDone,
    TaskFilter,
    TaskNotFound,
    UpdateTaskIn,
)
from tools.transcript_reviews import NotTheSubject, ResolveTranscriptIn, ReviewDone


class TestListTasks:
    async def test_shows_assignee_and_creator_and_managers(self, tx: Tx, given: Any) -> None:
        me, other, manager = await given.user(), await given.user(), await given.user("manager")
        await given.task(user=me, title="mine")
        await given.task(user=other, created_by=me.user_id, title="given away")
        await given.task(user=other, title="theirs")
        shown = {who.role: (await tasks.list_tasks(tx, who, TaskFilter())).parse().tasks for who in (me, manager)}
        assert {task.title for task in shown["rep"]} == {"mine", "given away"}
        assert len(shown["manager"]) == 3
        with pytest.raises(OthersTasks):
            await tasks.list_tasks(tx, me, TaskFilter(assigned_to=other.user_id))

    async def test_tells_open_from_completed(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        await given.task(user=me, title="open")
        await given.task(user=me, title="done", completed_at=tx.now)
        for status, titles in (("open", ["open"]), ("completed", ["done"])):
            asked = TaskFilter.model_validate({"status": status})
            assert [task.title for task in (await tasks.list_tasks(tx, me, asked)).parse().tasks] == titles


class TestCreateTask:
    async def test_is_mine_due_now_and_of_the_deals_company(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        deal = await given.deal(owner=me)
        task = await tasks.create_task(tx, me, CreateTaskIn(title="Call", deal_id=deal.id))
        assert (task.assigned_to, task.due_at, task.company_id) == (me.user_id, tx.now, deal.company_id)

    async def test_refuses_a_deal_that_the_caller_does_not_see(self, tx: Tx, given: Any) -> None:
        deal = await given.deal(owner=await given.user())
        with pytest.raises(SubjectUnknown):
            await tasks.create_task(tx, await given.user(), CreateTaskIn(title="Call", deal_id=deal.id))

    async def test_only_managers_hand_tasks_out(self, tx: Tx, given: Any) -> None:
        rep, other, manager = await given.user(), await given.user(), await given.user("manager")
        body = CreateTaskIn(title="Call", assigned_to=other.user_id)
        with pytest.raises(OthersTasks):
            await tasks.create_task(tx, rep, body)
        assert (await tasks.create_task(tx, manager, body)).assigned_to == other.user_id


class TestUpdateTask:
    async def test_reopens_with_a_null(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        task = await given.task(user=me, completed_at=tx.now, completed_by=me.user_id)
        after = await tasks.update_task(tx, me, task.id, UpdateTaskIn(completed_at=None))
        assert (after.completed_at, after.completed_by, after.title) == (None, None, task.title)

    async def test_other_peoples_tasks_are_not_found(self, tx: Tx, given: Any) -> None:
        task = await given.task(user=await given.user())
        with pytest.raises(TaskNotFound):
            await tasks.update_task(tx, await given.user(), task.id, UpdateTaskIn(title="x"))


class TestCompleteTask:
    async def test_records_what_was_done_and_refuses_a_second_time(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company()
        task = await given.task(user=me, company=acme, type="call", title="Call them")
        await tasks.complete_task(tx, me, CompleteTaskIn(taskId=task.id, notes="Went well"))
        recorded = await tx.one(
            dict[str, Any], "SELECT to_jsonb(a) FROM activities a WHERE company_id = %(c)s", c=acme.id
        )
        assert (recorded["type"], recorded["subject"], recorded["body"]) == ("call_made", "Call them", "Went well")
        with pytest.raises(TaskDone):
            await tasks.complete_task(tx, me, CompleteTaskIn(taskId=task.id))
        assert await tx.one(int, "SELECT count(*) FROM activities") == 1


class TestResolveTranscript:
    async def test_matches_a_company_and_opens_a_deal(self, tx: Tx, given: Any) -> None:
        me, acme = await given.user(), await given.company("Acme")
        meeting = await given.transcript(user=me)
        task = await given.task(user=me, subject_type="transcription", subject_id=meeting.id)
        body = ResolveTranscriptIn(
            taskId=task.id, transcriptionId=meeting.id, action="match", companyId=acme.id, dealId="new"
        )
        done = await transcript_reviews.resolve_transcript(tx, me, body)
        linked = await given.fetch("meeting_transcriptions", meeting.id)
        assert (linked.company_id, linked.deal_id, linked.match_confidence) == (acme.id, done.dealId, 1)
        with pytest.raises(ReviewDone):
            await transcript_reviews.resolve_transcript(tx, me, body)

    async def test_creates_company_contacts_and_deal(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        meeting = await given.transcript(user=me)
        task = await given.task(user=me, subject_type="transcription", subject_id=meeting.id)
        data = {"companyName": "Newco", "contacts": [{"name": "Bo", "email": "bo@newco.example"}]}
        body = ResolveTranscriptIn.model_validate(
            {"taskId": task.id, "transcriptionId": meeting.id, "action": "create", "extractedData": data}
        )
        done = await transcript_reviews.resolve_transcript(tx, me, body)
        assert (done.action, done.companyName, done.contactCount) == ("created", "Newco", 1)

    async def test_a_double_company_stops_everything(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        await given.company("Newco")
        meeting = await given.transcript(user=me)
        task = await given.task(user=me, subject_type="transcription", subject_id=meeting.id)
        body = ResolveTranscriptIn.model_validate(
            {
                "taskId": task.id,
                "transcriptionId": meeting.id,
                "action": "create",
                "extractedData": {"companyName": "newco"},
            }
        )
        with pytest.raises(CompanyExists):
            async with tx.savepoint():
                await transcript_reviews.resolve_transcript(tx, me, body)
        assert (await given.fetch("tasks", task.id)).completed_at is None

    async def test_refuses_another_tasks_transcript(self, tx: Tx, given: Any) -> None:
        me = await given.user()
        meeting, other = await given.transcript(user=me), await given.transcript(user=me)
        task = await given.task(user=me, subject_type="transcription", subject_id=other.id)
        with pytest.raises(NotTheSubject):
            await transcript_reviews.resolve_transcript(
                tx,
                me,
                ResolveTranscriptIn(
                    taskId=task.id, transcriptionId=meeting.id, action="match", companyId=(await given.company()).id
                ),
            )
