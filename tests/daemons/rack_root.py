"""A rack's directories with rendered bundles in them, and daemons started on them inside a namespace."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from lab import namespace
from lab.process import ProcessName, end_processes, name_process
from renderers.intent import RackIntent
from renderers.kea import hosts_path
from renderers.spec import ServiceSpec
from workers.rack.channels import kea

_T = TypeVar("_T")
SECRETS = {
    "dns-secondary-3-1": "b3V0c2lkZS1rZXktZm9yLXRlc3RzLW9ubHktMDEyMzQ=",
    "tsig-update": "bXVzdGVyLXVwZGF0ZS1rZXktZm9yLXRlc3RzLW9ubHk=",
    "rndc-key": "cm5kYy1rZXktZm9yLXRlc3RzLW9ubHktMDEyMzQ1Njc=",
    "relay-token": "relay-token-for-tests",
    "omapi": "b21hcGkta2V5LWZvci10ZXN0cy1vbmx5LTAxMjM0NTY=",
    "hosts-db": "aG9zdHMtZGItcGFzc3dvcmQtZm9yLXRlc3RzLW9ubHk=",
}


@contextmanager
def rack_directory() -> Iterator[str]:
    """A directory that every daemon's user may enter (pytest's own is private to root)."""
    root = tempfile.mkdtemp(prefix="muster-rack-")
    os.chmod(root, 0o755)  # noqa: S103 - daemons of other users must pass
    try:
        yield root
    finally:
        shutil.rmtree(root)


@contextmanager
def network_of(intent: RackIntent, name: str) -> Iterator[str]:
    """A namespace with the intent's interfaces and the rack's addresses; their other ends are in `name`-c, up.

    The other end of the n-th interface is called `end<n>`.  Relayed VLANs have no interface of their own.
    """
    namespace.run(["ip", "netns", "add", name])
    try:
        with machines_of(intent, name):
            yield name
    finally:
        end_processes(namespace.residents(name))
        namespace.run(["ip", "netns", "del", name])


@contextmanager
def machines_of(intent: RackIntent, name: str) -> Iterator[str]:
    """The machines' side of a rack's namespace that is there already, and the wires between them; see `network_of`."""
    client = f"{name}-c"
    namespace.run(["ip", "netns", "add", client])
    try:
        commands = ["link set lo up"]
        own = [vlan for vlan in intent.vlans if not vlan.relayed]
        for number, vlan in enumerate(own):
            commands.append(f"link add {vlan.interface} type veth peer name end{number} netns {client}")
            commands.append(f"link set {vlan.interface} up")
            for subnet in vlan.subnets:
                if subnet.rack_address is not None:
                    length = subnet.cidr.split("/")[1]
                    nodad = " nodad" if subnet.family == 6 else ""
                    commands.append(f"addr add {subnet.rack_address}/{length} dev {vlan.interface}{nodad}")
        namespace.batch(name, commands)
        namespace.batch(client, ["link set lo up", *(f"link set end{number} up" for number in range(len(own)))])
        yield client
    finally:
        end_processes(namespace.residents(client))
        namespace.run(["ip", "netns", "del", client])


def at(intent: RackIntent, root: str) -> RackIntent:
    """The same intent on a rack that keeps its files elsewhere, with the libraries of this host."""
    return replace(intent, layout=replace(intent.layout, root=root, kea_lease_hook=kea.hook(kea.LEASE_HOOK)))


def install(spec: ServiceSpec, intent: RackIntent) -> Path:
    """Write a service's bundle and state as a rack would; return the service's directory."""
    base = Path(intent.layout.root, "services", spec.name)
    release = base / "releases" / "one"
    for path in (release, base / "state", base / "run"):
        path.mkdir(parents=True, exist_ok=True)
    for path in (base / "state", base / "run"):
        _give(path, spec.user)
    (base / "run").chmod(spec.run_mode)
    (base / "current").symlink_to(release)
    for file in spec.render(intent).files:
        text = file.text
        for name in file.secret_references:
            text = text.replace(f"@secret:{name}@", SECRETS[name])
        path = release / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(file.mode)
        _give(path, file.owner)
    for item in spec.state_files(intent):
        path = base / "state" / item.path
        shutil.copy(release / item.source, path)
        _give(path, spec.user)
    if spec.channel == "kea":
        for subnet in intent.subnets:
            path = Path(hosts_path(intent, spec.name, subnet.subnet_id))
            path.parent.mkdir(exist_ok=True)
            path.touch()
    return base


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def fill(words: tuple[str, ...], base: Path) -> list[str]:
    """A command line with its places filled in; staged and current are the same release."""
    places = {
        "staged": base / "current",
        "current": base / "current",
        "state": base / "state",
        "run": base / "run",
        "python": sys.executable,
    }
    filled = list(words)
    for name, path in places.items():
        filled = [word.replace(f"{{{name}}}", str(path)) for word in filled]
    return filled


def check(spec: ServiceSpec, base: Path, inside: str) -> subprocess.CompletedProcess[str]:
    """Run a service's own checker inside a namespace."""
    assert spec.checker is not None
    argv = [*namespace.exec_prefix(inside), *fill(spec.checker, base)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def running(spec: ServiceSpec, intent: RackIntent, inside: str) -> Iterator[Path]:
    """Install a service and run its daemon inside a namespace; end exactly that process afterwards."""
    base = install(spec, intent)
    with daemon(spec, intent, inside, base):
        yield base


@contextmanager
def daemon(spec: ServiceSpec, intent: RackIntent, inside: str, base: Path) -> Iterator[None]:
    """Run the daemon of a service that is installed at `base`; end exactly that process afterwards."""
    environment = {**os.environ, **{key: fill((value,), base)[0] for key, value in spec.environment}}
    prefix = namespace.exec_prefix(inside)
    if spec.prepare is not None:
        subprocess.run(
            [*prefix, *fill(spec.prepare, base)], env=environment, check=True, timeout=60, capture_output=True
        )
    with (base / "output.log").open("w") as log:
        command = fill(spec.command_for(intent), base)
        process = subprocess.Popen([*prefix, *command], stdout=log, stderr=log, env=environment)
    started = name_process(process.pid) or ProcessName(process.pid, -1)
    try:
        yield
        assert process.poll() is None, (base / "output.log").read_text()
    finally:
        end_processes([started])
        process.wait(timeout=10)


def eventually(work: Callable[[], _T], seconds: float = 10.0) -> _T:
    """Repeat `work` until it raises nothing, for as long as daemons may take to start; then raise what it raised last."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return work()
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
