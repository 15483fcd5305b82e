"""One question to the hosts database, with the password Kea uses."""

from __future__ import annotations

from pathlib import Path

from renderers.services import hosts_db
from renderers.spec import ProbeSpec
from workers.rack.host_rows import DatabaseDown, DatabaseRefuses, connected
from workers.rack.probes.base import ProbeContext, ProbeFailure, text


class HostsDatabaseProbe:
    """Parameters: directory of its socket; port is for people."""

    kind = "hosts_db"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """How many hosts there are, by the planner's estimate: counting would cost more the more there are."""
        try:
            with connected(Path(text(spec, "directory")), context.secret(hosts_db.SECRET)) as cursor:
                cursor.execute("SELECT version FROM schema_version")
                (version,) = cursor.fetchone()
        except (DatabaseDown, DatabaseRefuses) as error:
            raise ProbeFailure(str(error)) from error
        return f"it answers with schema {version}"


PROBE = HostsDatabaseProbe()
