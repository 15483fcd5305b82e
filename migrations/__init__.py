"""Alembic migrations: small reversible steps that both databases take."""
