"""One policy for several tasks: what it sees, what it hears, and what its file holds."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_ground.agents import multitask_data, multitask_policy
from training_ground.agents.multitask import require_alike, shared
from training_ground.agents.multitask_data import Demonstrations, TaskData
from training_ground.agents.multitask_policy import SPEC, WEIGHTS, MultiTaskPolicy, clock, load
from training_ground.agents.signature import ChannelSignature, Signature, signature_of
from training_ground.agents.stepping import make_env
from training_ground.cli.main import main
from training_ground.configs.errors import AgentError, ConfigError
from training_ground.configs.instructions import instruction_files
from training_ground.configs.loading import validate
from training_ground.configs.multitask_training import MultiTaskConfig

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


def heard(texts: Sequence[str]) -> np.ndarray:
    """Stands in for the sentence model: what matters of a text is its colour, the rest is noise."""
    vectors = []
    for text in texts:
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
        vector = 0.2 * np.random.default_rng(seed).standard_normal(384)
        for i, words in enumerate((("green", "start"), ("blue", "reset"), ("red", "stop"), ("drawer",))):
            vector[i] += 12.0 * any(word in text.lower() for word in words)
        vectors.append(vector / np.linalg.norm(vector))
    return np.array(vectors, np.float32).reshape(len(texts), 384)


@pytest.fixture(autouse=True)
def _no_sentence_model(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (multitask_data, multitask_policy):
        monkeypatch.setattr(module, "embed", heard)


ASKED = {
    "PressButton": [
        f"Press the {button}, and take your hand away."
        for button in ("green button (start)", "blue button (reset)", "red button (stop)")
    ],
    "OpenDrawer": ["Pull the drawer open, let go of its handle, and take your hand away."],
}


def demonstrations(signatures: dict[str, Signature]) -> list[TaskData]:
    """Episodes of six steps in which the first joint does what is asked for; all that is seen is zeros."""
    tasks = []
    for task, asked in ASKED.items():
        signature, episodes, steps = signatures[task], 12, 6
        actions = np.zeros((episodes * steps, signature.action_size), np.float32)
        actions[:, 0] = np.repeat([0.2 * (i % len(asked)) - 0.2 for i in range(episodes)], steps)
        actions[:, 1] = 0.5 if task == "OpenDrawer" else -0.5
        tasks.append(
            TaskData(
                task,
                signature,
                np.zeros((episodes * steps, signature.observation_size), np.float32),
                actions,
                np.repeat(np.arange(1, episodes + 1) * steps - 1, steps),
                np.repeat(np.arange(episodes), steps),
                np.tile(np.arange(steps), episodes),
                tuple(asked[i % len(asked)] for i in range(episodes)),
                tuple(range(episodes)),
                "0" * 64,
            )
        )
    return tasks


CONFIG = MultiTaskConfig(
    name="test", data={"PressButton": "a", "OpenDrawer": "b"}, unseen={"PressButton": ("goal",)}, hidden=(32,), words=8,
    horizon=4, execute=2, steps=300, batch=64, learning_rate=3e-3, loss="l2",
)  # fmt: skip


@pytest.fixture(scope="module")
def learned(signatures: dict[str, Signature], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("torch")
    from training_ground.agents import multitask_training

    folder = tmp_path_factory.mktemp("policy")
    with pytest.MonkeyPatch.context() as patch:
        for module in (multitask_data, multitask_policy):
            patch.setattr(module, "embed", heard)
        data = Demonstrations(demonstrations(signatures), CONFIG.unseen, instruction_files())
        patch.setattr(multitask_training, "read", lambda config: data)
        multitask_training.train(CONFIG, folder)
    return folder


def first_action(policy: MultiTaskPolicy, task: str, words: str) -> np.ndarray:
    """The first action of a chunk."""
    network = policy.specialised(task, words)
    return network(np.zeros(network.inputs, np.float32)).reshape(4, -1)[0]


def test_words_alone_decide_what_is_done(learned: Path) -> None:
    policy = load(learned)
    for wanted, phrase in ((-0.2, "Kindly poke the green button."), (0.0, "Blue, please!"), (0.2, "stop it")):
        action = first_action(policy, "PressButton", phrase)
        assert action[0] == pytest.approx(wanted, abs=0.09)
        assert action[1] == pytest.approx(-0.5, abs=0.3)
    assert first_action(policy, "OpenDrawer", "the drawer")[1] == pytest.approx(0.5, abs=0.3)


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
    policy, task = load(learned), "OpenDrawer"
    tensors = {name: torch.from_numpy(np.array(value)) for name, value in policy._tensors.items()}
    data = Demonstrations(demonstrations(signatures), CONFIG.unseen, instruction_files())
    own = np.random.default_rng(0).standard_normal((20, data.tasks[1].observations.shape[1])).astype(np.float32)
    own *= 0.02  # what was learned from hardly moved: more would be clipped
    time = clock(np.arange(20) * 0.3)
    seen = torch.from_numpy(np.concatenate([data.see([(1, own)], CONFIG.clip, CONFIG.epsilon), time], axis=1))
    words = torch.tanh(torch.from_numpy(heard(["drawer"])) @ tensors["words.weight"].T + tensors["words.bias"])
    x = torch.cat([seen, words.expand(20, -1)], dim=1)
    x = torch.nn.functional.elu(x @ tensors["weight.0"].T + tensors["bias.0"])
    whole = x @ tensors["weight.1"].T + tensors["bias.1"]
    np.testing.assert_allclose(
        policy.specialised(task, "drawer")(np.concatenate([own, time], axis=1)), whole.numpy(), atol=2e-6
    )


def test_the_clock_tells_the_time_until_it_stands_still(learned: Path, signatures: dict[str, Signature]) -> None:
    times = clock(np.arange(0.0, 19.9, 0.02))
    assert np.abs(times).max() <= 1.0
    assert len({tuple(row) for row in times.round(3).tolist()}) == len(times)
    np.testing.assert_array_equal(clock(20.0), clock(50.0))
    policy = load(learned)
    env = make_env("TrainingGround/OpenDrawer-v0", {"robot": "g1_dex3"})
    observation, _ = env.reset(seed=1_000_000)
    policy.reset(env)
    network = policy.specialised("OpenDrawer", policy.said)
    played = [policy.act(observation) for _ in range(4)]
    for step in (0, 2):  # two of four actions of a chunk are carried out
        chunk = network(np.concatenate([observation, clock(step / 50.0)])).reshape(4, -1).clip(-1, 1)
        np.testing.assert_array_equal(played[step : step + 2], chunk[:2])
    env.close()


def test_training_repeats(learned: Path, signatures: dict[str, Signature]) -> None:
    pytest.importorskip("torch")
    from training_ground.agents.multitask_training import fit, tensors_of

    data = Demonstrations(demonstrations(signatures), CONFIG.unseen, instruction_files())
    again = tensors_of(CONFIG, data, fit(CONFIG, data))
    for name, value in load(learned)._tensors.items():
        np.testing.assert_array_equal(again[name], value)


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
        ({"execute": 30}, "execute = 30: no more than horizon"),
        ({"unseen": {"OpenDoor": ["goal"]}}, "OpenDoor: no task of 'data'"),
        ({"batch": 1}, "at least one sample of each"),
        ({"stepz": 3}, "did you mean 'steps'"),
    ):
        with pytest.raises(ConfigError, match=message):
            validate(MultiTaskConfig, {**good, **change}, "here")


def test_the_command_learns_and_another_one_measures(
    learned: Path, signatures: dict[str, Signature], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["eval", "--policy", "zero", "--task", "PressButton", "--phrasing", "asked"]) == 2
    assert "policy 'zero' does one task" in capsys.readouterr().err
    assert main(["multitask", "six_g1", "--out", str(learned)]) == 2
    assert "holds a policy" in capsys.readouterr().err
    assert main(["multitask", "six_g1", "data.PressButton=nowhere", "--out", str(tmp_path / "new")]) == 2
    assert "nowhere: there is no such folder" in capsys.readouterr().err
    arguments = ["eval", "--policy", str(learned), "--task", "PressButton", "--phrasing", "held_out", "--json"]
    assert main([*arguments, "--episodes", "1", "--workers", "0", "--set", "episode_length_s=0.2"]) == 0
    evaluation = json.loads(capsys.readouterr().out)
    assert (evaluation["policy"], len(evaluation["episodes"])) == ("test", 1)
