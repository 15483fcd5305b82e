"""apt itself, over source files as installed systems get them: it takes what our key has signed, and nothing else."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from renderers.boot import apt
from tests.daemons.requires import require
from tests.golden.boot.texts import MIRROR_KEY


class Quiet(SimpleHTTPRequestHandler):
    """A mirror that keeps no log."""

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def mirror() -> Iterator[tuple[str, str]]:
    """A signed mirror of one empty release on loopback: its URL and its armored key."""
    require("apt-get", "gpg", "gpgv")
    with tempfile.TemporaryDirectory(prefix="muster-apt-") as home:
        environment = {**os.environ, "GNUPGHOME": home}
        gpg = ["gpg", "--batch", "--quiet", "--yes", "--passphrase", "", "--pinentry-mode", "loopback"]
        run = partial(subprocess.run, env=environment, check=True, capture_output=True, timeout=60)
        run([*gpg, "--quick-gen-key", "A mirror", "ed25519", "sign", "never"])
        key = run([*gpg, "--armor", "--export"]).stdout.decode()
        for suite in ("bookworm", "bookworm-updates"):
            folder = Path(home, "web/debian/dists", suite)
            (folder / "main/binary-amd64").mkdir(parents=True)
            (folder / "main/binary-amd64/Packages").touch()
            digest = hashlib.sha256(b"").hexdigest()
            release = f"Suite: {suite}\nCodename: {suite}\nArchitectures: amd64\nComponents: main\n"
            release += "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
            (folder / "Release").write_text(f"{release} {digest} 0 main/binary-amd64/Packages\n")
            run([*gpg, "--clearsign", "--output", str(folder / "InRelease"), str(folder / "Release")])
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(Path(home, "web"))))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/debian", key
        finally:
            server.shutdown()
            server.server_close()
            subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, timeout=20)


def update(root: Path, repository: apt.Repository) -> tuple[int, str, list[str]]:
    """`apt-get update` with the repository's file and nothing else: exit code, what it says, the lists it has."""
    for name in ("parts", "lists/partial", "cache/archives/partial"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for path, text in apt.files((repository,), "bookworm", "amd64").items():
        (root / "parts" / Path(path).name).write_text(text)
    options = {
        "Dir::Etc::SourceList": "/dev/null", "Dir::Etc::SourceParts": root / "parts", "Dir::State::Lists": root / "lists",
        "Dir::Cache": root / "cache", "APT::Architecture": "amd64", "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root", "Acquire::Languages": "none", "Acquire::http::Proxy": "false",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    done = subprocess.run(["apt-get", *words, "--error-on=any", "update"], capture_output=True, text=True, timeout=60)
    lists = sorted(path.name for path in (root / "lists").iterdir() if path.is_file() and path.name != "lock")
    return done.returncode, done.stdout + done.stderr, lists


@pytest.mark.parametrize("main", [True, False])
def test_apt_takes_what_the_key_has_signed(mirror: tuple[str, str], tmp_path: Path, main: bool) -> None:
    """A main repository's two suites and an additional one's single suite are read, with the key in the file."""
    url, key = mirror
    code, said, lists = update(tmp_path, apt.Repository("mine", url, main=main, key=key))

    assert 0 == code, said
    suites = {name.split("_dists_")[1].split("_")[0] for name in lists}
    assert ({"bookworm", "bookworm-updates"} if main else {"bookworm"}) == suites


@pytest.mark.parametrize("key", [MIRROR_KEY, ""])
def test_apt_refuses_what_another_key_has_signed(mirror: tuple[str, str], tmp_path: Path, key: str) -> None:
    """Somebody else's key, and no key at all, are not enough: apt says so and keeps nothing."""
    code, said, lists = update(tmp_path, apt.Repository("mine", mirror[0], key=key))

    assert code != 0
    assert "NO_PUBKEY" in said or "is not signed" in said, said
    assert [] == [name for name in lists if name.endswith("Release")]
