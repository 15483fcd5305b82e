"""Plan: an immutable comparison of wanted bundles with what a rack was seen to have.

The algebra is small on purpose.  A world is {service: {path: digest}}; `plan` compares bundles with a world;
`Plan.apply` carries the plan out on a world, and gives exactly the wanted one.  Equal worlds give the empty plan.

A plan that takes away much at once is dangerous: it names what would go, and `refuse` holds it until somebody has
approved that.  An approval is a set of hashes, one for each thing that may go (`Plan.danger_hashes`): it survives later
plans that take away no more, and a plan that takes away one thing more is held again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from renderers import registry
from renderers.bundle import Bundle

World = Mapping[str, Mapping[str, str]]
"""What there is: digest of each file (path) of each service."""


@dataclass(frozen=True)
class Create:
    """A file that is wanted and not there."""

    service: str
    path: str
    digest: str


@dataclass(frozen=True)
class Update:
    """A file that is there with other contents, mode or owner."""

    service: str
    path: str
    digest: str
    before: str


@dataclass(frozen=True)
class Delete:
    """A file that is there and not wanted."""

    service: str
    path: str
    before: str


Change = Create | Update | Delete


@dataclass(frozen=True)
class Thresholds:
    """How much may go without asking: more than `share` of at least `minimum` things of one service is dangerous."""

    share: float = 0.3
    minimum: int = 3


@dataclass(frozen=True)
class Danger:
    """One reason to hold a plan. `name` is `service-removed` or `contents-shrink`; `items` is what would go, sorted."""

    name: str
    service: str
    items: tuple[str, ...]
    total: int

    @property
    def hashes(self) -> frozenset[str]:
        """One SHA-256 for each thing that would go; what an approval names."""
        return frozenset(
            hashlib.sha256("\0".join((self.name, self.service, item)).encode()).hexdigest() for item in self.items
        )

    @property
    def sentence(self) -> str:
        """What would happen, for people."""
        shown = ", ".join(self.items[:5]) + (f" and {len(self.items) - 5} more" if len(self.items) > 5 else "")
        if self.name == "service-removed":
            return f"{self.service}: the whole service would be removed ({shown})"
        return f"{self.service}: {len(self.items)} of {self.total} things served would be removed ({shown})"


class PlanRefused(Exception):
    """A plan is held. `dangers` are those that nobody has approved."""

    def __init__(self, dangers: tuple[Danger, ...]) -> None:
        self.dangers = dangers
        reasons = "; ".join(danger.sentence for danger in dangers)
        super().__init__(f"plan held: {reasons}. Restore what should stay, or approve {len(dangers)} danger(s)")


@dataclass(frozen=True)
class Plan:
    """Changes sorted by service and path, and the dangers among them."""

    changes: tuple[Change, ...] = ()
    dangers: tuple[Danger, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the rack has what is wanted."""
        return not self.changes

    @property
    def services(self) -> tuple[str, ...]:
        """The services that the plan touches, sorted."""
        return tuple(sorted({change.service for change in self.changes}))

    @property
    def danger_hash(self) -> str | None:
        """One hash over everything that the dangers would take away, None without any."""
        if not self.dangers:
            return None
        return hashlib.sha256("\n".join(sorted(self.danger_hashes)).encode()).hexdigest()

    @property
    def danger_hashes(self) -> frozenset[str]:
        """The hashes of all things that the dangers would take away: store these as an approval."""
        return frozenset(item for danger in self.dangers for item in danger.hashes)

    def refuse(self, approved_hashes: Iterable[str] = ()) -> None:
        """Raise PlanRefused unless all that would go, or `danger_hash` as a whole, is among the approved hashes."""
        approved = set(approved_hashes)
        if self.danger_hash in approved:
            return
        left = tuple(danger for danger in self.dangers if not danger.hashes <= approved)
        if left:
            raise PlanRefused(left)

    def apply(self, world: World) -> World:
        """Return the world after the plan. ValueError if the world is not the one that the plan was made for."""
        after = {service: dict(files) for service, files in world.items()}
        for change in self.changes:
            files = after.setdefault(change.service, {})
            before = None if isinstance(change, Create) else change.before
            if files.get(change.path) != before:
                raise ValueError(
                    f"{change.service}/{change.path}: has digest {files.get(change.path)}, the plan expects {before};"
                    " make a new plan from a new observation"
                )
            if isinstance(change, Delete):
                del files[change.path]
            else:
                files[change.path] = change.digest
        return _frozen({service: files for service, files in after.items() if files})


