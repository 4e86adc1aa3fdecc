from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from nas_rlm.predictors.gnn_encoders import LinearFlow
from search_spaces import get_space
from surrogate.graphs import Wiring
from surrogate.model import Batch, Encoder, Flow, ModelConfig, Reader
from surrogate.text import Tokenizer


@pytest.fixture(params=["nasbench201", "nasbench101", "mnasnet"])
def graphs(request):
    """Both views of a few programs."""
    space = get_space(request.param)
    rng = np.random.default_rng(0)
    texts = [space.onnx_text(space.sample(rng)) for _ in range(20)]
    tokenizer = Tokenizer.fit(texts)
    batch = Batch.of(tokenizer, tokenizer.programs(texts), torch.device("cpu"))
    return batch.function, batch.program


@pytest.mark.parametrize("back", [False, True])
@pytest.mark.parametrize("kind", [Flow, LinearFlow])
def test_what_flows_and_its_gradients_are_those_of_one_node_after_the_other(graphs, kind, back):
    torch.manual_seed(0)
    flow = kind(8)
    for view in graphs:
        n, m = view.operator.shape
        view = replace(view, reads=view.reads * torch.randint(-1, 3, (n, m, m)))
        x, source = (tensor.requires_grad_() for tensor in torch.randn(2, n, m, 8))
        wiring = Wiring.of(view)
        states = flow(x, wiring.reverse() if back else wiring, source)
        one_by_one = _one_by_one(flow, x, view.reads, source, back)
        torch.testing.assert_close(states, one_by_one, rtol=1e-4, atol=1e-4)
        wanted = [x, source, *flow.parameters()]
        noise = torch.randn_like(states)
        gradients = torch.autograd.grad(states, wanted, noise)
        expected = torch.autograd.grad(one_by_one, wanted, noise)
        torch.testing.assert_close(gradients, expected, rtol=1e-3, atol=1e-3)


def _one_by_one(flow, x, reads, source, back):
    """The same by automatic differentiation."""
    gate = torch.sigmoid(flow.gate(x))
    order = range(x.shape[1])[:: -1 if back else 1]
    edges = reads.transpose(1, 2) if back else reads
    states = {}
    for node in order:
        arriving = sum(
            (edges[:, node, i, None] * states[i] for i in states), torch.zeros(len(x), 8)
        )
        added, _ = flow.passing.on(arriving, gate[:, node], flow.transform.weight)
        states[node] = source[:, node] + added
    return torch.stack([states[node] for node in range(x.shape[1])], 1)


def test_in_a_turn_no_node_reads_another(graphs):
    for view in graphs:
        turns = view.turns()
        assert sum(turns) == view.operator.shape[1]
        for nodes in torch.arange(sum(turns)).split(turns):
            assert not view.reads[:, nodes][..., nodes].any()


def test_what_a_choice_adds_to_the_memorys_sum_does_not_depend_on_other_choices():
    """Or costs that are sums could not be read off it."""
    space = get_space("fbnet")
    first = space.sample(np.random.default_rng(0))
    one, other = {"layer_3": "k3_e6"}, {"layer_7": "skip"}
    changes = [{}, one, other, one | other]
    texts = [space.onnx_text(first | change) for change in changes]
    tokenizer = Tokenizer.fit(texts)
    batch = Batch.of(tokenizer, tokenizer.programs(texts), torch.device("cpu"))
    torch.manual_seed(0)
    sizes = ModelConfig(len(tokenizer.vocabulary), len(tokenizer.signatures), 1, 1, 1)
    memory, _ = Encoder(sizes)(batch, batch.program)
    neither, with_one, with_other, both = memory[:, 1]
    assert (neither - with_one).norm() > 0.1
    torch.testing.assert_close(neither - with_one, with_other - both, rtol=1e-4, atol=1e-4)


def test_numbers_that_are_sums_are_in_the_memory_from_the_start():
    space = get_space("fbnet")
    rng = np.random.default_rng(0)
    architectures = [space.sample(rng) for _ in range(400)]
    choices = sorted(set().union(*(a.values() for a in architectures)))
    costs = dict(zip(choices, rng.random(len(choices)), strict=True))
    total = torch.tensor([sum(costs[choice] for choice in a.values()) for a in architectures])
    texts = [space.onnx_text(architecture) for architecture in architectures]
    tokenizer = Tokenizer.fit(texts)
    batch = Batch.of(tokenizer, tokenizer.programs(texts), torch.device("cpu"))
    expected = total[:, None].repeat(1, 3)
    expected[:200, 1] = torch.nan
    expected[1:, 2] = torch.nan  # nothing can be learnt of this one
    torch.manual_seed(0)
    sizes = ModelConfig(len(tokenizer.vocabulary), len(tokenizer.signatures), 1, 1, 3, (1, 2))
    reader = Reader(sizes)
    reader.start_from(batch, expected)
    ((program, _, _), (function, _, _)) = reader(batch)
    for memory, least in ((program, 0.995), (function, 0.8)):
        assert torch.corrcoef(torch.stack([memory[:, 1, 0], total]))[0, 1] > least
        assert memory.isfinite().all()
