import numpy as np
import pytest
import torch

from surrogate.model import Batch, ModelConfig, RegressionLanguageModel
from surrogate.numbers import NumberFormat
from surrogate.text import Tokenizer

OPERATORS = ("Relu", "Identity", "nas.Conv <k=[3,3]>", "Sigmoid")


def make_text(operators):
    lines = [f"  v{i + 1} = {op} (v{i})" for i, op in enumerate(operators)]
    return f"net (x) => (v{len(lines)}) {{\n" + "\n".join(lines).replace("v0", "x") + "\n}\n"


@pytest.fixture(scope="session")
def labelled():
    """Sixty random chains of four operators; the labels count convolutions and their depth."""
    rng = np.random.default_rng(0)
    chains = rng.integers(len(OPERATORS), size=(60, 4))
    texts = [make_text([OPERATORS[i] for i in chain]) for chain in chains]
    convolutions = chains == 2
    first = 50 + 10 * convolutions.sum(1) + (convolutions * np.arange(4)).sum(1)
    second = 3.5 + convolutions.sum(1) * 1.7 + 0.3 * (chains == 3).sum(1)
    return texts, np.stack([first, second], axis=1)


@pytest.fixture
def tiny(labelled):
    """An untrained model with its programs: (model, batch, number format)."""
    tokenizer = Tokenizer.fit(labelled[0])
    number = NumberFormat(digits=2, min_exponent=-1, max_exponent=1)
    torch.manual_seed(0)
    config = ModelConfig(
        vocabulary=len(tokenizer.vocabulary),
        signatures=len(tokenizer.signatures),
        number_vocabulary=len(number.vocabulary),
        number_length=number.length,
        objectives=2,
        dim=16,
        heads=2,
    )
    model = RegressionLanguageModel(config).eval()
    # Untrained logits are nearly flat; sharper ones make greedy choices and branches matter.
    torch.nn.init.normal_(model.logits.weight, std=2.0)
    batch = Batch.of(tokenizer, tokenizer.programs(labelled[0][:7]), torch.device("cpu"))
    return model, batch, number
