"""The house rules that a machine can check: which layer imports which, what is packaged, what never appears."""

from __future__ import annotations

import ast
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "configs": set(),
    "assets": {"configs"},
    "envs": {"configs", "assets"},
    "datasets": {"configs", "assets", "envs"},
    "agents": {"configs", "assets", "envs", "datasets"},
    "cli": {"configs", "assets", "envs", "datasets", "agents"},
}
SEAM = "envs/world"  # the folder in whose place a second engine comes
ENGINE_FILE = f"{SEAM}/engine.py"
LEARNING = {"torch", "stable_baselines3", "sb3_contrib", "tensorboard", "optuna"}
LIGHT_LAYERS = ("configs", "assets", "envs", "datasets")
UNSAFE = {"pickle", "cloudpickle", "dill", "shelve", "marshal", "joblib"}
MOST_LINES = 500  # 200 is comfortable, 350 a question
UNSAFE_CALLS = {"eval", "exec"}
DATA = {".yaml", ".json", ".html", ".css", ".js", ".safetensors", ".onnx", ".md", ".c"}
FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module that a file imports, at its top or inside a function, dotted and absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                base = ".".join([*parents[: len(parents) - node.level + 1], *([base] if base else [])])
            yield from (f"{base}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and _name(node.func) in ("import_module", "__import__") and node.args:
            first = node.args[0]
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def parsed(path: Path) -> tuple[ast.Module, list[str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    package = "training_ground." + ".".join(path.relative_to(ROOT).with_suffix("").parts[:-1])
    return tree, list(imports(tree, package))


def faults(path: Path) -> list[str]:
    """Every rule that a file breaks, as sentences."""
    tree, found = parsed(path)
    layer = path.relative_to(ROOT).parts[0]
    result = []
    for name in found:
        root, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        if root == "training_ground" and target in LAYERS and target != layer and target not in LAYERS[layer]:
            result.append(f"imports {name}: '{layer}' may import only {sorted(LAYERS[layer])}")
        if root.startswith("pybullet") and relative(path) != ENGINE_FILE:
            result.append(f"imports {name}: only {ENGINE_FILE} may")
        if name.startswith("training_ground.envs.world.engine") and not relative(path).startswith(f"{SEAM}/"):
            result.append(f"imports {name}: only files in {SEAM} may")
        if root in LEARNING and layer in LIGHT_LAYERS:
            result.append(f"imports {name}: {layer} runs without a learning library")
        if root in UNSAFE:
            result.append(f"imports {name}: loading it can run code")
        if root == "lerobot":
            result.append("imports lerobot: the format is written without it")
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in UNSAFE_CALLS:
            result.append(f"line {node.lineno}: calls {node.func.id}")
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            result.append(f"line {node.value.lineno}: allow_pickle")
    return result


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_file_keeps_the_rules(path: Path):
    assert faults(path) == []


@pytest.mark.parametrize(
    ("where", "code", "fault"),
    [
        ("assets/x.py", "from training_ground.envs.env import HumanoidEnv", "may import only"),
        ("assets/x.py", "def f():\n    from training_ground import cli", "may import only"),
        ("envs/tasks/x.py", "from ...agents import policy", "may import only"),
        ("envs/env.py", "import pybullet_data", "only envs/world/engine.py"),
        ("envs/env.py", "import importlib\nimportlib.import_module('pybullet')", "only envs/world/engine.py"),
        ("envs/env.py", "from training_ground.envs.world.engine import engine", "only files in envs/world"),
        ("datasets/x.py", "import torch.nn", "learning library"),
        ("agents/x.py", "import pickle", "can run code"),
        ("agents/x.py", "eval('1')", "calls eval"),
        ("datasets/x.py", "numpy.load(f, allow_pickle=True)", "allow_pickle"),
    ],
)
def test_a_broken_rule_is_found(where: str, code: str, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    path = tmp_path / where
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert any(fault in line for line in faults(path))


def test_the_layers_have_no_cycle():
    names = list(LAYERS)
    for index, name in enumerate(names):
        assert LAYERS[name] <= set(names[:index])


def test_no_package_hides_hugging_face_datasets():
    assert not (ROOT / "datasets" / "__init__.py").exists()
    assert (ROOT / "assets" / "__init__.py").exists()  # importlib.resources needs it in an editable installation


def settings() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib")  # Python 3.11
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_folder_with_python_is_a_listed_package():
    folders = {"training_ground." + ".".join(path.parent.relative_to(ROOT).parts) for path in FILES}
    assert set(settings()["packages"]) == folders
    assert {name.removeprefix("training_ground."): folder for name, folder in settings()["package-dir"].items()} == {
        layer: layer for layer in LAYERS
    }


def test_every_package_but_datasets_has_an_init():
    missing = {relative(path.parent) for path in FILES if not (path.parent / "__init__.py").exists()}
    assert missing == {"datasets"}


def tree() -> set[str]:
    """What a wheel must hold, as paths below `training_ground/`."""
    found = {relative(path) for path in FILES}
    for layer in LAYERS:
        found |= {relative(path) for path in (ROOT / layer).rglob("*") if path.suffix in DATA and path.is_file()}
    return {name for name in found if "__pycache__" not in name}


def test_files_say_one_thing():
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    long = {name: count for name, count in lengths.items() if count > MOST_LINES}
    assert long == {}, "files too long to be read at once"


@pytest.mark.parametrize("path", [*FILES, ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=relative)
def test_nothing_of_a_machine_is_written_down(path: Path):
    text = path.read_text(encoding="utf-8")
    for mark in ("/home/", "/root/", "/work/", "file:///"):
        assert mark not in text, f"{mark} in {relative(path)}"


@pytest.mark.slow
def test_wheel_and_sdist_hold_the_tree(tmp_path: Path):
    from build import ProjectBuilder

    source = Path(ProjectBuilder(ROOT).build("sdist", str(tmp_path)))
    with tarfile.open(source) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / source.name.removesuffix(".tar.gz")
    inside = {path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*")}
    assert tree() - inside == set(), "missing from the source distribution"
    assert {"pyproject.toml", "README.md", "LICENSE"} <= inside
    # From the unpacked source, as pip builds it: what lies in the tree's build folder must not get in.
    wheel = Path(ProjectBuilder(unpacked).build("wheel", str(tmp_path)))
    with zipfile.ZipFile(wheel) as archive:
        names = {name.removeprefix("training_ground/") for name in archive.namelist() if name.startswith("training_")}
    packed = {name for name in names if ".dist-info" not in name and not name.endswith((".so", ".pyd"))}
    assert packed == tree()
