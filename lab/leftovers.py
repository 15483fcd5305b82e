"""What one site has made on this host, written down so that a later run can clean up after a run that was killed.

The record (`site.json` in the site's directory) is written before each thing is made, so a crash leaves nothing
unknown. Cleaning refuses while the process that owns the site still runs; see `lab.process` for how a process is
recognised.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lab import namespace
from lab.process import ProcessName, end_processes, name_process

FILE_NAME = "site.json"


class StillRunning(Exception):
    """The run that owns these things is alive; end it first."""


@dataclass
class Record:
    """Everything a site has made that outlives a killed process."""

    owner: ProcessName
    namespaces: list[str] = field(default_factory=list)
    processes: list[ProcessName] = field(default_factory=list)
    mounts: list[str] = field(default_factory=list)

    def write(self, directory: Path) -> None:
        """Replace the record on disk in one step."""
        path = directory / FILE_NAME
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        draft.replace(path)


def new_record() -> Record:
    """Return an empty record owned by this process."""
    owner = name_process(os.getpid())
    if owner is None:
        raise RuntimeError("/proc does not show this process: mount proc on /proc")
    return Record(owner)


def read_record(directory: Path) -> Record | None:
    """Return the record a site left in its directory; None when it left none."""
    try:
        document = json.loads((directory / FILE_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return Record(
        owner=ProcessName(**document["owner"]),
        namespaces=document["namespaces"],
        processes=[ProcessName(**name) for name in document["processes"]],
        mounts=document["mounts"],
    )


def clean(directory: Path) -> list[str]:
    """Remove what a dead run left, recorded in `directory` or one level below it; return a line per thing removed.

    Raises StillRunning when the owner of a record is alive and is not this process.
    """
    done: list[str] = []
    for path in sorted([*directory.glob(FILE_NAME), *directory.glob(f"*/{FILE_NAME}")]):
        record = read_record(path.parent)
        if record is not None:
            if record.owner.is_alive() and record.owner.pid != os.getpid():
                raise StillRunning(f"{path.parent}: process {record.owner.pid} still runs this site; end it first")
            done += remove(record)
            path.unlink(missing_ok=True)
    return done


def remove(record: Record) -> list[str]:
    """End the recorded processes and those in the namespaces, then remove mounts and namespaces; say what was removed.

    Taps, veths, bridges and sockets are inside the namespaces and go with them.
    """
    residents = [name for space in record.namespaces for name in namespace.residents(space)]
    doomed = [name for name in {*record.processes, *residents} if name.is_alive()]
    if remaining := end_processes(doomed):
        raise RuntimeError(f"processes {[name.pid for name in remaining]} survive SIGKILL: look at them with ps")
    done = [f"ended process {name.pid}" for name in doomed]
    for mount in reversed(record.mounts):
        if os.path.ismount(mount):
            namespace.run(["umount", "--lazy", mount])
            done.append(f"unmounted {mount}")
    for space in record.namespaces:
        if namespace.exists(space):
            namespace.run(["ip", "netns", "delete", space])
            done.append(f"removed namespace {space}")
    return done
