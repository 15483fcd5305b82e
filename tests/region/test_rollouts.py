"""What many racks are to take goes to one, then in waves; a refusal stops it, and what is about one rack alone never waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.services import rack_interfaces, rack_overview, reports, rollouts, settings, subnets, users
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict
from app.store.models import Event, Offer, Rack, Rollout, User
from renderers import registry
from renderers.bundle import Bundle
from renderers.intent import RackIntent
from renderers.spec import ServiceSpec
from tests.factories.control import Seeded, clock_of, hash_of, make_context, make_machine, ring_of, seed
from workers.region import reconcile as reconciling
from workers.region.rollouts import advance_all

RACKS = 5


@dataclass
class Scene:
    """Racks that all run what they should. ids: by name."""

    context: Context
    admin: Context
    seeded: Seeded
    ids: dict[str, int]
    specs: tuple[ServiceSpec, ...] = (registry.service("bind"), registry.service("kea4"))

    def forward(self, server: str) -> None:
        """Change something that every rack serves."""
        settings.change(self.admin, "dns_forwarders", {"servers": [server]})

    def have(self, text: str) -> list[str]:
        """Names of the racks whose newest offer says this, in order."""
        with self.context.store.read() as session:
            newest = select(Offer.rack_id, func.max(Offer.number)).group_by(Offer.rack_id)
            numbers = {row[0]: row[1] for row in session.execute(newest)}
            offers = [offer for offer in session.scalars(select(Offer)) if offer.number == numbers[offer.rack_id]]
            found = {offer.rack_id for offer in offers if text in offer.content}
        return [name for name, rack_id in self.ids.items() if rack_id in found]

    def look(self, times: int = 1) -> None:
        """Every rack and every rollout is looked at, as beat has it done."""
        for _ in range(times):
            reconciling.reconcile_all(self.context, self.specs)

    def report(self, *names: str, refuse: Sequence[str] = (), service: str = "bind") -> None:
        """These racks have dealt with their newest offers; those of `refuse` would not run a service."""
        for name in names:
            rack_id = self.ids[name]
            with self.context.store.read() as session:
                number = session.get_one(Rack, rack_id).offer_number
                digests = session.scalar(select(Offer.digests).where(Offer.rack_id == rack_id, Offer.number == number))
            outcome = "undone" if name in refuse else "kept"
            reason = "the zone does not load" if name in refuse else None
            reports.apply(
                self.context, rack_id, offer=number, service=service, outcome=outcome, stage="probe", reason=reason
            )
            services = {one: {"digest": digest, "running": True, "probes_ok": True} for one, digest in digests.items()}
            reports.observation(self.context, rack_id, offer=number, records=0, services=services)

    def beat(self, *names: str) -> None:
        """These racks are heard of and have nothing new to say."""
        for name in names:
            with self.context.store.read() as session:
                rack = session.get_one(Rack, self.ids[name])
            reports.observation(self.context, rack.id, offer=rack.applied_offer, records=0, services={})

    def rollout(self) -> rollouts.RolloutView:
        """The newest one."""
        with self.context.store.read() as session:
            newest = session.scalars(select(func.max(Rollout.id))).one()
        return rollouts.get(self.context, newest)

    def status_of(self, name: str) -> str:
        """How it stands on a rack."""
        return next(one.status for one in self.rollout().racks if one.rack == name)

    def set(self, **values: int) -> None:
        """How waves go."""
        settings.change(self.admin, "rollout", {"wave_percent": 10, "wave_racks": 0, "pause_seconds": 0} | values)


@pytest.fixture
def scene(context: Context) -> Scene:
    """Five racks with a VLAN each for the first alone; `rack-1` has a machine, so it is not the canary."""
    seeded = seed(context)
    person = User(name="root", role="admin", password_hash=hash_of("correct horse battery"))
    with context.store.write() as session:
        session.add(person)
    admin = context.acting_as(users.actor(person))
    ids = {"rack-1": seeded.rack_id}
    make_machine(context, seeded, rack_id=seeded.rack_id)
    with changing(context) as session:
        for number in range(2, RACKS + 1):
            nics = [{"name": "eth0", "mac": f"02:00:00:00:01:0{number}", "addresses": [f"10.2{number}.0.1/24"]}]
            rack = Rack(name=f"rack-{number}", token_hash=str(number), interfaces=nics, enrolled_at=context.clock())
            session.add(rack)
            session.flush()
            ids[rack.name] = rack.id
        for rack in session.scalars(select(Rack)):
            rack.control_plane_host, rack.seen_at = "192.0.2.10", context.clock()
        rack_interfaces.attach_all(session, context)
    made = Scene(context, admin, seeded, ids)
    made.set(wave_racks=2)
    made.look(1)
    made.report(*ids)
    with context.store.write() as session:
        session.query(Rollout).delete()
    return made


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


def test_a_canary_then_waves_each_after_the_one_before(scene: Scene) -> None:
    """The rack with the fewest machines alone, then two, then two; each wave waits for the last rack of the one before."""
    scene.forward("192.0.2.53")
    scene.look()
    steps = [scene.have("192.0.2.53")]
    scene.report("rack-2")
    scene.look()
    steps.append(scene.have("192.0.2.53"))
    scene.report("rack-3")
    scene.look()
    steps.append(scene.have("192.0.2.53"))
    scene.report("rack-4")
    scene.look()
    steps.append(scene.have("192.0.2.53"))
    scene.report("rack-5", "rack-1")
    scene.look()
    done = scene.rollout()

    assert [["rack-2"], ["rack-2", "rack-3", "rack-4"], ["rack-2", "rack-3", "rack-4"], list(scene.ids)] == steps
    assert ("done", list(scene.ids), []) == (done.status, sorted(done.have), done.have_not)
    assert ["root"] == [cause.actor for cause in done.causes]


def test_a_refusal_at_the_canary_stops_it_and_a_revert_ends_it(scene: Scene) -> None:
    """The others never get it; who, why, by whom, who has it is said; the revert reaches the canary and nobody else."""
    scene.forward("192.0.2.66")
    scene.look()
    scene.report("rack-2", refuse=["rack-2"])
    scene.look(2)
    halted, had = scene.rollout(), scene.have("192.0.2.66")
    with scene.context.store.read() as session:
        said = list(session.scalars(select(Event.message).where(Event.kind == "rollout.halted")))
    numbers = {name: _offer(scene, name) for name in scene.ids}
    scene.forward("192.0.2.53")
    scene.look()
    scene.report("rack-2")
    for _ in range(3):
        scene.look()
        scene.report(*scene.ids)
    scene.look()

    assert (["rack-2"], "halted", "rack-2") == (had, halted.status, halted.stopped_rack)
    assert "the zone does not load" in str(halted.reason)
    assert len(said) == 1
    for phrase in (
        "stopped at rack rack-2",
        "root: change setting",
        "Have it: none",
        "Have it not: rack-1, rack-2, rack-3",
    ):
        assert phrase in said[0]
    assert (list(scene.ids), "done") == (scene.have("192.0.2.53"), scene.rollout().status)
    assert numbers["rack-5"] + 1 == _offer(scene, "rack-5")


def test_what_is_about_one_rack_goes_out_while_a_rollout_is_halted(scene: Scene) -> None:
    """DHCP of a rack that has not had the change is changed at once, without the change; so is a new subnet's rack first."""
    scene.forward("192.0.2.66")
    scene.look()
    scene.report("rack-2", refuse=["rack-2"])
    scene.look()
    subnets.update(scene.admin, scene.seeded.subnet_id, lease_seconds=4321)
    outcome = reconciling.reconcile(scene.context, scene.seeded.rack_id, scene.specs)
    alone = scene.rollout().status, scene.have("4321"), scene.have("192.0.2.66")
    scene.forward("192.0.2.53")
    subnets.create(scene.admin, "10.77.0.0/24", scene.seeded.vlan_id)
    scene.look()

    assert "offered" == outcome.status
    assert ("halted", ["rack-1"], ["rack-2"]) == alone
    assert "rack-1" in scene.have("10.77.0.0/24")
    assert "rack-5" not in scene.have("192.0.2.53")


