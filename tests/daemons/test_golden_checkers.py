"""Every golden output passes the checker of the daemon that has to live with it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from renderers import registry
from renderers.dhcp import dhcpd_form, kea_options
from renderers.dhcp.catalogue import CATALOGUE
from renderers.dhcp.options import parse_line
from renderers.kea import hosts_path
from tests.daemons.rack_root import at, check, install, network_of, rack_directory
from tests.daemons.requires import require
from tests.golden.case import cases, load

PAIRS = [(case, spec.name) for case in cases() for spec in registry.services() if spec.wanted(load(case))]


def _program(words: tuple[str, ...]) -> str:
    return next(word for word in words if word != "env" and "=" not in word).replace("{python}", sys.executable)


@pytest.mark.parametrize(("case", "name"), PAIRS)
def test_the_daemons_own_checker_is_content(case: str, name: str) -> None:
    """The checker of the service ends with 0 in a network that has the interfaces of the case."""
    spec = registry.service(name)
    assert spec.checker is not None
    require("ip", _program(spec.checker))
    with rack_directory() as root:
        intent = at(load(case), root)
        base = install(spec, intent)
        with network_of(intent, f"mg-{os.getpid()}") as inside:
            done = check(spec, base, inside)

    assert 0 == done.returncode, done.stdout + done.stderr


def test_kea_reads_hosts_from_the_included_file_and_needs_it() -> None:
    """Kea takes comma separated objects from the included file, refuses a wrong one and refuses its absence."""
    require("ip", "kea-dhcp4")
    spec = registry.service("kea4")
    answers = {}
    with rack_directory() as root:
        intent = at(load("lab"), root)
        base = install(spec, intent)
        hosts = Path(hosts_path(intent, "kea4", 1))
        good = '{"hw-address": "52:54:00:00:00:01", "ip-address": "10.20.0.10"}'
        with network_of(intent, f"mh-{os.getpid()}") as inside:
            for name, text in {
                "two": f"{good},\n{good.replace('01', '02').replace('.10', '.11')}\n",
                "garbage": "{,",
            }.items():
                hosts.write_text(text)
                answers[name] = check(spec, base, inside).returncode == 0
            hosts.unlink()
            answers["absent"] = check(spec, base, inside).returncode == 0

    assert {"two": True, "garbage": False, "absent": False} == answers


def test_kea_starts_without_its_lease_hook_and_refuses_one_that_is_not_there() -> None:
    """No library named is good; a library that is named and missing is found before it comes near the daemon."""
    require("ip", "kea-dhcp4")
    spec = registry.service("kea4")
    answers = {}
    for hook in ("", "/nonexistent/libdhcp_lease_cmds.so"):
        with rack_directory() as root:
            intent = at(load("lab"), root)
            intent = replace(intent, layout=replace(intent.layout, kea_lease_hook=hook))
            base = install(spec, intent)
            with network_of(intent, f"ml-{os.getpid()}") as inside:
                answers[hook] = check(spec, base, inside).returncode == 0

    assert {"": True, "/nonexistent/libdhcp_lease_cmds.so": False} == answers


def test_every_option_of_the_catalogue_is_one_that_the_servers_take() -> None:
    """Kea takes each as bytes and dhcpd by its own name, with a value of its kind."""
    require("kea-dhcp4", "kea-dhcp6", "dhcpd")
    samples = {
        "ip": "10.0.0.1", "ips": "10.0.0.1, 10.0.0.2", "ip6s": "2001:db8::1", "int32": "-1", "uint8": "7",
        "uint16": "700", "uint32": "70000", "uint16s": "700 800", "flag": "on", "text": "a, b", "name": "a.example",
        "names": "a.example b.example", "pairs": "10.0.0.0 10.0.0.1", "routes": "10.0.0.0/8 via 10.1.1.1",
        "bytes": "0x0102",
    }  # fmt: skip
    # Enterprise number, length, data (RFC 3925).
    samples |= {"vivco-suboptions": "0x00000009020102", "vivso-suboptions": "0x0000000903010102"}
    options = [
        parse_line(f"{entry.name} {samples.get(entry.name, samples[entry.kind])}", "machine")
        for entry in CATALOGUE.values()
    ]
    answers = {}
    with rack_directory() as root:
        for family in (4, 6):
            mine = [option for option in options if option.family == family]
            servers = {
                f"kea-dhcp{family}": json.dumps({
                    f"Dhcp{family}": {
                        "interfaces-config": {"interfaces": []},
                        "lease-database": {"type": "memfile", "persist": False},
                        "option-data": [kea_options.of(option) for option in mine],
                    }
                }),
                "dhcpd": "\n".join([*dhcpd_form.definitions(mine), *map(dhcpd_form.statement, mine)]),
            }  # fmt: skip
            for program, text in servers.items():
                path = Path(root, f"{program}-{family}.conf")
                path.write_text(text)
                argv = [program, f"-{family}", "-t", "-cf", path] if program == "dhcpd" else [program, "-t", path]
                environment = {**os.environ, "KEA_LOCKFILE_DIR": "none"}
                done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60, env=environment)
                answers[program, family] = (done.returncode, done.stdout[-500:] + done.stderr[-500:])

    assert {0} == {code for code, _ in answers.values()}, answers
