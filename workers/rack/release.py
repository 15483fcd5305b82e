"""Releases: a bundle written to disk with its secrets, checked, and remembered with what its daemon was started with."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from renderers.bundle import Bundle
from renderers.spec import ProbeSpec, ServiceSpec, StateFile
from workers.rack.channels.base import ChannelError, run
from workers.rack.files import ServiceDirectories, change_owner, substitute, write_atomically
from workers.rack.report import CheckFailed
from workers.rack.secret_files import SecretFiles
from workers.rack.units import Unit

CHECK_SECONDS = 60.0
APPLIED_FILE = "applied.json"
JOURNAL_FILE = "applying.json"


@dataclass(frozen=True)
class Applied:
    """What a service runs, and what is needed to run it again without the control plane."""

    offer: int
    release: str
    digest: str
    secrets: str
    unit: Unit
    probes: tuple[ProbeSpec, ...]

    def save(self, path: Path) -> None:
        """Keep it."""
        write_atomically(path, json.dumps(asdict(self)).encode(), mode=0o600)

    @classmethod
    def load(cls, path: Path) -> Applied | None:
        """Read it; None if there is none or it is damaged (then the next apply writes it anew)."""
        try:
            data = json.loads(path.read_text())
            unit = data["unit"]
            return cls(
                int(data["offer"]),
                str(data["release"]),
                str(data["digest"]),
                str(data["secrets"]),
                Unit(unit["name"], tuple(unit["command"]), tuple((str(n), str(v)) for n, v in unit["environment"])),
                tuple(
                    ProbeSpec(item["kind"], tuple((str(name), value) for name, value in item["parameters"]))
                    for item in data["probes"]
                ),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None


def stage(bundle: Bundle, directories: ServiceDirectories, secrets: SecretFiles) -> Path:
    """Write the bundle into a release directory of its own; the directory.

    A release is never changed: if the name is taken by one that is in use, another name is taken.
    """
    in_use = {directories.target(directories.current), directories.target(directories.last_good)}
    name = bundle.digest
    attempt = 1
    while name in in_use:
        attempt += 1
        name = f"{bundle.digest}.{attempt}"
    release = directories.releases / name
    shutil.rmtree(release, ignore_errors=True)
    try:
        release.mkdir(parents=True)
        release.chmod(0o755)
        for file in bundle.files:
            path = release / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, secrets.fill(file.text).encode(), mode=file.mode, owner=file.owner)
        descriptor = os.open(release, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException:
        shutil.rmtree(release, ignore_errors=True)
        raise
    return release


def check(spec: ServiceSpec, release: Path, directories: ServiceDirectories) -> None:
    """Run the daemon's own checker on staged files.  CheckFailed with what it said."""
    if spec.checker is None:
        return
    words = directories.words(release)
    environment = [f"{name}={substitute(value, words)}" for name, value in spec.environment]
    argv = [*(["env", *environment] if environment else []), *(substitute(item, words) for item in spec.checker)]
    try:
        run(argv, CHECK_SECONDS)
    except ChannelError as error:
        raise CheckFailed(str(error)) from error


def seed_state(
    files: tuple[StateFile, ...], bundle: Bundle, directories: ServiceDirectories, user: str, secrets: SecretFiles
) -> tuple[str, ...]:
    """Write the state files that are absent; their paths.  ValueError for a path that leaves the state directory."""
    texts = {file.path: file.text for file in bundle.files}
    seeded = []
    for file in files:
        if file.path.startswith("/") or ".." in file.path.split("/"):
            raise ValueError(f"state file {file.path!r} of {bundle.service} leaves the state directory")
        if file.source not in texts:
            raise ValueError(
                f"state file {file.path!r} of {bundle.service}: its source {file.source!r} is not in the bundle"
            )
        path = directories.state / file.path
        if path.exists():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        for parent in path.relative_to(directories.state).parents:
            change_owner(directories.state / parent, user)
        write_atomically(path, secrets.fill(texts[file.source]).encode(), mode=0o644, owner=user)
        seeded.append(file.path)
    return tuple(seeded)


def make_unit(spec: ServiceSpec, directories: ServiceDirectories, offered: tuple[str, ...]) -> Unit:
    """The daemon's command line: this rack's own, plus the arguments the offer adds.

    ValueError if the offer names another program: the control plane and the rack then run different software.
    """
    if offered[: len(spec.command)] != spec.command:
        raise ValueError(
            f"service {spec.name}: the offer's command {list(offered)} does not begin with this rack's"
            f" {list(spec.command)}; bring the rack and the control plane to the same version"
        )
    words = directories.words()
    return Unit(
        spec.name,
        tuple(substitute(item, words) for item in offered),
        tuple((name, substitute(value, words)) for name, value in spec.environment),
    )


def prune(directories: ServiceDirectories) -> None:
    """Delete releases that nothing points at; failing to is no failure.  An apply that is not over keeps all of its own."""
    if (directories.base / JOURNAL_FILE).exists() or not directories.releases.is_dir():
        return
    keep = {directories.target(directories.current), directories.target(directories.last_good)}
    for release in directories.releases.iterdir():
        if release.name not in keep:
            shutil.rmtree(release, ignore_errors=True)
