"""Containers with a systemd for tests: where the host cannot have one, a visible skip, under CI a failure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lab.container import Container, Unobtainable
from tests.daemons.requires import absent


@contextmanager
def container(packages: tuple[str, ...] = (), binds: Sequence[Path] = ()) -> Iterator[Container]:
    """A container that has booted; see `lab.container`."""
    made = Container(packages, binds)
    try:
        made.__enter__()
    except Unobtainable as error:
        absent(str(error))
    with made:
        yield made
