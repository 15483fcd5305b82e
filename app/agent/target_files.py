"""
Writing files into the installed system without ever leaving it.

Each path is walked from the target's root, folder by folder, without following links (`openat` with O_NOFOLLOW): a
link to / in the unpacked system, or a path with `..`, cannot make us write into the running one. A file gets its mode
before its content, and a file that is there already is replaced.
"""

import contextlib
import os
import re

from .errors import AgentError

SEED_FOLDER = "/var/lib/cloud/seed/nocloud"
_SEED_NAME = re.compile(r"[a-z][a-z-]{0,40}")
_MODE = re.compile(r"0?[0-7]{3}")


def parts_of(path: str) -> list[str]:
    """The components of an absolute path; AgentError for one that is relative, empty or climbs."""
    parts = path.split("/")[1:]
    if not path.startswith("/") or not parts or any(part in ("", ".", "..") for part in parts) or "\0" in path:
        raise AgentError(f"file {path!r}: the path must be absolute, without empty, '.' or '..' components")
    return parts


def parse_mode(path: str, mode: str) -> int:
    """An octal mode like 0644; special bits are refused."""
    if not _MODE.fullmatch(mode):
        raise AgentError(f"file {path}: mode {mode!r} is not three octal digits like 0644")
    return int(mode, 8)


def write(target: str, path: str, content: str, mode: int = 0o644) -> None:
    """Write one file below `target`; its folders are made (0755) if they are not there."""
    parts = parts_of(path)
    folder = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, 0o755, dir_fd=folder)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(folder)
            folder = below
        with contextlib.suppress(FileNotFoundError):
            os.unlink(parts[-1], dir_fd=folder)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(parts[-1], flags, mode, dir_fd=folder)
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            os.fchmod(handle, mode)
            file.write(content)
    except OSError as error:
        raise AgentError(
            f"file {path}: {error.strerror} (a folder in the path may be a link; name the folder it leads to)"
        ) from error
    finally:
        os.close(folder)


def write_seed(target: str, seed: dict[str, str]) -> None:
    """cloud-init's NoCloud seed; private, because user data may hold secrets."""
    for name, text in seed.items():
        if not _SEED_NAME.fullmatch(name):
            raise AgentError(f"seed {name!r}: a NoCloud seed file is named like meta-data or user-data")
        write(target, f"{SEED_FOLDER}/{name}", text, 0o600)


def write_files(target: str, files: tuple[dict[str, str], ...]) -> None:
    """The task's own files, each with `path`, `mode` and `content`."""
    for entry in files:
        path = str(entry["path"])
        write(target, path, str(entry["content"]), parse_mode(path, str(entry.get("mode") or "0644")))
