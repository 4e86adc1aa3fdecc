"""The NAS spaces of NDS: what is published of their networks, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from search_spaces import (
    NDSDARTS,
    NDSENAS,
    NDSPNAS,
    ArchitectureError,
    NDSAmoeba,
    NDSNASNet,
    count,
    validate,
)

FIRST_OF_AMOEBA = (
    '{"normal": [["avg_pool_3x3", 0], ["conv_7x1_1x7", 1], ["sep_conv_3x3", 2], '
    '["sep_conv_5x5", 0], ["dil_sep_conv_3x3", 2], ["dil_sep_conv_3x3", 2], ["skip_connect", 4], '
    '["dil_sep_conv_3x3", 4], ["conv_7x1_1x7", 2], ["sep_conv_3x3", 4]], '
    '"normal_concat": [3, 5, 6], '
    '"reduce": [["avg_pool_3x3", 0], ["dil_sep_conv_3x3", 1], ["sep_conv_3x3", 0], '
    '["sep_conv_3x3", 0], ["skip_connect", 2], ["sep_conv_7x7", 0], ["conv_7x1_1x7", 4], '
    '["skip_connect", 4], ["conv_7x1_1x7", 0], ["conv_7x1_1x7", 5]], "reduce_concat": [3, 6]}'
)
"""The first network of the benchmark's file ``Amoeba.json``, of width 32 and depth 12."""
DARTS_V1 = (
    "Genotype(normal=[('sep_conv_3x3', 1), ('sep_conv_3x3', 0), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('skip_connect', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 0), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=[2, 3, 4, 5])"
)
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
PDARTS = (
    "Genotype(normal=[('skip_connect', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('sep_conv_3x3', 3), ('sep_conv_3x3', 0), "
    "('dil_conv_5x5', 4)], normal_concat=range(2, 6), reduce=[('avg_pool_3x3', 0), "
    "('sep_conv_5x5', 1), ('sep_conv_3x3', 0), ('dil_conv_5x5', 2), ('max_pool_3x3', 0), "
    "('dil_conv_3x3', 1), ('dil_conv_3x3', 1), ('dil_conv_5x5', 3)], reduce_concat=range(2, 6))"
)
"""These three in github.com/facebookresearch/unnas, the first two also in quark0/darts."""


def costs(space, notation):
    return count(validate(space.onnx_text(space.parse(notation))))


def genotype(space, *operations):
    """A network with the same nodes in both cells."""
    pairs = [list(pair) for pair in operations]
    read = {source for _, source in pairs}
    together = [n for n in range(2, space.nodes + 2) if not (space.loose_ends and n in read)]
    cell = {"normal": pairs, "normal_concat": together}
    return json.dumps(cell | {"reduce": pairs, "reduce_concat": together})


def test_first_network_of_the_benchmark():
    """As github.com/microsoft/nni shows it in ``docs/en_US/NAS/BenchmarksExample.ipynb``.

    The FLOPs in the file are 1.5 % more than ours; how they were counted is not published.
    """
    found = costs(NDSAmoeba(width=32, depth=12), FIRST_OF_AMOEBA)
    assert found.parameters == 4_190_314
    assert found.flops == pytest.approx(664_400_586, rel=0.015)


def test_published_parameters_of_darts():
    """The README of github.com/quark0/darts has 3.3M."""
    assert costs(NDSDARTS(width=36), DARTS_V2).parameters == 3_349_342


@pytest.mark.parametrize(
    ("notation", "parameters", "macs"),
    [(DARTS_V1, 3_169_414, 501_015_744), (PDARTS, 3_433_798, 532_202_688)],
    ids=["DARTS_V1", "PDARTS"],
)
def test_published_costs_of_networks_of_darts(notation, parameters, macs):
    """As ``test_model_params`` of github.com/cogsys-tuebingen/uninas has them, 20 cells of 36.

    It counts what we do not, the batch normalisations that follow no convolution (after the two
    factorised reductions) and the pooling at the end; and not the biases of the classifier.
    """
    found = costs(NDSDARTS(width=36), notation)
    assert found.parameters == parameters
    assert found.flops + 72 * 16 * 16 + 144 * 8 * 8 + 4 * 144 - 10 == macs


