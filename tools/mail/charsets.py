"""Bytes as text, whatever charset they claim: the claim, then UTF-8, then what fits."""

import base64
import binascii
import codecs
import re

_ALIASES = {
    "utf8": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    "ascii": "us-ascii",
    "ansi_x3.4-1968": "us-ascii",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "iso-8859-6-i": "iso-8859-6",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "cn-gb": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ksc5601": "cp949",
    "euc-kr": "cp949",
    "x-windows-949": "cp949",
    "x-sjis": "cp932",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc-jp",
    "big5": "big5hkscs",
    "x-mac-roman": "mac-roman",
    "macintosh": "mac-roman",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso8859-1": "cp1252",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "tis-620": "cp874",
    "x-cp1252": "cp1252",
    "ansi": "cp1252",
    "x-ansi": "cp1252",
    "iso-10646-ucs-2": "utf-16",
    "ucs-2": "utf-16",
    "unicode": "utf-16",
}
# Codecs for other things than mail text (escapes, IDNA, compression) are quadratic, unsafe or no text at all.
_KNOWN = re.compile(
    r"^(?:utf[-_]?(?:7|8|16|32)|us-ascii|iso[-_]?(?:8859|2022)|cp\d|windows-?\d|koi8|gb|big5|euc|mac[-_]|hz|johab|ptcp|kz1048|viscii)",
    re.IGNORECASE,
)
_UNDECIDED = frozenset(
    ("", "us-ascii", "x-unknown", "unknown", "unknown-8bit", "x-user-defined", "default", "binary", "8bit", "none")
)
_WORD = re.compile(r"=\?([A-Za-z0-9_.:\-]{1,40})(?:\*[A-Za-z\-]{0,20})?\?([BbQq])\?([^?\n]{0,2000}|[^\n]{0,400}?)\?=")
_BETWEEN = re.compile(r"(\?=)[ \t\r\n]+(?==\?[A-Za-z0-9_.:\-]{1,40}(?:\*[A-Za-z\-]{0,20})?\?[BbQq]\?)")


def decode(data: bytes, charset: str = "") -> tuple[str, bool]:
    """Return the text, and whether it is what the charset promised (False: something had to be guessed or replaced)."""
    if data.isascii() and not charset.lower().startswith(
        ("iso-2022", "utf-7", "utf-16", "utf-32", "hz", "unicode", "ucs")
    ):
        return data.decode("ascii"), True
    name = charset.strip(" \"'").lower()
    if name in _UNDECIDED:
        return _guess(data)
    name = _ALIASES.get(name, name)
    if not _KNOWN.match(name):
        return _guess(data)[0], False
    if name == "cp1252":
        return _western(data)
    try:
        return data.decode(name), True
    except (UnicodeDecodeError, LookupError):
        return _second_try(data, name), False


def _second_try(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        codecs.lookup(name)
    except LookupError:
        return _guess(data)[0]
    return data.decode(name, "replace")


def _western(data: bytes) -> tuple[str, bool]:
    """Latin text that is valid UTF-8 is UTF-8 in wrong clothes: chance alone hardly ever makes such bytes."""
    try:
        return data.decode("utf-8"), True
    except UnicodeDecodeError:
        pass
    try:
        return data.decode("cp1252"), True
    except UnicodeDecodeError:
        return data.decode("latin-1"), True


def _guess(data: bytes) -> tuple[str, bool]:
    try:
        return data.decode("utf-8"), True
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace"), False


def decode_words(text: str) -> str:
    """Return a header with its encoded words decoded; letters that were cut in two between words are joined again."""
    if "=?" not in text:
        return text
    text = _BETWEEN.sub(r"\1", text)
    out: list[str] = []
    pending, charset, end = b"", "", 0
    for word in _WORD.finditer(text):
        if pending and (word.start() != end or word[1].lower() != charset):
            out.append(decode(pending, charset)[0])
            pending = b""
        out.append(text[end : word.start()])
        charset, end = word[1].lower(), word.end()
        pending += _unwrap(word[2], word[3])
    if pending:
        out.append(decode(pending, charset)[0])
    out.append(text[end:])
    return "".join(out)


def _unwrap(encoding: str, payload: str) -> bytes:
    data = payload.encode("utf-8", "replace")
    return from_base64(data) if encoding in "Bb" else binascii.a2b_qp(data, header=True)


def from_base64(data: bytes) -> bytes:
    """Return the bytes, as far as the encoding is whole: missing padding and foreign characters are forgiven."""
    try:
        return binascii.a2b_base64(data)
    except binascii.Error:
        kept = re.sub(rb"[^A-Za-z0-9+/]", b"", data)
        kept = kept[: len(kept) - (len(kept) % 4 == 1)]
        return base64.b64decode(kept + b"=" * (-len(kept) % 4))
