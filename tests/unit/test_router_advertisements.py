"""Which of a VLAN's racks advertises, and what."""

from dataclasses import replace

from renderers import registry
from renderers.intent import RackIntent
from tests.golden.case import load


def _as_secondary(intent: RackIntent, number: int) -> RackIntent:
    vlans = [replace(vlan, secondary=number == at) for at, vlan in enumerate(intent.vlans)]
    return replace(intent, vlans=tuple(vlans))


def test_the_primary_alone_advertises() -> None:
    """A secondary, which serves no DHCPv6, would say so on the same wire, and iPXE believes whom it hears first."""
    radvd, intent = registry.service("radvd"), load("six")
    before = radvd.render(intent).files[0].text
    after = radvd.render(_as_secondary(intent, 0)).files[0].text
    alone = replace(intent, vlans=intent.vlans[:1])

    assert ("interface eth0 {" in before, "interface eth0 {" in after) == (True, False)
    assert before.split("interface eth1")[1] == after.split("interface eth1")[1]
    assert (radvd.wanted(alone), radvd.wanted(_as_secondary(alone, 0))) == (True, False)
    assert len(radvd.probes(intent)) == len(radvd.probes(_as_secondary(intent, 0))) + 1
