"""Phrasings of instructions: each belongs to one task and one split, and follows what the episode asks."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml

from training_ground.configs.errors import ConfigError
from training_ground.configs.instructions import SPLITS, instruction_files, instructions_of, plain
from training_ground.envs.registration import tasks

FILES = instruction_files()
GOALS = {"PressButton": ("start", "reset", "stop"), "BinPick": ("block", "round", "bar"), "TurnValve": (0.9,)}

DRAWER = {
    "template": "OpenDrawer",
    "asked": "Pull the {which} drawer.",
    "slots": {"which": {"upper": {"training": ["upper"], "held_out": ["topmost"]}}},
    "training": ["Open the {which} drawer."],
    "held_out": ["Get the {which} drawer open."],
}


def asked(template: str) -> list[str]:
    """Every way in which the task itself asks."""
    kind: Any = tasks()[template]
    if template in GOALS:
        said: Any = kind.asked.fget
        return [said(SimpleNamespace(goal=goal)) for goal in GOALS[template]]
    return [kind.instruction]


def read(folder: Path, **files: dict[str, Any]) -> Any:
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return instruction_files(folder)


@pytest.mark.parametrize("template", FILES)
def test_every_template_is_asked_for_in_many_ways(template: str) -> None:
    file = FILES[template]
    assert len(file.training) >= 30
    assert len(file.held_out) >= 15
    for instruction in asked(template):
        said = {split: set(map(plain, file.phrases(instruction, split))) for split in SPLITS}
        assert not said["training"] & said["held_out"]
        assert all("{" not in phrase for split in SPLITS for phrase in file.phrases(instruction, split))
    assert sum(t == template for t in FILES) == 1


def test_there_are_enough_templates() -> None:
    assert len(FILES) >= 8
    assert {*GOALS} <= {*FILES}


def test_what_the_episode_asks_is_in_every_phrase_and_nothing_else() -> None:
    file = FILES["PressButton"]
    for instruction in asked("PressButton"):
        words = {"green", "start", "starts"} if "green" in instruction else set()
        words |= {"blue", "reset", "resets"} if "blue" in instruction else set()
        words |= {"red", "stop", "stops"} if "red" in instruction else set()
        for split in SPLITS:
            for phrase in file.phrases(instruction, split):
                assert set(plain(phrase).split()) & words, phrase
    turned = FILES["TurnValve"].phrases("Turn the valve's lever to 63°, and let go of it.", "held_out")
    assert all("63" in phrase for phrase in turned)


def test_a_draw_follows_from_its_generator() -> None:
    instruction = asked("BinPick")[0]
    draws = [
        [FILES["BinPick"].draw(instruction, "training", np.random.default_rng(s)) for s in range(20)] for _ in "ab"
    ]
    assert draws[0] == draws[1]
    assert len(set(draws[0])) > 10


def test_another_tasks_instruction_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"asks 'Press the \{button\}"):
        FILES["PressButton"].values("Open the drawer.")
    with pytest.raises(ConfigError, match="did you mean 'red button"):
        FILES["PressButton"].values("Press the red button, and take your hand away.")
    with pytest.raises(ConfigError, match="did you mean 'OpenDoor'"):
        instructions_of("OpenDoors", FILES)


def test_a_phrase_has_one_split_and_one_task(tmp_path: Path) -> None:
    assert list(read(tmp_path, a=DRAWER)) == ["OpenDrawer"]
    with pytest.raises(ConfigError, match="'open the upper drawer' belongs to OpenDrawer"):
        read(
            tmp_path, b={"template": "Other", "asked": "Do.", "training": ["Open the UPPER drawer"], "held_out": ["D"]}
        )
    with pytest.raises(ConfigError, match="another file already"):
        read(tmp_path, b=DRAWER)
    with pytest.raises(ConfigError, match="belongs to OpenDrawer \\(training\\)"):
        read(
            tmp_path, b={"template": "Other", "asked": "Do", "training": ["x"], "held_out": ["Open the upper drawer!"]}
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training": ["Open the drawer."]}, "must hold each of the slots"),
        ({"training": ["Open the {which} {drawer}."]}, "and no other"),
        ({"training": ["Open {which.__class__}."]}, "plain name in braces"),
        ({"training": ["Open {which!r}."]}, "plain name in braces"),
        ({"training": ["Open {which:>9999999}."]}, "plain name in braces"),
        ({"training": ["Open {which."]}, "expected '}'"),
        ({"slots": {"which": {"upper": {"training": ["top"], "held_out": ["Top!"]}}}}, "in training and in held_out"),
        ({"training": []}, "at least 1"),
        ({"phrases": []}, "unknown key"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, a={**DRAWER, **change})
