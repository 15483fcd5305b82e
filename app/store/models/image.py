"""Boot images, and settings of the whole installation."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey


class Image(Base):
    """A boot image: kernel, initrd, ephemeral root and the root filesystem that is installed."""

    __tablename__ = "image"
    __table_args__ = (UniqueConstraint("name", "recipe"),)

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(index=True)
    os: Mapped[str]
    release: Mapped[str]
    architecture: Mapped[str]
    recipe: Mapped[str]
    current: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[CreatedAt]
    files: Mapped[list[ImageFile]] = relationship(cascade="all, delete-orphan")


class ImageFile(Base):
    """A file of an image. kind: kernel, initrd, squashfs, rootfs. path: where the control plane keeps it.

    sha256 names it; blake2b (256 bits, RFC 7693) is what machines check, at a fifth of the work where a processor has no
    instructions for SHA-256.  None: imported before there was one.
    """

    __tablename__ = "image_file"

    id: Mapped[PrimaryKey]
    image_id: Mapped[int] = mapped_column(ForeignKey("image.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    name: Mapped[str]
    sha256: Mapped[str] = mapped_column(index=True)
    blake2b: Mapped[str | None]
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    path: Mapped[str]


class Setting(Base):
    """A setting of the installation: enrolment policy, upstream DNS and NTP servers, keys (encrypted where secret)."""

    __tablename__ = "setting"

    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[dict[str, Any]]
