"""Which plans are dangerous, and what an approval of them is worth."""

from dataclasses import replace

import pytest

from renderers import registry
from renderers.intent import RackIntent, SubnetIntent
from renderers.plan import PlanRefused, plan_bundles
from tests.golden.case import load


def _with_subnets(count: int) -> RackIntent:
    intent = load("lab")
    subnets = tuple(
        SubnetIntent(number, f"10.{number}.0.0/24", None, f"10.{number}.0.1", (), (), "lab.muster")
        for number in range(1, count + 1)
    )
    return replace(intent, vlans=(replace(intent.vlans[0], subnets=subnets),), zones=())


@pytest.mark.parametrize(
    ("before", "after", "dangers"),
    [
        (10, 10, []),
        (10, 7, []),
        (10, 6, [("contents-shrink", 4)]),
        (3, 2, [("contents-shrink", 1)]),
        (2, 1, []),
        (1, 4, []),
    ],
)
def test_losing_many_subnets_is_dangerous(before: int, after: int, dangers: list[tuple[str, int]]) -> None:
    """More than 30 % of at least three subnets is a danger, although only one file changes."""
    kea = registry.service("kea4")
    made = plan_bundles([kea.render(_with_subnets(after))], [kea.render(_with_subnets(before))])

    assert dangers == [(danger.name, len(danger.items)) for danger in made.dangers]


def test_removing_a_service_is_held_until_approved() -> None:
    """A service that would go altogether is named; the approval holds for smaller plans and not for larger ones."""
    running = registry.render(load("lab"))
    without_two = plan_bundles(running[2:], running)
    without_one = plan_bundles(running[1:], running)
    with pytest.raises(PlanRefused, match="bind: the whole service would be removed") as held:
        without_two.refuse()
    without_one.refuse(without_two.danger_hashes)
    with pytest.raises(PlanRefused, match="chrony"):
        without_two.refuse(without_one.danger_hashes)

    assert ["bind", "chrony"] == [danger.service for danger in held.value.dangers]


def test_zones_are_counted_whatever_their_role() -> None:
    """BIND's contents are its zones, secondaries included."""
    bind = registry.service("bind")
    running = bind.render(load("campus"))
    wanted = bind.render(replace(load("campus"), zones=load("campus").zones[:1]))

    assert [("zone 0-127.2.0.192.in-addr.arpa", "zone muster-internal", "zone six.example.org")] == [
        danger.items for danger in plan_bundles([wanted], [running]).dangers
    ]


def test_two_services_of_one_name_stop_the_start() -> None:
    """A name used twice is refused, and an unknown one is answered with those there are."""
    bind = registry.service("bind")
    with pytest.raises(ValueError, match="service bind: two modules"):
        registry.unique([bind, bind])
    with pytest.raises(
        KeyError, match="known are bind, chrony, dhcpd, dnsmasq, hosts_db, kea4, kea6, radvd, rsyslog, squid"
    ):
        registry.service("nfs")
    assert registry.services() == registry.unique(reversed(registry.services()))


def test_arguments_follow_the_command_and_the_clock_is_left_alone() -> None:
    """Racks check that an offered command begins with their own; chronyd may set the clock only where it is told to."""
    for case in ("lab", "unprivileged"):
        for spec in registry.services():
            assert spec.command == spec.command_for(load(case))[: len(spec.command)]
    chrony = registry.service("chrony")

    assert ["-x", "_chrony"] == [chrony.command_for(load("lab"))[-1], chrony.user]
    assert "-x" not in chrony.command_for(load("campus"))
    assert ("-p", "1067") == registry.service("kea4").command_for(load("unprivileged"))[-2:]
