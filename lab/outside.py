"""Looking at the site from outside of Muster: name servers, SSH, raw disks. Nothing here asks the control plane.

Commands run inside the site's switch namespace, where an administrator's laptop would be plugged in.
"""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

BETWEEN = "----- next -----"
SSH_FAILED = 255
"""What ssh(1) ends with when it could not log in; else it ends with what the command ended with."""
SAME_BOOT = 73


class NotSeen(AssertionError):
    """What should be visible from outside is not."""


@dataclass(frozen=True)
class Outside:
    """An observer at one place of the network. prefix: argv that enters its namespace; folder: for keys and known hosts."""

    prefix: tuple[str, ...]
    folder: Path

    def run(self, argv: Sequence[str], timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(
            [*self.prefix, *argv],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def names(self, server: str, fqdn: str, address: str) -> str:
        """The name resolves forward and reverse at `server`; NotSeen says what was answered instead."""
        kind = "AAAA" if ":" in address else "A"
        forward = self.dig(server, fqdn, kind)
        if forward != [address]:
            raise NotSeen(f"{server} answers {forward} for {fqdn} {kind}, expected {address}")
        reverse = self.run(["dig", "+short", "+time=2", "+tries=2", f"@{server}", "-x", address]).stdout.split()
        if reverse != [f"{fqdn}."]:
            raise NotSeen(f"{server} answers {reverse} for the reverse of {address}, expected {fqdn}.")
        return f"{fqdn} <-> {address} at {server}"

    def dig(self, server: str, name: str, kind: str) -> list[str]:
        """Answers of a name server, as text."""
        return self.run(["dig", "+short", "+time=2", "+tries=2", f"@{server}", name, kind]).stdout.split()

    def know_host(self, address: str, keys: Sequence[str]) -> None:
        """Trust exactly these host keys for an address (what the machine told when it phoned home)."""
        self._known_hosts(address).write_text("".join(f"{address} {' '.join(key.split()[:2])}\n" for key in keys))

    def ssh(self, address: str, command: Sequence[str], *, user: str = "debian", timeout: float = 60) -> str:
        """Output of a command on the machine, logged in with the owner's key; the host key must be known."""
        done = self._ssh(address, command, user, timeout)
        if done.returncode != 0:
            raise NotSeen(_failure(f"{user}@{address} {shlex.join(command)}", done))
        return done.stdout

    def _ssh(self, address: str, command: Sequence[str], user: str, timeout: float) -> subprocess.CompletedProcess[str]:
        argv = [
            "ssh", "-i", str(self.folder / "owner_key"), "-o", f"UserKnownHostsFile={self._known_hosts(address)}",
            "-o", "GlobalKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes",
            "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "LogLevel=ERROR", f"{user}@{address}", shlex.join(command),
        ]  # fmt: skip
        return self.run(argv, timeout)

    def ssh_all(self, address: str, *commands: Sequence[str]) -> list[str]:
        """What each of some commands says, in one login: an emulated processor takes seconds for the keys of each."""
        return _answers(self.ssh(address, ["sh", "-c", _script(commands)]))

    def _known_hosts(self, address: str) -> Path:
        return self.folder / f"known_hosts.{address}"

    def wait_for_ssh(
        self,
        address: str,
        unlike_boot: str | None,
        deadline_seconds: float,
        pause: Callable[[float], None] = time.sleep,
        *,
        then: Sequence[Sequence[str]] = (),
    ) -> tuple[str, list[str]]:
        """Boot id of the running system once SSH answers and it differs from `unlike_boot`, and what `then` said there.

        All in one login (see `ssh_all`). NotSeen when no new system answers in time, or one of the commands fails.
        """
        boot_id = "/proc/sys/kernel/random/boot_id"
        old = f'if [ "$(cat {boot_id})" = {shlex.quote(unlike_boot or "")} ]; then exit {SAME_BOOT}; fi'
        script = f"{old}; {_script([['cat', boot_id], *then])}"
        end = time.monotonic() + deadline_seconds
        last = "nothing answered"
        while time.monotonic() < end:
            try:
                done = self._ssh(address, ["sh", "-c", script], "debian", 60)
            except subprocess.TimeoutExpired as error:
                last = str(error)
            else:
                if done.returncode == 0:
                    boot, *said = _answers(done.stdout)
                    return boot, said
                if done.returncode not in (SAME_BOOT, SSH_FAILED):
                    raise NotSeen(_failure(f"debian@{address} {script}", done))
                last = "still the same boot" if done.returncode == SAME_BOOT else done.stderr.strip()
            pause(1.0)
        raise NotSeen(f"no new system at {address} within {deadline_seconds:.0f} s; last: {last}")


def _script(commands: Sequence[Sequence[str]]) -> str:
    return f"; echo {BETWEEN}; ".join(f"{shlex.join(command)} || exit 1" for command in commands)


def _answers(output: str) -> list[str]:
    return [said.strip() for said in output.split(f"{BETWEEN}\n")]


def _failure(what: str, done: subprocess.CompletedProcess[str]) -> str:
    return f"ssh {what}: exit code {done.returncode}: {done.stderr.strip()}"


def make_owner_key(folder: Path) -> str:
    """A fresh ed25519 key pair in `folder`; gives the public half."""
    folder.mkdir(parents=True, exist_ok=True)
    key = folder / "owner_key"
    if not key.exists():
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab-owner", "-f", str(key)],
            check=True,
            stdin=subprocess.DEVNULL,
        )
    return key.with_suffix(".pub").read_text().strip()
