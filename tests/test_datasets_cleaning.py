"""Cleaning: the source stays as it is, each episode says what was done, and doing it again gives the same bits."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import planted
import pytest

from training_ground.cli.main import main
from training_ground.configs.cleaning import (
    CutGaps,
    Deduplicate,
    Drop,
    Operation,
    Repair,
    Resample,
    TrimIdle,
    load_cleaning,
)
from training_ground.configs.errors import ConfigError, DatasetError
from training_ground.datasets.cleaned import CleaningStep
from training_ground.datasets.cleaning.clean import CleaningReport, check_cleaned, clean
from training_ground.datasets.cleaning.draft import filled_mask
from training_ground.datasets.episode_file import Episode, content_hash
from training_ground.datasets.quality.gate import check, load_limits
from training_ground.datasets.replay import replay
from training_ground.datasets.schema import EpisodeMetadata
from training_ground.datasets.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Two episodes; nothing happens in the first 40 steps."""
    return planted.record(tmp_path_factory.mktemp("cleaning") / "source", [0, 2], still=40)


def one(store: Store, path: Path, fault: planted.Fault | None, *operations: Operation) -> tuple[Episode, Episode]:
    """Clean a store of one episode with a fault; return source and result."""
    source = Store.create(path / "one", store.schema)
    source.append(planted.planted(store.read(0), fault or (lambda columns: None)))
    clean(source, operations, path / "clean")
    made = Store.open(path / "clean")
    assert all("not finite" in problem for problem in made.verify().problems)
    return source.read(0), made.read(0)


def content(path: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in path.rglob("*") if p.is_file()}


def test_idle_ends_are_cut_off_and_the_lineage_says_so(store: Store, tmp_path: Path) -> None:
    before = content(store.path)
    report = clean(store, [TrimIdle(keep_s=0.1)], tmp_path / "clean")
    assert content(store.path) == before
    made, source = Store.open(tmp_path / "clean").read(0), store.read(0)
    first = source.length - made.length
    assert 30 <= first <= 45 and report.episodes[0].rows == (first, 150)
    assert np.array_equal(made.columns["joint_angle"], source.columns["joint_angle"][first:])
    assert np.array_equal(made.columns["action"], source.columns["action"][first:])
    assert np.array_equal(made.columns["timestamp_ns"], source.columns["timestamp_ns"][first:])
    assert made.columns["reward"][0] == 0 and made.columns["reward"][1] == source.columns["reward"][first + 1]
    step = made.metadata.cleaned[0]
    assert (step.episode, step.rows, step.step, step.length) == (0, (first, 150), 1, 150)
    assert step.content_sha256 == source.metadata.content_sha256 and step.operations[0].parameters["keep_s"] == 0.1
    assert made.metadata.seed == source.metadata.seed and made.metadata.truncated
    check_cleaned(made, source, store.schema)


def test_an_end_that_is_cut_off_is_no_end_and_labels_follow_its_last_row(store: Store, tmp_path: Path) -> None:
    def stop(columns: planted.Columns) -> dict[str, object]:
        columns["joint_speed"][120:] = 0
        columns["action"][119:-1] = columns["action"][119]
        columns["success"][125:] = False
        return {"terminated": True, "truncated": False, "success": False, "failure": "fall"}

    source, made = one(store, tmp_path, stop, TrimIdle(keep_s=0.0))
    assert source.metadata.terminated and 115 <= made.metadata.cleaned[0].rows[1] <= 122
    assert (made.metadata.terminated, made.metadata.truncated) == (False, True)
    assert made.metadata.success is True and made.metadata.failure is None
    assert not made.columns["action"][-1].any() and made.columns["is_last"].sum() == 1
    check_cleaned(made, source, store.schema)


def test_a_gap_is_cut_at_and_the_longest_piece_is_kept(store: Store, tmp_path: Path) -> None:
    source, made = one(store, tmp_path, planted.lost_rows, CutGaps())
    assert source.length == 142 and made.metadata.cleaned[0].rows == (0, 74)
    assert np.diff(made.columns["timestamp_ns"]).max() == 20_000_000
    check_cleaned(made, source, store.schema)


