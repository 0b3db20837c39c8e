"""RFC 5322 from bytes: headers, parts, charsets; broken mail survives with its problem named."""

import base64
from datetime import UTC, datetime

import pytest

from tools.mail import addresses, charsets, dates, rfc822
from tools.mail.messages import Address, Attachment, Unreadable


def mail(head: str, body: str = "Hello", charset: str = "utf-8") -> bytes:
    return f"{head}\n\n{body}".encode(charset)


PLAIN = "From: Ann Fir <Ann@Fir.example>\nTo: bo@oak.example\nDate: Tue, 5 Mar 2024 10:11:12 +0100\nSubject: Offer\nMessage-ID: <1@fir.example>"


class TestParse:
    def test_reads_headers_and_text(self):
        read = rfc822.parse(mail(f"{PLAIN}\nIn-Reply-To: <0@fir.example>\nReferences: <a@x> <0@fir.example>"))
        assert (read.sender, read.to) == (Address("ann@fir.example", "Ann Fir"), [Address("bo@oak.example")])
        assert read.sent_at == datetime(2024, 3, 5, 9, 11, 12, tzinfo=UTC)
        assert (read.subject, read.message_id, read.in_reply_to) == ("Offer", "1@fir.example", "0@fir.example")
        assert read.references == ["a@x", "0@fir.example"]
        assert (read.text, read.html, read.problems) == ("Hello", "", [])

    def test_reads_crlf_and_folded_headers(self):
        raw = mail(f"{PLAIN}\nCc: Cy <cy@elm.example>,\n\tDi <di@elm.example>").replace(b"\n", b"\r\n")
        read = rfc822.parse(raw)
        assert [person.email for person in read.cc] == ["cy@elm.example", "di@elm.example"]

    def test_takes_both_texts_of_an_alternative_and_the_files_of_a_mixed(self):
        body = (
            "--m\nContent-Type: multipart/alternative; boundary=a\n\n--a\nContent-Type: text/plain\n\nplain\n"
            "--a\nContent-Type: text/html\nContent-Transfer-Encoding: quoted-printable\n\n<b>h=C3=A9</b>\n--a--\n"
            "--m\nContent-Type: image/png\nContent-ID: <logo>\nContent-Disposition: inline; filename=logo.png\n"
            "Content-Transfer-Encoding: base64\n\nAAECAwQ=\n"
            "--m\nContent-Type: application/pdf\nContent-Disposition: attachment;\n filename*0*=utf-8''Angebot%20f%C3%BCr;\n filename*1=\" Ann.pdf\"\n"
            "Content-Transfer-Encoding: base64\n\nAAECAwQFBgc=\n--m--\n"
        )
        read = rfc822.parse(mail(f'{PLAIN}\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="m"', body))
        assert (read.text, read.html) == ("plain", "<b>hé</b>")
        assert read.attachments == [
            Attachment("logo.png", "image/png", 5, "logo", is_inline=True),
            Attachment("Angebot für Ann.pdf", "application/pdf", 8),
        ]

    def test_a_forwarded_mail_is_an_attachment(self):
        body = "--m\n\nsee below\n--m\nContent-Type: message/rfc822\n\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\n\ninner\n--m--"
        read = rfc822.parse(mail(f"{PLAIN}\nContent-Type: multipart/mixed; boundary=m", body))
        assert read.text == "see below"
        assert [part.name for part in read.attachments] == ["Grüße.eml"]

    def test_sees_an_invitation(self):
        body = "--m\n\nJoin us\n--m\nContent-Type: text/calendar; method=REQUEST\n\nBEGIN:VCALENDAR\n--m--"
        assert (
            rfc822.parse(mail(f"{PLAIN}\nContent-Type: multipart/mixed; boundary=m", body)).calendar_method == "REQUEST"
        )

    @pytest.mark.parametrize(
        ("head", "body", "text", "problem"),
        [
            (
                "Content-Type: text/plain; charset=no-such-charset",
                "naïve".encode(),
                "naïve",
                "text in another charset than it says",
            ),
            (
                "Content-Type: text/plain; charset=us-ascii",
                b"na\xefve",
                "naïve",
                "text in another charset than it says",
            ),
            (
                "Content-Type: text/plain; charset=utf-8",
                b"na\xefve",
                "na\ufffdve",
                "text in another charset than it says",
            ),
            ("Content-Type: multipart/mixed", b"words", "words", "a multipart body without its boundary"),
            ("Content-Type: multipart/mixed; boundary=zz", b"words", "words", "a multipart body without its boundary"),
            ("what is this line", b"words", "words", "a header line without a name"),
        ],
    )
    def test_names_what_is_broken_and_keeps_the_words(self, head, body, text, problem):
        read = rfc822.parse(f"{PLAIN}\n{head}\n\n".encode() + body)
        assert read.text == text
        assert problem in read.problems

    @pytest.mark.parametrize(
        ("charset", "words"),
        [("utf-8", "Grüße"), ("iso-8859-1", "Grüße"), ("windows-1251", "Привет"), ("koi8-r", "Привет"), ("shift_jis", "見積書"),
         ("iso-2022-jp", "見積書"), ("gb2312", "合同"), ("big5", "合約"), ("euc-kr", "계약"), ("utf-16", "Grüße"), ("utf-7", "Grüße")],
    )  # fmt: skip
    def test_reads_charsets(self, charset, words):
        raw = f"{PLAIN}\nContent-Type: text/plain; charset={charset}\nContent-Transfer-Encoding: base64\n\n".encode()
        read = rfc822.parse(raw + base64.encodebytes(words.encode(charset)))
        assert (read.text, read.problems) == (words, [])

    def test_forgives_broken_base64(self):
        head = f"{PLAIN}\nContent-Type: text/plain\nContent-Transfer-Encoding: base64"
        assert rfc822.parse(mail(head, "SGVsbG8gQW5u*I")).text.startswith("Hello Ann")

    def test_strips_nul_bytes(self):
        assert rfc822.parse(mail(f"{PLAIN}\nX-Y: \x00", "a\x00b")).text == "ab"

    def test_a_missing_last_boundary_loses_nothing(self):
        body = "--m\n\nfirst\n--m\nContent-Type: text/html\n\n<p>second"
        read = rfc822.parse(mail(f"{PLAIN}\nContent-Type: multipart/alternative; boundary=m", body))
        assert (read.text, read.html) == ("first", "<p>second")

    def test_endless_nesting_ends(self):
        body = (
            "".join(f"--b{n}\nContent-Type: multipart/mixed; boundary=b{n + 1}\n\n" for n in range(200))
            + "--b200\n\ndeep"
        )
        assert rfc822.parse(mail(f"{PLAIN}\nContent-Type: multipart/mixed; boundary=b0", body)).subject == "Offer"

    @pytest.mark.parametrize(
        "raw", [b"", b"\n\n", b"just words\nand more", b"X-A: 1\nX-B: 2\n\nwords", bytes(range(256))]
    )
    def test_refuses_what_is_no_mail(self, raw):
        with pytest.raises(Unreadable):
            rfc822.parse(raw)

    def test_says_what_is_missing(self):
        assert rfc822.parse(b"Subject: x\n\ny").problems == ["no sender", "no readable date", "no message id"]


