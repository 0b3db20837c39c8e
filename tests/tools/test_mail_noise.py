"""Noise: which mail nobody waits for an answer to; threads: which mails belong together."""

import itertools

import pytest

from tools.mail import boilerplate, noise, signatures, threads
from tools.mail.messages import Address, Attachment, Mail


def mail(sender: str = "ann@fir.example", **values) -> Mail:
    return Mail("rfc822", sender=Address(sender), **values)


class TestKindOf:
    @pytest.mark.parametrize(
        ("given", "text", "kind"),
        [
            (mail(), "Can we talk?", None),
            (mail("fred@fireflies.ai"), "", "ai_notetaker"),
            (mail("notes@mail.otter.ai"), "", "ai_notetaker"),
            (mail(calendar_method="REQUEST"), "", "calendar"),
            (mail("no-reply@calendly.com"), "", "calendar"),
            (
                mail(subject="Accepted: Demo", attachments=[Attachment("invite.ics", "text/calendar", 10)]),
                "",
                "calendar",
            ),
            (mail(subject="Accepted: your offer"), "We accept.", None),
            (mail(subject="Invitation: dinner"), "Come along", None),
            (mail(headers={"list-unsubscribe": "<x>"}), "", "marketing"),
            (mail(headers={"list-unsubscribe": "<x>", "list-post": "<y>"}), "", None),
            (mail(headers={"precedence": "bulk"}), "", "marketing"),
            (mail("newsletter@fir.example"), "News\n\nUnsubscribe", "marketing"),
            (mail("ann@fir.example"), "Please unsubscribe me", None),
            (mail("noreply@fir.example"), "Your password was changed", "system"),
            (mail("mailer-daemon@fir.example"), "", "system"),
            (mail(headers={"auto-submitted": "auto-replied"}), "", "system"),
            (mail(headers={"auto-submitted": "no"}), "Hello", None),
            (mail(subject="Automatische Antwort: Angebot"), "Ich bin im Urlaub", "system"),
            (mail(subject="Undeliverable: Offer"), "", "system"),
            (Mail("graph"), "", None),
        ],
    )
    def test_tells_people_from_machines(self, given, text, kind):
        assert noise.kind_of(given, text) == kind

    def test_the_workspace_names_its_notetakers(self):
        assert noise.kind_of(mail("bot@scribe.example"), notetakers=("scribe.example",)) == "ai_notetaker"


def thread_of(*mails: tuple[str, str, list[str]]) -> list[set[str]]:
    """Join mails given as (id, conversation, references) in this order and return the sets that came of it."""
    joined = threads.Threads({})
    placed = {}
    for name, conversation, references in mails:
        given = Mail(
            "graph",
            message_id=name,
            conversation_id=conversation,
            references=references,
            in_reply_to=references[-1] if references else "",
        )
        placed[name] = joined.join(threads.keys_of(given, name))
    roots: dict[str, set[str]] = {}
    for name, thread in placed.items():
        roots.setdefault(joined.root(thread), set()).add(name)
    return sorted(roots.values(), key=sorted)


class TestThreads:
    CHAIN = (("a", "", []), ("b", "", ["a"]), ("c", "", ["b"]), ("d", "", ["c"]))

    @pytest.mark.parametrize(
        "order", list(itertools.permutations(CHAIN)), ids=lambda order: "".join(item[0] for item in order)
    )
    def test_a_chain_of_answers_is_one_thread_in_every_order(self, order):
        assert thread_of(*order) == [{"a", "b", "c", "d"}]

    def test_references_bridge_a_mail_that_never_came(self):
        assert thread_of(("a", "", []), ("c", "", ["a", "b"])) == [{"a", "c"}]

    def test_a_conversation_holds_together_without_references(self):
        assert thread_of(("a", "C", []), ("b", "C", []), ("c", "D", [])) == [{"a", "b"}, {"c"}]

    def test_a_mail_cannot_glue_two_threads_by_naming_them(self):
        assert thread_of(("a", "", []), ("b", "", []), ("evil", "", ["a", "b"])) == [{"a"}, {"b", "evil"}]

    def test_a_parent_that_both_wait_for_makes_them_one(self):
        assert thread_of(("b", "", ["p"]), ("a", "", []), ("p", "", ["a"])) == [{"a", "b", "p"}]

    def test_a_very_long_list_of_references_is_cut(self):
        given = Mail("rfc822", message_id="x", references=[str(number) for number in range(1000)])
        assert len(threads.keys_of(given, "x")) <= threads.MAX_IDS + 2


class TestFingerprint:
    def test_is_the_same_for_the_same_mail_only(self):
        one = threads.fingerprint(mail(subject="x", text="y"))
        assert one == threads.fingerprint(mail(subject="x", text="y"))
        assert one != threads.fingerprint(mail(subject="x", text="z"))


class TestBoilerplate:
    @pytest.mark.parametrize(
        ("text", "left"),
        [
            ("[EXTERNAL]\n\nHello Ann", "Hello Ann"),
            (
                "CAUTION: External email. Think before you click.\nHello Ann, can we talk?\nBo",
                "Hello Ann, can we talk?\nBo",
            ),
            ("WARNUNG: Diese Nachricht kommt von einem externen Absender.\n\nGuten Tag", "Guten Tag"),
            ("Hello\n\nYou are receiving this email because you signed up. Unsubscribe here.", "Hello"),
            ("Hello\n\n_____\nDiese E-Mail enthält vertrauliche Informationen.", "Hello"),
            ("Hello\nBo\nPlease consider the environment before printing this e-mail.", "Hello\nBo"),
            ("Our contract is confidential, is it not?", "Our contract is confidential, is it not?"),
            ("Warning signs in the numbers.\n\nCall me.", "Warning signs in the numbers.\n\nCall me."),
        ],
    )
    def test_goes_and_words_stay(self, text, left):
        assert boilerplate.strip(text) == left

    def test_a_mail_of_nothing_else_stays(self):
        text = "If you received this message in error, delete it.\n\nThis e-mail may contain confidential information."
        assert boilerplate.strip(text) == text


class TestSignature:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Yes\n\n-- \nAnn", "Yes"),
            ("Yes\n\nSent from my iPad", "Yes"),
            ("Ja\n\nGesendet von Outlook für Android", "Ja"),
            ("Oui\n\nEnvoyé à partir de Outlook", "Oui"),
            ("是\n\n发自我的iPhone", "是"),
            ("はい\n\niPhoneから送信", "はい"),
            ("Да\n\nОтправлено с iPhone", "Да"),
            ("Yes\n\nBest,\nAnn\n\nAnn Fir\nSales Director\n+49 30 901820", "Yes\n\nBest,\nAnn"),
            ("Yes\nAnn\n-----------\nAnn Fir\nann@fir.example\nTel: +49 30 901820", "Yes\nAnn"),
            (
                "Yes\n\nThanks,\nAnn\nP.S. Bring www.fir.example/map",
                "Yes\n\nThanks,\nAnn\nP.S. Bring www.fir.example/map",
            ),
            ("I sent it from the phone shop.", "I sent it from the phone shop."),
            ("-- \nonly a signature", "-- \nonly a signature"),
        ],
    )
    def test_is_cut_and_the_closing_stays(self, text, words):
        assert signatures.split_signature(text)[0] == words
