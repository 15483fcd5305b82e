"""What people add to DHCP: options in words that every server understands, and snippets in one server's own."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, ForeignKey, Text, UniqueConstraint, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from app.store.models.base import Base, CreatedAt, PrimaryKey

SCOPES = ("global", "vlan", "subnet", "range", "machine")


class DhcpSnippet(Base):
    """An option or a piece of configuration for one scope.

    kind: option (body is `NAME VALUE`, one a line; rendered for whichever server a rack runs), kea4, kea6 (body is a JSON
    object that is merged into the scope) or dhcpd (body is text in dhcpd.conf's own syntax).  The scope's column is set,
    the others are not.  checked: a server's own checker has judged this body as its racks would have it.  checked_by:
    which checkers have, for which rack and where.
    """

    __tablename__ = "dhcp_snippet"
    __table_args__ = (
        CheckConstraint("scope IN ('global', 'vlan', 'subnet', 'range', 'machine')", name="scope"),
        CheckConstraint("kind IN ('option', 'kea4', 'kea6', 'dhcpd')", name="kind"),
    )

    id: Mapped[PrimaryKey]
    name: Mapped[str] = mapped_column(unique=True)
    description: Mapped[str] = mapped_column(Text, default="")
    kind: Mapped[str] = mapped_column(default="option")
    enabled: Mapped[bool] = mapped_column(default=True)
    scope: Mapped[str]
    vlan_id: Mapped[int | None] = mapped_column(ForeignKey("vlan.id", ondelete="CASCADE"), index=True)
    subnet_id: Mapped[int | None] = mapped_column(ForeignKey("subnet.id", ondelete="CASCADE"), index=True)
    range_id: Mapped[int | None] = mapped_column(ForeignKey("ip_range.id", ondelete="CASCADE"), index=True)
    machine_id: Mapped[int | None] = mapped_column(ForeignKey("machine.id", ondelete="CASCADE"), index=True)
    body: Mapped[str] = mapped_column(Text)
    revision: Mapped[int] = mapped_column(default=1)
    checked: Mapped[bool] = mapped_column(default=True, server_default=true())
    checked_by: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[CreatedAt]
    history: Mapped[list[DhcpSnippetRevision]] = relationship(
        cascade="all, delete-orphan", order_by="DhcpSnippetRevision.revision"
    )


class DhcpSnippetRevision(Base):
    """A snippet's body as it once was, and who wrote it."""

    __tablename__ = "dhcp_snippet_revision"
    __table_args__ = (UniqueConstraint("snippet_id", "revision"),)

    id: Mapped[PrimaryKey]
    snippet_id: Mapped[int] = mapped_column(ForeignKey("dhcp_snippet.id", ondelete="CASCADE"), index=True)
    revision: Mapped[int]
    body: Mapped[str] = mapped_column(Text)
    actor: Mapped[str]
    at: Mapped[CreatedAt]
