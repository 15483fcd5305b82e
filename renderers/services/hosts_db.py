"""A private PostgreSQL on the rack host that holds nothing but DHCP hosts, for a Kea without host commands.

Kea answers from a row as soon as it is committed, whatever the number of hosts, and its own reload costs the same at
50,000 as at 100.  The database can always be made again: from Kea's own schema and the rack's store of records, by
`workers.rack.hosts_database`, before its daemon starts; so a Kea never meets an empty one.  It listens on a socket
file only; the password is made on the rack.
"""

from __future__ import annotations

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "hosts_db"
FILE = "postgresql.conf"
ACCESS_FILE, IDENT_FILE = "pg_hba.conf", "pg_ident.conf"
USER = "postgres"
PORT = 5432
"""Of the socket file's name only."""
DATABASE, ROLE = "kea", "kea"
SECRET = "hosts-db"  # noqa: S105 - the name of a file
MODULE = "workers.rack.hosts_database"


def wanted(intent: RackIntent) -> bool:
    """Whether a Kea of this rack keeps its hosts here: PostgreSQL is there, host commands are not."""
    layout = intent.layout
    families = {sub.family for vlan in intent.vlans if vlan.dhcp_on for sub in vlan.subnets if sub.rack_address}
    keas = families if intent.dhcp_server == "kea" else families & {6}
    return bool(layout.postgres_programs) and not layout.kea_host_hook and bool(keas)


def connection(intent: RackIntent) -> dict[str, object]:
    """Kea's `hosts-database` (Kea ARM, "DHCPv4 Hosts Database Configuration").

    on-fail: of the three ways the only one in which nobody is given a wrong address while the database is away; Kea is
    silent then and tries twice a second, for ever in effect.
    """
    return {
        "type": "postgresql",
        "name": DATABASE,
        "user": ROLE,
        "password": f"@secret:{SECRET}@",
        "host": intent.layout.run_path(NAME),
        "port": PORT,
        "connect-timeout": 5,
        "max-reconnect-tries": 1_000_000,
        "reconnect-wait-time": 500,
        "on-fail": "stop-retry-exit",
    }


def render(intent: RackIntent) -> Bundle:
    """Settings, who may come in, and an empty map of users."""
    layout = intent.layout
    settings = text.fill(
        "config/hosts_db/postgresql.conf.j2",
        port=PORT,
        run=layout.run_path(NAME),
        hba=layout.config_path(NAME, ACCESS_FILE),
        ident=layout.config_path(NAME, IDENT_FILE),
    )
    access = text.fill("config/hosts_db/pg_hba.conf.j2", database=DATABASE, user=ROLE)
    return Bundle(
        NAME,
        (
            RenderedFile(ACCESS_FILE, access, 0o640, USER),
            RenderedFile(IDENT_FILE, "# Nobody has another name here.\n", 0o640, USER),
            RenderedFile(FILE, settings, 0o640, USER),
        ),
    )


SERVICE = ServiceSpec(
    name=NAME,
    title="Hosts of DHCP (PostgreSQL)",
    wanted=wanted,
    render=render,
    prepare=("{python}", "-m", MODULE, "prepare", "{current}", "{state}"),
    command=("{python}", "-m", MODULE, "run", "{current}", "{state}"),
    checker=("{python}", "-m", MODULE, "check", "{staged}", "{state}"),
    user=USER,
    channel="postgres",
    probes=lambda intent: (ProbeSpec("hosts_db", (("directory", intent.layout.run_path(NAME)), ("port", PORT))),),
    packages=("postgresql", "kea-admin"),
    contents=lambda bundle: frozenset(),
)
