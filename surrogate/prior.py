"""What can be expected of a text before a language model reads it: a Gaussian process.

With few labels, most of what can be known of a text lies in what costs nothing: the paths through
its program, how often each operator occurs, and cheap numbers such as a count of parameters. A
Gaussian process over these is fitted to the labels in seconds. The language model then learns
from its expectations for texts without labels, the more the fewer labels there are.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.stats import norm, rankdata
from torch import Tensor

from surrogate.graphs import FIRST, views
from surrogate.paths import path_features
from surrogate.scale import Scale
from surrogate.text import Tokenizer, split_blocks, wording

MOST_FITTED = 400
"""Labels that the amplitudes and length scales are fitted to, at most."""
FIT_STEPS, FIT_RATE = 60, 0.3
LEAST_OF_KIND = 10
"""Labels of a number that texts of one kind need to learn it without those of other kinds."""
TREND = 0.8
"""Slope, in standard deviations, with which an objective is expected to follow its trend."""
UNSURE, SURE = 0.02, 0.5
"""Half the precision of what each part is expected to explain: as a rule, and where what other
models say is trusted, so that little is left to find out."""
EARLIER = 2.0
"""Logarithm of what numbers are expected to be as straight lines of what other models say."""
_OF_PROGRAM = ("counts", "used", "statements")
"""Features that know of statements which no output depends on."""
_CHUNK = 2048
_MOST_PATHS, _MOST = 3, 8
"""Paths of a kind are counted up to this many, and what else is counted of a function."""
_RARE = 0.3
"""Standard deviation that paths and expressions are divided by at least: of thousands, most are so
rare that two texts with one of them in common would count as alike above all others."""
_MOST_COLUMNS = 3000
"""Paths, and expressions, that are told from others: those in most texts. Of deep networks almost
every text has thousands of its own."""


@dataclass(frozen=True)
class Pool:
    """Texts without labels, and what is known of them at no cost.

    Attributes:
        texts: m different texts that predictions may be asked for, those with labels among them.
        hints: Cheap numbers of each text, (m, h), NaN where one is undefined; h may be 0.
        trend: Which of the hints simplified numbers are expected to grow with, or where none is
            simplified the first.
        earlier: What models of other numbers, such as another device's, expect of each text,
            (m, e); None for nothing.
        asked: Which of the k numbers each text has, (m, k) bool, where texts of several kinds are
            read together; None: all of them.
    """

    texts: Sequence[str]
    hints: np.ndarray
    trend: Sequence[int] = ()
    earlier: np.ndarray | None = None
    asked: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Refuse what does not belong together.

        Raises:
            ValueError: Texts are repeated, or hints or what is earlier are not one row for each.
        """
        if len(set(self.texts)) != len(self.texts):
            raise ValueError("the pool holds a text twice; keep one of each")
        for name in ("hints", "earlier", "asked"):
            table = getattr(self, name)
            if table is None:
                continue
            if table.ndim != 2 or len(table) != len(self.texts):
                raise ValueError(
                    f"{name} must have shape (texts, {name}) with {len(self.texts)} texts, got "
                    f"{table.shape}"
                )
        if any(not 0 <= column < self.hints.shape[1] for column in self.trend):
            raise ValueError(f"trend names hints by their column, got {list(self.trend)}")

    def __getitem__(self, rows: np.ndarray) -> Pool:
        texts = [self.texts[row] for row in rows]
        some = {name: getattr(self, name) for name in ("hints", "earlier", "asked")}
        some = {name: None if table is None else table[rows] for name, table in some.items()}
        return replace(self, texts=texts, **some)

    @cached_property
    def features(self) -> Features:
        """What the process sees of all texts, read once however many labels come in."""
        return Features.of(self)


