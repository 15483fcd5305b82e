"""Where packages come from: the host's own apt sources, read and narrowed to one release.

Both formats of sources.list(5) are read: one line each (`*.list`) and deb822 (`*.sources`). Only enabled `deb` entries
of the release itself, its updates and its security suite that have the component `main` are kept, and of their
components only `main`; `non-free-firmware` is added by the builder after it has seen that the mirror has it.
A URI with a password in it is refused: it would be readable on every installed machine.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from workers.region.images.commands import BuildError

APT_DIRECTORY = Path("/etc/apt")
MAIN = "main"
FIRMWARE_COMPONENT = "non-free-firmware"
_ONE_LINE = re.compile(r"^deb\s+(?:\[(?P<options>[^]]*)\]\s+)?(?P<uri>\S+)\s+(?P<suite>\S+)\s+(?P<components>.+)$")


@dataclass(frozen=True)
class AptSource:
    """One place of packages; `signed_by` is a keyring path, a fingerprint, an embedded key, or None for apt's own."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    signed_by: str | None = None

    def render(self, components: Sequence[str]) -> str:
        """This source as a deb822 stanza with the given components."""
        lines = [
            "Types: deb",
            f"URIs: {' '.join(self.uris)}",
            f"Suites: {' '.join(self.suites)}",
            f"Components: {' '.join(components)}",
        ]
        if self.signed_by is not None:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def render(sources: Sequence[AptSource], components: Sequence[str]) -> str:
    """The deb822 text of all sources."""
    return "\n".join(source.render(components) for source in sources)


def read_sources(directory: Path, codename: str) -> tuple[AptSource, ...]:
    """The host's sources for a release; raises BuildError if they do not even hold the release itself."""
    wanted = (codename, f"{codename}-updates", f"{codename}-security")
    files = [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]
    found: list[AptSource] = []
    for path in files:
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".list":
            entries = list(_one_line_entries(text))
        elif path.suffix == ".sources":
            entries = list(_deb822_entries(text))
        else:
            continue
        for uris, suites, components, signed_by in entries:
            kept = tuple(suite for suite in suites if suite in wanted)
            if not kept or MAIN not in components:
                continue
            for uri in uris:
                _check_uri(uri, path)
            source = AptSource(uris, kept, signed_by)
            if source not in found:
                found.append(source)
    if not any(codename in source.suites for source in found):
        raise BuildError(
            f"{directory}: no enabled apt source has suite {codename} with component {MAIN}; add one to "
            f"{directory}/sources.list.d (a mirror of Debian), because the images are made from its packages"
        )
    return tuple(found)


def keyring_paths(sources: Sequence[AptSource]) -> tuple[Path, ...]:
    """The keyring files that the sources name."""
    names = {word for source in sources for word in (source.signed_by or "").split() if word.startswith("/")}
    return tuple(Path(name) for name in sorted(names))


_Entry = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], str | None]


def _one_line_entries(text: str) -> Iterator[_Entry]:
    for raw in text.splitlines():
        match = _ONE_LINE.match(raw.split("#", 1)[0].strip())
        if match is None:
            continue
        options = dict(option.split("=", 1) for option in (match["options"] or "").split() if "=" in option)
        signed_by = options.get("signed-by")
        yield (
            (match["uri"],),
            (match["suite"],),
            tuple(match["components"].split()),
            None if signed_by is None else " ".join(signed_by.split(",")),
        )


def _deb822_entries(text: str) -> Iterator[_Entry]:
    for stanza in _stanzas(text):
        if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() in ("no", "false", "0"):
            continue
        yield (
            tuple(stanza.get("uris", "").split()),
            tuple(stanza.get("suites", "").split()),
            tuple(stanza.get("components", "").split()),
            stanza.get("signed-by"),
        )


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Fields by lower-case name; continuation lines keep their indent, as an embedded key needs it."""
    stanza: dict[str, str] = {}
    name = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if stanza:
                yield stanza
            stanza, name = {}, ""
        elif line[0] in " \t":
            if name:
                stanza[name] += "\n" + line
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.strip().lower()
            stanza[name] = value.strip()


def _check_uri(uri: str, path: Path) -> None:
    parts = urlsplit(uri)
    if parts.password or (parts.username and parts.scheme in ("http", "https")):
        raise BuildError(
            f"{path}: the source on host {parts.hostname} has credentials in its URI, which would be copied into the "
            "images; use a mirror that needs none"
        )
    if parts.scheme in ("cdrom", "mirror+file"):
        raise BuildError(
            f"{path}: a source of type {parts.scheme}: cannot be used to build images; add a network mirror"
        )
