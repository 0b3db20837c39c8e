"""
What somebody wrote in this mail, apart from what the mail repeats.

The text is cut into lines, each line is marked once (own, empty, quoted, opening of the history, forward), and one
pass over the marks decides. Top-posted, bottom-posted and interleaved answers keep every own line; a forwarded
message is kept whole, because it is what the sender wants read. Time is linear and bounded for hostile text.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from tools.mail import attributions, boilerplate
from tools.mail.html import HISTORY
from tools.mail.signatures import split_signature

MAX_LINES = 3_000
"""Lines that are looked at; what follows them belongs to whatever was going on."""
MAX_ATTEMPTS = 200
"""Lines that may be tried as the start of an attribution: real mail has a handful."""

OWN, EMPTY, QUOTED, OPENING, FORWARD = "tEqsf"
_SPECIAL = re.compile(f"[{QUOTED}{OPENING}{FORWARD}]")

_WORDS = r"[A-Za-z][A-Za-z ,.;'()!?/&\"]{4,}+(?<=[A-Za-z.,!?)])"
"""A line of words alone: no mark, digit or colon that something other than somebody's own sentence would have."""
_DULL = re.compile(_WORDS)
_DULL_LINES = re.compile(rf"(?:(?:{_WORDS})?\n)*+")
_QUOTE = re.compile(r"^[ \t]{0,6}(?:[A-Z][A-Za-z]{0,3})?>+")
_DECORATED = re.compile(r"^\s*>{2,}.*<{2,}\s*$")
_DIGIT = re.compile(r"\d")
_LINK_PART = re.compile(r"^\s*[(<]?\s*(?:https?://|www\.|mailto:)\S*\s*[)>]*\s*>?\s*$", re.IGNORECASE)
_OPEN_LINK = re.compile(r"[(<]\s*(?:https?://|www\.|mailto:)[^)>\s]*$", re.IGNORECASE)
_LINK_REST = re.compile(r"^\s*\S{1,300}[)>]")
_FORWARD_SUBJECT = re.compile(
    r"^\s*(?:\[[^\]]{1,40}\]\s*)?(?:fwd?|wg|tr|rv|enc|i|inoltra|doorst|fs|vb|vs|pd|vl|továbbítás|转发|轉寄|転送|전달)\s*[:：]",
    re.IGNORECASE,
)
_REPLY_SUBJECT = re.compile(
    r"^\s*(?:\[[^\]]{1,40}\]\s*)?(?:re|aw|antw|sv|odp|rif|ref|res|vá|ynt|答复|回复|回覆|返信|답장)\s*(?:\[\d+\])?\s*[:：]",
    re.IGNORECASE,
)
_CONTINUED = re.compile(r"[^\s.!?:;,]$")


class Reply(NamedTuple):
    """One mail's text in its parts. `text` is what its sender wrote, for reading and analysis."""

    text: str
    signature: str = ""
    quoted: str = ""
    forwarded: bool = False
    interleaved: bool = False


def split(text: str, subject: str = "") -> Reply:
    """Return the mail's own words, its signature and its quoted history; the subject tells a forward from a reply."""
    own, quoted, forwarded, interleaved = _split_history(text, subject)
    if forwarded:
        return Reply(own, "", quoted, forwarded=True)
    words, signature = split_signature(boilerplate.strip(own))
    return Reply(words, signature, quoted, interleaved=interleaved)


def strip_quotes(text: str, subject: str = "") -> str:
    """Return the mail without its quoted history; the signature stays."""
    return _split_history(text, subject)[0]


def _split_history(text: str, subject: str) -> tuple[str, str, bool, bool]:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.split("\n", MAX_LINES)
    rest = lines.pop() if len(lines) > MAX_LINES else None
    parts = _Parts(_Marked(lines, min(_dull_lines(text), len(lines))), subject)
    parts.sort()
    if rest is not None:
        (parts.quoted if parts.in_history else parts.own).append(rest)
    if parts.is_lost():
        return _joined(lines, rest), "", True, False
    return _tidied(parts.own), "\n".join(parts.quoted), parts.forwarded, parts.pieces > 1


def _dull_lines(text: str) -> int:
    """Return how many lines at the top are words alone, or empty: most of most mails, found in one go."""
    found = _DULL_LINES.match(text)
    end = found.end() if found else 0
    return 0 if text.find("  ", 0, end) >= 0 else text.count("\n", 0, end)


def _joined(lines: list[str], rest: str | None) -> str:
    return _tidied(lines if rest is None else [*lines, rest])


def _tidied(lines: list[str]) -> str:
    text = "\n".join([line for line in lines if line != HISTORY] if HISTORY in lines else lines)
    if "\n\n\n" in text:
        text = re.sub("\n{3,}", "\n\n", text)
    return text.strip("\n").rstrip()


