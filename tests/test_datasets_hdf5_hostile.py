"""HDF5 files of strangers: whatever they claim or point to, the answer is one error, and nothing is left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdf5_files import h5py, minari, robomimic_file

from training_ground.configs.errors import DatasetError
from training_ground.datasets.importing import import_


def soft(file: Any) -> None:
    del file["episode_0/infos/speed"]
    file["episode_0/infos/speed"] = h5py.SoftLink("/episode_1/infos/speed")


def soft_group(file: Any) -> None:
    del file["episode_0"]
    file["episode_0"] = h5py.SoftLink("/episode_1")


def outside(file: Any) -> None:
    del file["episode_1/rewards"]
    file["episode_1/rewards"] = h5py.ExternalLink("/etc/hostname", "/")


def external(file: Any) -> None:
    del file["episode_0/actions"]
    secret = Path(file.filename).parent.parent.parent / "secret"
    secret.write_bytes(bytes(32))
    file["episode_0"].create_dataset("actions", (4,), "i8", external=[(str(secret), 0, 32)])


def virtual(file: Any) -> None:
    del file["episode_0/actions"]
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file["episode_0"].create_virtual_dataset("actions", layout)


def bomb(file: Any) -> None:
    del file["episode_0/infos/speed"]
    file["episode_0"].create_dataset("infos/speed", (5, 1 << 28), "u1", chunks=(1, 1 << 20), compression="gzip")


def huge(file: Any) -> None:
    file["episode_0"].create_dataset("infos/huge", (1 << 40, 1 << 10), "f8", chunks=(1, 1024))


def wide_chunks(file: Any) -> None:
    space, kind = h5py.h5s.create_simple((5,), (h5py.h5s.UNLIMITED,)), h5py.h5t.NATIVE_DOUBLE
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_chunk((1 << 28,))
    h5py.h5d.create(file["episode_0/infos"].id, b"wide", kind, space, plist)


def loop(file: Any) -> None:
    for index in range(300):
        file[f"episode_0/infos/{index}"] = file["episode_0"]


def twice(file: Any) -> None:
    del file["episode_1"]
    file["episode_1"] = file["episode_0"]


def deep(file: Any) -> None:
    file["episode_0/infos/a/b/c/d/e/f/g/h/i"] = np.zeros(5)


def references(file: Any) -> None:
    del file["episode_0/actions"]
    file["episode_0"].create_dataset("actions", (4,), h5py.ref_dtype)


def filtered(file: Any) -> None:
    file["episode_0"].create_dataset("infos/x", data=np.zeros(5, "i4"), chunks=(5,), scaleoffset=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (soft, "episode_0/infos/speed: is a soft link"),
        (soft_group, "episode_0: is a soft link"),
        (outside, "episode_1/rewards: is an external link"),
        (external, "episode_0/actions: keeps its values in another file"),
        (virtual, "episode_0/actions: is a virtual dataset"),
        (bomb, "infos/speed: claims 1342177280 bytes, but has 0"),
        (huge, "infos/huge: claims 9007199254740992 bytes, more than"),
        (wide_chunks, "infos/wide: has chunks of shape"),
        (loop, "episode_0/infos/0: is a group that stands in two places"),
        (twice, "episode_1: is a group that stands in two places"),
        (deep, "nested more than 8 deep"),
        (references, "in the episodes before not there as numbers"),
        (filtered, r"infos/x: filters \[6\] are not allowed"),
    ],
)
def test_what_points_outside_or_claims_too_much_is_refused(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    source = minari(tmp_path / "in", change)
    with pytest.raises(DatasetError, match=message):
        import_(source, "minari", tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"dataset_id": "../../etc/x-v0"}, "dataset_id = '../../etc/x-v0'"),
        ({"data_format": "arrow"}, "only 'hdf5' is read"),
        ({"observation_space": {"type": "Box"}}, "must be a text with JSON"),
        ({"observation_space": "[" * 100_000}, "observation_space: malformed JSON"),
        ({"action_space": json.dumps({"type": "os:makedirs"})}, "is a 'os:makedirs'; Minari writes"),
        ({"action_space": json.dumps({"type": []})}, r"is a \[\]; Minari writes"),
        (
            {"action_space": json.dumps({"type": "Box", "shape": [2]})},
            r"shape \(2,\), but it has samples of shape \(\)",
        ),
        ({"action_space": json.dumps({"type": "Box", "shape": "2"})}, "must be a list of whole numbers"),
    ],
)
def test_metadata_that_lies_is_refused(tmp_path: Path, metadata: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        import_(minari(tmp_path / "in", **metadata), "minari", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_environment_is_made_from_a_file(tmp_path: Path) -> None:
    """Minari itself would make the directory: `gym.make` on an env_spec whose entry point is os:makedirs."""
    victim = tmp_path / "made"
    spec = {"id": "x-v0", "entry_point": "os:makedirs", "kwargs": {"name": str(victim)}}
    spec |= {"reward_threshold": None, "nondeterministic": False, "max_episode_steps": None, "additional_wrappers": []}
    source = minari(tmp_path / "in", observation_space=None, action_space=None, env_spec=json.dumps(spec))
    assert import_(source, "minari", tmp_path / "out").episodes == 2
    assert not victim.exists()


def test_links_among_the_files_are_refused(tmp_path: Path) -> None:
    source = minari(tmp_path / "in")
    data = source / "data/main_data.hdf5"
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatasetError, match="is a symbolic link"):
        import_(source, "minari", tmp_path / "out")


def test_robomimic_s_links_and_attributes_are_refused(tmp_path: Path) -> None:
    def link(file: Any) -> None:
        file["data/demo_0/obs/stolen"] = h5py.ExternalLink("/etc/hostname", "/")

    for name, change, attributes, message in (
        ("a", link, {}, "obs/stolen: is an external link"),
        ("b", None, {"env_args": "{]"}, "env_args: malformed JSON"),
        ("c", None, {"env_args": np.zeros(3)}, "attribute 'env_args' must be one text"),
        ("d", None, {"training_ground": "{}"}, "format = None"),
    ):
        with pytest.raises(DatasetError, match=message):
            import_(robomimic_file(tmp_path / name, change, **attributes), "robomimic", tmp_path / "out")
