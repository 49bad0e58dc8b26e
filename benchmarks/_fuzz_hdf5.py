"""HDF5 files for `_fuzz_formats.py`: as Minari and robosuite write them, and with what no writer would write."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from _fuzz_damage import Mutation, json_damaged

STEPS = 6


def _hdf5(change: Callable[[Any, random.Random], None]) -> Mutation:
    def apply(folder: Path, draw: random.Random) -> None:
        (path,) = folder.rglob("*.hdf5")
        with h5py.File(path, "r+") as file, contextlib.suppress(ValueError, OSError, TypeError, RuntimeError, KeyError):
            change(file, draw)  # some of it HDF5 does not write

    return apply


def _places(file: Any, kind: type) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, kind) else None)
    return found


def _replaced(make: Callable[[Any, str, Any, random.Random], None]) -> Mutation:
    """Put something else in the place of a dataset."""

    def change(file: Any, draw: random.Random) -> None:
        name = draw.choice(_places(file, h5py.Dataset))
        values = file[name][()]
        del file[name]
        make(file, name, values, draw)

    return _hdf5(change)


def _linked(file: Any, name: str, values: Any, draw: random.Random) -> None:
    targets = (h5py.ExternalLink("/etc/hostname", "/"), h5py.SoftLink("/"), h5py.SoftLink(f"/{name}"))
    file[name] = draw.choice((*targets, h5py.ExternalLink("../../canary", "/")))


def _elsewhere(file: Any, name: str, values: Any, draw: random.Random) -> None:
    where = draw.choice(("/etc/hostname", "../../../canary", "/dev/zero"))
    file.create_dataset(name, values.shape, values.dtype, external=[(where, 0, max(1, values.nbytes))])


def _virtual(file: Any, name: str, values: Any, draw: random.Random) -> None:
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource(draw.choice(("/etc/hostname", ".")), draw.choice(("x", name)), values.shape)
    file.create_virtual_dataset(name, layout)


def _claims(file: Any, name: str, values: Any, draw: random.Random) -> None:
    rows = values.shape[0] if draw.random() < 0.8 else draw.choice((0, 1, 2**40))
    wide = (rows, draw.choice((1, 2**20, 2**28, 2**40)))
    packed = {"chunks": (1, min(wide[1], 2**20)), "compression": draw.choice(("gzip", "lzf", None))}
    file.create_dataset(name, wide, values.dtype, **packed)


def _retyped(file: Any, name: str, values: Any, draw: random.Random) -> None:
    kinds = ("f2", "f8", "i1", "u8", "S3", "?", ">f4", "c8", "V7")
    other = np.zeros(values.shape, draw.choice(kinds))
    if draw.random() < 0.3:
        other = np.full(values.shape, draw.choice((np.nan, np.inf, 1e300)))
    if draw.random() < 0.2:
        file.create_dataset(name, values.shape, draw.choice((h5py.string_dtype(), h5py.ref_dtype)))
        return
    file[name] = other.reshape(draw.choice((values.shape, (values.size,), (*values.shape, 1))))


def _bombed(file: Any, name: str, values: Any, draw: random.Random) -> None:
    zeros = np.zeros((len(values), 1 << draw.choice((10, 20, 23))), "u1")
    file.create_dataset(name, data=zeros, compression="gzip", compression_opts=9)


def _looped(file: Any, draw: random.Random) -> None:
    groups = _places(file, h5py.Group)
    for index in range(draw.choice((1, 30))):
        file[f"{draw.choice(groups)}/{draw.choice(('x', 'observations', 'obs'))}{index}"] = file[draw.choice(groups)]


def _attribute(file: Any, draw: random.Random) -> None:
    item = file[draw.choice([name for name in ["/", *_places(file, h5py.Group)] if len(file[name].attrs)] or ["/"])]
    name = draw.choice(sorted(item.attrs) or ["x"])
    value = item.attrs.get(name, "{}")
    if isinstance(value, str) and value[:1] == "{" and draw.random() < 0.7:
        raw = json_damaged(value.encode(), draw)
        item.attrs[name] = raw.decode("utf-8", "replace").replace("\0", "")
        return
    del item.attrs[name]
    item.attrs[name] = draw.choice(
        (-1, 2**62, np.nan, np.zeros(300), "x" * 100_000, b"\xff\xfe", "../..", h5py.Empty("f"))
    )


HDF5: dict[str, Mutation] = {
    "link": _replaced(_linked),
    "elsewhere": _replaced(_elsewhere),
    "virtual": _replaced(_virtual),
    "claim": _replaced(_claims),
    "type": _replaced(_retyped),
    "bomb": _replaced(_bombed),
    "loop": _hdf5(_looped),
    "attribute": _hdf5(_attribute),
    "gone": _hdf5(lambda file, draw: file.__delitem__(draw.choice(_places(file, h5py.Dataset)))),
}


def minari_sample(folder: Path) -> None:
    """Write a dataset as Minari's collector does: nested observations, an action of two parts, JPEG left out."""
    data = folder / "data"
    data.mkdir()
    box = {"type": "Box", "dtype": "float64", "shape": [3], "low": [-1, -1, -1], "high": [1, 1, 1]}
    pair = {"type": "Tuple", "subspaces": [box, {"type": "Discrete", "dtype": "int64", "start": 0, "n": 5}]}
    spaces = {"observation_space": {"type": "Dict", "subspaces": {"goal": box, "pair": pair}}, "action_space": pair}
    about = {"total_episodes": 2, "total_steps": 2 * STEPS, "data_format": "hdf5", "dataset_id": "made-v0"}
    about |= {key: json.dumps(space) for key, space in spaces.items()} | {"minari_version": "0.5.4"}
    (data / "metadata.json").write_text(json.dumps(about))
    with h5py.File(data / "main_data.hdf5", "w") as file:
        for index in range(2):
            group = file.create_group(f"episode_{index}")
            group.attrs.update({"id": index, "seed": index, "total_steps": STEPS})
            for name, rows in (("observations/goal", STEPS + 1), ("observations/pair/_index_0", STEPS + 1)):
                group[name] = np.arange(3.0 * rows).reshape(-1, 3)
            group["observations/pair/_index_1"] = np.arange(STEPS + 1)
            group["actions/_index_0"], group["actions/_index_1"] = np.ones((STEPS, 3)), np.arange(STEPS)
            group["rewards"] = np.arange(STEPS, dtype=float)
            group["terminations"] = group["truncations"] = np.arange(STEPS) == STEPS - 1
            group["infos/speed"] = np.arange(STEPS + 1.0)


def robomimic_sample(folder: Path) -> None:
    """Write a file as robosuite's scripts do."""
    with h5py.File(folder / "dataset.hdf5", "w") as file:
        arguments = {"env_name": "Lift", "env_type": 1, "env_kwargs": {"control_freq": 20}, "env_version": "1.4.1"}
        file.create_group("data").attrs.update({"total": 2 * STEPS, "env_args": json.dumps(arguments)})
        for index in range(2):
            group = file.create_group(f"data/demo_{index}")
            group.attrs["num_samples"] = STEPS
            group["obs/object"] = group["next_obs/object"] = np.arange(2.0 * STEPS).reshape(-1, 2)
            group["obs/image"] = np.full((STEPS, 4, 4, 3), index, "u1")
            group["actions"], group["rewards"] = np.full((STEPS, 7), 0.5), np.arange(STEPS, dtype=float)
            group["dones"], group["states"] = np.arange(STEPS) == STEPS - 1, np.zeros((STEPS, 9))
