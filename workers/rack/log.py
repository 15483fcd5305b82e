"""The rack's log: one line an event to standard error, text or JSON, with secrets masked.

Tracebacks are plain: pretty ones print local variables, secrets among them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import structlog

from app.masking import mask_secrets
from workers.rack.config import ConfigError

FORMAT = "MUSTER_LOG_FORMAT"
FORMATS = ("text", "json")


def set_up(environ: Mapping[str, str] = os.environ) -> None:
    """Configure structlog for this process: MUSTER_LOG_FORMAT is text (the default) or json. ConfigError for another."""
    wanted = environ.get(FORMAT) or "text"
    if wanted not in FORMATS:
        raise ConfigError(f"{FORMAT}={wanted!r}: must be one of {', '.join(FORMATS)}")
    renderer: Any = structlog.processors.JSONRenderer()
    if wanted == "text":
        order = ["timestamp", "level", "event"]
        renderer = structlog.processors.KeyValueRenderer(key_order=order, repr_native_str=False)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            mask_secrets,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
