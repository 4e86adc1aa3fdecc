"""What each ingredient of the RLM is worth, and the questions of the paper it comes from.

Run ``python -m experiments.ablation [TABLE]``, where TABLE is ``nasbench201.csv.gz``, or set
``NAS_RLM_DATA``. Each variant trains on the same architectures as in the comparison and is tested
on all the others. Writes ``ablation.json`` and ``ablation.md`` in ``experiments/results``, or with
``--name`` those of that name.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any, Self
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm import zero_cost
from nas_rlm.benchmarks import nasbench201
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table, mean_interval
from nas_rlm.metrics import kendall_tau, spearman_rho
from nas_rlm.predictors import Inputs
from nas_rlm.predictors.gnn_encoders import LinearPassing
from nas_rlm.predictors.rlm import RLMPredictor, sample_space
from search_spaces import get_space
from surrogate import RLM, prior
from surrogate.model import Batch, Flow, ModelConfig, RegressionLanguageModel
from surrogate.scorer import ScoreLosses, Scorer, scorer_training, scores
from surrogate.text import Programs, Tokenizer, lexemes, parse_block
from surrogate.training import TrainingConfig, train

DATASET = "cifar10_test_acc"
DEVICES = ("pixel3", "eyeriss", "cpu", "gpu")
LABELS = 78
SEEDS = 5

Transform = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Make = Callable[[Sequence[str], int], "RLMPredictor | Altered | ScalarHead | Pretrained"]
"""Names of the numbers and seed to what is measured."""


class Altered:
    """The RLM with another function in the place of one of its own.

    Args:
        names: Of the numbers.
        seed: See `RLMPredictor`.
        owner: Module or class of the function.
        function: Its name.
        other: What is called instead.
    """

    def __init__(
        self, names: Sequence[str], seed: int, owner: Any, function: str, other: Callable[..., Any]
    ) -> None:
        self.predictor = RLMPredictor(names, seed=seed)
        self.altered = partial(patch.object, owner, function, other)

    def fit(self, inputs: Inputs, values: NDArray[np.float64]) -> Self:
        with self.altered():
            self.predictor.fit(inputs, values)
        return self

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """See `RLMPredictor`."""
        with self.altered():
            return self.predictor.predict(inputs)


class ScalarHead:
    """The RLM's encoder with a plain head for accuracy, trained by squared error.

    Args:
        transform: Of the labels, (n,), increasing, so that it does not matter to ranks.
        seed: Of weights and order.
    """

    def __init__(self, transform: Transform, seed: int) -> None:
        self.transform = transform
        self.seed = seed

    def fit(self, inputs: Inputs, values: NDArray[np.float64]) -> Self:
        self.tokenizer = Tokenizer.fit(inputs.texts)
        labels = self.transform(values)
        config = ModelConfig(
            vocabulary=len(self.tokenizer.vocabulary),
            signatures=len(self.tokenizer.signatures),
            number_vocabulary=1,
            number_length=1,
            objectives=1,
            simplified=(0,),
        )
        torch.manual_seed(self.seed)
        self.scorer = Scorer(config)
        training = scorer_training(len(labels), TrainingConfig().passes, ranked=False)
        losses = ScoreLosses(
            self.scorer,
            self._batch(inputs),
            labels,
            np.arange(len(labels)),
            labels,
            weight=0.0,
            ranked=False,
            batch_size=training.batch_size,
        )
        train(self.scorer, losses, training)
        return self

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Scores, (n, 1)."""
        return scores(self.scorer, self._batch(inputs))

    def _batch(self, inputs: Inputs) -> Batch:
        programs = self.tokenizer.programs(inputs.texts)
        return Batch.of(self.tokenizer, programs, torch.device("cpu"))


