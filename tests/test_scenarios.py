"""The scenario catalogue: what it lists, what makes two scenarios one, and the replay that tells them apart."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from training_ground.agents.scenario_check import begin, check
from training_ground.agents.scenario_proof import Proof
from training_ground.agents.scenario_replay import Comparison, Course, Examined, Played, Stage, difference
from training_ground.assets import library
from training_ground.cli import main
from training_ground.configs.errors import ConfigError, TrainingGroundError
from training_ground.envs import cell_task
from training_ground.envs import fingerprint as prints
from training_ground.envs import scenarios as catalog
from training_ground.envs.fingerprint import Fingerprint, fingerprint
from training_ground.envs.scenarios import Scenario, catalogue, choose, templates

EVERY = catalogue()


# ---- what is there ---------------------------------------------------------------------------------------------------


def test_every_template_is_in_the_catalogue_with_its_own_robot():
    """Also one that nobody wrote a file for; a tier that is missing is left out by name, under `without`."""
    found = {(one.template, one.tier, one.robot) for one in EVERY.values()}
    for name, kind in templates().items():
        assert (name, "nominal", kind.defaults["robot"]) in found, name


def test_a_template_without_a_file_is_picked_up(tmp_path: Path):
    found = catalogue(tmp_path)
    own = {name: kind.defaults["robot"] for name, kind in templates().items()}
    assert {(one.template, one.robot) for one in found.values()} == set(own.items())
    assert "peg_in_hole/flow/g1_dex3" in found


def test_identifiers_and_keyword_arguments():
    one = EVERY["peg_in_hole/flow/g1_dex3"]
    assert (one.id, one.env_id) == ("peg_in_hole/flow/g1_dex3", "TrainingGround/PegInHole-v0")
    assert one.kwargs == {"robot": "g1_dex3", "tier": "flow"}
    assert one.sectors == ("equipment", "electronics", "automotive")
    assert next(name for name in EVERY if name.startswith("peg_in_hole")) == "peg_in_hole/nominal/g1_dex3"


def test_every_scenario_has_a_hash_of_its_own():
    hashes = {name: fingerprint(one).hash for name, one in EVERY.items()}
    assert len(set(hashes.values())) == len(EVERY)


def test_choose_filters_by_every_key():
    assert {one.tier for one in choose(EVERY, tiers=["tight"])} == {"tight"}
    assert all("automotive" in one.sectors for one in choose(EVERY, sectors=["AU"]))
    assert choose(EVERY, sectors=["automotive"]) == choose(EVERY, sectors=["AU"])
    assert choose(EVERY, names=["PegInHole"]) == choose(EVERY, ["peg_in_hole/*"])
    assert {one.robot for one in choose(EVERY, names=["peg_in_hole"], robots=["g1_dex3"])} == {"g1_dex3"}


# ---- bad input -------------------------------------------------------------------------------------------------------

GOOD: dict[str, Any] = {"template": "PegInHole", "robots": ["g1_dex3"]}


def written(folder: Path, **files: Any) -> Path:
    for name, data in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(data))
    return folder


@pytest.mark.parametrize(("change", "parts"), [
    ({"template": "PegInHol"}, ("unknown template 'PegInHol'", "did you mean 'PegInHole'")),
    ({"template": "Stand"}, ("unknown template 'Stand'", "PegInHole")),
    ({"robots": ["g1_dex"]}, ("unknown robot 'g1_dex'", "did you mean 'g1_dex3'")),
    ({"robots": ["talos"]}, ("robot 'talos' has no hand that grips",)),
    ({"robots": []}, ("robots",)),
    ({"tiers": ["tigt"]}, ("tiers: unknown tier of cell 'pin_station' 'tigt'", "did you mean 'tight'")),
    ({"sectors": ["logistic"]}, ("sectors: unknown sector 'logistic'", "did you mean 'logistics'")),
    ({"without": ["tight/g1_grippers"]}, ("without: unknown scenario 'tight/g1_grippers'", "tight/g1_dex3")),
    ({"robot": "g1"}, ("unknown key 'robot'", "did you mean 'robots'")),
    ({"env": {"tier": "flow"}}, ("env.tier", "'tiers'")),
    ({"env": {"solver_iteration": 10}}, ("unknown option", "did you mean 'solver_iterations'")),
])  # fmt: skip
def test_a_bad_file_is_refused_by_name(change: dict[str, Any], parts: tuple[str, ...], tmp_path: Path):
    with pytest.raises(ConfigError) as caught:
        catalogue(written(tmp_path, mine={**GOOD, **change}))
    message = str(caught.value)
    assert "mine.yaml" in message and "\n" not in message
    for part in parts:
        assert part in message, message


def test_the_same_scenario_twice_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="'b/nominal/g1_dex3' is the scenario 'a/nominal/g1_dex3' once more"):
        catalogue(written(tmp_path, a=GOOD, b=GOOD))
    other = {**GOOD, "env": {"randomisation": {"motor_strength": [0.8, 0.9]}}}
    assert len([name for name in catalogue(written(tmp_path, b=other)) if name[:2] in ("a/", "b/")]) == 8


def test_a_template_that_cannot_be_judged_is_refused(monkeypatch: pytest.MonkeyPatch):
    from training_ground.envs.cell_task import CellTask

    class Shapeless(CellTask):
        id, cell = "Shapeless", "pin_station"

    monkeypatch.setattr(catalog, "templates", lambda: {"Shapeless": Shapeless})
    monkeypatch.setattr(catalog, "task_modules", lambda: {"Shapeless": "somewhere.shapeless"})
    monkeypatch.setattr(catalog, "scenario_files", lambda folder: {})
    with pytest.raises(ConfigError, match=r"template 'Shapeless' has no success predicate \(evaluate\)"):
        catalogue()
    monkeypatch.setattr(Shapeless, "evaluate", lambda self: None)
    with pytest.raises(ConfigError, match="template 'Shapeless' has no phases"):
        catalogue()


@pytest.mark.parametrize(("arguments", "nearest"), [
    (["list", "--sector", "logistic"], "did you mean 'logistics'"),
    (["list", "--template", "PegInHol"], "did you mean 'peg"),
    (["list", "--tier", "tigt"], "did you mean 'tight'"),
    (["list", "--robot", "g1_dex"], "did you mean 'g1_dex3'"),
    (["show", "peg_in_hole/flwo/g1_dex3"], "did you mean 'peg_in_hole/flow/g1_dex3'"),
    (["run", "peg_in_hol/*"], "unknown scenario"),
    (["check", "--sector", "service", "--template", "peg_in_hole"], "no scenario fits all of: service peg_in_hole"),
    (["lst"], "did you mean 'list'"),
])  # fmt: skip
def test_the_verb_offers_the_nearest(arguments: list[str], nearest: str, capsys):
    assert main.main(["scenarios", *arguments]) == 2
    error = capsys.readouterr().err
    assert nearest in error and error.startswith("error: ") and error.count("\n") == 1


# ---- hashes ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch):
    """Let every part and cell be read with changes to what their files say."""

    def alter(change) -> None:
        def changed(load):
            def loaded(name: str):
                spec = load(name)
                data = spec.model_dump(mode="json")
                change(data)
                return type(spec).model_validate(data)

            return loaded

        monkeypatch.setattr(prints, "load_part", changed(library.load_part))
        monkeypatch.setattr(cell_task, "load_cell", changed(library.load_cell))

    return alter


ONE = EVERY["tend_press/nominal/g1_dex3"]


def test_titles_colours_and_lamps_do_not_count(altered):
    before = fingerprint(ONE)

    def look(data: dict[str, Any]) -> None:
        data["title"] = "Another"
        for shape in (shape for piece in data.get("pieces", ()) for shape in piece["shapes"]):
            shape["colour"] = [1.0, 0.0, 0.0]
        if "items" in data:
            data.update(name="elsewhere", sectors=["service"], reach=[])
            data["devices"]["machines"]["press"]["lamp"] = None

    altered(look)
    assert fingerprint(ONE) == before


@pytest.mark.parametrize(("part", "change"), [
    ("assets", lambda data: [piece.update(mass=1.1 * piece["mass"]) for piece in data.get("pieces", ())]),
    ("assets", lambda data: data.get("items", {}).get("part", {}).update(at=[0.0, 0.0, 0.04])),
    ("assets", lambda data: data.update(shoulder_height=1.2) if "items" in data else None),
    ("events", lambda data: data["devices"]["machines"]["press"].update(cycle_s=3.0) if "items" in data else None),
])  # fmt: skip
def test_a_part_a_place_or_a_machine_does_count(altered, part: str, change):
    before = fingerprint(ONE).parts
    altered(change)
    after = fingerprint(ONE).parts
    assert [name for name in before if before[name] != after[name]] == [part]


def test_a_limit_the_phases_and_the_configuration_count(monkeypatch: pytest.MonkeyPatch):
    kind = templates()["TendPress"]
    before = fingerprint(ONE).parts

    def differing(one: Scenario = ONE) -> list[str]:
        after = fingerprint(one).parts
        return [name for name in before if before[name] != after[name]]

    longer = dataclasses.replace(ONE, env={"end_after_success_s": 1.0})
    assert differing(longer) == ["predicate"]
    assert differing(dataclasses.replace(ONE, env={"episode_length_s": 41.0})) == ["limits"]
    assert differing(dataclasses.replace(ONE, robot="g1_grippers")) == ["assets"]
    with monkeypatch.context() as patch:
        patch.setattr(sys.modules[kind.__module__], "MOST_FORCE", 50.0)
        assert differing() == ["limits"]
    with monkeypatch.context() as patch:
        patch.setattr(kind, "phases", (*kind.phases, "tidy"))
        assert differing() == ["phases"]
    assert differing() == []


def test_two_tiers_that_say_the_same_have_one_hash(altered):
    altered(lambda data: data.update(tiers={"flow": {"title": "The same"}}) if "items" in data else None)
    assert fingerprint(dataclasses.replace(ONE, tier="flow")) == fingerprint(ONE)


# ---- replays ---------------------------------------------------------------------------------------------------------


def test_what_counts_as_another_course():
    source = Course(["approach", "engage"], 4.0)
    assert difference(source, Course(["approach", "engage"], 4.5)) == ""
    assert difference(source, Course(["approach", "engage"], 4.7)) == "cycle +18%"
    assert difference(source, Course(["approach", "engage"], 3.3)) == "cycle -18%"
    assert difference(source, Course(["engage", "approach"], 4.0)) == "phases: engage, approach"
    assert difference(source, Course(["approach"], None, "slip")) == "fails: slip"
    assert difference(source, Course(["approach"])) == "no success within 115% of the cycle"


def checked(scenarios: Sequence[Scenario], seeds: int = 1, workers: int = 0) -> Proof:
    proof = begin(scenarios, range(1_000_000, 1_000_000 + seeds))
    check(proof, workers)
    return proof


def made(*outcomes: tuple[bool, bool, str | None], hashes: str = "ab") -> Proof:
    """A proof over two scenarios: success of each one's expert, and what the replay showed, seed by seed."""
    pair = [Scenario("toy", "Toy", tier, "g1_dex3", ("service",)) for tier in ("nominal", "tight")]
    found = Proof(
        pair,
        list(range(len(outcomes))),
        {one.id: Fingerprint({"assets": h}) for one, h in zip(pair, hashes, strict=True)},
    )
    a, b = (one.id for one in pair)
    for seed, (first, second, why) in enumerate(outcomes):
        source = None if why is None else a
        played = (Played(a, first, 4.0, "", True, "x"), Played(b, second, 4.0, "slip", True, "x"))
        found.examined.append(Examined("Toy", seed, played, (Comparison(a, b, source, why or ""),)))
    return found


