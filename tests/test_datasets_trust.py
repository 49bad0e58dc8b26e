"""Manifest, Merkle tree and signature: what was signed, what is new since, and what was tampered with."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fake_env
import numpy as np
import pytest

from training_ground.cli.main import main
from training_ground.configs.errors import DatasetError
from training_ground.datasets import about, manifest, merkle, signing
from training_ground.datasets.provenance import make_schema
from training_ground.datasets.recorder import Recorder
from training_ground.datasets.store import Store
from training_ground.datasets.trust import TrustReport, check, check_episode, episode_proof, sign_store

pytest.importorskip("cryptography")
MEDIA = f"media/{'c' * 64}.mkv"
# Leaves and roots of Certificate Transparency's own tests of RFC 6962.
LEAVES = ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
ROOTS = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    2: "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    3: "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    5: "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


def record(store: Store, *seeds: int) -> None:
    recorder = Recorder(fake_env.FakeEnv(steps=4), store, policy="test")
    for seed in seeds:
        recorder.reset(seed=seed)
        while not any(recorder.step(np.zeros(3, np.float32))[2:4]):
            pass


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a signed store and keys: `data`, `key`, `key.pub`, and a stranger's `other`, `other.pub`."""
    folder = tmp_path_factory.mktemp("signed")
    store = Store.create(folder / "data", make_schema(fake_env.FakeEnv()))
    record(store, 0, 1, 2)
    for path in (MEDIA, "annotations/annotation_000000.json"):
        (folder / "data" / path).parent.mkdir()
        (folder / "data" / path).write_bytes(b"[]")
    about.update(store.path, licence="CC0-1.0")
    for name in ("key", "other"):
        signing.make_key(folder / name)
    sign_store(store, folder / "key", signing.read_private_key(folder / "key"))
    return folder


@pytest.fixture
def signed(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "copy")
    return tmp_path / "copy"


def keys(folder: Path, *names: str) -> list[bytes]:
    return [key for name in names for key in signing.read_public_keys(folder / f"{name}.pub")]


def checked(folder: Path, *names: str) -> TrustReport:
    return check(folder / "data", keys(folder, *(names or ("key",))))


# ---- the tree --------------------------------------------------------------------------------------------------------


def test_the_tree_is_that_of_rfc_6962() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in LEAVES]
    for count, root in ROOTS.items():
        assert merkle.root(leaves[:count]).hex() == root


def test_every_proof_leads_to_the_root_and_no_other_does() -> None:
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(40)]
    for count in range(1, 41):
        root = merkle.root(leaves[:count])
        for index in range(count):
            path = merkle.path_of(leaves[:count], index)
            assert merkle.root_from_path(leaves[index], index, count, path) == root
            wrong = [(leaves[index - 1], index, path), (leaves[index], (index + 1) % count, path)]
            wrong += [(leaves[index], index, [*path, root]), (leaves[index], index, path[:-1])]
            for leaf, place, steps in wrong if count > 1 else []:
                assert merkle.root_from_path(leaf, place, count, steps) != root, (count, index, place)
    assert merkle.root_from_path(leaves[0], 3, 3, []) is None


# ---- the manifest ----------------------------------------------------------------------------------------------------


def test_a_manifest_lists_every_file_that_holds_data_and_is_the_same_every_time(signed: Path) -> None:
    store = Store.open(signed / "data")
    for derived in ("index/episodes.parquet", "README.md", "croissant.json"):
        (store.path / derived).parent.mkdir(exist_ok=True)
        (store.path / derived).write_text("derived")
    found = manifest.build(store)
    assert found.encode() == (store.path / "manifest.json").read_bytes()
    episodes = [f"episodes/episode_00000{n}.parquet" for n in range(3)]
    expected = ["about.json", "annotations/annotation_000000.json", "dataset.json", *episodes, MEDIA]
    assert [entry.path for entry in found.files] == expected
    entry = found.files[4]
    assert entry.number == 1 and entry.content_sha256 == store.metadata(1).content_sha256
    assert entry.sha256 == hashlib.sha256(store.file(1).read_bytes()).hexdigest()


