"""Error texts of the image builder, and its changes to unpacked roots."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from workers.region.images import __main__, build, trees
from workers.region.images.commands import BuildError, Commands, failure

Usage = namedtuple("Usage", "total used free")


def test_failure_names_command_and_tail() -> None:
    """The text has the command, the exit code, the log and only the last lines."""
    output = "\n".join(f"line {number}" for number in range(100))
    text = failure(["mksquashfs", "a b"], 2, output, "/logs/squashfs.log")

    assert text.startswith(
        "`mksquashfs 'a b'` failed with exit code 2. The whole output is in /logs/squashfs.log; it ends:"
    )
    assert text.endswith("\n  line 99")
    assert "line 74\n" not in text


def test_failure_by_signal() -> None:
    """A killed program is not said to have failed by itself."""
    assert failure(["tar"], -9, "", "x.log") == (
        "`tar` was killed by signal 9. The whole output is in x.log; it ends:\n  (it said nothing)"
    )


def test_stopped_commands_start_nothing(tmp_path: Path) -> None:
    """After a stop no further program is started."""
    commands = Commands(tmp_path)
    commands.stop()
    with pytest.raises(BuildError, match="`true` was not started because the build ended"):
        commands.run("step", ["true"])


def test_root_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without root the remedy is named."""
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(BuildError, match=r"needs root, .*use sudo"):
        build.check_host(tmp_path)


def test_missing_programs_are_named_by_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said as the command that installs it."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    present = {"zstd", "tar", "apt-get", "unshare"}
    monkeypatch.setattr(shutil, "which", lambda name: name if name in present else None)
    with pytest.raises(BuildError, match=r"apt-get install mmdebstrap squashfs-tools$"):
        build.check_host(tmp_path)


def test_short_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little space is refused before anything is downloaded."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 2**30))
    with pytest.raises(BuildError, match=r"1\.0 GiB free, a build needs 3 GiB; free some space"):
        build.check_host(tmp_path)


def test_verify_of_nothing_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify` exits 1 with one sentence when there is no image set."""
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    assert 1 == __main__.main(["verify", "--cache", str(tmp_path)])
    assert "manifest.json does not exist; build the images\n" in capsys.readouterr().err


def test_firmware_follows_modules(tmp_path: Path) -> None:
    """Firmware that a kept network module names stays, with the targets of links; all else goes."""
    modules = tmp_path / "usr/lib/modules/6.1/kernel"
    (modules / "drivers/net").mkdir(parents=True)
    (modules / "drivers/net/card.ko").write_bytes(
        b"\x7fELF\0license=GPL\0firmware=card/main.bin\0firmware=wild*.fw\0x=1\0"
    )
    (modules / "drivers/media").mkdir()
    (modules / "drivers/media/tv.ko").write_bytes(b"\0firmware=tv.bin\0")
    firmware = tmp_path / "usr/lib/firmware"
    for name in ("card/v2.bin", "card/v1.bin", "wild7.fw", "tv.bin"):
        (firmware / name).parent.mkdir(parents=True, exist_ok=True)
        (firmware / name).write_bytes(b"12345")
    (firmware / "card/main.bin").symlink_to("../card/v2.bin")
    names = trees.firmware_names(modules)

    assert {"card/main.bin", "wild*.fw"} == names
    assert 10 == trees.trim_firmware(tmp_path, names)
    left = {path.relative_to(firmware).as_posix() for path in firmware.rglob("*") if not path.is_dir()}
    assert {"card/main.bin", "card/v2.bin", "wild7.fw"} == left


def test_modules_that_are_left_out_stay_out(tmp_path: Path) -> None:
    """They are removed, and dpkg is told to install none of a later kernel either."""
    kernel = tmp_path / "usr/lib/modules/6.1/kernel"
    for name in ("sound/snd.ko", "drivers/media/usb/tv.ko", "drivers/media/cec/cec.ko"):
        (kernel / name).parent.mkdir(parents=True)
        (kernel / name).touch()
    (tmp_path / "etc/dpkg/dpkg.cfg.d").mkdir(parents=True)
    trees.leave_out_modules(tmp_path, "6.1", ("sound", "drivers/media/usb"))
    excluded = (tmp_path / "etc/dpkg/dpkg.cfg.d/muster-modules").read_text().splitlines()[1:]

    assert ["cec.ko"] == [path.name for path in kernel.rglob("*.ko")]
    assert [
        "path-exclude=/lib/modules/*/kernel/sound/*",
        "path-exclude=/lib/modules/*/kernel/drivers/media/usb/*",
    ] == excluded


def test_copied_scripts_are_executable(tmp_path: Path) -> None:
    """A file that begins with #! becomes a program, whatever its mode was in the source tree."""
    source, root = tmp_path / "source", tmp_path / "root"
    (source / "usr/lib").mkdir(parents=True)
    root.mkdir()
    (source / "usr/lib/run").write_text("#!/bin/sh\n")
    (source / "usr/lib/data").write_text("x\n")
    trees.copy_tree(source, root)

    assert 0o755 == (root / "usr/lib/run").stat().st_mode & 0o777
    assert 0o644 == (root / "usr/lib/data").stat().st_mode & 0o777


def test_remove_takes_links_to_nowhere(tmp_path: Path) -> None:
    """A dangling link is removed, a link to a directory loses only itself, and absence is no error."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "to-kept").symlink_to("kept")
    trees.remove(tmp_path, ("dangling", "to-*", "absent", "absent/*"))

    assert ["kept"] == [path.name for path in tmp_path.iterdir()]


def test_mounts_protect_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary tree with a mount in it is not removed, and the mount is named."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: f"proc {work}/root/proc proc rw 0 0\n")
    with pytest.raises(BuildError, match="work/root/proc; unmount them"):
        build._remove_tree(work)

    assert work.is_dir()
