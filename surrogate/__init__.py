"""Text in, numbers out: a Regression Language Model that knows nothing of NAS."""

from surrogate.checkpoints import CheckpointError
from surrogate.numbers import NumberFormat, NumberRangeError
from surrogate.prior import Pool
from surrogate.rlm import RLM
from surrogate.text import TextError, Tokenizer
from surrogate.training import TrainingConfig

__all__ = [
    "RLM",
    "CheckpointError",
    "NumberFormat",
    "NumberRangeError",
    "Pool",
    "TextError",
    "Tokenizer",
    "TrainingConfig",
]
