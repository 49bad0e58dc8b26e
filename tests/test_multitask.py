"""One policy for several tasks: what it sees, what it hears, and what its file holds."""

import contextlib
import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from told import CLOCK, CONFIG, WRITTEN, demonstrations, hear, heard, made_up, teach

from training_ground.agents.multitask import require_alike, shared
from training_ground.agents.multitask_data import Demonstrations
from training_ground.agents.multitask_policy import SPEC, WEIGHTS, MultiTaskPolicy, load
from training_ground.agents.multitask_settings import MultiTaskConfig
from training_ground.agents.policy import load_policy
from training_ground.agents.progress import read_progress
from training_ground.agents.signature import ChannelSignature, Signature, signature_of
from training_ground.agents.stepping import make_env
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError, ConfigError
from training_ground.configs.instructions import instruction_files
from training_ground.configs.loading import validate

TEMPLATES = ("PressButton", "OpenDrawer", "BeltPick")


def channel(name: str, *shape: int) -> ChannelSignature:
    return ChannelSignature(name=name, shape=shape, unit="1", frame="base")


JOINT = channel("joint_position", 2)
PRESS = (JOINT, channel("a_position", 3), channel("a_orientation", 4), channel("mechanism", 2), channel("goal", 2))
PICK = (
    JOINT, channel("b_position", 3), channel("b_orientation", 4), channel("c_position", 3), channel("c_orientation", 4),
    channel("d_position", 2), channel("d_yaw"), channel("goal"),
)  # fmt: skip


# ---- what is seen ----------------------------------------------------------------------------------------------------


def test_tasks_share_slots_and_flags_say_which_are_filled() -> None:
    interface = shared({"Press": PRESS, "Pick": PICK}, {})
    assert interface.slots == {
        "joint_position_2": 2, "object_0": 7, "mechanism_0": 1, "mechanism_1": 1, "goal_2": 2, "object_1": 7,
        "place_0": 3, "goal_1": 1,
    }  # fmt: skip
    flagged = ("mechanism_0", "mechanism_1", "goal_2", "object_1", "place_0", "goal_1")
    assert interface.flagged == flagged
    assert interface.size == 24 + len(flagged)
    press = interface.wiring("Press", PRESS).see(np.arange(1, 14, dtype=np.float32))
    assert press.tolist() == [*range(1, 14), *[0.0] * 11, 1, 1, 1, 0, 0, 0]
    pick = interface.wiring("Pick", PICK).see(np.arange(1, 21, dtype=np.float32))
    assert pick.tolist() == [*range(1, 10), 0, 0, 0, 0, *range(10, 21), 0, 0, 0, 1, 1, 1]


def test_batches_are_seen_row_by_row() -> None:
    wiring = shared({"Press": PRESS, "Pick": PICK}, {}).wiring("Pick", PICK)
    rows = np.random.default_rng(0).standard_normal((5, 20)).astype(np.float32)
    np.testing.assert_array_equal(wiring.see(rows), np.array([wiring.see(row) for row in rows]))


def test_what_the_instruction_says_can_be_left_out() -> None:
    interface = shared({"Press": PRESS, "Pick": PICK}, {"Press": ("goal",), "*": ("joint_position",)})
    assert "goal_2" not in interface.slots
    assert "goal_1" in interface.slots
    assert "joint_position_2" not in interface.slots
    observation = np.arange(13, dtype=np.float32)
    changed = observation.copy()
    changed[[0, 1, 11, 12]] += 1.0
    wiring = interface.wiring("Press", PRESS)
    np.testing.assert_array_equal(wiring.see(observation), wiring.see(changed))


def test_the_order_of_tasks_does_not_move_what_all_of_them_have() -> None:
    one = shared({"Press": PRESS, "Pick": PICK}, {})
    other = shared({"Pick": PICK, "Press": PRESS}, {})
    assert list(one.slots)[:2] == list(other.slots)[:2] == ["joint_position_2", "object_0"]
    assert {*one.flagged} == {*other.flagged}


