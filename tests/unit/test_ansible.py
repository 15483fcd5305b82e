"""`ansible/`: it knows each setting of the product, and has no second list of what the product knows itself."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import config
from lab import install
from renderers import registry
from workers.rack import __main__ as muster_rack

ROLES = Path(__file__).resolve().parents[2] / "ansible" / "roles"
OURS = re.compile(r"\b((?:muster|rack|control_plane)_[a-z0-9_]+)\b(?![\w./(-])")
UNITS = re.compile(r"(?:/lib/systemd/system/|/etc/init\.d/)([a-z0-9-]+)(?:\.service)?$")
BUILT_IN = {"control_plane"}
ELSEWHERE = {"MUSTER_BROKER_CERT", "MUSTER_BROKER_KEY", "MUSTER_BROKER_RACK_URL"}
"""For a Redis that the role has not made; `muster_settings` takes them."""
BESIDE = {"chrony", "chrony-wait", "rsyslog", "postgresql", "named-resolvconf"}
"""Units of Debian's that get along with a rack's own daemons; `renderers/spec.py` says why."""


def _documents(role: str) -> list[Any]:
    return [yaml.safe_load(path.read_text()) for path in sorted((ROLES / role).glob("*/*.yml"))]


def _tasks(value: Any) -> list[dict[str, Any]]:
    """All tasks and handlers, those in blocks too."""
    if isinstance(value, list):
        return [task for item in value for task in _tasks(item)]
    if isinstance(value, dict):
        inner = [task for part in ("block", "always", "rescue") for task in _tasks(value.get(part, []))]
        return [value, *inner]
    return []


def _all_tasks() -> list[dict[str, Any]]:
    found = [path for part in ("tasks", "handlers") for path in sorted(ROLES.glob(f"*/{part}/*.yml"))]
    return [task for path in found for task in _tasks(yaml.safe_load(path.read_text()))]


def test_every_setting_is_written() -> None:
    """What app/config.py reads is what roles/control_plane writes."""
    read = set(re.findall(r"(?:^|, )(MUSTER_\w+)", config.__doc__ or "", re.MULTILINE))
    redis = yaml.safe_load((ROLES / "control_plane/vars/main.yml").read_text())["muster_redis_settings"]
    template = (ROLES / "control_plane/templates/muster.env.j2").read_text()

    assert read == {*re.findall(r"'(MUSTER_\w+)'", template), *redis, *ELSEWHERE}


@pytest.mark.parametrize("role", ["muster_software", "control_plane", "rack_host"])
def test_every_variable_has_a_default(role: str) -> None:
    """An operator finds every variable that a role uses in the defaults of one of them."""
    shared = ROLES / "muster_software/defaults/main.yml"
    known = {*yaml.safe_load(shared.read_text()), *yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())}
    if (ROLES / role / "vars/main.yml").exists():
        known |= set(yaml.safe_load((ROLES / role / "vars/main.yml").read_text()))
    used: set[str] = set()
    for path in [*(ROLES / role).glob("tasks/*.yml"), *(ROLES / role).glob("templates/*.j2")]:
        text = path.read_text()
        used |= {word for part in re.findall(r"\{\{.*?\}\}|\{%.*?%\}", text, re.DOTALL) for word in OURS.findall(part)}
        known |= set(re.findall(r"register: (\w+)", text))
    for task in _all_tasks():
        known |= set(task.get("vars", {})) | set(task.get("ansible.builtin.set_fact", {}))

    assert set() == used - known - BUILT_IN


def test_the_product_says_what_a_rack_host_needs(capsys: pytest.CaptureFixture[str]) -> None:
    """`muster-rack packages` names each service with its packages and the units that must not run, and is all that is asked."""
    assert 0 == muster_rack.main(["packages"])

    said = json.loads(capsys.readouterr().out)
    role = "".join(path.read_text() for path in (ROLES / "rack_host").glob("*/*"))

    assert {
        spec.name: {"packages": [*spec.packages], "units": [*spec.rival_units]} for spec in registry.services()
    } == said
    assert [] == [name for service in said.values() for name in service["packages"] if f"[{name}" in role]


def test_units_of_debians_packages_are_known() -> None:
    """What a package of a service would start by itself is a rival unit, or gets along with ours."""
    if shutil.which("dpkg-query") is None:
        pytest.skip("not a Debian")
    for spec in registry.services():
        shown = subprocess.run(["dpkg-query", "-L", *spec.packages], capture_output=True, text=True, check=False)
        units = {match[1] for line in shown.stdout.splitlines() if (match := UNITS.search(line))}

        assert set() == units - BESIDE - {unit.removesuffix(".service") for unit in spec.rival_units}, spec.name


def test_what_builds_images_is_installed() -> None:
    """The control plane's host gets what the lab needs for the same."""
    defaults = yaml.safe_load((ROLES / "control_plane/defaults/main.yml").read_text())

    assert [*install.WHY["boot images"]] == defaults["muster_image_packages"]


def test_only_modules_of_ansible_itself() -> None:
    """ansible-core is all that an operator needs."""
    words = {"when", "block", "always", "rescue", "vars", "register", "loop", "notify"}
    for task in _all_tasks():
        modules = [name for name in task if "." in name]

        assert all(name.startswith("ansible.builtin.") for name in modules), task
        assert modules or words & set(task), task
        assert "ansible.builtin.shell" not in modules, task


def test_secrets_are_logged_nowhere() -> None:
    """Tasks that see a password, a code, a token or a key have no_log."""
    secret = re.compile(
        r"password\b.*regex|rack code|muster_api_token \}|rack_host_code\w*\.|muster\.env\.j2|muster_tls_key"
    )
    seen = [task for task in _all_tasks() if "block" not in task and secret.search(json.dumps(task))]

    assert len(seen) >= 6
    assert [] == [task["name"] for task in seen if not task.get("no_log")]