@pytest.mark.parametrize(("proof", "verdict"), [
    (made((True, True, "fails: slip"), (True, True, "cycle +20%"), (True, True, "")), "distinct"),
    (made((True, True, "fails: slip"), (True, True, ""), (True, True, "")), "same"),
    (made((True, True, "fails: slip"), (False, True, None), (False, True, None)), "unproved"),
    (made((True, True, "fails: slip"), (True, True, "fails: slip"), (False, True, None)), "distinct"),
    (made((True, True, "fails: slip"), (True, True, ""), (False, True, None)), "unproved"),
    (made((True, False, "fails: slip"), (True, False, "fails: slip"), (True, False, "fails: slip")), "unsolved"),
    (made((True, True, "fails: slip"), (True, True, "fails: slip"), (True, True, "fails: slip"), hashes="aa"), "same"),
])  # fmt: skip
def test_most_seeds_decide(proof: Proof, verdict: str):
    assert [found for found, _ in proof.verdicts().values()] == ["distinct", verdict]
    assert proof.summary()[verdict] == (2 if verdict == "distinct" else 1)
    json.dumps(proof.to_json(), allow_nan=False)


def test_further_seeds_are_played_where_successes_are_too_few():
    proof = made((True, False, "fails: slip"), (False, False, None), (False, False, None))
    assert proof.doubtful() == proof.scenarios
    assert made((False, False, None), (False, False, None)).doubtful() == []


