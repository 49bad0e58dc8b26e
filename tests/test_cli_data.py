"""`tg record`, `tg replay` and `tg data` on the real simulation: G1, pushed, acting at random."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from training_ground.assets.catalog import robot_files
from training_ground.cli.main import main
from training_ground.datasets.store import Store


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("record") / "stand"
    noise = ["--set", "noise.scale={joint_position: 0.01}", "--set", "randomisation.friction=[0.5, 1.0]"]
    assert main([*record(path, 2), *noise]) == 0
    return path


def record(path: Path, episodes: int) -> list[str]:
    return ["record", "stand", "--robot", "g1", "--policy", "random", "--episodes", str(episodes), "--out", str(path)]


def as_json(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == status
    return json.loads(capsys.readouterr().out)


def test_a_recorded_robot_replays_bit_for_bit(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = as_json(capsys, ["replay", str(recorded)])
    assert data["identical"] == data["replayed"] == 2 and data["steps"] > 40
    assert all(episode["channels"] > 20 and not episode["notes"] for episode in data["episodes"])


def test_what_was_drawn_is_recorded(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = as_json(capsys, ["data", "ls", str(recorded)])
    assert [episode["seed"] for episode in data["episodes"]] == [0, 1]
    assert data["robot"] == "g1" and data["control_rate"] == 50 and len(data["model_hash"]) == 64
    frictions = {episode["randomisation"]["friction"] for episode in data["episodes"]}
    assert len(frictions) == 2 and all(0.5 <= value <= 1.0 for value in frictions)
    assert "policy_observation" in {channel["name"] for channel in data["channels"]}
    assert all(channel["unit"] and channel["description"] for channel in data["channels"])


def test_verify_export_and_what_is_refused(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert as_json(capsys, ["data", "verify", str(recorded)])["ok"]
    out = tmp_path / "lerobot"
    data = as_json(capsys, ["data", "export", str(recorded), str(out)])
    assert data["episodes"] == 2 and data["losses"] and (out / "meta" / "info.json").exists()
    assert main(["data", "export", str(recorded), str(out)]) == 2
    assert "never overwrites" in capsys.readouterr().err
    assert main(["data", "export", str(recorded), str(tmp_path / "x"), "--format", "minary"]) == 2
    assert main(["data", "verify", str(tmp_path)]) == 2
    assert "is no dataset" in capsys.readouterr().err
    assert main(["replay", str(recorded), "--episode", "9"]) == 2
    assert "there is no episode 9" in capsys.readouterr().err


def test_another_robot_does_not_fit(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = record(recorded, 1)
    arguments[arguments.index("g1")] = "g1_legs"
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert "does not fit this dataset: robot 'g1_legs', the dataset has 'g1'; joints: new here: none" in said


def test_damage_is_an_exit_status(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(recorded, copy)
    path = copy / "episodes" / "episode_000001.parquet"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    data = as_json(capsys, ["data", "verify", str(copy)], status=1)
    assert len(data["problems"]) == 1 and "episode_000001" in data["problems"][0]
    assert main(["replay", str(copy), "--episode", "1"]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and "is damaged" in said and "Traceback" not in said


def test_tampered_values_do_not_replay(recorded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody who seals changed values again passes `verify`, and is found out by the simulation."""
    from training_ground.datasets.episode_file import Episode
    from training_ground.datasets.store import Store

    original = Store.open(recorded)
    forged = Store.create(tmp_path / "forged", original.schema)
    episode = original.read(0)
    columns = {**episode.columns, "base_position": episode.columns["base_position"].copy()}
    columns["base_position"][20, 2] += 1e-15
    forged.append(Episode(episode.metadata, columns))
    assert main(["data", "verify", str(forged.path)]) == 0
    capsys.readouterr()
    data = as_json(capsys, ["replay", str(forged.path)], status=1)
    difference = data["episodes"][0]["differences"][0]
    assert (difference["channel"], difference["step"], difference["component"]) == ("base_position", 20, 2)


def test_a_kept_state_repeats_whatever_the_engine_did_in_between() -> None:
    """While a robot falls its links touch in ever new ways; the engine used to remember which, and one return in thirty
    into the middle of an episode went another way (3 of these 40).
    """
    import numpy as np

    from training_ground.envs.registration import make

    env = make("Stand", robot="g1")

    def play(actions: Any) -> list[bytes]:
        seen = []
        for action in actions:
            observation, _, terminated, truncated, _ = env.step(action)
            seen.append(np.asarray(observation).tobytes())
            if terminated or truncated:
                break
        return seen

    compared = 0
    for seed in range(40):
        actions = np.random.default_rng([5, seed]).uniform(-1, 1, (40, 29)).astype(np.float32)
        env.reset(seed=seed)
        if len(play(actions[:20])) < 20:
            continue
        kept = env.save()
        first = play(actions[20:])
        env.reset(seed=seed + 1000)
        play(actions)
        env.restore(kept)
        assert play(actions[20:]) == first, f"seed {seed}"
        compared += len(first) > 5
    assert compared > 20


def test_a_dataset_does_not_choose_which_robot_file_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, store = tmp_path / "mine.yaml", tmp_path / "own"
    mine.write_text(robot_files()["g1"].read_text().replace("name: g1\n", "name: mine\n", 1))
    assert main(["record", "stand", "--robot", str(mine), "--episodes", "1", "--out", str(store)]) == 0
    assert main(["replay", str(store)]) == 2
    said = capsys.readouterr().err
    assert "is none that ships" in said and "--own-robots" in said
    assert main(["replay", str(store), "--own-robots"]) == 0


def test_an_episode_is_shown_with_its_labels_and_ranges(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = as_json(capsys, ["data", "show", str(recorded), "1"])
    episode = Store.open(recorded).read(1)
    assert data["seed"] == episode.metadata.seed and data["content_sha256"] == episode.metadata.content_sha256
    ranges = {row["channel"]: row for row in data["ranges"]}
    assert list(ranges) == [channel.name for channel in Store.open(recorded).schema.channels]
    speeds = episode.columns["joint_speed"]
    assert ranges["joint_speed"]["max"] == pytest.approx(float(speeds.max()), abs=1e-6)
    assert (ranges["joint_speed"]["unit"], ranges["joint_speed"]["shape"]) == ("rad/s", "29")
    assert main(["data", "show", str(recorded), "1"]) == 0
    said = capsys.readouterr().out
    assert "as recorded" in said and "joint_torque" in said and "N·m" in said
    assert main(["data", "show", str(recorded), "7"]) == 2
    assert "there is no episode 7" in capsys.readouterr().err
