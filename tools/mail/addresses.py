"""Address headers, read forgivingly: names with commas, groups, comments, missing brackets."""

import re

from tools.mail.charsets import decode_words
from tools.mail.cleaning import storable
from tools.mail.messages import Address

MAX_ADDRESSES = 1000
MAX_HEADER = 200_000
_EMAIL = re.compile(r"[^\s@<>\"(),;:\[\]\\]{1,200}@[^\s@<>\"(),;:\\]{1,250}")
_BARE = re.compile(r"^[^\s@<>\"(),;:\\]{1,200}@[^\s@<>\"(),;:\\]{1,250}$")
_ITEM = re.compile(r"(?:\"(?:[^\"\\]|\\.)*\"|<[^<>]*>|\([^()]*\)|[^,;\"<(]|[\"<(])+?(?=[,;]|$)")
# Letters whose case every version of Unicode agrees on: Postgres checks that addresses are in lower case.
_SETTLED = re.compile("^[\u0021-\u1fff\u3040-\ud7ff]+$")
_COMMENT = re.compile(r"\(([^()]*)\)")
_ESCAPED = re.compile(r"\\(.)")


def parse_list(header: str) -> list[Address]:
    """Return the mailboxes of an address header, in order, without repetition."""
    header = header[:MAX_HEADER]
    if '"' not in header and "(" not in header and ":" not in header:
        items = header.replace(";", ",").split(",")
    else:
        items = _items(header)
    found: dict[str, Address] = {}
    held = ""
    for item in items:
        whole = f"{held},{item}" if held else item
        address = _mailbox(whole)
        if address is not None:
            found.setdefault(address.email, address)
            held = ""
        elif "@" not in item and len(whole) < 200:
            held = whole  # a name with an unquoted comma: "Doe, Jane <jane@...>"
        else:
            held = ""
        if len(found) >= MAX_ADDRESSES:
            break
    return list(found.values())


def _items(header: str) -> list[str]:
    """Split on commas and semicolons that stand outside quotes, brackets and comments."""
    items: list[str] = []
    start = index = 0
    quoted = False
    depth = 0
    for index, letter in enumerate(header):
        if letter == '"' and (index == 0 or header[index - 1] != "\\"):
            quoted = not quoted
        elif quoted:
            continue
        elif letter in "(<":
            depth += 1
        elif letter in ")>":
            depth = max(0, depth - 1)
        elif letter == ":" and not depth and "@" not in header[start:index] and "=?" not in header[start:index]:
            start = index + 1
        elif letter in ",;" and not depth:
            items.append(header[start:index])
            start = index + 1
    items.append(header[start:])
    if quoted or depth:  # an unbalanced header: plain commas are the better guess
        return header.replace(";", ",").split(",")
    return items


def _mailbox(item: str) -> Address | None:
    item = item.strip()
    if not item:
        return None
    opening = item.rfind("<")
    if opening >= 0:
        closing = item.find(">", opening)
        email = clean(item[opening + 1 : closing if closing >= 0 else len(item)])
        if email is not None:
            return Address(email, _name(item[:opening]) or _name(item[closing + 1 :] if closing >= 0 else ""))
    found = _EMAIL.search(item)
    if found is None:
        return None
    email = clean(found[0])
    if email is None:
        return None
    comment = _COMMENT.search(item)
    return Address(email, _name(comment[1]) if comment else _name(item[: found.start()].rstrip("<")))


def clean(text: str) -> str | None:
    """Return the address in lower case, or None when it is none."""
    email = text.strip().strip("'\"").lower()
    if _BARE.match(email) is None:
        email = email.removeprefix("mailto:").replace(" ", "").strip("'\"")
        if _BARE.match(email) is None:
            return None
    email = email.strip(".")
    return email if email.isprintable() and (email.isascii() or _SETTLED.match(email)) else None


def _name(text: str) -> str:
    text = decode_words(text.strip()) if "=?" in text else text.strip()
    if text[:1] == '"' or "\\" in text:
        text = _ESCAPED.sub(r"\1", text.strip('"'))
    return storable(" ".join(text.strip("\"' ").split()))[:300]
