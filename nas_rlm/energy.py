"""The energy that this machine's processors use, where Linux lets one read it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
"""Where Linux shows the counters, RAPL (running average power limit), also those of AMD."""


class NoEnergyError(OSError):
    """There is no counter, or it may not be read; the message says what would mend it."""


class EnergyCounter:
    """The counters of all processor packages together, whatever else runs on them.

    Source: https://docs.kernel.org/power/powercap/powercap.html. Cores and graphics are parts of
    a package and not counted again; memory is not part of it and not counted.

    Args:
        folder: Holds a folder such as ``intel-rapl:0`` for each of them, in which ``name`` says
            what it counts, ``energy_uj`` shows microjoules and ``max_energy_range_uj`` where they
            start again from zero.

    Raises:
        NoEnergyError: It cannot be read.
    """

    def __init__(self, folder: Path = POWERCAP) -> None:
        try:
            self._ranges = {
                zone / "energy_uj": int((zone / "max_energy_range_uj").read_text())
                for zone in sorted(folder.glob("intel-rapl*"))
                if (zone / "name").is_file() and (zone / "name").read_text().startswith("package")
            }
            self.read()
        except PermissionError as error:
            raise NoEnergyError(
                f"{error.filename} may not be read, on most systems by none but root"
            ) from error
        except (OSError, ValueError) as error:
            raise NoEnergyError(f"the counter in {folder} is damaged: {error}") from error
        if not self._ranges:
            raise NoEnergyError(f"this machine shows no energy counter in {folder}")

    def read(self) -> Mapping[Path, int]:
        """What each package's counter shows, in microjoules, to be given to `joules_since`."""
        return {file: int(file.read_text()) for file in self._ranges}

    def joules_since(self, before: Mapping[Path, int]) -> float:
        """What all packages together have used since then.

        Args:
            before: What `read` returned. If a counter has started again since then, once is
                assumed; at full load that takes the better part of an hour.
        """
        used = ((now - before[file]) % self._ranges[file] for file, now in self.read().items())
        return sum(used) / 1e6
