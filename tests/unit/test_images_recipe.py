"""The image builder's recipe digest and the checks of its cache."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from workers.region.images import manifest
from workers.region.images.build import build
from workers.region.images.commands import BuildError
from workers.region.images.recipe import DEBIAN_12, TEMPLATES, Recipe


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A recipe of one small folder."""
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "unit.service").write_text("[Unit]\n")
    return Recipe(inputs=(folder,))


def make_cache(folder: Path, recipe: Recipe) -> manifest.Manifest:
    """An image set with small files and a true manifest."""
    folder.mkdir(parents=True)
    for name in manifest.KINDS:
        (folder / name).write_bytes(name.encode() * 10)
    made = manifest.Manifest(
        name=recipe.name,
        os=recipe.os,
        release=recipe.release,
        architecture=recipe.architecture,
        built_at="2026-01-01T00:00:00+00:00",
        recipe=recipe.digest(),
        files=manifest.describe(folder),
        firmware=("firmware-bnx2",),
    )
    made.write(folder)
    return made


def test_digest_is_stable(recipe: Recipe) -> None:
    """The same inputs give the same digest."""

    assert recipe.digest() == Recipe(inputs=recipe.inputs).digest()


@pytest.mark.parametrize("change", ["content", "new file", "new name", "release"])
def test_digest_changes(recipe: Recipe, change: str) -> None:
    """Any change of what would be built changes the digest."""
    before = recipe.digest()
    folder = recipe.inputs[0]
    if change == "content":
        (folder / "unit.service").write_text("[Unit]\nDescription=x\n")
    elif change == "new file":
        (folder / "more").write_text("")
    elif change == "new name":
        (folder / "unit.service").rename(folder / "other.service")
    else:
        recipe = replace(recipe, codename="trixie")

    assert before != recipe.digest()


def test_compiled_python_is_no_input(recipe: Recipe) -> None:
    """Running the builder does not make its own cache stale."""
    before = recipe.digest()
    (recipe.inputs[0] / "__pycache__").mkdir()
    (recipe.inputs[0] / "__pycache__" / "build.pyc").write_bytes(b"x")

    assert before == recipe.digest()


def test_templates_are_inputs() -> None:
    """The shipped recipe covers the files that go into the images."""
    assert TEMPLATES in DEBIAN_12.inputs

    assert (TEMPLATES / "ephemeral/etc/initramfs-tools/scripts/muster").is_file()


def test_manifest_survives_writing(tmp_path: Path, recipe: Recipe) -> None:
    """What is written is read back the same."""
    made = make_cache(tmp_path / "set", recipe)

    assert made == manifest.read(tmp_path / "set")


def test_good_cache_is_not_built(tmp_path: Path, recipe: Recipe) -> None:
    """With recipe and files in agreement a build returns the manifest at once."""
    made = make_cache(tmp_path / recipe.name, recipe)
    said: list[str] = []

    assert made == build(recipe, tmp_path, said.append)
    assert [] == said


def damage(folder: Path, how: str) -> str:
    """Spoil an image set; returns what the reason must name."""
    if how == "digest":
        content = (folder / "initrd").read_bytes()
        (folder / "initrd").write_bytes(b"X" + content[1:])
        return "initrd has SHA-256"
    if how == "size":
        with (folder / "vmlinuz").open("ab") as file:
            file.write(b"more")
        return "vmlinuz has 74 bytes, its manifest says 70"
    if how == "missing":
        (folder / "root.squashfs").unlink()
        return "root.squashfs is missing"
    data = json.loads((folder / "manifest.json").read_text())
    if how == "recipe":
        data["recipe"] = "0" * 64
        (folder / "manifest.json").write_text(json.dumps(data))
        return "was built from recipe 000000000000"
    if how == "not listed":
        data["files"] = data["files"][:3]
        (folder / "manifest.json").write_text(json.dumps(data))
        return "does not list rootfs.tar.zst"
    (folder / "manifest.json").write_text("{")
    return "cannot be read as a manifest"


@pytest.mark.parametrize("how", ["digest", "size", "missing", "recipe", "not listed", "broken"])
def test_damage_causes_a_rebuild(tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A cache that differs from its manifest or recipe is built again, and the reason is said first."""
    make_cache(tmp_path / recipe.name, recipe)
    reason = damage(tmp_path / recipe.name, how)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    said: list[str] = []
    with pytest.raises(BuildError, match="building images needs root"):
        build(recipe, tmp_path, said.append)

    assert 1 == len(said)
    assert reason in said[0]


def test_no_cache_is_a_reason(tmp_path: Path, recipe: Recipe) -> None:
    """Verifying nothing says what to do."""
    with pytest.raises(manifest.ManifestError, match=r"manifest.json does not exist; build the images"):
        manifest.verify(tmp_path / recipe.name, recipe.digest())
