"""Whether the control plane can work."""

from __future__ import annotations

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from app.services.context import Context
from app.store.models import Counter

log = structlog.get_logger(__name__)


def database_answers(context: Context) -> bool:
    """Whether a row can be read; the reason why not goes to the log."""
    try:
        with context.store.read() as session:
            session.execute(select(Counter.name).limit(1)).all()
    except SQLAlchemyError as error:
        log.error("database.away", reason=str(error.__cause__ or error))
        return False
    return True
