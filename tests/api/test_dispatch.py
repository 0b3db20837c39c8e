"""The table finds what a scan would find, and costs the same everywhere."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.dispatch import RouteTwice, Table

PATHS = (
    "/",
    "/a",
    "/a/b",
    "/a/{x}",
    "/a/{x}/b",
    "/a/b/{y}",
    "/a/{x}/{y}/c",
    "/a/c/d/e",
    "/{x}",
    "/{x}/b/c",
)


def table_of(*paths: str) -> Table[str]:
    table: Table[str] = Table()
    for path in paths:
        table.add(["GET"], path, path)
    return table


def scan(path: str) -> list[str]:
    """What a scan over patterns finds."""
    return [route for route in PATHS if re.fullmatch(re.sub(r"\{.\}", "([^/]+)", route), path)]


class TestTable:
    @settings(max_examples=400, deadline=None)
    @given(
        st.lists(st.sampled_from(["a", "b", "c", "d", "e", "z", ""]), max_size=5).map(
            lambda parts: "/" + "/".join(parts)
        )
    )
    def test_finds_what_a_scan_finds(self, path: str):
        found = table_of(*PATHS).find(path)
        candidates = scan(path)
        if found is None:
            assert candidates == []
            return
        route = found[0]["GET"]
        assert route in candidates
        assert len(found[1]) == route.count("{")
        assert route.count("{") == min(candidate.count("{") for candidate in candidates) or "{" in route

    def test_takes_the_literal_whatever_the_order(self):
        for order in (PATHS, PATHS[::-1]):
            table = table_of(*order)
            assert table.find("/a/b") == ({"GET": "/a/b"}, [])
            assert table.find("/a/7") == ({"GET": "/a/{x}"}, ["7"])

    def test_goes_back_when_the_literal_way_ends_nowhere(self):
        assert table_of(*PATHS).find("/a/c/b") == ({"GET": "/a/{x}/b"}, ["c"])
        assert table_of(*PATHS).find("/a/b/z/c") == ({"GET": "/a/{x}/{y}/c"}, ["b", "z"])

    @pytest.mark.parametrize("path", ["", "/a/", "//", "/a//b", "/a/b/c/d", "a"])
    def test_finds_nothing_where_nothing_is(self, path: str):
        assert table_of("/a", "/a/b", "/a/{x}/b").find(path) is None

    def test_keeps_methods_apart(self):
        table: Table[str] = Table()
        table.add(["GET"], "/a/{x}", "get")
        table.add(["PUT", "PATCH"], "/a/{y}", "put")
        assert table.find("/a/1") == ({"GET": "get", "PUT": "put", "PATCH": "put"}, ["1"])

    def test_refuses_two_answers_to_one_question(self):
        table = table_of("/a/{x}")
        with pytest.raises(RouteTwice, match=r"GET /a/\{y\}"):
            table.add(["GET"], "/a/{y}", "again")

    def test_costs_the_same_everywhere(self):
        """A scan over 300 routes takes fifty times as long for the last as for the first."""
        paths = [f"/api/noun-{number}/{{id}}/verb" for number in range(300)]
        table = table_of(*paths)

        def cost(path: str) -> float:
            best = float("inf")
            for _ in range(20):
                began = time.perf_counter()
                for _ in range(500):
                    table.find(path)
                best = min(best, time.perf_counter() - began)
            return best

        assert cost("/api/noun-299/7/verb") < 2 * cost("/api/noun-0/7/verb")
