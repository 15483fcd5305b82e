"""A small site with everything that pages show: machines in many states, racks well and ill, events, a hostile name."""

from __future__ import annotations

import datetime as dt
from typing import Any

from app.lifecycle.table import actions
from app.services.addressing import address_key
from app.services.context import Context
from app.store.models import (
    Apply,
    Event,
    Interface,
    IpAddress,
    IpRange,
    Observation,
    Operation,
    Plan,
    Pool,
    Rack,
    ScriptResult,
    Subnet,
    Zone,
)
from tests.factories.control import Seeded, make_machine
from tests.factories.rollouts import halt_rollout

HOSTILE = "<script>document.title='owned'</script>"
INVENTORY: dict[str, Any] = {
    "cpu": {"model": "Intel Xeon Gold 6338", "sockets": 2, "cores": 64, "threads": 128, "numa": [0, 1]},
    "memory": {"total_mib": 524288},
    "disks": {"disks": [{"name": "nvme0n1", "size_bytes": 3 * 10**12, "model": "PM9A3", "serial": "S5XX0001"}]},
    "nics": {
        "nics": [{"name": "eth0", "mac": "52:54:00:00:00:01", "speed_mbps": 25000, "driver": "mlx5", "link": True}]
    },
    "firmware": {"system": {"manufacturer": "Dell", "product": "R650", "serial": "7Q1"}, "type": "uefi"},
}


def furnish(context: Context, seeded: Seeded) -> dict[str, int]:
    """Put the site in; ids of machines by hostname."""
    now = context.clock()
    with context.store.write() as session:
        zone, pool = Zone(name="row-b"), Pool(name="gpu")
        session.add_all([zone, pool])
        session.flush()
        places = {"zone_id": zone.id, "pool_id": pool.id}
        rack = session.get_one(Rack, seeded.rack_id)
        rack.seen_at, rack.offer_number, rack.applied_offer, rack.generation, rack.planned_generation = now, 7, 7, 9, 9
        addresses = ["10.20.0.1/24", "10.20.0.2/24"]
        rack.interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": addresses}]
        ill = Rack(
            name="far-rack-2", token_hash="x", seen_at=now - dt.timedelta(hours=3), offer_number=4, applied_offer=3
        )
        session.add(ill)
        session.flush()
        ill_id = ill.id
    halt_rollout(context, [seeded.rack_id, ill_id])
    ids = {}
    for number in range(24):
        ids[f"node-{number:02}"] = make_machine(
            context, seeded, f"node-{number:02}", state="READY", memory_mib=65536, cpu_count=16,
            **(places if number % 4 == 0 else {}),
        )  # fmt: skip
    for number, state in enumerate(("DEPLOYED",) * 14 + ("ALLOCATED",) * 3 + ("NEW",) * 2):
        name = f"web-{number:02}"
        ids[name] = make_machine(
            context, seeded, name, state=state, power_state="on", owner_id=seeded.user_id, tags=("web", "ssd"),
            inventory=INVENTORY, firmware="uefi",
        )  # fmt: skip
    reason = "the installed system did not call home; look at its console: it may not boot or have no network"
    ids["db-1"] = make_machine(context, seeded, "db-1", state="FAILED_DEPLOYMENT", state_reason=reason)
    ids["db-2"] = make_machine(context, seeded, "db-2", state="BROKEN", state_reason="fan 3 is dead, ticket 4711")
    ids["busy-1"] = make_machine(context, seeded, "busy-1", state="DEPLOYING", inventory=INVENTORY, power_state="on")
    ids[HOSTILE] = make_machine(context, seeded, HOSTILE, state="BROKEN", state_reason=HOSTILE)
    with context.store.write() as session:
        steps = actions()["deploy"].steps
        begun = now - dt.timedelta(seconds=341)
        at = begun
        for step, took in zip(steps[:5], (1, 3, 1, 42, 96), strict=False):
            at += dt.timedelta(seconds=took)
            session.add(
                Event(machine_id=ids["busy-1"], kind="machine.step", level="info", at=at, detail={"step": step.name},
                      message=f"busy-1, deploy: {step.title}.")
            )  # fmt: skip
        old = Operation(machine_id=ids["busy-1"], action="commission", status="succeeded", step="scripts",
                        started_at=now - dt.timedelta(days=2), step_started_at=now - dt.timedelta(days=2),
                        finished_at=now - dt.timedelta(days=2) + dt.timedelta(minutes=4))  # fmt: skip
        session.add(old)
        session.flush()
        session.add(
            Operation(machine_id=ids["busy-1"], action="deploy", step="install", step_index=5, started_at=begun,
                      step_started_at=at, deadline_at=now + dt.timedelta(hours=1),
                      progress={"title": "Install", "message": "writing the root file system", "fraction": 0.62})
        )  # fmt: skip
        session.add(
            ScriptResult(machine_id=ids["busy-1"], operation_id=old.id, script="inventory", status="passed", seconds=2.4,
                         at=now - dt.timedelta(days=2), stdout="all parts were read\n" * 5, exit_code=0)
        )  # fmt: skip
        session.add(
            ScriptResult(machine_id=ids["busy-1"], operation_id=old.id, script="disks", status="failed", seconds=31.0,
                         at=now - dt.timedelta(days=2), stderr="nvme0n1: 12 reallocated sectors\n", exit_code=1)
        )  # fmt: skip
        for number in range(60):
            level = "error" if number % 17 == 0 else "warning" if number % 11 == 0 else "info"
            session.add(
                Event(machine_id=ids["web-00"], kind="machine.power", level=level, message=f"The power of web-00 is on ({number}).",
                      at=now - dt.timedelta(minutes=60 - number))
            )  # fmt: skip
        for service, probes, detail in (
            ("kea4", True, ""),
            ("bind", True, ""),
            ("squid", False, "no answer through the proxy"),
        ):
            session.add(
                Observation(
                    rack_id=seeded.rack_id, service=service, running=True, probes_ok=probes, detail=detail, at=now
                )
            )
        session.add(
            Apply(rack_id=seeded.rack_id, offer_number=7, service="kea4", outcome="kept", stage="probe", seconds={"gap": 0.031}, at=now)
        )  # fmt: skip
        session.add(
            Apply(rack_id=seeded.rack_id, offer_number=6, service="squid", outcome="undone", stage="probe", at=now,
                  reason="the proxy refused its own subnet; the last good configuration is back")
        )  # fmt: skip
        changes = [{"change": "update", "service": "kea4", "path": "kea/kea-dhcp4.conf"},
                   {"change": "create", "service": "bind", "path": "bind/zones.conf"}]  # fmt: skip
        session.add(Plan(rack_id=seeded.rack_id, generation=9, status="offered", created_at=now, changes=changes))
        held = [
            {
                "sentence": "Subnet 10.20.0.0/24 with 14 leases would lose its dynamic range.",
                "items": ["10.20.0.100-199"],
            }
        ]
        session.add(Plan(rack_id=ill_id, generation=3, status="held", created_at=now, dangers=held))
        _network(session, seeded, ids, now)
    return ids


