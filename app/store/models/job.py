"""Bulk work: a job, and the batches of whole records that it is done in."""

from __future__ import annotations

import datetime as dt
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, CreatedAt, PrimaryKey

STATUSES = ("queued", "running", "succeeded", "failed", "cancelled")


class Job(Base):
    """Many things asked for at once. kind: a name of `app.services.job_kinds`; done counts failed ones too.

    failed: items that were refused; the first refusals are in `errors` (index, field, detail).  wanted_end: somebody asked
    for its end.  claimed_until: until when one worker has it; after that another may go on where it was.
    """

    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(f"status IN ({', '.join(repr(one) for one in STATUSES)})", name="status"),
        CheckConstraint("done <= total AND failed <= done", name="counts"),
    )

    id: Mapped[PrimaryKey]
    kind: Mapped[str]
    status: Mapped[str] = mapped_column(default="queued", index=True)
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    failed: Mapped[int] = mapped_column(default=0)
    errors: Mapped[list[Any]] = mapped_column(default=list)
    wanted_end: Mapped[bool] = mapped_column(default=False)
    claimed_until: Mapped[dt.datetime | None]
    user_id: Mapped[int | None] = mapped_column(ForeignKey("user.id", ondelete="SET NULL"), index=True)
    actor: Mapped[str]
    role: Mapped[str]
    request_id: Mapped[str | None]
    created_at: Mapped[CreatedAt]
    started_at: Mapped[dt.datetime | None]
    finished_at: Mapped[dt.datetime | None]


class JobBatch(Base):
    """Some items of a job, in order. count: how many; done: how many of
    them, from the first on, have been dealt with."""

    __tablename__ = "job_batch"
    __table_args__ = (UniqueConstraint("job_id", "number"),)

    id: Mapped[PrimaryKey]
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    number: Mapped[int]
    first: Mapped[int]
    items: Mapped[list[Any]]
    count: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
