"""Sample datasets: one command makes each, and those that ship are whole and are what their presets say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training_ground.agents.stepping import full_id
from training_ground.cli.main import main
from training_ground.configs.presets import preset_names
from training_ground.configs.samples import load_sample
from training_ground.datasets import about
from training_ground.datasets.store import Store

SHIPPED = Path(__file__).resolve().parents[1] / "docs" / "samples"


def test_one_command_makes_a_dataset_and_its_card_and_goes_on_where_it_was(tmp_path, capsys):
    preset, out = tmp_path / "mine.yaml", tmp_path / "mine"
    preset.write_text(
        "task: Stand\npolicy: zero\nenv: {robot: g1, episode_length_s: 0.4}\nepisodes: 2\n"
        "title: A short fall\ndescription: For a test.\nlimits: [It is short.]\n"
    )
    assert main(["data", "sample", str(preset), str(out), "--json"]) in (0, 1)
    made = json.loads(capsys.readouterr().out)
    assert made["recorded"] == [0, 1] and made["quality"] in ("pass", "warn", "fail")
    store = Store.open(out)
    assert [store.metadata(n).seed for n in (0, 1)] == [1_000_000, 1_000_001]
    card = (out / "README.md").read_text()
    assert "A short fall" in card and "It is short." in card and (out / "croissant.json").exists()
    before = [store.metadata(n).content_sha256 for n in store.episodes()]
    main(["data", "sample", str(preset), str(out)])
    assert [store.metadata(n).content_sha256 for n in store.episodes()] == before


def test_bad_requests_are_clear(tmp_path, capsys):
    assert main(["data", "sample", "stnad", str(tmp_path / "x")]) == 2
    assert "did you mean 'stand'" in capsys.readouterr().err
    assert main(["data", "sample", "stand"]) == 2
    assert "PRESET and OUT" in capsys.readouterr().err
    bad = tmp_path / "bad.yaml"
    bad.write_text("task: Stand\npolicy: zero\nepisodes: 0\ntitle: x\ndescription: y\n")
    assert main(["data", "sample", str(bad), str(tmp_path / "x")]) == 2
    assert "episodes" in capsys.readouterr().err and not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", preset_names("sample"))
def test_a_shipped_sample_is_whole_and_is_what_its_preset_says(name: str):
    _, sample = load_sample(name)
    store = Store.open(SHIPPED / name)
    report = store.verify()
    assert report.ok and report.episodes == sample.episodes, report.problems
    found = [store.metadata(number) for number in store.episodes()]
    assert [m.seed for m in found] == list(range(sample.seed, sample.seed + sample.episodes))
    assert {m.env_id for m in found} == {full_id(sample.task).rpartition(":")[2]} and all(m.success for m in found)
    assert not any((m.code_commit or "+").endswith("+dirty") for m in found), "made from a clean tree"
    assert about.read(store.path).title == sample.title and (store.path / "card.html").exists()