class _Marked:
    """The lines of one mail, each with its mark; `ends` tells where an opening that starts at a line is over."""

    __slots__ = ("attempts", "ends", "lines", "marks", "tables")

    def __init__(self, lines: list[str], dull: int) -> None:
        self.lines = lines
        self.marks = [OWN if line else EMPTY for line in lines[:dull]]
        self.ends: dict[int, int] = {}
        self.tables: set[int] = set()
        self.attempts = 0
        self._mark_from(dull)

    def _mark_from(self, index: int) -> None:
        headerless = 0
        opened = seen = False
        while index < len(self.lines):
            line = self.lines[index]
            if _DULL.fullmatch(line) and "  " not in line:
                mark, end = OWN, index + 1
            else:
                mark, end, headerless = self._mark_at(index, headerless)
            self.marks.extend(mark * (end - index))
            index = end
            if mark == EMPTY:
                continue
            if (mark == FORWARD and (opened or not seen)) or (
                opened and mark == OWN and not attributions.is_rule(line)
            ):
                # Whatever follows goes where this line goes: the rest need not be looked at.
                self.marks.extend(OWN * (len(self.lines) - index))
                return
            seen = seen or mark in (OPENING, QUOTED)
            opened = mark == OPENING or (opened and mark != QUOTED)

    def _mark_at(self, index: int, headerless: int) -> tuple[str, int, int]:
        """Return the mark of a line, the line after what it opens, and how far no header block begins."""
        line = self.lines[index]
        mark, end = self._plain_mark(line), index + 1
        if mark == OWN and len(line) <= 4 * attributions.MAX_LINE:
            mark, end, headerless = self._opening_mark(index, headerless)
        if mark == OPENING:
            self.ends[index] = end
        return mark, end, headerless

    def _plain_mark(self, line: str) -> str:
        if line == HISTORY:
            return OPENING
        if not line or line.isspace():
            return EMPTY
        if ">" in line[:12] and _QUOTE.match(line) and not _DECORATED.match(line[: attributions.MAX_LINE]):
            return QUOTED
        return OWN

    def _opening_mark(self, index: int, headerless: int) -> tuple[str, int, int]:
        """Return the mark of an unquoted line, the line after what it opens, and how far no header block begins."""
        line = self.lines[index]
        if line[0] in " \t_-=*─—–" and attributions.is_rule(line):
            return OWN, index + 1, headerless
        if not line.isascii() or line[0] in " *-_=#~<[|" or ":" in line or line[-1] in ":-=" or line[-1:].isdigit():
            if attributions.is_forward(line):
                return FORWARD, index + 1, headerless
            if attributions.is_separator(line):
                return OPENING, index + 1, headerless
        if index >= headerless and (":" in line[:60] or "：" in line[:60]):
            headerless, opens = attributions.header_block(self.lines, index)
            if opens:
                return OPENING, headerless, headerless
        end = self._attribution_end(index)
        if end:
            return OPENING, end, headerless
        if "\t" in line or "  " in line or len(line) < 6:
            end = attributions.notes_block(self.lines, index)
            if end:
                self.tables.add(index)
                return OPENING, end, headerless
        return OWN, index + 1, headerless

    def _attribution_end(self, index: int) -> int:
        line = self.lines[index]
        if (
            self.attempts >= MAX_ATTEMPTS
            or not _DIGIT.search(line)
            or not attributions.may_be_attribution(self.lines, index)
        ):
            return 0
        shared = attributions.shared_start(line)
        if shared > 0:
            self.attempts += 5
            # The words before the attribution become a line of their own, and the attribution the next.
            self.lines[index : index + 1] = [line[:shared].rstrip(" \t-_—–"), line[shared + 1 :]]
            return 0
        end = attributions.attribution(self.lines, index)
        self.attempts += not end
        return end


