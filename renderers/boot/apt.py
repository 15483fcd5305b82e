"""Package sources of an installed Debian system: one deb822 file for each repository (sources.list(5)).

The installer writes them, cloud-init's `apt` does not: Debian's images keep their own sources in
`sources.list.d/debian.sources`, which cloud-init 22.4 (bookworm) neither knows nor replaces, and an operator's own `apt`
in user data would drop ours as a whole.  Keys stand in the files themselves (Signed-By, apt 2.4 and later), so that
neither gnupg nor a first boot is needed to make them good.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from renderers import text

FOLDER = "/etc/apt/sources.list.d"
MAIN_FILE = f"{FOLDER}/debian.sources"
"""Where the image keeps the system's own sources; a main repository stands in for all of them."""
DISTRIBUTION_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASE = "$RELEASE"
"""In a suite: the code name of the installed release."""
SUITE = re.compile(r"(\$RELEASE|[A-Za-z0-9])([A-Za-z0-9._/-]|\$RELEASE)*|\./|/")
WORD = re.compile(r"[a-z0-9][A-Za-z0-9._/-]{0,62}")
ARCHITECTURE = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
MAIN_SUITES = (RELEASE, f"{RELEASE}-updates")


@dataclass(frozen=True)
class Repository:
    """One repository. main: it replaces the system's own sources. key: armored public key, or empty.

    suites may hold `$RELEASE`; one that ends with `/` is a path without components.  architectures: of which machines;
    empty is all.
    """

    name: str
    url: str
    main: bool = False
    suites: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    key: str = ""


def files(repositories: tuple[Repository, ...], release: str, architecture: str) -> dict[str, str]:
    """Path and text of each source file of a system. ValueError names what cannot be written."""
    chosen = [one for one in repositories if not one.architectures or architecture in one.architectures]
    return {
        MAIN_FILE if one.main else f"{FOLDER}/muster-{_matching(WORD, one.name)}.sources": _stanza(
            one, release, architecture
        )
        for one in chosen
    }


def _stanza(repository: Repository, release: str, architecture: str) -> str:
    suites = repository.suites or (MAIN_SUITES if repository.main else (RELEASE,))
    named = [_matching(SUITE, suite).replace(RELEASE, _matching(WORD, release)) for suite in suites]
    flat = all(suite.endswith("/") for suite in named)
    lines = ["Types: deb", f"URIs: {text.url(repository.url)}", f"Suites: {' '.join(named)}"]
    if not flat:
        components = [_matching(WORD, component) for component in repository.components or ("main",)]
        lines.append(f"Components: {' '.join(components)}")
    if repository.architectures:
        lines.append(f"Architectures: {_matching(ARCHITECTURE, architecture)}")
    if repository.key:
        # A field of several lines: each is indented by one space, and an empty one is a dot (deb822(5)).
        lines += ["Signed-By:", *(f" {text.plain(line) or '.'}" for line in repository.key.strip().splitlines())]
    elif repository.main:
        lines.append(f"Signed-By: {DISTRIBUTION_KEYS}")
    return "\n".join([*lines, ""])


def _matching(rule: re.Pattern[str], word: str) -> str:
    if not rule.fullmatch(word):
        raise ValueError(f"{word!r}: cannot be one word of an apt source")
    return word
