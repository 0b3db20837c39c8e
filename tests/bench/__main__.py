"""
`python -m tests.bench [routes runs ingest memory events cases]`: every bench in a process of its own, one after the other.

Each prints a table: ours, the bare limit beside it in the same interleaved run, the ratio. Quote ratios, not times.
"""

import subprocess
import sys

BENCHES = ("routes", "runs", "ingest", "memory", "events", "cases")


def main(wanted: list[str]) -> int:
    """Run the named benches, or all; return how many failed."""
    unknown = sorted(set(wanted) - set(BENCHES))
    if unknown:
        sys.stderr.write(f"There is no bench {', '.join(unknown)}; there are: {', '.join(BENCHES)}.\n")
        return 2
    failed = 0
    for name in wanted or BENCHES:
        sys.stdout.write(f"\n== {name}\n")
        sys.stdout.flush()
        failed += subprocess.run([sys.executable, "-m", f"tests.bench.{name}"], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
