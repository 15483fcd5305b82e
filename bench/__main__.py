"""`python -m bench [NAME] [--list]`: run the benchmarks and compare what they saw with what is promised.

Exit code 0: every limit is kept; 1: one is not; 2: there is no benchmark of that name.
"""

from __future__ import annotations

import argparse
import sys

from bench.figure import Figure, benches, table


def main(arguments: list[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what is promised in numbers.")
    parser.add_argument("name", nargs="?", help="one benchmark; without it all are run")
    parser.add_argument("--list", action="store_true", help="say which there are")
    asked = parser.parse_args(arguments)
    known = benches()
    if asked.list:
        width = max(len(name) for name in known)
        for one in known.values():
            print(f"{one.name:<{width}}  {one.title}")
        return 0
    if asked.name and asked.name not in known:
        print(f"bench: there is no benchmark {asked.name!r}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    seen: list[Figure] = []
    for one in [known[asked.name]] if asked.name else known.values():
        print(f"# {one.name}: {one.title}", flush=True)
        figures = one.run()
        seen += figures
        for line in table(figures):
            print(line, flush=True)
    return 0 if all(figure.ok for figure in seen) else 1


if __name__ == "__main__":
    sys.exit(main())
