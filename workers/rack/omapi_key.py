"""Makes a new key for ISC dhcpd's OMAPI on this rack; it never leaves the host, and the old one is worth nothing afterwards.

dhcpd reads its key when it starts, so this is an apply like any other: the same files with the new key are checked,
swapped in, activated and probed.  If they are not kept, the old key comes back with the old files.  The old key lies
beside the new one until then, so that an agent that ends in the middle finds its way: what dhcpd runs decides.
"""

from __future__ import annotations

import base64
import secrets as random
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from renderers.services import dhcpd
from workers.rack.apply import Applier
from workers.rack.channels.base import ChannelDown
from workers.rack.host_strategies.dhcpd_omapi import connect
from workers.rack.omapi import Omapi, OmapiDown, OmapiRefused
from workers.rack.questions import CannotAnswer
from workers.rack.report import ApplyReport, Wanted
from workers.rack.secret_files import KEY_BYTES, SecretFiles, SecretMissing

log = structlog.get_logger()

BEFORE = "omapi-before"
"""The name of the old key while the new one is being tried."""
START_SECONDS = 5.0


class OmapiKey:
    """Answers `new-omapi-key`.  wanted: what the rack's offer says of dhcpd; report: tells the control plane of an apply."""

    def __init__(
        self,
        applier: Applier,
        secrets: SecretFiles,
        wanted: Callable[[], Wanted | None],
        report: Callable[[ApplyReport], None],
    ) -> None:
        self._applier, self._secrets, self._wanted, self._report = applier, secrets, wanted, report

    def __call__(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make a new key and have dhcpd run with it.  CannotAnswer when it does not; the old one then serves on."""
        wanted, applied = self._wanted(), self._applier.applied(dhcpd.NAME)
        if applied is None:
            raise CannotAnswer("ISC dhcpd does not serve here")
        if wanted is None or wanted.bundle.digest != applied.digest:
            raise CannotAnswer("what dhcpd runs is not what it should be; mend that first, see the rack's page")
        old = self._secrets.read(dhcpd.SECRET)
        new = base64.b64encode(random.token_bytes(KEY_BYTES)).decode()
        self._secrets.write(BEFORE, old)
        self._secrets.write(dhcpd.SECRET, new)
        try:
            report = self._applier.apply(wanted)
        finally:
            self.recover()
        self._report(report)
        if report.outcome != "kept" or self._secrets.read(dhcpd.SECRET) != new:
            raise CannotAnswer(f"dhcpd does not come up with a new key, so the old one stays: {report.reason}")
        self._must_answer(old)
        log.info("omapi.new_key")
        return {"gap": report.seconds.get("gap", 0.0)}

    def recover(self) -> None:
        """After a change, and at the start of the agent: the key is the one that dhcpd's present files hold."""
        try:
            old = self._secrets.read(BEFORE)
        except SecretMissing:
            return
        try:
            if old in (self._applier.directories(dhcpd.NAME).current / dhcpd.FILE).read_text():
                self._secrets.write(dhcpd.SECRET, old)
        except FileNotFoundError:
            pass  # No dhcpd runs here: whichever key is good.
        self._secrets.forget(BEFORE)

    def _must_answer(self, old: str) -> None:
        """CannotAnswer unless dhcpd takes the new key and refuses the old one."""
        omapi = connect(self._applier.directories(dhcpd.NAME), self._secrets)
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                with omapi:
                    omapi.prove()
                break
            except (OmapiDown, OmapiRefused, ChannelDown) as error:
                if time.monotonic() > end:
                    raise CannotAnswer(f"dhcpd does not take the new key: {error}") from error
                time.sleep(0.1)
        try:
            with Omapi(omapi.port, dhcpd.KEY, old) as former:
                former.prove()
        except (OmapiDown, OmapiRefused):
            return
        raise CannotAnswer("dhcpd still takes the old key; restart it")
