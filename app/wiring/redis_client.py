"""A plain client of a Redis broker, for what is no message: users, and whether it accepts us."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.broker import Login, explain
from app.config import Config
from app.redis_tls import OnlyOurs

TIMEOUT_SECONDS = 5.0


def connect(login: Login) -> Any:
    """A client of the broker; it connects when it is first used."""
    options: dict[str, Any] = {"socket_timeout": TIMEOUT_SECONDS, "socket_connect_timeout": TIMEOUT_SECONDS}
    options["retry"] = Retry(NoBackoff(), 1)  # Once, for a connection that Redis has closed meanwhile.
    url = login.full_url
    if url.startswith("rediss:"):
        options |= login.tls.settings() | {"connection_class": OnlyOurs}
    if url.startswith("redis+socket:"):
        url = url.replace("redis+socket:", "unix:", 1)
        del options["socket_connect_timeout"]
    return redis.Redis.from_url(url, decode_responses=True, **options)


def check(config: Config) -> list[str]:
    """Try what the control plane does at its Redis; a sentence for each thing that works. ValueError says what does not."""
    said = []
    login = config.broker
    with_rights = connect(login)
    try:
        with_rights.pipeline().ltrim("region", 0, -1).execute()  # Changes nothing, and takes all that sending does.
        said.append(f"The broker lets {login.user} send and receive.")
    except (redis.RedisError, OSError) as error:
        raise ValueError(explain(error, login)) from error
    admin = config.broker_admin
    if admin is None:
        said.append(
            "Nobody keeps racks' users there (MUSTER_BROKER_ADMIN_USER): put in what `muster broker acl` prints."
        )
    else:
        try:
            users = connect(admin).acl_list()
        except (redis.RedisError, OSError) as error:
            raise ValueError(explain(error, admin)) from error
        count = sum(line.startswith("user rack.") for line in users)
        said.append(f"It lets {admin.user} keep racks' users; there are {count}.")
    racks = config.broker_for_racks(here=False)
    said.append(
        f"Racks are sent to {racks}."
        if racks
        else "Racks on other hosts are given no broker: only this host reaches it; set MUSTER_BROKER_RACK_URL."
    )
    return said
