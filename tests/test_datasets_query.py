"""Questions in SQL that reach nothing but the index, and splits that never leak and never move."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import fake_env
import pytest
from test_datasets_index import append

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import query as query_module
from training_ground.datasets import split as splits
from training_ground.datasets.index import Index
from training_ground.datasets.labels import label
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.query import query, select, sql
from training_ground.datasets.schema import Origin, PolicyInfo
from training_ground.datasets.store import Store

pytest.importorskip("duckdb")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Index:
    """Eight episodes of two tasks, the odd ones failed; episode 3 is labelled a success."""
    store = Store.create(tmp_path_factory.mktemp("query") / "data", make_schema(fake_env.FakeEnv()))
    for seed in range(8):
        task = "BinPick" if seed < 5 else "PegInHole"
        kwargs = {"tier": "tight" if seed % 4 == 0 else "nominal", "stance": "free"}
        append(store, seed, env_id=f"TrainingGround/{task}-v0", kwargs=kwargs, success=seed % 2 == 0)
    quality = {"verdict": "warn", "scores": {"jerk": 0.4}}
    label(Index.open(store), {3: {"success": True, "quality": quality, "tags": ["odd", "kept"]}}, "ann")
    return Index.open(store)


@pytest.mark.parametrize(
    ("where", "numbers"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("success and seed < 100 and task = 'BinPick'", [0, 2, 3, 4]),
        ("success_recorded", [0, 2, 4, 6]),
        ("success != success_recorded and success_source = 'person'", [3]),
        ("tier = 'tight' -- a remark", [0, 4]),
        ("kwargs->>'stance' = 'free' and number in (select number from episodes where seed > 5)", [6, 7]),
        ("scores['jerk'] > 0.3 and list_contains(tags, 'kept')", [3]),
        ("not dropped and started > '2020-01-01' and seconds < 1 and seed >= 7", [7]),
    ],
)
def test_conditions(filled: Index, where: str, numbers: list[int]) -> None:
    assert select(filled, where) == numbers


def test_columns_order_and_limit(filled: Index) -> None:
    rows = query(filled, "task = 'BinPick'", ["number", "seed * 2 as twice"], "seed desc", 2)
    assert rows == [{"number": 4, "twice": 8}, {"number": 3, "twice": 6}]
    counted = sql(filled, "select task, count(*) as n from episodes group by task order by n")
    assert counted == [{"task": "PegInHole", "n": 3}, {"task": "BinPick", "n": 5}]
    assert sql(filled, "select distinct author from records") == [{"author": "ann"}]


def test_a_wrong_column_is_answered_with_all(filled: Index) -> None:
    with pytest.raises(DatasetError, match=r'"taks" not found.*Columns: number, .*task'):
        select(filled, "taks = 'BinPick'")
    with pytest.raises(DatasetError, match="Columns: number"):
        query(filled, columns=["nummer"])
    with pytest.raises(DatasetError, match="single expression"):
        select(filled, "success, seed")


@pytest.mark.parametrize(
    "text",
    [
        "select * from read_csv('{file}')",
        "select * from '{file}'",
        "select content from read_text('{file}')",
        "select * from glob('{file}*')",
        "copy episodes to '{out}'",
        "attach '{out}'",
        "export database '{out}'",
        "create table other as select 1",
        "insert into episodes select * from episodes",
        "set enable_external_access = true",
        "install httpfs",
        "load httpfs",
        "pragma database_list",
        "select 1; select 2",
        "",
        "select * from secret_table",
    ],
)
def test_a_question_reaches_nothing_else(filled: Index, tmp_path: Path, text: str) -> None:
    secret_table = filled.episodes  # noqa: F841 (DuckDB would find it by the name of the variable)
    (tmp_path / "file.csv").write_text("a\n1\n")
    text = text.format(file=tmp_path / "file.csv", out=tmp_path / "out")
    with pytest.raises(DatasetError, match="query"):
        sql(filled, text)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "where", ["true) union all (select 'x'", "true; drop view episodes", "(select", "sum(seed) > 1"]
)
def test_a_condition_is_a_condition(filled: Index, where: str) -> None:
    with pytest.raises(DatasetError, match="query"):
        select(filled, where)


def test_a_question_that_takes_too_long_is_given_up(filled: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query_module, "TIMEOUT_S", 0.2)
    with pytest.raises(DatasetError, match="given up after"):  # counting as it goes, it never runs out of memory
        sql(filled, "select count(*) from range(1000000000000) where range % 7 = 9")


# ---- splits ----------------------------------------------------------------------------------------------------------

HALVES = [("train", 0.5), ("test", 0.5)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store.create(tmp_path / "data", make_schema(fake_env.FakeEnv()))
    for seed in range(12):
        append(store, seed)
    return store


def augmented(store: Store, seed: int, demonstration: int, **metadata: Any) -> int:
    """Append an episode that was made from another one of the store."""
    source = store.metadata(demonstration)
    origin = Origin(
        episode=demonstration,
        seed=source.seed,
        policy=source.policy,
        content_sha256=source.content_sha256,
        segments=(),
    )
    return append(store, seed, origin=origin, **metadata)


def test_the_part_is_the_hash_of_the_group(store: Store) -> None:
    """As the standard has it, computed by hand."""
    split = splits.new("main", "seed", [("train", 0.7), ("val", 0.1), ("test", 0.2)], salt=5)
    for seed, part in zip(range(12), splits.assign(Index.open(store), split), strict=True):
        digest = hashlib.sha256(f'[5,"TrainingGround/Fake-v0",{seed}]'.encode()).digest()
        drawn = int.from_bytes(digest[:8], "big") / 2**64
        assert part == ("train" if drawn < 0.7 else "val" if drawn < 0.7 + 0.1 else "test")


def test_nothing_moves_when_episodes_are_added(store: Store) -> None:
    splits.create(store, splits.new("main", "seed", HALVES))
    before = splits.members(Index.open(store), splits.read(store, "main"))
    for seed in range(100, 110):
        append(store, seed)
    after = splits.members(Index.open(store), splits.read(store, "main"))
    assert all(set(before[part]) <= set(after[part]) for part in before)
    assert sum(map(len, after.values())) == 22 and all(before.values())


def test_shares_are_met_on_average() -> None:
    split = splits.new("main", "seed", [("train", 0.8), ("test", 0.2)])
    tests = sum(split.part(("env", seed)) == "test" for seed in range(10_000))
    assert abs(tests - 2000) < 5 * (10_000 * 0.2 * 0.8) ** 0.5


def test_an_augmented_episode_goes_with_its_demonstration(store: Store) -> None:
    made = {augmented(store, 5000 + count, count % 12): count % 12 for count in range(48)}
    index = Index.open(store)
    parts = dict(zip(index.numbers.tolist(), splits.assign(index, splits.new("a", "seed", HALVES)), strict=True))
    assert all(parts[number] == parts[demonstration] for number, demonstration in made.items())
    assert set(parts.values()) == {"train", "test"}
    assert not splits.leaks(index, splits.new("a", "seed", HALVES))


def sides(store: Store, split: splits.Split) -> tuple[int, int]:
    """One episode of each part."""
    found = splits.members(Index.open(store), split)
    return found["train"][0], found["test"][0]


def test_leaks_are_refused_until_one_of_the_two_is_dropped(store: Store) -> None:
    split = splits.new("main", "seed", HALVES)
    left, right = sides(store, split)
    seed = store.metadata(right).seed
    # A scene that somebody recorded and that an episode of the other side was augmented in.
    scene = augmented(store, seed, left, content=777)
    # The same content under another seed, on the other side.
    copied = next(s for s in range(1000, 1100) if split.part(("TrainingGround/Fake-v0", s)) == "test")
    twin = append(store, copied, content=store.metadata(left).seed)
    found = splits.leaks(Index.open(store), split)
    assert len(found) == 2 and f"episode {twin}" in found[0] and f"the seed {seed} of" in found[1]
    with pytest.raises(DatasetError, match=r"split 'main' leaks: the content .* and 1 more; label one of them dropped"):
        splits.members(Index.open(store), split)
    label(Index.open(store), {scene: {"dropped": True}, twin: {"dropped": True}}, "ann")
    members = splits.members(Index.open(store), split)
    assert not {scene, twin} & {number for part in members.values() for number in part}


def test_an_augmented_scene_of_another_tier_must_not_leave_its_demonstration(store: Store) -> None:
    split = splits.new("tiers", "scenario", HALVES)
    parts = {tier: split.part(("TrainingGround/Fake-v0", tier, "fake")) for tier in (None, "a", "b", "c", "d", "e")}
    other = next(tier for tier, part in parts.items() if part != parts[None])
    number = augmented(store, 900, 0, kwargs={"tier": other})
    (leak,) = splits.leaks(Index.open(store), split)
    assert "the demonstration" in leak and f"(episode {number})" in leak


def test_groups_by_operator_follow_the_demonstration(store: Store) -> None:
    for count, operator in enumerate("abcdefgh"):
        policy = PolicyInfo(name="teleoperation", operator=operator)
        demonstration = append(store, 300 + count, policy=policy)
        augmented(store, 400 + count, demonstration)
    index = Index.open(store)
    parts = dict(zip(index.numbers.tolist(), splits.assign(index, splits.new("o", "operator", HALVES)), strict=True))
    assert all(parts[number] == parts[number + 1] for number in range(12, 28, 2))
    assert len({parts[number] for number in range(12)}) == 1, "nobody is an operator, too"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"by": "sead"}, "unknown grouping 'sead': did you mean 'seed'"),
        ({"parts": [("train", 0.5), ("test", 0.4)]}, "the shares add up to 0.9, must be 1"),
        ({"parts": [("train", 0.5), ("train", 0.5)]}, "a name stands twice"),
        ({"parts": [("train", 1.5), ("test", -0.5)]}, "parts"),
        ({"name": "../main"}, "name = '../main'"),
    ],
)
def test_a_wrong_rule_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as problem:
        splits.new(**{"name": "main", "by": "seed", "parts": HALVES, **change})
    assert message in str(problem.value)


def test_a_split_never_changes_and_a_forged_one_is_refused(store: Store, tmp_path: Path) -> None:
    splits.create(store, splits.new("main", "seed", HALVES))
    path = store.path / "splits" / "main.json"
    before = path.read_bytes()
    with pytest.raises(DatasetError, match="splits never change"):
        splits.create(store, splits.new("main", "seed", [("all", 1.0)]))
    assert path.read_bytes() == before
    with pytest.raises(DatasetError, match="unknown split 'mian': did you mean 'main'"):
        splits.read(store, "mian")
    path.write_text(json.dumps(json.loads(before) | {"name": "other"}))
    with pytest.raises(DatasetError, match="is not that of the file"):
        splits.read(store, "main")
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(DatasetError, match="symbolic link"):
        splits.read(store, "main")


# ---- the command line ------------------------------------------------------------------------------------------------


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_verbs_work_together(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(store.path)
    said = as_json(
        capsys, "data", "label", path, "--where", "seed < 2", "--author", "ann", "success=false", "note=1: a"
    )
    assert said == {"path": path, "episodes": [0, 1], "records": 4}
    assert main(["data", "label", path, "--episode", "1", "--author", "bob", "failure=slip", "note=null"]) == 0
    capsys.readouterr()
    history = as_json(capsys, "data", "label", path, "--episode", "1")["history"]["1"]
    assert [(one["field"], one["value"]) for one in history] == [
        *(("success", False), ("note", "1: a"), ("failure", "slip"), ("note", None)),
    ]
    listed = as_json(capsys, "data", "ls", path, "--where", "not success")["episodes"]
    assert [one["number"] for one in listed] == [0, 1] and listed[1]["success"] is True
    assert listed[1]["labels"]["success"] is False and listed[0]["labels"]["note"] == "1: a"
    assert main(["data", "ls", path]) == 0
    assert "no (recorded: yes)" in capsys.readouterr().out
    planned = as_json(capsys, "data", "split", path, "main", "--part", "train=0.5", "--part", "test=0.5")
    assert not planned["written"] and not splits.names(store)
    written = as_json(capsys, "data", "split", path, "main", "--part", "train=0.5", "--part", "test=0.5", "--yes")
    tests = written["splits"][0]["parts"]["test"]["episodes"]
    rows = as_json(capsys, "data", "query", path, "split_main = 'test'", "--columns", "number,seed")["rows"]
    assert [row["number"] for row in rows] == tests and 0 < len(tests) < 12


def test_a_leak_is_an_exit_status(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    split = splits.new("main", "seed", HALVES)
    splits.create(store, split)
    left, right = sides(store, split)
    augmented(store, store.metadata(right).seed, left, content=777)
    data = as_json(capsys, "data", "split", str(store.path), status=1)
    assert "the seed" in data["splits"][0]["leaks"][0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["label", "{}", "success=true"], "say which episodes"),
        (["label", "{}", "--episode", "0", "success=true"], "a label has an author"),
        (["label", "{}", "--episode", "0", "--author", "ann", "success=maybe"], "success = 'maybe': must be true or"),
        (["query", "{}", "taks = 1"], "Columns: number"),
        (["query", "{}", "true", "--sql", "select 1"], "--sql is the whole question"),
        (["split", "{}", "main", "--part", "train"], "write it as NAME=SHARE"),
        (["ls", "{}", "--where", "nonsense"], "Columns: number"),
    ],
)
def test_bad_input(
    store: Store,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.delenv("TG_AUTHOR", raising=False)
    assert main(["data", *(word.format(store.path) for word in arguments)]) == 2
    assert message in capsys.readouterr().err
