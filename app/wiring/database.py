"""Bringing the configured database up to date."""

from __future__ import annotations

import os
from pathlib import Path

from app.config import Config
from app.store import migrate


def upgrade(config: Config) -> str:
    """Migrate the configured database to this version's schema; its revision. SQLite's file is for its owner only."""
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    revision = migrate.upgrade(config.database_url)
    if config.database_url.startswith("sqlite:///"):
        path = Path(config.database_url.removeprefix("sqlite:///"))
        if path.exists() and path.stat().st_uid == os.geteuid():
            path.chmod(0o600)
    return revision
