"""
Which mails belong together, whatever order they arrive in.

Every mail names ids: its own, its provider's conversation, and those it answers. A mail joins the thread of the
first of them that is known, and all its ids belong to that thread from then on; so a parent that arrives later finds
its children's thread. Two threads become one only through a mail that one of them has been waiting for: a mail that
merely names messages of two threads cannot glue them together.
"""

import hashlib
from dataclasses import dataclass, field

from tools.mail.messages import Mail

MAX_IDS = 40


def keys_of(mail: Mail, own: str) -> list[str]:
    """Return the ids by which the mail can be found in its thread; `own` is its message id, or what stands for it."""
    keys = [own]
    if mail.conversation_id:
        keys.append(f"conversation:{mail.conversation_id}")
    if mail.in_reply_to:
        keys.append(mail.in_reply_to)
    references = mail.references
    if len(references) > MAX_IDS:
        references = [references[0], *references[1 - MAX_IDS :]]  # the oldest names the thread
    keys.extend(reversed(references))
    return list(dict.fromkeys(keys)) if len(keys) > 1 else keys


def fingerprint(mail: Mail) -> str:
    """Return an id for a mail that has none, from what it says: the same mail gets the same one."""
    moment = mail.sent_at or mail.received_at
    parts = [
        mail.provider_id,
        mail.sender.email if mail.sender else "",
        moment.isoformat() if moment else "",
        mail.subject,
    ]
    parts += [address.email for address in mail.to]
    parts += [mail.text or mail.html]
    parts += [f"{part.name}:{part.size}" for part in mail.attachments]
    digest = hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()
    return f"{digest[:40]}@content.invalid"


@dataclass
class Threads:
    """The threads of one mailbox as far as a batch needs them."""

    of: dict[str, str]
    """Which thread an id belongs to, for all ids known so far."""
    added: dict[str, str] = field(default_factory=dict[str, str])
    merged: dict[str, str] = field(default_factory=dict[str, str])
    """Threads that turned out to be part of another: old to new."""

    def join(self, keys: list[str]) -> str:
        """Return the thread of the mail with these ids, of which the first is its own."""
        of = self.of
        awaited = keys[0] in of
        thread = ""
        for key in keys:
            known = of.get(key)
            if known is None:
                continue
            known = self.root(known)
            if not thread:
                thread = known
                if not awaited:
                    break
            elif known != thread:
                kept, gone = min(thread, known), max(thread, known)
                self.merged[gone] = thread = kept
        thread = thread or _name(keys)
        for key in keys:
            if key not in of:
                of[key] = self.added[key] = thread
        return thread

    def root(self, thread: str) -> str:
        """Return the thread that this one has become part of, or itself."""
        while thread in self.merged:
            thread = self.merged[thread]
        return thread


def _name(keys: list[str]) -> str:
    """Name a new thread: the provider's conversation, else the oldest mail of it that is known by id."""
    if len(keys) > 1 and keys[1].startswith("conversation:"):
        return keys[1].removeprefix("conversation:")
    return keys[-1]
