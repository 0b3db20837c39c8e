"""
Which route answers: one walk over the path's segments instead of a scan over the whole table.

A literal segment goes before a parameter, whatever the order of declaration; when the literal way ends nowhere, the walk
goes back and takes the parameter. So the last of three hundred routes costs what the first does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


class RouteTwice(Exception):
    """Two routes answer the same method and path."""


@dataclass(slots=True)
class Node(Generic[T]):
    """One segment of the table: what follows it, and what answers when the path ends here."""

    literal: dict[str, "Node[T]"] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]
    parameter: "Node[T] | None" = None
    methods: dict[str, T] = field(default_factory=dict)  # pyright: ignore[reportUnknownVariableType]


class Table(Generic[T]):
    """Methods and paths, and what answers them; `{name}` is a parameter of one segment."""

    def __init__(self) -> None:
        """An empty table refuses everything."""
        self._root: Node[T] = Node()
        self._exact: dict[str, dict[str, T]] = {}

    def add(self, methods: Iterable[str], path: str, target: T) -> None:
        """
        Let `target` answer these methods at this path.

        Raises `RouteTwice`.
        """
        node = self._root
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                node.parameter = node.parameter or Node()
                node = node.parameter
            else:
                node = node.literal.setdefault(segment, Node())
        for method in methods:
            if method in node.methods:
                raise RouteTwice(f"{method} {path}")
            node.methods[method] = target
        if "{" not in path:
            self._exact[path] = node.methods

    def find(self, path: str) -> tuple[dict[str, T], list[str]] | None:
        """Return what answers at this path by method, with the values of its parameters; None when nothing does."""
        exact = self._exact.get(path)
        if exact is not None:
            return exact, []
        values: list[str] = []
        methods = _walk(self._root, path.split("/"), 1, values)
        return None if methods is None else (methods, values)


def _walk(node: Node[T], segments: list[str], at: int, values: list[str]) -> dict[str, T] | None:
    if at == len(segments):
        return node.methods or None
    segment = segments[at]
    following = node.literal.get(segment)
    if following is not None:
        methods = _walk(following, segments, at + 1, values)
        if methods is not None:
            return methods
    if node.parameter is None or not segment:
        return None
    values.append(segment)
    methods = _walk(node.parameter, segments, at + 1, values)
    if methods is None:
        values.pop()
    return methods
