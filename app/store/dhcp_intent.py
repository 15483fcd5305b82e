"""What DHCP adds to an intent: routes, and what people add in each scope.  Two queries, whatever the rack's size.

A machine's snippets are not here: they travel with its host record.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from app.store.models import DhcpSnippet, StaticRoute, Subnet
from renderers.intent import RackIntent, RouteIntent, SnippetIntent

Scope = tuple[str, int | None]


def with_dhcp(session: Session, intent: RackIntent) -> RackIntent:
    """The intent with the routes of its subnets, and with the enabled snippets in their scopes."""
    subnet_ids = [subnet.subnet_id for subnet in intent.subnets]
    return place(_with_routes(intent, _routes(session, subnet_ids)), _snippets(session, intent))


def place(intent: RackIntent, snippets: dict[Scope, tuple[SnippetIntent, ...]]) -> RackIntent:
    """The intent with these snippets by scope and none else."""
    return replace(
        intent,
        snippets=snippets.get(("global", None), ()),
        vlans=tuple(
            replace(
                vlan,
                snippets=snippets.get(("vlan", vlan.vlan_id), ()),
                subnets=tuple(
                    replace(
                        subnet,
                        snippets=snippets.get(("subnet", subnet.subnet_id), ()),
                        pools=tuple(
                            replace(pool, snippets=snippets.get(("range", pool.range_id), ())) for pool in subnet.pools
                        ),
                    )
                    for subnet in vlan.subnets
                ),
            )
            for vlan in intent.vlans
        ),
    )


def snippets_in(intent: RackIntent) -> dict[Scope, tuple[SnippetIntent, ...]]:
    """The snippets of an intent by scope: what `place` puts there."""
    found: dict[Scope, tuple[SnippetIntent, ...]] = {("global", None): intent.snippets}
    for vlan in intent.vlans:
        found["vlan", vlan.vlan_id] = vlan.snippets
    for subnet in intent.subnets:
        found["subnet", subnet.subnet_id] = subnet.snippets
        found |= {("range", pool.range_id): pool.snippets for pool in subnet.pools}
    return found


def _with_routes(intent: RackIntent, routes: dict[int, list[RouteIntent]]) -> RackIntent:
    return replace(
        intent,
        vlans=tuple(
            replace(
                vlan,
                subnets=tuple(
                    replace(subnet, routes=tuple(routes.get(subnet.subnet_id, ()))) for subnet in vlan.subnets
                ),
            )
            for vlan in intent.vlans
        ),
    )


def _routes(session: Session, subnet_ids: list[int]) -> dict[int, list[RouteIntent]]:
    destination = aliased(Subnet)
    statement = (
        select(StaticRoute.source_id, destination.cidr, StaticRoute.gateway, StaticRoute.metric)
        .join(destination, destination.id == StaticRoute.destination_id)
        .where(StaticRoute.source_id.in_(subnet_ids))
        .order_by(StaticRoute.metric, StaticRoute.id)
    )
    found: dict[int, list[RouteIntent]] = defaultdict(list)
    for source_id, cidr, gateway, metric in session.execute(statement):
        found[source_id].append(RouteIntent(cidr, gateway, metric))
    return found


def _snippets(session: Session, intent: RackIntent) -> dict[Scope, tuple[SnippetIntent, ...]]:
    ranges = [pool.range_id for subnet in intent.subnets for pool in subnet.pools]
    here = or_(
        DhcpSnippet.scope == "global",
        DhcpSnippet.vlan_id.in_([vlan.vlan_id for vlan in intent.vlans]),
        DhcpSnippet.subnet_id.in_([subnet.subnet_id for subnet in intent.subnets]),
        DhcpSnippet.range_id.in_(ranges),
    )
    found: dict[Scope, tuple[SnippetIntent, ...]] = {}
    for row in session.scalars(select(DhcpSnippet).where(DhcpSnippet.enabled, here).order_by(DhcpSnippet.id)):
        scope = (row.scope, row.vlan_id or row.subnet_id or row.range_id)
        found[scope] = (*found.get(scope, ()), SnippetIntent(row.id, row.name, row.kind, row.body))
    return found
