"""The manifest of an image set: what the files are, and whether they still are that.

`manifest.json` lies beside the files. Verifying reads every file once (about 0.5 GB a second), which is what lets a
build return quickly without believing a half-written or damaged cache.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

MANIFEST = "manifest.json"
KINDS = {"vmlinuz": "kernel", "initrd": "initrd", "root.squashfs": "squashfs", "rootfs.tar.zst": "rootfs"}


class ManifestError(Exception):
    """The cached image set is not what its manifest says; the message names file, value and rule."""


@dataclass(frozen=True)
class ImageFile:
    """One file of an image set."""

    name: str
    kind: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Manifest:
    """An image set; `firmware` and `suites` say which packages and suites it was made of."""

    name: str
    os: str
    release: str
    architecture: str
    built_at: str
    recipe: str
    files: tuple[ImageFile, ...]
    kernel: str = ""
    firmware: tuple[str, ...] = ()
    suites: tuple[str, ...] = ()

    def write(self, folder: Path) -> None:
        """Write `manifest.json` in `folder`."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def digest_of(path: Path) -> str:
    """The SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(folder: Path) -> tuple[ImageFile, ...]:
    """The files of a finished image set, measured."""
    return tuple(
        ImageFile(name, kind, digest_of(folder / name), (folder / name).stat().st_size) for name, kind in KINDS.items()
    )


def read(folder: Path) -> Manifest:
    """The manifest in `folder`; raises ManifestError when there is none or it cannot be read."""
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        files = tuple(ImageFile(**entry) for entry in data.pop("files"))
        firmware, suites = tuple(data.pop("firmware", ())), tuple(data.pop("suites", ()))
        return Manifest(files=files, firmware=firmware, suites=suites, **data)
    except FileNotFoundError as error:
        raise ManifestError(f"{path} does not exist; build the images") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"{path} cannot be read as a manifest ({error}); build the images again") from error


def verify(folder: Path, recipe: str) -> Manifest:
    """The manifest of `folder` if recipe and every file agree with it, else ManifestError."""
    manifest = read(folder)
    if manifest.recipe != recipe:
        raise ManifestError(f"{folder} was built from recipe {manifest.recipe[:12]}, the builder's is {recipe[:12]}")
    present = {file.name for file in manifest.files}
    for name in KINDS:
        if name not in present:
            raise ManifestError(f"{folder / MANIFEST} does not list {name}")
    for file in manifest.files:
        path = folder / file.name
        if not path.is_file():
            raise ManifestError(f"{path} is missing")
        size = path.stat().st_size
        if size != file.size_bytes:
            raise ManifestError(f"{path} has {size} bytes, its manifest says {file.size_bytes}")
        found = digest_of(path)
        if found != file.sha256:
            raise ManifestError(f"{path} has SHA-256 {found}, its manifest says {file.sha256}")
    return manifest
