"""Mail to measure with: made up, seeded, and mixed in form and size as a sales mailbox is."""

import base64
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import orjson

OWNER = "dana@northwind.example"
WORDS = [
    "the",
    "pilot",
    "went",
    "well",
    "and",
    "our",
    "team",
    "would",
    "like",
    "to",
    "see",
    "the",
    "numbers",
    "for",
    "next",
    "quarter",
    "before",
    "we",
    "sign",
    "anything",
    "please",
    "send",
    "the",
    "draft",
    "contract",
    "together",
    "with",
    "a",
    "short",
    "overview",
    "of",
    "support",
    "hours",
    "because",
    "legal",
    "asked",
    "about",
    "the",
    "response",
    "times",
    "again",
    "we",
    "can",
    "talk",
    "on",
    "Thursday",
    "afternoon",
    "or",
    "early",
    "next",
    "week",
    "whichever",
    "suits",
    "you",
    "better",
    "thanks",
    "for",
    "your",
    "patience",
    "with",
    "all",
    "these",
    "questions",
]
HISTORY = 0.55
"""How much of the mail quotes what it answers."""


def _sentence(chance: random.Random) -> str:
    return " ".join(chance.choice(WORDS) for _ in range(chance.randint(6, 18))).capitalize() + "."


def _paragraphs(chance: random.Random) -> list[str]:
    return [" ".join(_sentence(chance) for _ in range(chance.randint(1, 4))) for _ in range(chance.randint(1, 5))]


def _outlook(chance: random.Random, paragraphs: list[str], history: list[str], sender: str, moment: datetime) -> str:
    def line(text: str) -> str:
        return f'<p class="MsoNormal"><span style="font-size:11.0pt;font-family:&quot;Calibri&quot;,sans-serif">{text}<o:p></o:p></span></p>\r\n'

    body = "".join(line(text) + line("&nbsp;") for text in paragraphs)
    body += line("Best regards,") + line(sender) + line("Account Manager | +49 30 901820 | www.northwind.example")
    if history:
        body += (
            '<div style="border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0in 0in 0in"><p class="MsoNormal">'
            f"<b>From:</b> Robin Vale &lt;robin@example.org&gt;<br><b>Sent:</b> {moment:%A, %B %d, %Y %I:%M %p}<br>"
            f"<b>To:</b> {sender}<br><b>Subject:</b> RE: Contract<o:p></o:p></p></div>"
            + "".join(line(text) for text in history)
        )
    return (
        '<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"><style><!--\r\n@font-face {font-family:Calibri;}\r\n'
        'p.MsoNormal {margin:0in; font-size:11.0pt;}\r\n--></style></head><body lang="EN-US" link="#0563C1"><div class="WordSection1">'
        f"{body}</div></body></html>"
    )


def _gmail(chance: random.Random, paragraphs: list[str], history: list[str], sender: str, moment: datetime) -> str:
    body = "<div><br></div>".join(f"<div>{text}</div>" for text in paragraphs)
    if history:
        body += (
            f'<br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">On {moment:%a, %b %d, %Y at %I:%M %p} Robin Vale &lt;'
            '<a href="mailto:robin@example.org">robin@example.org</a>&gt; wrote:<br></div><blockquote class="gmail_quote" '
            'style="margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex">'
            + "".join(f"<div>{text}</div>" for text in history)
            + "</blockquote></div>"
        )
    return f'<div dir="ltr">{body}</div>'


def _campaign(chance: random.Random, paragraphs: list[str]) -> str:
    cells = "".join(
        f'<tr><td align="center" style="padding:12px;background-color:#ffffff;color:#333333;font-family:Arial">{text}</td></tr>'
        for text in paragraphs * 3
    )
    return (
        '<html><head><style>.preheader{display:none}</style></head><body style="background:#f4f4f4"><div class="preheader">A look inside</div>'
        f'<table width="600" cellpadding="0"><tbody>{cells}</tbody></table><p style="font-size:11px">You receive this because you signed up. '
        '<a href="https://example.com/u">Unsubscribe</a></p></body></html>'
    )


def _plain(paragraphs: list[str], history: list[str], moment: datetime) -> str:
    text = "\n\n".join(paragraphs) + "\n\n-- \nRobin Vale\nExample Ltd\n"
    if history:
        text += (
            f"\nOn {moment:%a, %b %d, %Y at %I:%M %p}, Dana wrote:\n"
            + "\n".join(f"> {line}" for line in history)
            + "\n"
        )
    return text


def _people(chance: random.Random) -> tuple[tuple[str, str], tuple[str, str]]:
    number = chance.randrange(2000)
    outside = (f"Robin Vale {number}", f"robin{number}@customer{number % 300}.example")
    inside = ("Dana North", OWNER)
    return (outside, inside) if chance.random() < 0.6 else (inside, outside)


def _letters(count: int, seed: int) -> Iterator[tuple[int, random.Random, datetime, list[str], list[str], int]]:
    chance = random.Random(seed)
    start = datetime(2025, 1, 6, 8, tzinfo=UTC)
    for number in range(count):
        history = _paragraphs(chance) if chance.random() < HISTORY else []
        yield number, chance, start + timedelta(minutes=7 * number), _paragraphs(chance), history, number - number % 4


def graph_pages(folder: Path, count: int, page: int = 500, seed: int = 1) -> int:
    """Write `count` messages as Graph pages and return their bytes."""
    size = 0
    messages: list[object] = []
    for number, chance, moment, paragraphs, history, thread in _letters(count, seed):
        (name, email), (to_name, to_email) = _people(chance)
        kind = chance.random()
        if kind < 0.5:
            content, type_ = _gmail(chance, paragraphs, history, name, moment), "html"
        elif kind < 0.85:
            content, type_ = _outlook(chance, paragraphs, history, name, moment), "html"
        elif kind < 0.92:
            content, type_ = _campaign(chance, paragraphs), "html"
        else:
            content, type_ = _plain(paragraphs, history, moment), "text"
        messages.append(
            {
                "@odata.etag": 'W/"CQAAABYAAAC"', "id": f"AAMk{seed:03}{number:012}", "createdDateTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
                "receivedDateTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "sentDateTime": f"{moment:%Y-%m-%dT%H:%M:%SZ}", "hasAttachments": False,
                "internetMessageId": f"<{seed}.{number}@mail.example>", "subject": f"{'RE: ' if number % 4 else ''}Contract {thread}",
                "bodyPreview": paragraphs[0][:255], "importance": "normal", "parentFolderId": "AAMkInbox", "conversationId": f"AAQk{seed}{thread}",
                "isRead": True, "isDraft": False, "body": {"contentType": type_, "content": content},
                "sender": {"emailAddress": {"name": name, "address": email}}, "from": {"emailAddress": {"name": name, "address": email}},
                "toRecipients": [{"emailAddress": {"name": to_name, "address": to_email}}], "ccRecipients": [], "flag": {"flagStatus": "notFlagged"},
            }
        )  # fmt: skip
        if len(messages) == page or number == count - 1:
            text = orjson.dumps({"@odata.context": "https://graph.example/messages", "value": messages})
            (folder / f"page{number // page:05}.json").write_bytes(text)
            size += len(text)
            messages = []
    return size


def mbox(file: Path, count: int, seed: int = 2) -> int:
    """Write `count` messages as an mbox and return its bytes; one in twelve carries a file."""
    with file.open("wb") as out:
        for number, chance, moment, paragraphs, history, thread in _letters(count, seed):
            (name, email), (to_name, to_email) = _people(chance)
            head = (
                f"From {email} {moment:%a %b %d %H:%M:%S %Y}\nReceived: from mx.example by mail.example; {format_datetime(moment)}\n"
                f"From: =?utf-8?q?{name.replace(' ', '_')}?= <{email}>\nTo: {to_name} <{to_email}>\nDate: {format_datetime(moment)}\n"
                f"Subject: {'Re: ' if number % 4 else ''}Contract {thread}\nMessage-ID: <{seed}.{number}@mail.example>\nMIME-Version: 1.0\n"
            )
            if number % 4:
                head += f"In-Reply-To: <{seed}.{number - 1}@mail.example>\nReferences: <{seed}.{thread}@mail.example> <{seed}.{number - 1}@mail.example>\n"
            out.write(head.encode() + _mime(chance, number, paragraphs, history, name, moment) + b"\n\n")
    return file.stat().st_size


def _mime(
    chance: random.Random, number: int, paragraphs: list[str], history: list[str], name: str, moment: datetime
) -> bytes:
    plain = _plain(paragraphs, history, moment)
    if chance.random() < 0.3:
        return f"Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n{plain}".encode()
    html = _gmail(chance, paragraphs, history, name, moment)
    encoded = base64.encodebytes(html.encode()).decode()
    both = (
        f'Content-Type: multipart/alternative; boundary="alt{number}"\n\n--alt{number}\nContent-Type: text/plain; charset=utf-8\n\n{plain}\n'
        f"--alt{number}\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: base64\n\n{encoded}\n--alt{number}--\n"
    )
    if number % 12:
        return both.encode()
    file = base64.encodebytes(chance.randbytes(40_000)).decode()
    return (
        f'Content-Type: multipart/mixed; boundary="mix{number}"\n\n--mix{number}\n{both}\n--mix{number}\nContent-Type: application/pdf; name="offer.pdf"\n'
        f'Content-Disposition: attachment; filename="offer.pdf"\nContent-Transfer-Encoding: base64\n\n{file}\n--mix{number}--\n'
    ).encode()
