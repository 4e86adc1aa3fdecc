import pytest
import torch
from torch import nn

from surrogate.muon import Muon, orthogonal, split_parameters


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4), (3, 5, 8)])
def test_directions_stay_and_sizes_become_one(shape):
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.logspace(0, -1, shape[-1])
    u, sizes, v = torch.linalg.svd(matrices, full_matrices=False)
    assert sizes.max() > 2 * sizes.min()
    made = u.mT @ orthogonal(matrices) @ v.mT
    expected = torch.eye(made.shape[-1]).expand_as(made)
    torch.testing.assert_close(made, expected, atol=0.35, rtol=0)


def test_nothing_to_learn_changes_nothing():
    matrix = nn.Parameter(torch.randn(4, 4))
    before = matrix.detach().clone()
    optimizer = Muon([matrix], lr=0.1)
    optimizer.step()
    matrix.grad = torch.zeros(4, 4)
    optimizer.step()
    assert torch.equal(matrix, before)


def test_matrices_between_hidden_states_are_its_own():
    model = nn.Sequential(nn.Embedding(50, 64), nn.Linear(64, 48), nn.LayerNorm(48))
    model.append(nn.Linear(48, 30))
    matrices, others = split_parameters(model)
    assert [*map(id, matrices)] == [id(model[1].weight)]
    mine = {*map(id, matrices + others)}
    assert mine == {*map(id, model.parameters())}
    assert len(mine) == len(matrices + others)


def test_it_learns_a_badly_scaled_map_sooner_than_plain_descent():
    torch.manual_seed(0)
    inputs = torch.randn(256, 16) * torch.logspace(0, -2, 16)
    wanted = inputs @ torch.randn(16, 16)
    losses = {}
    for make in (lambda m: Muon(m, lr=0.05), lambda m: torch.optim.SGD(m, lr=1.0, momentum=0.9)):
        matrix = nn.Parameter(torch.zeros(16, 16))
        optimizer = make([matrix])
        for _ in range(200):
            optimizer.zero_grad()
            loss = ((inputs @ matrix - wanted) ** 2).mean()
            loss.backward()
            optimizer.step()
        losses[type(optimizer)] = loss.item()
    assert losses[Muon] < losses[torch.optim.SGD]
