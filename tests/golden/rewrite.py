"""Write the expected files of all golden cases anew; read the difference before you commit it."""

import shutil
from pathlib import Path

from tests.golden.boot.texts import FOLDER, rendered_texts
from tests.golden.case import ROOT, cases, rendered_outputs


def rewrite() -> None:
    """Replace the folder `expected` of every case, and that of the texts for machines."""
    for case in cases():
        _replace(ROOT / case / "expected", rendered_outputs(case))
    _replace(FOLDER, rendered_texts())


def _replace(folder: Path, texts: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    rewrite()
