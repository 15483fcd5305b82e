"""Whom a rack's rsyslog hears."""

from dataclasses import replace

from renderers.intent import RackIntent, SubnetIntent, VlanIntent
from renderers.services import rsyslog
from tests.golden.case import load


def _intent(*vlans: VlanIntent) -> RackIntent:
    return replace(load("lab"), vlans=vlans)


def test_it_hears_its_own_probe_where_machines_come_through_a_router() -> None:
    """It listens at another VLAN's address, whose subnet may be unmanaged; the probe sends from there."""
    near = SubnetIntent(1, "10.1.0.0/24", None, "10.1.0.5", (), (), "", managed=False)
    far = SubnetIntent(2, "10.9.0.0/24", None, "10.1.0.5", (), (), "")
    six = SubnetIntent(3, "fd09::/64", None, "fd01::5", (), (), "")
    here = VlanIntent(1, "near", "eth0", 1500, dhcp_on=True, router_advertisements=False, subnets=(near,))
    there = replace(here, vlan_id=2, name="far", subnets=(far, six), relayed=True)

    assert ("10.1.0.5", "fd01::5") == rsyslog.addresses(_intent(here, there))
    assert ("10.9.0.0/24", "fd09::/64", "10.1.0.5/32", "fd01::5/128") == rsyslog.networks(_intent(here, there))
    assert "$AllowedSender UDP, 10.9.0.0/24, [fd09::]/64, 10.1.0.5/32, [fd01::5]/128" in (
        rsyslog.render(_intent(here, there)).files[1].text
    )
    managed = replace(here, subnets=(replace(near, managed=True),))
    assert ("10.1.0.0/24", "10.9.0.0/24", "fd09::/64", "fd01::5/128") == rsyslog.networks(_intent(managed, there))
