"""The cache: complete or absent, whatever happens to it and however many processes compile at once."""

from __future__ import annotations

import multiprocessing
import os
import stat
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
import small_robot

from training_ground.assets import cache
from training_ground.assets.compiler import compile_spec
from training_ground.configs.errors import AssetError


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def slow_build(folder: Path) -> None:
    with (folder.parent / "builds.log").open("a") as log:
        log.write("built\n")
    for number in range(20):
        (folder / f"{number}.txt").write_text(f"part {number}" * 100)
        time.sleep(0.002)


def obtain_and_read(folder: str, barrier) -> int:
    barrier.wait(30)
    found = cache.obtain(Path(folder), slow_build)
    return sum((found / f"{number}.txt").stat().st_size for number in range(20))


def leftovers(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".*")]


def test_processes_that_build_at_once_share_one_complete_result(root: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(3) as pool:
        barrier = manager.Barrier(3)
        sizes = pool.starmap(obtain_and_read, [(str(root / "entry"), barrier)] * 3)
    assert len(set(sizes)) == 1
    assert (root / "builds.log").read_text() == "built\n"
    assert cache.is_intact(root / "entry")
    assert leftovers(root) == []


def test_an_interrupted_build_leaves_nothing(root: Path) -> None:
    def build(folder: Path) -> None:
        slow_build(folder)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.obtain(root / "entry", build)
    assert not (root / "entry").exists()
    assert leftovers(root) == []


def test_a_slower_process_keeps_the_first_result(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock, as on a file system that has none."""
    monkeypatch.setattr(cache, "_turn", lambda _: nullcontext())

    def build(folder: Path) -> None:
        cache.obtain(root / "entry", slow_build)
        (folder / "mine.txt").write_text("late")

    cache.obtain(root / "entry", build)
    assert not (root / "entry" / "mine.txt").exists()


@pytest.mark.parametrize("damage", ["robot.urdf", "model.json", "manifest.json", "missing"])
def test_a_damaged_entry_is_rebuilt(tmp_path: Path, damage: str) -> None:
    spec = small_robot.spec(small_robot.write_urdf(tmp_path))
    model = compile_spec(spec)
    before = model.urdf.read_bytes()
    if damage == "missing":
        model.urdf.unlink()
    else:
        (model.directory / damage).write_bytes(b"{}")
    again = compile_spec(spec)
    assert again.directory == model.directory
    assert again.urdf.read_bytes() == before
    assert cache.is_intact(again.directory)


def test_a_warm_load_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = small_robot.spec(small_robot.write_urdf(tmp_path))
    model = compile_spec(spec)
    monkeypatch.setattr("training_ground.assets.building.build_model", lambda *_: pytest.fail("compiled again"))
    assert compile_spec(spec).hash == model.hash


def test_a_changed_mesh_is_seen(tmp_path: Path) -> None:
    def tetrahedron(size: float) -> str:
        return f"v 0 0 0\nv {size} 0 0\nv 0 {size} 0\nv 0 0 {size}\nf 1 3 2\nf 1 2 4\nf 1 4 3\nf 2 3 4\n"

    mesh = tmp_path / "foot.obj"
    mesh.write_text(tetrahedron(0.10))
    urdf = small_robot.write_urdf(tmp_path, ('<box size="0.2 0.1 0.04"/>', '<mesh filename="foot.obj"/>'))
    first = compile_spec(small_robot.spec(urdf))
    mesh.write_text(tetrahedron(0.15))
    os.utime(mesh, ns=(1, 1))
    second = compile_spec(small_robot.spec(urdf))
    assert first.hash != second.hash
    mesh.write_text(tetrahedron(0.10))
    assert compile_spec(small_robot.spec(urdf)).hash == first.hash


def test_a_damaged_index_is_harmless(tmp_path: Path, root: Path) -> None:
    spec = small_robot.spec(small_robot.write_urdf(tmp_path))
    model = compile_spec(spec)
    for entry in (root / "index").iterdir():
        entry.write_text("nonsense")
    assert compile_spec(spec).hash == model.hash


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("TG_CACHE", str(blocked))
    with pytest.raises(AssetError, match=r"cache .*file.*set TG_CACHE"):
        compile_spec(small_robot.spec(small_robot.write_urdf(tmp_path)))


def test_entries_can_be_read_by_others(tmp_path: Path) -> None:
    model = compile_spec(small_robot.spec(small_robot.write_urdf(tmp_path)))
    assert stat.S_IMODE(model.directory.stat().st_mode) & 0o055 == 0o055
