import numpy as np
import pytest

from surrogate import TextError, Tokenizer
from surrogate.text import lexemes, parse_block, split_blocks

SKELETON = """<ir_version: 10, opset_import: ["":21, "nas":1]>
net (float[1,3,32,32] image) => (float[1,10] logits) {
  logits = nas.Cell <c=[16]> (image)
}
"""


def text(*statements, output="v3"):
    body = "\n".join(f"  {statement}" for statement in statements)
    return (
        SKELETON
        + f'<domain: "nas", opset_import: ["":21]>\nCell <c> (v0) => ({output}) {{\n{body}\n}}\n'
    )


CONV = text("v1 = nas.Conv3x3 <c: ints=@c> (v0)", "v2 = Relu (v0)", "v3 = Sum (v1, v1, v0)")
ZERO = text("v1 = Sub (v0, v0)", "v2 = Identity (v0)", "v3 = Add (v1, v2)")


def test_a_program_says_what_reads_what():
    programs = Tokenizer.fit([CONV, ZERO]).programs([CONV, ZERO])
    assert programs.reads[0].tolist() == [[1, 0, 0, 0], [1, 0, 0, 0], [1, 2, 0, 0]]
    assert programs.reads[1].tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]
    assert programs.linear.tolist() == [[False, False, True], [True, True, True]]
    assert programs.output.tolist() == [[False, False, True]] * 2
    assert programs.used.tolist() == [[True, False, True], [True, True, True]]
    first = [programs.signatures[i] for i in programs.signature[0]]
    assert first == ["nas.Conv3x3<c: ints=@c>", "Relu", "Sum"]


def test_programs_of_different_length_are_padded():
    longer = text("v1 = Relu (v0)", "v2 = Relu (v1)", "v3 = Relu (v2)", "v4 = Relu (v3)")
    programs = Tokenizer.fit([CONV, longer]).programs([CONV, longer])
    assert programs.signature.shape == (2, 4)
    assert programs.signature[0, 3] == -1
    assert not programs.reads[0, 3].any()
    alone = Tokenizer.fit([CONV, longer]).programs([CONV])
    np.testing.assert_array_equal(programs[:1].reads[:, :3, :4], alone.reads)


def test_what_all_texts_share_is_folded_and_may_not_change():
    tokenizer = Tokenizer.fit([CONV, ZERO])
    assert {kind: len(blocks) for kind, blocks in tokenizer.folded.items()} == {"net": 1}
    with pytest.raises(TextError, match="net"):
        tokenizer.programs([CONV.replace("c=[16]", "c=[32]")])


def test_texts_of_several_kinds_have_a_skeleton_each():
    others = [text.replace("net", "web").replace("c=[16]", "c=[32]") for text in (CONV, ZERO)]
    tokenizer = Tokenizer.fit([CONV, *others, ZERO])
    assert list(tokenizer.folded) == ["net", "web"]
    apart = [Tokenizer.fit(texts).programs(texts) for texts in ([CONV, ZERO], others)]
    for kind, texts in zip(apart, ([CONV, ZERO], others), strict=True):
        np.testing.assert_array_equal(tokenizer.programs(texts).reads, kind.reads)
    with pytest.raises(TextError, match=r"a text is called graph, but those .* called net, web"):
        tokenizer.programs([CONV.replace("net", "graph")])


def test_names_of_single_texts_say_nothing():
    texts = [CONV.replace("net", "first"), ZERO.replace("net", "second")]
    tokenizer = Tokenizer.fit(texts)
    assert list(tokenizer.folded) == [""]
    third = CONV.replace("net", "third")
    np.testing.assert_array_equal(
        tokenizer.programs([third]).reads, tokenizer.programs(texts[:1]).reads
    )


def test_layout_does_not_matter():
    tokenizer = Tokenizer.fit([CONV, ZERO])
    spaced = CONV.replace("\n  v", "\n\n      v").replace("(v0) =>", "(v0)   =>")
    spaced = spaced.replace("opset_import", "\n   opset_import")
    np.testing.assert_array_equal(
        tokenizer.programs([spaced]).reads, tokenizer.programs([CONV]).reads
    )


def test_an_unseen_signature_is_spelled():
    tokenizer = Tokenizer.fit([CONV, ZERO])
    known, tokens = tokenizer.spell(["Relu", "nas.Conv3x3<c: ints=@c>", "NewOp<k=[7,7]>", "Été"])
    assert (known > 0).tolist() == [True, True, False, False]
    words = [tokenizer.vocabulary[i] for i in tokens[2] if i]
    assert "".join(words) == "NewOp<k=[7,7]>"
    assert "<unknown>" in [tokenizer.vocabulary[i] for i in tokens[3]]