def _network(session: Any, seeded: Seeded, ids: dict[str, int], now: dt.datetime) -> None:
    """Addresses in the seed's /24, a /20 and an IPv6 subnet."""
    start, end = "10.20.0.200", "10.20.0.210"
    session.add(
        IpRange(subnet_id=seeded.subnet_id, kind="reserved", start=start, end=end, start_key=address_key(start),
                end_key=address_key(end), comment="switches")
    )  # fmt: skip

    def use(subnet_id: int, address: str, kind: str, **words: Any) -> None:
        session.add(
            IpAddress(subnet_id=subnet_id, address=address, address_key=address_key(address), kind=kind, created_at=now, **words)
        )  # fmt: skip

    use(seeded.subnet_id, "10.20.0.1", "rack", rack_id=seeded.rack_id, hostname="rack-1")
    use(seeded.subnet_id, "10.20.0.2", "rack", rack_id=seeded.rack_id, hostname="rack-1")
    use(seeded.subnet_id, "10.20.0.9", "user_reserved", hostname="printer")
    for number in range(14):
        interface = session.query(Interface).filter_by(machine_id=ids[f"web-{number:02}"]).one()
        kind = "sticky" if number == 3 else "auto"
        use(seeded.subnet_id, f"10.20.0.{10 + number}", kind, interface_id=interface.id, hostname=f"web-{number:02}")
    large = Subnet(cidr="10.40.0.0/20", name="large", vlan_id=seeded.vlan_id, domain_id=seeded.domain_id)
    six = Subnet(cidr="2001:db8:40::/64", name="six", vlan_id=seeded.vlan_id, domain_id=seeded.domain_id)
    session.add_all([large, six])
    session.flush()
    start, end = "10.40.4.0", "10.40.7.255"
    session.add(
        IpRange(subnet_id=large.id, kind="dynamic", start=start, end=end, start_key=address_key(start), end_key=address_key(end))
    )  # fmt: skip
    for number in range(1, 120):
        use(large.id, f"10.40.1.{number}", "user_reserved", hostname=f"kept-{number}")
    use(large.id, "10.40.9.7", "user_reserved", hostname="alone")
    use(six.id, "2001:db8:40::7", "user_reserved", hostname="router")


__all__ = ["HOSTILE", "INVENTORY", "furnish"]
