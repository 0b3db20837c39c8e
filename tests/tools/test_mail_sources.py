"""Mail on disk: mailboxes, single files, Graph JSON and folders, each with the place to go on from."""

import io
import json

import pytest

from tools.mail import graph, mbox, sources
from tools.mail.messages import Address, Unreadable


def letter(number: int, body: str = "Hello") -> str:
    return f"From: a@fir.example\nTo: b@oak.example\nDate: Tue, 5 Mar 2024 10:11:{number % 60:02} +0000\nSubject: {number}\nMessage-ID: <{number}@x>\n\n{body}\n"


def box(*bodies: str) -> bytes:
    return "".join(
        f"From MAILER Tue Mar  5 10:11:12 2024\n{letter(number, body)}\n" for number, body in enumerate(bodies)
    ).encode()


def message(number: int, **values) -> dict:
    return {
        "id": f"AAMk{number}", "internetMessageId": f"<{number}@x>", "subject": str(number), "receivedDateTime": "2024-03-05T10:11:12Z",
        "from": {"emailAddress": {"name": "Ann", "address": "Ann@Fir.example"}}, "body": {"contentType": "text", "content": "Hello"},
    } | values  # fmt: skip


def subjects(path, start=None) -> list[str]:
    return [item.mail.subject if item.mail else f"!{item.reason}" for item in sources.read(path, start)]


class TestMbox:
    def test_splits_at_from_lines_and_unquotes_the_others(self):
        pieces = list(mbox.read(io.BytesIO(box("one\n>From here on\n>>From there", "two"))))
        assert len(pieces) == 2
        assert b"\nFrom here on\n>From there" in pieces[0].raw

    def test_a_from_inside_a_text_does_not_tear_it(self):
        pieces = list(mbox.read(io.BytesIO(box("Hello\n\nFrom 2024 on we bill yearly.\nBye", "two"))))
        assert len(pieces) == 2
        assert b"we bill yearly" in pieces[0].raw

    def test_goes_on_from_every_place(self):
        whole = box("one", "two", "three")
        pieces = list(mbox.read(io.BytesIO(whole)))
        for done, piece in enumerate(pieces, 1):
            assert list(mbox.read(io.BytesIO(whole), piece.end)) == pieces[done:]
        assert (pieces[0].start, pieces[-1].end) == (0, len(whole))

    @pytest.mark.parametrize("chunk", [700, 1500, 4096])
    def test_chunks_do_not_matter(self, monkeypatch, chunk):
        whole = box(*(f"body {number}\n" * (number % 50) for number in range(200)))
        expected = [piece.raw for piece in mbox.read(io.BytesIO(whole))]
        monkeypatch.setattr(mbox, "CHUNK", chunk)
        found = list(mbox.read(io.BytesIO(whole)))
        assert [piece.raw for piece in found] == expected
        assert len(found) == 200

    def test_reads_crlf(self):
        assert len(list(mbox.read(io.BytesIO(box("one", "two").replace(b"\n", b"\r\n"))))) == 2

    def test_an_oversized_mail_is_cut_and_the_next_is_found(self, monkeypatch):
        monkeypatch.setattr(mbox, "MAX_MESSAGE", 20_000)
        monkeypatch.setattr(mbox, "CHUNK", 3_000)
        whole = box("one", "x" * 100 + "\n" + "y" * 90_000, "three")
        pieces = list(mbox.read(io.BytesIO(whole)))
        assert [piece.dropped > 0 for piece in pieces] == [False, True, False]
        assert [piece.raw.split(b"Subject: ")[1][:1] for piece in pieces] == [b"0", b"1", b"2"]
        assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]


