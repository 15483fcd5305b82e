"""Reading the host's apt sources for the image builder."""

from pathlib import Path

import pytest

from workers.region.images.commands import BuildError
from workers.region.images.sources import AptSource, keyring_paths, read_sources, render

DEB822 = """\
# The main archive.
Types: deb deb-src
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates bookworm-backports
# A remark between fields.
Components: main contrib
Signed-By: /usr/share/keyrings/test.gpg

Types: deb
URIs: http://mirror.test/security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.test/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.test/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://newer.test/debian
Suites: trixie
Components: main
"""


def apt(tmp_path: Path, **files: str) -> Path:
    """An apt directory; `list_` is sources.list, others are files of sources.list.d."""
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        path = tmp_path / "sources.list" if name == "list_" else tmp_path / "sources.list.d" / name.replace("_", ".")
        path.write_text(text)
    return tmp_path


def test_deb822(tmp_path: Path) -> None:
    """Enabled binary entries of the release are kept, without backports, and with their keyring."""
    expected = (
        AptSource(("http://mirror.test/debian",), ("bookworm", "bookworm-updates"), "/usr/share/keyrings/test.gpg"),
        AptSource(("http://mirror.test/security",), ("bookworm-security",)),
    )

    assert expected == read_sources(apt(tmp_path, a_sources=DEB822), "bookworm")


def test_one_line(tmp_path: Path) -> None:
    """Lines of sources.list are read with their options; comments, sources and other releases are not."""
    text = (
        "# deb http://commented.test/debian bookworm main\n"
        "deb [arch=amd64 signed-by=/k/a.gpg,/k/b.gpg] http://mirror.test/debian bookworm main contrib # remark\n"
        "deb-src http://mirror.test/debian bookworm main\n"
        "deb http://mirror.test/debian trixie main\n"
        "deb http://vendor.test/tool bookworm stable\n"
    )
    expected = (AptSource(("http://mirror.test/debian",), ("bookworm",), "/k/a.gpg /k/b.gpg"),)
    found = read_sources(apt(tmp_path, list_=text), "bookworm")

    assert expected == found
    assert (Path("/k/a.gpg"), Path("/k/b.gpg")) == keyring_paths(found)


def test_disabled_files_are_passed_over(tmp_path: Path) -> None:
    """Only names that apt itself would read count, and doubled entries count once."""
    line = "deb http://mirror.test/debian bookworm main\n"
    directory = apt(tmp_path, list_=line, again_list=line, old_disabled="deb http://old.test/debian bookworm main\n")

    assert (AptSource(("http://mirror.test/debian",), ("bookworm",)),) == read_sources(directory, "bookworm")


def test_embedded_key_survives(tmp_path: Path) -> None:
    """A key inside a stanza is rendered with its indented lines, as deb822 needs them."""
    key = "\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abcd\n -----END PGP PUBLIC KEY BLOCK-----"
    text = f"Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main\nSigned-By:{key}\n"
    found = read_sources(apt(tmp_path, a_sources=text), "bookworm")
    expected = f"Types: deb\nURIs: http://m.test/debian\nSuites: bookworm\nComponents: main non-free-firmware\nSigned-By: {key}\n"

    assert expected == render(found, ("main", "non-free-firmware"))
    assert () == keyring_paths(found)


@pytest.mark.parametrize(
    "text", ["", "deb http://mirror.test/debian trixie main\n", "deb http://m.test/debian bookworm-updates main\n"]
)
def test_release_is_needed(tmp_path: Path, text: str) -> None:
    """Without the release itself the error names the directory, the suite and the remedy."""
    directory = apt(tmp_path, list_=text)
    with pytest.raises(BuildError) as caught:
        read_sources(directory, "bookworm")

    assert str(caught.value).startswith(
        f"{directory}: no enabled apt source has suite bookworm with component main; add"
    )


def test_password_is_refused_and_not_repeated(tmp_path: Path) -> None:
    """Credentials in a URI would reach every installed machine."""
    directory = apt(tmp_path, list_="deb https://joe:s3cret@mirror.test/debian bookworm main\n")
    with pytest.raises(BuildError, match=r"source on host mirror.test has credentials in its URI") as caught:
        read_sources(directory, "bookworm")

    assert "s3cret" not in str(caught.value)
