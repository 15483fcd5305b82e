"""Network namespaces by name: run `ip`, work inside one, find who lives there.

Python 3.11 has no `os.setns`, so setns(2) is called through ctypes, always in a thread that ends straight after: a
thread that has changed its network namespace must not be used for anything else. A socket belongs for ever to the
namespace it was made in, whoever uses it, which is what makes `listen_in` and `socket_in` useful.
"""

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from lab.process import ProcessName, name_process

_T = TypeVar("_T")

CLONE_NEWNET = 0x40000000
"""Only the network namespace; setns(2)."""
NAMESPACES = Path("/run/netns")
"""Where ip-netns(8) keeps named namespaces."""


class NetworkError(Exception):
    """A network command failed; says which, and what it said."""


def run(argv: list[str], text: str | None = None) -> str:
    """Run a short network command and return its output; NetworkError names the command and what it said."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode != 0:
        commands = f" with:\n{text}" if text else ""
        raise NetworkError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}{commands}")
    return done.stdout


def batch(namespace: str, commands: Iterable[str]) -> None:
    """Run many `ip` commands in one process inside a namespace; the first that fails stops the rest."""
    run(["ip", "-n", namespace, "-batch", "-"], "\n".join(commands) + "\n")


def exec_prefix(namespace: str) -> list[str]:
    """Return the argv prefix that runs a command inside a namespace."""
    return ["ip", "netns", "exec", namespace]


def exists(namespace: str) -> bool:
    """Say whether a namespace of this name is known to ip-netns(8)."""
    return (NAMESPACES / namespace).exists()


def residents(namespace: str) -> list[ProcessName]:
    """Return every process that lives in the namespace now."""
    if not exists(namespace):
        return []
    pids = [int(word) for word in run(["ip", "netns", "pids", namespace]).split()]
    return [name for pid in pids if (name := name_process(pid)) is not None]


def inside(namespace: str, work: Callable[[], _T]) -> _T:
    """Do `work` in a fresh thread inside the namespace and return its result or raise its error.

    Also /proc/sys/net is the namespace's own during `work`.
    """

    def enter_and_work() -> _T:
        _enter(namespace)
        return work()

    with ThreadPoolExecutor(1, thread_name_prefix=f"inside {namespace}") as one_thread:
        return one_thread.submit(enter_and_work).result()


def _enter(namespace: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise NetworkError(f"namespace {namespace}: cannot enter it: {os.strerror(number)}")
    finally:
        os.close(descriptor)


def socket_in(namespace: str, family: int, kind: int = socket.SOCK_STREAM, protocol: int = 0) -> socket.socket:
    """Make a socket that belongs to the namespace and is used from here."""
    return inside(namespace, lambda: socket.socket(family, kind, protocol))


def listen_in(namespace: str, address: str, port: int, backlog: int = 128) -> socket.socket:
    """Return a TCP socket listening on an address inside the namespace; port 0 lets the kernel choose.

    The socket is usable from this process and may be handed to a server by its descriptor (`socket.fileno()`).
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket_in(namespace, family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise NetworkError(
            f"namespace {namespace}: cannot listen on {address} port {port}: {error.strerror}"
        ) from error
    return listener


def set_sysctls(namespace: str, values: dict[str, str]) -> None:
    """Set kernel settings inside the namespace; keys are paths below /proc/sys, as in `net/ipv4/ip_forward`."""

    def write() -> None:
        for key, value in values.items():
            Path("/proc/sys", key).write_text(value, encoding="ascii")

    inside(namespace, write)
