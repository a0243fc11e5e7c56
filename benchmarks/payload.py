"""What one version carries in the benchmarks: the same for every registry that is measured.

Everything follows from the number of the version, so two registries that were filled at different
times hold the same. Standard library only: the peers run in environments of their own.
"""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

__all__ = [
    "ALIAS",
    "MODEL",
    "description",
    "digest",
    "hyperparameters",
    "labels",
    "make_model",
    "metrics",
    "numbers",
    "uri",
]

MODEL = "churn"
ALIAS = "production"


def digest(number: int, part: str = "model") -> str:
    """Returns what stands for the digest of a version's bytes."""
    return hashlib.sha256(f"{part} {number}".encode()).hexdigest()


def uri(number: int) -> str:
    """Returns where the bytes of a version would lie."""
    return f"/models/churn/trainer/model/{number}/Format-Serving"


def description(number: int) -> str:
    """Returns about as much as a person would write."""
    return f"Nightly training {number}: wide and deep, 40 features, early stopping."


def labels(number: int) -> dict[str, str]:
    """Returns three labels (MLflow's tags)."""
    return {"team": f"team-{number % 7}", "data": f"2024-{number % 12 + 1:02d}", "stage": "nightly"}


def metrics(number: int) -> dict[str, float]:
    """Returns three metrics with all the digits that a float has."""
    draw = random.Random(number)
    return {"auc": 0.8 + draw.random() / 10, "loss": draw.random(), "recall": draw.random()}


def hyperparameters(number: int) -> dict[str, str]:
    """Returns three hyperparameters."""
    return {"batch_size": "256", "learning_rate": repr(0.001 + number % 10 / 1e4), "layers": "3"}


def make_model(folder: Path, content: str) -> Path:
    """Writes a tiny SavedModel: four files, 10 kB, a signature, and contents of its own.

    Args:
        folder: Where to make it.
        content: What makes it differ from others; also the name of its directory.

    Returns:
        The directory.
    """
    model = folder / content
    (model / "variables").mkdir(parents=True)
    (model / "assets").mkdir()
    (model / "saved_model.pb").write_bytes(_saved_model(content))
    (model / "variables" / "variables.data-00000-of-00001").write_bytes(
        content.encode().ljust(8000, b"\0")
    )
    (model / "variables" / "variables.index").write_bytes(content.encode())
    (model / "assets" / "vocabulary").write_text("a\nb\nc\n", encoding="utf-8")
    return model


def _saved_model(content: str) -> bytes:
    """The protocol buffer, as far as a registry reads it (tensorflow/core/protobuf)."""
    signature = b"".join(
        [
            *(_field(1, _tensor(name, 1)) for name in ("age", "balance", "tenure")),
            _field(2, _tensor("score", 1)),
            _field(3, b"tensorflow/serving/predict"),
        ]
    )
    about = _field(4, b"serve") + _field(5, b"2.16.2")
    graph = _field(1, content.encode() * 100)
    entry = _field(1, b"serving_default") + _field(2, signature)
    meta_graph = _field(1, about) + _field(2, graph) + _field(5, entry)
    return _field(2, meta_graph)


def _tensor(name: str, dtype: int) -> bytes:
    """One entry of the inputs or outputs of a signature: a vector of unknown length."""
    dim = bytes([1 << 3, *[0xFF] * 9, 1])  # size = -1
    info = _field(1, f"{name}:0".encode()) + bytes([2 << 3, dtype]) + _field(3, _field(2, dim))
    return _field(1, name.encode()) + _field(2, info)


def _field(number: int, value: bytes) -> bytes:
    """One field of a message, of the kind that is preceded by its length."""
    length, rest = bytearray(), len(value)
    while rest > 0x7F:
        length.append(rest & 0x7F | 0x80)
        rest >>= 7
    length.append(rest)
    return bytes([number << 3 | 2]) + bytes(length) + value


def numbers(count: int, seed: int = 1) -> random.Random:
    """Returns a source of version numbers that is the same in every process.

    Args:
        count: How many versions there are; `randint(1, count)` draws one.
        seed: Where to begin.
    """
    return random.Random(f"{seed} {count}")