def test_short_runs_of_missing_states_are_filled_and_marked(store: Store, tmp_path: Path) -> None:
    def holes(columns: planted.Columns) -> None:
        columns["joint_angle"][60:62, 1] = np.nan
        columns["base_orientation"][70] = np.inf
        columns["joint_speed"][80:84, 0] = np.nan  # too long
        columns["joint_torque"][:2, 0] = np.nan  # nothing before it
        columns["action"][90, 2] = np.nan  # no state

    source, made = one(store, tmp_path, holes, Repair(rows=3))
    truth = store.read(0).columns
    assert np.allclose(made.columns["joint_angle"][60:62, 1], truth["joint_angle"][60:62, 1], atol=5e-3)
    assert np.linalg.norm(made.columns["base_orientation"][70]) == pytest.approx(1, abs=1e-12)
    for name, rows in (("joint_speed", slice(80, 84)), ("joint_torque", slice(0, 2))):
        assert np.isnan(made.columns[name][rows, 0]).all()
    assert np.isnan(made.columns["action"][90, 2])
    mask = filled_mask(made)
    assert {name: int(values.sum()) for name, values in mask.items()} == {"joint_angle": 2, "base_orientation": 4}
    assert np.argwhere(mask["joint_angle"]).tolist() == [[60, 1], [61, 1]]
    untouched = [n for n in truth if n not in mask]
    assert all(np.array_equal(made.columns[n], source.columns[n], equal_nan=n not in ("phase",)) for n in untouched)
    check_cleaned(made, source, store.schema)


def test_what_was_filled_is_known_after_further_cleaning(store: Store, tmp_path: Path) -> None:
    def holes(columns: planted.Columns) -> None:
        columns["joint_angle"][60:63, 1] = np.nan
        columns["joint_angle"][2, 0] = np.nan  # cut off later
        columns["joint_speed"][71, 2] = np.nan  # of a row that is not kept later

    one(store, tmp_path, holes, Repair(rows=3))
    clean(Store.open(tmp_path / "clean"), [TrimIdle(keep_s=0.1)], tmp_path / "trimmed")
    clean(Store.open(tmp_path / "trimmed"), [Resample(every=2)], tmp_path / "slow")
    for name in ("trimmed", "slow"):
        made = Store.open(tmp_path / name).read(0)
        rows = np.arange(151)
        for step in made.metadata.cleaned:
            rows = rows[step.rows[0] : step.rows[1] + 1 : step.step]
        mask = filled_mask(made)
        expected = [[row, 1] for row in np.flatnonzero(np.isin(rows, (60, 61, 62))).tolist()]
        assert expected and np.argwhere(mask["joint_angle"]).tolist() == expected, name
        assert ("joint_speed" in mask) == (71 in rows)


def test_a_lineage_of_a_stranger_takes_no_memory(store: Store) -> None:
    source, run = store.read(0), {"channel": "joint_angle", "component": 0}
    huge = {"episode": 0, "content_sha256": "a" * 64, "length": 2**62, "operations": (), "rows": (0, 2**62)}
    steps = [CleaningStep.model_validate(huge | {"filled": [run | {"rows": (0, 2**62)}]})]
    steps += [CleaningStep.model_validate(huge | {"step": 10**8}) for _ in range(300)]
    metadata = source.metadata.model_copy(update={"cleaned": tuple(steps)})
    assert np.argwhere(filled_mask(Episode(metadata, source.columns))["joint_angle"]).tolist() == [[0, 0]]


def test_an_angle_is_not_filled_across_a_whole_turn(store: Store, tmp_path: Path) -> None:
    def wrap(columns: planted.Columns) -> None:
        columns["joint_angle"][61:] -= 6.28
        columns["joint_angle"][60] = np.nan

    _, made = one(store, tmp_path, wrap, Repair())
    assert np.isnan(made.columns["joint_angle"][60]).all() and not made.metadata.cleaned[0].filled


