"""The agent runs on a bare Python: an allow-list over its imports, and the zipapp as the control plane packs it."""

import ast
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

AGENT = Path(__file__).resolve().parents[2] / "app" / "agent"
SOURCES = sorted(AGENT.rglob("*.py"))


def foreign_imports(source: str, depth: int) -> list[str]:
    """What a module imports that is neither the standard library nor the agent; `depth` is 1 at the agent's root."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] not in sys.stdlib_module_names]
        elif isinstance(node, ast.ImportFrom):
            if node.level > depth:
                found.append("." * node.level + (node.module or ""))
            elif node.level == 0 and (node.module or "").split(".")[0] not in sys.stdlib_module_names:
                found.append(node.module or "")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(AGENT)))
def test_imports_only_the_standard_library_or_itself(path: Path) -> None:
    """No module of the agent needs anything that the ephemeral image's Python does not bring."""
    depth = len(path.relative_to(AGENT).parts)

    assert foreign_imports(path.read_text(), depth) == []


@pytest.mark.parametrize(
    "source", ["import requests", "from app.store import x", "from ... import store", "import os, yaml"]
)
def test_the_check_itself_sees_a_foreign_import(source: str) -> None:
    """Each way to import something foreign is found, so that the test above can fail."""
    assert len(foreign_imports(source, 2)) == 1


def test_nobody_else_imports_the_agent() -> None:
    """Outside its folder nothing imports it: the control plane only packs its files."""
    root = AGENT.parents[1]
    users = []
    for folder in ("app", "workers", "renderers"):
        for path in (root / folder).rglob("*.py"):
            if AGENT in path.parents:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
                if any(name.startswith("app.agent") for name in [*names, module]):
                    users.append(str(path))

    assert users == []


def test_runs_as_a_zipapp(tmp_path: Path) -> None:
    """Packed under `agent/` with the documented `__main__.py` it starts and finds its scripts."""
    archive = tmp_path / "agent.pyz"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in SOURCES:
            packed.write(path, f"agent/{path.relative_to(AGENT)}")
        packed.writestr("__main__.py", "from agent.main import main\nraise SystemExit(main())\n")
    run = subprocess.run([sys.executable, "-I", archive], capture_output=True, text=True, check=False, timeout=60)
    known = subprocess.run(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys, json; sys.path.insert(0, {str(archive)!r})\n"
            "from agent import inventory; print(json.dumps([n for n in inventory.known() if inventory.find(n)]))",
        ],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert run.returncode == 2
    assert "muster.url (the address of the control plane) is missing" in run.stdout
    assert json.loads(known.stdout) == ["bmc", "cpu", "disks", "firmware", "lldp", "lshw", "memory", "nics", "pci"]
