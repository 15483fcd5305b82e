"""A rollout that one rack has stopped."""

from __future__ import annotations

from app.services.context import Context
from app.store.models import ChangeEvent, Rack, Rollout, RolloutRack

WHY = "squid did not serve: 403"


def halt_rollout(context: Context, waiting: list[int]) -> tuple[int, int]:
    """A change of the proxy that a new rack, `other-rack`, has refused, and for which others wait; its id and that rack's."""
    with context.store.write() as session:
        other = Rack(name="other-rack", token_hash="o", enrolled_at=context.clock(), seen_at=context.clock())
        change = ChangeEvent(actor="root", verb="change", thing="setting", detail={"name": "proxy"}, at=context.clock())
        session.add_all([other, change])
        session.flush()
        rollout = Rollout(
            status="halted", wave=0, cause="change", actor="root", changes=[change.id], stopped_rack_id=other.id,
            reason=WHY, begun_at=context.clock(),
        )  # fmt: skip
        session.add(rollout)
        session.flush()
        session.add(
            RolloutRack(rollout_id=rollout.id, rack_id=other.id, wave=0, canary=True, status="refused", reason=WHY)
        )
        session.add_all(RolloutRack(rollout_id=rollout.id, rack_id=one, wave=1) for one in waiting)
        return rollout.id, other.id
