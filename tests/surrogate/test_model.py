from __future__ import annotations

import numpy as np
import pytest
import torch

from search_spaces import get_space
from surrogate.model import Batch, Flow
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
def test_what_flows_is_what_arrives_from_all_that_is_read(graphs, back):
    flow = Flow(8)
    for view in graphs:
        n, m = view.operator.shape
        x, source = torch.randn(2, n, m, 8)
        states = flow(x, view.reads, source, view.turns(), back)
        edges = view.reads.transpose(1, 2) if back else view.reads
        again = flow.step(source, torch.sigmoid(flow.gate(x)), edges @ states)
        assert torch.allclose(states, again, rtol=1e-4, atol=1e-4)


def test_in_a_turn_no_node_reads_another(graphs):
    for view in graphs:
        turns = view.turns()
        assert sum(turns) == view.operator.shape[1]
        for nodes in torch.arange(sum(turns)).split(turns):
            assert not view.reads[:, nodes][..., nodes].any()
