"""The files of a saved model: written as a whole or not at all, and read without running anything.

A folder holds ``rlm.json``, ``tokenizer.json`` and ``weights.safetensors``.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from surrogate.text import Tokenizer

CHECKPOINT_VERSION = 7
_DESCRIPTION, _TOKENIZER, _WEIGHTS = "rlm.json", "tokenizer.json", "weights.safetensors"


class CheckpointError(ValueError):
    """A saved model that is not whole, not ours, or of another version."""


def damaged(folder: Path, error: Exception) -> CheckpointError:
    """What to raise where the files do not say what they should."""
    return CheckpointError(f"{folder} is damaged ({error}); train the model again")


def write_checkpoint(
    folder: Path,
    description: Mapping[str, Any],
    tokenizer: Tokenizer,
    weights: Mapping[str, Tensor],
) -> None:
    """Write a folder, which appears, or replaces its former self, when it is complete.

    Args:
        folder: A new or empty one, or one with a saved model.
        description: What the weights belong to; fit for JSON.
        tokenizer: What the weights were trained with.
        weights: By name.

    Raises:
        FileExistsError: The folder exists and holds something other than a saved model.
    """
    if folder.exists() and not (folder / _DESCRIPTION).exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} holds something else; name another folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    description = {
        "version": CHECKPOINT_VERSION,
        **description,
        "tokenizer_sha256": tokenizer.sha256(),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
        new = Path(unfinished) / "model"
        new.mkdir()
        (new / _DESCRIPTION).write_text(json.dumps(description, indent=1))
        (new / _TOKENIZER).write_text(json.dumps(tokenizer.to_dict(), indent=1))
        safetensors.torch.save_file(dict(weights), new / _WEIGHTS)
        if folder.exists():
            os.replace(folder, Path(unfinished) / "old")
        os.replace(new, folder)


def read_checkpoint(folder: Path) -> tuple[dict[str, Any], Tokenizer, dict[str, Tensor]]:
    """The description, tokenizer and weights that `write_checkpoint` wrote.

    Raises:
        CheckpointError: A file is missing or damaged, or of another version, or the tokenizer is
            not that of the weights.
    """
    try:
        description = json.loads((folder / _DESCRIPTION).read_text())
        vocabulary = json.loads((folder / _TOKENIZER).read_text())
        weights = safetensors.torch.load_file(folder / _WEIGHTS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise CheckpointError(
            f"{folder} is not a saved model: {error.filename} is missing"
        ) from error
    except (ValueError, safetensors.SafetensorError) as error:
        raise damaged(folder, error) from error
    version = description.get("version") if isinstance(description, dict) else None
    if version != CHECKPOINT_VERSION:
        raise CheckpointError(
            f"{folder} has version {version}, this program reads version "
            f"{CHECKPOINT_VERSION}; train the model again"
        )
    try:
        tokenizer = Tokenizer(**vocabulary)
        theirs = description["tokenizer_sha256"]
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(folder, error) from error
    if tokenizer.sha256() != theirs:
        raise CheckpointError(
            f"{folder}: {_TOKENIZER} is not the one the weights were trained with; "
            "restore it or train the model again"
        )
    return description, tokenizer, weights
