"""
What aggregates were after the last command of this process, so that the next one need not read their histories.

A guess and never the truth: another process may have gone on. So what is decided on it is appended only if the store is
still at that version (compare-and-set), and what is refused on it is decided again on the history; see `Database.decide`.
Nothing is kept that is not on disk: a server that crashes cannot come back at a version that means something else.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

SIZE = 10_000


class Recall:
    """The aggregates of the latest commands, at most `size` of them."""

    __slots__ = ("_kept", "_size")

    def __init__(self, size: int = SIZE) -> None:
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self._size = size

    def find(self, key: Hashable) -> Any:
        """Return what was kept, which nobody may change, or None."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def keep(self, key: Hashable, value: object) -> None:
        """Keep this instead of what was kept before."""
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
