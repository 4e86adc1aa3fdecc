"""Really trains small networks on scikit-learn's digits: accuracy against parameters."""

from __future__ import annotations

import optuna
import optunahub
import torch
from sklearn.datasets import load_digits
from torch import nn

module = optunahub.load_module("samplers/nas_rlm")
CHOICES = {"width": [8, 16, 32, 64], "depth": [1, 2, 3], "norm": [False, True]}

features, labels = load_digits(return_X_y=True)
features = torch.tensor(features / 16, dtype=torch.float32)
labels = torch.tensor(labels)


def build(params: dict) -> nn.Module:
    layers: list[nn.Module] = []
    size = 64
    for _ in range(params["depth"]):
        layers += [nn.Linear(size, params["width"]), nn.ReLU()]
        layers += [nn.BatchNorm1d(params["width"])] if params["norm"] else []
        size = params["width"]
    return nn.Sequential(*layers, nn.Linear(size, 10))


def objective(trial: optuna.Trial) -> tuple[float, int]:
    network = build({name: trial.suggest_categorical(name, c) for name, c in CHOICES.items()})
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(50):
        rows = torch.randint(1200, (128,))
        loss = nn.functional.cross_entropy(network(features[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        hits = network.eval()(features[1200:]).argmax(1) == labels[1200:]
    return hits.float().mean().item(), sum(p.numel() for p in network.parameters())


if __name__ == "__main__":
    space = module.from_builder(build, CHOICES, input_shape=(2, 64))
    sampler = module.RLMSampler(space, ["accuracy", "parameters"], seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(objective, n_trials=15)
    for trial in study.best_trials:
        print(trial.values, trial.params)