class TestGraph:
    def test_reads_a_message(self):
        mail = graph.parse(
            message(1, conversationId="C", importance="high", isRead=False, hasAttachments=True, flag={"flagStatus": "flagged"},
                    toRecipients=[{"emailAddress": {"address": "bo@oak.example"}}],
                    internetMessageHeaders=[{"name": "References", "value": "<a@x> <b@x>"}, {"name": "In-Reply-To", "value": "<b@x>"}],
                    attachments=[{"name": "a.pdf", "contentType": "application/pdf", "size": 10, "isInline": False, "contentBytes": "AAAA"}])
        )  # fmt: skip
        assert (mail.message_id, mail.provider_id, mail.conversation_id) == ("1@x", "AAMk1", "C")
        assert (mail.sender, mail.to) == (Address("ann@fir.example", "Ann"), [Address("bo@oak.example")])
        assert (mail.references, mail.in_reply_to) == (["a@x", "b@x"], "b@x")
        assert (mail.importance, mail.is_read, mail.is_flagged, mail.problems) == ("high", False, True, [])
        assert [(part.name, part.size) for part in mail.attachments] == [("a.pdf", 10)]

    def test_placeholders_count_as_missing(self):
        mail = graph.parse(
            {"receivedDateTime": "receivedDateTime (timestamp)", "sentDateTime": "datetime-value", "subject": "subject-value", "body": {"contentType": "", "content": 5},
             "from": {"@odata.type": "microsoft.graph.recipient"}, "toRecipients": [{"@odata.type": "microsoft.graph.recipient"}, "x", None],
             "hasAttachments": "true", "isRead": "false", "internetMessageHeaders": "none", "attachments": {"x": 1}, "importance": 7, "flag": []}
        )  # fmt: skip
        assert mail.subject == "subject-value"
        assert mail.problems == ["no readable date", "no sender", "no message id"]

    def test_refuses_a_message_of_nothing(self):
        with pytest.raises(Unreadable):
            graph.parse({"receivedDateTime": "2024-03-05T10:11:12Z", "id": "x"})

    @pytest.mark.parametrize(
        ("document", "count"),
        [
            (message(1), 1),
            ({"value": [message(1), message(2)]}, 2),
            ([message(1)], 1),
            ({"responses": [{"id": "1", "body": {"value": [message(1)]}}]}, 1),
            ({"message": message(1), "saveToSentItems": True}, 1),
            ({"value": []}, 0),
        ],
    )
    def test_finds_messages_in_pages_batches_and_wraps(self, document, count):
        found = list(graph.messages_of(document))
        assert [item["subject"] for item in found if isinstance(item, dict)] == [
            str(number + 1) for number in range(count)
        ]
        assert len(found) == count

    @pytest.mark.parametrize(
        ("document", "reason"),
        [
            ({"@odata.type": "#microsoft.graph.event", "subject": "x", "body": {}}, "not a message: event"),
            ({"subject": "x", "body": {}, "attendees": []}, "not a message: calendar event"),
            ({"emailAddresses": []}, "not a message: contact"),
            ({"@removed": {"reason": "deleted"}, "id": "x"}, "a deleted message"),
            ("text", "not a JSON object"),
            (None, "not a JSON object"),
        ],
    )
    def test_says_what_else_it_found(self, document, reason):
        assert [str(item) for item in graph.messages_of(document)] == [reason]


