"""Reading pickles and torch files that others wrote, without running anything in them.

A pickle is a program: whatever it names is imported, and may be called. Here it can name only what
the reader allows, which is containers and numbers.
"""

from __future__ import annotations

import codecs
import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct, scalar

Allowed = Mapping[str, Any]
"""What a file may ask for: ``module.name``, and the object that it gets."""

_CORES = ("numpy.core", "numpy._core")  # up to numpy 1, and since numpy 2
NOTHING: Allowed = MappingProxyType({})
"""Containers, strings and numbers alone: those that need no import."""
ORDERED: Allowed = MappingProxyType({"collections.OrderedDict": OrderedDict})
"""Dictionaries that know their order."""
NUMBERS: Allowed = MappingProxyType(
    {
        "numpy.dtype": np.dtype,
        # How pickle's protocol 2, which torch writes, spells bytes.
        "_codecs.encode": codecs.encode,
    }
    | {f"{core}.multiarray.scalar": scalar for core in _CORES}
    # What torch asks for when it fills in a dtype.
    | {
        f"numpy.dtypes.{kind.__name__}": kind
        for kind in (np.dtypes.Float64DType, np.dtypes.Float32DType, np.dtypes.Int64DType)
    }
)
"""Numbers of numpy."""
ARRAYS: Allowed = MappingProxyType(
    {**NUMBERS, "numpy.ndarray": np.ndarray}
    | {f"{core}.multiarray._reconstruct": _reconstruct for core in _CORES}
)
"""Numbers and arrays of numpy."""


class ForbiddenError(pickle.UnpicklingError):
    """A file asks for something that its reader does not allow."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"it asks for {name}, which a table has no need of; nothing of it was run"
        )


class _Unpickler(pickle.Unpickler):
    def __init__(self, content: bytes, allowed: Allowed) -> None:
        super().__init__(io.BytesIO(content))
        self._allowed = allowed

    def find_class(self, module_name: str, global_name: str) -> Any:
        name = f"{module_name}.{global_name}"
        if name not in self._allowed:
            raise ForbiddenError(name)
        return self._allowed[name]


def unpickle(content: bytes, allowed: Allowed = NOTHING) -> Any:
    """What a pickle holds.

    Raises:
        ForbiddenError: It asks for something else than what is allowed.
        Exception: Nearly any other, if it is damaged or no pickle at all.
    """
    return _Unpickler(content, allowed).load()


def load_torch(path: Path, allowed: Allowed = NOTHING) -> Any:
    """What a file of ``torch.save`` holds, tensors on the CPU.

    Raises:
        ForbiddenError: It asks for something else than tensors and what is allowed.
        Exception: Nearly any other, if it is damaged or no such file at all.
    """
    import torch  # takes seconds, and plain pickles have no need of it

    with torch.serialization.safe_globals([(found, name) for name, found in allowed.items()]):
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            # torch explains at length; only the name matters to whoever has the file.
            if asked := re.search(r"GLOBAL ([\w.]+)", str(error)):
                raise ForbiddenError(asked[1].rstrip(".")) from None
            raise
