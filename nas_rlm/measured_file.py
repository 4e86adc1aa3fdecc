"""The files of measurements: a CSV table that grows row by row, and a record of how they are made.

``mine.csv`` is a table as `nas_rlm.tables` reads it. ``mine.json`` beside it says on which
machine and with which settings: rows that differ in that must not be mixed.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas_rlm.devices import DEVICES
from nas_rlm.drift import Reading
from nas_rlm.files import alone, drop_half_line, write_json
from nas_rlm.measure import MeasureError, Measurement, Settings

RECORD_VERSION = 1


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        arch: The architecture or model.
        measurement: Its latency.
        reference: The reference model's latency at that time.
        time: When it ended, UTC, ISO 8601.
    """

    arch: str
    measurement: Measurement
    reference: Reading
    time: str


def record(
    device: str, models: str, settings: Settings, environment: Mapping[str, Any]
) -> dict[str, Any]:
    """What ``mine.json`` says, but for the reference model's first latency.

    Args:
        device: What the machine is called in the columns' names.
        models: What is measured: the name of a search space, or ``models``.
        settings: How.
        environment: Where, see `nas_rlm.environment`.

    Raises:
        MeasureError: The device's name cannot be used.
    """
    if not re.fullmatch(r"\w[\w.-]*", device):
        raise MeasureError(
            f"{device!r} cannot be the device's name: use letters, digits, '_', '.' and '-'"
        )
    if device in DEVICES:
        raise MeasureError(
            f"the device {device} is {DEVICES[device].title} already: choose another name"
        )
    content = {
        "version": RECORD_VERSION,
        "device": device,
        "models": models,
        "settings": asdict(settings),
        "environment": dict(environment),
    }
    # As it is read again.
    return dict(json.loads(json.dumps(content)))


class MeasuredFile:
    """A file of measurements that was opened, see `open_measured`.

    Attributes:
        rows: Architecture to its row.
        first_ms: The reference model's latency at first; None until `begin`.
    """

    def __init__(self, path: Path, wanted: dict[str, Any], stored: dict[str, Any] | None) -> None:
        self._path, self._record = path, wanted
        energy = [f"{wanted['device']}_energy_mj"] * bool(wanted["environment"]["energy counter"])
        self._columns = ["arch", f"{wanted['device']}_latency_ms", *energy, *_COLUMNS]
        self.first_ms: float | None = None if stored is None else stored["reference_ms"]
        self.rows: dict[str, Row] = {}
        if path.stat().st_size:
            self._read()

    def begin(self, first_ms: float) -> None:
        """Note the reference model's latency at first, and make the files.

        Raises:
            OSError: They cannot be written to.
        """
        if self.first_ms is None:
            write_json(record_path(self._path), {**self._record, "reference_ms": first_ms})
            self.first_ms = first_ms
        if not self._path.stat().st_size:
            self._write([self._columns])

    def append(self, rows: Iterable[Row]) -> None:
        """Keep rows: they are on the disk when this returns.

        Raises:
            OSError: The file cannot be written to.
        """
        rows = list(rows)
        self._write([self._cells(row) for row in rows])
        self.rows.update({row.arch: row for row in rows})

    def _write(self, lines: Iterable[Iterable[Any]]) -> None:
        with self._path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(lines)
            file.flush()
            os.fsync(file.fileno())

    def _cells(self, row: Row) -> list[str]:
        made, reference = row.measurement, row.reference
        figures = {
            "low_ms": made.low_ms,
            "high_ms": made.high_ms,
            "spread_ms": made.spread_ms,
            "runs": made.runs,
            "reached": int(made.reached),
            "reference_ms": reference.latency_ms,
            "drift": reference.drift,
            "drifted": int(not reference.tolerated),
        }
        energy = [] if made.energy_mj is None else [made.energy_mj]
        numbers = [made.median_ms, *energy, *(figures[name] for name in _COLUMNS[:-1])]
        shown = ("" if math.isnan(number) else f"{number:.7g}" for number in numbers)
        return [row.arch, *shown, row.time]

    def _read(self) -> None:
        with self._path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or []) != self._columns:
                raise MeasureError(
                    f"{self._path}: its columns are not {', '.join(self._columns)}: name another "
                    "file"
                )
            for cells in reader:
                try:
                    row = self._row(cells)
                except (ValueError, TypeError) as error:
                    raise MeasureError(
                        f"{self._path}, line {reader.line_num} is damaged ({error}): delete the "
                        "line to measure its architecture again"
                    ) from error
                self.rows[row.arch] = row

    def _row(self, cells: dict[str, str]) -> Row:
        device = self._record["device"]
        energy = cells.get(f"{device}_energy_mj")
        return Row(
            cells["arch"],
            Measurement(
                median_ms=float(cells[f"{device}_latency_ms"]),
                low_ms=float(cells["low_ms"] or math.nan),
                high_ms=float(cells["high_ms"] or math.nan),
                spread_ms=float(cells["spread_ms"]),
                runs=int(cells["runs"]),
                reached=cells["reached"] == "1",
                energy_mj=None if energy is None else float(energy),
            ),
            Reading(
                latency_ms=float(cells["reference_ms"]),
                drift=float(cells["drift"]),
                tolerated=cells["drifted"] == "0",
            ),
            cells["time"],
        )


