"""What a DHCP snippet must be before a daemon is asked: a known kind and scope that fit, a target, a body that can be read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.errors import Invalid, NotFound
from app.store.models import DhcpSnippet, Interface, IpRange, Machine, Rack, Subnet, Vlan
from app.store.queries.serving import racks_of_vlans
from renderers.dhcp import dhcpd_form, kea_merge, options
from renderers.dhcp.options import BodyError

KINDS = ("option", "kea4", "kea6", "dhcpd")
TARGETS = {"vlan": "vlan_id", "subnet": "subnet_id", "range": "range_id", "machine": "machine_id"}
"""The column that names the thing of a scope."""
SCOPES = ("global", *TARGETS)
MODELS: dict[str, Any] = {"vlan": Vlan, "subnet": Subnet, "range": IpRange, "machine": Machine}
LONGEST_BODY = 65_536
LONGEST_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True)
class Draft:
    """A snippet that may not be saved yet. snippet_id: 0 for one that is new."""

    kind: str
    scope: str
    body: str
    name: str = "new"
    snippet_id: int = 0
    target_id: int | None = None


def draft(kind: str, scope: str, body: str, targets: dict[str, int | None], name: str = "new") -> Draft:
    """A draft from what a caller says. Invalid names the field that does not fit."""
    if kind not in KINDS:
        raise Invalid(f"kind {kind!r}: a snippet is {', '.join(KINDS)}", field="kind", rule="a known kind")
    if scope not in SCOPES:
        raise Invalid(f"scope {scope!r}: a snippet is for {', '.join(SCOPES)}", field="scope", rule="a known scope")
    if scope == "machine" and kind != "option":
        raise Invalid(
            f"a snippet of kind {kind} cannot be for a machine: a machine's part of DHCP is one record that every server"
            " understands; write options, or define a class in a wider scope",
            field="scope",
            rule="a machine's snippets are options",
        )
    wanted = TARGETS.get(scope)
    for column, value in targets.items():
        if value is not None and column != wanted:
            raise Invalid(
                f"{column} does not belong to a snippet of scope {scope}; leave it out, or choose the scope"
                f" {next(word for word, name in TARGETS.items() if name == column)}",
                field=column,
                rule="the target is of the scope",
            )
    target_id = targets.get(wanted) if wanted else None
    if wanted and target_id is None:
        raise Invalid(
            f"{wanted} is missing: which {scope} is the snippet for?", field=wanted, rule="a scope has a target"
        )
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"name {name!r}: use at most {LONGEST_NAME} letters, digits, blanks, dots, dashes and underscores, beginning with"
            " a letter or digit",
            field="name",
            rule="a plain name",
        )
    return Draft(kind, scope, body.replace("\r\n", "\n"), name, 0, target_id)


def of_row(row: DhcpSnippet) -> Draft:
    """The draft that a row once was."""
    return Draft(row.kind, row.scope, row.body, row.name, row.id, target_of(row))


def target_of(row: DhcpSnippet) -> int | None:
    """Id of the thing of its scope."""
    target: int | None = getattr(row, TARGETS[row.scope]) if row.scope in TARGETS else None
    return target


def read_body(made: Draft, families: frozenset[int]) -> None:
    """BodyError when the body cannot be read, or says nothing to the scope's family of addresses."""
    if not made.body.strip():
        raise BodyError("the body is empty; write what the snippet should do")
    if len(made.body) > LONGEST_BODY:
        raise BodyError(f"the body has {len(made.body)} characters; at most {LONGEST_BODY}")
    for number, line in enumerate(made.body.split("\n"), 1):
        if not line.replace("\t", " ").isprintable():
            raise BodyError("control characters cannot be in a snippet", number)
    if made.kind == "option":
        found = options.parse(made.body, made.scope)
        if not found:
            raise BodyError("the body sets no option; write NAME VALUE, one on a line")
        if not {option.family for option in found} & families:
            (family,) = families
            raise BodyError(
                f"the body has no option for DHCPv{family}, which is all that this {made.scope} has; DHCPv6 options begin with"
                " dhcp6."
            )
    elif made.kind in kea_merge.FAMILIES:
        kea_merge.parse(made.body, made.scope, made.kind)
        if kea_merge.FAMILIES[made.kind] not in families:
            raise BodyError(f"kind {made.kind}: this {made.scope} is of the other family of addresses")
    else:
        dhcpd_form.check(made.body)


def families_of(session: Session, made: Draft) -> frozenset[int]:
    """The address families that the draft's scope can have. NotFound when its target is not there."""
    if made.scope in MODELS and session.get(MODELS[made.scope], made.target_id) is None:
        raise NotFound(f"there is no {made.scope} {made.target_id}", field=TARGETS[made.scope])
    cidr = None
    if made.scope == "subnet":
        cidr = session.get_one(Subnet, made.target_id).cidr
    elif made.scope == "range":
        cidr = session.get_one(IpRange, made.target_id).start
    return frozenset({4, 6}) if cidr is None else frozenset({6 if ":" in cidr else 4})


def racks_of(session: Session, made: Draft) -> list[int]:
    """Ids of the enrolled racks that serve where the draft is meant for, in order; a machine is in all of its VLANs."""
    enrolled = select(Rack.id).where(Rack.token_hash.is_not(None)).order_by(Rack.id)
    if made.scope == "global":
        return list(session.scalars(enrolled))
    if made.scope == "machine":
        vlans = select(Interface.vlan_id).where(Interface.machine_id == made.target_id, Interface.vlan_id.is_not(None))
        found = racks_of_vlans(session, [vlan_id for vlan_id in session.scalars(vlans) if vlan_id is not None])
        return list(session.scalars(enrolled.where(Rack.id.in_({one for racks in found.values() for one in racks}))))
    vlan_id = made.target_id if made.scope == "vlan" else None
    if made.scope == "range":
        vlan_id = session.scalar(
            select(Subnet.vlan_id).join(IpRange, IpRange.subnet_id == Subnet.id).where(IpRange.id == made.target_id)
        )
    elif made.scope == "subnet":
        vlan_id = session.scalar(select(Subnet.vlan_id).where(Subnet.id == made.target_id))
    if vlan_id is None:
        return []
    vlan = session.get_one(Vlan, vlan_id)
    serving = [vlan, *([session.get_one(Vlan, vlan.relay_vlan_id)] if vlan.relay_vlan_id is not None else [])]
    ids = {rack_id for one in serving for rack_id in (one.rack_id, one.secondary_rack_id) if rack_id is not None}
    return list(session.scalars(enrolled.where(Rack.id.in_(ids))))
