"""What the agent is asked to do, and disks to do it on."""

from __future__ import annotations

import copy
import os
from typing import Any

from app.agent.disks import Disk

GIB = 1024**3
TASK: dict[str, Any] = {
    "storage": {
        "layout": "flat",
        "disk": {"path": "/dev/vda", "serial": None, "by_id": None},
        "table": "gpt",
        "partitions": [
            {"number": 1, "name": "bios_grub", "size_mib": 1, "type": "ef02", "filesystem": None, "mount": None},
            {
                "number": 2,
                "name": "esp",
                "size_mib": 512,
                "type": "ef00",
                "filesystem": "vfat",
                "mount": "/boot/efi",
                "label": "ESP",
            },
            {
                "number": 3,
                "name": "root",
                "size_mib": None,
                "type": "8300",
                "filesystem": "ext4",
                "mount": "/",
                "label": "muster-root",
            },
        ],
    },
    "rootfs": {"url": "http://10.20.0.2:5248/r", "sha256": "ab" * 32, "size_bytes": 1000, "format": "tar.zst"},
    "seed": {"meta-data": "instance-id: i1\n"},
    "files": [],
    "kernel_options": "console=ttyS0,115200",
}


def disk(path: str = "/dev/vda", size: int = 4 * GIB, **more: Any) -> Disk:
    """A disk as the agent sees it."""
    return Disk(name=os.path.basename(path), path=path, size_bytes=size, **more)


def changed(*keys: Any, value: Any) -> dict[str, Any]:
    """The task with another value at this place."""
    task = copy.deepcopy(TASK)
    place: Any = task
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return task
