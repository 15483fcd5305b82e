"""How long a new DNS name takes from the commit's answer to an answer at each of ten racks' name servers.

Everything on the way is ours and real: the service commits, the doorbell of the primary's rack rings, the rack worker
fetches over HTTP, sends its signed update and asks for it; BIND tells nine secondaries, which fetch the change.  The
broker's hop is left out (a datagram to the worker's doorbell stands for it): 2 ms with Redis, 23 ms with the embedded
broker.  All twenty BINDs, two control planes and whoever asks share this host's processors.

Beside it: the same with BIND's own delay before it tells others, and the zone written whole.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
from werkzeug.serving import WSGIRequestHandler, make_server

from app import wiring
from app.config import load
from app.factory import create_app
from app.services import dns_records, domains, racks, subnets
from app.services.changes import changing
from app.services.context import Actor, Context
from app.services.records import put_rrset
from app.store.intent import load_intent
from app.store.migrate import upgrade
from app.store.queries.scopes import scopes_of_rack
from bench.figure import Bench, Figure
from lab import binds, namespace
from lab.binds import NameRack
from renderers.intent import RackPorts
from workers.rack.channels.bind import BindUpdater
from workers.rack.client import ControlPlane, ControlPlaneDown
from workers.rack.files import ServiceDirectories
from workers.rack.host_keeper import HostKeeper
from workers.rack.offer import Offer
from workers.rack.record_flow import RecordFlow
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.records import RecordKeeper, RecordsLater
from workers.rack.secret_files import SecretFiles
from workers.rack.waiting import Doorbell, ring

RACKS = 10
SIZES = tuple(int(word) for word in os.environ.get("MUSTER_BENCH_NAMES", "1000 100000").split())
SAMPLES, WARM_UP = int(os.environ.get("MUSTER_BENCH_SAMPLES", "200")), 3
ZONE = "bench.example"
RATIO, P99_SECONDS = 1.2, 0.1
ASK_EVERY, DEADLINE = 0.003, 30.0
OTHERS = 3


class Quiet(WSGIRequestHandler):
    """Writes no line for each request."""

    def log(self, type: str, message: str, *arguments: Any) -> None:
        """Nothing."""


@dataclass
class Bell:
    """Rings the doorbell of the primary's rack worker, as the task that a broker brings does."""

    path: Path

    def advance(self, machine_id: int) -> None:
        """Nobody waits for machines here."""

    def reconcile(self, rack_id: int) -> None:
        """Offers are made by hand here."""

    def job(self, job_id: int) -> None:
        """No bulk jobs here."""

    def rack(self, rack_name: str) -> None:
        """Ring."""
        if rack_name == "rack-00":
            ring(self.path)

    def broker_users(self) -> None:
        """No broker here."""


@dataclass
class Site:
    """Ten racks with the zone; the first has a worker."""

    context: Context
    domain_id: int
    hosts: list[NameRack]
    keeper: RecordKeeper
    offer: Offer
    sockets: list[socket.socket]

    def spread(self, name: str) -> float:
        """Add a name; seconds from the commit's answer until all racks answer with it."""
        dns_records.create(self.context, self.domain_id, name=name, type="A", data="192.0.2.1")
        begin = time.monotonic()
        query = dns.message.make_query(f"{name}.{ZONE}.", "A")
        query.flags &= ~dns.flags.RD
        wire, waiting = query.to_wire(), list(self.sockets)
        while waiting:
            for one in waiting:
                one.send(wire)
            until = time.monotonic() + ASK_EVERY
            while (left := until - time.monotonic()) > 0 and waiting:
                ready, _, _ = select.select(waiting, (), (), left)
                # RFC 1035, section 4.1.1: the rcode, and how many answers there are.
                waiting = [one for one in waiting if one not in ready or not _answered(one.recv(512))]
            if time.monotonic() - begin > DEADLINE:
                raise RuntimeError(f"{name}.{ZONE} is not at {len(waiting)} of {RACKS} racks after {DEADLINE:g} s")
        return time.monotonic() - begin


