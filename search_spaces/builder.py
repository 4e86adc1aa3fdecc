"""A search space from a function that builds networks."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import onnx
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from search_spaces.base import Architecture, ArchitectureError, SearchSpace
from search_spaces.compact import compact
from search_spaces.onnx_graph import InvalidModelError


def from_builder(
    build: Callable[[dict[str, Any]], Any],
    distributions: Mapping[str, BaseDistribution | Sequence[Any]],
    *,
    input_shape: Sequence[int] | None = None,
    name: str = "custom",
) -> BuilderSpace:
    """A search space from a plain function.

    Args:
        build: From parameters to an ``onnx.ModelProto``, an ONNX text or a ``torch.nn.Module``.
            What matters is the graph and its shapes, not the weights.
        distributions: Parameter name to its choices: a sequence, or the Optuna distribution that
            trials suggest it from, categorical or integer.
        input_shape: Of a module's input, the batch included, such as ``(1, 3, 32, 32)``.
        name: Of the space.

    Raises:
        ValueError: There are no parameters, or one of them has no list of choices.

    Example:
        >>> space = from_builder(  # doctest: +SKIP
        ...     lambda params: make_network(**params),
        ...     {"width": [16, 32, 64], "depth": IntDistribution(1, 4)},
        ...     input_shape=(1, 3, 32, 32),
        ... )
    """
    return BuilderSpace(build, distributions, input_shape, name)


class BuilderSpace(SearchSpace):
    """What `from_builder` makes."""

    affordable = 512

    def __init__(
        self,
        build: Callable[[dict[str, Any]], Any],
        distributions: Mapping[str, BaseDistribution | Sequence[Any]],
        input_shape: Sequence[int] | None,
        name: str,
    ) -> None:
        if not distributions:
            raise ValueError("a search space needs at least one parameter")
        self.name = name
        self.build = build
        self.input_shape = None if input_shape is None else tuple(input_shape)
        self.distributions = {
            parameter: _distribution(parameter, given)
            for parameter, given in distributions.items()
        }
        self.choices = {
            parameter: _choices(distribution)
            for parameter, distribution in self.distributions.items()
        }
        self._texts: dict[str, str | ArchitectureError] = {}

    def parse(self, text: str) -> Architecture:
        try:
            architecture = json.loads(text)
            self.check(architecture)
        except (ValueError, TypeError) as error:
            raise ArchitectureError(f"{self.name}: {text!r} is not one: {error}") from error
        return dict(architecture)

    def format(self, architecture: Architecture) -> str:
        return json.dumps({name: architecture[name] for name in self.choices})

    def key(self, architecture: Architecture) -> str:
        return sha256(self.onnx_text(architecture).encode()).hexdigest()

    def onnx_text(
        self, architecture: Architecture, *, batch_size: int = 1, image_size: int | None = None
    ) -> str:
        """See `SearchSpace`; the shape of the input is that which ``build`` gives it.

        Raises:
            ArchitectureError: ``build`` raised, or what it returned is no valid model.
        """
        written = self.format(architecture)
        if written not in self._texts:
            try:
                self._texts[written] = compact(self._model(dict(architecture)))
            except ArchitectureError as error:
                self._texts[written] = error
            except InvalidModelError as error:
                self._texts[written] = self._error(written, "returned an invalid model", error)
        text = self._texts[written]
        if isinstance(text, ArchitectureError):
            raise text
        return text

    def _model(self, parameters: dict[str, Any]) -> onnx.ModelProto | str:
        try:
            built = self.build(parameters)
        except Exception as error:  # the user's own code may raise anything
            raise self._error(self.format(parameters), "raised", error) from error
        if isinstance(built, (onnx.ModelProto, str)):
            return built
        if not hasattr(built, "state_dict"):  # a torch.nn.Module, without importing torch
            raise ValueError(
                "build must return an onnx.ModelProto, an ONNX text or a torch.nn.Module, not "
                f"{type(built).__name__}"
            )
        if self.input_shape is None:
            raise ValueError("build returns modules: give from_builder an input_shape")
        try:
            return export(built, self.input_shape)
        except Exception as error:  # torch raises what the module's own code does, and more
            raise self._error(
                self.format(parameters), "returned a module that cannot be exported", error
            ) from error

    def _error(self, written: str, what: str, error: Exception) -> ArchitectureError:
        return ArchitectureError(f"{self.name}: build {what} for {written}: {error!r}")


def export(module: Any, input_shape: Sequence[int]) -> onnx.ModelProto:
    """A ``torch.nn.Module`` as an ONNX model, for an input of that shape, batch included."""
    import torch  # only who has modules needs it

    file = io.BytesIO()
    training = module.training
    with warnings.catch_warnings():
        # The exporter that this one's warning recommends needs another package, and takes seconds
        # where this one takes a twentieth of one.
        warnings.simplefilter("ignore")
        example = torch.zeros(tuple(input_shape))
        torch.onnx.export(module.eval(), (example,), file, dynamo=False)  # type: ignore[arg-type]
    module.train(training)
    return onnx.load_from_string(file.getvalue())


def _distribution(name: str, given: BaseDistribution | Sequence[Any]) -> BaseDistribution:
    if isinstance(given, (CategoricalDistribution, IntDistribution)):
        return given
    if isinstance(given, (BaseDistribution, str)):
        raise ValueError(
            f"{name} must have choices: a sequence, a CategoricalDistribution or an "
            f"IntDistribution, not {given!r}"
        )
    return CategoricalDistribution(tuple(given))


def _choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert isinstance(distribution, IntDistribution)
    return tuple(range(distribution.low, distribution.high + 1, distribution.step))
