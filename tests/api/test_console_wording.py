"""How values, quotes, templates and differences are written on a page."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from api.console import wording
from api.console.pages.prompts import rows_of
from tools.ai_prompts.diffs import diff_lines


class TestNumbers:
    @pytest.mark.parametrize(
        ("amount", "said"),
        [(None, "–"), (0, "$0"), (0.0000042, "$0.000004"), (0.0123, "$0.0123"), (1234.5, "$1,234.50")],
    )
    def test_says_money_as_finely_as_it_matters(self, amount: float | None, said: str) -> None:
        assert wording.usd(amount) == said

    @pytest.mark.parametrize(("ms", "said"), [(None, "–"), (12, "12 ms"), (1210, "1.21 s"), (61_000, "1 min 1 s")])
    def test_says_durations_in_one_unit(self, ms: float | None, said: str) -> None:
        assert wording.took(ms) == said

    def test_says_moments_in_utc(self) -> None:
        assert wording.moment(datetime(2026, 3, 1, 9, 5, tzinfo=UTC)) == "2026-03-01 09:05:00"


class TestQuoted:
    def test_marks_quotes_whatever_lies_between_their_words(self) -> None:
        marked = wording.quoted("We will\n  send <it> by Friday.", ["will send", "by friday"])
        assert marked == "We <mark>will\n  send</mark> &lt;it&gt; <mark>by Friday</mark>."

    def test_marks_overlapping_quotes_once(self) -> None:
        assert wording.quoted("one two three", ["one two", "two three"]) == "<mark>one two</mark><mark> three</mark>"

    @given(st.text(), st.lists(st.text(max_size=10), max_size=4))
    def test_changes_no_word_and_lets_no_markup_in(self, text: str, quotes: list[str]) -> None:
        marked = wording.quoted(text, quotes)
        assert marked.replace(Markup("<mark>"), "").replace(Markup("</mark>"), "").unescape() == text


class TestTemplate:
    def test_marks_variables_and_escapes_the_rest(self) -> None:
        assert wording.template("<b> {{ name }}") == '&lt;b&gt; <var class="slot">{{ name }}</var>'

    def test_marks_what_was_put_in(self) -> None:
        filled = wording.filled(
            "Dear {{ name }}, {{ words }}!", "Dear Ann, <<fence>>x<<end>>!", {"name": "Ann", "words": "x"}
        )
        assert filled == (
            'Dear <span class="value" title="name">Ann</span>, '
            '<span class="value" title="words">&lt;&lt;fence&gt;&gt;x&lt;&lt;end&gt;&gt;</span>!'
        )

    def test_marks_what_nobody_has(self) -> None:
        filled = wording.filled("a {{ b }}", "a {{ b }}", {})
        assert filled == 'a <span class="value missing" title="b">{{ b }}</span>'

    @given(st.text(max_size=40), st.text(max_size=40), st.dictionaries(st.sampled_from("ab"), st.text(max_size=5)))
    def test_changes_no_word_of_what_is_read(self, template: str, rendered: str, values: dict[str, str]) -> None:
        for words in (template, template + "{{ a }}" + rendered):
            shown = wording.filled(words, rendered, values)
            assert shown.striptags() == Markup(wording.filled("", rendered, {})).striptags()


class TestDifferences:
    def test_marks_the_words_that_differ_in_a_line(self) -> None:
        assert wording.changed_words("word for word, <b>", "verbatim, <b>") == (
            "<del>word for word</del>, &lt;b&gt;",
            "<ins>verbatim</ins>, &lt;b&gt;",
        )

    def test_lays_a_changed_line_beside_what_it_became(self) -> None:
        rows = rows_of(diff_lines(["one", "two", "three"], ["one", "2", "three", "four"]))
        assert [(row["kind"], str(row["left"]), str(row["right"])) for row in rows] == [
            ("same", "one", "one"),
            ("changed", "<del>two</del>", "<ins>2</ins>"),
            ("same", "three", "three"),
            ("changed", "", "four"),
        ]

    def test_folds_what_did_not_change_and_keeps_three_lines_around(self) -> None:
        before = [f"line {number}" for number in range(30)]
        rows = rows_of(diff_lines(before, [*before[:15], "new", *before[15:]]))
        assert [row["kind"] for row in rows] == ["folded", *["same"] * 3, "changed", *["same"] * 3, "folded"]
        assert [row["count"] for row in rows if row["kind"] == "folded"] == [12, 12]

    @given(st.lists(st.sampled_from("abc"), max_size=30), st.lists(st.sampled_from("abc"), max_size=30))
    def test_loses_no_line(self, before: list[str], after: list[str]) -> None:
        shown = [inner for row in rows_of(diff_lines(before, after)) for inner in row.get("rows", [row])]
        assert [row["before"].text for row in shown if row["before"]] == before
        assert [row["after"].text for row in shown if row["after"]] == after
