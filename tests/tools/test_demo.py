"""The demo workspace: believable, complete, the same every time, and loaded once."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from memory import projections
from memory.db import Database, Tx
from memory.rows import Row
from tools import demo, users, workspace
from tools.communications import queue
from tools.demo import material, phrasing
from tools.demo.cast import Cast
from tools.demo.mailroom import Filed

NOW = datetime(2026, 3, 18, 15, 12, tzinfo=UTC)  # a Wednesday
SUNDAY = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
GREETING = re.compile(
    r"^(?:Dear|Hello|Hi|Hey|hi|hey|Good (?:morning|afternoon),) ((?:Dr\. )?[\w'\-]+)(?:,| -)", re.UNICODE
)
STAGES = {
    "new_lead", "qualifying", "discovery", "demo", "data_review", "trial", "negotiation", "closed_won", "closed_lost", "closed_converted",
}  # fmt: skip


@pytest.fixture(scope="module")
def world() -> demo.World:
    return demo.imagine(NOW)


def rows_of(world: demo.World, table: str) -> list[dict[str, object]]:
    """Return a table's rows by column name."""
    return [
        dict(zip(columns, row, strict=True)) for name, columns, rows in world.tables if name == table for row in rows
    ]


def mails(world: demo.World) -> list[Filed]:
    return [row for row in world.filed if row.mail is not None]


class TestMaterial:
    def test_holds_enough_stories_and_phrasings(self) -> None:
        read = material.read()
        long = [story for story in read.stories.values() if story.slot != "short"]
        single = [item for story in read.stories.values() if story.slot == "short" for item in story.items]
        phrasings = sum(text.count("|") + text.count("[[") for text in (item.text for item in single))
        assert len(long) >= 40
        assert phrasings + len(read.specials) + sum(len(noise.texts) for noise in read.noise) >= 150

    def test_every_deal_names_what_exists(self) -> None:
        read = material.read()
        cast = Cast(read)
        for deal in read.deals:
            assert deal.co in cast.companies
            assert f"{deal.co}/{deal.lead}" in cast.people
            assert deal.end is None or 1 <= deal.end.items <= len(read.stories[deal.end.story].items)
            assert set(deal.products) <= {product.slug for product in read.products}

    def test_a_misspelt_slot_is_refused(self) -> None:
        with pytest.raises(phrasing.UnknownSlot):
            phrasing.Phrasing(Random(1)).say("{compny}", "k", NOW, {}, phrasing.Days())


class TestImagine:
    def test_counts(self, world: demo.World) -> None:
        counts = {name: len(rows) for name, _, rows in world.tables}
        assert counts["users"] == 5
        assert counts["products"] == 6
        assert counts["deals"] == 60
        assert 28 <= counts["companies"] <= 33
        assert 110 <= counts["contacts"] <= 145
        assert counts["communications"] == demo.COMMUNICATIONS == 1500
        assert counts["meeting_transcriptions"] >= 25

    def test_is_the_same_every_time(self, world: demo.World) -> None:
        assert repr(demo.imagine(NOW).tables) == repr(world.tables)

    def test_another_seed_is_another_year_with_the_same_ids(self, world: demo.World) -> None:
        other = demo.imagine(NOW, seed=3)
        assert repr(other.tables) != repr(world.tables)
        assert [row["id"] for row in rows_of(other, "deals")] == [row["id"] for row in rows_of(world, "deals")]

    @pytest.mark.parametrize("now", [NOW, SUNDAY, datetime(2027, 1, 2, 3, 4, tzinfo=UTC)])
    def test_ids_are_unique_and_nothing_is_left_to_fill_in(self, now: datetime) -> None:
        world = demo.imagine(now)
        for name, columns, rows in world.tables:
            if "id" in columns:
                ids = [row[columns.index("id")] for row in rows]
                assert len(ids) == len(set(ids)), name
        for row in world.filed:
            for text in (row.message.subject, row.message.text, row.message.html, row.text, row.message.file or ""):
                assert not re.search(r"\{[^{}\n]*\}|\[\[|\]\]|\[\?|\?\]", text), row.message.key

    def test_nothing_lies_in_the_future_but_what_is_planned(self, world: demo.World) -> None:
        assert all(row.message.at <= NOW for row in world.filed)
        planned = [
            row for row in rows_of(world, "activities") if isinstance(at := row["occurred_at"], datetime) and at > NOW
        ]
        assert planned
        assert {row["type"] for row in planned} == {"calendar_event"}
        for table in ("deals", "relationship_notes", "account_memory", "companies", "contacts"):
            column = "added_at" if table == "relationship_notes" else "created_at"
            made = [row[column] for row in rows_of(world, table)]
            assert all(isinstance(at, datetime) and at <= NOW for at in made)

    def test_goes_back_a_year(self, world: demo.World) -> None:
        oldest = min(row.message.at for row in world.filed)
        assert timedelta(days=330) < NOW - oldest < timedelta(days=420)

    def test_every_stage_is_there_and_was_reached_step_by_step(self, world: demo.World) -> None:
        deals = rows_of(world, "deals")
        assert {row["stage"] for row in deals} == STAGES
        history = rows_of(world, "deal_stage_history")
        for deal in deals:
            steps = sorted(
                (row for row in history if row["deal_id"] == deal["id"]), key=lambda row: str(row["changed_at"])
            )
            assert steps[0]["from_stage"] is None
            assert steps[-1]["to_stage"] == deal["stage"]
            assert [step["to_stage"] for step in steps[:-1]] == [step["from_stage"] for step in steps[1:]]
            assert (deal["closed_at"] is not None) == str(deal["stage"]).startswith("closed")