def test_a_halted_rollout_goes_on_when_asked_and_after_a_retry(scene: Scene) -> None:
    """Continued, it goes on without the rack; a rack that keeps it after all lets it go on by itself."""
    scene.forward("192.0.2.66")
    scene.look()
    scene.report("rack-2", refuse=["rack-2"])
    scene.look()
    rollouts.go_on(scene.admin, scene.rollout().id)
    scene.look()
    alone = scene.have("192.0.2.66")
    with pytest.raises(Conflict):
        rollouts.go_on(scene.admin, scene.rollout().id)
    scene.report(alone[-1], refuse=alone)
    scene.look()
    halted = scene.rollout()
    _retry(scene, alone[-1])
    scene.look()
    tried = scene.rollout()
    scene.report(alone[-1])
    scene.look()

    assert ["rack-2", "rack-3"] == alone
    assert ("halted", "rack-3") == (halted.status, halted.stopped_rack)
    assert ("halted", "offered") == (tried.status, next(one.status for one in tried.racks if one.rack == "rack-3"))
    assert "running" == scene.rollout().status
    assert ["rack-1", *alone, "rack-4", "rack-5"][1:4] == scene.have("192.0.2.66")[:3]


def test_the_marked_rack_is_the_canary_and_the_pause_is_kept(scene: Scene) -> None:
    """It goes first whatever its machines; the next wave begins when the pause is over, not before."""
    scene.set(wave_racks=10, pause_seconds=120)
    with scene.context.store.write() as session:
        session.get_one(Rack, scene.seeded.rack_id).canary = True
    scene.forward("192.0.2.53")
    scene.look()
    scene.report("rack-1")
    scene.look()
    before = scene.have("192.0.2.53")
    clock_of(scene.context).move(119)
    scene.beat(*scene.ids)
    scene.look()
    during = scene.have("192.0.2.53")
    clock_of(scene.context).move(2)
    scene.look()

    assert ["rack-1"] == before == during
    assert list(scene.ids) == scene.have("192.0.2.53")


