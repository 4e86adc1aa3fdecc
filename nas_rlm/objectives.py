"""What a search optimises: a name, a direction, a unit, and where the figures come from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Direction = Literal["maximize", "minimize"]

Source = Literal["measured", "published", "modelled"]
"""Where an objective's figures come from.

- ``measured``: read from a table of measurements that the user supplied.
- ``published``: shipped by the benchmark's publishers inside a package that is installed.
- ``modelled``: predicted by a fitted model. Never a substitute for a measurement, so every table
  and plot says so.
"""


@dataclass(frozen=True)
class Objective:
    """One quantity to maximise or minimise.

    Objectives are listed in order, accuracy first and then latencies: predictors condition each
    on the ones before it.

    Attributes:
        name: A stable identifier with its unit where it has one, such as ``pixel3_latency_ms``.
        direction: ``maximize`` or ``minimize``, as Optuna spells them.
        unit: The unit of the figures, such as ``%`` or ``ms``.
        source: Where the figures come from, see `Source`.
        title: The name as a reader wants it, such as ``Pixel3 latency``; ``name`` if left out.
    """

    name: str
    direction: Direction
    unit: str
    source: Source
    title: str = ""

    def __post_init__(self) -> None:
        """Refuse a direction or source that does not exist.

        Raises:
            ValueError: ``direction`` or ``source`` is not one of those offered.
        """
        for field, value, allowed in (
            ("direction", self.direction, get_args(Direction)),
            ("source", self.source, get_args(Source)),
        ):
            if value not in allowed:
                raise ValueError(
                    f"objective {self.name!r}: {field} {value!r} is not one of "
                    f"{', '.join(allowed)}"
                )

    @property
    def modelled(self) -> bool:
        """Whether the figures are predictions of a model."""
        return self.source == "modelled"

    @property
    def column(self) -> str:
        """For CSV files: name, unit, and ``modelled`` where it is, such as ``acc_percent``."""
        unit = {"%": "percent", "images/s": "img_s"}.get(self.unit, self.unit)
        name = self.name if self.name.endswith(f"_{unit}") else f"{self.name}_{unit}"
        return f"{name}_modelled" if self.modelled else name

    @property
    def label(self) -> str:
        """For axes and table heads, such as ``Pixel3 latency (ms, modelled)``."""
        note = ", modelled" if self.modelled else ""
        return f"{self.title or self.name} ({self.unit}{note})"
