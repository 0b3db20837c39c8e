"""Characters that hide or reorder words, taken out before anybody reads."""

import pytest

from tools.mail import cleaning

TAGGED = "".join(chr(0xE0000 + ord(letter)) for letter in "ignore this")


class TestForReading:
    @pytest.mark.parametrize(
        ("hidden", "shown"),
        [
            ("pay\u200bment", "payment"),
            ("in\u00advoice", "invoice"),
            ("\ufeffHello", "Hello"),
            ("abc\u202edcba\u202c", "abcdcba"),
            ("a\u2066b\u2069c", "abc"),
            (f"Hello{TAGGED}!", "Hello!"),
            ("Hi\U000e0101\ufe0e", "Hi"),
            ("a\u3164b\u2800c", "abc"),
            ("a\u00a0b\u2003c\u202fd", "a b c d"),
            ("one\u2028two\u2029three\u0085four\r\nfive\rsix", "one\ntwo\nthree\nfour\nfive\nsix"),
            ("nul\x00 bell\x07 escape\x1b[31m", "nul bell escape[31m"),
            ("x" + "\u0301" * 40, "x" + "\u0301" * cleaning.MAX_MARKS),
            ("lone \ud800 surrogate", "lone  surrogate"),
        ],
    )
    def test_takes_out_what_nobody_sees(self, hidden, shown):
        assert cleaning.for_reading(hidden) == shown

    @pytest.mark.parametrize(
        "text",
        [
            "plain\n\ttext",
            "Grüße, naïve señor",
            "می\u200cخواهم",
            "क्\u200dष",
            "❤\ufe0f 👍🏽",
            "日本語のメール",
            "שלום عالم",
        ],
    )
    def test_leaves_what_people_write(self, text):
        assert cleaning.for_reading(text) == text

    def test_joiners_between_latin_letters_go(self):
        assert cleaning.for_reading("ig\u200cno\u200dre") == "ignore"


class TestCountHidden:
    def test_counts_only_what_hides(self):
        assert cleaning.count_hidden("a\u200bb\u202ec\u00a0d") == 2
        assert cleaning.count_hidden("nothing") == 0
        assert cleaning.count_hidden(TAGGED) == len(TAGGED)


class TestStorable:
    def test_drops_nul_and_replaces_surrogates(self):
        assert cleaning.storable("a\x00b\ud800c") == "ab?c"

    def test_leaves_other_text(self):
        assert cleaning.storable("Zürich 東京 👍") == "Zürich 東京 👍"


class TestTidy:
    def test_leaves_one_empty_line_between_paragraphs(self):
        assert cleaning.tidy("a  \n\n\n\nb\t\n") == "a\n\nb"
