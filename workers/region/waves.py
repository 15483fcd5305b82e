"""Decides about a rollout, and does nothing: the order of its racks, whether the next wave may begin, whether it stops.

Order.  First the racks whose own VLAN the change is about: they need it, and are its canary.  Else one canary alone: the
rack that the operator has marked (of several the first by id), or the one with the fewest machines; one that refused the
rollout before goes before all, and one that is silent or was never offered anything is none.  Then waves of a stated size:
racks that have waited before come early, then those with few machines.  Of two partners the standby is in an earlier
wave than its primary, also where the primary is the canary.

Going on.  The next wave begins when every rack of the waves before has kept the change and its probes are well, and the
pause since the last of them is over.  A rack that is silent is passed over and gets it when it is back.  A canary on
which nothing differs proves nothing: the next one in the order takes its place.

Stopping.  A refusal, an undo, a probe that is red for RED_SECONDS, a rack that is heard of and says nothing about its offer
for PATIENCE_SECONDS, and a wave of which nobody has kept it and somebody fell silent after having been offered it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PATIENCE_SECONDS = 600.0
RED_SECONDS = 60.0


@dataclass(frozen=True)
class Member:
    """A rack of a rollout as it is now. at: when it came to this status; reason: why it refused; red: a probe that is.

    fresh: it was never offered anything.  refused_before: in the rollout that this one has superseded.
    """

    rack_id: int
    name: str
    status: str
    at: dt.datetime
    wave: int | None = None
    alive: bool = True
    seen_at: dt.datetime | None = None
    machines: int = 0
    marked: bool = False
    first: bool = False
    waited: bool = False
    fresh: bool = False
    refused_before: bool = False
    red: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Wait:
    """Nothing to do now; why."""

    why: str


@dataclass(frozen=True)
class Begin:
    """The wave may begin."""

    wave: int


@dataclass(frozen=True)
class Canary:
    """Nothing has been proved: this rack is the next to try, alone."""

    rack_id: int


@dataclass(frozen=True)
class Halt:
    """The rollout stops, because of this rack."""

    rack_id: int
    reason: str


@dataclass(frozen=True)
class Done:
    """Every rack that can be reached has it."""


Decision = Wait | Begin | Canary | Halt | Done


def order(members: Sequence[Member], primary_of: Mapping[int, int], size: int) -> list[list[int]]:
    """The waves, each of at most `size` racks after the canary. primary_of: by standby."""
    standby_of = {primary: standby for standby, primary in primary_of.items()}
    known = {member.rack_id: member for member in members}
    waves: list[list[int]] = []
    placed: set[int] = set()

    def put(rack_ids: Sequence[int]) -> None:
        """These in one wave, or in two where partners are among them; standbys that are not placed go before."""
        missing = [standby_of[one] for one in rack_ids if standby_of.get(one) in known.keys() - placed]
        for wave in (missing, [one for one in rack_ids if one not in missing]):
            if wave := [one for one in wave if one not in placed]:
                waves.append(wave)
                placed.update(wave)

    if homes := [member.rack_id for member in members if member.first]:
        put(homes)
    elif (canary := _canary(members, primary_of)) is not None:
        put([canary.rack_id])
    rest = sorted(
        (member for member in members if member.rack_id not in placed),
        key=lambda member: (not member.waited, member.machines, member.rack_id),
    )
    left = [member.rack_id for member in rest]
    while left:
        may = [one for one in left if standby_of.get(one) not in known.keys() - placed]
        wave = (may or left)[: max(1, size)]
        waves.append(wave)
        placed.update(wave)
        left = [one for one in left if one not in placed]
    return waves


def decide(
    members: Sequence[Member],
    wave: int,
    now: dt.datetime,
    *,
    pause: float,
    begun: dt.datetime | None,
    primary_of: Mapping[int, int],
) -> Decision:
    """What a rollout does next. wave: the last that has begun, at `begun`; pause: seconds between waves."""
    reached = [member for member in members if member.wave is not None and member.wave <= wave]
    mine = [member for member in reached if member.wave == wave]
    if (stop := _stop(reached, mine, now, begun)) is not None:
        return stop
    waited_for = [member for member in reached if member.status in ("waiting", "offered") and member.alive]
    if waited_for:
        return Wait(f"waits for {', '.join(member.name for member in waited_for[:3])}")
    left = [member for member in members if member.wave is not None and member.wave > wave]
    if not any(member.status == "waiting" for member in left):
        return Done()
    following = [member for member in left if member.wave == min(one.wave or 0 for one in left)]
    if not any(member.status == "kept" for member in reached) and not any(member.first for member in following):
        hopeful = _canary([member for member in left if member.status == "waiting"], primary_of)
        return Canary(hopeful.rack_id) if hopeful is not None and hopeful.alive else Done()
    kept = [member.at for member in mine if member.status == "kept"]
    if kept and not any(member.first for member in following) and (now - max(kept)).total_seconds() < pause:
        return Wait(f"pauses for {pause:.0f} s after wave {wave + 1}")
    return Begin(following[0].wave or 0)


def _stop(
    reached: Sequence[Member], mine: Sequence[Member], now: dt.datetime, begun: dt.datetime | None
) -> Halt | None:
    for member in reached:
        age = (now - max(member.at, begun or member.at)).total_seconds()
        if member.status == "refused":
            return Halt(member.rack_id, member.reason or "the rack gave no reason")
        if member.red and member.status in ("offered", "kept") and (now - member.at).total_seconds() > RED_SECONDS:
            return Halt(member.rack_id, member.red)
        if member.status in ("waiting", "offered") and member.alive and age > PATIENCE_SECONDS:
            return Halt(member.rack_id, f"it is heard of, and has not taken the change for {age:.0f} s")
    fell = [
        member
        for member in mine
        if member.status == "offered"
        and not member.alive
        and member.seen_at is not None
        and member.seen_at >= member.at
    ]
    if fell and not any(member.status == "kept" for member in mine):
        return Halt(fell[0].rack_id, "it fell silent after it was offered the change")
    return None


def _canary(members: Sequence[Member], primary_of: Mapping[int, int]) -> Member | None:
    """Who tries it first."""
    primaries = set(primary_of.values())
    return min(
        members,
        key=lambda member: (
            not member.alive or member.fresh,
            not member.refused_before,
            not member.marked,
            member.rack_id if member.marked else 0,
            member.rack_id in primaries,
            member.machines,
            member.rack_id,
        ),
        default=None,
    )
