"""`python -m workers.region.images build [--cache DIR] [--progress] [--force]` and `... verify [--cache DIR]`.

Exit codes: 0 done, 1 failed (one sentence on stderr says why), 2 wrong usage, 130 interrupted.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from workers.region.images import manifest
from workers.region.images.build import build
from workers.region.images.commands import BuildError
from workers.region.images.recipe import DEBIAN_12

DEFAULT_CACHE = "/var/cache/muster"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """The parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m workers.region.images", description="Build and check boot images.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, text in (("build", "build what is missing, stale or damaged"), ("verify", "check the cached files")):
        sub = verbs.add_parser(verb, help=text)
        default = os.environ.get("MUSTER_CACHE", DEFAULT_CACHE)
        sub.add_argument("--cache", type=Path, default=Path(default), help=f"where images are kept ({default})")
        if verb == "build":
            sub.add_argument("--progress", action="store_true", help="say each step on stderr")
            sub.add_argument("--force", action="store_true", help="build although the cache is good (newer packages)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code."""
    given = arguments(argv)
    began = time.monotonic()
    cache: Path = given.cache.absolute()

    def say(line: str) -> None:
        if given.verb == "build" and given.progress:
            print(line, file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if given.verb == "verify":
            made = manifest.verify(cache / DEBIAN_12.name, DEBIAN_12.digest())
        else:
            made = build(DEBIAN_12, cache, say, force=given.force)
    except (BuildError, manifest.ManifestError) as error:
        print(f"muster images: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("muster images: interrupted; nothing was changed in the cache", file=sys.stderr)
        return 130
    total = sum(file.size_bytes for file in made.files) / 2**20
    print(
        f"{cache / made.name}: good, built {made.built_at}, kernel {made.kernel}, {total:.0f} MiB "
        f"(took {time.monotonic() - began:.1f} s)"
    )
    return 0


def _interrupt(number: int, frame: object) -> None:
    """SIGTERM ends a build like Ctrl-C does, with everything cleaned up."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    raise SystemExit(main())