def test_lexemes_split_words_and_digits():
    assert lexemes("nas.Conv3x3 <k=[16]>") == [
        *("nas", ".", "Conv", "3", "x", "3", "<", "k", "=", "[", "1", "6", "]", ">")
    ]


def test_a_tokenizer_survives_being_written_down():
    tokenizer = Tokenizer.fit([CONV, ZERO])
    again = Tokenizer(**tokenizer.to_dict())
    assert again.sha256() == tokenizer.sha256()
    assert again.vocabulary == tokenizer.vocabulary
    assert Tokenizer.fit([CONV, CONV]).sha256() != tokenizer.sha256()


def test_texts_are_never_truncated():
    tokenizer = Tokenizer.fit([CONV, ZERO], max_statements=2)
    with pytest.raises(TextError, match="never truncated"):
        tokenizer.programs([CONV])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("", "truncated"),
        ("hello", "truncated"),
        (CONV[: CONV.index("v2")], "truncated"),
        (CONV[:-3], "truncated"),
        (CONV.replace("(v1, v1, v0)", "(v1, v9, v0)"), "'v9' is read before"),
        (CONV.replace("v2 = Relu (v0)", "v2 Relu v0"), "not a statement"),
        (CONV.replace("=> (v3)", "=> (v7)"), "'v7' is never defined"),
        (CONV.replace("Cell <c> (v0) => (v3)", "Cell"), "not a function"),
    ],
)
def test_what_is_not_onnx_text_is_refused(broken, message):
    with pytest.raises(TextError, match=message):
        Tokenizer.fit([broken, ZERO])


def test_no_texts_are_refused():
    with pytest.raises(TextError, match="at least one"):
        Tokenizer.fit([])


LOCAL = '<domain: "local", opset_import: ["":21, "local":1]>\n'
SHORT = (
    """<ir_version: 10, opset_import: ["":21, "local":1]>
net (float[1,8] x1) => (float[1,8] v3) {
  v1 = local.Twice <w=[8,8]> (x1)
  v2, v3 = local.Both <w=[8,8], b: ints=[]> (v1, x1)
}
"""
    + LOCAL
    + """Twice <w> (x1) => (v2) {
  v1 = local.Gemm_b <b: ints=@w> (x1)
  v2 = local.Gemm_b <b: ints=@w> (v1)
}
"""
    + LOCAL
    + """Both <w, b> (x1, x2) => (v3, v1) {
  v1 = local.Twice <w: ints=@w> (x2)
  v2 = Clip <b: ints=@b, to="a,b"> (x1, "", v1)
  v3 = Sum (v1, v2)
}
"""
    + LOCAL
    + """Gemm_b <b> (x1) => (v2) {
  v1 = local.Weights <shape: ints=@b> ()
  v2 = Gemm (x1, v1)
}
"""
)
LONG = """net (float[1,8] x1) => (float[1,8] v3) {
  a = local.Gemm_b <b=[8,8]> (x1)
  v1 = local.Gemm_b <b=[8,8]> (a)
  b = local.Gemm_b <b=[8,8]> (x1)
  v3 = local.Gemm_b <b=[8,8]> (b)
  c = Clip <b: ints=[], to="a,b"> (v1, "", v3)
  v2 = Sum (v3, c)
}
"""


def test_local_functions_are_read_where_they_are_called():
    short, long = Tokenizer.fit([SHORT, CONV]), Tokenizer.fit([LONG, CONV])
    assert short.to_dict() == long.to_dict()
    for attribute in ("signature", "reads", "linear", "output", "used"):
        ours, theirs = (
            getattr(tokenizer.programs([text]), attribute)
            for tokenizer, text in ((short, SHORT), (long, LONG))
        )
        np.testing.assert_array_equal(ours, theirs)
    assert short.programs([SHORT]).reads[0, 4].tolist() == [0, 0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("local.Twice <w=[8,8]>", "local.Thrice <w=[8,8]>", "no such function"),
        ("local.Twice <w=[8,8]>", "local.Twice <v=[8,8]>", "'w' is not given"),
        ("(v1, x1)", "(v1)", "other values"),
        ("v2, v3 = local", "v3 = local", "other values"),
    ],
)
def test_calls_that_fit_no_local_function(old, new, message):
    with pytest.raises(TextError, match=message):
        split_blocks(SHORT.replace(old, new))


def test_blocks_come_without_their_opset_headers():
    blocks = split_blocks(CONV)
    assert [parse_block(block).name for block in blocks] == ["net", "Cell"]
