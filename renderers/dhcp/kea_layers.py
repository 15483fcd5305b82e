"""What people add, put into the entries of a Kea configuration; the same for both families.

Options of the whole, of the VLAN and of the subnet go into the subnet, over Muster's own; those of a range into its pool.
Other settings go into their own scope.  A VLAN with settings of its own must be a shared network, whatever the number of
its subnets.
"""

from __future__ import annotations

from typing import Any

from renderers.dhcp.kea_merge import FAMILIES, merge, options, settings
from renderers.dhcp.kea_options import Entry, overlay
from renderers.dhcp.subnets import check_range, ignores_strangers
from renderers.intent import PoolIntent, RackIntent, SubnetIntent, VlanIntent


def whole(entry: dict[str, Any], intent: RackIntent, kind: str) -> dict[str, Any]:
    """The whole server's entry. kind: kea4 or kea6."""
    return merge(entry, settings(intent.snippets, "global", kind))


def network(entry: Entry, vlan: VlanIntent, kind: str) -> Entry:
    """A shared network's entry."""
    return merge(entry, settings(vlan.snippets, "vlan", kind))


def is_shared(vlan: VlanIntent, subnets: list[Entry], kind: str) -> bool:
    """Whether the VLAN must be a shared network."""
    return len(subnets) > 1 or any(data.keys() - {"option-data"} for data in settings(vlan.snippets, "vlan", kind))


def subnet_options(
    own: list[Entry], intent: RackIntent, vlan: VlanIntent, subnet: SubnetIntent, kind: str
) -> list[Entry]:
    """The options of a subnet, the narrowest scope's on top."""
    layers = (
        options(intent.snippets, "global", kind),
        options(vlan.snippets, "vlan", kind),
        options(subnet.snippets, "subnet", kind),
    )
    return overlay(own, *layers, family=FAMILIES[kind])


def subnet(entry: Entry, intent: SubnetIntent, kind: str) -> Entry:
    """A subnet's entry, its options apart."""
    return merge(entry, settings(intent.snippets, "subnet", kind))


def pool(subnet: SubnetIntent, intent: PoolIntent, kind: str) -> Entry:
    """A pool's entry, with options, for known clients only where the subnet ignores others.

    ValueError for a range that does not fit, or when a snippet gives a class to such a pool.
    """
    check_range(subnet, intent)
    entry: Entry = {"pool": f"{intent.start} - {intent.end}"}
    layer = options(intent.snippets, "range", kind)
    added = settings(intent.snippets, "range", kind)
    if ignores_strangers(subnet):
        entry["client-class"] = "KNOWN"
        if any({"client-class", "client-classes"} & data.keys() for data in added):
            raise ValueError(
                f"range {intent.start}-{intent.end} is for known clients only, because its subnet ignores unknown ones, so"
                " a snippet cannot give it a class; take the class out, or serve unknown clients"
            )
    return merge({**entry, "option-data": layer} if layer else entry, added)