@dataclass(frozen=True)
class Features:
    """What the process sees of m texts, each (m, columns) float32, standardised.

    Attributes:
        hints: Normal scores of the cheap numbers.
        paths: Which paths lead from inputs to outputs.
        lengths: How many, how long, and what occurs on them.
        expressions: How often each operator reads which others.
        nested: The same with what those read in turn.
        wordings: How often statements have a value of an attribute that has several, each of
            them with the words of the operator and the other values beside it.
        words: How often operators have a word in their names, and two words.
        counts: How often each operator occurs.
        used: The same in statements that an output depends on: some devices run no others.
        statements: Which operator each statement has.
        expected: What other models expect.
        earlier: Its normal scores.
        trend: Standardised mean of the hints that numbers grow with, (m,) float64.
    """

    hints: Tensor
    paths: Tensor
    lengths: Tensor
    expressions: Tensor
    nested: Tensor
    wordings: Tensor
    words: Tensor
    counts: Tensor
    used: Tensor
    statements: Tensor
    expected: Tensor
    earlier: Tensor
    trend: Tensor

    @classmethod
    def of(cls, pool: Pool) -> Features:
        """The features of a pool of texts that share one skeleton."""
        programs = Tokenizer.fit(pool.texts).programs(pool.texts)
        function, _ = views(programs, FIRST + np.arange(len(programs.signatures)))
        table, names = _path_table(pool.texts)
        counted = np.array([name[1][0] for name in names])
        paths, occurs, used = (counted == kind for kind in ("path", "occurs", "is used"))
        kinds = np.arange(len(programs.signatures))
        statements = (programs.signature[..., None] == kinds).reshape(len(table), -1)
        expressions, nested = _expressions(
            function.operator.numpy(force=True), function.reads.numpy(force=True)
        )
        occurs_in_function = function.occurrences(len(kinds)).numpy(force=True)
        wordings, words = _wordings(programs.signatures)
        hints = _normal_scores(pool.hints)
        trend = hints[:, list(pool.trend)].mean(1) if pool.trend else np.zeros(len(table))
        earlier = np.empty((len(table), 0)) if pool.earlier is None else pool.earlier
        return cls(
            _standardised(hints),
            _standardised(table[:, paths].clip(max=_MOST_PATHS), _RARE),
            _standardised(table[:, ~(paths | occurs | used)].clip(max=_MOST)),
            _standardised(expressions, _RARE),
            _standardised(nested, _RARE),
            _standardised(_counted(occurs_in_function, wordings)),
            _standardised(_counted(occurs_in_function, words)),
            _standardised(table[:, occurs]),
            _standardised(table[:, used]),
            _standardised(statements),
            _standardised(earlier),
            _standardised(_normal_scores(earlier)),
            torch.from_numpy((trend - trend.mean()) / (trend.std() or 1.0)),
        )

    def groups(self, simplified: bool, trusting: bool = False) -> dict[str, Tensor]:
        """What an objective depends on.

        Args:
            simplified: On the function alone.
            trusting: On what other models expect as it is, too: it may be much the same number.
        """
        left_out = ("expected", *(_OF_PROGRAM if simplified else ()))
        seen = {name: group for name, group in vars(self).items() if name not in left_out}
        if trusting:
            seen["earlier"] = torch.cat([self.expected, self.earlier], 1)
        return {name: group for name, group in seen.items() if group.ndim == 2 and group.shape[1]}


