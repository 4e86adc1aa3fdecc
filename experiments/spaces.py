"""What the texts of each search space are like: how long, and how soon they are written.

Run ``python -m experiments.spaces``. Writes ``spaces.json``, ``vocabulary.json`` and
``spaces.md`` in ``experiments/results``. A token is a word, a digit or a sign of the statements
in which a space's architectures differ; what they have in common is folded away before a model
reads them.
"""

from __future__ import annotations

import time

import numpy as np

from experiments.records import RESULTS, Record, provenance, run_cells
from nas_rlm.files import write_text
from nas_rlm.markdown import markdown_table
from search_spaces import get_space, space_names
from surrogate.text import Tokenizer, lexemes, split_blocks

ARCHITECTURES = 1000
SEED = 0
PUBLISHED = {
    "nasbench101": 4100,
    "nasbench201": 3400,
    "fbnet": 3500,
    "ofa_mobilenetv3": 6300,
    "ofa_proxyless": 3600,
    "ofa_resnet50": 2500,
    **dict.fromkeys(("nds_nasnet", "nds_amoeba", "nds_pnas", "nds_enas", "nds_darts"), 14000),
    "hiaml": 2400,
    "inception": 23000,
    "two_path": 1800,
}
"""Median tokens of the ONNX texts of Akhauri et al., "Regression Language Models for Code", 2025,
https://arxiv.org/abs/2509.26476."""


def measure(space: str) -> Record:
    """Figures of random architectures of a space."""
    members = get_space(space)
    rng = np.random.default_rng(SEED)
    architectures = [members.sample(rng) for _ in range(ARCHITECTURES)]
    start = time.perf_counter()
    texts = [members.onnx_text(architecture) for architecture in architectures]
    seconds = time.perf_counter() - start
    tokenizer = Tokenizer.fit(texts)
    (folded,) = tokenizer.folded.values()
    tokens = [
        sum(len(lexemes(block)) for block in split_blocks(text) if block not in folded)
        for text in texts
    ]
    statements = (tokenizer.programs(texts).signature >= 0).sum(1)
    return {
        "size": members.size,
        "tokens_median": float(np.median(tokens)),
        "tokens_most": max(tokens),
        "statements_most": int(statements.max()),
        "seconds": seconds,
    }


def vocabulary(seed: int) -> Record:
    """What one tokenizer learns from texts of all spaces, and what of other texts it knows."""
    rng = np.random.default_rng(seed)
    spaces = [get_space(name) for name in space_names()]
    seen, new = (
        [space.onnx_text(space.sample(rng)) for space in spaces for _ in range(count)]
        for count in (ARCHITECTURES, ARCHITECTURES // 10)
    )
    tokenizer = Tokenizer.fit(seen)
    known, tokens = tokenizer.spell(tokenizer.programs(new).signatures)
    return {
        "words": len(tokenizer.vocabulary),
        "signatures": len(tokenizer.signatures),
        "kinds": len(tokenizer.folded),
        "new_texts": len(new),
        "new_signatures": int((known == 0).sum()),
        "unknown_tokens": int((tokens == tokenizer.vocabulary.index("<unknown>")).sum()),
    }


def main() -> None:
    """Measure and write the table."""
    about = provenance("python -m experiments.spaces", {"seed": SEED})
    records = run_cells("spaces", about, [{"space": name} for name in space_names()], measure)
    (learnt,) = run_cells("vocabulary", about, [{"seed": SEED}], vocabulary)
    least = Tokenizer({}, [], []).max_statements
    longer = [r["space"] for r in records if r["statements_most"] > least]
    table = markdown_table(
        ["space", "architectures", "tokens", "at most", "the paper's", "statements", "seconds"],
        (
            [
                record["space"],
                f"{record['size']:,}" if record["size"] < 1e6 else f"{record['size']:.1e}",
                f"{record['tokens_median']:.0f}",
                f"{record['tokens_most']:,}",
                f"{PUBLISHED[record['space']]:,}" if record["space"] in PUBLISHED else "",
                f"{record['statements_most']}",
                f"{record['seconds']:.2f}",
            ]
            for record in records
        ),
    )
    head = (
        f"{ARCHITECTURES:,} random architectures of each space: median and most tokens of what "
        "differs, the median of the paper's whole texts with its own tokens, most statements, and "
        "seconds to write all texts.\n\n"
    )
    foot = (
        f"\nOne tokenizer that learns from all of them has {learnt['words']:,} words and "
        f"characters and {learnt['signatures']:,} whole signatures. Of {learnt['new_texts']:,} "
        f"other texts it spells {learnt['new_signatures']} signatures that it has not seen, with "
        f"{learnt['unknown_tokens']} unknown tokens. A context of {least} statements is enough "
        f"for all but {', '.join(longer)}; it grows with the texts that a tokenizer learns from.\n"
    )
    write_text(RESULTS / "spaces.md", head + table + foot)
    print(table)


if __name__ == "__main__":
    main()
