"""A rack's key of OMAPI through a change that breaks off, and its threads at their end."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from renderers.services import dhcpd
from workers.rack.apply import Applier
from workers.rack.omapi_key import BEFORE, OmapiKey
from workers.rack.secret_files import SecretFiles, SecretMissing
from workers.rack.sensors.syslog import SyslogSensor
from workers.rack.waiting import Doorbell


def test_a_change_that_breaks_off_leaves_the_key_that_dhcpd_runs_with(tmp_path: Path) -> None:
    """Whatever ends the apply, the key is the one of the present files, and no other lies about."""
    secrets = SecretFiles(tmp_path)
    secrets.write(dhcpd.SECRET, "the-old-key")
    (tmp_path / dhcpd.FILE).write_text('secret "the-old-key";')

    def apply(wanted: Any) -> Any:
        assert "the-old-key" != secrets.read(dhcpd.SECRET)
        raise OSError("no space left on device")

    digest = SimpleNamespace(digest="d")
    applier = SimpleNamespace(
        applied=lambda service: digest, apply=apply, directories=lambda service: SimpleNamespace(current=tmp_path)
    )
    wanted = cast("Any", SimpleNamespace(bundle=digest))
    key = OmapiKey(cast("Applier", applier), secrets, lambda: wanted, lambda report: None)
    with pytest.raises(OSError, match="no space"):
        key({})

    assert "the-old-key" == secrets.read(dhcpd.SECRET)
    with pytest.raises(SecretMissing):
        secrets.read(BEFORE)


def test_threads_that_have_ended_can_be_joined(tmp_path: Path) -> None:
    """They hide nothing that `threading.Thread` keeps for itself."""
    stop = threading.Event()
    stop.set()
    threads = (
        SyslogSensor(tmp_path / "spool", cast("Any", None), stop),
        Doorbell(tmp_path / "bell", threading.Event(), stop),
    )
    for thread in threads:
        thread.start()
        thread.join(5)
    assert [False, False] == [thread.is_alive() for thread in threads]