class Pretrained:
    """One model that learns FLOPs of a pool, then the first number from its labels alone.

    Args:
        objective: Name of that number.
        seed: Of pool, weights and order.
        pool: Architectures whose FLOPs are learnt.
        steps: Of learning them.
    """

    def __init__(self, objective: str, seed: int, *, pool: int = 4096, steps: int = 1000) -> None:
        self.objective = objective
        self.seed = seed
        self.pool = pool
        self.steps = steps

    def fit(self, inputs: Inputs, values: NDArray[np.float64]) -> Self:
        others = sample_space(inputs.space, self.pool, np.random.default_rng(self.seed))
        texts = [inputs.space.onnx_text(other) for other in others]
        tokenizer = Tokenizer.fit([*inputs.texts, *texts])
        options: dict[str, Any] = {"members": 1, "seed": self.seed, "tokenizer": tokenizer}
        before = TrainingConfig(steps=self.steps)
        cheap = RLM(["flops"], training=before, **options)
        cheap.fit(texts, flops(zero_cost.scores(inputs.space, others)), progress=False)
        # As many steps as the other rows take.
        after = TrainingConfig(steps=300 + len(inputs) // 3)
        self.model = _GoesOn(cheap, [self.objective], training=after, **options)
        self.model.fit(inputs.texts, values, progress=False)
        return self

    def predict(self, inputs: Inputs) -> NDArray[np.float64]:
        """Accuracy, (n, 1)."""
        return np.asarray(self.model.predict(inputs.texts))


class _GoesOn(RLM):
    """Starts from the weights of another RLM."""

    def __init__(self, start: RLM, objectives: Sequence[str], **options: Any) -> None:
        super().__init__(objectives, **options)
        self.start = start

    def _new_model(self) -> RegressionLanguageModel:
        model = super()._new_model()
        model.load_state_dict(self.start._models[0].state_dict())
        return model


class Truncating(Tokenizer):
    """Reads no more than the first statements of a text."""

    def __init__(self, whole: Tokenizer, statements: int) -> None:
        super().__init__(whole.folded, whole.signatures, whole.words)
        self.statements = statements

    def programs(self, texts: Sequence[str]) -> Programs:
        programs = super().programs(texts)
        n = self.statements
        return replace(
            programs,
            signature=programs.signature[:, :n],
            reads=programs.reads[:, :n, : 1 + n],
            linear=programs.linear[:, :n],
            output=programs.output[:, :n],
            used=programs.used[:, :n],
        )


def flops(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """FLOPs among zero-cost scores, (n, 1)."""
    return scores[:, [zero_cost.SCORES.index("flops")]]


def normalised(labels: NDArray[np.float64]) -> NDArray[np.float64]:
    """With mean 0 and standard deviation 1."""
    return (labels - labels.mean()) / labels.std()


def _rho(number: int, record: Record) -> float:
    return float(record["rho"][number])


def _rlm(**options: Any) -> Make:
    return lambda names, seed: RLMPredictor(names, seed=seed, **options)


def _altered(owner: Any, function: str, other: Callable[..., Any]) -> Make:
    return lambda names, seed: Altered(names, seed, owner, function, other)


def _no_expressions(operator: NDArray[Any], reads: NDArray[Any]) -> list[NDArray[np.float64]]:
    return [np.empty((len(operator), 0))] * 2


def _trained(**fields: Any) -> Make:
    return _rlm(training=fields)


def _head(transform: Transform) -> Make:
    return lambda names, seed: ScalarHead(transform, seed)


def _alone(tokenizer: Callable[[], Tokenizer] | None = None, **options: Any) -> Make:
    """One model that learns the first number from its labels alone."""

    def make(names: Sequence[str], seed: int) -> RLMPredictor:
        if tokenizer is not None:
            options["tokenizer"] = tokenizer()
        return RLMPredictor(names[:1], seed=seed, pool=0, members=1, **options)

    return make


def _learnt() -> Tokenizer:
    """What the RLM learns from texts of NAS-Bench-201, whose skeleton it folds away."""
    space = get_space("nasbench201")
    return Tokenizer.fit(space.onnx_text(architecture) for architecture in islice(space, 2000))


def truncated(statements: int) -> Callable[[], Tokenizer]:
    """Reads the first of the cell's eight statements."""
    return lambda: Truncating(_learnt(), statements)


def letters() -> Tokenizer:
    """Knows no operator and no word: everything is spelled."""
    return Tokenizer(_learnt().folded, (), ())


def whole_text() -> Tokenizer:
    """Folds nothing away: the skeleton is read with the cell."""
    learnt = _learnt()
    (skeleton,) = learnt.folded.values()
    statements = [s for block in skeleton for s in parse_block(block).statements]
    signatures = {*learnt.signatures, *(statement.signature for statement in statements)}
    words = {word for signature in signatures for word in lexemes(signature) if len(word) > 1}
    nothing: dict[str, tuple[str, ...]] = dict.fromkeys(learnt.folded, ())
    return Tokenizer(nothing, sorted(signatures), sorted(words), max_statements=256)


INGREDIENTS: dict[str, Make] = {
    "RLM": _rlm(),
    "no pool: three models learn the labels": _rlm(pool=0),
    "no zero-cost scores": _rlm(zero_cost=False),
    "lessons: the guesses alone": _trained(guess_share=1.0, cost_share=1.0),
    "lessons: the scorers alone": _trained(guess_share=0.0, cost_share=0.0),
    "guesses know no expressions": _altered(prior, "_expressions", _no_expressions),
    "scorers see no guesses": _trained(guessed_labels=0.0),
    "one scorer instead of three": _rlm(members=1),
    "scorers of accuracy do not rank": _trained(rank=False),
    "accuracy reads dead statements too": _rlm(simplified=()),
    "the flow is linear, as in GATES": _altered(Flow, "passing", LinearPassing),
    "digits are not ranked": _trained(ranking=0.0),
    "numbers never see one another": _trained(hidden=1.0),
    "numbers always see one another": _trained(hidden=0.0),
}
FLOPS = "digits: FLOPs instead of accuracy"
ALONE: dict[str, Make] = {
    "digits": _alone(),
    "digits without ranking loss": _alone(training={"ranking": 0.0}),
    "squared error": _head(lambda labels: labels),
    "squared error, normalised": _head(normalised),
    "squared error, logarithm": _head(lambda labels: normalised(np.log(labels))),
    "digits: operators spelled letter by letter": _alone(letters),
    "digits: the whole text, skeleton and all": _alone(whole_text),
    "digits: dead statements too": _alone(simplified=()),
    "digits: dead statements too, after FLOPs of 4,096 texts": (
        lambda names, seed: Pretrained(names[0], seed)
    ),
    "digits: dead statements too, text cut after 6 of 8": _alone(truncated(6), simplified=()),
    "digits: dead statements too, text cut after 4 of 8": _alone(truncated(4), simplified=()),
    FLOPS: _alone(simplified=()),
}
"""One number and one model of the same encoder, on the labels alone."""
VARIANTS = {**INGREDIENTS, **ALONE}


def main(arguments: argparse.Namespace) -> None:
    """Measure what is missing and write the tables."""
    labels, seeds, variants = arguments.labels, arguments.seeds, arguments.variants
    benchmark = nasbench201(DATASET, DEVICES, arguments.table)
    inputs = Inputs(benchmark.space, benchmark.architectures)
    names = [objective.name for objective in benchmark.objectives]
    costs = flops(zero_cost.scores(benchmark.space, benchmark.architectures))

    def measure(variant: str, labels: int, seed: int) -> Record:
        order = np.random.default_rng(seed).permutation(len(inputs))
        some, rest = order[:labels], order[labels:]
        start = time.perf_counter()
        predictor = VARIANTS[variant](names, seed)
        values = costs if variant == FLOPS else benchmark.values
        if variant in ALONE:
            values = values[:, :1]
        predictor.fit(inputs[some], values[some])
        seconds = time.perf_counter() - start
        pairs = list(zip(predictor.predict(inputs[rest]).T, values[rest].T, strict=True))
        return {
            "tau": kendall_tau(*pairs[0]),
            "rho": [spearman_rho(*pair) for pair in pairs],
            "seconds": seconds,
        }

    cells = [
        {"variant": variant, "labels": labels, "seed": seed}
        for seed in range(seeds)
        for variant in variants
    ]
    about = provenance("python -m experiments.ablation", benchmark.provenance)
    records = run_cells(arguments.name, about, cells, measure, jobs=arguments.jobs)

    def mean(variant: str, figure: Callable[[Record], float]) -> str:
        mine = [record for record in records if record["variant"] == variant]
        return mean_interval(figure(record) for record in mine)

    def paired(variant: str, base: str) -> str:
        """Difference of tau for the same labels."""
        if variant == base:
            return ""
        pairs = ([r["tau"] for r in records if r["variant"] == v] for v in (variant, base))
        return mean_interval(mine - its for mine, its in zip(*pairs, strict=True))

    header = [
        "variant",
        "tau",
        "difference",
        *(o.label.removesuffix(" (ms)") for o in benchmark.objectives[1:]),
    ]
    rows = [
        [
            variant,
            mean(variant, lambda record: record["tau"]),
            paired(variant, "RLM"),
            *(mean(variant, partial(_rho, 1 + k)) for k in range(len(DEVICES))),
        ]
        for variant in INGREDIENTS
        if variant in variants
    ]
    alone = [
        [
            variant,
            mean(variant, lambda record: record["tau"]),
            "" if variant == FLOPS else paired(variant, "digits"),
            mean(variant, partial(_rho, 0)),
        ]
        for variant in ALONE
        if variant in variants
    ]
    alone_header = ["what writes it", "tau", "difference", "rho"]
    text = (
        f"{labels} labels, {seeds} seeds, mean and 95 % interval: tau of CIFAR-10 test accuracy "
        "and rho of latencies on all other architectures, with one ingredient changed at a time; "
        f"differences of tau are for the same labels.\n\n{markdown_table(header, rows)}"
    )
    if alone:
        text += (
            "\nAccuracy from the labels alone, one model of the same encoder:\n\n"
            f"{markdown_table(alone_header, alone)}"
        )
    write_text(RESULTS / f"{arguments.name}.md", text)
    print(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?")
    parser.add_argument("--labels", type=int, default=LABELS)
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--name", default="ablation", help="of the results files")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    main(parser.parse_args())
