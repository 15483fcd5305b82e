"""Alembic's environment: works on a connection that `app.store.migrate` hands in, for SQLite and PostgreSQL alike."""

from __future__ import annotations

from alembic import context

from app.store.models import Base


def run() -> None:
    """Run the wanted steps in one transaction. SQLite alters tables by copying them (batch mode)."""
    connection = context.config.attributes["connection"]
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
        compare_server_default=True,
        user_module_prefix="base.",
    )
    with context.begin_transaction():
        context.run_migrations()


run()