def test_what_does_not_fit_is_refused() -> None:
    interface = shared({"Press": PRESS}, {})
    with pytest.raises(AgentError, match="slot 'object_1' of 7 numbers; the policy has joint_position_2"):
        shared({"Press": PRESS, "Pick": PICK}, {}).model_copy(update={"slots": interface.slots}).wiring("Pick", PICK)
    with pytest.raises(AgentError, match="task 'Pick': the policy has learned Press"):
        interface.wiring("Pick", PICK)
    with pytest.raises(AgentError, match="no channel 'gaol'"):
        shared({"Press": PRESS}, {"Press": ("gaol",)})
    with pytest.raises(AgentError, match="name at least one"):
        shared({}, {})


@pytest.fixture(scope="module")
def signatures() -> dict[str, Signature]:
    found = {}
    for task in TEMPLATES:
        env = make_env(f"TrainingGround/{task}-v0", {"robot": "g1_dex3"})
        found[task] = signature_of(env)
        env.close()
    return found


def test_templates_of_the_catalogue_fit_into_one_interface(signatures: dict[str, Signature]) -> None:
    require_alike(signatures)
    interface = shared({task: signature.channels for task, signature in signatures.items()}, {})
    for task, signature in signatures.items():
        wiring = interface.wiring(task, signature.channels)
        # Every number of the task is seen once, and none twice.
        assert sorted(wiring.source.tolist()) == list(range(signature.observation_size))
        assert len({*wiring.target.tolist()}) == signature.observation_size
    assert interface.slots["joint_position_31"] == 31
    assert {"object_2", "mechanism_2", "place_0", "belt_speed_1"} <= {*interface.flagged}


def test_tasks_that_act_differently_cannot_share(signatures: dict[str, Signature]) -> None:
    other = signatures["OpenDrawer"].model_copy(update={"control_rate": 25.0})
    with pytest.raises(
        AgentError, match="'PressButton' and 'OpenDrawer' cannot share a policy: they differ in control_"
    ):
        require_alike({**signatures, "OpenDrawer": other})


# ---- what is heard ---------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_sentence_model(monkeypatch: pytest.MonkeyPatch) -> None:
    hear(monkeypatch)


def test_noise_is_in_units_of_what_a_task_sees_itself(signatures: dict[str, Signature]) -> None:
    """A handle that moves by 1 cm in each of two tasks, and is 1 m away from that of the other."""
    tasks, generator = demonstrations(signatures), np.random.default_rng(0)
    slots = [
        shared({d.task: d.signature.channels for d in tasks}, {}).wiring(d.task, d.signature.channels) for d in tasks
    ]
    at = next(int(i) for i in slots[0].target if i in slots[1].target)
    for i, (data, wiring) in enumerate(zip(tasks, slots, strict=True)):
        rows = data.observations[:, wiring.source[wiring.target == at]]
        data.observations[:, wiring.source[wiring.target == at]] = i + 0.01 * generator.standard_normal(rows.shape)
    data = Demonstrations(tasks, {}, instruction_files())
    assert np.sqrt(data.variance[at]) == pytest.approx(0.5, rel=0.01)
    np.testing.assert_allclose(data.spread[:, at], 0.02, rtol=0.2)
    assert not data.spread[:, at + 1].any(), "what never moves has no noise"


