"""Graph neural networks of the literature as encoders of small dense graphs.

Each takes node features x, (n, m, width), with `Graphs`, and gives states of the nodes,
(n, m, width), and one state of each whole graph, (n, width). Padding is zero in x; its states are
never looked at, by these networks or by their user.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch_geometric.nn import DenseGATConv, DenseGCNConv

from surrogate.graphs import INPUT, OUTPUT, Graphs, Wiring
from surrogate.model import Flow, Passing


def output_state(states: Tensor, graphs: Graphs) -> Tensor:
    """States of the output nodes, (n, width)."""
    return (states * (graphs.operator == OUTPUT)[..., None]).sum(1)


class LinearPassing(Passing):
    """Nothing of what arrives but its transform, which then passes the gate."""

    @staticmethod
    def on(arriving: Tensor, gate: Tensor, weight: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        made = F.linear(arriving, weight)
        return gate * made, (arriving, made)

    @staticmethod
    def back(
        gradient: Tensor, gate: Tensor, weight: Tensor, kept: tuple[Tensor, ...]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        arriving, made = kept
        of_made = gradient * gate
        return of_made @ weight, gradient * made, of_made, arriving


class LinearFlow(Flow):
    """A flow in which nothing of what arrives is passed on but its transform."""

    passing = LinearPassing


class GATES(nn.Module):
    """Operations as transforms of the information that flows from the input to the output.

    Source: Ning et al., "A Generic Graph-based Neural Architecture Encoding Scheme for
    Predictor-based NAS", ECCV 2020, arXiv 2004.01899; the backward flow, from which operations
    learn where they stand, from Ning et al., "TA-GATES", NeurIPS 2022.

    Departures: one transform serves all steps of a flow, so that graphs may be of any depth;
    edges have weights, since contracted graphs have multiple ones; nodes are operations in every
    search space, where GATES puts those of NAS-Bench-201 on edges.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.randn(width))
        self.end = nn.Parameter(torch.randn(width))
        self.first, self.back, self.second = (LinearFlow(width) for _ in range(3))
        self.refine = nn.Sequential(
            nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, width)
        )

    def forward(self, x: Tensor, graphs: Graphs) -> tuple[Tensor, Tensor]:
        wiring = Wiring.of(graphs)
        start = (graphs.operator == INPUT)[..., None] * self.start
        end = (graphs.operator == OUTPUT)[..., None] * self.end
        states = self.first(x, wiring, start)
        back = self.back(x, wiring.reverse(), end)
        x = x + self.refine(torch.cat([x, states, back], -1))
        states = self.second(x, wiring, start)
        return states, output_state(states, graphs)


class FLANLayer(nn.Module):
    """Mean of a dense graph flow and graph attention, both gated by the operation."""

    def __init__(self, width: int, heads: int = 4) -> None:
        super().__init__()
        self.transform = nn.Linear(width, width)
        self.flow_gate = nn.Linear(width, width)
        self.attention = DenseGATConv(width, width // heads, heads)
        self.attention_gate = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, states: Tensor, x: Tensor, graphs: Graphs) -> Tensor:
        made = self.transform(states)
        flow = made + torch.sigmoid(self.flow_gate(x)) * (graphs.reads @ made)
        seen = self.attention(states, graphs.reads, graphs.there)
        seen = torch.sigmoid(self.attention_gate(x)) * seen
        return F.relu(self.norm((flow + seen) / 2))


class FLAN(nn.Module):
    """Dual graph flow: skip connections and gated convolution, with graph attention.

    Source: Akhauri and Abdelfattah, "Encodings for Prediction-based Neural Architecture Search",
    ICML 2024, arXiv 2403.02484.

    Departures: no unsupervised encodings beside the graph; operations are not
    refined by a backward pass; four layers, and widths fit for a CPU.
    """

    def __init__(self, width: int, layers: int = 4) -> None:
        super().__init__()
        self.layers = nn.ModuleList(FLANLayer(width) for _ in range(layers))

    def forward(self, x: Tensor, graphs: Graphs) -> tuple[Tensor, Tensor]:
        states = x
        for layer in self.layers:
            states = layer(states, x, graphs)
        return states, output_state(states, graphs)


class GCN(nn.Module):
    """Graph convolutions with a global node that reads all others.

    Source: Dudziak et al., "BRP-NAS: Prediction-based NAS using GCNs", NeurIPS 2020,
    arXiv 2007.08668: four layers.

    Departures: widths fit for a CPU rather than 600.
    """

    def __init__(self, width: int, layers: int = 4) -> None:
        super().__init__()
        self.everything = nn.Parameter(torch.randn(width))
        self.layers = nn.ModuleList(DenseGCNConv(width, width) for _ in range(layers))

    def forward(self, x: Tensor, graphs: Graphs) -> tuple[Tensor, Tensor]:
        states = torch.cat([self.everything.expand(len(x), 1, -1), x], 1)
        # Degrees must be positive, so that minus a value is read like the value.
        edges = F.pad(graphs.reads.abs(), (1, 0, 1, 0))
        edges[:, 0, 1:] = graphs.there
        for layer in self.layers:
            states = F.relu(layer(states, edges))
        return states[:, 1:], states[:, 0]


class TransformerLayer(nn.Module):
    """Attention in which each head sees one kind of relative, and a graph-aware feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.expand = nn.Linear(width, 2 * width)
        self.read, self.read_by = nn.Linear(width, width), nn.Linear(width, width)
        self.contract = nn.Linear(2 * width, width)

    def forward(self, states: Tensor, sees: Tensor, reads: Tensor) -> Tensor:
        n, m, width = states.shape
        projected = self.query_key_value(self.attention_norm(states))
        query, key, value = projected.view(n, m, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=sees)
        states = states + self.mix(mixed.transpose(1, 2).reshape(n, m, width))
        normed = self.feed_forward_norm(states)
        near = [reads @ self.read(normed), reads.transpose(1, 2) @ self.read_by(normed)]
        return states + self.contract(F.relu(self.expand(normed) + torch.cat(near, -1)))


class GraphTransformer(nn.Module):
    """A transformer whose heads attend to parents, children, siblings and co-parents.

    Sources: Xu et al., "NN-Former: Rethinking Graph Structure in Neural Architecture
    Representation", CVPR 2025, arXiv 2507.00880 (sibling attention; a feed-forward that reads
    along the edges in both directions); Lu et al., "PINAT", AAAI 2023 (positions in the graph).

    Departures: positions are learned embeddings of a node's longest ways to the ends of the graph,
    since Laplacian eigenvectors have arbitrary signs; three layers, and widths fit for a CPU.
    """

    def __init__(self, width: int, layers: int = 3, depths: int = 32) -> None:
        super().__init__()
        self.depths = depths
        self.position = nn.ModuleList(nn.Embedding(depths, width) for _ in range(2))
        self.layers = nn.ModuleList(TransformerLayer(width, heads=4) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, graphs: Graphs) -> tuple[Tensor, Tensor]:
        reads = graphs.reads
        read_by = reads.transpose(1, 2)
        parents, children = (reads != 0).float(), (read_by != 0).float()
        siblings, co_parents = parents @ children, children @ parents
        relatives = torch.stack([parents, children, siblings, co_parents], dim=1) > 0
        sees = relatives | torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        depth = graphs.depth.clamp(max=self.depths - 1)
        for way, embedding in enumerate(self.position):
            x = x + embedding(depth[..., way])
        for layer in self.layers:
            x = layer(x, sees, reads)
        states = self.norm(x)
        return states, output_state(states, graphs)
