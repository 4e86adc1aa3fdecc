"""How latencies are measured. Imports nothing heavy, so that ``--help`` answers at once."""

from __future__ import annotations

from dataclasses import dataclass

_LEAST = {
    "threads": 1,
    "batch_size": 1,
    "image_size": 1,
    "seed": 0,
    "warm_up": 1,
    "repeats": 1,
    "min_seconds": 0,
    "reference_every": 1,
    "patience_seconds": 0,
}
_POSITIVE = ("max_seconds", "half_width", "drift")


@dataclass(frozen=True)
class Settings:
    """How to measure. Figures measured with different settings cannot be compared.

    Attributes:
        provider: Of ONNX Runtime: ``cpu``, or ``cuda`` where it has it.
        threads: That one operator may use.
        batch_size: Images per batch, or what else the first dimension of the inputs counts.
        image_size: Height and width of the images of a search space's networks, in pixels; None:
            those of its benchmark.
        seed: Of inputs and weights.
        warm_up: Runs before the first that counts.
        repeats: Runs to make at least.
        min_seconds: To repeat for at least.
        max_seconds: To repeat for at most, even if the interval is still wide.
        half_width: Of the 95 % interval of the median, relative to the median; repeats end when
            it is reached.
        reference_every: Architectures between two measurements of the reference model.
        drift: How far the reference model's latency may be from what it was at first, relative
            to that.
        patience_seconds: How long to wait for it to come back.
    """

    provider: str = "cpu"
    threads: int = 1
    batch_size: int = 1
    image_size: int | None = None
    seed: int = 0
    warm_up: int = 10
    repeats: int = 20
    min_seconds: float = 0.5
    max_seconds: float = 5.0
    half_width: float = 0.01
    reference_every: int = 5
    drift: float = 0.05
    patience_seconds: float = 20.0

    def __post_init__(self) -> None:
        """Refuse figures that make no sense.

        Raises:
            ValueError: A figure is too small, or the limits of seconds are in the wrong order.
        """
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise ValueError(f"{name} must be at least {least}, not {value}")
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")
        if self.min_seconds > self.max_seconds:
            raise ValueError(
                f"min_seconds ({self.min_seconds}) must not be more than max_seconds "
                f"({self.max_seconds})"
            )
