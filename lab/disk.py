"""A raw disk image and what is on it, read from outside the machine."""

import errno
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

SECTOR = 512
"""The logical block size that QEMU gives a raw image, in bytes."""

BLOCK = 1 << 20
"""How much of an image is looked at in one go, in bytes."""
ZEROS = bytes(BLOCK)


@dataclass(frozen=True)
class Partition:
    """One partition: its number, first byte, length in bytes, type code as sgdisk(8) writes it (8300, ef00), name."""

    number: int
    start: int
    size: int
    type: str
    name: str


@dataclass(frozen=True)
class DiskImage:
    """A machine's disk: a sparse raw file of `size` bytes."""

    path: Path
    size: int

    def make(self) -> None:
        """Make the image, empty; one that exists is kept."""
        if not self.path.exists():
            with self.path.open("wb") as image:
                image.truncate(self.size)

    def read(self, offset: int, length: int) -> bytes:
        """Return bytes of the disk."""
        with self.path.open("rb") as image:
            image.seek(offset)
            return image.read(length)

    def first_data(self) -> int | None:
        """Read the whole disk; return where the first byte is that is not zero, None when there is none.

        Holes of the sparse file read as zeros and are passed over (lseek(2), SEEK_DATA).
        """
        handle = os.open(self.path, os.O_RDONLY)
        try:
            at = 0
            while at < self.size:
                try:
                    at = os.lseek(handle, at, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:
                        return None
                    raise
                block = os.pread(handle, BLOCK, at)
                if block != ZEROS[: len(block)]:
                    return at + len(block) - len(block.lstrip(b"\0"))
                at += len(block)
        finally:
            os.close(handle)
        return None

    def signatures(self) -> list[str]:
        """Return the types of the signatures wipefs(8) finds (gpt, PMBR, ext4); empty for a blank disk."""
        found = _output(["wipefs", "--no-act", "--json", str(self.path)])
        return [entry["type"] for entry in json.loads(found)["signatures"]] if found.strip() else []

    def partitions(self) -> list[Partition]:
        """Return the partitions of the GPT; empty when there is none."""
        if "gpt" not in self.signatures():
            return []
        return parse_partitions(_output(["sgdisk", "--print", str(self.path)]))

    def filesystem(self, partition: Partition) -> str:
        """Return the type of the file system on a partition (ext4, vfat); empty when there is none."""
        argv = ["blkid", "--probe", "--offset", str(partition.start), "--size", str(partition.size)]
        return _output([*argv, "--output", "value", "--match-tag", "TYPE", str(self.path)], nothing_found=2).strip()


def parse_partitions(printed: str) -> list[Partition]:
    """Read the table that `sgdisk --print` writes: number, first sector, last sector, size, its unit, code, name."""
    table = printed.partition("Number  Start (sector)")[2].splitlines()[1:]
    partitions = []
    for words in (line.split(maxsplit=6) for line in table if line.strip()):
        first, last = int(words[1]), int(words[2])
        size = (last - first + 1) * SECTOR
        name = words[6] if len(words) > 6 else ""
        partitions.append(Partition(int(words[0]), first * SECTOR, size, words[5].lower(), name))
    return partitions


def _output(argv: list[str], nothing_found: int = 0) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30)
    if done.returncode not in (0, nothing_found):
        raise OSError(f"{' '.join(argv)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout
