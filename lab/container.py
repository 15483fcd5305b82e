"""A container with a real systemd, as a rack host or a control plane has it: Debian 12, booted by systemd-nspawn.

    with Container() as host:
        host.run(["systemctl", "start", "ssh"])

It has what it writes for itself (an overlay over a root that is shared and never changed, see `lab.container_root`), a
network namespace of its own that is known to ip-netns(8) by `name`, so that `lab.namespace` works in it and veths can be
moved into it, and no way out except what is made.  A reboot keeps files and network.  It ends with the block, and when
this process is killed (`lab.container_keeper`).
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from lab import container_root, namespace, package_proxy, tether
from lab.container_keeper import AGAIN, Plan
from lab.container_root import Unobtainable
from lab.process import ProcessName, name_process

BOOT_SECONDS = 120.0
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8"}
PROGRAMS = {"systemd-nspawn": "systemd-container", "mmdebstrap": "mmdebstrap", "nsenter": "util-linux"}


class Failed(Exception):
    """A command in the container ended with an error, or the container did not boot; holds what was said."""


class Container:
    """One container; a context manager.

    packages: Debian packages on top of `container_root.PACKAGES`, in the root that is kept.  binds: paths of the host
    that are seen in it, read-only, at the same place.
    """

    def __init__(self, packages: tuple[str, ...] = (), binds: Sequence[Path] = ()) -> None:
        """Describe it; nothing is made before it is entered."""
        self.name = f"muc{secrets.token_hex(3)}"
        self.packages = packages
        self.binds = tuple(binds)
        self._directory: Path | None = None
        self._held: subprocess.Popen[bytes] | None = None
        self._console: IO[bytes] | None = None
        self._proxies: list[package_proxy.PackageProxy] = []

    def __enter__(self) -> Self:
        """Boot, unless it is booted, and return when systemd has started everything.

        Unobtainable where this host cannot have containers.
        """
        if self._held is not None:
            return self
        if reason := refusal():
            raise Unobtainable(reason)
        base = container_root.root(self.packages)
        self._directory = Path(tempfile.mkdtemp(prefix=f"{self.name}-"))
        self._directory.chmod(0o755)
        try:
            Plan(self.name, str(base), tuple(str(path) for path in self.binds)).write(self._directory)
            argv = [sys.executable, "-m", "lab.container_keeper", "keep", str(self._directory)]
            self._console = tempfile.TemporaryFile()
            self._held = tether.start(argv, prefix=[], log=self._console)
            self._wait_for_boot(None)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it and take away all that was made for it."""
        self.end()

    def end(self) -> None:
        """End it at once, as if its power failed; harmless when it has ended."""
        for proxy in self._proxies:
            proxy.close()
        self._proxies.clear()
        held, self._held = self._held, None
        if held is not None:
            tether.stop(held)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The host's number for the container's first process.  Failed while it does not run."""
        init = self._init()
        if init is None:
            raise Failed(f"container {self.name} does not run: {self.console()[-400:]}")
        return init.pid

    @property
    def files(self) -> Path:
        """The container's root directory as the host sees it."""
        return Path(f"/proc/{self.pid}/root")

    def enter(self) -> list[str]:
        """Return the argv prefix that runs a command in it; good until it is rebooted."""
        return ["nsenter", f"--target={self.pid}", "--mount", "--uts", "--ipc", "--net", "--pid", "--"]

    def run(
        self,
        argv: Sequence[str],
        *,
        text: str | None = None,
        environment: Mapping[str, str] | None = None,
        timeout: float = 60,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root.  Failed holds what it said, unless `check` is False."""
        done = subprocess.run(
            [*self.enter(), *argv],
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            env={**ENVIRONMENT, **(environment or {})},
        )
        if check and done.returncode != 0:
            raise Failed(
                f"{self.name}: {' '.join(argv)}: exit {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"
            )
        return done

    def reboot(self) -> None:
        """Have systemd shut it down and boot it anew; returns when it has started everything.

        Whatever was started by `enter` must have ended: nsenter(1) stops with what systemd stops before it kills it, and
        then nobody takes note of the death that systemd waits for.
        """
        before = self._init()
        self.run(["systemctl", "reboot"], check=False)
        self._wait_for_boot(before)

    def fail_power(self) -> None:
        """End all its processes at once and boot it anew; what they had written is there, as if it had reached the disk."""
        before = self._init()
        if before is None or self._directory is None:
            raise Failed(f"container {self.name} does not run")
        (self._directory / AGAIN).touch()
        os.kill(before.pid, signal.SIGKILL)
        self._wait_for_boot(before)

    def forward(self, port: int = 3142) -> str:
        """Let it fetch packages: the URL of an HTTP proxy on its loopback, served from outside until it ends.

        See `lab.package_proxy`, which also says how apt and pip in it are told (`install`).
        """
        namespace.batch(self.name, ["link set lo up"])
        proxy = package_proxy.PackageProxy(namespace.listen_in(self.name, "127.0.0.1", port))
        self._proxies.append(proxy)
        return f"http://127.0.0.1:{port}"

    def reach_packages(self, port: int = 3142) -> None:
        """Have apt and pip in it fetch from where this host's do, through `forward`."""
        package_proxy.install(self.files, self.forward(port))

    def console(self) -> str:
        """What nspawn and systemd said on the console."""
        if self._console is None:
            return ""
        size = os.fstat(self._console.fileno()).st_size
        return os.pread(self._console.fileno(), size, 0).decode(errors="replace")

    def _init(self) -> ProcessName | None:
        """The container's first process: below the keeper's child, number 1 of a namespace within its namespace."""
        try:
            found = [(self._directory / "pid").read_text()] if self._directory else []
            for pid in found:  # Grows: a process, its children, theirs.
                status = Path(f"/proc/{pid}/status").read_text().splitlines()
                numbers = next(line.split()[1:] for line in status if line.startswith("NSpid:"))
                if len(numbers) == 3 and numbers[-1] == "1":
                    return name_process(int(pid))
                found += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            pass  # Not begun yet, or one of them has ended between two looks.
        return None

    def _wait_for_boot(self, before: ProcessName | None) -> None:
        end = time.monotonic() + BOOT_SECONDS
        said = "not booted"
        while time.monotonic() < end:
            if self._held is None or self._held.poll() is not None:
                text = f"container {self.name} ended while it booted: {self._last_words()}"
                raise Unobtainable(f"This host does not run containers: {text}") if before is None else Failed(text)
            init = self._init()
            if init is not None and init != before:
                try:
                    said = self.run(["systemctl", "is-system-running"], check=False, timeout=20).stdout.strip()
                except (Failed, subprocess.TimeoutExpired) as error:
                    said = str(error)
                if said in ("running", "degraded") and self._init() == init:
                    return
            time.sleep(0.05)
        raise Failed(
            f"container {self.name} has not booted within {BOOT_SECONDS:g} s, it is {said}: {self._last_words()}"
        )

    def _last_words(self) -> str:
        return self.console()[-1000:] or "nothing on its console"


def refusal() -> str | None:
    """Why this host cannot run containers, in a sentence with the remedy; None if nothing speaks against it."""
    if os.geteuid() != 0:
        return "Containers with a systemd need root: this process runs as an ordinary user; run it as root."
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            return f"{program} is not installed: install the Debian package {package}."
    argv = ["unshare", "--mount", "--pid", "--fork", "--uts", "--ipc", "--", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 0:
        return f"Containers are refused ({done.stderr.strip()}): give this process CAP_SYS_ADMIN, or use a virtual machine."
    return None
