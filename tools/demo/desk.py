"""What people keep beside the mail: activities, tasks, notes and the memory of accounts."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import cycle
from random import Random
from typing import Any

from memory.db import Json
from tools.demo.cast import Cast, id_of, slots_for
from tools.demo.clockwork import Clockwork
from tools.demo.lives import Life
from tools.demo.mailroom import Filed
from tools.demo.material import MemoryEntry
from tools.demo.phrasing import Days, Phrasing
from tools.demo.shelves import Columns, Table
from tools.demo.threads import Thread

ACTIVITY: Columns = (
    "id", "company_id", "deal_id", "contact_id", "user_id", "type", "subject", "summary", "metadata", "external_id", "occurred_at", "match_status",
    "match_confidence",
)  # fmt: skip
TASK: Columns = (
    "id", "title", "description", "type", "priority", "due_at", "completed_at", "completed_by", "source", "assigned_to", "created_by", "deal_id", "company_id",
    "created_at", "updated_at",
)  # fmt: skip
NOTE: Columns = (
    "id",
    "contact_id",
    "company_id",
    "note",
    "context_type",
    "added_by",
    "added_at",
    "linked_source_type",
    "linked_source_id",
)
MEMORY: Columns = (
    "id", "company_id", "resonates", "effective_angles", "avoided", "failed_approaches", "key_concerns", "rapport_builders", "objections_encountered",
    "personal_notes", "preferred_channel", "response_pattern", "formality_level", "best_time_to_reach", "decision_style", "typical_timeline",
    "last_win_theme", "last_loss_reason", "created_at", "updated_at",
)  # fmt: skip
MEMORY_UPDATE: Columns = ("id", "account_memory_id", "field_updated", "new_value", "source", "updated_by", "created_at")

KINDS = {("email", "inbound"): "email_received", ("email", "outbound"): "email_sent", ("call", "inbound"): "call_received", ("call", "outbound"): "call_made",
         ("meeting", "outbound"): "meeting_held", ("note", "internal"): "note"}  # fmt: skip
DUE_DAYS = (-6, -3, -1, 0, 0, 1, 2, 4, 7, 11)
TASKS_PER_DEAL = 2


class Desk:
    """Writes what people keep."""

    def __init__(self, cast: Cast, phrasing: Phrasing, clock: Clockwork, rng: Random, now: datetime) -> None:
        self.cast = cast
        self.phrasing = phrasing
        self.clock = clock
        self.rng = rng
        self.now = now

    def tables(self, lives: Sequence[Life]) -> list[Table]:
        """Return tasks, notes and account memory."""
        memories, updates = self._memories(lives)
        return [
            ("tasks", TASK, [*self._open_tasks(lives), *self._done_tasks(lives)]),
            ("relationship_notes", NOTE, self._notes(lives)),
            ("account_memory", MEMORY, memories),
            ("account_memory_updates", MEMORY_UPDATE, updates),
        ]

    def activities(self, filed: Sequence[Filed], lives: Sequence[Life], threads: Sequence[Thread]) -> Table:
        """Return the timeline: what was said, how deals moved, which meetings are coming."""
        rows = [*_said(filed), *_moved(lives), *_proposed(filed), *_coming(threads, self.now)]
        return ("activities", ACTIVITY, rows)

    def _slots(self, life: Life) -> dict[str, str]:
        deal = life.deal
        return slots_for(
            self.cast, self.cast.companies[deal.entry.co], deal, self.cast.people[deal.owner], deal.entry.lead, self.rng
        )

    def _say(self, text: str, key: str, life: Life) -> str:
        return self.phrasing.say(text, key, self.clock.local(self.now), self._slots(life), Days())

    def _open_tasks(self, lives: Sequence[Life]) -> Iterable[tuple[Any, ...]]:
        dues = cycle(DUE_DAYS)
        wheels = {group: cycle(entries) for group, entries in self.cast.material.tasks.items()}
        for life in lives:
            group = _group(life)
            if group is None:
                continue
            for turn in range(TASKS_PER_DEAL if group != "customer" else 1):
                days = next(dues)
                due = self.clock.at(
                    (self.clock.local(self.now) + timedelta(days=days)).date(),
                    self.rng.randint(9, 17),
                    self.rng.choice((0, 30)),
                )
                made = min(self.now - timedelta(hours=5), due - timedelta(days=self.rng.randint(2, 6)))
                yield self._task(life, next(wheels[group]), f"open{turn}", due, None, made)

    def _done_tasks(self, lives: Sequence[Life]) -> Iterable[tuple[Any, ...]]:
        wheels = {group: cycle(entries) for group, entries in self.cast.material.tasks.items()}
        for life in lives:
            for turn, (stage, at) in enumerate(life.entered[1:4]):
                group = "early" if stage in ("qualifying", "discovery", "demo") else "late"
                due = self.clock.at_work(at + timedelta(days=2))
                if due < self.now - timedelta(days=1):
                    done = due + timedelta(hours=self.rng.randint(-20, 9))
                    yield self._task(life, next(wheels[group]), f"done{turn}", due, done, at)

    def _task(
        self,
        life: Life,
        entry: tuple[str, str, str, str],
        key: str,
        due: datetime,
        done: datetime | None,
        made: datetime,
    ) -> tuple[Any, ...]:
        kind, priority, title, about = entry
        deal = life.deal
        desk = _group(life) == "customer" and done is None
        owner = self.cast.people["carla" if desk else deal.owner].user_id
        return (
            id_of("task", deal.key, key), self._say(title, f"task.{title}", life), self._say(about, f"task.{about}", life) or None, kind, priority, due, done,
            owner if done else None, "manual", owner, owner, deal.id, id_of("company", deal.entry.co), made, done or made,
        )  # fmt: skip

    def _notes(self, lives: Sequence[Life]) -> list[tuple[Any, ...]]:
        wheel = cycle(self.cast.material.notes)
        rows: list[tuple[Any, ...]] = []
        for position, life in enumerate(lives):
            if len(life.threads) == 1 and position % 2:
                continue
            deal = life.deal
            contact = self.cast.at(deal.entry.co, "c" if position % 3 else "exec", deal.entry.lead)
            kind, note = next(wheel)
            at = self.clock.at_work(life.created_at + (life.last_at - life.created_at) * 0.7)
            about = contact.contact_id if position % 4 else None
            rows.append((
                id_of("note", deal.key), about, id_of("company", deal.entry.co), self._say(note, f"note.{note}", life), kind, id_of("user", deal.owner), at,
                "deal", deal.id,
            ))  # fmt: skip
        return rows

    def _memories(self, lives: Sequence[Life]) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        wheel = cycle(self.cast.material.memories)
        rows: list[tuple[Any, ...]] = []
        updates: list[tuple[Any, ...]] = []
        seen: set[str] = set()
        for life in lives:
            company = life.deal.entry.co
            if company in seen or len(life.threads) < TASKS_PER_DEAL:
                continue
            seen.add(company)
            memory = self._memory(life, next(wheel), lives)
            rows.append(memory)
            updates.append((
                id_of("memory_update", company), memory[0], "key_concerns", memory[6], "manual", id_of("user", life.deal.owner), memory[-1],
            ))  # fmt: skip
        return rows, updates

    def _memory(self, life: Life, entry: MemoryEntry, lives: Sequence[Life]) -> tuple[Any, ...]:
        company, at = life.deal.entry.co, life.last_at - timedelta(hours=3)
        day = life.created_at.date().isoformat()

        def said(texts: Sequence[str]) -> Any:
            return Json([self._say(text, f"memory.{text}", life) for text in texts])

        objections = [
            {"objection": what, "response_that_worked": answer, "date": day, "resolved": resolved}
            for what, answer, resolved in entry.objections
        ]
        personal = [{"note": self._say(text, f"memory.{text}", life), "date": day} for text in entry.personal]
        stages = {other.deal.entry.stage: other for other in lives if other.deal.entry.co == company}
        lost = stages.get("closed_lost")
        reason = next((thread.story.reason for thread in lost.threads if thread.story.reason), None) if lost else None
        return (
            id_of("memory", company), id_of("company", company), said(entry.resonates), said(entry.effective_angles), said(entry.avoided),
            said(entry.failed_approaches), said(entry.key_concerns), said(entry.rapport_builders), Json(objections), Json(personal), entry.channel,
            entry.pattern, entry.formality, entry.best, entry.style, entry.timeline,
            "A named person for onboarding" if "closed_won" in stages else None, reason, life.created_at, at,
        )  # fmt: skip


def _group(life: Life) -> str | None:
    stage = life.entered[-1][0]
    if stage in ("new_lead", "qualifying", "discovery", "demo"):
        return "early"
    if stage in ("data_review", "trial", "negotiation"):
        return "late"
    return None if stage == "closed_lost" else "customer"


def _said(filed: Sequence[Filed]) -> Iterable[tuple[Any, ...]]:
    for row in filed:
        kind = KINDS.get((row.message.channel, row.direction))
        if kind is None or row.noise is not None or row.company_id is None:
            continue
        message, contact = row.message, row.contact
        yield (
            id_of("activity", message.key), row.company_id, row.deal_id, contact.contact_id if contact else None, message.mailbox.user_id, kind,
            message.subject or None, " ".join(row.text.split())[:280], Json({"channel": message.channel}), f"communication:{row.id}", message.at, "matched", 1,
        )  # fmt: skip


def _moved(lives: Sequence[Life]) -> Iterable[tuple[Any, ...]]:
    for life in lives:
        deal = life.deal
        before = "new_lead"
        for stage, at in life.entered[1:]:
            kind = {"closed_won": "deal_won", "closed_converted": "deal_won", "closed_lost": "deal_lost"}.get(
                stage, "stage_change"
            )
            yield (
                id_of("activity", deal.key, stage), id_of("company", deal.entry.co), deal.id, None, id_of("user", deal.owner), kind,
                f"{deal.name}: {before.replace('_', ' ')} to {stage.replace('_', ' ')}", None, Json({"from": before, "to": stage}), None, at, "matched", 1,
            )  # fmt: skip
            before = stage


def _proposed(filed: Sequence[Filed]) -> Iterable[tuple[Any, ...]]:
    for row in filed:
        message = row.message
        file = (message.file or "").lower()
        if (
            message.deal is None
            or not message.sender.is_ours
            or not any(word in file for word in ("quote", "offer", "order form", "contract", "renewal"))
        ):
            continue
        yield (
            id_of("activity", message.key, "proposal"), row.company_id, row.deal_id, row.contact.contact_id if row.contact else None, message.mailbox.user_id,
            "proposal_sent", message.file, None, Json({"value": message.deal.value}), None, message.at, "matched", 1,
        )  # fmt: skip


def _coming(threads: Sequence[Thread], now: datetime) -> Iterable[tuple[Any, ...]]:
    for thread in threads:
        if thread.meeting_at is None or thread.meeting_at <= now or thread.company is None:
            continue
        last = thread.messages[-1]
        deal = thread.deal.id if thread.deal else None
        yield (
            id_of("activity", thread.key, "meeting"), id_of("company", thread.company), deal, None, last.mailbox.user_id, "calendar_event",
            f"Meeting: {last.subject.removeprefix('Re: ')}", None, Json({"status": "scheduled"}), None, thread.meeting_at, "matched", 1,
        )  # fmt: skip
