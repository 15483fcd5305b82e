"""Which of a VLAN's racks advertises, and what."""

from dataclasses import replace

from renderers import registry
from renderers.intent import RackIntent
from tests.golden.case import load


def _as_secondary(intent: RackIntent, number: int) -> RackIntent:
    vlans = [replace(vlan, secondary=number == at) for at, vlan in enumerate(intent.vlans)]
    return replace(intent, vlans=tuple(vlans))


def test_the_primary_alone_advertises() -> None:
    """A secondary that is no partner serves no DHCPv6 and would say so on the same wire; iPXE believes whom it hears first."""
    radvd, intent = registry.service("radvd"), load("six")
    before = radvd.render(intent).files[0].text
    after = radvd.render(_as_secondary(intent, 0)).files[0].text
    alone = replace(intent, vlans=intent.vlans[:1])

    assert ("interface eth0 {" in before, "interface eth0 {" in after) == (True, False)
    assert before.split("interface eth1")[1] == after.split("interface eth1")[1]
    assert (radvd.wanted(alone), radvd.wanted(_as_secondary(alone, 0))) == (True, False)
    assert len(radvd.probes(intent)) == len(radvd.probes(_as_secondary(intent, 0))) + 1


def test_partners_say_the_same() -> None:
    """Both advertise, and differ in the resolver alone; a standby that serves less than its VLAN has says nothing."""
    radvd, kea6, standby = registry.service("radvd"), registry.service("kea6"), load("standby6")
    (vlan,) = standby.vlans
    four, six = vlan.subnets
    primary = replace(
        standby, vlans=(replace(vlan, secondary=False, subnets=(four, replace(six, rack_address="fd20::1"))),)
    )
    assert standby.ha is not None
    less = replace(
        standby, vlans=(replace(vlan, subnets=(*vlan.subnets, replace(six, subnet_id=9, rack_address=None))),)
    )
    alone = replace(standby, ha=replace(standby.ha, dhcp6=False))
    said = [radvd.render(intent).files[0].text for intent in (primary, standby)]

    assert said[0].replace("fd20::1", "fd20::2") == said[1]
    assert "AdvManagedFlag on" in said[1]
    assert [True, False, False] == [radvd.wanted(intent) for intent in (standby, less, alone)]
    assert [True, True, False] == [kea6.wanted(intent) for intent in (standby, less, alone)]
