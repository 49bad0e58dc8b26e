"""Find a robot's URDF and its meshes: in an installed package, in `robot_descriptions`, or at a path."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path

from training_ground.assets.spec import Source
from training_ground.configs.errors import AssetError, unknown

MAX_MESH_BYTES = 200_000_000


@dataclass(frozen=True)
class Files:
    """A URDF and the folders in which its `package://` names are looked up."""

    urdf: Path
    roots: tuple[Path, ...]

    def mesh(self, name: str) -> Path:
        """Return the file that a `<mesh filename>` names: `package://`, `model://`, `file://`, absolute or relative to
        the URDF.

        Raises:
            AssetError: No such file; the message lists where it was looked for.
        """
        match = re.match(r"^(package|model)://+([^/]+)/(.*)$", name)
        if match:
            package, rest = match.group(2), match.group(3)
            tried = [root / package / rest for root in self.roots] + [
                root / rest for root in self.roots if root.name == package
            ]
        else:
            tried = [self.urdf.parent / name.removeprefix("file://")]
        for path in tried:
            if path.is_file():
                if path.stat().st_size > MAX_MESH_BYTES:
                    raise AssetError(f"{path}: larger than {MAX_MESH_BYTES} bytes")
                return path
        raise AssetError(f"{self.urdf}: mesh '{name}' not found; looked for {', '.join(str(p) for p in tried)}")


def find_files(source: Source, folder: Path | None = None) -> Files:
    """Resolve a specification's source.

    Args:
        source: Exactly one of `package` (with `urdf`), `robot_description` and `path` is set.
        folder: What a relative `path` starts from; the working directory where None.

    Raises:
        AssetError: None or several of the three are set, the package is not installed, or there is no such URDF.
    """
    given = [key for key in ("package", "robot_description", "path") if getattr(source, key) is not None]
    if len(given) != 1:
        raise AssetError(
            f"source: give exactly one of package, robot_description and path, not {' and '.join(given) or 'none'}"
        )
    if source.path is not None:
        urdf = ((folder or Path()) / source.path).resolve()
        if not urdf.is_file():
            raise AssetError(f"source.path: no file {urdf}")
        return Files(urdf, tuple(urdf.parents))
    if source.robot_description is not None:
        return _robot_description(source.robot_description)
    return _package(source.package or "", source.urdf)


def _package(package: str, urdf: str | None) -> Files:
    try:
        distribution = importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError as problem:
        raise AssetError(f"source.package: '{package}' is not installed; pip install {package}") from problem
    if not urdf:
        raise AssetError(f"source.urdf: name a URDF of '{package}'")
    # cmeel wheels keep their files below `cmeel.prefix`, where CMake put them.
    share = Path(str(distribution.locate_file("cmeel.prefix/share")))
    roots = [share, Path(str(distribution.locate_file("")))]
    robots = [share / package / "robots", share / package, roots[1] / package.replace("-", "_")]
    for base in robots:
        if (base / urdf).is_file():
            return Files(base / urdf, (*roots, base))
    found = sorted({p.relative_to(base).as_posix() for base in robots for p in base.rglob("*.urdf")})
    raise AssetError(f"source: {unknown(f'URDF of {package}', urdf, found)}")


def _robot_description(name: str) -> Files:
    try:
        importlib.import_module("robot_descriptions")
    except ImportError as problem:
        raise AssetError(
            "source.robot_description: needs robot_descriptions; pip install robot_descriptions"
        ) from problem
    known = importlib.import_module("robot_descriptions._descriptions").DESCRIPTIONS
    if name not in known or not known[name].has_urdf:
        names = [key for key, value in known.items() if value.has_urdf]
        raise AssetError(f"source.robot_description: {unknown('description', name, names)}")
    try:
        module = importlib.import_module(f"robot_descriptions.{name}")
    except Exception as problem:
        # Its first import clones a repository; whatever git or the network says arrives here.
        raise AssetError(f"source.robot_description: '{name}' could not be fetched: {problem}") from problem
    urdf, package = Path(module.URDF_PATH), Path(module.PACKAGE_PATH)
    roots = (package.parent, package, Path(module.REPOSITORY_PATH), *urdf.parents)
    return Files(urdf, roots)
