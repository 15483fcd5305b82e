"""Two Debian hosts with a real systemd, and an operator beside them who has Ansible: nothing of Muster is on them before."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from lab import namespace
from lab.container import Container
from lab.kea3 import CACHE
from lab.process import end_processes

REPOSITORY = Path(__file__).resolve().parents[2]
ARCHIVES = "var/cache/apt/archives"
"""What the hosts have fetched is kept between runs."""
WHEELS = "var/cache/wheels"
"""Where they find what the product needs of PyPI: fetched once for all runs with the same needs."""
CONTROL, RACK, OPERATOR = "10.77.0.1", "10.77.0.2", "10.77.0.254"
WIRE, MACHINE = "wire0", "10.20.0.50"
"""The operator's end of, and address in, the rack's network of machines (10.20.0.0/24, the rack's `lan0`)."""
SOURCE = ("pyproject.toml", "README.md", "LICENSE", "app", "renderers", "workers", "templates", "migrations")
SECONDS = 900
T = TypeVar("T")


class Installed:
    """A context manager: the containers, the wires, an SSH key, an inventory, a wheel of this source tree."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.space = f"mua{secrets.token_hex(3)}"
        self.control, self.rack = Container(), Container()
        self.inventory = directory / "hosts.json"
        needs = b"".join((REPOSITORY / name).read_bytes() for name in ("pyproject.toml", "constraints.txt"))
        self.wheels = CACHE / "ansible" / f"wheels-{hashlib.sha256(needs).hexdigest()[:12]}"
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Boot both hosts and wire them."""
        (CACHE / "ansible" / "apt").mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.control)
            stack.enter_context(self.rack)
            stack.callback(self._keep)
            namespace.run(["ip", "netns", "add", self.space])
            stack.callback(self._end_space)
            self._wire()
            wheel = self._wheel()
            self._write_inventory(wheel)
            self._let_in(wheel)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Keep what was fetched, take everything away."""
        self._stack.close()

    @property
    def certificate(self) -> Path:
        """What the control plane's host has made for itself, as the operator trusts it."""
        path = self.directory / "certificate.pem"
        path.write_text((self.control.files / "etc/muster/tls/certificate.pem").read_text())
        return path

    def inside(self, work: Callable[[], T]) -> T:
        """Do something from the operator's place, who is also a machine on the rack's wire."""
        return namespace.inside(self.space, work)

    @property
    def hosts(self) -> tuple[Container, Container]:
        """Control plane and rack host."""
        return self.control, self.rack

    def play(self, name: str, *words: str) -> dict[str, Any]:
        """Run a playbook from the operator's place; how it went by host. AssertionError with its words when it failed."""
        environment = {
            **{key: os.environ[key] for key in ("PATH", "LANG") if key in os.environ},
            "HOME": str(self.directory),
            "ANSIBLE_CONFIG": str(REPOSITORY / "ansible" / "ansible.cfg"),
            "ANSIBLE_STDOUT_CALLBACK": "default",
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",
        }
        argv = ["ansible-playbook", "-i", str(self.inventory), str(REPOSITORY / "ansible" / name), *words]
        done = subprocess.run(
            [*namespace.exec_prefix(self.space), *argv], capture_output=True, text=True, check=False, timeout=SECONDS,
            env=environment, stdin=subprocess.DEVNULL, cwd=self.directory,
        )  # fmt: skip
        (self.directory / f"{name}.log").write_text(done.stdout + done.stderr)

        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        return recap(done.stdout)

    def _wire(self) -> None:
        namespace.run(["ip", "-n", self.space, "link", "add", "mgmt", "type", "bridge"])
        for port, host in enumerate(self.hosts):
            namespace.run(
                ["ip", "-n", self.space, "link", "add", f"m{port}", "type", "veth", "peer", "eth0", "netns", host.name]
            )
        namespace.run(
            ["ip", "-n", self.space, "link", "add", WIRE, "type", "veth", "peer", "lan0", "netns", self.rack.name]
        )
        own = [f"address add {OPERATOR}/24 dev mgmt", f"address add {MACHINE}/24 dev {WIRE}"]
        ports = [f"link set m{port} master mgmt up" for port in range(2)]
        namespace.batch(self.space, ["link set lo up", *own, "link set mgmt up", f"link set {WIRE} up", *ports])
        for host, address in ((self.control, CONTROL), (self.rack, RACK)):
            namespace.batch(host.name, ["link set lo up", f"address add {address}/24 dev eth0", "link set eth0 up"])
        namespace.batch(self.rack.name, ["address add 10.20.0.1/24 dev lan0", "link set lan0 up"])

    def _let_in(self, wheel: Path) -> None:
        key = self.directory / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        for host in self.hosts:
            place = host.files / "root/.ssh"
            place.mkdir(mode=0o700, exist_ok=True)
            (place / "authorized_keys").write_text(key.with_suffix(".pub").read_text())
            shutil.copytree(CACHE / "ansible" / "apt", host.files / ARCHIVES, dirs_exist_ok=True)
            host.reach_packages()
            host.run(["systemctl", "start", "ssh.service"])
        self._fetch_wheels(wheel)
        for host in self.hosts:
            shutil.copytree(self.wheels, host.files / WHEELS)

    def _wheel(self) -> Path:
        """This source tree as a wheel."""
        source = self.directory / "source"
        for name in SOURCE:  # Building leaves things beside what it builds.
            path = REPOSITORY / name
            if path.is_dir():
                shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                source.mkdir(exist_ok=True)
                shutil.copy(path, source / name)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet"]
        subprocess.run([*pip, "--no-deps", f"--wheel-dir={self.directory}", str(source)], check=True, timeout=SECONDS)
        return next(self.directory.glob("muster-*.whl"))

    def _fetch_wheels(self, made: Path) -> None:
        """Fetch what the product needs of PyPI, by the first host and for its Python, if no run has done so before."""
        if self.wheels.is_dir():
            return
        place = self.control.files / WHEELS
        place.mkdir()
        for path in (made, REPOSITORY / "constraints.txt"):
            shutil.copy(path, place)
        self.control.run(["python3", "-m", "venv", "/tmp/fetch"])
        words = [
            f"--constraint=/{WHEELS}/constraints.txt",
            f"--wheel-dir=/{WHEELS}",
            f"/{WHEELS}/{made.name}[control,rack]",
        ]
        self.control.run(["/tmp/fetch/bin/pip", "wheel", "--quiet", *words], timeout=SECONDS)
        (place / made.name).unlink()
        aside = self.wheels.with_name(f"{self.wheels.name}.{os.getpid()}")
        shutil.copytree(place, aside)
        shutil.rmtree(place)
        with contextlib.suppress(OSError):  # Another run was as fast.
            aside.rename(self.wheels)

    def _write_inventory(self, wheel: Path) -> None:
        ssh = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ControlMaster=auto -o ControlPersist=20s"
        everybody = {
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
            "ansible_ssh_private_key_file": str(self.directory / "id"),
            "ansible_ssh_args": ssh,
            "muster_package": str(wheel),
            "muster_server_name": CONTROL,
            "muster_image_packages": [],
            "muster_pip_arguments": f"--no-index --find-links=/{WHEELS}",
        }
        groups = {
            "control_plane": {"hosts": {"control": {"ansible_host": CONTROL}}},
            "rack_hosts": {"hosts": {"rack1": {"ansible_host": RACK}}},
        }
        self.inventory.write_text(json.dumps({"all": {"vars": everybody, "children": groups}}))

    def _keep(self) -> None:
        """Keep what was fetched; a host that has ended has nothing more."""
        for host in self.hosts:
            with contextlib.suppress(Exception):
                shutil.copytree(
                    host.files / ARCHIVES, CACHE / "ansible" / "apt", dirs_exist_ok=True,
                    ignore=shutil.ignore_patterns("partial", "lock"),
                )  # fmt: skip

    def _end_space(self) -> None:
        end_processes(namespace.residents(self.space))
        with contextlib.suppress(namespace.NetworkError):
            namespace.run(["ip", "netns", "delete", self.space])


def recap(said: str) -> dict[str, Any]:
    """The last lines of ansible-playbook: counts by host."""
    lines = said.rpartition("PLAY RECAP")[2].splitlines()[1:]
    found = {}
    for line in lines:
        host, _, counts = line.partition(":")
        if counts:
            found[host.strip()] = {name: int(value) for name, value in (word.split("=") for word in counts.split())}
    return found
