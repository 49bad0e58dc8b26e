"""Sentence embeddings: the published model, its numbers, and what is said where it is missing."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from training_ground.agents import language
from training_ground.agents.language import SIZE, embed
from training_ground.cli.main import EXTRAS
from training_ground.configs.errors import AgentError
from training_ground.configs.instructions import InstructionFile, Split, instruction_files

installed = pytest.mark.skipif(
    importlib.util.find_spec(language.PACKAGE) is None or importlib.util.find_spec("tokenizers") is None,
    reason="the extra `language` is not installed",
)
RED = "Press the red button."


@pytest.fixture
def forgotten() -> None:
    """Nothing is kept from other tests."""
    language._model.cache_clear()
    language._embedded.cache_clear()


@pytest.mark.usefixtures("forgotten")
def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"training-ground\[language\]") as caught:
        embed([RED])
    assert EXTRAS[str(caught.value.name)] == "language"


@pytest.mark.usefixtures("forgotten")
def test_another_models_files_are_refused_before_they_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "tokenizer.json").write_text("{}")
    (tmp_path / "__init__.py").write_text("raise SystemExit('was run')")
    spec = importlib.util.spec_from_file_location(language.PACKAGE, tmp_path / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(AgentError, match=r"tokenizer\.json: sha256 44136fa355b3678a… is not the published"):
        embed([RED])
    (tmp_path / "model" / "tokenizer.json").unlink()
    with pytest.raises(AgentError, match="cannot be read"):
        embed([RED])


@pytest.mark.parametrize("text", ["", "  \n", "x" * 2001, 3])
def test_what_is_no_instruction_is_refused(text: str) -> None:
    with pytest.raises(AgentError, match="1 to 2000 letters"):
        embed([text])


@installed
def test_embeddings_are_unit_vectors_that_do_not_depend_on_their_neighbours() -> None:
    both = embed([RED, "Open the drawer."])
    assert both.shape == (2, SIZE)
    assert both.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(both, axis=1), 1.0, atol=1e-6)
    np.testing.assert_array_equal(embed([RED])[0], both[0])
    language._embedded.cache_clear()
    np.testing.assert_array_equal(embed(["A longer sentence than the others are.", RED])[1], both[0])
    assert embed([]).shape == (0, SIZE)


@installed
def test_the_numbers_are_those_of_sentence_transformers() -> None:
    # What sentence-transformers 6.2.0 with torch 2.13 gives for this sentence, its first numbers.
    expected = [0.057938, -0.053064, -0.083964, 0.067888, 0.029848, 0.066624]
    np.testing.assert_allclose(embed([RED])[0, :6], expected, atol=2e-6)


@installed
def test_a_text_that_is_longer_than_the_model_can_read_is_cut() -> None:
    long = "press " * 300
    np.testing.assert_array_equal(embed([long])[0], embed(["press " * 299])[0])


@installed
def test_phrasings_that_nobody_trained_on_are_nearest_to_their_own_task() -> None:
    files = instruction_files()

    def some(file: InstructionFile, split: Split) -> np.ndarray:
        phrases = file.phrases(file.examples()[0], split)
        return embed(phrases[:: max(1, len(phrases) // 8)])

    centres = np.array([some(file, "training").mean(axis=0) for file in files.values()])
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    held_out = [some(file, "held_out") for file in files.values()]
    right = [(texts @ centres.T).argmax(axis=1) == i for i, texts in enumerate(held_out)]
    assert np.concatenate(right).mean() >= 0.95


@installed
@pytest.mark.slow
def test_sentence_transformers_itself_agrees() -> None:
    theirs_package: Any = pytest.importorskip("sentence_transformers")

    spec = importlib.util.find_spec(language.PACKAGE)
    assert spec is not None and spec.origin is not None
    model = theirs_package.SentenceTransformer(
        str(Path(spec.origin).parent / "model"), device="cpu", local_files_only=True
    )
    texts = [file.asked for file in instruction_files().values()] + ["press " * 300, "Größe: 40° — “ok”?", "物を取る"]
    theirs = np.array([model.encode([text])[0] for text in texts])
    np.testing.assert_allclose(embed(texts), theirs, atol=2e-6)
