"""Numbers as tokens: sign, exponent, mantissa digits, each at a known position.

``-0.0725`` with three digits is ``<-> <E-2> <7> <2> <5>``: minus 7.25 times ten to the minus two.
Every sequence that follows the grammar is a number, so nothing the decoder writes is invalid.
This module knows neither text nor torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


class NumberRangeError(ValueError):
    """A number that the format cannot write."""


@dataclass(frozen=True)
class NumberFormat:
    """How a number is written.

    Args:
        digits: Mantissa digits, the first one before the decimal point.
        min_exponent: Smallest power of ten; numbers that round to less than it become zero.
        max_exponent: Largest power of ten; larger numbers are refused.
    """

    digits: int = 4
    min_exponent: int = -8
    max_exponent: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.digits <= 12:
            raise ValueError(f"digits must be between 1 and 12, got {self.digits}")
        if not -30 <= self.min_exponent <= self.max_exponent <= 30:
            raise ValueError(
                "exponents must satisfy -30 <= min_exponent <= max_exponent <= 30, "
                f"got {self.min_exponent} and {self.max_exponent}"
            )

    @property
    def length(self) -> int:
        """Tokens per number."""
        return 2 + self.digits

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The tokens: signs, then exponents, then digits."""
        exponents = range(self.min_exponent, self.max_exponent + 1)
        return ("<+>", "<->", *(f"<E{e}>" for e in exponents), *(f"<{d}>" for d in range(10)))

    @cached_property
    def grammar(self) -> np.ndarray:
        """Which tokens may stand at each step, (length, vocabulary) bool."""
        allowed = np.zeros((self.length, len(self.vocabulary)), dtype=bool)
        allowed[0, :2] = True
        allowed[1, 2:-10] = True
        allowed[2:, -10:] = True
        return allowed

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Write numbers, (...) to (..., length) token ids, rounding to the nearest.

        Raises:
            NumberRangeError: A value is NaN, infinite, or of a larger power of ten than allowed.
        """
        values = np.asarray(values, dtype=np.float64)
        if not np.isfinite(values).all():
            raise NumberRangeError("NaN and infinite values cannot be written as digits")
        magnitude = np.abs(values)
        safe = np.where(magnitude > 0, magnitude, 1.0)
        exponent = np.maximum(np.floor(np.log10(safe)).astype(np.int64), self.min_exponent)
        unit = 10.0 ** (exponent - self.digits + 1)
        mantissa = np.rint(magnitude / unit).astype(np.int64)
        # 9.9996 rounds up to 10.00, which is one digit too long: write 1.000 of the next exponent.
        carried = mantissa >= 10**self.digits
        exponent = exponent + carried
        mantissa = np.where(carried, np.rint(magnitude / (unit * 10)), mantissa).astype(np.int64)
        exponent = np.where(mantissa == 0, self.min_exponent, exponent)
        if (exponent > self.max_exponent).any():
            raise NumberRangeError(
                f"{values.flat[int(exponent.argmax())]:g} is too large: the number format ends "
                f"below 1e{self.max_exponent + 1}; raise max_exponent or change the unit"
            )
        powers = 10 ** np.arange(self.digits - 1, -1, -1)
        sign = ((values < 0) & (mantissa > 0)).astype(np.int64)
        head = np.stack([sign, exponent - self.min_exponent + 2], axis=-1)
        digits = mantissa[..., None] // powers % 10 + len(self.vocabulary) - 10
        return np.concatenate([head, digits], axis=-1)

    def decode(self, tokens: np.ndarray) -> np.ndarray:
        """Read numbers, (..., length) token ids to (...) float64.

        Raises:
            ValueError: A token stands where the grammar does not allow it.
        """
        tokens = np.asarray(tokens)
        if tokens.shape[-1] != self.length:
            raise ValueError(f"a number has {self.length} tokens, got {tokens.shape[-1]}")
        inside = (tokens >= 0) & (tokens < len(self.vocabulary))
        if not (inside & self.grammar[np.arange(self.length), tokens * inside]).all():
            raise ValueError("a token stands where the number grammar does not allow it")
        sign, exponent, *digits = np.moveaxis(tokens, -1, 0)
        mantissa = np.zeros(tokens.shape[:-1], dtype=np.int64)
        for digit in digits:
            mantissa = mantissa * 10 + digit - (len(self.vocabulary) - 10)
        power = exponent - 2 + self.min_exponent - self.digits + 1
        # Dividing by an exact power of ten rounds once: 9376 / 100 is the float nearest to 93.76.
        scaled = np.where(
            power < 0,
            mantissa / 10.0 ** np.maximum(-power, 0),
            mantissa * 10.0 ** np.maximum(power, 0),
        )
        return np.where(sign == 1, -scaled, scaled)

    def children(self, prefix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The interval of numbers below each branch of the digit tree after a prefix.

        Args:
            prefix: First tokens of a number, (..., j) ids with j < length.

        Returns:
            Lower and upper ends, (..., vocabulary): entry ``[..., c]`` bounds the numbers that
            start with the prefix followed by ``c``. An interval reaches half a unit of the last
            place beyond its numbers; tokens that the grammar forbids get an empty one at zero.
        """
        prefix = np.asarray(prefix)
        *shape, j = prefix.shape
        low = np.zeros((*shape, len(self.vocabulary)))
        high = np.zeros_like(low)
        if j == 0:
            high[..., 0] = 10.0 ** (self.max_exponent + 1)
            low[..., 1] = -high[..., 0]
            return low, high
        if j == 1:
            exponents = np.arange(self.min_exponent, self.max_exponent + 1)
            # The smallest exponent also covers zero: its first digit may be zero.
            bottom = np.where(exponents == self.min_exponent, 0.0, 10.0**exponents)
            top = 10.0 ** (exponents + 1)
            branches = slice(2, len(self.vocabulary) - 10)
        else:
            unit = 10.0 ** (prefix[..., 1] - 2.0 + self.min_exponent)
            digits = prefix[..., 2:] - (len(self.vocabulary) - 10)
            start = (digits * 0.1 ** np.arange(j - 2)).sum(-1) * unit
            width = unit * 0.1 ** (j - 2)
            bottom = start[..., None] + width[..., None] * np.arange(10)
            bottom = bottom - 0.5 * unit[..., None] * 0.1 ** (self.digits - 1)
            top = bottom + width[..., None]
            branches = slice(len(self.vocabulary) - 10, len(self.vocabulary))
        positive = prefix[..., :1] == 0
        low[..., branches] = np.where(positive, bottom, -top)
        high[..., branches] = np.where(positive, top, -bottom)
        return low, high
