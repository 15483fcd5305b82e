"""The log: one line an event to standard error, with the request's id, and with secrets masked.

What libraries say through `logging` comes out in the same form, from warnings on.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import structlog

from app.masking import mask_secrets

__all__ = ["mask_secrets", "set_up"]
OURS = "muster-log"


class _ToStandardError(logging.Handler):
    """Writes to whatever standard error is now."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        try:
            print(self.format(record), file=sys.stderr, flush=True)
        except Exception:
            self.handleError(record)


def set_up(log_format: str) -> None:
    """Configure structlog and `logging` for this process. log_format: json or text (key=value)."""
    renderer: Any = structlog.processors.JSONRenderer()
    if log_format == "text":
        renderer = structlog.processors.KeyValueRenderer(
            key_order=["timestamp", "level", "event"], repr_native_str=False
        )
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    finish: list[Any] = [structlog.processors.format_exc_info, mask_secrets, renderer]
    structlog.configure(
        processors=[*shared, *finish],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = _ToStandardError()
    handler.set_name(OURS)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *finish],
        )
    )
    root = logging.getLogger()
    for old in [one for one in root.handlers if one.get_name() == OURS]:
        root.removeHandler(old)
    root.addHandler(handler)
