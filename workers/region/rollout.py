"""Which of two partners waits for the other: they take a change one after the other.

A `config-set` of Kea's primary costs the pair about 4 seconds of answers, because the HA hook starts over and the standby
waits with it; of both at once it costs 9; of the standby alone nothing (Kea 2.2.0, measured with the numbers of
`renderers.dhcp.kea_ha`).  So the standby goes first.  It also has to know a subnet before the primary sends it a lease
there.  And what a standby cannot run, its primary is not asked to run: a refusal stops the rollout until desired state
changes, somebody asks for a retry, or the pair is dissolved.
When a pair is formed it is the other way round: a standby that does not hear its partner's hook serves alone after some
seconds, beside a primary that does not have the hook yet.
A rack that is silent holds up nobody: then the other one serves alone anyway.
What many racks are to take goes in waves besides (`rollouts`); a partner for whom the other one waits goes with its wave.
"""

from __future__ import annotations

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.services.context import Context
from app.services.refusals import REFUSED
from app.store.models import Apply, Offer, Rack, Vlan
from app.store.queries.scopes import SILENT_SECONDS
from renderers.dhcp.kea_ha import peers_files
from renderers.intent import HaIntent


def waits_for(session: Session, context: Context, rack: Rack, ha: HaIntent) -> str | None:
    """Name of the partner that has to take its change before this rack may; None when there is none. At most five queries.

    ha: the pair, as one of the two is to know it.
    """
    found = partner_of(session, rack)
    if found is None:
        return None
    partner, is_primary = found
    if partner.token_hash is None or partner.seen_at is None:
        return None
    if (context.clock() - partner.seen_at).total_seconds() > SILENT_SECONDS:
        return None
    if is_primary:
        waits = _is_paired(session, partner, ha) and (_is_behind(partner) or _refuses(session, partner))
    else:
        waits = not _is_paired(session, rack, ha) and (not _is_paired(session, partner, ha) or _is_behind(partner))
    return partner.name if waits else None


def partner_of(session: Session, rack: Rack) -> tuple[Rack, bool] | None:
    """The rack's partner, and whether the rack itself is the primary; None when it has none."""
    statement = (
        select(Vlan.rack_id, Vlan.secondary_rack_id)
        .where(Vlan.dhcp_on, Vlan.secondary_rack_id.is_not(None))
        .where(or_(Vlan.rack_id == rack.id, Vlan.secondary_rack_id == rack.id))
        .limit(1)
    )
    pair = session.execute(statement).first()
    if pair is None:
        return None
    is_primary = pair.rack_id == rack.id
    return session.get_one(Rack, pair.secondary_rack_id if is_primary else pair.rack_id), is_primary


def _is_behind(rack: Rack) -> bool:
    return rack.planned_generation < rack.generation or rack.applied_offer < rack.offer_number


def _is_paired(session: Session, rack: Rack, ha: HaIntent) -> bool:
    """Whether its newest offer asks for the hook in each server that should have it."""
    asks = and_(*(Offer.content.contains(f'"{name}"') for name in peers_files(ha)))
    statement = select(asks).where(Offer.rack_id == rack.id)
    return bool(session.scalar(statement.order_by(Offer.number.desc()).limit(1)))


def _refuses(session: Session, rack: Rack) -> bool:
    """Whether it would not run its newest offer, or a part of it."""
    statement = select(Apply.id).where(
        Apply.rack_id == rack.id, Apply.offer_number == rack.offer_number, Apply.outcome.in_(REFUSED)
    )
    return session.scalar(statement.limit(1)) is not None
