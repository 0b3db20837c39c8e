"""When something is due, told from the words of a message."""

import time
from datetime import UTC, datetime

import pytest

from agents.rules.dates import Calendar, find_dates, find_due

WEDNESDAY = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
NEW_YORK = Calendar.of(WEDNESDAY, "America/New_York")


def local(text: str, calendar: Calendar = NEW_YORK) -> str | None:
    """The moment that the text names, on the sender's clock."""
    due = find_due(text, calendar)
    return due.at.astimezone(calendar.zone).strftime("%Y-%m-%d %H:%M") if due and due.at else None


class TestFindDue:
    @pytest.mark.parametrize(
        ("words", "moment"),
        [
            ("today", "2026-03-04 23:59"),
            ("tomorrow morning", "2026-03-05 12:00"),
            ("by Friday", "2026-03-06 23:59"),
            ("on Friday at 3pm", "2026-03-06 15:00"),
            ("by noon on Friday", "2026-03-06 12:00"),
            ("next Friday", "2026-03-13 23:59"),
            ("a week from Friday", "2026-03-13 23:59"),
            ("in a fortnight", "2026-03-18 23:59"),
            ("Monday next week", "2026-03-09 23:59"),
            ("by Wednesday", "2026-03-11 23:59"),
            ("next week", "2026-03-11 23:59"),
            ("early next week", "2026-03-10 23:59"),
            ("later this week", "2026-03-06 23:59"),
            ("by the end of the week", "2026-03-06 23:59"),
            ("by end of month", "2026-03-31 23:59"),
            ("by the end of the quarter", "2026-03-31 23:59"),
            ("by the end of next quarter", "2026-06-30 23:59"),
            ("beginning of next month", "2026-04-05 23:59"),
            ("in two days", "2026-03-06 23:59"),
            ("within 3 business days", "2026-03-09 23:59"),
            ("in 30 minutes", "2026-03-04 10:30"),
            ("on 3 April", "2026-04-03 23:59"),
            ("March 13th", "2026-03-13 23:59"),
            ("13 January", "2027-01-13 23:59"),
            ("by the 15th", "2026-03-15 23:59"),
            ("by EOD", "2026-03-04 17:00"),
            ("by close of business Friday", "2026-03-06 17:00"),
            ("on 3/12", "2026-03-12 23:59"),
        ],
    )
    def test_resolves_against_the_day_of_the_message(self, words: str, moment: str):
        assert local(f"I will send it {words}.") == moment

    @pytest.mark.parametrize(
        ("words", "moment"),
        [
            ("bis Freitag", "2026-03-06 23:59"), ("übermorgen", "2026-03-06 23:59"), ("am 12.05.2026", "2026-05-12 23:59"),
            ("d'ici vendredi", "2026-03-06 23:59"), ("la semaine prochaine", "2026-03-11 23:59"),
            ("mañana", "2026-03-05 23:59"), ("antes del 5 de abril", "2026-04-05 23:59"),
        ],
    )  # fmt: skip
    def test_knows_the_days_of_other_languages(self, words: str, moment: str):
        assert local(words) == moment

    def test_counts_days_where_the_sender_is(self):
        late = datetime(2026, 3, 5, 3, 0, tzinfo=UTC)

        assert local("today", Calendar.of(late, "America/New_York")) == "2026-03-04 23:59"
        assert local("today", Calendar.of(late, "Europe/Berlin")) == "2026-03-05 23:59"

    def test_reads_an_ambiguous_day_as_the_zone_does_and_not_at_all_without_one(self):
        assert local("by 03/04", Calendar.of(datetime(2026, 2, 1, tzinfo=UTC), "America/Chicago")) == "2026-03-04 23:59"
        assert local("by 03/04", Calendar.of(datetime(2026, 2, 1, tzinfo=UTC), "Europe/London")) == "2026-04-03 23:59"
        undecided = find_due("by 03/04", Calendar.of(datetime(2026, 2, 1, tzinfo=UTC), "UTC"))
        assert undecided is not None
        assert (undecided.text, undecided.at) == ("by 03/04", None)
        assert local("by 25/03", Calendar.of(datetime(2026, 2, 1, tzinfo=UTC), "UTC")) == "2026-03-25 23:59"

    def test_keeps_the_words_of_what_has_no_day(self):
        due = find_due("I will send it before our call.", NEW_YORK)

        assert due is not None
        assert (due.text, due.at, due.deadline) == ("before our call", None, True)

    def test_prefers_the_limit_to_a_mere_date_and_what_follows_the_promise(self):
        due = find_due("We met on Monday and I will send it by Thursday.", NEW_YORK, after=17)

        assert due is not None
        assert due.text == "by Thursday"

    def test_takes_no_meeting_that_lies_behind_for_a_limit(self):
        assert find_due("Following our meeting on Monday, I will prepare a proposal.", NEW_YORK) is None
        assert local("Following our call I will send it by Friday.") == "2026-03-06 23:59"

    @pytest.mark.parametrize(
        "text",
        ["last Friday", "three days ago", "every Monday", "version 2.3 of it", "2/3 of users", "24/7 support", "I may send 5 units",
         "10.5%", "the sun is out", "on 31 February", "an unknown 45/99"],
    )  # fmt: skip
    def test_finds_nothing_in_what_is_past_or_no_date(self, text: str):
        assert find_dates(text, NEW_YORK) == ()

    def test_takes_an_unknown_zone_for_utc(self):
        assert Calendar.of(WEDNESDAY, "Mars/Olympus").zone.key == "UTC"

    def test_stays_quick_on_hostile_words(self):
        began = time.perf_counter()
        find_dates("by the " * 30_000, NEW_YORK)
        find_dates("1/" * 30_000, NEW_YORK)
        assert time.perf_counter() - began < 1
