"""Asks all probes of a service, and knows where silence is right.

A DHCP server without a free address for strangers (no pool, a full one, or one for known clients or a class only) says
nothing to our DISCOVER and is well all the same, and so is one that stands by while its partner serves.
There Kea's own counter of received packets must have grown instead.  A DHCPv6 server says that it has none, and is silent
only while it stands by.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

from renderers.spec import ProbeSpec
from workers.rack.channels import kea
from workers.rack.channels.base import ChannelError
from workers.rack.files import ServiceDirectories
from workers.rack.probes.base import ProbeContext, ProbeResult, ask
from workers.rack.secret_files import SecretFiles

SETTLE_SECONDS = 12.0
PAUSE_SECONDS = 0.2
PARALLEL = 8


def client_mac(rack: str) -> str:
    """The one MAC a rack asks with: locally administered (IEEE 802), the same for ever, another for each rack."""
    digest = sha256(f"muster probe {rack}".encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


class Prober:
    """Asks a service's probes, several at once."""

    def __init__(self, root: Path, rack: str, asker: Callable[[ProbeSpec, ProbeContext], ProbeResult] = ask) -> None:
        self._root = root
        self._context = ProbeContext(client_mac(rack), SecretFiles(root).read)
        self._ask = asker

    def ask_once(self, service: str, specs: Sequence[ProbeSpec]) -> tuple[ProbeResult, ...]:
        """Each probe once, in the order given."""
        if not specs:
            return ()
        with ThreadPoolExecutor(max_workers=min(PARALLEL, len(specs)), thread_name_prefix="probe") as pool:
            return tuple(pool.map(lambda spec: self._one(service, spec), specs))

    def ask_until_green(
        self,
        service: str,
        specs: Sequence[ProbeSpec],
        seconds: float = SETTLE_SECONDS,
        *,
        alive: Callable[[], bool] = lambda: True,
    ) -> tuple[ProbeResult, ...]:
        """Ask again what is red until everything is green or the time is over: a daemon may still be starting.

        A daemon that is not `alive` any more is not waited for.
        """
        end = time.monotonic() + seconds
        results = dict(zip(specs, self.ask_once(service, specs), strict=True))
        while (red := [spec for spec in specs if not results[spec].ok]) and time.monotonic() < end and alive():
            time.sleep(PAUSE_SECONDS)
            results.update(zip(red, self.ask_once(service, red), strict=True))
        return tuple(results[spec] for spec in specs)

    def _one(self, service: str, spec: ProbeSpec) -> ProbeResult:
        if spec.kind not in ("dhcp4", "dhcp6"):
            return self._ask(spec, self._context)
        directories = ServiceDirectories(self._root, service)
        before = _packets(directories)
        result = self._ask(spec, self._context)
        if result.ok or before is None or not (why := _silent_because(directories, spec)):
            return result
        after = _packets(directories)
        if after is not None and after > before:
            return ProbeResult(spec, True, f"{why}, so nothing was offered; the question arrived")
        return result


def _packets(directories: ServiceDirectories) -> int | None:
    """How many questions a server has heard; None from one that does not say."""
    if directories.service not in kea.KINDS:
        return None
    try:
        return kea.client(directories).packets_received()
    except ChannelError:
        return None


def _silent_because(directories: ServiceDirectories, spec: ProbeSpec) -> str:
    """Why a stranger may rightly get no answer; empty when it should get one."""
    if spec.kind == "dhcp4" and silence_is_right(directories, int(spec.parameter("subnet_id"))):
        return "no address is free for strangers"
    return "this server stands by while its partner answers" if stands_by(directories) else ""


def stands_by(directories: ServiceDirectories) -> bool:
    """Whether Kea is the standby of a pair and its partner serves: then it has no scope (Kea ARM, "HA Status").

    A standby that has taken over has one, and is expected to answer like anybody else.
    """
    try:
        status = kea.client(directories).status()
        local = status["high-availability"][0]["ha-servers"]["local"]
        return bool(local["role"] == "standby" and not local["scopes"])
    except (ChannelError, KeyError, IndexError, TypeError):
        return False


def silence_is_right(directories: ServiceDirectories, subnet_id: int) -> bool:
    """Whether a stranger gets nothing in this subnet's network by the running files: no pool is open to it, or all are full."""
    try:
        config = kea.structure(directories)
        subnets = _siblings(config, subnet_id)
        pooled = [subnet for subnet in subnets if any(map(_is_open, subnet.get("pools", ())))]
        return bool(subnets) and all(_full(directories, int(subnet["id"])) for subnet in pooled)
    except (ChannelError, KeyError, TypeError, ValueError):
        return False


def _is_open(pool: dict[str, Any]) -> bool:
    """Whether a pool lends to everybody: Kea 2 names one class, Kea 3 several."""
    return not pool.get("client-class") and not pool.get("client-classes")


def _siblings(config: dict[str, Any], subnet_id: int) -> list[dict[str, Any]]:
    """The subnet and those that share its network: Kea looks for a free address in all of them."""
    groups: Iterable[list[dict[str, Any]]] = (
        *([subnet] for subnet in config.get("subnet4", [])),
        *(list(network.get("subnet4", [])) for network in config.get("shared-networks", [])),
    )
    return next((group for group in groups if any(subnet["id"] == subnet_id for subnet in group)), [])


def _full(directories: ServiceDirectories, subnet_id: int) -> bool:
    client = kea.client(directories)

    def statistic(name: str) -> int:
        key = f"subnet[{subnet_id}].{name}"
        return int(client.ask("statistic-get", {"name": key})[key][0][0])

    return statistic("assigned-addresses") >= statistic("total-addresses")
