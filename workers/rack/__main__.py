"""`muster-rack`: everything that runs on a rack host.

Exit codes: 0 done, 1 unexpected, 2 wrong usage, 3 this host is not enrolled, wrongly set up, or has an agent already,
4 the control plane refuses, 5 the control plane does not answer.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from dataclasses import fields
from pathlib import Path
from typing import Any

from app.broker import Tls
from renderers import registry
from renderers.intent import RackLayout, RackPorts
from workers.rack.agent import Agent
from workers.rack.apply import Applier
from workers.rack.broker import FILE_NAME as BROKER_FILE
from workers.rack.client import ControlPlaneDown, ControlPlaneRefused
from workers.rack.config import SUPERVISORS, ConfigError, RackConfig, load_config
from workers.rack.enrolment import enrol
from workers.rack.log import set_up as set_up_log
from workers.rack.power import serve
from workers.rack.probing import Prober
from workers.rack.record_store import RecordStore
from workers.rack.secret_files import SecretFiles, SecretMissing
from workers.rack.single import AlreadyRunning, only_agent
from workers.rack.supervision import choose_units
from workers.rack.units import UnitError

EXIT_SETUP, EXIT_REFUSED, EXIT_DOWN = 3, 4, 5


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        set_up_log()
        code: int = options.run(options)
        return code
    except (ConfigError, SecretMissing, AlreadyRunning) as error:
        print(f"muster-rack: {error}", file=sys.stderr)
        return EXIT_SETUP
    except ControlPlaneRefused as error:
        print(f"muster-rack: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except ControlPlaneDown as error:
        print(f"muster-rack: the control plane does not answer: {error}", file=sys.stderr)
        return EXIT_DOWN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="muster-rack", description="What runs on a Muster rack host.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text)
        made.add_argument("--root", type=Path, default=Path(RackLayout().root), help="the rack's state directory")
        made.set_defaults(run=run)
        return made

    new = command("enrol", _enrol, "Make this host a rack with a one-time code.")
    new.add_argument("--url", required=True, help="the control plane, as in https://muster.example:5240")
    new.add_argument("--code-file", required=True, help="file with the enrolment code, - for standard input")
    new.add_argument("--name", help="the rack's name; the code may bring one")
    new.add_argument("--boot-files", default=RackLayout().boot_files, help="directory of the iPXE loaders")
    new.add_argument("--port", action="append", default=[], metavar="NAME=NUMBER", help="another port, as in dns=5353")
    new.add_argument("--lab", action="store_true", help="allow plain http to another host; for labs only")
    new.add_argument(
        "--no-hosts-database", action="store_true", help="run no PostgreSQL for DHCP hosts, also where it is installed"
    )
    for name, what in (("ca", "CAs of the Redis broker"), ("cert", "own certificate there"), ("key", "key of it")):
        new.add_argument(
            f"--broker-{name}", metavar="FILE", help=f"{what} (PEM); the control plane names the usual CAs"
        )
    new.add_argument(
        "--supervisor",
        choices=SUPERVISORS,
        default="auto",
        help="what runs the daemons; auto: a supervisord on the rack's socket, else systemd",
    )
    new.add_argument("--again", action="store_true", help="replace an earlier enrolment")
    command("agent", _agent, "Fetch, apply and report, until stopped.")
    command("power", _power, "Carry out power operations, until stopped.")
    command("doorbell", _doorbell, "Consume this rack's queue and wake the agent, until stopped.")
    command(
        "packages",
        _packages,
        "Show which packages each service needs, and which units of theirs must not run, as JSON.",
    )
    command("status", _status, "Show what this rack runs, as JSON.")
    return parser


def _enrol(options: argparse.Namespace) -> int:
    try:
        code = sys.stdin.read() if options.code_file == "-" else Path(options.code_file).read_text()
    except OSError as error:
        raise ConfigError(f"the enrolment code cannot be read: {error}") from error
    config = enrol(
        options.root,
        options.url,
        code.strip(),
        options.name,
        options.boot_files,
        parse_ports(options.port),
        options.lab,
        options.again,
        not options.no_hosts_database,
        Tls(options.broker_ca, options.broker_cert, options.broker_key),
        options.supervisor,
    )
    print(json.dumps({"rack": {"id": config.rack_id, "name": config.name}, "root": str(config.root)}))
    return 0


def parse_ports(words: list[str]) -> RackPorts:
    """Ports from NAME=NUMBER.  ConfigError names what is wrong with one."""
    known = {item.name for item in fields(RackPorts)}
    found: dict[str, int] = {}
    for word in words:
        name, _, number = word.partition("=")
        if name not in known or not number.isdigit() or not 0 < int(number) < 65536:
            raise ConfigError(f"--port {word}: give one of {', '.join(sorted(known))} and a number from 1 to 65535")
        found[name] = int(number)
    return RackPorts(**found)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: stop.set())
    return stop


def _agent(options: argparse.Namespace) -> int:
    config = load_config(options.root)
    with only_agent(config.root):
        Agent(config).run(_stop_on_signals())
    return 0


def _power(options: argparse.Namespace) -> int:
    serve(load_config(options.root), _stop_on_signals())
    return 0


def _doorbell(options: argparse.Namespace) -> int:
    from workers.rack.tasks import consume  # Celery is wanted by this command only.

    consume(load_config(options.root))
    return 0


def _packages(options: argparse.Namespace) -> int:
    print(json.dumps(packages(), indent=1, sort_keys=True))
    return 0


def packages() -> dict[str, dict[str, list[str]]]:
    """By service: Debian packages that a rack host needs, and the units of theirs that must not run beside the rack's own."""
    return {
        spec.name: {"packages": list(spec.packages), "units": list(spec.rival_units)} for spec in registry.services()
    }


def _status(options: argparse.Namespace) -> int:
    config = load_config(options.root)
    print(json.dumps(status(config), indent=1, sort_keys=True))
    return 0


def status(config: RackConfig) -> dict[str, Any]:
    """What this rack runs; asks no service and no control plane."""
    units = choose_units(config)
    specs = {spec.name: spec for spec in registry.services()}
    applier = Applier(config.root, units, SecretFiles(config.root), Prober(config.root, config.name), specs)
    services: dict[str, Any] = {}
    for name in applier.services():
        applied = applier.applied(name)
        try:
            running: bool | None = units.is_running(name)
        except UnitError:
            running = None
        if applied is not None:
            services[name] = {"offer": applied.offer, "digest": applied.digest, "running": running}
    return {
        "rack": {"id": config.rack_id, "name": config.name},
        "control_plane": config.control_plane,
        "broker": (config.root / BROKER_FILE).exists(),
        "records": RecordStore(config.records_path).sequence,
        "services": services,
    }


if __name__ == "__main__":
    sys.exit(main())
