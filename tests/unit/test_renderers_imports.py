"""Renderers are pure: an allow-list of what they may import and call, read from their source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "renderers"
ALLOWED = {
    *(
        "__future__",
        "base64",
        "collections",
        "dataclasses",
        "difflib",
        "functools",
        "hashlib",
        "ipaddress",
        "json",
        "re",
        "types",
        "typing",
    ),
    *("jinja2", "renderers"),
}
ALSO = {"text.py": {"pathlib"}, "registry.py": {"importlib", "pkgutil"}}
"""text.py names the folder of templates; registry.py finds the services."""
FORBIDDEN_CALLS = {"open", "eval", "exec", "compile", "__import__", "input", "print", "id", "hash", "globals", "vars"}
FORBIDDEN_METHODS = {
    "read_text",
    "write_text",
    "read_bytes",
    "write_bytes",
    "unlink",
    "mkdir",
    "now",
    "today",
    "getenv",
}
FILES = sorted(ROOT.rglob("*.py"))


def _imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("renderers" if node.level else (node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_renderer_imports_and_calls_nothing_impure(path: Path) -> None:
    """Nothing outside the allow-list is imported, and nothing that reads the outside world is called."""
    tree = ast.parse(path.read_text())
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    named = {call.id for call in calls if isinstance(call, ast.Name)}
    methods = {call.attr for call in calls if isinstance(call, ast.Attribute)}

    assert set() == _imports(tree) - ALLOWED - ALSO.get(path.name, set())
    assert (set(), set()) == (named & FORBIDDEN_CALLS, methods & FORBIDDEN_METHODS)


def test_the_allow_list_sees_imports_inside_functions() -> None:
    """An import that hides in a function is found too."""
    assert {"os", "time"} == _imports(ast.parse("def f():\n    import os.path\n    from time import time\n"))


def test_services_are_found() -> None:
    """The list of files is not empty by mistake."""
    assert {"kea4.py", "squid.py", "plan.py", "ipxe.py"} <= {path.name for path in FILES}