@pytest.mark.parametrize("space", [NDSNASNet(), NDSAmoeba(), NDSPNAS(), NDSENAS(), NDSDARTS()])
def test_size_counts_operations_and_inputs(space):
    inputs = np.prod(range(2, space.nodes + 2))
    assert space.size == (len(space.operations) ** (2 * space.nodes) * int(inputs) ** 2) ** 2


def test_notations_of_one_network():
    space = NDSDARTS()
    architecture = space.parse(DARTS_V2)
    written = space.format(architecture)
    python = str(json.loads(written))
    assert "'normal_concat': [2, 3, 4, 5]" in python
    spread = DARTS_V2.replace("], ", "],\n  ").replace("=", " = ").replace("])", "],\n)")
    ranges = DARTS_V2.replace("[2, 3, 4, 5]", "range(2, 6)")
    for notation in (written, python, spread, ranges, f" {DARTS_V2}\n"):
        assert space.parse(notation) == architecture


def test_cell_has_a_statement_for_each_operation_and_node():
    text = NDSDARTS().onnx_text(NDSDARTS().parse(DARTS_V2))
    assert text.split("}\n")[1].partition("\n")[2] == (
        "Normal <c> (v0, x) => (v14) {\n"
        "  v1 = nas.Conv1x1 <c: int=@c> (x)\n"
        "  v2 = nas.SepConv3x3 <c: int=@c> (v0)\n"
        "  v3 = nas.SepConv3x3 <c: int=@c> (v1)\n"
        "  v4 = Sum (v2, v3)\n"
        "  v5 = nas.SepConv3x3 <c: int=@c> (v0)\n"
        "  v6 = nas.SepConv3x3 <c: int=@c> (v1)\n"
        "  v7 = Sum (v5, v6)\n"
        "  v8 = nas.SepConv3x3 <c: int=@c> (v1)\n"
        "  v9 = Identity (v0)\n"
        "  v10 = Sum (v8, v9)\n"
        "  v11 = Identity (v0)\n"
        "  v12 = nas.DilConv3x3 <c: int=@c> (v4)\n"
        "  v13 = Sum (v11, v12)\n"
        "  v14 = Concat <axis=1> (v4, v7, v10, v13)\n"
    )
    reduction = text.split("}\n")[2]
    assert "  v2 = nas.MaxPool3x3Down (v0)\n" in reduction
    assert "  v5 = Identity (v4)\n" in reduction