def test_a_scenario_that_differs_by_a_hair_is_found_to_be_the_same():
    """Another hash is not enough: the replay does its work there, and so it does in its own episode."""
    nominal = EVERY["press_button/nominal/g1_dex3"]
    hair = dataclasses.replace(nominal, name="hair", env={"start_joint_noise": 0.02001})
    proof = checked([nominal, hair])
    assert len({one.hash for one in proof.prints.values()}) == 2
    assert proof.verdicts() == {nominal.id: ("distinct", ""), hair.id: ("same", f"as {nominal.id}")}
    assert proof.summary()["repeats"] == [2, 2]


def test_a_robot_without_the_joints_cannot_replay():
    pair = [EVERY["press_button/nominal/g1_dex3"], EVERY["press_button/nominal/g1_grippers"]]
    proof = checked(pair)
    (found,) = proof.pairs()
    assert found.why[0].startswith("g1_grippers has no joint left_hand_") and found.verdict == "distinct"


def test_what_is_wrong_with_one_scenario_does_not_end_the_others(monkeypatch: pytest.MonkeyPatch):
    from training_ground.agents import scenario_replay

    def refuse(*_: Any, **__: Any) -> None:
        raise TrainingGroundError("no room")

    monkeypatch.setattr(scenario_replay, "make", refuse)
    proof = checked(choose(EVERY, ["press_button/nominal/g1_*"]))
    found = proof.verdicts()
    assert [verdict for verdict, _ in found.values()] == ["unsolved", "unproved"]
    assert found["press_button/nominal/g1_dex3"][1] == "no room"


