"""Recording: every seed once, whatever happens to the process in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.agents.policy import RandomPolicy, ZeroPolicy
from training_ground.agents.recording import record
from training_ground.configs.errors import AgentError, DatasetError
from training_ground.datasets.replay import Replayer
from training_ground.datasets.store import Store


def run(path: Path, seeds: Any, **options: Any) -> Any:
    return record(
        RandomPolicy(), "TrainingGround/Fake-v0", {"steps": 20}, seeds, path, make=fake_env.make_slow, **options
    )


def seeds_of(store: Store) -> list[int]:
    return sorted(store.metadata(n).seed for n in store.episodes())


@pytest.mark.parametrize("workers", [1, 2])
def test_every_seed_once_and_the_same_whoever_records_it(tmp_path: Path, workers: int) -> None:
    told: list[int] = []
    result = run(tmp_path / "data", range(7), workers=workers, on_episode=lambda n, m: told.append(m.seed))
    assert result.complete and not result.interrupted and sorted(told) == list(range(7))
    store = Store.open(tmp_path / "data")
    assert seeds_of(store) == list(range(7)) and store.verify().ok
    alone = run(tmp_path / "alone", range(7))
    hashes = {m.seed: m.content_sha256 for _, m in alone.episodes}
    assert {m.seed: m.content_sha256 for _, m in result.episodes} == hashes
    with Replayer(store.schema, fake_env.make) as replayer:
        assert all(replayer.replay(episode).identical for episode in store)
    data = result.to_json()
    assert data["failures"] == {"fall": 3} and data["steps"] == 4 * 20 + 3 * 10


def test_a_second_run_records_only_what_is_missing(tmp_path: Path) -> None:
    run(tmp_path / "data", range(3))
    starts: list[int] = []
    again = run(tmp_path / "data", range(5), on_start=lambda r: starts.append(r.present))
    assert starts == [3] and [m.seed for _, m in again.episodes] == [3, 4] and again.complete
    assert run(tmp_path / "data", range(5)).episodes == []
    other = record(
        ZeroPolicy(), "TrainingGround/Fake-v0", {"steps": 20}, [0], tmp_path / "data", make=fake_env.make_slow
    )
    assert len(other.episodes) == 1, "another policy's episode of the same seed is another episode"
    longer = record(
        RandomPolicy(), "TrainingGround/Fake-v0", {"steps": 21}, [0], tmp_path / "data", make=fake_env.make_slow
    )
    assert len(longer.episodes) == 1, "other arguments make another episode"


def test_a_damaged_episode_is_named_with_a_remedy(tmp_path: Path) -> None:
    run(tmp_path / "data", range(3))
    path = Store.open(tmp_path / "data").file(1)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DatasetError, match=r"episode_000001.*delete that file to record its episode again"):
        run(tmp_path / "data", range(3))
    path.unlink()
    assert [m.seed for _, m in run(tmp_path / "data", range(3)).episodes] == [1]


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(AgentError, match="workers = 0"):
        run(tmp_path / "data", [0], workers=0)
    with pytest.raises(AgentError, match="a seed stands twice"):
        run(tmp_path / "data", [0, 0])
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "main.tex").write_text("x")
    with pytest.raises(DatasetError, match="not empty"):
        run(tmp_path / "thesis", [0])


RUNNER = textwrap.dedent(
    """
    import signal
    import sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])

    from test_agents_recording import run

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # who is started in the background ignores it
        path, workers, episodes = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
        result = run(path, range(episodes), workers=workers, on_start=lambda r: print("ready", flush=True))
        print("interrupted" if result.interrupted else "complete", len(result.episodes), flush=True)
    """
)


def start(tmp_path: Path, workers: int, episodes: int = 60) -> subprocess.Popen[str]:
    script = tmp_path / "runner.py"
    script.write_text(RUNNER)
    here, data = str(Path(__file__).parent), str(tmp_path / "data")
    command = [sys.executable, str(script), here, data, str(workers), str(episodes)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def kill_and_go_on(tmp_path: Path, workers: int, kills: int) -> None:
    generator = np.random.default_rng(workers)
    for _ in range(kills):
        process = start(tmp_path, workers)
        # A pool takes seconds to start; most kills shall meet work.
        time.sleep(float(generator.uniform(0.0, 0.7)) + (1.5 if workers > 1 else 0))
        process.kill()
        process.communicate()
    said = start(tmp_path, workers).communicate()[0]
    assert said.startswith("complete")
    store = Store.open(tmp_path / "data")
    assert set(seeds_of(store)) == set(range(60)) and store.verify().ok
    # A worker that outlives its parent by a moment may finish what was just ending; nothing is recorded a third time.
    assert len(store) <= 60 + kills * (workers - 1)
    with Replayer(store.schema, fake_env.make) as replayer:
        assert replayer.replay(store.read(store.episodes()[-1])).identical


def test_sigkill_then_the_same_command_completes(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, workers=1, kills=2)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_many_sigkills_then_the_same_command_completes(tmp_path: Path, workers: int) -> None:
    kill_and_go_on(tmp_path, workers, kills=6)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_complete_and_says_so(tmp_path: Path, workers: int) -> None:
    process = start(tmp_path, workers, episodes=100_000)
    path = tmp_path / "data" / "episodes"
    deadline = time.monotonic() + 60
    while len(list(path.glob("episode_*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[0].split()
    assert said[0] == "interrupted" and process.returncode == 0
    store = Store.open(tmp_path / "data")
    assert store.verify().ok and not store.recovered
    assert len(store) - int(said[1]) in range(workers + 1)  # one a worker may end while the pool is told to stop
