"""What the control plane asks a rack: once, with an answer, within a deadline."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, CreatedAt, PrimaryKey


class RackQuestion(Base):
    """One question to one rack.  kind: what is asked, see `app.services.rack_questions`; body: its particulars, no secret.

    status: waiting, then claimed by its rack, then answered or failed (reason says why); lost when nobody waits for it
    any more.  The body goes when it ends, the answer stays for a day.
    """

    __tablename__ = "rack_question"
    __table_args__ = (CheckConstraint("status IN ('waiting', 'claimed', 'answered', 'failed', 'lost')", name="status"),)

    id: Mapped[PrimaryKey]
    rack_id: Mapped[int] = mapped_column(ForeignKey("rack.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    body: Mapped[dict[str, Any] | None]
    status: Mapped[str] = mapped_column(default="waiting")
    answer: Mapped[dict[str, Any] | None]
    reason: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str]
    request_id: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    claimed_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]
    deadline_at: Mapped[dt.datetime]