def _frozen(world: World) -> World:
    return MappingProxyType({service: MappingProxyType(dict(files)) for service, files in world.items() if files})


def world_of(bundles: Iterable[Bundle]) -> World:
    """Return the world in which exactly these bundles are there. ValueError if a service comes twice."""
    made: dict[str, dict[str, str]] = {}
    for bundle in bundles:
        if bundle.service in made:
            raise ValueError(f"service {bundle.service}: two bundles; each service has one")
        made[bundle.service] = {file.path: file.digest for file in bundle.files}
    return _frozen(made)


def plan(wanted: Iterable[Bundle], observed: World, thresholds: Thresholds | None = None) -> Plan:
    """Compare wanted bundles with observed files. Shrinking is judged by files; see `plan_bundles` for better."""
    target = world_of(wanted)
    counts = {service: frozenset(files) for service, files in observed.items()}
    after = {service: frozenset(files) for service, files in target.items()}
    return Plan(_changes(target, observed), _dangers(counts, after, thresholds or Thresholds()))


def plan_bundles(
    wanted: Iterable[Bundle],
    running: Iterable[Bundle],
    thresholds: Thresholds | None = None,
    contents: Callable[[Bundle], frozenset[str]] | None = None,
) -> Plan:
    """Compare wanted bundles with those a rack runs; shrinking is judged by what they serve (subnets, zones)."""
    wanted, running, count = tuple(wanted), tuple(running), contents or contents_of
    before = {bundle.service: count(bundle) for bundle in running}
    after = {bundle.service: count(bundle) for bundle in wanted}
    return Plan(_changes(world_of(wanted), world_of(running)), _dangers(before, after, thresholds or Thresholds()))


def contents_of(bundle: Bundle) -> frozenset[str]:
    """What a bundle serves, as its own service names it; the file paths of a service that is no longer known."""
    known = {spec.name: spec.contents for spec in registry.services()}
    return known[bundle.service](bundle) if bundle.service in known else frozenset(file.path for file in bundle.files)


def changed_services(wanted: Iterable[Bundle], observed: Mapping[str, str]) -> tuple[str, ...]:
    """Compare by service digests alone, as racks report them: names of services to bring, change or remove, sorted."""
    digests = {bundle.service: bundle.digest for bundle in wanted}
    return tuple(name for name in sorted(digests.keys() | observed.keys()) if digests.get(name) != observed.get(name))


def _changes(target: World, observed: World) -> tuple[Change, ...]:
    made: list[Change] = []
    for service in sorted(target.keys() | observed.keys()):
        after, before = target.get(service, {}), observed.get(service, {})
        for path in sorted(after.keys() | before.keys()):
            if path not in before:
                made.append(Create(service, path, after[path]))
            elif path not in after:
                made.append(Delete(service, path, before[path]))
            elif after[path] != before[path]:
                made.append(Update(service, path, after[path], before[path]))
    return tuple(made)


def _dangers(
    before: Mapping[str, frozenset[str]], after: Mapping[str, frozenset[str]], thresholds: Thresholds
) -> tuple[Danger, ...]:
    made = []
    # What a service that comes in the same plan serves is not taken away: a rack changes its DHCP server.
    taken_over = frozenset[str]().union(*(after[service] for service in after.keys() - before.keys()))
    for service in sorted(before):
        had, gone = before[service], before[service] - after.get(service, frozenset())
        if had and service not in after and had <= taken_over:
            continue
        if had and service not in after:
            made.append(Danger("service-removed", service, tuple(sorted(had)), len(had)))
        elif len(had) >= thresholds.minimum and len(gone) > thresholds.share * len(had):
            made.append(Danger("contents-shrink", service, tuple(sorted(gone)), len(had)))
    return tuple(made)
