"""Quoted replies: what somebody wrote, apart from what the mail repeats; gold cases, odd cases, hostile cases."""

import time
from pathlib import Path

import pytest
import yaml

from tools.mail import cleaning, replies

GOLD = yaml.safe_load((Path(__file__).parent / "gold" / "replies.yaml").read_text())
MEGABYTE = 1_000_000
LIMIT_S = 0.1


def trimmed(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip().split("\n"))


class TestSplit:
    @pytest.mark.parametrize("case", GOLD, ids=[case["id"] for case in GOLD])
    def test_finds_what_the_sender_wrote(self, case):
        reply = replies.split(case["text"], case.get("subject", ""))
        assert trimmed(reply.text) == trimmed(case["own"])
        assert reply.forwarded is case.get("forward", False)

    def test_has_sixty_gold_cases_in_twelve_languages(self):
        assert len(GOLD) >= 60
        assert len({case["id"].partition("-")[0] for case in GOLD}) >= 12
        assert len({case["id"] for case in GOLD}) == len(GOLD)

    def test_keeps_a_mail_that_is_only_a_quoted_part_without_marks(self):
        text = "From: Ann <ann@fir.example>\nSent: 1 March 2024 10:00\nTo: Bo\nSubject: Hi\n\nThe offer stands."
        reply = replies.split(text)
        assert reply.forwarded
        assert reply.text == text

    def test_leaves_nothing_of_an_answer_without_words(self):
        text = "From: Ann <ann@fir.example>\nSent: 1 March 2024 10:00\nTo: Bo\nSubject: Hi\n\nThe offer stands."
        assert replies.split(text, "Re: Hi").text == ""

    def test_tells_that_an_answer_is_interleaved(self):
        assert replies.split("> one?\nyes\n> two?\nno").interleaved
        assert not replies.split("yes\n\nOn 1/2/2024 10:00, Ann wrote:\n> one?").interleaved

    def test_hands_the_history_over_whole(self):
        reply = replies.split("yes\n\nOn 1/2/2024 10:00, Ann wrote:\n> one?\n> two?")
        assert reply.quoted == "On 1/2/2024 10:00, Ann wrote:\n> one?\n> two?"

    def test_hands_the_signature_over(self):
        assert replies.split("Yes.\n\n-- \nIvo\n+44 20 7946 0011").signature == "-- \nIvo\n+44 20 7946 0011"


class TestStripQuotes:
    def test_leaves_the_signature(self):
        text = "Yes.\n\nSent from my iPhone\n\nOn 1/2/2024 10:00, Ann wrote:\n> one?"
        assert replies.strip_quotes(text) == "Yes.\n\nSent from my iPhone"

    @pytest.mark.parametrize(
        "attribution",
        [
            "On 5 Mar 2024, at 10:11, Ann Fir <ann@fir.example> wrote:",
            "ti 5. maalisk. 2024 klo 10.11 Matti (matti@fir.example) kirjoitti:",
            "Dne út 5. 3. 2024 10:11 uživatel Jan <jan@fir.example> napsal:",
            "Στις Τρί 5 Μαρ 2024 στις 10:11 π.μ., ο χρήστης Άννα <anna@fir.example> έγραψε:",
            "Vào 14:24 8 tháng 6, 2024, Hùng <hung@fir.example> đã viết:",
            "Pada tanggal Sel, 5 Mar 2024 pukul 10.11 Budi <budi@fir.example> menulis:",
            "Anna <anna@fir.example> ezt írta (időpont: 2024. márc. 5., K, 10:11):",
            "У вт, 5 бер. 2024 р. о 10:11 Іван <ivan@fir.example> пише:",
            "În mar., 5 mar. 2024 la 10:11, Ana <ana@fir.example> a scris:",
            "Понедельник, 11 марта 2024, 10:11 +03:00 от Иван <ivan@fir.example>:",
            "2024-10-17 11:28 GMT+03:00 Ann <ann@fir.example>:",
        ],
    )
    @pytest.mark.parametrize("mark", ["> ", ""])
    def test_knows_attributions_with_and_without_quote_marks(self, attribution, mark):
        assert replies.strip_quotes(f"Own words.\n\n{attribution}\n\n{mark}Their words.") == "Own words."

    @pytest.mark.parametrize(
        "text",
        [
            "As Peter said on 4 May:\nwe wait.",
            "Prices:\n- 10 seats: 90\n- 50 seats: 400",
            "----- Fill in below -----\n\nName: Ann",
            ">>>>> SALE <<<<<\nEverything must go",
            "1. First, at 10:00\n2. Second, at 11:00\n\nSubject to change:",
            "To: be decided\nWe will see.",
        ],
    )
    def test_leaves_what_is_no_quote(self, text):
        assert replies.strip_quotes(text) == text


def filled(line: str) -> str:
    return line * (MEGABYTE // len(line) + 1)


HOSTILE = {
    "quote marks": filled(">\n"),
    "quoted lines": filled("> hello there\n"),
    "one line": "a" * MEGABYTE,
    "one line of marks": ">" * MEGABYTE,
    "spaces": " " * MEGABYTE,
    "lines of spaces": filled(" " * 390 + "\n"),
    "line ends": filled("\n"),
    "carriage returns": "\r" * MEGABYTE,
    "attributions without end": filled("On Mon, 3 Mar 2024 Bob wrote\n"),
    "attributions that go on": filled("On Mon, 3 Mar 2024 Bob wrote: x\n"),
    "attributions on one line": filled("On Mon, Mar 3 2024 10:00 "),
    "attributions behind words": filled("x On Mon, Mar 3 2024 a@b.example wrote:" * 8 + "\n"),
    "attributions in French": filled("Le lun. 3 mars 2024 à 10:11, x a écrit \n"),
    "attributions in Chinese": filled("2024年3月3日 写道\n"),
    "senders": filled("From: x\n"),
    "senders with gaps": filled("From: x\n\n"),
    "quoted header blocks": filled("> From: a@b.example\n>> Sent: 1\n"),
    "header blocks": filled("From: a@b.example\nTo: d\n\n"),
    "labels": filled("Aaaa bbb ccc: x\n"),
    "rules": filled("-" * 390 + "\n"),
    "one long rule": "_" * MEGABYTE,
    "separators": filled("-----Original Message-----\n"),
    "half separators": filled("---------- Forwarded\n"),
    "dashes and verbs": filled("-- x wrote " + "y " * 70 + "\n"),
    "alternating": filled("a\n>\n"),
    "broken links": filled("> (http://x\ny)\n"),
    "signatures": filled("-- \n"),
    "client footers": filled("Sent from my iPhone\n"),
    "closings": filled("Best regards,\nBob\n"),
    "disclaimers": filled("intended only for \n\n"),
    "tables": filled("To\tx\ncc\n"),
    "addresses": filled("On 2024 " + "a@" * 150 + "\n"),
}


class TestTime:
    @pytest.mark.parametrize("shape", HOSTILE)
    def test_a_hostile_megabyte_takes_a_tenth_of_a_second(self, shape):
        took = []
        for _ in range(5):
            start = time.process_time()
            replies.split(cleaning.for_reading(HOSTILE[shape]), "Re: x")
            took.append(time.process_time() - start)
            if took[-1] <= LIMIT_S:
                break
        assert min(took) <= LIMIT_S

    def test_loses_no_own_word_beyond_the_lines_that_are_looked_at(self):
        text = "word\n" * (replies.MAX_LINES + 500) + "last"
        assert replies.strip_quotes(text) == text