def measure() -> list[Figure]:
    """All sizes, all standing, a name at each in turn: what slows the host slows all of them."""
    found: dict[int, list[float]] = {size: [] for size in SIZES}
    with contextlib.ExitStack() as stack:
        sites = {size: stack.enter_context(site(size)) for size in SIZES}
        for number in range(WARM_UP + SAMPLES):
            for size, here in sites.items():
                took = here.spread(f"name-{number}")
                if number >= WARM_UP:
                    found[size].append(took)
        beside = others(sites[SIZES[-1]])
    middle = {size: statistics.median(times) for size, times in found.items()}
    worst = {size: statistics.quantiles(times, n=100)[98] for size, times in found.items()}
    least, most = SIZES[0], SIZES[-1]
    words = f"default notify: {beside['notify'] * 1000:.0f} ms; the zone written whole: {beside['whole'] * 1000:.0f} ms"
    return [
        *(
            Figure(
                f"live-name-p99-{size}",
                worst[size] * 1000,
                "ms",
                f"p50 {middle[size] * 1000:.1f} ms",
                P99_SECONDS * 1000,
            )
            for size in SIZES
        ),
        Figure("live-name-ratio", middle[most] / middle[least], "", words, RATIO),
    ]


def others(here: Site) -> dict[str, float]:
    """BIND's own delay before it tells others, and a zone that is written whole for one name."""
    first = here.hosts[0]
    config = first.base / "current" / "named.conf"
    text = config.read_text()
    config.write_text(text.replace("notify-delay 0;", ""))
    namespace.run([*namespace.exec_prefix(first.space), "rndc", "-c", str(config.with_name("rndc.conf")), "reconfig"])
    slow = [here.spread(f"slow-{number}") for number in range(OTHERS)]
    begin = time.monotonic()
    first.inside(lambda: here.keeper.refill_zones(here.offer))
    return {"notify": statistics.median(slow), "whole": time.monotonic() - begin}


@contextlib.contextmanager
def site(size: int) -> Iterator[Site]:
    """Ten racks that serve a zone of so many names, and the worker of the first."""
    addresses = [f"10.77.0.{number + 1}" for number in range(RACKS)]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-")))
        config = load({"MUSTER_STATE_DIR": str(folder)})
        upgrade(config.database_url)
        bell = Bell(folder / "doorbell")
        context = replace(wiring.wire(config), ring=bell).acting_as(Actor("bench", "admin"))
        stack.callback(context.store.engine.dispose)
        domain = domains.create(context, ZONE)
        subnets.create(context, "10.77.0.0/24", fabric="bench", domain_id=domain.id)
        hosts, _ = stack.enter_context(binds.wire(binds.unique(f"ln{SIZES.index(size)}"), addresses))
        ids, token = [], ""
        for number, address in enumerate(addresses):
            interfaces = [{"name": "eth0", "mac": f"02:00:00:00:77:{number:02x}", "addresses": [f"{address}/24"]}]
            name = f"rack-{number:02}"
            made = racks.enrol(context, racks.new_code(context, name), name, {}, {}, interfaces)
            ids.append(made.rack.id)
            token = token or made.token
        keys = SecretFiles(hosts[0].root)
        keys.make_missing()
        secrets = {name: keys.read(name) for name in ("tsig-update", "rndc-key")}
        for host, rack_id in zip(hosts, ids, strict=True):
            with context.store.read() as session:
                host.serve(load_intent(session, rack_id), secrets)
        with context.store.read() as session:
            scopes, zones = frozenset(scopes_of_rack(session, ids[0])), load_intent(session, ids[0]).zones
        offer = Offer(1, 1, (), (), {}, {}, {}, scopes, zones, ())
        url = stack.enter_context(serving(context, config, hosts[0]))
        keeper = stack.enter_context(working(hosts[0], url, token, offer, keys, bell, fill(context, size)))
        sockets = [_socket_to(stack, host) for host in hosts]
        here = Site(context, domain.id, hosts, keeper, offer, sockets)
        yield here