def test_every_third_row(store: Store, tmp_path: Path) -> None:
    def number(columns: planted.Columns) -> None:
        columns["reward"][:] = np.arange(151)
        columns["touched"][:] = np.arange(151) == 71
        columns["push"][:] = np.arange(151) == 71

    source, made = one(store, tmp_path, number, Resample(every=4))
    schema = Store.open(tmp_path / "clean").schema
    assert schema.control_rate == 12.5 and made.length == 37
    rows = np.arange(2, 151, 4)
    assert made.metadata.cleaned[0].rows == (2, 150) and made.metadata.cleaned[0].step == 4
    assert np.array_equal(made.columns["joint_angle"], source.columns["joint_angle"][rows])
    assert np.allclose(made.columns["action"][5], source.columns["action"][22:26].mean(axis=0), atol=1e-7)
    assert made.columns["reward"][5] == 19 + 20 + 21 + 22 and made.columns["reward"][0] == 0
    assert np.flatnonzero(made.columns["touched"]).tolist() == [18] and made.columns["push"][18] == 1  # row 74
    assert np.diff(made.columns["timestamp_ns"]).tolist() == [80_000_000] * 37
    assert made.columns["is_last"].tolist() == [False] * 37 + [True]
    check_cleaned(made, source, store.schema)


def test_what_cannot_be_resampled_is_refused(store: Store, tmp_path: Path) -> None:
    delta = store.schema.model_copy(update={"environment": {"options": {"control": "joint_delta"}}})
    with pytest.raises(DatasetError, match="actions that add up"):
        clean(Store.create(tmp_path / "delta", delta), [Resample(every=2)])
    channels = tuple(c.model_copy(update={"rate": 200.0}) if c.name == "push" else c for c in store.schema.channels)
    fast = store.schema.model_copy(update={"channels": channels})
    with pytest.raises(DatasetError, match="several samples a row: push"):
        clean(Store.create(tmp_path / "fast", fast), [Resample(every=2)])


def dropped(report: CleaningReport) -> dict[int, str]:
    return {e.episode: e.dropped for e in report.episodes if e.dropped}


def test_episodes_are_dropped_by_rule_with_the_reason(store: Store, tmp_path: Path) -> None:
    mixed = Store.create(tmp_path / "mixed", store.schema)
    good = store.read(0)
    mixed.append(good)
    mixed.append(planted.planted(good, planted.degrees))
    mixed.append(planted.planted(good, lambda columns: {"success": False, "failure": "slip"}))
    mixed.append(planted.planted(good, planted.cut_off))

    def nearly(columns: planted.Columns) -> None:
        columns["joint_angle"][5:] += 1e-5

    mixed.append(planted.planted(good, nearly))
    assert dropped(clean(mixed, [Drop(when="no_success")])) == {2: "no success: slip"}
    assert dropped(clean(mixed, [Drop(when="cut_off")])) == {3: "was cut off before its end"}
    found = dropped(clean(mixed, [Drop(when="quality_fail")]))
    assert set(found) == {1, 2} and "joint_limit_excess" in found[1] and "success_mismatch" in found[2]
    assert set(dropped(clean(mixed, [Deduplicate()]))) == {2, 3}  # the same values, whatever is said of them
    found = dropped(clean(mixed, [Deduplicate(distance=0.001)]))
    assert set(found) == {2, 3, 4} and found[4].endswith("rad from episode 0")
    found = dropped(clean(mixed, [TrimIdle(keep_s=0.1), Deduplicate(distance=0.001)]))
    assert set(found) == {2, 3, 4}
    mixed.file(0).write_bytes(b"PAR1")
    report = clean(mixed, [Deduplicate()], tmp_path / "out")
    assert set(dropped(report)) == {0, 3} and "cannot be read" in dropped(report)[0]
    record = json.loads((tmp_path / "out" / "cleaning.json").read_text())
    assert [e["number"] for e in record["episodes"]] == [None, 0, 1, None, 2]
    assert [e["dropped"] != "" for e in record["episodes"]] == [True, False, False, True, False]


def test_cleaning_is_deterministic_and_can_be_gone_on_with(store: Store, tmp_path: Path) -> None:
    for name in ("a", "b"):
        clean(store, [TrimIdle()], tmp_path / name)
    a, b = (Store.open(tmp_path / name) for name in ("a", "b"))
    assert [m.read(0).metadata.content_sha256 for m in (a, b)] == [a.read(0).metadata.content_sha256] * 2
    clean(a, [Resample(every=2)], tmp_path / "again")
    made = Store.open(tmp_path / "again").read(0)
    assert [step.operations[0].name for step in made.metadata.cleaned] == ["trim_idle", "resample"]
    check_cleaned(made, a.read(0), a.schema)
    with pytest.raises(DatasetError, match="the source given is"):
        check_cleaned(made, store.read(0), store.schema)


