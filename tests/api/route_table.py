"""
Every route as one line: method, path, operation, who may call it.

    python -m tests.api.route_table > tests/api/route_table.txt
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from fastapi.routing import APIRoute

from api.app import create_app
from api.endpoints import guard_of
from tests.api.conftest import settings_for_tests

FILE = Path(__file__).with_suffix(".txt")


def lines_of(routes: Sequence[APIRoute]) -> list[str]:
    """Return the table's lines, sorted by path and method."""
    entries = [
        (
            route.path,
            method,
            f"{route.endpoint.__module__.rpartition('.')[2]}.{route.endpoint.__name__}",
            guard_of(route),
        )
        for route in routes
        for method in route.methods or ()
    ]
    return [f"{method:6} {path:64} {operation:56} {guard}" for path, method, operation, guard in sorted(entries)]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines_of(create_app(settings_for_tests()).api_routes)) + "\n")