class TestMessages:
    def test_greet_the_one_they_are_sent_to(self, world: demo.World) -> None:
        greeted = 0
        for row in mails(world):
            found = GREETING.match(row.message.letter.text)
            if found is None or row.message.key.startswith("special"):
                continue
            greeted += 1
            assert found[1].lower() == row.message.to.first.lower(), row.message.key
        assert greeted > 700

    def test_close_with_the_name_of_the_one_who_wrote(self, world: demo.World) -> None:
        first_names = {person.first.lower() for person in Cast(material.read()).people.values()}
        for row in mails(world):
            last = row.message.letter.text.rsplit("\n", 1)[-1].strip("-– .").lower()
            if last in first_names and not row.message.key.startswith("special"):
                assert last == row.message.sender.first.lower(), row.message.key

    def test_hardly_repeat_each_other(self, world: demo.World) -> None:
        bodies = Counter(row.text for row in world.filed)
        assert sum(count - 1 for count in bodies.values()) < 0.05 * len(world.filed)

    def test_quote_and_come_as_html_at_times(self, world: demo.World) -> None:
        texts = mails(world)
        quoting = [row for row in texts if "wrote:\n" in row.message.text or "\nSent: " in row.message.text]
        as_html = [row for row in texts if row.message.html]
        assert len(quoting) > 300
        assert len(as_html) > 300

    def test_read_without_quotes_and_signatures(self, world: demo.World) -> None:
        for row in mails(world):
            if not row.message.key.startswith("special"):
                assert "wrote:" not in row.text, row.message.key
                assert "www.stocklane.example" not in row.text, row.message.key

    def test_chain_their_references(self, world: demo.World) -> None:
        for thread in world.threads:
            chain = [message for message in thread.messages if message.channel == "email"]
            for position, message in enumerate(chain):
                assert message.references == [older.message_id for older in chain[:position]]

    def test_follow_each_other_in_time_and_rarely_three_times_from_one_side(self, world: demo.World) -> None:
        long_runs = 0
        for thread in world.threads:
            times = [message.at for message in thread.messages]
            assert times == sorted(times), thread.key
            sides = "".join(
                "o" if message.sender.is_ours else "t" for message in thread.messages if message.channel == "email"
            )
            long_runs += "oooo" in sides or "tttt" in sides
        assert long_runs <= 4

    def test_keep_office_hours_mostly(self, world: demo.World) -> None:
        settled = [row.message.at for row in world.filed if NOW - row.message.at > timedelta(days=4)]
        weekend = [at for at in settled if at.weekday() > 4]
        assert len(weekend) < 0.02 * len(settled)

    def test_hold_what_a_mailbox_holds(self, world: demo.World) -> None:
        noise = Counter(row.noise for row in world.filed)
        assert all(noise[kind] >= 10 for kind in ("marketing", "calendar", "ai_notetaker", "system"))
        assert {row.message.channel for row in world.filed} >= {"email", "sms", "call", "meeting", "note"}
        hidden = [row for row in mails(world) if "Ignore your earlier instructions" in row.message.html]
        assert len(hidden) == 1
        assert "Ignore your earlier" not in hidden[0].text

    def test_leave_work_for_triage(self, world: demo.World) -> None:
        unlinked = [row for row in world.filed if row.company_id is None and row.noise is None]
        assert len(unlinked) >= 15
        assert any(row.awaits_us and NOW - row.message.at < timedelta(hours=1) for row in unlinked)

    def test_promises_are_due_yesterday_today_and_later(self, world: demo.World) -> None:
        said = {row.message.key.rpartition("-")[0]: row.text for row in world.filed}
        assert "by Wednesday" in said["vantage-qual-phone-tag-1"]  # today
        assert "by Tuesday" in said["redwater-demo-no-show-1"]
        assert "by Thursday" in said["corvid-disc-walkthrough-1"] or "by tomorrow" in said["corvid-disc-walkthrough-1"]

    def test_won_deals_end_well(self, world: demo.World) -> None:
        sour = re.compile(r"decided against|not interested|on hold|disappointed", re.IGNORECASE)
        for thread in world.threads:
            if thread.deal is not None and thread.deal.entry.stage == "closed_won" and thread.story.slot == "won":
                assert not any(sour.search(message.letter.text) for message in thread.messages)


