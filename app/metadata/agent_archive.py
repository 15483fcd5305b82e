"""The agent as a zipapp: `app/agent` under `agent/`, and a main module at the root. Reproducible: fixed times and order.

Beside each module is its bytecode, so that no machine compiles at every boot what is the same for all.  A Python of another
version than ours passes over it and takes the source (zipimport).
"""

from __future__ import annotations

import io
import py_compile
import tempfile
import zipfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent / "agent"
MAIN = "from agent.main import main\n\nraise SystemExit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)


@cache
def archive() -> bytes:
    """The archive's bytes, made once in a process."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr(zipfile.ZipInfo("__main__.py", EPOCH), MAIN, zipfile.ZIP_DEFLATED)
        for path in sorted(SOURCE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                name = f"agent/{path.relative_to(SOURCE).as_posix()}"
                bundle.writestr(zipfile.ZipInfo(name, EPOCH), path.read_bytes(), zipfile.ZIP_DEFLATED)
                if path.suffix == ".py":
                    bundle.writestr(zipfile.ZipInfo(f"{name}c", EPOCH), _bytecode(path, name), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _bytecode(path: Path, name: str) -> bytes:
    """A module compiled (PEP 552: unchecked, as an archive's files are of one making), with `name` in its tracebacks."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made.pyc")
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(path), str(made), dfile=name, doraise=True, invalidation_mode=mode)
        return made.read_bytes()
