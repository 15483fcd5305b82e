"""A virtual site's network, made for real."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import leftovers, namespace
from lab.leftovers import StillRunning
from lab.network import DEFAULT_VLANS, VirtualSite, Vlan
from lab.process import name_process
from lab.tether import python_environment
from tests.daemons.requires import require_virtual_rack

pytestmark = pytest.mark.daemons


@pytest.fixture(scope="module", autouse=True)
def _host() -> None:
    require_virtual_rack()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[VirtualSite]:
    with VirtualSite(tmp_path / "site") as site:
        yield site


def fetch(argv_prefix: list[str], address: str, port: int) -> str:
    """Read what a TCP server says first, from inside a namespace."""
    code = f"import socket; print(socket.create_connection(({address!r}, {port}), 3).recv(99).decode())"
    done = subprocess.run([*argv_prefix, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


def test_rack_reaches_a_listener_of_this_process_in_the_control_namespace(site: VirtualSite) -> None:
    """The rack talks to the control plane's address, which this process in the root namespace serves."""
    with site.listen_in(site.control, site.uplink.control_address, 0) as listener:
        port = listener.getsockname()[1]
        client = subprocess.Popen(
            [*site.exec_argv(site.rack), sys.executable, "-c",
             f"import socket; print(socket.create_connection(('10.255.0.1', {port}), 3).recv(9).decode())"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        connection, (peer, _) = listener.accept()
        connection.sendall(b"welcome")
        connection.close()
        said = client.communicate(timeout=10)[0].strip()

    assert ("10.255.0.2", "welcome") == (peer, said)


def test_machines_have_no_way_to_the_control_plane(site: VirtualSite) -> None:
    """The switch's namespace, where machines are plugged in, has no route to the control plane."""
    with site.listen_in(site.control, "10.255.0.1", 0) as listener:
        said = fetch(site.exec_argv(site.lan), "10.255.0.1", listener.getsockname()[1])

    assert said.endswith("Network is unreachable")


def test_rack_does_not_forward(site: VirtualSite) -> None:
    """Even with a route through the rack, a machine's packets do not reach the control plane."""
    namespace.batch(site.lan, [f"route add 10.255.0.0/30 via {site.vlan('lan').rack_address}"])
    namespace.batch(site.control, [f"route add 10.20.0.0/24 via {site.uplink.rack.partition('/')[0]}"])
    with site.listen_in(site.control, "10.255.0.1", 0) as listener:
        said = fetch(site.exec_argv(site.lan), "10.255.0.1", listener.getsockname()[1])

    assert said.endswith("timed out")


def test_ipv6_address_is_usable_at_once(site: VirtualSite) -> None:
    """The rack's IPv6 address skips duplicate address detection, so a daemon can bind to it straight away."""
    with site.listen_in(site.rack, "fd20::1", 0) as listener:
        assert "fd20::1" == listener.getsockname()[0]


def test_leaving_a_site_ends_its_processes_and_namespaces(tmp_path: Path) -> None:
    """A process left running inside a namespace is ended, and the namespaces are gone."""
    with VirtualSite(tmp_path / "site") as site:
        child = subprocess.Popen(site.exec_argv(site.rack, ["sleep", "300"]))
        deadline = time.monotonic() + 5
        while name_process(child.pid) not in namespace.residents(site.rack) and time.monotonic() < deadline:
            time.sleep(0.01)
        spaces = [site.control, site.rack, site.lan]

    assert (-signal.SIGTERM, []) == (child.wait(5), [space for space in spaces if namespace.exists(space)])


def test_two_sites_with_equal_addresses_live_side_by_side(tmp_path: Path) -> None:
    """Sites share nothing, so both may use the same addresses."""
    with (
        VirtualSite(tmp_path / "one") as one,
        VirtualSite(tmp_path / "two") as two,
        one.listen_in(one.rack, "10.20.0.1", 5248) as first,
        two.listen_in(two.rack, "10.20.0.1", 5248) as second,
    ):
        assert first.getsockname() == second.getsockname()


def test_a_site_may_have_several_vlans(tmp_path: Path) -> None:
    """Each VLAN is a bridge of its own, and the rack has an interface on each."""
    storage = Vlan("stor", ("10.40.0.1/24",), ("10.40.0.254/24",))
    with (
        VirtualSite(tmp_path / "site", vlans=(*DEFAULT_VLANS, storage)) as site,
        site.listen_in(site.rack, "10.40.0.1", 7000) as listener,
        namespace.socket_in(site.lan, socket.AF_INET) as client,
    ):
        client.settimeout(3)
        client.connect(("10.40.0.1", 7000))
        connection, (peer, _) = listener.accept()
        connection.close()

    assert "10.40.0.254" == peer


def test_what_a_killed_run_left_is_cleaned(tmp_path: Path) -> None:
    """After kill -9, the namespaces and processes of the dead run are removed by its record; a live run is refused."""
    code = (
        "import subprocess, sys, time; from pathlib import Path; from lab.network import VirtualSite\n"
        f"with VirtualSite(Path({str(tmp_path / 'site')!r})) as site:\n"
        "    child = subprocess.Popen(site.exec_argv(site.rack, ['sleep', '300'])); time.sleep(0.2)\n"
        "    print(site.rack, child.pid, flush=True); time.sleep(300)\n"
    )
    argv = [sys.executable, "-c", code]
    run = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=python_environment())
    assert run.stdout is not None
    rack, pid = run.stdout.readline().split()
    with pytest.raises(StillRunning, match=f"process {run.pid} still runs"):
        leftovers.clean(tmp_path)
    os.kill(run.pid, signal.SIGKILL)
    run.wait()
    existed = namespace.exists(rack)
    done = leftovers.clean(tmp_path)

    assert existed
    assert {f"ended process {pid}", f"removed namespace {rack}"} <= set(done)
    assert (False, None, []) == (namespace.exists(rack), name_process(int(pid)), leftovers.clean(tmp_path))
