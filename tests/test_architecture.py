"""The house stays as it is drawn: who may know whom, how long a module may be, what may not be in the project."""

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("memory", "prompts", "tools", "agents", "api", "evals")
LONGEST = 500
EMPTY_NAMES = {"utils", "helpers", "common", "misc", "shared"}


def modules(*floors: str) -> list[Path]:
    return [path for floor in floors for path in sorted((ROOT / floor).rglob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_import_contracts_hold():
    lint = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([lint, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_clients_of_vendors_know_no_nouns():
    strangers = {
        f"{name_of(path)} -> {imported}"
        for path in modules("tools/clients")
        for imported in imports_of(path)
        if imported.startswith("tools.") and not imported.startswith("tools.clients")
    }
    assert strangers == set()


def test_no_module_is_too_long_to_read():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in modules(*FLOORS, "tests")}
    assert {name: length for name, length in lengths.items() if length > LONGEST} == {}


def test_no_module_is_named_after_nothing():
    assert [name_of(path) for path in modules(*FLOORS) if path.stem in EMPTY_NAMES] == []


def test_nothing_below_the_edge_reads_a_clock():
    reads = re.compile(r"datetime\.now\(|datetime\.utcnow\(|date\.today\(")
    # A vendor may name the moment to come back at: its client has to know what time it is.
    operations = set(modules("tools", "agents")) - set(modules("tools/clients"))
    assert [name_of(path) for path in sorted(operations) if reads.search(path.read_text())] == []


def test_migrations_are_numbered_without_gaps():
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "memory/migrations").glob("*.sql"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-dev.lock"])
class TestLock:
    def test_holds_no_addresses(self, lock):
        text = (ROOT / lock).read_text()
        assert re.findall(r"://|--index-url|--extra-index-url|--find-links| @ ", text) == []

    def test_pins_every_package_by_hash(self, lock):
        blocks = re.split(r"\n(?=\S)", (ROOT / lock).read_text().strip())
        assert [
            block.split(maxsplit=1)[0] for block in blocks if "==" not in block or "--hash=sha256:" not in block
        ] == []

    def test_leaves_torch_out(self, lock):
        names = Counter(re.findall(r"^([a-z0-9_.-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
        assert {"torch", "transformers", "sentence-transformers"} & set(names) == set()
