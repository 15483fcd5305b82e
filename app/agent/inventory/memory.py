"""
Memory: what is installed, not what the kernel has left over.

MemTotal leaves out what the kernel and the firmware reserved, so the online memory blocks of sysfs come first
(Documentation/admin-guide/mm/memory-hotplug.rst); MemTotal is for kernels without them.
"""

import re
from typing import Any

from ..errors import AgentError
from ..probe import Probe

_BLOCKS = "/sys/devices/system/memory"


def parse(block_size: str | None, online_blocks: int, meminfo: str) -> dict[str, Any]:
    """The result. `block_size` is in bytes and hexadecimal, as in block_size_bytes."""
    if block_size and online_blocks:
        return {"total_mib": int(block_size, 16) * online_blocks // (1024 * 1024)}
    found = re.search(r"^MemTotal:\s*(\d+) kB", meminfo, re.MULTILINE)
    if not found:
        raise AgentError("/proc/meminfo has no MemTotal line, and sysfs lists no memory blocks")
    return {"total_mib": int(found.group(1)) // 1024}


def collect(probe: Probe) -> dict[str, Any]:
    online = sum(
        probe.read(f"{_BLOCKS}/{name}/state") == "online"
        for name in probe.names(_BLOCKS)
        if re.fullmatch(r"memory\d+", name)
    )
    probe.try_run(["cat", "/proc/meminfo"])
    return parse(probe.read(f"{_BLOCKS}/block_size_bytes"), online, probe.read("/proc/meminfo") or "")
