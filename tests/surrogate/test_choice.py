from __future__ import annotations

import numpy as np
import pytest

from surrogate import Pool
from surrogate.choice import most_telling


@pytest.fixture
def pool(labelled):
    texts = list(dict.fromkeys(labelled[0]))
    rng = np.random.default_rng(0)
    return Pool(texts, np.empty((len(texts), 0)), earlier=rng.normal(size=(len(texts), 3)))


def test_what_is_chosen_differs_and_is_not_labelled(pool):
    chosen = most_telling(pool, 8, labelled=[3, 1])
    assert len(set(chosen)) == 8
    assert not {3, 1} & set(chosen)
    assert chosen == most_telling(pool, 8, labelled=[3, 1])


def test_more_begin_with_the_same_and_labels_count_as_chosen(pool):
    chosen = most_telling(pool, 6)
    assert most_telling(pool, 3) == chosen[:3]
    assert most_telling(pool, 3, labelled=chosen[:3]) == chosen[3:]


def test_what_is_chosen_tells_more_than_what_is_not(pool):
    """The nearest chosen neighbour, in what other models expect, is nearer than of random ones."""

    def far(rows):
        differences = pool.earlier[:, None] - pool.earlier[list(rows)]
        return np.linalg.norm(differences, axis=-1).min(1).mean()

    rng = np.random.default_rng(1)
    random = [far(rng.permutation(len(pool.texts))[:8]) for _ in range(50)]
    assert far(most_telling(pool, 8)) < np.mean(random)


def test_no_more_can_be_chosen_than_there_are(pool):
    with pytest.raises(ValueError, match="cannot be chosen"):
        most_telling(pool, len(pool.texts), labelled=[0])