# ---- the verb --------------------------------------------------------------------------------------------------------


def run(capsys, *arguments: str) -> tuple[int, Any]:
    status = main.main(["scenarios", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_list_and_count_agree(capsys):
    status, listed = run(capsys, "list", "--sector", "automotive")
    again, counted = run(capsys, "count", "--sector", "automotive")
    assert status == again == 0 and listed["scenarios"]
    assert counted["scenarios"] == counted["hashes"] == len(listed["scenarios"]) == counted["sector"]["automotive"]
    assert sum(counted["tier"].values()) == sum(counted["template"].values()) == counted["scenarios"]


def test_show_tells_what_is_asked(capsys):
    status, data = run(capsys, "show", ONE.id)
    assert status == 0 and data["hash"] == fingerprint(ONE).hash
    assert "press" in data["items"] and data["limits"]["episode_length_s"] == 40.0
    assert main.main(["scenarios", "show", ONE.id]) == 0
    assert "tg play TendPress" in capsys.readouterr().out


def test_run_measures_and_keeps_every_episode(capsys, tmp_path: Path):
    out = tmp_path / "run.json"
    arguments = ("run", "press_button/nominal/g1_dex3", "--episodes", "2", "--workers", "0", "--out", str(out))
    status, data = run(capsys, *arguments)
    (row,) = data["runs"]
    assert status == 0 and row["successes"] == row["episodes"] == 2 and 2.0 < row["cycle_median_s"] < 6.0
    assert len(json.loads(out.read_text())["runs"][0]["evaluation"]["episodes"]) == 2
    assert main.main(["scenarios", *arguments]) == 2
    assert "--force" in capsys.readouterr().err


def test_check_writes_its_proof_and_tells_by_its_status(capsys, tmp_path: Path):
    out = tmp_path / "proof.json"
    arguments = ("check", "press_button/nominal/g1_*", "--seeds", "1", "--workers", "0", "--out", str(out))
    status, data = run(capsys, *arguments)
    assert status == 0 and data["summary"]["complete"]
    assert data["summary"]["distinct"] + data["summary"]["unsolved"] == 2
    assert json.loads(out.read_text())["pairs"] == data["pairs"]


def test_ctrl_c_keeps_what_is_finished(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path):
    def examine(_: Stage, scenarios: Sequence[Scenario], seed: int) -> Examined:
        if seed > 1_000_000:
            raise KeyboardInterrupt
        return Examined(scenarios[0].template, seed, tuple(Played(one.id, True, 4.0) for one in scenarios), ())

    monkeypatch.setattr(Stage, "examine", examine)
    out = tmp_path / "proof.json"
    arguments = ["scenarios", "check", "press_button/nominal/g1_dex3", "--workers", "0", "--out", str(out), "--json"]
    assert main.main(arguments) == 130
    for data in (json.loads(capsys.readouterr().out), json.loads(out.read_text())):
        assert not data["summary"]["complete"] and data["scenarios"][0]["expert"]["episodes"] == 1


@pytest.mark.slow
def test_the_tiers_of_a_template_are_distinct():
    proof = checked(choose(EVERY, names=["BeltPick"]), seeds=3, workers=2)
    summary = proof.summary()
    assert summary["distinct"] + summary["unsolved"] == summary["scenarios"], proof.verdicts()
    assert summary["repeats"][0] == summary["repeats"][1] > 0
