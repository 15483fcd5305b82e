"""Write the expected files of all golden cases anew; read the difference before you commit it."""

import shutil

from tests.golden.case import ROOT, cases, rendered_outputs


def rewrite() -> None:
    """Replace the folder `expected` of every case."""
    for case in cases():
        folder = ROOT / case / "expected"
        shutil.rmtree(folder, ignore_errors=True)
        for name, text in rendered_outputs(case).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


if __name__ == "__main__":
    rewrite()
