"""Promises: what is one, whose it is, and above all what is none."""

from datetime import UTC, datetime

import pytest

from agents.rules.dates import Calendar
from agents.rules.promises import Promise, find_promises
from agents.rules.sentences import split
from agents.rules.speakers import by_sender, by_speaker

CALENDAR = Calendar.of(datetime(2026, 3, 4, 15, 0, tzinfo=UTC), "America/New_York")


def promised(text: str) -> list[Promise]:
    return find_promises(by_sender(split(text), "us"), CALENDAR)


class TestFindPromises:
    @pytest.mark.parametrize(
        ("sentence", "text", "due"),
        [
            ("I'll send you the quote by Friday.", "Send you the quote by Friday", "by Friday"),
            ("We will get back to you tomorrow with the numbers.", "Get back to you tomorrow with the numbers", "tomorrow"),
            ("Thanks, will send the draft tomorrow.", "Send the draft tomorrow", "tomorrow"),
            ("Let me check with finance and get back to you.", "Let me check with finance and get back to you", None),
            ("Our legal team will review the agreement by Thursday.", "Our legal team will review the agreement by Thursday", "by Thursday"),
            ("You'll have the contract by Friday.", "You'll have the contract by Friday", "by Friday"),
            ("I can get you the paperwork by Monday.", "Get you the paperwork by Monday", "by Monday"),
            ("I'm going to loop in our engineer.", "Loop in our engineer", None),
            ("I will check if our team can support that.", "Check if our team can support that", None),
            ("By tomorrow I will share the figures.", "Share the figures", "By tomorrow"),
            ("Sure, I will let you know by Wednesday, but please confirm the seats.", "Let you know by Wednesday", "by Wednesday"),
            ("Ich schicke Ihnen das Angebot bis Freitag.", "Ich schicke Ihnen das Angebot bis Freitag", "bis Freitag"),
            ("Je vous enverrai le devis demain.", "Je vous enverrai le devis demain", "demain"),
            ("Our IT lead Tomas will set up the login by Thursday.", "Our IT lead Tomas will set up the login by Thursday", "by Thursday"),
            ("I'll let the team know on Monday, but can you confirm the seats?", "Let the team know on Monday", "on Monday"),
            ("We will name the project lead by Monday.", "Name the project lead by Monday", "by Monday"),
            ("Le enviaré la propuesta mañana.", "Le enviaré la propuesta mañana", "mañana"),
        ],
    )  # fmt: skip
    def test_finds_what_the_sender_will_do(self, sentence: str, text: str, due: str | None):
        [found] = promised(sentence)

        assert (found.text, found.due and found.due.text, found.direction) == (text, due, "we_promised")
        assert found.confidence >= 0.8

    @pytest.mark.parametrize(
        "sentence",
        [
            "If you sign by Friday, I'll include the onboarding.",
            "Wenn Sie unterschreiben, schicken wir die Ware bis Freitag.",
            "Will you send the quote?",
            "Could you send the quote by Friday?",
            "Please send the contract by Friday.",
            "You will need to send the form by Friday.",
            "I won't be able to send it.",
            "I will not send this again.",
            "We will never share your data.",
            "I sent the quote yesterday.",
            "I was going to send it on Friday.",
            "I said I'd send it by Friday.",
            "You said you will send it by Friday.",
            "They will send it on Friday.",
            "I'll be out of the office until Monday.",
            "I will be in London next week.",
            "I look forward to hearing from you.",
            "I will need your tax number by Friday.",
            "I would send it but I can't.",
            "We'd love to send you a sample.",
            "Let me know if you have questions.",
            "I'll let you know if anything changes.",
            "I'm not sure when I will send it.",
            "I doubt we will finish by Friday.",
            "I might send it tomorrow.",
            "Winners will be notified by Friday.",
            "I'll be honest, this is too expensive.",
            "We will have to wait until Friday.",
            "I owe you an apology.",
            "Our team will love this.",
            "Our team will need two weeks.",
            "My manager will be out until Monday.",
            "If we sign, can you promise that we will ship by Friday?",
        ],
    )
    def test_finds_nothing_in_what_only_looks_like_one(self, sentence: str):
        assert promised(sentence) == []

    def test_finds_two_in_one_sentence_each_with_its_own_day(self):
        first, second = promised("I'll send the deck today and we will set up the pilot next week.")

        assert (first.text, first.due and first.due.text) == ("Send the deck today", "today")
        assert (second.text, second.due and second.due.text) == ("Set up the pilot next week", "next week")

    def test_is_less_sure_of_what_is_only_attempted(self):
        [sure] = promised("I'll send it by Friday.")
        [trying] = promised("I'll try to send it by Friday.")

        assert trying.confidence < 0.85 <= sure.confidence

    def test_leaves_quoted_history_alone(self):
        assert (
            promised(
                "Thanks!\n\nOn Mon, 2 Mar 2026 at 10:00, Dana <d@x.example> wrote:\n> I'll send the quote by Friday."
            )
            == []
        )
        assert promised("Fine.\n> I'll send the quote by Friday.\nBest,\nJo") == []

    def test_gives_the_words_of_a_conversation_to_their_speaker(self):
        text = "Jo Park: I will send the contract tomorrow.\nDana Lee: Great. I will ask our lawyer today."
        ours, theirs = find_promises(by_speaker(split(text), "us", ["Jo Park"], ["Dana Lee"]), CALENDAR)

        assert (ours.direction, ours.who) == ("we_promised", "Jo Park")
        assert (theirs.direction, theirs.who) == ("they_promised", "Dana Lee")
