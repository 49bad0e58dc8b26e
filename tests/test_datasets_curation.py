"""Merge, copy, remove, restore: nothing is lost, wherever it is killed, and what is known goes along."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import fake_env
import pytest
import test_datasets_video as pictures

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import about as about_it
from training_ground.datasets import files, media, trash
from training_ground.datasets.curation import make, plan_copy, plan_merge
from training_ground.datasets.episode_file import Episode
from training_ground.datasets.lineage import places_of, read_lineage
from training_ground.datasets.store import Store


def record(path: Path, seeds: Any, **options: Any) -> Store:
    return fake_env.record(path, seeds, steps=8, **options)


def annotate(store: Store, name: str, *records: dict[str, Any]) -> None:
    (store.path / "annotations").mkdir(exist_ok=True)
    (store.path / "annotations" / name).write_text(json.dumps({"schema_version": 1, "records": records}))


def about(store: Store, number: int, value: Any) -> dict[str, Any]:
    return {"episode": number, "content_sha256": store.metadata(number).content_sha256, "value": value}


def content(store: Store) -> dict[int, str]:
    return {number: store.read(number).metadata.content_sha256 for number in store.episodes()}


def tree(path: Path) -> dict[str, bytes]:
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return record(tmp_path / "first", [0, 2, 4])


# ---- merge and copy --------------------------------------------------------------------------------------------------


def test_merge_keeps_twins_once_and_what_was_said_of_them(store: Store, tmp_path: Path) -> None:
    second = record(tmp_path / "second", [6, 2, 8])
    drifting = record(tmp_path / "third", [4], drift=1e-9)
    annotate(store, "annotation_000000.json", about(store, 1, "a"), about(store, 0, "b") | {"content_sha256": "0" * 64})
    annotate(second, "annotation_000003.json", about(second, 1, "c"), about(second, 2, "d"))
    (second.path / "annotations" / "annotation_000004.json").write_text('{"records": 7}')
    (second.path / "annotations" / "notes.txt").write_text("x")
    for one, salt in ((store, 1), (second, 2)):
        (one.path / "splits").mkdir()
        (one.path / "splits" / "half.json").write_text(json.dumps({"salt": salt}))
    before = tree(second.path)
    plan = plan_merge([store, second, drifting])
    assert [(o.source, o.number, o.new) for o in plan.episodes] == [
        *((0, 0, 0), (0, 1, 1), (0, 2, 2)),
        *((1, 0, 3), (1, 2, 4), (2, 0, 5)),
    ]
    assert plan.duplicates == 1 and len(plan.conflicts) == 1
    assert "third episode 0: same environment, seed and policy as" in plan.conflicts[0]
    merged, notes = make(plan, tmp_path / "all")
    assert merged.verify().ok and list(content(merged).values()) == [o.content_sha256 for o in plan.episodes]
    assert merged.file(4).read_bytes() == second.file(2).read_bytes() and tree(second.path) == before
    said = [json.loads(p.read_text())["records"] for p in sorted((merged.path / "annotations").iterdir())]
    assert [[(r["episode"], r["value"]) for r in records] for records in said] == [[(1, "a")], [(1, "c"), (4, "d")]]
    for one in (record for records in said for record in records):
        assert one["content_sha256"] == merged.metadata(one["episode"]).content_sha256
    assert json.loads((merged.path / "splits" / "half.json").read_text()) == {"salt": 1}
    told = "\n".join(notes)
    for text in ("1 records left behind", "annotation_000004.json: left behind", "notes.txt", "another split"):
        assert text in told
    (made,) = read_lineage(merged.path)
    assert [(p.store, p.episode) for p in made.episodes[1].twins] == [("second", 1)]
    assert str(tmp_path) not in (merged.path / "lineage" / "lineage_000000.json").read_text()
    again, _ = make(plan_copy(merged, [4]), tmp_path / "one")
    places = places_of(again.path)[4, content(again)[4]]
    assert [(p.store, p.episode) for p in places] == [("all", 4), ("second", 2)]


def test_merge_refuses_what_does_not_fit_and_what_is_damaged(store: Store, tmp_path: Path) -> None:
    other = record(tmp_path / "other", [1], joints=("a", "b", "c"), model_hash="cd" * 32)
    with pytest.raises(DatasetError, match="joints: new here: a, b, c"):
        plan_merge([store, other])
    with pytest.raises(DatasetError, match="two or more different"):
        plan_merge([store, Store.open(tmp_path / "other" / ".." / "first")])
    second = record(tmp_path / "second", [6])
    plan = plan_merge([store, second])
    raw = bytearray(second.file(0).read_bytes())
    raw[1000] ^= 1
    second.file(0).write_bytes(raw)
    with pytest.raises(DatasetError, match=r"second.*is damaged"):
        make(plan, tmp_path / "all")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first", "other", "second"]
    with pytest.raises(DatasetError, match="exists already"):
        make(plan_copy(store), tmp_path / "other")


def test_same_values_told_differently_are_a_conflict(store: Store, tmp_path: Path) -> None:
    second = Store.create(tmp_path / "second", store.schema.model_copy(update={"instruction": "Sit."}))
    episode = store.read(1)
    second.append(Episode(episode.metadata.model_copy(update={"success": False}), episode.columns))
    plan = plan_merge([store, second])
    assert len(plan.episodes) == 3 and len(plan.conflicts) == 2
    assert "dataset.json: instruction are not as in" in plan.conflicts[0]
    assert "same values as" in plan.conflicts[1] and "other success; the first is kept" in plan.conflicts[1]


def test_copy_keeps_numbers_bytes_and_media(tmp_path: Path) -> None:
    store = pictures.record(tmp_path / "first", (4, 6, 8))
    (store.path / "manifest.json").write_text("{}")
    copied, notes = make(plan_copy(store, [0, 2]), tmp_path / "some")
    assert copied.episodes() == [0, 2] and copied.file(2).read_bytes() == store.file(2).read_bytes()
    assert {p.name for p in (copied.path / "media").iterdir()} == copied.media_names() < store.media_names()
    assert copied.verify().ok and len(notes) == 1 and "sign the new dataset" in notes[0]
    medium = store.path / "media" / store.metadata(1).media["camera_front"].name
    medium.write_bytes(bytes(medium.stat().st_size))
    with pytest.raises(DatasetError, match="not the file that its episode names"):
        make(plan_copy(store, [1]), tmp_path / "other")
    medium.unlink()  # an episode without its pictures would be no copy
    with pytest.raises(DatasetError, match=r"mkv: cannot be read: No such file"):
        make(plan_copy(store, [1]), tmp_path / "other")
    with pytest.raises(DatasetError, match="there is no episode 9"):
        plan_copy(store, [9])
    assert not (tmp_path / "other").exists()


def test_what_people_say_of_a_dataset_goes_along_where_all_say_the_same(store: Store, tmp_path: Path) -> None:
    second = record(tmp_path / "second", [6])
    about_it.update(store.path, licence="CC-BY-4.0", limits=["Three episodes."])
    copied, notes = make(plan_copy(store), tmp_path / "copy")
    assert about_it.read(copied.path) == about_it.read(store.path) and not notes
    merged, notes = make(plan_merge([store, second]), tmp_path / "merged")  # nobody said that the second is CC-BY
    assert about_it.read(merged.path) == about_it.About() and "do not say the same" in notes[0]
    (second.path / "about.json").write_text('{"licence": 7}')
    merged, notes = make(plan_merge([store, second]), tmp_path / "other")
    assert about_it.read(merged.path) == about_it.About() and "about.json: left behind" in notes[0]


# ---- remove, restore, purge ------------------------------------------------------------------------------------------


def test_removed_episodes_come_back_and_keep_their_numbers(store: Store) -> None:
    before, open_writer = tree(store.path), Store.open(store.path)
    episode = store.read(0)
    assert trash.remove(store, [2, 1, 2], "covered camera") == [1, 2]
    assert store.episodes() == [0] and [t.number for t in trash.trashed(store)] == [1, 2]
    assert trash.trashed(store)[0].reason == "covered camera"
    assert Store.open(store.path).append(episode) == 3 and open_writer.append(episode) == 4
    assert trash.restore(store) == [1, 2] and store.episodes() == [0, 1, 2, 3, 4]
    after = tree(store.path)
    assert {name: after[name] for name in before} == before and store.verify().ok
    assert [a.action for a in trash.actions(store)] == ["remove", "restore"]
    assert trash.actions(store)[0].episodes[0].content_sha256 == store.metadata(1).content_sha256


def test_purge_is_for_good_and_the_number_stays_taken(tmp_path: Path) -> None:
    store = pictures.record(tmp_path / "first", (4, 6, 8))
    episode = store.read(2)
    assert store.append(episode) == 3
    shared, alone = (store.path / "media" / store.metadata(n).media["camera_front"].name for n in (3, 0))
    trash.remove(store, [3])
    trash.purge(store)
    assert shared.exists()  # episode 2 needs it
    trash.remove(store, [2, 0])
    assert trash.purge(store, [2]) == [2] and not shared.exists() and alone.exists()
    assert [t.number for t in trash.trashed(store)] == [0] and trash.restore(store) == [0]
    assert store.verify().ok and Store.open(store.path).append(store.read(0)) == 4
    with pytest.raises(DatasetError, match="there is no episode 2"):
        trash.restore(store, [2])


def test_a_purge_takes_what_nobody_needs_and_leaves_what_a_writer_is_about_to_name(tmp_path: Path) -> None:
    store = pictures.record(tmp_path / "first", (4, 6))
    episode = store.read(1)
    orphan = store.path / "media" / f"{'0' * 64}.mkv"
    orphan.write_bytes(b"a purge was killed here")
    with media.published(store.path, store.schema, episode.columns, store.media_names) as placed:
        trash.remove(store, [0, 1])
        trash.purge(store)
        assert not orphan.exists() and {p.name for p in store.path.glob("media/*.mkv")} == {
            frames.media.name for frames in placed.values()
        }


def test_what_cannot_be_moved_is_refused_before_anything_moves(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="there is no episode 9; there are 3; nothing was changed"):
        trash.remove(store, [0, 9])
    assert not (store.path / "trash").exists() and len(store) == 3
    outside = tmp_path / "outside"
    outside.mkdir()
    (store.path / "trash").symlink_to(outside)
    with pytest.raises(DatasetError, match="must be a plain folder"):
        trash.remove(store, [0])
    (store.path / "trash").unlink()
    store.file(1).write_bytes(b"damaged")
    trash.remove(store, [1])
    assert trash.actions(store)[0].episodes[0].content_sha256 is None and store.verify().ok
    trash.restore(store)
    assert store.file(1).read_bytes() == b"damaged"


def test_without_hard_links_it_works_as_well(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    before = content(store)
    monkeypatch.setattr(files.os, "link", refuse)
    trash.remove(store, [0, 1])
    assert store.episodes() == [2]
    trash.restore(store)
    assert content(store) == before


# ---- killed ----------------------------------------------------------------------------------------------------------


def killed(operation: Callable[[], Any], at: int) -> bool:
    """Run something in a process that is killed before its at-th call of the system; return whether it was."""
    process = os.fork()
    if process == 0:
        calls = count(1)

        def dying(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if next(calls) == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return call

        for name in ("open", "write", "fsync", "link", "unlink", "rename", "mkdir", "scandir"):
            setattr(os, name, dying(getattr(os, name)))
        try:
            operation()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("action", ["remove", "restore", "purge"])
def test_killed_at_every_call_of_the_system_nothing_is_lost(store: Store, tmp_path: Path, action: str) -> None:
    before, chosen = content(store), [0, 2]
    raw = {number: store.file(number).read_bytes() for number in before}
    if action != "remove":
        trash.remove(store, chosen)
    act = {"remove": trash.remove, "restore": trash.restore, "purge": trash.purge}[action]
    at = 0
    for at in count(1):
        path = tmp_path / "trial"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(store.path, path)
        trial = Store(path, store.schema)
        if not killed(lambda: act(trial, chosen), at):  # noqa: B023
            break
        trial = Store.open(path)
        lying = {t.number for t in trash.trashed(trial)}
        there = {*trial.episodes(), *lying}
        if action == "purge":
            assert 1 in there
        else:
            assert there == set(before)
        # The same again finishes the work, and what was removed comes back to the bit.
        if action == "remove":
            trash.remove(trial, [n for n in chosen if n in trial.episodes()])
            assert trial.episodes() == [1] and [t.number for t in trash.trashed(trial)] == chosen
        if action == "purge":
            trash.purge(trial)
            assert trial.episodes() == [1] and not trash.trashed(trial)
            assert next(trial._free_names()) == "episode_000003.parquet"
        else:
            trash.restore(trial)
            assert {n: trial.file(n).read_bytes() for n in trial.episodes()} == raw and not trash.trashed(trial)
        assert not list(path.rglob(".tmp-*")) or action == "purge"
    assert at > 12


def test_a_merge_that_is_killed_leaves_no_dataset_behind(store: Store, tmp_path: Path) -> None:
    second = record(tmp_path / "second", [6])
    before = tree(store.path), tree(second.path)
    plan, out = plan_merge([store, second]), tmp_path / "all"
    nothing = whole = 0
    for at in count(1, 3):
        died = killed(lambda: make(plan, out), at)
        assert out.exists() or died
        if out.exists():
            assert Store.open(out).verify().ok and len(Store.open(out)) == 4
            assert len(read_lineage(out)[0].episodes) == 4
            shutil.rmtree(out)
            whole += 1
        else:
            nothing += 1
        if not died:
            break
    make(plan, out)
    assert nothing > 2 and whole > 0 and (tree(store.path), tree(second.path)) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all", "first", "second"]  # no leftovers either


# ---- the command line ------------------------------------------------------------------------------------------------


def test_verbs_say_first_and_do_with_yes(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*arguments: str, status: int = 0) -> Any:
        assert main(["data", *arguments, "--json"]) == status
        said = capsys.readouterr()
        return json.loads(said.out) if status == 0 else said.err

    second, path, out = record(tmp_path / "second", [2, 6]), str(store.path), str(tmp_path / "all")
    before = tree(store.path)
    for yes in ((), ("--yes",)):
        data = run("merge", path, str(second.path), "--out", out, *yes)
        assert data["done"] == bool(yes) == Path(out).exists() and data["duplicates"] == 1
    assert len(data["episodes"]) == len(Store.open(out)) == 4 and tree(store.path) == before
    data = run("copy", out, "--episode", "2-9", "--out", str(tmp_path / "some"), "--yes")
    assert [one["episode"] for one in data["episodes"]] == [2, 3]
    for yes in ((), ("--yes",)):
        assert run("rm", path, "--episode", "0-1", *yes)["episodes"] == [0, 1]
        assert len(store) == (1 if yes else 3)
    assert "there is no episode 7" in run("rm", path, "--episode", "7", status=2)
    assert "which?" in run("rm", path, status=2) and "0-99" in run("rm", path, "--episode", "3-1x", status=2)
    assert [one["episode"] for one in run("restore", path)["episodes"]] == [0, 1] and len(store) == 1
    assert run("restore", path, "--episode", "1", "--yes")["done"] and len(store) == 2
    assert run("rm", path, "--purge")["episodes"] == [0] and len(trash.trashed(store)) == 1
    assert run("rm", path, "--purge", "--yes")["done"] and not trash.trashed(store)
    assert main(["data", "restore", path]) == 0 and "0 episodes would be restored" in capsys.readouterr().out
