"""From two bare Debian hosts to a rack that serves, by `ansible/` alone, as docs/install.md says."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rcode
import pytest
import requests

from lab.api import Api, ApiRefused
from lab.container import refusal
from lab.dhcp_client import discover_and_request
from tests.daemons.requires import absent, require
from tests.e2e.installed import CONTROL, WIRE, Installed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]
MAC = "52:54:00:33:00:01"
SERVICES = {"bind", "chrony", "dnsmasq", "hosts_db", "kea4", "rsyslog", "squid"}
SYNC_SECONDS = 120


@pytest.fixture(scope="module")
def site() -> Iterator[Installed]:
    """Both hosts, after the first run of site.yml."""
    require("ansible-playbook", "ssh", "ip")
    if reason := refusal():
        absent(reason)
    with tempfile.TemporaryDirectory(prefix="muster-ansible-") as folder, Installed(Path(folder)) as made:
        made.play("site.yml")
        yield made


@pytest.fixture(scope="module")
def api(site: Installed) -> Api:
    """The first administrator, by TLS through the proxy, with the password that the role has put down."""
    made = Api(f"https://{CONTROL}")
    made.session.verify = str(site.certificate)
    password = (site.control.files / "root/muster-admin-password").read_text().strip()
    site.inside(lambda: made.sign_in("admin", password))
    return made


def offer() -> str:
    """What a machine on the rack's wire is offered and acknowledged."""
    return discover_and_request(WIRE, MAC).address


def name_of_rack() -> str:
    """What the rack's DNS answers to a machine."""
    answer = dns.query.udp(dns.message.make_query("rack1.muster-internal.", "A"), "10.20.0.1", timeout=5)
    return dns.rcode.to_text(answer.rcode())


def machines(site: Installed, api: Api) -> dict[str, Any]:
    """The rack's network of machines, which Muster has found by itself."""
    found = site.inside(lambda: api.get("/subnets"))["items"]
    return next(one for one in found if one["cidr"] == "10.20.0.0/24")


def wait_in_sync(site: Installed, api: Api, services: set[str]) -> dict[str, Any]:
    """The rack, once it is in sync and these services answer."""
    end, shown = time.monotonic() + SYNC_SECONDS, {}
    while time.monotonic() < end:
        with contextlib.suppress(ApiRefused):  # 502 and 503, while the control plane starts.
            shown = site.inside(lambda: api.get("/racks/1"))
        if shown.get("in_sync") and services <= {one["service"] for one in shown["services"] if one["probes_ok"]}:
            return shown
        time.sleep(1)
    raise AssertionError(f"not in sync: {shown.get('reasons')}, {shown.get('services')}")


def test_a_network_is_served(site: Installed, api: Api) -> None:
    """As docs/install.md has it: afterwards a DISCOVER on the rack's wire has an OFFER, and a name of the zone an answer."""
    subnet = machines(site, api)
    for words in (
        f"vlan set {subnet['vlan_id']} --rack 1 --dhcp-on",
        f"range create 10.20.0.100 10.20.0.199 --subnet {subnet['id']} --kind dynamic",
    ):
        site.control.run(["muster", *words.split()])
    shown = wait_in_sync(site, api, SERVICES)

    assert "rack1" == shown["rack"]["name"]
    assert site.inside(offer).startswith("10.20.0.1")
    assert "NOERROR" == site.inside(name_of_rack)


def test_machines_reach_the_control_plane_through_the_rack(site: Installed, api: Api) -> None:
    """The first boot script comes by the rack's squid, which asks the control plane by TLS."""
    answer = site.inside(lambda: requests.get("http://10.20.0.1:5248/boot/v1/start.ipxe", timeout=20))

    assert 200 == answer.status_code
    assert answer.text.startswith("#!ipxe")


def test_what_should_run_does(site: Installed) -> None:
    """No unit has failed or starts again and again, on either host; the distribution's own daemons are masked."""
    units = {
        site.control: ["muster", "nginx", "postgresql", "redis-server"],
        site.rack: ["muster-rack-agent", "muster-rack-power", "muster-rack-doorbell", "muster-kea4", "muster-bind"],
    }
    for host, names in units.items():
        failed = host.run(["systemctl", "--failed", "--plain", "--no-legend"]).stdout
        shown = host.run(["systemctl", "show", "--property=ActiveState,NRestarts", *names]).stdout.split("\n\n")

        assert "" == failed
        assert [{"NRestarts=0", "ActiveState=active"}] * len(names) == [set(one.split()) for one in shown], shown
    masked = site.rack.run(["systemctl", "is-enabled", "named", "kea-dhcp4-server", "squid"], check=False).stdout

    assert ["masked"] * 3 == masked.split()


def test_secrets_are_nobodys(site: Installed) -> None:
    """The first password and the broker's are in no journal and no process list, and only root and the service read them."""
    files = site.control.files
    words = [
        (files / "root/muster-admin-password").read_text().strip(),
        (files / "etc/muster/broker-password").read_text().strip(),
        json.loads((files / "root/.config/muster/profile.json").read_text())["token"],
    ]
    seen = site.control.run(["journalctl", "--no-pager", "--output=cat"]).stdout
    for host in site.hosts:
        seen += host.run(["ps", "-eo", "args"]).stdout
    seen += "".join(path.read_text() for path in site.directory.glob("*.log"))
    others = site.control.run(
        ["setpriv", "--reuid=nobody", "--clear-groups", "cat", "/etc/muster/muster.env", "/var/lib/muster/secret-key"],
        check=False,
    )

    assert [] == [word for word in words if word in seen]
    assert (1, "") == (others.returncode, others.stdout)


def test_a_second_run_changes_nothing(site: Installed, api: Api) -> None:
    """On neither host."""
    again = site.play("site.yml")

    assert {"control": 0, "rack1": 0} == {host: counts["changed"] for host, counts in again.items()}


def test_racks_serve_while_the_control_plane_is_stopped(site: Installed, api: Api) -> None:
    """DHCP and DNS answer, also after a restart of the rack host; afterwards all is in sync again."""
    site.control.run(["systemctl", "stop", "muster", "nginx"])
    try:
        before = (site.inside(offer), site.inside(name_of_rack))
        site.rack.reboot()
        end = time.monotonic() + 60
        while True:
            try:
                after = (site.inside(offer), site.inside(name_of_rack))
                break
            except (AssertionError, dns.exception.DNSException):
                assert time.monotonic() < end
                time.sleep(1)
    finally:
        site.control.run(["systemctl", "start", "muster", "nginx"])

    assert before == after
    assert wait_in_sync(site, api, SERVICES)["in_sync"]


def test_a_backup_can_be_restored(site: Installed, api: Api) -> None:
    """What was lost after the backup is there again, with tokens and secrets, and the rack is in sync with it."""
    site.play("backup.yml", "-e", f"muster_backups={site.directory / 'backup'}")
    backup = next((site.directory / "backup").iterdir())
    path = f"/subnets/{machines(site, api)['id']}"
    site.inside(lambda: api.call("PATCH", path, json={"name": "lost"}))
    site.control.run(["rm", "/var/lib/muster/secret-key"])
    site.play("restore.yml", "-e", f"muster_backup={backup}")
    shown = wait_in_sync(site, api, SERVICES)

    assert "lost" != machines(site, api)["name"]
    assert {0o700} == {path.stat().st_mode & 0o777 for path in (backup, backup.parent)}
    assert shown["in_sync"]
