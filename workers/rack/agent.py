"""The rack's own loop: fetch the offer and the records, make them true, say how it went.

It works with nothing but a control plane to ask, and keeps what it serves alive without one: at the start, everything
that was last good runs again from this host's disk.  An offer is believed only with a signature by the pinned key and a
number higher than the last; one that failed is not tried again, because the control plane sends a new number when there
is reason to.  What came of it is kept on disk until it could be said.  Nothing that goes wrong in a turn ends the loop.

Telling what runs here takes seconds (probes, leases), so it is done beside the turns, and a record never waits for it;
only what changes the structure does, so that a service is not called dead because it is just being restarted.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import structlog

from renderers import registry
from renderers.services import rsyslog
from renderers.spec import ProbeSpec, ServiceSpec
from workers.rack import ha_keys
from workers.rack.apply import Applier
from workers.rack.channels.bind import BindUpdater
from workers.rack.client import ControlPlane, ControlPlaneDown, ControlPlaneRefused
from workers.rack.config import RackConfig
from workers.rack.config_check import ConfigChecker
from workers.rack.dhcp_switch import find_switch
from workers.rack.files import write_atomically
from workers.rack.host_keeper import HostKeeper
from workers.rack.host_strategies.base import FAMILIES
from workers.rack.lease_ends import LeaseEnder
from workers.rack.observe import observe, summary
from workers.rack.offer import Envelope, Offer, OfferError
from workers.rack.omapi_key import OmapiKey
from workers.rack.probing import Prober, client_mac
from workers.rack.questions import Answerer, Questions, QuestionThread
from workers.rack.record_flow import RecordFlow
from workers.rack.record_store import RecordStore
from workers.rack.records import RecordKeeper, RecordsLater
from workers.rack.report import WHOLE_OFFER, ApplyReport, Wanted, words
from workers.rack.secret_files import FETCHED, RACK_TOKEN, SecretFiles, SecretMissing
from workers.rack.sensors import neighbours
from workers.rack.sensors.foreign_dhcp import ForeignDhcpSensor
from workers.rack.sensors.leases import LeaseSensor
from workers.rack.sensors.syslog import SyslogSensor
from workers.rack.supervision import choose_units
from workers.rack.units import UnitError, Units
from workers.rack.waiting import Doorbell, LongPoll, wait_for
from workers.rack.zone_watch import ZoneWatch

log = structlog.get_logger()

NEWS = ("offer", "records", "questions")
"""What the control plane wakes the agent for."""
TURN_SECONDS = 10.0
TELL_SECONDS = 1.0
OBSERVE_SECONDS = 30.0
NEIGHBOUR_SECONDS = 60.0
UNSENT_REPORTS = 200


class Agent:
    """One rack host.  `turn` does everything once; `run` does it for ever."""

    def __init__(
        self,
        config: RackConfig,
        units: Units | None = None,
        specs: Mapping[str, ServiceSpec] | None = None,
        client: ControlPlane | None = None,
        prober: Prober | None = None,
        reached: Callable[[str, str], None] | None = None,
    ) -> None:
        """Set up; `reached` is told which service has come to which step of an apply, and is the log's by default."""
        self.config = config
        self._secrets = SecretFiles(config.root)
        self._units: Units = units or choose_units(config)
        self._specs = dict(specs) if specs is not None else {spec.name: spec for spec in registry.services()}
        self._client = client or ControlPlane(config.control_plane, self._secrets.read(RACK_TOKEN))
        self._prober = prober or Prober(config.root, config.name)
        self._reached = reached or (lambda service, step: log.debug("apply.step", service=service, step=step))
        self._offers = config.root / "offers"
        self._done_path = self._offers / "done.json"
        self._unsent_path = self._offers / "unsent.json"
        self.applier = Applier(
            config.root,
            self._units,
            self._secrets,
            self._prober,
            self._specs,
            before_check=self._before_check,
            reached=self._reached,
        )
        self._secrets.make_missing()
        store = RecordStore(config.records_path)
        self.keeper = RecordKeeper(
            store,
            HostKeeper(store, self.applier.directories, self._secrets, self._serving, config.ports),
            lambda: BindUpdater(self._secrets.read("tsig-update"), port=config.ports.dns),
            self._serving,
            bind=self.applier.directories("bind"),
        )
        self._zone_watch: ZoneWatch | None = None
        self.flow = RecordFlow(self.keeper, self._client, self._serving)
        self._teller = client or ControlPlane(config.control_plane, self._secrets.read(RACK_TOKEN))
        self._structure = threading.Lock()
        self._wake = threading.Event()
        self._done = self._read_done()
        self._offer = self._load("current.json") or self._load("last-good.json")
        self._unsent = self._read_unsent()
        self._refused: tuple[int, str] | None = None
        self._resume_again = True
        self._observed: tuple[float, str] = (0.0, "")
        self._neighbours_told: float | None = None
        self.leases = LeaseSensor(self.applier.directories, self._serving, self._teller)
        self._omapi_key = OmapiKey(self.applier, self._secrets, self._wanted_dhcpd, self._report)
        # What changes what is applied waits for its turn; the rest is answered beside the turns.
        self._questions = Questions(self._client, self._secrets, {"new-omapi-key": self._change_omapi_key})
        self.answerers: dict[str, Answerer] = {
            "check": ConfigChecker(self._specs),
            "end-lease": LeaseEnder(self.applier.directories, self._secrets, self._serving, self.leases.soon),
        }

    def run(self, stop: threading.Event) -> None:
        """Until a stop is asked for."""
        wake = self._wake
        Doorbell(self.config.doorbell_path, wake, stop).start()
        waiter = ControlPlane(self.config.control_plane, self._secrets.read(RACK_TOKEN))
        self._guard("resume", self.resume)
        asked = threading.Event()
        client = ControlPlane(self.config.control_plane, self._secrets.read(RACK_TOKEN))
        QuestionThread(Questions(client, self._secrets, self.answerers), asked, stop).start()
        LongPoll(waiter, wake, stop, kinds=NEWS, also={"questions": asked}).start()
        self._zone_watch = self._watch_zones(stop)
        self._zone_watch.start()
        spool = self.applier.directories(rsyslog.NAME).state / rsyslog.SPOOL
        teller = ControlPlane(self.config.control_plane, self._secrets.read(RACK_TOKEN))
        SyslogSensor(spool, teller, stop).start()
        listener = ControlPlane(self.config.control_plane, self._secrets.read(RACK_TOKEN))
        ForeignDhcpSensor(self._probes, client_mac(self.config.name), listener, stop).start()
        tell = threading.Event()
        threading.Thread(target=self._tell_on, args=(tell, stop), name="teller", daemon=True).start()
        while not stop.is_set():
            self.work()
            tell.set()
            wait_for(wake, stop, TURN_SECONDS)

    def turn(self) -> None:
        """Everything once."""
        self.work()
        self.tell()

    def work(self) -> None:
        """Make true what is new, each part on its own: a failure of one does not keep the others from their work.

        Records come first, as somebody may be waiting for one; again after an offer, which may bring their zone, and
        between any two parts when the rack is woken meanwhile.
        """
        parts: dict[str, Callable[[], None]] = {
            "offer": self.take_offer,
            "retries": self.retry_records,
            "hosts": self.tend_hosts,
            "drift": self.check_records,
            "questions": self._questions.turn,
            "reports": self.send_reports,
        }
        if self._resume_again:
            self._guard("resume", self.resume)
        self._guard("records", self.take_records)
        for name, part in parts.items():
            done = self._done
            self._guard(name, part)
            if self._done != done or self._wake.is_set():  # It stays set: the wake may be for more than records.
                self._guard("records", self.take_records)

    def tell(self) -> None:
        """Say what runs here and who else is there, each part on its own, and write down what may wait that long."""
        self._guard("settle", self.settle_hosts)
        self._guard("observe", self.report_observation)
        self._guard("neighbours", self.report_neighbours)
        self._guard("leases", self.leases.tell)

    def _tell_on(self, tell: threading.Event, stop: threading.Event) -> None:
        """Tell after each turn, and not more often than every TELL_SECONDS: probes cost the daemons work too."""
        while not stop.is_set():
            wait_for(tell, stop, TURN_SECONDS)
            if not stop.is_set():
                self.tell()
                stop.wait(TELL_SECONDS)

    def resume(self) -> None:
        """Last-good runs again, from this host's own disk."""
        with self._structure:
            self._resume()

    def _resume(self) -> None:
        broken, recovered = self.applier.resume()
        self._omapi_key.recover()
        for report in recovered:
            self._report(report)
        last_good = self._load("last-good.json")
        if last_good is not None:
            known = self.applier.services()
            for wanted in self._wanted(last_good):
                if wanted.bundle.service not in known and wanted.bundle.service not in broken:
                    self._before_check_offer(last_good, wanted.bundle.service)
                    self.applier.apply(wanted)
        self._resume_again = bool(broken)

    def take_offer(self) -> None:
        """Fetch the offer if it is new, and apply it service by service."""
        envelope = self._client.offer(self._done)
        if envelope is None:
            return
        try:
            offer = self._receive(envelope)
        except (OfferError, OSError) as error:
            self._refuse(envelope.number, words(error) if isinstance(error, OSError) else str(error))
            raise
        with (
            self._structure,
            structlog.contextvars.bound_contextvars(offer=offer.number, request_id=envelope.request_id),
        ):
            self._carry_out(envelope, offer)

    def _carry_out(self, envelope: Envelope, offer: Offer) -> None:
        """Apply an offer that was received, service by service."""
        log.info("offer.taken", services=[bundle.service for bundle in offer.bundles])
        others = self._offer.zones if self._offer is not None else None
        self._offer = offer
        self.keeper.store.serve_scopes(offer.scopes)
        self._fetch_secrets(offer)
        self._reached(WHOLE_OFFER, "received")
        reports: list[ApplyReport] = []
        switch = find_switch(offer, self.applier)
        for wanted in self._wanted(offer):
            if switch is not None and wanted.bundle.service == switch.new:
                report = switch.carry_out(wanted, self.applier, self._units)
            else:
                report = self.applier.apply(wanted)
            reports.append(report)
            self._report(report, envelope.request_id)
        for service in offer.absent:
            if switch is not None and service == switch.old and self.applier.applied(switch.new) is None:
                report = switch.kept(offer.number, self.applier)
            else:
                report = self.applier.remove(service, offer.number)
            reports.append(report)
            if report.outcome != "unchanged":  # What never ran here is no news.
                self._report(report, envelope.request_id)
        self._reached(WHOLE_OFFER, "applied")
        self.leases.soon()
        if all(report.good for report in reports):
            envelope.save(self._offers / "last-good.json")
            self._secrets.keep_only(_fetched_of(offer))
        self.flow.zones_unsure |= offer.zones != others or any(report.seeded for report in reports)
        self._done = offer.number
        self._reached(WHOLE_OFFER, "done")
        write_atomically(self._done_path, json.dumps({"number": self._done}).encode())

    def _receive(self, envelope: Envelope) -> Offer:
        """Check an offer and keep it.  OfferError if it is not to be believed, OSError if it cannot be kept."""
        offer = envelope.open(self.config.offer_public_key, self.config.name)
        if offer.number <= self._done:
            raise OfferError(
                f"offer {offer.number} is not newer than {self._done}, which was dealt with; after a restore the"
                " control plane must first raise its numbers"
            )
        envelope.save(self._offers / "current.json")
        return offer

    def _fetch_secrets(self, offer: Offer) -> None:
        """Get the keys of outside servers that the offer refers to; what is missing afterwards fails that service alone."""
        for name in sorted(_fetched_of(offer)):
            try:
                self._secrets.read(name)
            except SecretMissing:
                try:
                    self._secrets.write(name, self._client.secret(name))
                except (ControlPlaneRefused, ControlPlaneDown, KeyError) as error:
                    log.warning("secret.missing", name=name, reason=str(error))

    def _watch_zones(self, stop: threading.Event) -> ZoneWatch:
        return ZoneWatch(
            ControlPlane(self.config.control_plane, self._secrets.read(RACK_TOKEN)),
            lambda: [zone.name for zone in self._offer.zones] if self._offer and self._serving("bind") else [],
            lambda: BindUpdater(self._secrets.read("tsig-update"), port=self.config.ports.dns),
            self.keeper.zones.take_foreign,
            self.keeper.zones.seen_serials,
            stop,
        )

    def _refuse(self, number: int, reason: str) -> None:
        """Say once that an offer was not taken.  It is looked at again each turn: room may be made, numbers raised."""
        if self._refused != (number, reason):
            self._refused = (number, reason)
            self._report(ApplyReport(number, WHOLE_OFFER, outcome="failed", stage="receive", reason=reason))

    def take_records(self) -> None:
        """Make record changes live until there are no more."""
        if self._offer is not None:
            self.flow.take(self._offer)
            if self._zone_watch is not None:
                self._zone_watch.poke()

    def retry_records(self) -> None:
        """Try failed records again when their time has come."""
        if self._offer is not None:
            self.flow.retry(self._offer)

    def check_records(self) -> None:
        """Find and mend records that are not as they should be."""
        if self._offer is not None:
            self.flow.check(self._offer, self._wake.is_set)

    def tend_hosts(self) -> None:
        """A DHCP server that was started anew may have lost hosts, or have some that were taken away meanwhile."""
        if self._offer is not None:
            self.keeper.tend_hosts(self._offer, self._units.pid)

    def settle_hosts(self) -> None:
        """A DHCP server that keeps hosts in its memory finds them when it starts anew."""
        with self._structure:
            if self._offer is not None:
                self.keeper.settle_hosts(self._offer)

    def send_reports(self) -> None:
        """What could not be said when it happened."""
        while self._unsent:
            try:
                self._client.report_apply(self._unsent[0])
            except ControlPlaneRefused as error:
                log.error("report.refused", reason=str(error))
            self._unsent.pop(0)
            self._keep_unsent()

    def report_observation(self) -> None:
        """At every change and every OBSERVE_SECONDS."""
        with self._structure:
            observation = observe(
                self.config.root,
                self._done,
                self.keeper.store.sequence,
                self.applier,
                self._units,
                self._prober,
                self.config.control_plane,
                self.config.hosts_database,
                self._certificate(),
            )
        said, now = summary(observation), time.monotonic()
        if any(not item["running"] for item in observation["services"].values()):
            self._resume_again = True
        if said != self._observed[1] or now - self._observed[0] >= OBSERVE_SECONDS:
            self._teller.report_observation(observation)
            self._observed = (now, said)

    def report_neighbours(self) -> None:
        """Every NEIGHBOUR_SECONDS; what could not be told is told anew next time."""
        now = time.monotonic()
        if self._neighbours_told is None or now - self._neighbours_told >= NEIGHBOUR_SECONDS:
            self._neighbours_told = now
            self._teller.report_neighbours(neighbours.read())

    def _probes(self) -> list[ProbeSpec]:
        """How everything that runs here is asked."""
        applied = [self.applier.applied(name) for name in self.applier.services()]
        return [spec for one in applied if one is not None for spec in one.probes]

    def _report(self, report: ApplyReport, request_id: str | None = None) -> None:
        self._unsent = [*self._unsent, {**report.as_data(), "request_id": request_id}][-UNSENT_REPORTS:]
        self._keep_unsent()
        try:
            self.send_reports()
        except ControlPlaneDown as error:
            log.warning("report.later", reason=str(error))

    def _keep_unsent(self) -> None:
        """Reports outlive this process; where there is no room for them, they are sent from memory."""
        try:
            if self._unsent:
                write_atomically(self._unsent_path, json.dumps(self._unsent).encode(), mode=0o600)
            else:
                self._unsent_path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("report.unkept", reason=str(error))

    def _change_omapi_key(self, particulars: Mapping[str, Any]) -> Mapping[str, Any]:
        with self._structure:
            return self._omapi_key(particulars)

    def _read_unsent(self) -> list[dict[str, Any]]:
        try:
            return [dict(item) for item in json.loads(self._unsent_path.read_text())]
        except (OSError, ValueError, TypeError):
            return []

    def _wanted(self, offer: Offer) -> list[Wanted]:
        return [
            Wanted(
                offer.number,
                bundle,
                offer.commands.get(bundle.service, ()),
                offer.probes.get(bundle.service, ()),
                offer.state_files.get(bundle.service, ()),
            )
            for bundle in offer.bundles
        ]

    def _wanted_dhcpd(self) -> Wanted | None:
        """What the present offer says of dhcpd."""
        found = self._wanted(self._offer) if self._offer is not None else []
        return next((wanted for wanted in found if wanted.bundle.service == "dhcpd"), None)

    def _serving(self, service: str) -> bool:
        return self.applier.applied(service) is not None

    def _before_check(self, service: str) -> None:
        if self._offer is not None:
            self._before_check_offer(self._offer, service)

    def _before_check_offer(self, offer: Offer, service: str) -> None:
        """A DHCP server must find the stored hosts, so they are there before anybody reads its configuration."""
        if service in FAMILIES:
            self.keeper.hosts.prepare(service, offer)

    def _certificate(self) -> str | None:
        """That of this rack's Kea for its partner; None where Kea is not installed or there is no room."""
        try:
            return ha_keys.ensure(self.config.root, self.config.name)
        except (KeyError, OSError) as error:
            log.warning("ha.no_certificate", reason=str(error))
            return None

    def _load(self, name: str) -> Offer | None:
        path: Path = self._offers / name
        try:
            envelope = Envelope.load(path)
            return None if envelope is None else envelope.open(self.config.offer_public_key, self.config.name)
        except OfferError as error:
            log.error("offer.unusable", file=name, reason=str(error))
            return None

    def _read_done(self) -> int:
        try:
            return int(json.loads(self._done_path.read_text())["number"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _guard(self, part: str, action: Any) -> None:
        """Run one part of a turn; whatever it raises is logged and the next part runs."""
        try:
            action()
        except (ControlPlaneDown, RecordsLater, UnitError) as error:
            log.warning("turn.later", part=part, reason=str(error))
        except (ControlPlaneRefused, OfferError) as error:
            log.error("turn.refused", part=part, reason=str(error))
        except Exception:
            log.exception("turn.failed", part=part)


def _fetched_of(offer: Offer) -> frozenset[str]:
    """Names of the secrets that an offer's files refer to and the control plane has made."""
    names = (name for bundle in offer.bundles for file in bundle.files for name in file.secret_references)
    return frozenset(name for name in names if name.startswith(FETCHED))