def fill(context: Context, size: int) -> list[RecordChange]:
    """Names in the database, and the same as a rack would have fetched them."""
    changes = []
    for begin in range(0, size, 10_000):
        with changing(context) as session:
            for number in range(begin, min(begin + 10_000, size)):
                owner, data = f"n{number}.{ZONE}.", [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"]
                put_rrset(session, ZONE, owner, "A", 30, data)
                value: dict[str, Any] = {"name": owner, "type": "A", "ttl": 30, "rdatas": data}
                changes.append(RecordChange(0, f"zone:{ZONE}", f"rrset:{owner}:A", value))
    return changes


@contextlib.contextmanager
def serving(context: Context, config: Any, host: NameRack) -> Iterator[str]:
    """The control plane, reached from the first rack."""
    with namespace.listen_in(host.space, "127.0.0.1", 5240) as listener:
        server = make_server(
            "127.0.0.1", 5240, create_app(context, config), True, request_handler=Quiet, fd=listener.fileno()
        )
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield "http://127.0.0.1:5240"
        finally:
            server.shutdown()
            thread.join(timeout=20)


@contextlib.contextmanager
def working(
    host: NameRack, url: str, token: str, offer: Offer, keys: SecretFiles, bell: Bell, names: list[RecordChange]
) -> Iterator[RecordKeeper]:
    """The rack worker's loop of records on a host, woken by its doorbell; the zone holds the names already."""
    store = RecordStore(host.root / "records.db")

    def is_bind(service: str) -> bool:
        return service == "bind"

    def directories(service: str) -> ServiceDirectories:
        return ServiceDirectories(host.root, service)

    hosts = HostKeeper(store, directories, keys, is_bind, RackPorts())
    keeper = RecordKeeper(
        store, hosts, lambda: BindUpdater(keys.read("tsig-update")), is_bind, bind=directories("bind")
    )
    stop, wake, ready = threading.Event(), threading.Event(), threading.Event()
    flow = RecordFlow(keeper, ControlPlane(url, token), is_bind)

    def work() -> None:
        _wait_for_bind()
        store.serve_scopes(offer.scopes)
        failed: dict[tuple[str, str], str] = {}
        keeper.zones.apply(f"zone:{ZONE}", names, offer, failed)
        store.commit(names)
        flow.take(offer)
        ready.set()
        again = False
        while not stop.is_set():
            if wake.wait(1.0) or again:
                wake.clear()
                try:
                    flow.take(offer)
                    again = False
                except (
                    ControlPlaneDown,
                    RecordsLater,
                ):  # As the agent does: on a busy host somebody may not answer in time.
                    again = True

    Doorbell(bell.path, wake, stop).start()
    thread = threading.Thread(target=lambda: host.inside(work), daemon=True)
    thread.start()
    try:
        if not ready.wait(600):
            raise RuntimeError("the names are not in the zone after 600 s")
        yield keeper
    finally:
        stop.set()
        wake.set()
        thread.join(timeout=30)


def _wait_for_bind() -> None:
    end = time.monotonic() + DEADLINE
    while True:
        try:
            with socket.create_connection(("127.0.0.1", 53), 1):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _socket_to(stack: contextlib.ExitStack, host: NameRack) -> socket.socket:
    made = namespace.socket_in(host.space, socket.AF_INET, socket.SOCK_DGRAM)
    stack.callback(made.close)
    made.connect((host.address, 53))
    return made


def _answered(wire: bytes) -> bool:
    return len(wire) > 12 and wire[3] & 15 == dns.rcode.NOERROR and wire[6:8] != b"\0\0"


BENCH = Bench("live_name", "A new DNS name at each of ten racks, from the commit's answer", measure)
