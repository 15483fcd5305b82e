"""Where installed systems take their packages from."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Text
from sqlalchemy.orm import Mapped, mapped_column

from app.store.models.base import Base, PrimaryKey


class PackageRepository(Base):
    """An apt repository of installed systems. os: which systems get it. main: it stands in for the system's own mirror."""

    __tablename__ = "package_repository"

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    url: Mapped[str]
    os: Mapped[str] = mapped_column(default="debian")
    main: Mapped[bool] = mapped_column(default=False)
    enabled: Mapped[bool] = mapped_column(default=True)
    suites: Mapped[list[Any]] = mapped_column(default=list)
    components: Mapped[list[Any]] = mapped_column(default=list)
    architectures: Mapped[list[Any]] = mapped_column(default=list)
    key: Mapped[str] = mapped_column(Text, default="")
