"""A whole rack host for tests: supervisord, the agent and real daemons in a network namespace."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.query

from lab import namespace, tftp_client
from lab.dhcp6_client import Client6, Lease6
from lab.process import ProcessName, end_processes, name_process
from renderers import registry
from renderers.intent import RackIntent
from workers.rack.channels.kea import KeaClient
from workers.rack.probes.dhcp4 import Offered, discover
from workers.rack.units import SupervisorUnits

REPOSITORY = Path(__file__).resolve().parents[2]
MAC = "52:54:00:20:00:0a"
RACK = "10.20.0.1"

SUPERVISOR = """\
[unix_http_server]
file={root}/run/supervisor.sock
chmod=0700
[supervisord]
nodaemon=true
user=root
directory={root}
logfile={root}/log/supervisord.log
pidfile={root}/run/supervisord.pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[include]
files={root}/units/*.conf
[program:agent]
command={python} -m {agent}
directory={repository}
startsecs=0
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={root}/log/agent.log
"""


@dataclass
class RackHost:
    """One rack host under test."""

    root: Path
    intent: RackIntent
    inside: str
    agent: str = "workers.rack agent --root {root}"
    supervisor: subprocess.Popen[bytes] | None = None
    name: ProcessName | None = None

    @property
    def units(self) -> SupervisorUnits:
        """The host's daemons."""
        return SupervisorUnits(self.root, self.root / "run" / "supervisor.sock")

    @property
    def kea(self) -> KeaClient:
        """Kea's control socket."""
        return KeaClient(self.root / "services" / "kea4" / "run" / "kea4-ctrl-socket")

    @property
    def kea6(self) -> KeaClient:
        """The control socket of Kea's DHCPv6 server."""
        return KeaClient(self.root / "services" / "kea6" / "run" / "kea6-ctrl-socket", family=6)

    def boot(self) -> None:
        """Start supervisord with the agent, as the host's init would."""
        agent = self.agent.format(root=self.root)
        text = SUPERVISOR.format(root=self.root, python=sys.executable, repository=REPOSITORY, agent=agent)
        (self.root / "supervisord.conf").write_text(text)
        argv = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(self.root / "supervisord.conf")]
        # supervisord ends when it can write its standard error no more, so that is not on the disk that tests fill.
        argv = [*namespace.exec_prefix(self.inside), *argv]
        self.supervisor = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.name = name_process(self.supervisor.pid)

    def enrol(self, url: str, code: str) -> None:
        """Make the host a rack, as its administrator does."""
        argv = [sys.executable, "-m", "workers.rack", "enrol", "--no-hosts-database", "--url", url]
        argv += ["--code-file", "-", "--root"]
        done = subprocess.run(
            [*namespace.exec_prefix(self.inside), *argv, str(self.root)],
            input=code,
            text=True,
            cwd=REPOSITORY,
            check=False,
            capture_output=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    def show_logs(self) -> None:
        """Print the end of every log, for a failed test's report."""
        for log in sorted((self.root / "log").glob("*.log")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-3000:]}")

    def halt(self) -> None:
        """End everything on the host."""
        if self.supervisor is not None and self.name is not None:
            end_processes([self.name], patience=20)
            self.supervisor.wait(timeout=20)
            end_processes(namespace.residents(self.inside))
        self.supervisor = None

    def discover(self, mac: str = MAC) -> Offered:
        """Ask for an address from the machines' side."""
        return namespace.inside(f"{self.inside}-c", lambda: discover("end0", mac, frozenset({RACK})))

    def lease6(self, **what: Any) -> Lease6:
        """Take an IPv6 address from the machines' side; `what` is who asks."""
        return namespace.inside(f"{self.inside}-c", lambda: Client6("end0", **what).solicit_and_request())

    def resolve(self, name: str, kind: str = "A") -> list[str]:
        """Ask the rack's DNS from the machines' side."""

        def ask() -> list[str]:
            answer = dns.query.udp(dns.message.make_query(name, kind), RACK, timeout=2)
            return [rdata.to_text() for rrset in answer.answer for rdata in rrset]

        return namespace.inside(f"{self.inside}-c", ask)

    def read_loader(self) -> bytes:
        """Read the BIOS loader by TFTP from the machines' side."""
        return namespace.inside(f"{self.inside}-c", lambda: tftp_client.read_file(RACK, "undionly.kpxe"))

    def pids(self) -> dict[str, int | None]:
        """Processes by service."""
        return {spec.name: self.units.pid(spec.name) for spec in registry.services()}