class _Parts:
    """The mail's own lines and its history, as one pass over the marks sorts them."""

    __slots__ = (
        "forwarded",
        "in_history",
        "lines",
        "marked",
        "marks",
        "own",
        "pieces",
        "prefixed",
        "quoted",
        "subject",
    )

    def __init__(self, marked: _Marked, subject: str) -> None:
        self.marked = marked
        self.lines: Sequence[str] = marked.lines
        self.marks = marked.marks
        self.subject = subject
        self.own: list[str] = []
        self.quoted: list[str] = []
        self.forwarded = self.in_history = self.prefixed = False
        self.pieces = 0

    def sort(self) -> None:
        """Sort every line; an opening that no quoted line follows takes all the rest."""
        special = _SPECIAL.search("".join(self.marks))
        index = special.start() if special else len(self.marks)
        self.own.extend(self.lines[:index])
        while index < len(self.marks):
            mark = self.marks[index]
            if mark == FORWARD and not self.quoted:
                return self._keep(index)
            if mark == OPENING:
                index = self._open(index)
            elif mark == QUOTED and not self._is_stray(index):
                self._withdraw_introduction()
                index = self._take_quotes(index)
            else:
                if mark in (OWN, FORWARD, QUOTED) and self.prefixed and (not self.own or self.own[-1] == ""):
                    self.pieces += 1
                self.own.append(self.lines[index])
                index += 1
            if index < 0:
                return None
        return None

    def is_lost(self) -> bool:
        """Whether nothing would be left although the history is not marked as quoted: such mail is kept whole."""
        if any(line.strip() for line in self.own):
            return False
        return bool(self.quoted) and not self.prefixed and not _REPLY_SUBJECT.match(self.subject[:200])

    def _keep(self, index: int) -> None:
        self.own.extend(self.lines[index:])
        self.forwarded = True

    def _open(self, index: int) -> int:
        """Take an opening with what it opens; return the line to go on with, or -1 at the end."""
        after = self._past_empty(self.marked.ends.get(index, index + 1))
        while after < len(self.marks) and self.marks[after] == OPENING:
            after = self._past_empty(self.marked.ends.get(after, after + 1))
        if after < len(self.marks) and self.marks[after] == QUOTED:
            self._drop_rule()
            self.quoted.extend(self.lines[index:after])
            return self._take_quotes(after)
        forward = after < len(self.marks) and self.marks[after] == FORWARD and self.lines[index] == HISTORY
        if not self.quoted and (forward or _FORWARD_SUBJECT.match(self.subject[:200])):
            self._keep(index)
            return -1
        self._drop_rule()
        if index in self.marked.tables:
            while self.own and (not self.own[-1].strip() or attributions.is_notes_head(self.own[-1])):
                self.quoted.insert(0, self.own.pop())
        self.quoted.extend(self.lines[index:])
        self.in_history = True
        return -1

    def _past_empty(self, index: int) -> int:
        while index < len(self.marks) and (self.marks[index] == EMPTY or attributions.is_rule(self.lines[index])):
            index += 1
        return index

    def _drop_rule(self) -> None:
        """Take back the empty lines and drawn rules above an opening."""
        while self.own and (not self.own[-1].strip() or attributions.is_rule(self.own[-1])):
            self.own.pop()

    def _take_quotes(self, index: int) -> int:
        """Take a run of quoted lines, with the empty and the broken lines inside it."""
        self.prefixed = True
        while index < len(self.marks):
            mark = self.marks[index]
            if mark == QUOTED or (mark == OWN and self._is_broken_quote(index)):
                self.quoted.append(self.lines[index])
                index += 1
                continue
            following = self._past_blank(index) if mark == EMPTY else index
            if following == index or following >= len(self.marks) or self.marks[following] != QUOTED:
                break
            index = following
        self.in_history = index >= len(self.marks)
        self.own.append("")
        return index

    def _past_blank(self, index: int) -> int:
        while index < len(self.marks) and self.marks[index] == EMPTY:
            index += 1
        return index

    def _is_broken_quote(self, index: int) -> bool:
        """Whether an unquoted line is the rest of the quoted line above, broken off by a client's line length or link."""
        if index + 1 >= len(self.marks) or self.marks[index - 1] != QUOTED:
            return False
        line, above = self.lines[index][: attributions.MAX_LINE], self.lines[index - 1][-attributions.MAX_LINE :]
        if _LINK_PART.match(line) or (_OPEN_LINK.search(above) and _LINK_REST.match(line)):
            return True
        if self.marks[index + 1] != QUOTED or len(line) > 30 or not 62 <= len(above) <= 82:
            return False
        return line[:1].islower() and _CONTINUED.search(above) is not None

    def _is_stray(self, index: int) -> bool:
        """Whether a lone line of arrows is decoration: three deep, with no other quote near."""
        if self.quoted or not self.lines[index].replace(" ", "").startswith(">>>"):
            return False
        return self.marks.count(QUOTED) < 3

    def _withdraw_introduction(self) -> None:
        """Move the line that introduces the quote ("Anna wrote:") from the own words to the history."""
        kept = len(self.own)
        while kept and not self.own[kept - 1].strip():
            kept -= 1
        if not kept or len(self.own) - kept > 1:
            return
        for first in (kept - 1, kept - 2):
            if first < 0 or not self.own[first].strip():
                break
            if attributions.introduces(" ".join(self.own[first:kept])):
                self.quoted.extend(self.own[first:kept])
                del self.own[first:]
                return
