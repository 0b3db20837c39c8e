"""
The vault: secrets of connections, sealed with AES-256-GCM under a ring of keys.

    sealed = 1 | length of key id | key id | nonce (12) | ciphertext and tag

The first key of the ring seals, every key opens, so a key is rotated by putting a new one in front, sealing anew what
`is_stale` names, and dropping the old one. The name of a secret is authenticated with it: a sealed value moved to
another row does not open there. No message of this module holds a key, a value or a name of a key.
"""

import os
from collections.abc import Mapping
from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from memory.db import Tx
from memory.errors import NotFound, Outage
from memory.rows import Row

VERSION = 1
NONCE = 12
TAG = 16
LONGEST_KEY_ID = 64


class VaultEmpty(Outage):
    """The vault has no key; set RAINMAKER_VAULT_KEYS."""


class NotReadable(Outage):
    """The stored secret {name} cannot be read with the keys of this vault."""


class SecretNotFound(NotFound):
    """There is no secret {name}."""


class Vault:
    """A key ring; thread-safe, because it keeps nothing else."""

    def __init__(self, ring: Mapping[str, bytes]) -> None:
        """
        Hold the keys (32 bytes each) by their ids, the one to seal with first.

        Raises `VaultEmpty`, and `ValueError` for a key of another length.
        """
        if not ring:
            raise VaultEmpty
        if any(len(key) != 32 for key in ring.values()):
            raise ValueError("each key has 32 bytes")
        if any(not 0 < len(name.encode()) <= LONGEST_KEY_ID for name in ring):
            raise ValueError(f"each key id has 1 to {LONGEST_KEY_ID} bytes")
        self._keys = {name.encode(): AESGCM(key) for name, key in ring.items()}
        self._first = next(iter(self._keys))

    def __repr__(self) -> str:
        """Tell how many keys there are, and nothing about them."""
        return f"Vault({len(self._keys)} keys)"

    def seal(self, name: str, value: bytes) -> bytes:
        """Return the value sealed under the first key, bound to this name."""
        head, nonce = _head(self._first), os.urandom(NONCE)
        return head + nonce + self._keys[self._first].encrypt(nonce, value, head + name.encode())

    def open(self, name: str, sealed: bytes) -> bytes:
        """
        Return what was sealed under this name.

        Raises `NotReadable` when it was sealed by another ring or under another name, or was changed since.
        """
        with suppress(InvalidTag, ValueError, LookupError):
            head = _head_of(sealed)
            nonce, secret = sealed[len(head) : len(head) + NONCE], sealed[len(head) + NONCE :]
            return self._keys[head[2:]].decrypt(nonce, secret, head + name.encode())
        raise NotReadable(name=name)

    def is_stale(self, sealed: bytes) -> bool:
        """Tell whether another key than the first has sealed this."""
        return not sealed.startswith(_head(self._first))


def _head(key_id: bytes) -> bytes:
    return bytes((VERSION, len(key_id))) + key_id


def _head_of(sealed: bytes) -> bytes:
    """Return version, length and key id; raises `ValueError` when there is no room for a secret after them."""
    if len(sealed) < 2 or sealed[0] != VERSION or len(sealed) < 2 + sealed[1] + NONCE + TAG:
        raise ValueError("not sealed by this version")
    return sealed[: 2 + sealed[1]]


# Kept in the database -----------------------------------------------------------------------------------------------


class _SecretRow(Row):
    name: str
    sealed: bytes


async def keep_secret(tx: Tx, vault: Vault, name: str, value: bytes) -> None:
    """Keep the value under this name, in place of what was there."""
    await tx.run(
        """
        INSERT INTO secrets (name, sealed, updated_at) VALUES (%(name)s, %(sealed)s, %(now)s)
        ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, updated_at = excluded.updated_at
        """,
        name=name,
        sealed=vault.seal(name, value),
    )


async def read_secret(tx: Tx, vault: Vault, name: str) -> bytes:
    """
    Return the value kept under this name.

    Raises `SecretNotFound`, `NotReadable`.
    """
    sealed = await tx.maybe(bytes, "SELECT sealed FROM secrets WHERE name = %(name)s", name=name)
    if sealed is None:
        raise SecretNotFound(name=name)
    return vault.open(name, sealed)


async def forget_secret(tx: Tx, name: str) -> bool:
    """Delete what is kept under this name; tell whether there was something."""
    return bool(await tx.run("DELETE FROM secrets WHERE name = %(name)s", name=name))


async def reseal_secrets(tx: Tx, vault: Vault) -> int:
    """
    Seal anew what an older key has sealed; return how many there were.

    Raises `NotReadable` when the ring has lost a key.
    """
    rows = await tx.many(_SecretRow, "SELECT name, sealed FROM secrets ORDER BY name FOR UPDATE")
    stale = [row for row in rows if vault.is_stale(row.sealed)]
    for row in stale:
        await keep_secret(tx, vault, row.name, vault.open(row.name, row.sealed))
    return len(stale)