class GaussianProcess:
    """One objective as a trend plus, for each group of features, a linear and a smooth part.

    Amplitudes, length scales, noise and the slope of the trend maximise the marginal likelihood
    under log-normal priors, weak ones unless it is ``trusting``.

    Args:
        groups: Name to features of m texts, (m, columns) each.
        trend: (m,).
        typical: Logarithm of what a part is expected to explain.
        trusting: Whether what other models say is expected to explain most.
    """

    def __init__(
        self,
        groups: Mapping[str, Tensor],
        trend: Tensor,
        typical: float = -4.0,
        trusting: bool = False,
    ) -> None:
        self.groups = list(groups.values())
        self.trend = trend
        self.typical = torch.full((2, len(groups)), typical, dtype=torch.float64)
        self.sure = UNSURE
        if trusting and "earlier" in groups:
            self.typical[0, list(groups).index("earlier")] = EARLIER
            self.sure = SURE

    def fit(self, rows: np.ndarray, labels: np.ndarray) -> GaussianProcess:
        """Learn from the labels, (n,), of some rows, (n,) without repetition."""
        self.rows = torch.from_numpy(rows)
        self.mean, self.deviation = labels.mean(), labels.std()
        y = torch.from_numpy((labels - self.mean) / self.deviation)
        self.amplitude = self.typical.clone().requires_grad_()
        self.length = torch.zeros(len(self.groups), dtype=torch.float64, requires_grad=True)
        self.noise = torch.tensor(-2.0, dtype=torch.float64, requires_grad=True)
        self.slope = torch.tensor(TREND, dtype=torch.float64, requires_grad=True)
        parameters = [self.amplitude, self.length, self.noise, self.slope]
        optimizer = torch.optim.Adam(parameters, FIT_RATE)
        some = self.rows[:MOST_FITTED]
        among = self._parts(some, some, torch.float64)
        for _ in range(FIT_STEPS):
            kernel, residual = self._joint(among, some, y[: len(some)])
            with torch.no_grad():
                factor, solved = _solved(kernel, residual)
                of_kernel = (torch.cholesky_inverse(factor) - solved @ solved.T) / 2
            # Its gradients are the likelihood's, with no way back through the factor.
            loss = (
                (of_kernel * kernel).sum()
                + solved[:, 0] @ residual
                + self.sure * ((self.amplitude - self.typical) ** 2).sum()
                + 0.5 * (self.length**2).sum()
                + (self.noise + 2.5) ** 2
                + 5 * (self.slope - TREND) ** 2
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            whole = self._parts(self.rows, self.rows, torch.float64)
            self._factor, self._solved = _solved(*self._joint(whole, self.rows, y))
        return self

    @torch.no_grad()
    def predict(self) -> np.ndarray:
        """Means of all m texts, (m,)."""
        means = []
        for start in range(0, len(self.trend), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            kernel = self._kernel(*self._parts(chunk, self.rows, torch.float32)).double()
            means.append(kernel @ self._solved[:, 0] + self.slope * self.trend[chunk])
        return torch.cat(means).numpy() * self.deviation + self.mean

    @torch.no_grad()
    def leave_one_out(self) -> np.ndarray:
        """What labels differ by from what the others say, (n,).

        Source: Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, eq. 5.12.
        """
        precision = torch.cholesky_inverse(self._factor).diagonal()
        return (self._solved[:, 0] / precision).numpy() * self.deviation

    def _joint(
        self, parts: tuple[Tensor, Tensor], rows: Tensor, y: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Covariance of noisy labels y, (n,), and what they differ by from the trend."""
        return self._kernel(*parts) + self._noise(len(y)), y - self.slope * self.trend[rows]

    def _noise(self, n: int) -> Tensor:
        return (self.noise.exp() + 1e-5) * torch.eye(n, dtype=torch.float64)

    def _parts(self, a: Tensor | slice, b: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """For each of p groups mean products and mean squared distances, (p, a, b) each.

        In float32 they would no longer be covariances of hundreds of labels without noise.
        """
        products, distances = [], []
        for group in self.groups:
            left, right = group[a].to(dtype), group[b].to(dtype)
            product = left @ right.T
            distance = left.square().sum(1)[:, None] + right.square().sum(1) - 2 * product
            products.append(product / group.shape[1])
            distances.append(distance.clamp(min=0) / group.shape[1])
        return torch.stack(products), torch.stack(distances)

    def _kernel(self, products: Tensor, distances: Tensor) -> Tensor:
        """The linear parts and the smooth ones, (a, b), from those of (p, a, b)."""
        linear, smooth = self.amplitude.exp().to(products.dtype)
        steep = (-2 * self.length).exp().to(products.dtype) / 2
        alike = torch.exp(-steep[:, None, None] * distances)
        return torch.tensordot(linear, products, 1) + torch.tensordot(smooth, alike, 1)


def _solved(kernel: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
    """The Cholesky factor of a kernel, (n, n), and its inverse times residuals, (n, 1)."""
    factor = torch.linalg.cholesky(kernel)
    return factor, torch.cholesky_solve(residual[:, None], factor)


@dataclass(frozen=True)
class Guesses:
    """What Gaussian processes say of k numbers of m texts, from labels of n of them.

    Attributes:
        means: (m, k).
        residuals: What each label differs by from what the others say of it, (n, k), NaN where it
            is missing.
    """

    means: np.ndarray
    residuals: np.ndarray


def guess(
    pool: Pool,
    rows: np.ndarray,
    labels: np.ndarray,
    scales: Sequence[Scale] | None,
    simplified: Sequence[bool],
    typical: float,
    trusting: bool = False,
) -> Guesses:
    """What Gaussian processes say of a pool.

    Texts are of a kind if the same numbers are asked of them. Each kind has processes of its own,
    but for numbers of which it has few labels: those are learnt from all kinds together.

    Args:
        pool: m texts.
        rows: See `expect`, as for the others.
        labels: NaN where a number is not asked of a text.
        scales: See there.
        simplified: See there.
        typical: See there.
        trusting: See there.

    Returns:
        Means are NaN where a number is not asked of a text.
    """
    k = labels.shape[1]
    asked = np.ones((len(pool.texts), k), dtype=bool) if pool.asked is None else pool.asked
    means = np.full(asked.shape, np.nan)
    residuals = np.full(labels.shape, np.nan)
    growing = simplified if any(simplified) else [number == 0 for number in range(k)]

    def learn(mask: np.ndarray, numbers: np.ndarray) -> None:
        texts = np.flatnonzero(mask)
        here = np.flatnonzero(mask[rows])
        some = expect(
            (pool if mask.all() else pool[texts]).features,
            np.searchsorted(texts, rows[here]),
            labels[np.ix_(here, numbers)],
            scales and [scales[number] for number in numbers.tolist()],
            [simplified[number] for number in numbers.tolist()],
            typical,
            [growing[number] for number in numbers.tolist()],
            trusting,
        )
        means[np.ix_(texts, numbers)] = some.means
        residuals[np.ix_(here, numbers)] = some.residuals

    of_kind, kind = np.unique(asked, axis=0, return_inverse=True)
    known = np.stack([(~np.isnan(labels[kind[rows] == i])).sum(0) for i in range(len(of_kind))])
    own = known >= LEAST_OF_KIND
    shared = (of_kind & ~own).any(0)
    for mask in np.unique(asked[:, shared], axis=1).T:
        learn(mask, np.flatnonzero(shared & (asked == mask[:, None]).all(0)))
    for i, numbers in enumerate(own):
        if numbers.any():
            learn(kind == i, np.flatnonzero(numbers))
    return Guesses(means, residuals)


def expect(
    features: Features,
    rows: np.ndarray,
    labels: np.ndarray,
    scales: Sequence[Scale] | None,
    simplified: Sequence[bool],
    typical: float,
    trend: Sequence[bool],
    trusting: bool = False,
) -> Guesses:
    """What a Gaussian process for each objective says of a pool.

    A latency is a sum of what operations take, and is learnt from fewest labels as it is; of an
    accuracy the coordinate is closer to a sum. So a process learns either, and of the two the one
    is kept that comes nearer to the labels, each left out.

    Args:
        features: Of the m texts of the pool.
        rows: Where the n labelled texts are in the pool, (n,).
        labels: Coordinates of their labels, (n, k), NaN where missing.
        scales: What k values and their coordinates have to do with each other; None: coordinates
            alone are learnt.
        simplified: Which of the k objectives depend on the function alone.
        typical: See `GaussianProcess`.
        trend: Which of them follow the trend.
        trusting: See `GaussianProcess`.

    Returns:
        Coordinates.
    """
    means = np.empty((len(features.trend), labels.shape[1]))
    residuals = np.full_like(labels, np.nan)
    for k, column in enumerate(labels.T):
        known = ~np.isnan(column)
        slope = features.trend if trend[k] else torch.zeros_like(features.trend)
        groups = features.groups(simplified[k], trusting)
        ways: list[tuple[Callable[[np.ndarray], np.ndarray], ...]] = [(np.asarray, np.asarray)]
        if scales is not None:
            ways.append((scales[k].inverse, scales[k]))
        tried = []
        for there, back in ways:
            y = there(column[known])
            process = GaussianProcess(groups, slope, typical, trusting).fit(rows[known], y)
            off = column[known] - back(y - process.leave_one_out())
            tried.append((float((off**2).mean()), off, process, back))
        _, residuals[known, k], process, back = min(tried, key=itemgetter(0))
        means[:, k] = back(process.predict())
    return Guesses(means, residuals)


def _path_table(texts: Sequence[str]) -> tuple[np.ndarray, list[Any]]:
    """How often each text has each feature of its paths, (m, columns), and the features."""
    rows = [
        [feature for block in split_blocks(text) for feature in path_features(block)]
        for text in texts
    ]
    texts_with: Counter[Any] = Counter(name for row in rows for name, _ in row)
    paths = [name for name, _ in texts_with.most_common() if name[1][0] == "path"]
    rare = set(paths[_MOST_COLUMNS:])
    names = dict.fromkeys(name for row in rows for name, _ in row if name not in rare)
    column = {name: i for i, name in enumerate(names)}
    table = np.zeros((len(rows), len(column)))
    for line, row in zip(table, rows, strict=True):
        for name, number in row:
            if name in column:
                line[column[name]] += number
    return table, list(column)


def _expressions(operator: np.ndarray, reads: np.ndarray) -> list[np.ndarray]:
    """How often each expression occurs in n graphs of m nodes, (n, expressions).

    An expression is an operator and how often it reads which operators, or in the second table
    which expressions: trees of height one and two. Source: Shervashidze et al.,
    "Weisfeiler-Lehman Graph Kernels", JMLR 2011.

    Args:
        operator: (n, m), 0 where there is no node.
        reads: How often each node reads which, (n, m, m).
    """
    n, m = operator.shape
    graph = np.arange(n).repeat(m)[operator.ravel() > 0]
    name, tables = operator, []
    for _ in range(2):
        # What each node reads is told by one number: a sum of random ones, one for each name.
        drawn = np.random.default_rng(0).random(name.max() + 1)
        read = (reads * drawn[name][:, None]).sum(-1).round(9)
        seen = np.stack([operator, read], -1).reshape(-1, 2)
        _, found = np.unique(seen, axis=0, return_inverse=True)
        name = found.reshape(n, m)
        here = found[operator.ravel() > 0]
        occurrences = coo_array((np.ones(len(here)), (graph, here)), (n, name.max() + 1)).tocsc()
        common = np.argsort(-np.diff(occurrences.indptr), kind="stable")[:_MOST_COLUMNS]
        tables.append(occurrences[:, np.sort(common)].toarray())
    return tables


def _wordings(signatures: Sequence[str]) -> tuple[list[list[Hashable]], list[list[Hashable]]]:
    """What signatures say: two things at a time, and the words of operators alone.

    Of two things one at least is the value of an attribute that has several: how often there is a
    kernel of 5 x 5 where there are 80 channels, whatever else is said of it. Words are told alone
    and in pairs: what launches kernels takes time, whatever their sizes.

    Args:
        signatures: s of them.

    Returns:
        Names of what each says, s lists each.
    """
    said = [wording(signature) for signature in signatures]
    values: dict[str, set[str]] = {}
    for _, attributes in said:
        for name, value in attributes.items():
            values.setdefault(name, set()).add(value)
    meetings: list[list[Hashable]] = []
    words: list[list[Hashable]] = []
    for of_operator, attributes in said:
        some = sorted(of_operator)
        telling = sorted(item for item in attributes.items() if len(values[item[0]]) > 1)
        alone = [(item,) for item in telling]
        beside = itertools.product(telling, some)
        meetings.append([*alone, *beside, *itertools.combinations(telling, 2)])
        words.append([*some, *itertools.combinations(some, 2)])
    return meetings, words


def _counted(occurs: np.ndarray, said: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """How often each thing that signatures say occurs in n graphs, (n, things).

    Args:
        occurs: How often each of s signatures does, (n, s).
        said: What each says, s lists.
    """
    column: dict[Hashable, int] = {}
    places = [(i, column.setdefault(x, len(column))) for i, xs in enumerate(said) for x in xs]
    says = np.zeros((len(said), len(column)))
    for place in places:
        says[place] = 1.0
    return occurs @ says


def _normal_scores(numbers: np.ndarray) -> np.ndarray:
    """Ranks of each column as quantiles of a normal distribution; undefined ones come first."""
    filled = np.where(np.isfinite(numbers), numbers, -np.inf)
    return norm.ppf(rankdata(filled, axis=0) / (len(filled) + 1))


def _standardised(columns: np.ndarray, rare: float = 0.0) -> Tensor:
    """Columns that differ between texts, with mean 0 and standard deviation 1, float32.

    Those that differ in few have less of a deviation, since they are not divided by less than
    ``rare``.
    """
    columns = columns.astype(np.float64)
    columns = columns[:, np.ptp(columns, axis=0) > 0]
    standardised = (columns - columns.mean(0)) / columns.std(0).clip(min=rare)
    # Taken column by column they lie that way, and processes read them row by row.
    return torch.from_numpy(standardised).float().contiguous()
