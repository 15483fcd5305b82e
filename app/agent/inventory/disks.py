"""Disks: lsblk(8) for what they are, /dev/disk/by-id for names that stay."""

from typing import Any

from .. import disks
from ..probe import Probe


def collect(probe: Probe) -> dict[str, Any]:
    return {
        "disks": [
            {
                "name": disk.name,
                "path": disk.path,
                "by_id": disk.by_id,
                "size_bytes": disk.size_bytes,
                "model": disk.model,
                "serial": disk.serial,
                "rotational": disk.rotational,
                "block_size": disk.block_size,
            }
            for disk in disks.read(probe)
        ]
    }