def test_only_loose_ends_are_put_together():
    chain = [("max_pool_3x3", node) for node in (0, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    space = NDSENAS()
    text = space.onnx_text(space.parse(genotype(space, *chain)))
    assert "Normal <c> (v0, x) => (v16) {" in text
    assert "Concat <axis=1> (v" not in text
    space = NDSPNAS()
    assert "Concat <axis=1> (v4, v7, v10, v13, v16)" in space.onnx_text(
        space.parse(genotype(space, *chain))
    )


@pytest.mark.parametrize(
    ("depth", "reductions"), [(1, [1]), (2, [1, 2]), (3, [2, 3]), (12, [5, 9]), (20, [7, 14])]
)
def test_two_cells_halve_the_size(depth, reductions):
    space = NDSDARTS(width=3, depth=depth)
    text = space.onnx_text(space.parse(DARTS_V2))
    cells = [
        line for line in text.splitlines() if line.startswith("  x") and "nas.ConvBn" not in line
    ]
    assert len(cells) == depth
    assert [i for i, line in enumerate(cells, 1) if "nas.Reduction" in line] == reductions
    assert f"<c={3 * 2 ** len(reductions)}>" in cells[-1]
    validate(text)


@pytest.mark.parametrize("image_size", [1, 5, 30])
def test_any_image_size_will_do(image_size, run):
    space = NDSDARTS(width=2, depth=4)
    model = space.onnx_model(space.parse(PDARTS), image_size=image_size)
    assert np.isfinite(run(model)).all()


def test_longest_sums_do_not_overflow(run):
    """Every node doubles the one before it."""
    space = NDSENAS(width=1)
    doubling = [("skip_connect", node) for node in (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)]
    output = run(space.onnx_model(space.parse(genotype(space, *doubling)), image_size=4))
    assert np.isfinite(output).all()
    assert output.max() > 1e25


SEPARABLE, POOL, SKIP, NONE = "sep_conv_3x3", "max_pool_3x3", "skip_connect", "none"
REST = [(SEPARABLE, 0), (SEPARABLE, 1)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (  # a node's two operations the other way round
            [(SEPARABLE, 0), (POOL, 1), *REST, *REST, *REST],
            [(POOL, 1), (SEPARABLE, 0), *REST, *REST, *REST],
        ),
        (  # two nodes the other way round
            [(POOL, 0), (POOL, 1), (SEPARABLE, 0), (POOL, 1), (POOL, 2), (POOL, 2), *REST],
            [(SEPARABLE, 0), (POOL, 1), (POOL, 0), (POOL, 1), (POOL, 3), (POOL, 3), *REST],
        ),
        (  # what none reads
            [(NONE, 0), (POOL, 1), *REST, *REST, *REST],
            [(NONE, 1), (POOL, 1), *REST, *REST, *REST],
        ),
        (  # an operation on nothing
            [(NONE, 0), (NONE, 0), (POOL, 2), (POOL, 1), *REST, *REST],
            [(NONE, 0), (NONE, 0), (SEPARABLE, 2), (POOL, 1), *REST, *REST],
        ),
        (  # a node that is another one
            [*REST, (SKIP, 2), (NONE, 0), (POOL, 3), (POOL, 0), (POOL, 3), (POOL, 1)],
            [*REST, (SKIP, 2), (NONE, 0), (POOL, 2), (POOL, 0), (POOL, 3), (POOL, 1)],
        ),
    ],
    ids=["sides", "nodes", "none", "nothing", "identity"],
)
def test_equal_functions_have_one_key(first, second, run):
    space = NDSDARTS(width=2, depth=3)
    pair = [space.parse(genotype(space, *operations)) for operations in (first, second)]
    assert space.format(pair[0]) != space.format(pair[1])
    assert space.key(pair[0]) == space.key(pair[1])
    outputs = [run(space.onnx_model(architecture, image_size=8)) for architecture in pair]
    assert outputs[0] == pytest.approx(outputs[1], rel=1e-5)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (  # a skip connection that halves the size has weights
            [(SKIP, 0), (POOL, 1), *REST, *REST, *REST],
            [(SKIP, 1), (POOL, 1), *REST, *REST, *REST],
        ),
        (  # one node read twice is not two nodes
            [*REST, *REST, (POOL, 2), (POOL, 2), (POOL, 0), (POOL, 1)],
            [*REST, *REST, (POOL, 2), (POOL, 3), (POOL, 0), (POOL, 1)],
        ),
    ],
    ids=["skip", "twice"],
)
def test_other_functions_have_another_key(first, second):
    space = NDSDARTS()
    keys = {space.key(space.parse(genotype(space, *pairs))) for pairs in (first, second)}
    assert len(keys) == 2


def altered(**fields):
    space = NDSDARTS()
    return json.dumps(json.loads(space.format(space.parse(DARTS_V2))) | fields)


@pytest.mark.parametrize(
    ("notation", "message"),
    [
        ("", "written like"),
        ("3", "written like"),
        ("null", "written like"),
        ("[" * 100_000, "written like"),
        ('{"normal": 1, "reduce": 2}', "written like"),
        ("Genotype(normal=[])", "written like"),
        ("__import__('os').getcwd()", "written like"),
        (f"Genotype({DARTS_V2})", "written like"),
        (DARTS_V2.replace("('sep_conv_3x3', 0), ", "", 1), "written like"),
        (FIRST_OF_AMOEBA, "written like"),
        (DARTS_V2.replace("sep_conv_3x3", "sep_conv_9x9"), "'sep_conv_9x9' is not offered"),
        (DARTS_V2.replace("('sep_conv_3x3', 0)", "('sep_conv_3x3', 2)"), "2a_input = '2' is not"),
        (altered(normal_concat=[2, 3]), "with these operations it is written"),
        (altered(banana=[2, 3]), "with these operations it is written"),
        (altered().replace(", 0]", ', "0"]'), "with these operations it is written"),
    ],
)
def test_what_is_no_network_is_refused(notation, message):
    with pytest.raises(ArchitectureError, match=message):
        NDSDARTS().parse(notation)


@pytest.mark.parametrize("size", ["width", "depth"])
def test_sizes_of_the_network_that_make_no_sense_are_refused(size):
    with pytest.raises(ValueError, match=f"{size} must be at least 1, not 0"):
        NDSDARTS(**{size: 0})
