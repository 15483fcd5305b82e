"""Bundle: the files that one service should have on one rack, with digests that do not depend on secrets.

A file's text may hold references to secrets that only the rack host knows (or that the control plane sends apart):
``@secret:NAME@``.  The rack substitutes them while it writes; digests, plans and diffs only ever see the reference.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

SECRET_REFERENCE = re.compile(r"@secret:([a-z0-9-]+)@")


@dataclass(frozen=True)
class RenderedFile:
    """One file: path relative to the service's bundle, text, mode and owner (a user name of the rack host)."""

    path: str
    text: str
    mode: int = 0o640
    owner: str = "root"

    @property
    def digest(self) -> str:
        """SHA-256 over path, mode, owner and text, secret references unresolved."""
        head = f"{self.path}\0{self.mode:o}\0{self.owner}\0"
        return hashlib.sha256(head.encode() + self.text.encode()).hexdigest()

    @property
    def secret_references(self) -> frozenset[str]:
        """Names of the secrets that the rack must substitute."""
        return frozenset(SECRET_REFERENCE.findall(self.text))


@dataclass(frozen=True)
class Bundle:
    """All files of one service on one rack, sorted by path."""

    service: str
    files: tuple[RenderedFile, ...]

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        if paths != sorted(set(paths)):
            raise ValueError(f"bundle {self.service}: file paths must be unique and sorted, got {paths}")
        for path in paths:
            if path.startswith("/") or ".." in path.split("/") or not path:
                raise ValueError(f"bundle {self.service}: file path {path!r} leaves the bundle; use a relative path")

    @property
    def digest(self) -> str:
        """SHA-256 over the digests of all files: equal means that a rack need not be touched."""
        return hashlib.sha256("\n".join(file.digest for file in self.files).encode()).hexdigest()

    def as_data(self) -> dict[str, object]:
        """The JSON form that offers carry."""
        return {
            "service": self.service,
            "digest": self.digest,
            "files": [
                {"path": file.path, "text": file.text, "mode": file.mode, "owner": file.owner} for file in self.files
            ],
        }

    @classmethod
    def from_data(cls, data: object) -> Bundle:
        """Read the JSON form.  ValueError says what is wrong, also when the digest does not match the files."""
        if not isinstance(data, dict) or not isinstance(data.get("service"), str):
            raise ValueError("bundle: expected an object with a service name")
        try:
            files = tuple(
                RenderedFile(str(item["path"]), str(item["text"]), int(item["mode"]), str(item["owner"]))
                for item in data["files"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"bundle {data['service']}: malformed file entry: {error!r}") from error
        bundle = cls(data["service"], files)
        if bundle.digest != data.get("digest"):
            raise ValueError(
                f"bundle {bundle.service}: digest {data.get('digest')} does not match its files ({bundle.digest})"
            )
        return bundle
