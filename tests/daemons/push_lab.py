"""A real rack host with real daemons and a real control plane whose reconciler the test turns by hand.

`push` reconciles with renderers of the test's choice: a service variant is a change as bad as an administrator, a
template or a host can make it, and everything from the offer's signature on is the product's own.
The rack's state directory is a small file system of its own, so that it can be filled.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from flask import Flask
from werkzeug.serving import make_server

from app.config import load as load_config
from app.factory import create_app
from app.services import name_servers, racks, subnets, tokens, users
from app.services.context import Context
from app.store.models import Apply, Rack, utc_now
from lab import namespace
from lab.dhcp_client import discover_and_request
from renderers import registry
from renderers.bundle import Bundle
from renderers.spec import ServiceSpec
from tests.daemons.rack_host import MAC, RACK, REPOSITORY, RackHost
from tests.daemons.rack_root import at, eventually, network_of, rack_directory
from tests.daemons.requires import require
from tests.factories.control import Seeded, make_context, seed
from tests.golden.case import load
from workers.region.reconcile import reconcile

PASSWORD = "correct horse battery"
PATIENCE = 150.0
DISK = "96m"
NAME = "rack-1.lab.muster."


@dataclass
class PushLab:
    """What stands. context acts as Muster itself, `admin` as the person who makes changes."""

    host: RackHost
    context: Context
    admin: Context
    seeded: Seeded
    application: Flask
    url: str
    token: str

    def change(self) -> int:
        """An administrator changes the lease time by a second; the new one."""
        lease = subnets.get(self.context, self.seeded.subnet_id).lease_seconds + 1
        subnets.update(self.admin, self.seeded.subnet_id, lease_seconds=lease)
        return lease

    def push(self, *variants: ServiceSpec) -> dict[str, Apply]:
        """Reconcile with these variants of services, and wait until the rack has dealt with the offer; its reports."""
        return self.settled(self.offer(*variants))

    def offer(self, *variants: ServiceSpec) -> int:
        """Reconcile with these variants of services; the offer's number."""
        specs = {spec.name: spec for spec in registry.services()} | {spec.name: spec for spec in variants}
        outcome = reconcile(self.context, self.seeded.rack_id, tuple(specs[name] for name in sorted(specs)))
        assert outcome.status in ("offered", "current", "held"), outcome
        return outcome.offer_number

    def settled(self, number: int) -> dict[str, Apply]:
        """Wait until the rack has dealt with an offer and said so; the last report of each service."""

        def look() -> dict[str, Apply]:
            with self.context.store.read() as session:
                applied = session.get_one(Rack, self.seeded.rack_id).applied_offer
            assert applied >= number, f"offer {number} is not dealt with, {applied} is"
            return self.reports(number)

        return eventually(look, PATIENCE)

    def reports(self, number: int) -> dict[str, Apply]:
        """The last report about an offer by service."""
        with self.context.store.read() as session:
            rows = session.query(Apply).filter_by(offer_number=number).order_by(Apply.id).all()
        return {row.service: row for row in rows}

    def heal(self) -> None:
        """The right services again, whatever they take away: everything is in sync, nothing refused."""

        def look() -> None:
            self.offer()
            shown = self.api("GET", self.path)
            for plan in shown["held"]:
                self.api("POST", f"/plans/{plan['id']}/approve")
            assert (True, []) == (shown["in_sync"], shown["refused"]), shown["reasons"]

        eventually(look, PATIENCE)

    @property
    def path(self) -> str:
        """The rack in the API and among the pages."""
        return f"/racks/{self.seeded.rack_id}"

    def api(self, method: str, path: str, status: int = 200) -> Any:
        """Ask the API as the administrator."""
        headers = {"Authorization": f"Bearer {self.token}"}
        answer = requests.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json()

    def muster(self, *words: str) -> str:
        """What a command prints; it must end well."""
        environment = {**os.environ, "MUSTER_URL": self.url, "MUSTER_TOKEN": self.token}
        argv = [sys.executable, "-m", "app.cli", *words]
        done = subprocess.run(argv, env=environment, cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def page(self) -> str:
        """The rack's page as somebody sees it who has signed in; entities turned back."""
        client = self.application.test_client()
        client.get("/login")
        with client.session_transaction() as session:
            csrf = str(session.get("csrf", ""))
        client.post("/login", data={"name": "root", "password": PASSWORD, "csrf_token": csrf})
        text = client.get(self.path).text
        for entity, character in (("&#39;", "'"), ("&#34;", '"'), ("&gt;", ">"), ("&lt;", "<"), ("&amp;", "&")):
            text = text.replace(entity, character)
        return text

    def assert_serves(self, mac: str = MAC) -> None:
        """A client gets its address, names resolve, the loader loads, HTTP passes. Waits for none of it."""
        client = f"{self.host.inside}-c"
        lease = namespace.inside(client, lambda: discover_and_request("end0", mac))

        assert RACK == lease.server
        assert [RACK] == self.host.resolve(NAME)
        assert Path("/usr/lib/ipxe/undionly.kpxe").read_bytes() == self.host.read_loader()
        assert 200 == namespace.inside(client, lambda: _get(f"http://{RACK}:5248/boot/v1/start.ipxe"))

    def assert_said(self, service: str, *phrases: str) -> None:
        """The API, `muster rack show` and the page tell the refusal of a service, with these phrases."""
        shown = self.api("GET", self.path)
        refusal = next(one for one in shown["refused"] if one["service"] == service)
        whole = " ".join(str(refusal[name]) for name in ("title", "reason", "by", "put_back", "remedy"))
        command, page = self.muster("rack", "show", "rack-1"), self.page()
        missing = [
            f"{where}: {phrase}"
            for phrase in phrases
            for where, text in (("API", whole), ("command", command), ("page", page))
            if phrase not in text
        ]

        assert [] == missing, command
        assert not shown["in_sync"]


def edited(name: str, edit: Callable[[str], str]) -> ServiceSpec:
    """A service whose first file comes out differently."""
    spec = registry.service(name)

    def render(intent: Any) -> Bundle:
        bundle = spec.render(intent)
        first, *rest = bundle.files
        text = edit(first.text)
        assert text != first.text, f"{name}: the edit changes nothing"
        return Bundle(name, (replace(first, text=text), *rest))

    return replace(spec, render=render)


def _get(url: str) -> int:
    with requests.Session() as session:
        session.trust_env = False
        return session.get(url, timeout=20).status_code


@contextlib.contextmanager
def small_disk(root: str) -> Iterator[None]:
    """A file system of its own at `root`."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=755", "tmpfs", root], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", root], check=True)


@contextlib.contextmanager
def serving(application: Flask, **place: Any) -> Iterator[str]:
    """The application on a socket, in threads; where."""
    server = make_server(place.get("host", "127.0.0.1"), place.get("port", 0), application, True, fd=place.get("fd"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
    finally:
        server.shutdown()
        thread.join(timeout=20)


@contextlib.contextmanager
def push_lab(folder: Path) -> Iterator[PushLab]:
    """The whole, in sync; everything is stopped at the end."""
    require("ip", "kea-dhcp4", "kea-dhcp6", "named", "dnsmasq", "chronyd", "radvd", "rsyslogd", "squid")
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(rack_directory())
        stack.enter_context(small_disk(root))
        intent = at(load("lab"), root)
        inside = stack.enter_context(network_of(intent, f"pl-{os.getpid()}"))
        namespace.batch(f"{inside}-c", [f"link set end0 address {MAC}", "addr add 10.20.0.50/24 dev end0"])
        context = replace(make_context(folder), clock=utc_now)
        stack.callback(context.store.engine.dispose)
        seeded = seed(context)
        person = users.create(context, "root", PASSWORD, "admin")
        admin = context.acting_as(users.actor(person))
        application = create_app(context, load_config({"MUSTER_STATE_DIR": str(folder / "state")}))
        listener = stack.enter_context(contextlib.closing(namespace.listen_in(inside, "127.0.0.1", 5240)))
        stack.enter_context(serving(application, port=5240, fd=listener.fileno()))
        url = stack.enter_context(serving(application))
        host = RackHost(Path(root), intent, inside, "tests.daemons.killed_agent {root}")
        stack.callback(host.halt)
        stack.callback(host.show_logs)
        host.enrol("http://127.0.0.1:5240", racks.new_code(admin, "rack-1"))
        # The seed's domain came without its names; a change of it sends them.
        with context.store.write() as session:
            name_servers.put_name_servers(session)
        lab = PushLab(host, context, admin, seeded, application, url, tokens.create(admin, "test").text)
        host.boot()
        lab.heal()
        eventually(lab.assert_serves, PATIENCE)
        yield lab
