"""A stand-in for a built boot image: the right files with tiny contents, for walks in which nothing really boots."""

import hashlib
import json
from pathlib import Path

from lab.standing import IMAGE

FILES = (("kernel", "vmlinuz"), ("initrd", "initrd"), ("squashfs", "root.squashfs"), ("rootfs", "rootfs.tar.zst"))


def make_tiny_image(folder: Path) -> Path:
    """Write the files and their manifest below `folder`, in the image builder's layout; the folder to import."""
    place = folder / IMAGE
    place.mkdir(parents=True)
    entries = []
    for kind, name in FILES:
        content = f"{name} of a simulated machine\n".encode() * 64
        (place / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        entries.append({"name": name, "kind": kind, "sha256": digest, "size_bytes": len(content)})
    manifest = {
        "name": IMAGE, "os": "debian", "release": "12", "architecture": "amd64", "built_at": "2026-01-01T00:00:00Z",
        "recipe": "tiny", "files": entries,
    }  # fmt: skip
    (place / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return place
