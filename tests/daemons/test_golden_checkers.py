"""Every golden output passes the checker of the daemon that has to live with it."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from renderers import registry
from renderers.kea import hosts_path
from tests.daemons.rack_root import at, check, install, network_of, rack_directory
from tests.daemons.requires import require
from tests.golden.case import cases, load

PAIRS = [(case, spec.name) for case in cases() for spec in registry.services() if spec.wanted(load(case))]


def _program(words: tuple[str, ...]) -> str:
    return next(word for word in words if word != "env" and "=" not in word)


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