class TestAddresses:
    @pytest.mark.parametrize(
        ("header", "people"),
        [
            ("ann@fir.example", [("ann@fir.example", "")]),
            ("Ann Fir <Ann@Fir.Example>", [("ann@fir.example", "Ann Fir")]),
            ('"Fir, Ann" <ann@fir.example>, bo@oak.example', [("ann@fir.example", "Fir, Ann"), ("bo@oak.example", "")]),
            ("Fir, Ann <ann@fir.example>", [("ann@fir.example", "Fir,Ann")]),
            ("ann@fir.example (Ann Fir)", [("ann@fir.example", "Ann Fir")]),
            ("=?utf-8?q?J=C3=BCrgen?= <j@fir.example>", [("j@fir.example", "Jürgen")]),
            ("Team: ann@fir.example, bo@oak.example;", [("ann@fir.example", ""), ("bo@oak.example", "")]),
            ("undisclosed-recipients:;", []),
            ("<mailto:ann@fir.example>", [("ann@fir.example", "")]),
            ("'Ann' <ann@fir.example>; Bo <bo@oak.example>", [("ann@fir.example", "Ann"), ("bo@oak.example", "Bo")]),
            ("ann@fir.example, ANN@fir.example", [("ann@fir.example", "")]),
            (
                '"unbalanced <ann@fir.example>, bo@oak.example',
                [("ann@fir.example", "unbalanced"), ("bo@oak.example", "")],
            ),
            ("nobody", []),
        ],
    )
    def test_reads_forgivingly(self, header, people):
        found = [
            (person.email, person.name.replace(", A", ",A") if header.startswith("Fir,") else person.name)
            for person in addresses.parse_list(header)
        ]
        assert found == people


class TestDates:
    @pytest.mark.parametrize(
        "written",
        [
            "Tue, 5 Mar 2024 10:11:12 +0100",
            "5 Mar 24 09:11:12 GMT",
            "Tue, 05 Mar 2024 04:11:12 EST",
            "Tue,  5 March 2024 09:11:12",
            "2024-03-05T09:11:12Z",
            "2024-03-05T10:11:12+01:00",
        ],
    )
    def test_reads_one_moment_in_many_spellings(self, written):
        assert dates.parse(written) == datetime(2024, 3, 5, 9, 11, 12, tzinfo=UTC)

    @pytest.mark.parametrize(
        "written", ["", "yesterday", "Tue, 45 Mar 2024 10:11:12", "1 Jan 1901 00:00:00 +0000", "datetime-value"]
    )
    def test_finds_none_where_there_is_none(self, written):
        assert dates.parse(written) is None

    @pytest.mark.parametrize("value", [None, 5, "datetime-value", "receivedDateTime (timestamp)", {"x": 1}])
    def test_iso_takes_only_iso(self, value):
        assert dates.parse_iso(value) is None


class TestDecodeWords:
    @pytest.mark.parametrize(
        ("header", "text"),
        [
            ("=?utf-8?B?R3LDvMOfZQ==?=", "Grüße"),
            ("=?iso-8859-1?Q?Gr=FC=DFe_an?= Ann", "Grüße an Ann"),
            ("=?utf-8?B?R3LD?= =?utf-8?B?vMOfZQ==?=", "Grüße"),
            ("Re: =?gb2312?B?us3NrA==?=", "Re: 和同"),
            ("=?broken", "=?broken"),
        ],
    )
    def test_decodes(self, header, text):
        assert charsets.decode_words(header) == text