def test_anybody_can_check_it_with_the_written_rules_alone(signed: Path) -> None:
    """As docs/standard/security.md says it, without any code of ours but the reading of JSON."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    def tree(leaves: list[bytes]) -> bytes:
        if len(leaves) == 1:
            return hashlib.sha256(b"\0" + leaves[0]).digest()
        split = 1 << ((len(leaves) - 1).bit_length() - 1)
        return hashlib.sha256(b"\1" + tree(leaves[:split]) + tree(leaves[split:])).digest()

    def canonical(data: Any) -> bytes:
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()

    raw = (signed / "data/manifest.json").read_bytes()
    files = json.loads(raw)["files"]
    statement = json.loads((signed / "data/manifest.sig").read_bytes())
    assert statement["manifest_sha256"] == hashlib.sha256(raw).hexdigest()
    assert statement["root"] == tree([canonical(entry) for entry in files]).hex()
    signature = bytes.fromhex(statement.pop("signature"))
    key: Any = load_pem_public_key((signed / "key.pub").read_bytes())
    key.verify(signature, b"training-ground-manifest-signature-v1\0" + canonical(statement))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["files"].reverse(), "order of their paths"),
        (lambda d: d["files"].append(d["files"][-1]), "each once"),
        (lambda d: d["files"][0].update(bytes=1), "root is not that of the files"),
        (lambda d: d["files"][0].update(path="../about.json"), "no file that a manifest lists"),
        (lambda d: d["files"][0].update(path="media/../../x.mp4"), "no file that a manifest lists"),
        (lambda d: d["files"][3].update(number=7), "belong to an episode of that number"),
        (lambda d: d["files"].pop(2), "dataset.json is not listed"),
        (lambda d: d.update(version=2), "version"),
        (lambda d: d.update(extra=1), "extra"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    original: Path, change: Callable[[Any], Any], message: str
) -> None:
    data = json.loads((original / "data/manifest.json").read_bytes())
    change(data)
    with pytest.raises(DatasetError, match=message):
        manifest.parse(json.dumps(data).encode(), "manifest.json")


# ---- signed, and since -----------------------------------------------------------------------------------------------


def test_only_a_trusted_key_verifies(signed: Path) -> None:
    report = checked(signed)
    assert report.verified and report.ok and report.unchanged == report.files == 7
    assert checked(signed, "other", "key").verified
    stranger = checked(signed, "other")
    assert not stranger.verified and "none of the 1 that you trust" in stranger.problems[0]
    unknown = check(signed / "data")
    assert unknown.ok and not unknown.verified and "whom you trust" in unknown.notes[0]


def test_an_append_is_legal_and_unsigned(signed: Path) -> None:
    store = Store.open(signed / "data")
    record(store, 5)
    (store.path / "annotations/annotation_000001.json").write_text("[]")
    report = checked(signed)
    assert report.verified and report.unsigned == (
        "annotations/annotation_000001.json",
        "episodes/episode_000003.parquet",
    )
    with pytest.raises(DatasetError, match="lists no episode 3; sign again"):
        episode_proof(store.path, 3)
    sign_store(store, signed / "key", signing.read_private_key(signed / "key"))
    assert checked(signed).unsigned == () and checked(signed).files == 9


def flip(path: Path, offset: int = 100) -> None:
    raw = bytearray(path.read_bytes())
    raw[offset % len(raw)] ^= 1
    path.write_bytes(raw)


def swap(folder: Path) -> None:
    one, two = (folder / f"episodes/episode_00000{n}.parquet" for n in (0, 2))
    raw = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(raw)


def link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def resign_by(folder: Path, name: str) -> None:
    store = Store.open(folder)
    sign_store(store, folder.parent / name, signing.read_private_key(folder.parent / name))


def edit(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("tamper", "problem"),
    [
        (lambda d: flip(d / "episodes/episode_000001.parquet"), "episode_000001.parquet: its bytes have changed"),
        (lambda d: flip(d / "dataset.json"), "dataset.json: its bytes have changed"),
        (lambda d: about.update(d, licence="MIT"), "about.json: has"),
        (lambda d: (d / MEDIA).write_bytes(b"{}"), ".mkv: its bytes have changed"),
        (lambda d: (d / "annotations/annotation_000000.json").unlink(), "is listed and not there"),
        (lambda d: shutil.rmtree(d / "media"), ".mkv: is listed and not there"),
        (swap, "episode_000000.parquet: "),
        (lambda d: link(d / "episodes/episode_000002.parquet"), "is a symbolic link"),
        (lambda d: resign_by(d, "other"), "none of the 1 that you trust"),
        (lambda d: (d / "manifest.sig").unlink(), "is not signed"),
        (lambda d: edit(d / "manifest.sig", time_ns=1), "the signature does not hold"),
        (lambda d: edit(d / "manifest.sig", signature=""), "the signature does not hold"),
        (lambda d: edit(d / "manifest.sig", key_id="0" * 64), "the signature does not hold"),
        (lambda d: (d / "manifest.json").write_bytes((d / "manifest.json").read_bytes() + b"\n"), "another manifest"),
    ],
)
def test_tampering_is_found(signed: Path, tamper: Callable[[Path], Any], problem: str) -> None:
    tamper(signed / "data")
    report = checked(signed)
    assert not report.verified and not report.ok
    assert problem in "\n".join(report.problems)


def test_a_key_that_the_file_names_for_itself_is_not_trusted(signed: Path) -> None:
    """A whole store replaced and signed again by its forger, under the name of the real key."""
    record(Store.open(signed / "data"), 9)
    resign_by(signed / "data", "other")
    real = signing.key_id(keys(signed, "key")[0])
    edit(signed / "data/manifest.sig", key_id=real, public_key=keys(signed, "key")[0].hex())
    assert "does not hold" in checked(signed).problems[0]


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_damage_to_either_file_is_never_verified(signed: Path, name: str) -> None:
    path, generator = signed / "data" / name, random.Random(0)
    raw = path.read_bytes()
    for _ in range(60):
        broken = bytearray(raw)
        if generator.random() < 0.3:
            del broken[generator.randrange(len(raw)) :]
        else:
            broken[generator.randrange(len(raw))] ^= 1 << generator.randrange(8)
        path.write_bytes(broken)
        if json_equal(broken, raw):
            continue  # blanks are no part of what is signed
        try:
            assert not checked(signed).verified
        except DatasetError as problem:
            assert name in str(problem)


def json_equal(one: bytes | bytearray, two: bytes) -> bool:
    try:
        return json.loads(one.decode()) == json.loads(two)
    except ValueError:
        return False


# ---- one episode alone -----------------------------------------------------------------------------------------------


def test_one_episode_can_be_checked_alone(signed: Path, tmp_path: Path) -> None:
    proof, file = tmp_path / "proof.json", tmp_path / "episode_000001.parquet"
    proof.write_bytes(episode_proof(signed / "data", 1))
    shutil.copy(signed / "data/episodes" / file.name, file)
    assert check_episode(file, proof, keys(signed, "key")).key_id == signing.key_id(keys(signed, "key")[0])
    with pytest.raises(DatasetError, match="not signed by a key that you trust"):
        check_episode(file, proof, keys(signed, "other"))
    with pytest.raises(DatasetError, match=r"is for episodes/episode_000001\.parquet"):
        check_episode(signed / "data/episodes/episode_000002.parquet", proof, keys(signed, "key"))
    good = json.loads(proof.read_bytes())
    for key, value in (("index", 3), ("count", 6), ("path", good["proof"]["path"][1:])):
        proof.write_text(json.dumps({**good, "proof": {**good["proof"], key: value}}))
        with pytest.raises(DatasetError, match="does not lead to the root"):
            check_episode(file, proof, keys(signed, "key"))
    proof.write_text(json.dumps(good))
    flip(file)
    with pytest.raises(DatasetError, match="its bytes have changed"):
        check_episode(file, proof, keys(signed, "key"))


# ---- keys ------------------------------------------------------------------------------------------------------------


def test_keys_are_kept_private(signed: Path, tmp_path: Path) -> None:
    key = tmp_path / "locked"
    public, name = signing.make_key(key, b"secret")
    assert (key.stat().st_mode & 0o777, signing.is_encrypted(key)) == (0o600, True)
    assert signing.key_id(signing.read_public_keys(public)[0]) == name
    assert signing.read_private_key(key, b"secret")
    for passphrase, message in ((None, "no passphrase was given"), (b"wrong", "passphrase is wrong")):
        with pytest.raises(DatasetError, match=message):
            signing.read_private_key(key, passphrase)
    with pytest.raises(DatasetError, match="a key is never replaced"):
        signing.make_key(key)
    key.chmod(0o640)
    with pytest.raises(DatasetError, match=r"mode = 0640.*chmod 600"):
        signing.read_private_key(key, b"secret")
    with pytest.raises(DatasetError, match=r"is a private key; give the public one, locked\.pub"):
        signing.read_public_keys(key)
    inside = signed / "data/key"
    signing.make_key(inside)
    with pytest.raises(DatasetError, match="would be published with it"):
        resign_by(signed / "data", "data/key")


def test_other_kinds_of_keys_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    key, path = generate_private_key(SECP256R1()), tmp_path / "ec"
    private = (form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    path.touch(0o600)
    path.write_bytes(key.private_bytes(*private))
    with pytest.raises(DatasetError, match="another kind than ed25519"):
        signing.read_private_key(path)
    path.write_bytes(key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(DatasetError, match="another kind than ed25519"):
        signing.read_public_keys(path)
    for text in ("", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        path.write_text(text)
        with pytest.raises(DatasetError, match="no public key"):
            signing.read_public_keys(path)


# ---- the command line ------------------------------------------------------------------------------------------------


def test_the_verbs(
    signed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, key = str(signed / "data"), str(tmp_path / "cli.pem")
    monkeypatch.setenv("TG_KEY_PASSPHRASE", "secret")
    assert main(["data", "keygen", key, "--passphrase"]) == 0
    assert main(["data", "sign", data, "--key", key]) == 0
    capsys.readouterr()
    assert main(["data", "verify", data, "--key", f"{key}.pub", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["manifest"]
    assert found["verified"] and found["unchanged"] == 7 and found["signature"]["algorithm"] == "ed25519"
    assert main(["data", "verify", data, "--key", str(signed / "key.pub")]) == 1
    assert "NOT verified" in capsys.readouterr().out
    assert main(["data", "prove", data, "2"]) == 0
    (tmp_path / "proof.json").write_text(capsys.readouterr().out)
    file = f"{data}/episodes/episode_000002.parquet"
    assert main(["data", "prove", "--check", str(tmp_path / "proof.json"), file, "--key", f"{key}.pub"]) == 0
    flip(Path(file))
    assert main(["data", "sign", data, "--key", key]) == 1
    assert "not signed, 1 problems" in capsys.readouterr().out
    assert main(["data", "verify", data]) == 1
    assert main(["data", "verify", data, "--manifest"]) == 1
    assert "6 of 7 signed files unchanged, 1 changed" in capsys.readouterr().out
