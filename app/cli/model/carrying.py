"""Carrying a plan out, change by change, in an order in which each finds what it needs.

First VLANs that are served no more, then deletes from the inside out, then creates and updates from the outside in (what
racks serve of a VLAN after its subnets), then the deletes of what things have moved away from.  What is changed or deleted is
read again, must still be as the plan has seen it, and goes with its entity tag; so nobody's work is undone unseen.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from app.cli.client import CliError, Session
from app.cli.model.kinds import KINDS, SERVING, Field, Key, Kind, Model, Thing
from app.cli.model.plan import CREATE, DELETE, UPDATE, Change, Plan
from app.cli.model.reading import Present, Row

RESERVATIONS_TOGETHER = 500
RECORDS_TOGETHER = 2500
"""How many go into one request, which is carried out whole or not at all; of records as many may go as come."""
LATE = ("vlans", "domains", "fabrics", "spaces")
"""What things move away from in the same plan, so it goes last."""
BY_ITSELF = ("rack_id", "secondary_rack_id")
"""What Muster sets of a VLAN when a subnet comes in which a rack has an address."""

_OFF = {name: KINDS["vlans"].field(name).default for name in SERVING}


@dataclass(frozen=True)
class Step:
    """One request, or the few that one change takes."""

    changes: tuple[Change, ...]
    run: Callable[[], None]


class Hand:
    """Makes the changes of a plan.

    wanted: the model that the plan leads to.  unchecked: save DHCP snippets that no checker of the control plane can judge.
    """

    def __init__(self, session: Session, wanted: Model, present: Present, *, unchecked: bool = False) -> None:
        self._session, self._wanted, self._present, self._unchecked = session, wanted, present, unchecked

    def steps(self, plan: Plan) -> Iterator[Step]:
        """What to do, in order."""
        of: dict[tuple[str, str], list[Change]] = {}
        for change in plan.changes:
            of.setdefault((change.kind.name, change.verb), []).append(change)
        yield from self._loosening(of)
        for name in reversed(KINDS):
            if name not in (*LATE, "records"):
                yield from self._each(of.get((name, DELETE), []), self._delete)
        for name in KINDS:
            creates, updates = of.get((name, CREATE), []), of.get((name, UPDATE), [])
            if name == "records":
                yield from self._records(creates, of.get((name, DELETE), []))
            elif name == "reservations":
                for begin in range(0, len(creates), RESERVATIONS_TOGETHER):
                    some = tuple(creates[begin : begin + RESERVATIONS_TOGETHER])
                    yield Step(some, partial(self._reserve, some))
            else:
                yield from self._each(creates, self._create)
            yield from self._each(updates, self._update)
            if name == "ranges":
                yield from self._serving(plan)
        for name in LATE:
            yield from self._each(of.get((name, DELETE), []), self._delete)

    def _loosening(self, of: dict[tuple[str, str], list[Change]]) -> Iterator[Step]:
        """Let VLANs go that racks serve no more, before what they served them by goes; relayed ones first."""
        wanted = {change.key: (change, _loosened(change)) for change in of.get(("vlans", UPDATE), [])}
        fabrics = {change.key[0]: change for change in of.get(("fabrics", DELETE), [])}
        deletes = {change.key: change for change in of.get(("vlans", DELETE), [])}
        for key, thing in self._present.model["vlans"].items():
            if (change := deletes.get(key) or fabrics.get(key[0])) is not None:
                wanted[key] = (change, {name: _OFF[name] for name in SERVING if thing[name]})
        for key, (change, off) in sorted(wanted.items(), key=lambda one: "relay_vlan" not in one[1][1]):
            if off:
                yield Step((change,), partial(self._patch, KINDS["vlans"], key, off))

    def _serving(self, plan: Plan) -> Iterator[Step]:
        """Put right who serves each VLAN that changes or that a subnet comes to: a rack with an address there joins by itself."""
        labels = {KINDS["vlans"].label(key): thing for key, thing in self._wanted.get("vlans", {}).items()}
        vlans: dict[str, Change] = {}
        for change in plan.changes:
            if change.after is not None and change.kind.name in ("vlans", "subnets"):
                of_subnet = change.kind.name == "subnets"
                label = change.after["vlan"] if of_subnet else change.kind.label(change.key)
                if label in labels and not (of_subnet and change.before and "vlan" not in change.changed):
                    vlans.setdefault(label, change)
        for label, change in sorted(vlans.items(), key=lambda one: labels[one[0]]["relay_vlan"] is not None):
            yield Step((change,), partial(self._serve, labels[label]))

    def _each(self, changes: Iterable[Change], run: Callable[[Change], None]) -> Iterator[Step]:
        for change in changes:
            yield Step((change,), partial(run, change))

    # How each kind comes

    def _create(self, change: Change) -> None:
        kind, thing = change.kind, change.after or {}
        if kind.name == "settings":
            raise CliError(f"this control plane has no setting {change.key[0]}")
        if kind.name == "links":
            self._link(thing)
            return
        if kind.name == "interfaces":
            device = self._id("devices", thing["device"])
            answer = self._session.call("POST", f"/devices/{device}/interfaces", {
                "mac": thing["mac"], "name": thing["name"],
            })  # fmt: skip
            made = next(one for one in answer["interfaces"] if one["mac"] == thing["mac"])
            self._present.rows[kind.name][change.key] = made
            return
        if kind.name == "vlans" and thing["vid"] == 0:
            found = list(self._session.pages(kind.path, fabric_id=self._id("fabrics", thing["fabric"]), vid=0))
            self._know(change, found[0])
            self._patch(kind, change.key, {name: thing[name] for name in ("name", "mtu", "space")})
            return
        body = self._body(kind, {name: value for name, value in thing.items() if not self._later(kind, name)})
        if kind.name == "snippets":
            body |= {"scope": _scope(thing), "force": self._unchecked}
        if kind.name == "devices":
            body = {name: value for name, value in body.items() if value is not None}
        if kind.name == "reserved_addresses":
            body["subnet_id"] = self._subnet_of(thing["address"])
        self._know(change, self._session.call("POST", kind.path, body))

    def _reserve(self, changes: tuple[Change, ...]) -> None:
        rows = [self._body(change.kind, change.after or {}) for change in changes]
        self._session.call("POST", "/reservations/import", {"reservations": rows})

    def _records(self, creates: list[Change], deletes: list[Change]) -> Iterator[Step]:
        """A domain's records together: what goes makes room for what comes."""
        for domain in dict.fromkeys(change.key[0] for change in (*creates, *deletes)):
            come = [change for change in creates if change.key[0] == domain]
            go = [change for change in deletes if change.key[0] == domain]
            for begin in range(0, max(len(come), len(go)), RECORDS_TOGETHER):
                end = begin + RECORDS_TOGETHER
                some, gone = come[begin:end], go[begin:end]
                yield Step((*gone, *some), partial(self._bulk, domain, some, gone))

    def _bulk(self, domain: str, come: list[Change], go: list[Change]) -> None:
        names = ("name", "type", "data", "ttl_seconds")
        body = {
            "add": [{name: (one.after or {})[name] for name in names} for one in come],
            "delete": [self._present.rows["records"][one.key]["id"] for one in go],
        }
        self._session.call("POST", f"/domains/{self._id('domains', domain)}/records/bulk", body)

    def _link(self, thing: Thing) -> None:
        """Say how an interface gets its address; it is the same however often it is said."""
        body = {"mode": thing["mode"], "address": thing["address"]}
        self._session.call("PUT", self._link_path(thing), body)

    def _link_path(self, thing: Thing) -> str:
        interface = self._present.rows["interfaces"][thing["device"], thing["mac"]]["id"]
        return f"/interfaces/{interface}/links/{self._id('subnets', thing['subnet'])}"

    # How each kind changes

    def _update(self, change: Change) -> None:
        kind, thing = change.kind, change.after or {}
        if kind.name == "settings":
            path = f"/settings/{change.key[0]}"
            tag = self._fresh(path, {"value": (change.before or {})["value"]})
            self._session.raw("PUT", path, {"value": thing["value"]}, headers=tag)
        elif kind.name == "links":
            self._link(thing)
        elif change.replaces:
            self._delete(change)
            self._create(change)
        else:
            wanted = {name: value for name, (_, value) in change.changed.items() if not self._later(kind, name)}
            self._patch(kind, change.key, wanted)

    def _serve(self, thing: Thing) -> None:
        """What is said of a VLAN once its subnets are there.  Its racks may have come by themselves since the plan."""
        kind = KINDS["vlans"]
        path = f"{kind.path}/{self._id(kind.name, kind.label(kind.key_of(thing)))}"
        answer = self._session.raw("GET", path)
        now, wanted = answer.json(), self._body(kind, {name: thing[name] for name in SERVING})
        if body := {name: value for name, value in wanted.items() if now[name] != value}:
            row = self._present.rows[kind.name][kind.key_of(thing)]
            if other := sorted(name for name in body if name not in BY_ITSELF and now[name] != row[name]):
                raise CliError(f"somebody has changed its {other[0]} meanwhile")
            self._session.raw("PATCH", path, body, headers={"If-Match": answer.headers["ETag"]})

    def _patch(self, kind: Kind, key: Key, wanted: Thing) -> None:
        """Change fields of a thing, if they are still as the plan has seen them."""
        body = self._body(kind, wanted)
        if not body:
            return
        path = self._path(kind, key)
        row = self._present.rows[kind.name][key]
        whole = path if kind.name != "interfaces" else path.rpartition("/interfaces/")[0]
        seen = {} if kind.name == "interfaces" else {name: row[name] for name in body}
        if kind.name == "snippets":
            body["force"] = self._unchecked
        answer = self._session.raw("PATCH", path, body, headers=self._fresh(whole, seen, body)).json()
        if kind.name != "interfaces":
            self._present.rows[kind.name][key] = {**row, **answer}

    # How each kind goes

    def _delete(self, change: Change) -> None:
        thing = change.before or {}
        if change.kind.name == "links":
            self._session.call("DELETE", self._link_path(thing))
            return
        path = self._path(change.kind, change.key)
        seen: Row = {}
        if change.kind.name == "interfaces":
            tag = self._fresh(path.rpartition("/interfaces/")[0], seen)
        else:
            row = self._present.rows[change.kind.name][change.key]
            tag = self._fresh(path, {one.api: row[one.api] for one in change.kind.fields if one.api in row})
        self._session.raw("DELETE", path, headers=tag)

    # What all of them need

    def _fresh(self, path: str, seen: Row, wanted: Row | None = None) -> dict[str, str]:
        """The entity tag of a thing that is as the plan has seen it, or is as wanted already."""
        answer = self._session.raw("GET", path)
        now, done = answer.json(), wanted or {}
        for name, value in seen.items():
            if now.get(name) != value and (name not in done or now.get(name) != done[name]):
                raise CliError(f"somebody has changed its {name} meanwhile")
        return {"If-Match": answer.headers["ETag"]}

    def _path(self, kind: Kind, key: Key) -> str:
        row = self._present.rows[kind.name][key]
        if kind.name == "interfaces":
            return f"/devices/{self._id('devices', key[0])}/interfaces/{row['id']}"
        if kind.name == "records":
            return f"/domains/{row['domain_id']}/records/{row['id']}"
        return f"{kind.path}/{row['id']}"

    def _body(self, kind: Kind, said: Thing) -> Row:
        fields: list[tuple[Field, Any]] = [(kind.field(name), value) for name, value in said.items()]
        return {one.api: self._id(one.ref, value) if one.ref and value is not None else value for one, value in fields}

    def _later(self, kind: Kind, name: str) -> bool:
        return kind.name == "vlans" and name in SERVING

    def _know(self, change: Change, row: Row) -> None:
        self._present.rows[change.kind.name][change.key] = row
        self._present.know(change.kind.name, change.kind.label(change.key), row["id"])

    def _id(self, kind: str, name: str) -> int:
        found = self._present.ids.get(kind, {}).get(name)
        if found is None:
            raise CliError(f"there is no {name} among the {kind}")
        return found

    def _subnet_of(self, address: str) -> int:
        wanted = ipaddress.ip_address(address)
        for cidr, number in self._present.ids.get("subnets", {}).items():
            if wanted in ipaddress.ip_network(cidr):
                return number
        raise CliError(f"reserved address {address} lies in no subnet")


def _scope(thing: Thing) -> str:
    return next((name for name in ("vlan", "subnet", "range", "machine") if thing[name] is not None), "global")


def _loosened(change: Change) -> Thing:
    """What a VLAN that is to have no DHCP loses first."""
    if (change.after or {}).get("dhcp_on"):
        return {}
    return {name: value for name, (_, value) in change.changed.items() if name in SERVING and not value}