def test_lineage_that_lies_is_found_out(store: Store, tmp_path: Path) -> None:
    source, made = one(store, tmp_path, None, TrimIdle())
    columns = {**made.columns, "joint_angle": made.columns["joint_angle"] + 1e-12}
    with pytest.raises(DatasetError, match="not what its lineage makes of the source"):
        check_cleaned(Episode(made.metadata, columns, 0), source, store.schema)
    step = made.metadata.cleaned[0]
    other = step.model_copy(update={"operations": (step.operations[0].model_copy(update={"name": "trim_idel"}),)})
    with pytest.raises(DatasetError, match="did you mean 'trim_idle'"):
        check_cleaned(
            Episode(made.metadata.model_copy(update={"cleaned": (other,)}), made.columns, 0), source, store.schema
        )


def test_a_cleaned_episode_says_why_it_does_not_replay(store: Store, tmp_path: Path) -> None:
    clean(store, [TrimIdle()], tmp_path / "trimmed")
    trimmed = Store.open(tmp_path / "trimmed")
    with pytest.raises(DatasetError, match=r"episode 0: was cleaned .* rows \d+ to 150 of episode 0 \(trim_idle\)"):
        replay(trimmed.read(0), trimmed.schema, planted.make)
    clean(store, [Deduplicate()], tmp_path / "whole")
    whole = Store.open(tmp_path / "whole")
    assert whole.read(0).metadata.cleaned and replay(whole.read(0), whole.schema, planted.make).identical
    report = check(trimmed, load_limits()[1], replay=1, make=planted.make)
    assert report.verdict == "pass" and report.episodes[0].readings["replay_match"].value is None


def test_metadata_without_lineage_are_written_as_before(store: Store) -> None:
    metadata = store.read(0).metadata
    assert "cleaned" not in metadata.model_dump() and "cleaned" not in metadata.model_dump_json()
    step = CleaningStep(episode=1, content_sha256="a" * 64, length=5, rows=(0, 5), operations=())
    cleaned = metadata.model_copy(update={"cleaned": (step,)})
    assert EpisodeMetadata.model_validate_json(cleaned.model_dump_json()) == cleaned and cleaned.as_recorded


def test_nothing_is_left_behind_where_nothing_would_be_kept(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="every episode would be dropped; the first one: 150 steps are fewer"):
        clean(store, [Resample(every=200)], tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_operations_are_strict_and_name_what_is_near(tmp_path: Path) -> None:
    for text, message in (
        ("operations: [{do: trim_idel}]", "unknown operation 'trim_idel': did you mean 'trim_idle'?"),
        ("operations: [{do: repair, row: 3}]", "unknown key 'row': did you mean 'rows'?"),
        ("operations: [{do: resample, every: 1}]", "every = 1"),
        ("operations: []", "operations"),
        ("operations: [{do: resample, every: 2}, {do: resample, every: 2}]", "twice"),
    ):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        with pytest.raises(ConfigError) as problem:
            load_cleaning(path)
        assert message in str(problem.value), text


def test_the_command_writes_nothing_unless_it_is_told_where(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, preset = content(store.path), tmp_path / "mine.yaml"
    preset.write_text("operations: [{do: trim_idle, keep_s: 0.1}]")
    call = ["data", "clean", str(store.path), "--preset", str(preset)]
    assert main([*call, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["out"] is None and plan["kept"] == 2 and plan["changed"] == 2 and content(store.path) == before
    out = tmp_path / "clean"
    assert main([*call, "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()[-1]
    assert said == f"{out}: 2 of 2 episodes kept, 2 of them changed; {plan['steps_after']} of 300 steps"
    assert main(["data", "verify", str(out)]) == 0 and main(["data", "check", str(out)]) == 0
    capsys.readouterr()
    assert main([*call, "--out", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert content_hash(Store.open(out).read(0).columns) == Store.open(out).read(0).metadata.content_sha256


def test_replay_leaves_out_what_was_cleaned_and_says_so(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean(store, [TrimIdle()], tmp_path / "trimmed")
    assert main(["replay", str(tmp_path / "trimmed"), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["cleaned"] == [0, 1] and data["replayed"] == 0
    assert main(["replay", str(tmp_path / "trimmed"), "--episode", "1"]) == 2
    assert "was cleaned" in capsys.readouterr().err