def test_silent_racks_hold_nobody_and_get_it_when_they_are_back(scene: Scene) -> None:
    """They are no canary, their wave goes on without them, and the rollout ends; back, one is offered it at once."""
    clock_of(scene.context).move(100)
    scene.beat("rack-1", "rack-3", "rack-5")
    scene.forward("192.0.2.53")
    scene.look()
    first = scene.have("192.0.2.53")
    for _ in range(3):
        scene.report("rack-1", "rack-3", "rack-5")
        scene.look()
    ended = scene.rollout()
    scene.beat("rack-2")
    scene.look()

    assert ["rack-3"] == first
    assert ("done", ["rack-1", "rack-3", "rack-5"]) == (ended.status, sorted(ended.have))
    assert "rack-2" in scene.have("192.0.2.53")
    assert ended.id == scene.rollout().id


def test_a_canary_that_falls_silent_stops_it(scene: Scene) -> None:
    """It was heard of after it had been offered the change, and then no more."""
    scene.forward("192.0.2.66")
    scene.look()
    clock_of(scene.context).move(1)
    scene.beat(*scene.ids)
    clock_of(scene.context).move(100)
    scene.beat("rack-1", "rack-3", "rack-4", "rack-5")
    scene.look()

    assert ("halted", ["rack-2"]) == (scene.rollout().status, scene.have("192.0.2.66"))
    assert "fell silent" in str(scene.rollout().reason)


def test_a_red_probe_after_the_change_stops_it(scene: Scene) -> None:
    """What was kept and then does not serve is no success; a probe that was red before does not count."""
    scene.forward("192.0.2.66")
    scene.look()
    scene.report("rack-2")
    rack_id = scene.ids["rack-2"]
    red = {"bind": {"running": True, "probes_ok": False, "detail": "no answer"}}
    reports.observation(scene.context, rack_id, offer=_offer(scene, "rack-2"), records=0, services=red)
    scene.look()
    waits = scene.have("192.0.2.66"), scene.rollout().status
    clock_of(scene.context).move(61)
    scene.beat(*[name for name in scene.ids if name != "rack-2"])
    scene.look()

    assert (["rack-2"], "running") == waits
    assert ("halted", "bind does not serve: no answer") == (scene.rollout().status, scene.rollout().reason)


def test_a_newer_change_takes_over_what_is_owed(scene: Scene) -> None:
    """It begins with a canary again; those who have waited come before those who had the older change."""
    scene.set(wave_racks=1)
    scene.forward("192.0.2.53")
    scene.look()
    scene.report("rack-2")
    scene.look()
    scene.report("rack-3")
    old = scene.rollout()
    scene.forward("192.0.2.54")
    scene.look()
    first = scene.have("192.0.2.54")
    scene.report("rack-2")
    scene.look()
    second = scene.have("192.0.2.54")
    new = scene.rollout()

    assert ("superseded", True) == (rollouts.get(scene.context, old.id).status, new.id > old.id)
    assert ["rack-2"] == first
    assert ["rack-2", "rack-4"] == second
    assert 2 == len(new.causes)


def test_an_upgrade_that_renders_all_anew_goes_the_same_way(scene: Scene) -> None:
    """No generation was raised; still one rack is first, and the cause is said to be Muster itself."""
    bind, kea4 = scene.specs

    def render(intent: RackIntent) -> Bundle:
        first, *rest = bind.render(intent).files
        return Bundle("bind", (replace(first, text=f"{first.text}// of a newer Muster\n"), *rest))

    scene.specs = (replace(bind, render=render), kea4)
    scene.look()
    first = scene.have("of a newer Muster")
    scene.report("rack-2")
    scene.look()

    assert ["rack-2"] == first
    assert ["rack-2", "rack-3", "rack-4"] == scene.have("of a newer Muster")
    assert "upgrade" == scene.rollout().cause
    assert "Muster itself" in scene.rollout().sentence


def test_a_change_that_no_rack_notices_leaves_nothing(scene: Scene) -> None:
    """A setting that racks do not serve begins a rollout that is gone when all have been looked at."""
    settings.change(scene.admin, "enrolment_policy", {"on": False})
    scene.look(2)
    advance_all(scene.context)
    with scene.context.store.read() as session:
        left = session.scalar(select(func.count()).select_from(Rollout))

    assert 0 == left


def test_one_ring_a_rack_and_no_more_queries_for_more_racks(scene: Scene) -> None:
    """A wave's racks are woken, and only they."""
    scene.forward("192.0.2.53")
    scene.look()
    scene.report("rack-2")
    ring_of(scene.context).take()
    advance_all(scene.context)
    rung = ring_of(scene.context).take()

    assert [("reconcile", scene.ids["rack-3"]), ("reconcile", scene.ids["rack-4"])] == rung


def _offer(scene: Scene, name: str) -> int:
    with scene.context.store.read() as session:
        return session.get_one(Rack, scene.ids[name]).offer_number


def _retry(scene: Scene, name: str) -> None:
    assert ["bind"] == [one.service for one in rack_overview.retry(scene.admin, scene.ids[name])]
