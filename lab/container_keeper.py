"""The process that holds one container: `python -m lab.container_keeper keep|boot DIRECTORY`.

`keep` makes the container's network namespace, boots it, boots it anew when it asks for that, and takes away all that
was made when the container has ended or it is told to (SIGTERM).  It runs under `lab.tether`, so it outlives a test that
was killed for as long as the cleaning takes; if it is killed itself, the kernel kills the container with it.

`boot` runs in a mount namespace of its own, so that no mount is left to anybody, and as the first process of a process
namespace, so that nothing survives it (a container survives its systemd-nspawn).  It lays something writable over the
root, or copies it where that is refused, and runs systemd-nspawn, which with `--keep-unit` ends with 133 where the
container wants to be rebooted.
The container's systemd takes the whole control group it finds itself in for its own (two of them in one would end each
other's processes), so each boot gets a group of its own: a scope, where a systemd runs the host, else one made here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from lab.process import die_with_parent

REBOOT = 133
AGAIN = "again"
"""A file in the directory: boot anew, however the container has ended."""
CGROUPS = Path("/sys/fs/cgroup")
NSPAWN_RUN = Path("/run/systemd/nspawn")
HOST_SYSTEMD = Path("/run/systemd/system")


@dataclass(frozen=True)
class Plan:
    """What is held. name: of the network namespace and the host; binds: host paths seen read-only at the same place."""

    name: str
    root: str
    binds: tuple[str, ...] = ()

    def write(self, directory: Path) -> None:
        """Leave it where the keeper looks."""
        (directory / "plan.json").write_text(json.dumps(asdict(self)))


def read_plan(directory: Path) -> Plan:
    """What `Plan.write` has left."""
    data = json.loads((directory / "plan.json").read_text())
    return Plan(data["name"], data["root"], tuple(data["binds"]))


def keep(directory: Path) -> int:
    """Hold the container until it ends or this process is told to end; the exit status of its last boot."""
    plan = read_plan(directory)
    child: subprocess.Popen[bytes] | None = None
    told = False

    def end(*ignored: object) -> None:
        nonlocal told
        told = True
        if child is not None:
            child.kill()  # What is thrown away need not be shut down; its processes die with its first one.

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    code, boots = 0, 0
    try:
        subprocess.run(["ip", "netns", "add", plan.name], check=True)
        while not told:
            boots += 1
            argv = [sys.executable, "-m", "lab.container_keeper", "boot", str(directory), str(boots)]
            enter = _scope(f"{plan.name}.{boots}")
            enter += ["nsenter", f"--net=/run/netns/{plan.name}"]
            enter += ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
            child = subprocess.Popen(die_with_parent([*enter, *argv]), stdin=subprocess.DEVNULL)
            (directory / "pid").write_text(str(child.pid))
            if told:
                child.kill()
            code = child.wait()
            _remove_groups(plan.name)
            if code != REBOOT and not (directory / AGAIN).exists():
                break
            (directory / AGAIN).unlink(missing_ok=True)
    finally:
        _remove_groups(plan.name)
        subprocess.run(["ip", "netns", "delete", plan.name], check=False)
        shutil.rmtree(directory, ignore_errors=True)
    return code


def boot(directory: Path, number: int) -> int:
    """Run systemd-nspawn over a writable layer; OSError or CalledProcessError where the host forbids it."""
    plan = read_plan(directory)
    over = directory / "over"
    for name in ("upper", "work", "merged"):
        (over / name).mkdir(parents=True, exist_ok=True)
    merged = over / "merged"
    if not any(merged.iterdir()):
        layers = f"lowerdir={plan.root},upperdir={over / 'upper'},workdir={over / 'work'}"
        mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(merged)], check=False)
        if mounted.returncode != 0:  # As where the directory is on an overlay itself.
            subprocess.run(["cp", "--archive", "--reflink=auto", f"{plan.root}/.", str(merged)], check=True)
    # nspawn leaves directories here that it can take away only from a file system in memory.
    NSPAWN_RUN.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(NSPAWN_RUN)], check=True)
    argv = ["systemd-nspawn", "--quiet", f"--directory={merged}", "--boot", "--register=no", "--keep-unit"]
    argv += [f"--machine={plan.name}", "--settings=no", "--link-journal=no", "--resolv-conf=off", "--timezone=off"]
    # The network namespace is entered already and outlives a reboot, as a server's cables do.
    argv += ["--console=pipe", "--capability=CAP_NET_ADMIN", *(f"--bind-ro={path}" for path in plan.binds)]
    if not HOST_SYSTEMD.is_dir():
        _enter_groups(f"{plan.name}.{number}")
    environment = {**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network"}
    return subprocess.run(argv, stdin=subprocess.DEVNULL, env=environment, check=False).returncode


def _scope(name: str) -> list[str]:
    """What makes a control group of its own for the command that follows, by the systemd that runs this host, if one does."""
    if not HOST_SYSTEMD.is_dir():
        return []
    words = ["--scope", "--quiet", "--collect", "--property=Delegate=yes", "--property=TimeoutStopSec=1"]
    return ["systemd-run", *words, f"--unit={name}.scope", "--"]


def _hierarchies() -> list[Path]:
    """Where this process's groups are that a systemd in a container writes to: systemd's own, and those of version 2."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            unified = CGROUPS / "unified"
            found.append((unified if unified.is_dir() else CGROUPS) / path.lstrip("/"))
        elif controllers == "name=systemd":
            found.append(CGROUPS / "systemd" / path.lstrip("/"))
    return [path for path in found if (path / "cgroup.procs").exists()]


def _enter_groups(name: str) -> None:
    for path in _hierarchies():
        (path / name).mkdir(exist_ok=True)
        (path / name / "cgroup.procs").write_text(str(os.getpid()))


def _remove_groups(name: str) -> None:
    """Remove the groups of every boot; the kernel needs a moment until the killed processes have left them."""
    for top in [group for path in _hierarchies() for group in path.glob(f"{name}.*")]:
        end = time.monotonic() + 5
        while top.exists() and time.monotonic() < end:
            for path, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    os.rmdir(path)
            if top.exists():
                time.sleep(0.05)


if __name__ == "__main__":
    if sys.argv[1] == "boot":
        sys.exit(boot(Path(sys.argv[2]), int(sys.argv[3])))
    sys.exit(keep(Path(sys.argv[2])))
