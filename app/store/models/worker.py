"""Region workers, as they show that they live."""

from __future__ import annotations

import datetime as dt

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base


class Worker(Base):
    """The last sign of life of a region worker. name: its host and process id. looks: signs of life since its start."""

    __tablename__ = "worker"

    name: Mapped[str] = mapped_column(primary_key=True)
    started_at: Mapped[dt.datetime]
    seen_at: Mapped[dt.datetime]
    looks: Mapped[int] = mapped_column(BigInteger, default=0)
