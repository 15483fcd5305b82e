"""ServiceSpec: what Muster knows of a daemon, as data.

One module in `renderers/services/` with one constant `SERVICE` adds a service: planning, apply, activation, probing and
the packages a rack host needs all read it from here.  Commands are argument vectors, never shell strings; the words
`{staged}`, `{current}`, `{state}` and `{run}` in them, and in the values of `environment`, are replaced by the
service's directories on the rack, `{python}` by the interpreter that runs the rack's own software.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from renderers.bundle import Bundle
from renderers.intent import RackIntent


@dataclass(frozen=True)
class ProbeSpec:
    """A question that the rack asks a service as a client would; `kind` names a module of `workers.rack.probes`."""

    kind: str
    parameters: tuple[tuple[str, str | int], ...] = ()

    def parameter(self, name: str) -> str | int:
        """Value of a parameter. KeyError names the probe and the parameter."""
        for key, value in self.parameters:
            if key == name:
                return value
        raise KeyError(f"probe {self.kind}: no parameter {name!r}")


@dataclass(frozen=True)
class StateFile:
    """A file below the service's state directory that is written only if it is absent (a zone's first contents).

    path: relative to the state directory.  source: path of a file of the same bundle whose text is copied.  The file
    and the directories made for it belong to the service's user.
    """

    path: str
    source: str


@dataclass(frozen=True)
class ServiceSpec:
    """One rendered service.

    wanted: says whether an intent asks for the service at all.
    render: intent to bundle.
    checker: the daemon's own checker, run on the staged files before they are activated; None if it has none.
    command: the daemon in the foreground, as its supervisor runs it; `arguments` adds what depends on the intent.
    prepare: a command, harmless to repeat, that must have ended well before the daemon is *started* (not reloaded).
    user: the user the daemon drops to (owner of state and run directories).
    run_mode: who may enter the directory of its sockets.
    contents: names of the things (subnets, zones) a bundle serves, so that a plan can tell how many of them would go.
    channel: the module of `workers.rack.channels` that activates a new bundle on the running daemon.
    probes: intent to the probes that must be green after an apply.
    packages: Debian packages a rack host needs.
    rival_units: units that these packages bring and that would take the ports or files of ours: a rack host has them
        stopped and masked.  Not named is what gets along with ours: rsyslog's (it does not listen on the network),
        PostgreSQL's (ours listens in a directory of its own), which a host may need for itself, and chrony's, which sets
        the host's clock and is told to listen at no port (`ansible/roles/rack_host`): ours serves time and sets no clock.
    """

    name: str
    title: str
    wanted: Callable[[RackIntent], bool]
    render: Callable[[RackIntent], Bundle]
    command: tuple[str, ...]
    channel: str
    probes: Callable[[RackIntent], tuple[ProbeSpec, ...]]
    packages: tuple[str, ...]
    rival_units: tuple[str, ...] = ()
    checker: tuple[str, ...] | None = None
    user: str = "root"
    run_mode: int = 0o755
    state_files: Callable[[RackIntent], tuple[StateFile, ...]] = lambda intent: ()
    environment: tuple[tuple[str, str], ...] = ()
    arguments: Callable[[RackIntent], tuple[str, ...]] = lambda intent: ()
    prepare: tuple[str, ...] | None = None
    contents: Callable[[Bundle], frozenset[str]] = lambda bundle: frozenset(file.path for file in bundle.files)

    def command_for(self, intent: RackIntent) -> tuple[str, ...]:
        """The whole command line of the daemon for one rack, places not yet filled in."""
        return self.command + self.arguments(intent)