_COLUMNS = (
    *("low_ms", "high_ms", "spread_ms", "runs", "reached"),
    *("reference_ms", "drift", "drifted", "time"),
)


def record_path(path: Path) -> Path:
    """The file beside a table that says how it was measured."""
    return path.with_suffix(".json")


@contextmanager
def open_measured(path: Path, wanted: dict[str, Any]) -> Iterator[MeasuredFile]:
    """Open a file of measurements, a new one if there is none, and keep others out of it.

    Args:
        path: A name that ends in ``.csv``.
        wanted: What `record` says.

    Raises:
        MeasureError: The file holds something else, measurements of another machine or with other
            settings, or a process is at work on it.
        OSError: It cannot be made or written to.
    """
    if path.suffix != ".csv":
        raise MeasureError(f"{path}: name a file that ends in .csv, to which rows can be added")
    _check(path, wanted)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("a").close()
    busy = MeasureError(
        f"a measurement is at work on {path}: wait for it to end, or name another file"
    )
    with alone(path, busy):
        stored = _check(path, wanted)
        drop_half_line(path)
        yield MeasuredFile(path, wanted, stored)


def _check(path: Path, wanted: dict[str, Any]) -> dict[str, Any] | None:
    """What the record says of a file; None if it is free for new measurements."""
    if path.is_dir():
        raise MeasureError(f"{path} is a folder: name a file")
    beside = record_path(path)
    try:
        stored: dict[str, Any] = json.loads(beside.read_text("utf-8"))
        if stored["version"] != RECORD_VERSION:
            raise MeasureError(
                f"{beside} has version {stored['version']}, this program reads version "
                f"{RECORD_VERSION}: name another file"
            )
        there, here = _flat(stored), _flat(wanted)
        stored["reference_ms"] = float(stored["reference_ms"])
    except FileNotFoundError:
        if path.exists() and path.stat().st_size:
            raise MeasureError(
                f"{path} holds something else, there is no {beside.name} beside it that says how "
                "it was measured: name another file"
            ) from None
        return None
    except MeasureError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MeasureError(f"{beside} is damaged ({error!r}): name another file") from error
    differences = [
        f"{name} is {there.get(name)} there and {here.get(name)} here"
        for name in {**there, **here}
        if there.get(name) != here.get(name)
    ]
    if differences:
        raise MeasureError(
            f"{path} was measured otherwise: {'; '.join(differences)}. "
            "Name another file, or measure as before"
        )
    return stored


def _flat(content: dict[str, Any]) -> dict[str, Any]:
    """What must be the same for rows to be comparable."""
    return {
        "device": content["device"],
        "models": content["models"],
        **content["settings"],
        **content["environment"],
    }
