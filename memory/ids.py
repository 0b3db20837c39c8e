"""Ids that grow with time, for keys that are looked up one by one: an index of them is written at its end only."""

import os
import time
from uuid import UUID


def uuid7() -> UUID:
    """Return a UUID of version 7: milliseconds since 1970, then 74 random bits (RFC 9562, 5.7)."""
    value = time.time_ns() // 1_000_000 << 80 | int.from_bytes(os.urandom(10))
    return UUID(int=value & ~(0xF000 << 64 | 0xC000 << 48) | 0x7000 << 64 | 0x8000 << 48)