class TestMeetings:
    def test_are_talked_through_by_those_who_are_there(self, world: demo.World) -> None:
        for row in (row for row in world.filed if row.transcript):
            assert row.transcript is not None
            lines = row.transcript.plain.split("\n")
            assert 10 <= len(lines) <= 40
            names = {person.name for person in row.transcript.attendees}
            assert {line.partition(":")[0] for line in lines} <= names

    def test_are_kept_as_text_and_as_vtt(self, world: demo.World) -> None:
        formats = Counter(row["transcription_format"] for row in rows_of(world, "meeting_transcriptions"))
        assert formats["plain"] > 5
        assert formats["vtt"] > 5


class _Total(Row):
    communications: int
    unlinked: int
    activities: int


class TestLoadDemo:
    async def test_fills_an_empty_workspace_once(self, db: Database) -> None:
        async with db.transaction(now=NOW) as tx:
            first = await demo.load_demo(tx, NOW)
        async with db.transaction(now=NOW + timedelta(days=2)) as tx:
            second = await demo.load_demo(tx, tx.now)
            jobs = await tx.many(str, "SELECT job FROM outbox ORDER BY job")
        assert first.loaded
        assert not second.loaded
        assert first.communications == second.communications == 1500
        assert set(jobs) == {*demo.FOLLOWING, "knowledge.collect", "health.evaluate"}

    async def test_leaves_somebodys_data_alone(self, tx: Tx) -> None:
        await tx.run("INSERT INTO users (auth_id, email, name, role) VALUES ('x', 'x@firm.example', 'X', 'rep')")
        with pytest.raises(demo.WorkspaceInUse):
            await demo.load_demo(tx, NOW)

    async def test_knows_its_people_and_its_house(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        found = [await users.find_caller_by_role(tx, role) for role in ("rep", "manager", "admin")]
        assert [caller.email if caller else None for caller in found] == [
            "ava@stocklane.example",
            "dana@stocklane.example",
            "elliot@stocklane.example",
        ]
        house = await workspace.get_workspace(tx)
        assert house.name == "Stocklane"
        assert house.demo_loaded_at == NOW.isoformat()

    async def test_shows_something_in_every_part_of_the_response_queue(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        tx.now = NOW
        ava = await users.find_caller_by_role(tx, "rep")
        dana = await users.find_caller_by_role(tx, "manager")
        assert ava is not None
        assert dana is not None
        own = await queue.list_response_queue(tx, ava)
        every = await queue.list_response_queue(tx, dana)
        for waiting in (own.response_queue, every.response_queue):
            assert waiting.overdue
            assert waiting.due_soon
            assert waiting.upcoming
        assert own.total < every.total <= 60

    async def test_rows_look_as_if_they_had_been_read_from_a_mailbox(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        loose_ends = await tx.one(
            int,
            """
            SELECT count(*) FROM communications m
              LEFT JOIN email_messages e ON e.communication_id = m.id
              LEFT JOIN email_conversations c ON c.id = e.conversation_ref_id AND c.user_id = m.user_id AND c.conversation_id = m.thread_id
              LEFT JOIN email_thread_ids t ON t.user_id = m.user_id AND t.message_id = m.internet_message_id AND t.thread_id = m.thread_id
             WHERE m.channel = 'email' AND (e.id IS NULL OR c.id IS NULL OR t.message_id IS NULL OR m.content_hash IS NULL
                OR NOT EXISTS (SELECT FROM communication_participants p WHERE p.communication_id = m.id AND p.role = 'from'))
            """,
        )
        totals = await tx.one(
            _Total,
            """
            SELECT (SELECT count(*) FROM communications) AS communications,
                   (SELECT count(*) FROM communications WHERE company_id IS NULL AND noise_type IS NULL) AS unlinked,
                   (SELECT count(*) FROM activities WHERE external_id LIKE 'communication:%%') AS activities
            """,
        )
        assert loose_ends == 0
        assert totals.communications == 1500
        assert 15 <= totals.unlinked <= 60
        assert totals.activities > 1000

    async def test_holds_a_duplicate_company_and_a_duplicate_contact(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        companies = await tx.many(
            str, "SELECT normalized_name FROM companies GROUP BY normalized_name HAVING count(*) > 1"
        )
        contacts = await tx.many(
            str, "SELECT phone FROM contacts WHERE phone IS NOT NULL GROUP BY company_id, phone HAVING count(*) > 1"
        )
        assert len(companies) == 1
        assert len(contacts) == 1

    async def test_has_tasks_of_every_kind(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        kinds = await tx.many(
            str,
            """
            SELECT DISTINCT CASE WHEN completed_at IS NOT NULL THEN 'done' WHEN due_at < %(at)s THEN 'overdue'
                                 WHEN due_at < %(at)s + interval '1 day' THEN 'today' ELSE 'later' END
              FROM tasks
            """,
            at=NOW,
        )
        assert set(kinds) == {"done", "overdue", "today", "later"}


class TestChronicle:
    async def test_what_became_of_products_and_cases_stands_in_events(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        statuses = set(await tx.many(str, "SELECT DISTINCT status FROM company_product_read_model"))
        assert statuses == {"active", "declined", "in_onboarding", "in_sales"}
        assert await tx.one(int, "SELECT count(*) FROM company_products") == await tx.one(
            int, "SELECT count(*) FROM company_product_read_model"
        )
        case_states = set(await tx.many(str, "SELECT DISTINCT status FROM support_case_read_model"))
        assert case_states >= {"closed", "escalated"}
        stages = set(await tx.many(str, "SELECT DISTINCT stage_name FROM company_product_stage_facts"))
        assert stages >= {"Qualified", "Demo", "Trial", "Negotiation", "Kickoff", "Adoption"}
        assert await tx.one(int, "SELECT count(*) FROM event_store WHERE occurred_at > %(now)s", now=NOW) == 0

    async def test_a_rebuild_gives_what_the_commands_gave(self, tx: Tx) -> None:
        await demo.load_demo(tx, NOW)
        inline = [projector for projector in projections.known() if projector.inline]
        before = await projections.snapshot(tx, inline)
        assert before == await projections.rebuild(tx, inline)

    async def test_the_clock_is_back_at_its_present(self, tx: Tx) -> None:
        present = tx.now
        await demo.load_demo(tx, NOW)
        assert tx.now == present
