"""Processors: lscpu(1) for the model and the counts, sysfs for the memory nodes."""

import json
import re
from typing import Any

from ..probe import Probe

# The machine names of uname(2) beside the names that package archives use.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64el", "s390x": "s390x", "riscv64": "riscv64"}
_NODES = "/sys/devices/system/node"


def parse_lscpu(text: str) -> dict[str, str]:
    """The fields of `lscpu -J` without their colons; newer versions nest them as `children`."""
    fields: dict[str, str] = {}

    def walk(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            if entry.get("data") is not None:
                fields.setdefault(str(entry["field"]).rstrip(":"), str(entry["data"]))
            walk(entry.get("children") or [])

    walk(json.loads(text)["lscpu"])
    return fields


def parse_cpu_list(text: str) -> list[int]:
    """The numbers in the kernel's list format: `0-2,8` is 0, 1, 2, 8."""
    numbers: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def parse_node_memory(text: str) -> int:
    """MiB in a node's meminfo (`Node 0 MemTotal: 524288 kB`)."""
    found = re.search(r"MemTotal:\s*(\d+) kB", text)
    return int(found.group(1)) // 1024 if found else 0


def parse_mhz(fields: dict[str, str], cpuinfo: str) -> int | None:
    """The highest clock in MHz; the present one from /proc/cpuinfo where lscpu knows no highest (virtual machines)."""
    found = re.search(r"^cpu MHz\s*:\s*([\d.]+)", cpuinfo, re.MULTILINE)
    for value in (fields.get("CPU max MHz"), found.group(1) if found else None):
        if value and float(value) > 0:
            return round(float(value))
    return None


def parse(lscpu: str, cpuinfo: str, nodes: dict[int, tuple[str, str]]) -> dict[str, Any]:
    """The result. `nodes` maps a node's number to its cpulist and meminfo texts."""
    fields = parse_lscpu(lscpu)
    sockets = int(fields.get("Socket(s)", fields.get("Cluster(s)", "1")).replace("-", "1"))
    per_socket = int(fields.get("Core(s) per socket", fields.get("Core(s) per cluster", "1")))
    machine = fields.get("Architecture", "")
    return {
        "model": fields.get("Model name", "unknown"),
        "architecture": ARCHITECTURES.get(machine, machine),
        "sockets": sockets,
        "cores": sockets * per_socket,
        "threads": int(fields.get("CPU(s)", "1")),
        "mhz": parse_mhz(fields, cpuinfo),
        "numa": [
            {"node": node, "cpus": parse_cpu_list(cpus), "memory_mib": parse_node_memory(memory)}
            for node, (cpus, memory) in sorted(nodes.items())
        ],
    }


def collect(probe: Probe) -> dict[str, Any]:
    nodes = {
        int(name[4:]): (probe.read(f"{_NODES}/{name}/cpulist") or "", probe.read(f"{_NODES}/{name}/meminfo") or "")
        for name in probe.names(_NODES)
        if re.fullmatch(r"node\d+", name)
    }
    return parse(probe.run(["lscpu", "-J"]), probe.read("/proc/cpuinfo") or "", nodes)
