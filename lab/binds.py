"""Name servers of several racks on one wire: real BINDs, each in a namespace of its own, on the files that are rendered.

The wire is a bridge in one more namespace.  Everything that is started or made here is ended and removed on leaving,
also after a failure.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import dns.message
import dns.query
import dns.rcode
import dns.rdatatype

from lab import namespace
from lab.process import ProcessName, end_processes, name_process
from renderers.intent import RackIntent
from renderers.services import bind

_T = TypeVar("_T")
PREFIX = 24


@dataclass
class NameHost:
    """A host on the wire: a namespace with one address, and perhaps a BIND in it."""

    space: str
    address: str
    root: Path
    process: subprocess.Popen[bytes] | None = None

    def inside(self, work: Callable[[], _T]) -> _T:
        """Do something on this host."""
        return namespace.inside(self.space, work)

    def start(self, config: Path, user: str = bind.USER) -> None:
        """Start BIND on a configuration."""
        argv = [*namespace.exec_prefix(self.space), "named", "-g", "-u", user, "-c", str(config)]
        with (self.root / "named.log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def stop(self) -> None:
        """End BIND at once, as a power cut would."""
        if self.process is not None:
            end_processes([name_process(self.process.pid) or ProcessName(self.process.pid, -1)])
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    def ask(self, server: str, name: str, kind: str = "A", recurse: bool = False) -> tuple[str, tuple[str, ...]]:
        """A question from this host; rcode and data of the answer, aliases not followed."""
        query = dns.message.make_query(name, kind)
        if not recurse:
            query.flags &= ~dns.flags.RD
        answer = self.inside(lambda: dns.query.udp(query, server, timeout=2, raise_on_truncation=False))
        wanted = dns.rdatatype.from_text(kind)
        data = [rdata.to_text() for rrset in answer.answer if rrset.rdtype == wanted for rdata in rrset]
        return dns.rcode.to_text(answer.rcode()), tuple(sorted(data))


class NameRack(NameHost):
    """A rack's name server: the rendered files and state below `root`, as a rack has them."""

    @property
    def base(self) -> Path:
        """The service's directory."""
        return self.root / "services" / bind.NAME

    def serve(self, intent: RackIntent, secrets: Mapping[str, str]) -> None:
        """Write the files for an intent; start BIND, or have it read them again."""
        intent = replace(intent, layout=replace(intent.layout, root=str(self.root)))
        current = self.base / "current"
        for path in (current, self.base / "state", self.base / "run"):
            path.mkdir(parents=True, exist_ok=True)
            _give(path, bind.USER)
        for file in bind.render(intent).files:
            text = file.text
            for name in file.secret_references:
                text = text.replace(f"@secret:{name}@", secrets[name])
            path = current / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            _give(path, file.owner)
        for item in bind.SERVICE.state_files(intent):
            path = self.base / "state" / item.path
            if not path.exists():
                shutil.copy(current / item.source, path)
                _give(path, bind.USER)
        if self.process is None:
            self.start(current / bind.FILE)
        else:
            argv = ["rndc", "-c", str(current / "rndc.conf"), "reconfig"]
            namespace.run([*namespace.exec_prefix(self.space), *argv])


@contextmanager
def wire(
    name: str, racks: Iterable[str], others: Iterable[str] = ()
) -> Iterator[tuple[list[NameRack], list[NameHost]]]:
    """Hosts at these addresses of a /24, on one bridge."""
    root = Path(tempfile.mkdtemp(prefix="muster-names-"))
    root.chmod(0o755)
    hub = f"{name}-hub"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, root)
        _make(stack, hub)
        namespace.batch(hub, ["link add br0 type bridge", "link set br0 up"])
        found: list[list[NameHost]] = [[], []]
        for kind, addresses in enumerate((racks, others)):
            for number, address in enumerate(addresses):
                space = f"{name}-{'ro'[kind]}{number}"
                _make(stack, space)
                port = f"{'ro'[kind]}{number}"
                namespace.batch(
                    space,
                    [
                        "link set lo up",
                        f"link add eth0 type veth peer name {port} netns {hub}",
                        "link set eth0 up",
                        f"addr add {address}/{PREFIX} dev eth0",
                    ],
                )
                namespace.batch(hub, [f"link set {port} master br0", f"link set {port} up"])
                directory = root / space
                directory.mkdir()
                host = (NameHost if kind else NameRack)(space, address, directory)
                stack.callback(host.stop)
                found[kind].append(host)
        yield [host for host in found[0] if isinstance(host, NameRack)], found[1]


def unique(word: str) -> str:
    """A short name of this process's own."""
    return f"{word}{os.getpid() % 100_000}"


def _make(stack: ExitStack, space: str) -> None:
    namespace.run(["ip", "netns", "add", space])
    stack.callback(namespace.run, ["ip", "netns", "del", space])
    stack.callback(lambda: end_processes(namespace.residents(space)))


def _give(path: Path, user: str) -> None:
    entry = pwd.getpwnam(user)
    os.chown(path, entry.pw_uid, entry.pw_gid)
