"""NAS-Bench-101: accuracies of 423,624 cells on CIFAR-10, each trained three times.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search", ICML 2019,
https://arxiv.org/abs/1902.09635. The files are those of
https://github.com/google-research/nasbench, whose ``nasbench/api.py`` and ``model_metrics.proto``
say what is in them: TensorFlow's records, each a JSON list of a cell's hash, epochs, adjacency
matrix, operations, and a protocol buffer of its figures in base64. TensorFlow is not needed. The
form is that of the code; the files themselves were not at hand.
"""

from __future__ import annotations

import base64
import json
import struct
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from numpy.typing import NDArray

from nas_rlm.publishers.published import Published, published, reading, source
from search_spaces import get_space

_CITATION = "NAS-Bench-101, Ying et al., ICML 2019, https://github.com/google-research/nasbench"
_EPOCHS = 108
_BATCH = 4096  # records that are checked at once
_LARGEST = 1 << 20  # bytes; records have a few hundred


def read(file: Path) -> Published:
    """Means over the trainings of 108 epochs, from ``nasbench_only108.tfrecord``.

    ``nasbench_full.tfrecord``, which has trainings of fewer epochs, too, is read as well. Times of
    training are in seconds, parameters in millions, accuracies, which the file has as fractions,
    in %.
    """
    trainings: dict[tuple[str, str], list[tuple[float, ...]]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    with reading(file, "the records of NAS-Bench-101"), file.open("rb") as records:
        for record in _records(records):
            _, epochs, matrix, operations, encoded = json.loads(record)
            if epochs != _EPOCHS:
                left_out[f"a training of {epochs} epochs"] += 1
                continue
            metrics = _metrics().FromString(base64.b64decode(encoded, validate=True))
            _, _, last = metrics.evaluation_data  # before, halfway, and after training
            trainings[matrix, operations].append(
                (
                    100 * last.validation_accuracy,
                    100 * last.test_accuracy,
                    last.training_time,
                    metrics.trainable_parameters / 1e6,
                )
            )
        notation = [_notation(*cell) for cell in trainings]
        means = np.array([np.mean(figures, axis=0) for figures in trainings.values()])
        names = ("cifar10_valid_acc", "cifar10_test_acc", "train_time_s", "params_m")
        columns = dict(zip(names, means.T, strict=True))
    return published(
        get_space("nasbench101"), notation, columns, source(_CITATION, file), left_out=left_out
    )


def _notation(matrix: str, operations: str) -> str:
    """The notation of the search space: rows of the matrix apart."""
    vertices = operations.count(",") + 1
    rows = [matrix[start : start + vertices] for start in range(0, len(matrix), vertices)]
    return f"{'/'.join(rows)} {operations}"


def _records(file: IO[bytes]) -> Iterator[bytes]:
    """The contents of TensorFlow's records, checked.

    A record is its length (8 bytes), the checksum of that, the content, the checksum of that.
    """
    frames = iter(lambda: _frame(file), None)
    while batch := list(islice(frames, _BATCH)):
        for which in (0, 1):
            sums = _checksums([frame[which][0] for frame in batch])
            if not np.array_equal(sums, [frame[which][1] for frame in batch]):
                raise ValueError("the checksum of a record is not that of its content")
        yield from (content for _, (content, _) in batch)


def _frame(file: IO[bytes]) -> tuple[tuple[bytes, int], tuple[bytes, int]] | None:
    """The length and the content of the next record, each with its checksum; None at the end."""
    head = file.read(12)
    if not head:
        return None
    length, checksum = struct.unpack("<QI", head)
    if length > _LARGEST:
        raise ValueError(f"a record of {length} bytes")
    content = file.read(length)
    return (head[:8], checksum), (content, *struct.unpack("<I", file.read(4)))


def _checksums(texts: Sequence[bytes]) -> NDArray[Any]:
    """TensorFlow's masked CRC-32C of each text, shape (n,): all of them, byte by byte."""
    lengths = np.array([len(text) for text in texts])
    padded = np.zeros((lengths.max(), len(texts)), dtype=np.uint8)
    for column, text in enumerate(texts):
        padded[: len(text), column] = np.frombuffer(text, dtype=np.uint8)
    state = np.full(len(texts), 0xFFFFFFFF, dtype=np.uint32)
    for position, row in enumerate(padded):
        following = _crc_table()[(state & 0xFF) ^ row] ^ (state >> 8)
        state = np.where(position < lengths, following, state)
    state = ~state
    return (state >> 15 | state << 17) + np.uint32(0xA282EAD8)


@cache
def _crc_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(0x82F63B78), table >> 1)
    return table


@cache
def _metrics() -> Any:
    """The class of ``ModelMetrics`` of the benchmark, as far as it is read here."""
    file = descriptor_pb2.FileDescriptorProto(name="model_metrics.proto", package="nasbench")
    metrics = file.message_type.add(name="ModelMetrics")
    evaluation = file.message_type.add(name="EvaluationData")
    kind = descriptor_pb2.FieldDescriptorProto
    metrics.field.add(
        name="evaluation_data",
        number=1,
        label=kind.LABEL_REPEATED,
        type=kind.TYPE_MESSAGE,
        type_name=".nasbench.EvaluationData",
    )
    metrics.field.add(name="trainable_parameters", number=2, type=kind.TYPE_INT32)
    for number, name in (
        (2, "training_time"),
        (4, "validation_accuracy"),
        (5, "test_accuracy"),
    ):
        evaluation.field.add(name=name, number=number, type=kind.TYPE_DOUBLE)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))