class TestRead:
    def test_reads_each_form(self, tmp_path):
        (tmp_path / "a.mbox").write_bytes(box("one", "two"))
        (tmp_path / "b.eml").write_text(letter(3))
        (tmp_path / "c.json").write_text(json.dumps({"value": [message(4), message(5)]}, indent=2))
        (tmp_path / "d.jsonl").write_text(
            "\n".join([json.dumps(message(6)), "not json", json.dumps([message(7), message(8)])])
        )
        (tmp_path / "e").mkdir()
        (tmp_path / "e" / "cur").mkdir()
        (tmp_path / "e" / "cur" / "1:2,S").write_text(letter(9))
        (tmp_path / "notes.txt").write_text("nothing")
        assert subjects(tmp_path) == ["0", "1", "3", "4", "5", "6", "!a line that is not JSON", "7", "8", "9"]

    def test_goes_on_from_every_place(self, tmp_path):
        (tmp_path / "a.mbox").write_bytes(box("one", "two"))
        (tmp_path / "b.eml").write_text(letter(3))
        (tmp_path / "c.json").write_text(json.dumps({"value": [message(4), message(5)]}))
        (tmp_path / "d.jsonl").write_text("\n".join(json.dumps(message(number)) for number in (6, 7)))
        items = list(sources.read(tmp_path))
        for done, item in enumerate(items, 1):
            assert [later.start for later in sources.read(tmp_path, item.after)] == [
                later.start for later in items[done:]
            ]

    def test_never_goes_on_inside_a_line(self, tmp_path):
        (tmp_path / "a.jsonl").write_text(json.dumps([message(1), message(2)]) + "\n" + json.dumps(message(3)) + "\n")
        items = list(sources.read(tmp_path / "a.jsonl"))
        assert [item.after != item.start for item in items] == [False, True, True]
        assert len({item.start for item in items}) == 3

    @pytest.mark.parametrize("chunk", [64, 1000, 1 << 20])
    def test_reads_a_big_document_without_having_it_whole(self, tmp_path, monkeypatch, chunk):
        odd = message(
            2,
            body={"contentType": "text", "content": 'quote " brace } bracket ] backslash \\ é'},
            toRecipients=[{"emailAddress": {"address": "b@oak.example"}}],
        )
        file = tmp_path / "big.json"
        file.write_text(
            json.dumps(
                {"@odata.context": "x[{", "value": [message(1), odd, message(3)], "@odata.nextLink": "y"}, indent=1
            )
        )
        monkeypatch.setattr(sources, "MAX_WHOLE", 10)
        monkeypatch.setattr(sources, "_CHUNK", chunk)
        assert subjects(file) == ["1", "2", "3"]
        assert subjects(file, sources.Place("big.json", 2)) == ["3"]

    def test_saves_what_is_whole_of_a_broken_document(self, tmp_path):
        file = tmp_path / "cut.json"
        file.write_text(json.dumps({"value": [message(1), message(2), message(3)]}, indent=1)[:-60])
        assert subjects(file) == ["1", "2"]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "an empty file"),
            (b"hello", "no mail format that is known"),
            (b"\x00\x01\x02", "no mail format that is known"),
        ],
    )
    def test_says_why_a_file_is_no_mail(self, tmp_path, content, reason):
        (tmp_path / "a.eml").write_bytes(content)
        assert subjects(tmp_path / "a.eml") == [f"!{reason}"]

    @pytest.mark.parametrize(
        "encode", [lambda text: b"\xef\xbb\xbf" + text.encode(), lambda text: text.encode("utf-16")]
    )
    def test_reads_marked_encodings(self, tmp_path, encode):
        (tmp_path / "a.json").write_bytes(encode(json.dumps(message(1))))
        assert subjects(tmp_path / "a.json") == ["1"]

    def test_lone_surrogates_survive(self, tmp_path):
        (tmp_path / "a.json").write_text('{"subject": "bad \\ud800 pair", "from": {}, "internetMessageId": "<1@x>"}')
        assert subjects(tmp_path / "a.json") == ["bad ? pair"]

    def test_a_file_that_cannot_be_read_does_not_stop_the_others(self, tmp_path, monkeypatch):
        (tmp_path / "a.eml").write_text(letter(1))
        (tmp_path / "b.eml").write_text(letter(2))
        read_eml = sources._read_eml

        def refuse(file, name, kind):
            if name == "a.eml":
                raise PermissionError(13, "Permission denied")
            return read_eml(file, name, kind)

        monkeypatch.setattr(sources, "_read_eml", refuse)
        assert subjects(tmp_path) == ["!the file cannot be read: Permission denied", "2"]

    def test_refuses_a_path_that_is_not_there(self, tmp_path):
        with pytest.raises(sources.NoSuchSource):
            list(sources.read(tmp_path / "missing"))