@pytest.fixture(scope="module")
def learned(signatures: dict[str, Signature], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("policy")
    teach(folder, signatures)
    return folder


def first_action(policy: MultiTaskPolicy, task: str, words: str) -> np.ndarray:
    """The first action of a chunk."""
    network = policy.specialised(task, words)
    seen = np.concatenate([np.zeros(network.inputs - CLOCK.size, np.float32), CLOCK.tell(0.0)])
    return network(seen).reshape(4, -1)[0]


def test_words_alone_decide_what_is_done(learned: Path) -> None:
    policy = load(learned)
    for wanted, phrase in ((-0.2, "Kindly poke the green button."), (0.0, "Blue, please!"), (0.2, "stop it")):
        action = first_action(policy, "PressButton", phrase)
        assert action[0] == pytest.approx(wanted, abs=0.09)
        assert action[1] == pytest.approx(-0.5, abs=0.3)
    assert first_action(policy, "OpenDrawer", "the drawer")[1] == pytest.approx(0.5, abs=0.3)


def test_what_is_told_counts_as_the_nearest_instruction_that_was_taught(learned: Path) -> None:
    """Other words for the same do the same, to the bit; there are three buttons and a drawer."""
    policy = load(learned)
    assert policy.spec.known == 4
    red = [policy.specialised("PressButton", words).layers[0][1] for words in ("stop it", "The red one, now!", "blue")]
    np.testing.assert_array_equal(red[0], red[1])
    assert np.abs(red[0] - red[2]).max() > 0.01


def test_a_goal_that_is_left_out_is_not_seen(learned: Path, signatures: dict[str, Signature]) -> None:
    network = load(learned).specialised("PressButton", "red")
    size = signatures["PressButton"].observation_size
    observation = np.full(network.inputs, 0.02, np.float32)
    changed = observation.copy()
    changed[size - 3 : size] = 7.0  # the goal
    np.testing.assert_array_equal(network(observation), network(changed))
    changed[0] = 0.03
    assert not np.array_equal(network(observation), network(changed))


def test_the_folded_network_is_the_one_that_was_trained(learned: Path, signatures: dict[str, Signature]) -> None:
    torch = pytest.importorskip("torch")
    from training_ground.agents.checkpoints import last_good_checkpoint
    from training_ground.agents.multitask_training import ToldModel

    data = made_up(signatures)
    model = ToldModel(CONFIG, data)
    checkpoint, _ = last_good_checkpoint(learned / "checkpoints")
    assert checkpoint is not None
    model.restore(checkpoint.tensors, "")
    own = np.random.default_rng(0).standard_normal((20, data.tasks[1].observations.shape[1])).astype(np.float32)
    own *= 0.02  # what was learned from hardly moved: more would be clipped
    time, normal = CLOCK.tell(np.arange(20) * 0.3), CONFIG.normalisation
    seen = data.see([(1, own)], normal.clip, normal.epsilon)
    with torch.no_grad():
        whole = model.network(torch.from_numpy(np.hstack([seen, time, np.tile(heard(["drawer"]), (20, 1))]))).numpy()
    deviation, mean = (np.tile(part, 4) for part in model.scale)
    policy = load(learned)
    policy.spec = policy.spec.model_copy(update={"known": 0})
    folded = policy.specialised("OpenDrawer", "drawer")(np.concatenate([own, time], axis=1))
    np.testing.assert_allclose(folded, whole * deviation + mean, atol=2e-6)


def test_the_policy_is_told_the_time_and_carries_out_its_chunks(learned: Path) -> None:
    policy = load(learned)
    with contextlib.closing(make_env("TrainingGround/OpenDrawer-v0", {"robot": "g1_dex3"})) as env:
        observation, _ = env.reset(seed=1_000_000)
        for _ in range(2):  # the second episode begins as the first did
            policy.reset(env)
            network = policy.specialised("OpenDrawer", policy.said)
            played = [policy.act(observation) for _ in range(4)]
            for step in (0, 2):  # two of four actions of a chunk are carried out
                seen = np.concatenate([observation, CLOCK.tell(step / 50.0)])
                np.testing.assert_array_equal(played[step : step + 2], network(seen).reshape(4, -1).clip(-1, 1)[:2])


# ---- runs ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def _made_up(signatures: dict[str, Signature], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from training_ground.agents import multitask_training

    data = made_up(signatures)
    monkeypatch.setattr(multitask_training, "read", lambda config: data)


@pytest.mark.usefixtures("_made_up")
def test_a_run_that_was_stopped_goes_on_bit_for_bit(learned: Path, tmp_path: Path) -> None:
    preset, folder = tmp_path / "tiny.yaml", tmp_path / "run"
    preset.write_text(yaml.safe_dump(WRITTEN))
    from training_ground.agents.imitation import loop

    with pytest.MonkeyPatch.context() as patch:
        tell = loop.UpdateLoop._tell

        def interrupted(self: Any, log: Any, number: int, loss: float) -> None:
            tell(self, log, number, loss)
            os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(loop.UpdateLoop, "_tell", interrupted)
        assert main(["multitask", str(preset), "--out", str(folder), "--json"]) == 130
    assert not (folder / SPEC).exists()
    assert main(["multitask", "--resume", str(folder), "--json"]) == 0
    resumed, whole = load(folder), load(learned)
    for name, value in whole._tensors.items():
        np.testing.assert_array_equal(resumed._tensors[name], value)
    assert [record["steps"] for record in read_progress(folder)] == [100, 200, 300]


@pytest.mark.usefixtures("_made_up")
def test_what_cannot_be_resumed_is_refused(learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["multitask", "--resume", str(tmp_path)]) == 2
    assert "there is no config.yaml" in capsys.readouterr().err
    shutil.copytree(learned, tmp_path / "damaged")
    for file in (tmp_path / "damaged" / "checkpoints").iterdir():
        file.write_bytes(file.read_bytes()[:-1])
    assert main(["multitask", "--resume", str(tmp_path / "damaged")]) == 2
    assert "no whole checkpoint is left" in capsys.readouterr().err
    assert main(["multitask", "six_g1", "--resume", str(learned), "--out", "x"]) == 2
    assert "give CONFIG and --out" in capsys.readouterr().err


def test_an_episode_is_told_in_the_words_of_its_split(learned: Path) -> None:
    env = make_env("TrainingGround/PressButton-v0", {"robot": "g1_dex3"})
    observation, info = env.reset(seed=1_000_003)
    said = {}
    for phrasing in ("asked", "training", "held_out"):
        policy = load(learned, phrasing)  # type: ignore[arg-type]
        policy.reset(env)
        assert policy.act(observation).shape == env.action_space.shape
        said[phrasing] = policy.said
        policy.reset(env)
        assert policy.said == said[phrasing]
    assert said["asked"] == info["instruction"]
    file = instruction_files()["PressButton"]
    assert said["training"] in file.phrases(info["instruction"], "training")
    assert said["held_out"] in file.phrases(info["instruction"], "held_out")
    policy = load(learned, told="Open the drawer.")
    policy.reset(env)
    assert policy.said == "Open the drawer."
    env.close()
    with pytest.raises(AgentError, match="unknown phrasing 'other'"):
        load(learned, "other")  # type: ignore[arg-type]


def test_a_task_or_cell_that_was_not_learned_is_refused(learned: Path) -> None:
    policy = load(learned)
    with pytest.raises(AgentError, match="before act"):
        policy.act(np.zeros(3, np.float32))
    for task, kwargs, message in (
        ("BeltPick", {"robot": "g1_dex3"}, "unknown task of this policy 'BeltPick'"),
        ("PressButton", {"robot": "g1_grippers"}, "does not fit this environment"),
    ):
        env = make_env(f"TrainingGround/{task}-v0", kwargs)
        env.reset(seed=0)
        with pytest.raises(AgentError, match=message):
            policy.reset(env)
        env.close()


# ---- files -----------------------------------------------------------------------------------------------------------


def test_a_changed_file_is_refused(learned: Path, tmp_path: Path) -> None:
    def copy(change: Any = None, weights: bytes | None = None) -> Path:
        data = json.loads((learned / SPEC).read_text())
        if change is not None:
            change(data)
        (tmp_path / SPEC).write_text(json.dumps(data))
        (tmp_path / WEIGHTS).write_bytes((learned / WEIGHTS).read_bytes() if weights is None else weights)
        return tmp_path

    assert load(copy()).hash == load(learned).hash
    with pytest.raises(AgentError, match="its sha256 is not the one"):
        load(copy(weights=b"x" + (learned / WEIGHTS).read_bytes()[1:]))
    with pytest.raises(AgentError, match=r"layers must go from \d+ to 124"):
        load(copy(lambda data: data["network"]["layers"].__setitem__(-1, 31)))
    with pytest.raises(AgentError, match="sentence_model"):
        load(copy(lambda data: data.update(sentence_model="0" * 64)))
    with pytest.raises(AgentError, match="slot 'object_0' of 7 numbers"):
        load(copy(lambda data: data["interface"]["slots"].update(object_0=8, object_1=6)))
    with pytest.raises(AgentError, match="cannot share a policy"):
        load(copy(lambda data: data["tasks"]["OpenDrawer"].update(robot="g2")))
    with pytest.raises(AgentError, match="missing"):
        load(tmp_path / "nothing")


def test_a_configuration_names_what_is_wrong() -> None:
    good = {"name": "a", "data": {"PressButton": "x", "OpenDrawer": "y"}}
    for change, message in (
        ({"bc": {"execute": 30}}, "execute = 30: a chunk has no more than horizon"),
        ({"bc": {"datasets": ["a"]}}, "bc.datasets: not for several tasks; 'data' is"),
        ({"bc": {"mirror": True}}, "bc.mirror: not for several tasks"),
        ({"unseen": {"OpenDoor": ["goal"]}}, "OpenDoor: no task of 'data'"),
        ({"bc": {"batch_size": 1}}, "at least one sample of each"),
        ({"normalisation": {"observation": False}}, "tasks that share slots need one scale"),
        ({"total_stepz": 3}, "did you mean 'total_steps'"),
    ):
        with pytest.raises(ConfigError, match=message):
            validate(MultiTaskConfig, {**good, **change}, "here")


def test_the_command_learns_and_another_one_measures(
    learned: Path, signatures: dict[str, Signature], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--policy", "zero", "--task", "PressButton", "--phrasing", "asked"]) == 2
    assert "policy 'zero' does one task" in capsys.readouterr().err
    assert main(["multitask", "six_g1", "--out", str(learned)]) == 2
    assert "holds a run" in capsys.readouterr().err
    assert main(["multitask", "six_g1", "data.PressButton=nowhere", "--out", str(tmp_path / "new")]) == 2
    assert "nowhere: " in capsys.readouterr().err
    arguments = ["eval", "--policy", str(learned), "--task", "PressButton", "--phrasing", "held_out", "--json"]
    assert main([*arguments, "--episodes", "1", "--workers", "0", "--set", "episode_length_s=0.2"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert (evaluation["policy"], len(evaluation["episodes"])) == ("test", 1)


def test_told_once_and_for_all_it_is_an_ordinary_bundle(
    learned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It acts as the policy does that is told the same, in numpy and in ONNX Runtime."""
    for task, words in (("PressButton", "the blue one"), ("OpenDrawer", None)):
        out = tmp_path / task
        said = [] if words is None else ["--words", words]
        assert main(["policies", "tell", str(learned), "--task", task, *said, "-o", str(out), "--json"]) == 0
        words = json.loads(capsys.readouterr().out)["words"]
        with contextlib.closing(make_env(f"TrainingGround/{task}-v0", {"robot": "g1_dex3"})) as env:
            observation, info = env.reset(seed=1_000_000)
            assert task == "PressButton" or words == info["instruction"]
            played = []
            for policy in (load(learned, told=words), load_policy(out), load_policy(out, runtime="onnx")):
                policy.reset(env)
                played.append([policy.act(observation) for _ in range(3)])
        np.testing.assert_array_equal(played[0], played[1])
        np.testing.assert_allclose(played[0], played[2], atol=1e-5)
    assert main(["policies", "tell", str(learned), "--task", "OpenDrawer", "-o", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["policies", "tell", str(learned), "--task", "Stand", "-o", str(tmp_path / "new")]) == 2
    assert "unknown task of this policy 'Stand'" in capsys.readouterr().err
