"""ONNX text as a program: statements, and which earlier ones each of them reads.

The tokenizer knows the syntax of ONNX text (functions of one statement per line) and the four
operators that only add or pass on values; what the other operators mean is for the model to learn.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

_HEADER = re.compile(r"^\s*(\w+)\s*(?:<[^>]*>)?\s*\((.*?)\)\s*=>\s*\((.*?)\)\s*\{?\s*$")
_STATEMENT = re.compile(r"^\s*(\w+(?:\s*,\s*\w+)*)\s*=\s*([\w.]+)\s*(<.*>)?\s*\(([^()]*)\)\s*$")
_TYPED = re.compile(r"(\w+\[[^\]]*\])\s+(\w+)")
_ATTRIBUTE = re.compile(r"(\w+)(?:: \w+)?=(\"[^\"]*\"|\[[^\]]*\]|[^,>]+)")
_REFERENCE = re.compile(r"(\w+): (\w+)=@(\w+)")
_LOCAL_DOMAIN = 'domain: "local"'
_LEXEME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d|[^\sA-Za-z\d]")
_WORD = re.compile(r"\d+(?:x\d+)*|[A-Z]?[a-z]+|[A-Z]+(?![a-z])")

# A sum of states needs no learning: the state of a statement with one of these operators is the
# signed sum of the states it reads, so that x - x is zero and an identity changes nothing.
_ONES = (1,) * 256
LINEAR = {"Add": _ONES, "Sum": _ONES, "Identity": _ONES, "Sub": (1, -1)}


class TextError(ValueError):
    """A text that cannot be read, or that does not fit what the model was trained on."""


@dataclass(frozen=True)
class Statement:
    """One line of a function: the operator with its attributes, and the values it reads.

    Inputs that have a type add it to the signatures of what reads them.
    """

    outputs: tuple[str, ...]
    operator: str
    signature: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class Block:
    """One function (or the main graph) of a text."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class Programs:
    """A batch of n programs, padded to t statements.

    Attributes:
        signatures: The s different signatures (operator with attributes) of the batch.
        signature: Which of them each statement has, (n, t) int64; -1 where there is no statement.
        reads: Signed number of times a statement reads a value, (n, t, 1 + t) int8. Value 0 is any
            input of the block, value 1 + i what statement i defines.
        linear: Statements that are the sum of what they read, (n, t) bool.
        output: Statements that define an output of their block, (n, t) bool.
        used: Statements that an output depends on, (n, t) bool.
    """

    signatures: tuple[str, ...]
    signature: np.ndarray
    reads: np.ndarray
    linear: np.ndarray
    output: np.ndarray
    used: np.ndarray

    def __len__(self) -> int:
        return len(self.signature)

    def __getitem__(self, index: np.ndarray | slice) -> Programs:
        return replace(
            self,
            signature=self.signature[index],
            reads=self.reads[index],
            linear=self.linear[index],
            output=self.output[index],
            used=self.used[index],
        )


def lexemes(text: str) -> list[str]:
    """Split into words of identifiers, single digits and punctuation; white space is dropped."""
    return _LEXEME.findall(text)


def wording(signature: str) -> tuple[set[str], dict[str, str]]:
    """The words in an operator's name, and its attributes but for references to other values."""
    operator, _, rest = signature.partition("<")
    words = set(_WORD.findall(operator.partition("(")[0].rpartition(".")[2]))
    return words, {name: value for name, value in _ATTRIBUTE.findall(rest) if value[0] != "@"}


def _names(text: str) -> tuple[str, ...]:
    """Names of values, without their types; what is left out has none."""
    return tuple(part.split()[-1] for part in text.split(",") if part.strip(' "'))


@lru_cache(maxsize=1 << 16)
def parse_block(text: str) -> Block:
    """Read one function.

    Raises:
        TextError: It is not a function of one statement per line, or reads an undefined value.
    """
    lines = [line for line in text.splitlines() if line.strip() and line.strip() not in "{}"]
    header = _HEADER.match(re.sub(r"\[[^\]]*\]", "", lines[0])) if lines else None
    if header is None:
        raise TextError(f"not a function of ONNX text: {text.strip()[:60]!r}")
    name, inputs, outputs = header[1], _names(header[2]), _names(header[3])
    types = {value: kind for kind, value in _TYPED.findall(lines[0].split("=>")[0])}
    statements = []
    defined = set(inputs)
    for line in lines[1:]:
        match = _STATEMENT.match(line)
        if match is None:
            raise TextError(f"{name}: not a statement of ONNX text: {line.strip()[:80]!r}")
        arguments = _names(match[4])
        if unknown := [value for value in arguments if value not in defined]:
            raise TextError(f"{name}: {unknown[0]!r} is read before it is defined")
        operator, signature = match[2], match[2] + (match[3] or "")
        if typed := [types[value] for value in arguments if value in types]:
            signature += f"({','.join(typed)})"
        statements.append(Statement(_names(match[1]), operator, signature, arguments))
        defined.update(statements[-1].outputs)
    if unknown := [value for value in outputs if value not in defined]:
        raise TextError(f"{name}: output {unknown[0]!r} is never defined")
    return Block(name, inputs, outputs, tuple(statements))


def split_blocks(text: str) -> list[str]:
    """The functions of a document, the main graph first, without their opset headers.

    Functions of the domain ``local`` are how a text is shortened, not what it says: they are read
    where they are called, so that it does not matter what was found to be repeated. Those that
    make weights are operators, of which the calls say everything.

    Raises:
        TextError: It is truncated, or calls a local function that it does not have.
    """
    *pieces, rest = text.split("\n}")
    if not pieces or rest.strip():
        raise TextError("the text ends inside a function: it is truncated or not ONNX text")
    if _LOCAL_DOMAIN not in text:
        return [_without_header(piece) for piece in pieces]
    local: dict[str, str] = {}
    blocks = []
    for piece in pieces:
        block = _without_header(piece)
        if _LOCAL_DOMAIN in piece:
            local[re.split(r"\W", block, maxsplit=1)[0]] = block
        else:
            blocks.append(block)
    return ["\n".join(_inlined(block, local)) for block in blocks]


def _inlined(block: str, local: Mapping[str, str]) -> list[str]:
    """The lines of a block, with those of local functions in place of their calls."""
    lines: list[str] = []
    for line in block.splitlines():
        match = _STATEMENT.match(line)
        if match is None or not match[2].startswith("local."):
            lines.append(line)
            continue
        function = local.get(match[2].removeprefix("local."))
        if function is None:
            raise TextError(f"{match[2]} is called, but the text has no such function")
        if "= local.Weights" in function:
            lines.append(line)
            continue
        results, reads = _names(match[1]), _names(match[4])
        header, *body = _inlined(_given(function, match[3] or ""), local)
        signature = _HEADER.match(header)
        if signature is None:
            raise TextError(f"not a function of ONNX text: {header[:60]!r}")
        inside = (*_names(signature[3]), *_names(signature[2]))
        if len(inside) != len(results) + len(reads):
            raise TextError(f"{match[2]} gives or takes other values than these: {line[:80]!r}")
        names = dict(zip(inside, (*results, *reads), strict=True))
        for inner in filter(None, map(_STATEMENT.match, body)):
            defined, read = (
                ", ".join(names.get(name, f"{results[0]}_{name}") for name in _names(inner[i]))
                for i in (1, 4)
            )
            lines.append(f"{defined} = {inner[2]} {inner[3] or ''} ({read})")
    return lines


def _given(function: str, attributes: str) -> str:
    """A function with what it is given in place of its attributes."""
    given = dict(_ATTRIBUTE.findall(attributes))

    def value(reference: re.Match[str]) -> str:
        if reference[3] not in given:
            raise TextError(f"the attribute {reference[3]!r} is not given: {attributes[:60]!r}")
        typed = f": {reference[2]}" if given[reference[3]] == "[]" else ""
        return f"{reference[1]}{typed}={given[reference[3]]}"

    return _REFERENCE.sub(value, function)


@lru_cache(maxsize=4096)
def _without_header(piece: str) -> str:
    """One function, its lines stripped, without what stands in angle brackets before it."""
    lines = [line.strip() for line in piece.splitlines() if line.strip()]
    if lines and lines[0].startswith("<"):
        end = next((i for i, line in enumerate(lines) if line.endswith(">")), len(lines))
        lines = lines[end + 1 :]
    return "\n".join(lines)


class Tokenizer:
    """Turns texts into `Programs`, with a vocabulary learned from training texts.

    A block that stands in every training text of one kind says nothing about any of them, so it is
    folded away; a text whose other blocks differ is refused rather than misread. Of one kind are
    texts whose main graphs have the same name, as those of a search space have; texts whose names
    are in no other text are of one kind, too. What is left is at most ``max_statements``
    statements, never truncated. The vocabulary holds whole signatures
    (operator and attributes), the lexemes they consist of, and all printable characters, so that
    an unseen signature is still spelled.

    Args:
        folded: Name of a kind to the blocks that every text of it has; those of texts with other
            names under ``""``, without which there are none.
        signatures: Known signatures.
        words: Known lexemes.
        max_statements: Longest program.
    """

    def __init__(
        self,
        folded: Mapping[str, Sequence[str]],
        signatures: Sequence[str],
        words: Sequence[str],
        max_statements: int = 64,
    ) -> None:
        self.folded = {kind: tuple(blocks) for kind, blocks in folded.items()}
        self.signatures = tuple(signatures)
        self.words = tuple(words)
        self.max_statements = max_statements
        characters = [chr(code) for code in range(33, 127)]
        self.vocabulary = ("<pad>", "<unknown>", *characters, *self.words)
        self._token = {word: index for index, word in enumerate(self.vocabulary)}
        self._signature = {text: index for index, text in enumerate(self.signatures)}

    @classmethod
    def fit(cls, texts: Iterable[str], max_statements: int | None = None) -> Tokenizer:
        """Learn what is constant, and the vocabulary of what is not.

        Args:
            texts: To learn from.
            max_statements: Longest program; None: twice the longest here, at least 64.

        Raises:
            TextError: There are no texts, or one of them is not ONNX text.
        """
        documents = [split_blocks(text) for text in dict.fromkeys(texts)]
        if not documents:
            raise TextError("the tokenizer needs at least one text")
        kinds: dict[str, list[list[str]]] = {}
        names = Counter(map(_name, documents))
        for blocks in documents:
            name = _name(blocks)
            kinds.setdefault(name if names[name] > 1 else "", []).append(blocks)
        folded = {kind: _common(members) for kind, members in kinds.items()}
        kept = [
            [parse_block(block) for block in blocks if block not in folded[kind]]
            for kind, members in kinds.items()
            for blocks in members
        ]
        signatures = dict.fromkeys(
            s.signature for blocks in kept for block in blocks for s in block.statements
        )
        if max_statements is None:
            lengths = (sum(len(block.statements) for block in blocks) for blocks in kept)
            max_statements = max(64, 2 * max(lengths))
        words = dict.fromkeys(w for s in signatures for w in lexemes(s) if len(w) > 1)
        return cls(folded, sorted(signatures), sorted(words), max_statements)

    def spell(self, signatures: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Signatures as tokens: their lexemes, an unknown lexeme by its characters.

        Returns:
            Whether and where each of the s signatures is known, (s,) int64 with 0 for an unknown
            one, and its token ids, (s, longest) int64, padded with 0.
        """
        spelled: list[list[int]] = []
        for signature in signatures:
            spelled.append([])
            for word in lexemes(signature):
                pieces = [word] if word in self._token else word
                spelled[-1] += [self._token.get(piece, 1) for piece in pieces]
        # At least as wide as what was trained on, whatever the batch holds: the mean over tokens
        # is the same for every batch of known signatures.
        known_length = max((len(lexemes(text)) for text in self.signatures), default=0)
        longest = max(map(len, spelled), default=0)
        longest = max(longest, known_length)
        padded = np.array([row + [0] * (longest - len(row)) for row in spelled], dtype=np.int64)
        known = np.array([self._signature.get(text, -1) + 1 for text in signatures])
        return known, padded

    def programs(self, texts: Sequence[str]) -> Programs:
        """Read texts, n strings, into padded programs.

        Raises:
            TextError: A text is not ONNX text, lacks a folded block, or is too long.
        """
        skeletons = {kind: set(blocks) for kind, blocks in self.folded.items()}
        parsed: list[list[Block]] = []
        for text in texts:
            blocks = split_blocks(text)
            name = _name(blocks)
            folded = skeletons.get(name, skeletons.get(""))
            if folded is None:
                raise TextError(
                    f"a text is called {name}, but those the model was trained on are called "
                    f"{', '.join(skeletons)}: it cannot read it; train on texts of both kinds"
                )
            rest = [block for block in blocks if block not in folded]
            if len(blocks) - len(rest) != len(folded):
                raise TextError(
                    "a text lacks a part that every training text has "
                    f"({_missing(folded, blocks)}): its skeleton differs, so the model cannot "
                    "read it; train on texts of both kinds"
                )
            parsed.append([parse_block(block) for block in rest])
        lengths = [sum(len(block.statements) for block in blocks) for blocks in parsed]
        if max(lengths, default=0) > self.max_statements:
            raise TextError(
                f"a text has {max(lengths)} statements, more than max_statements = "
                f"{self.max_statements}; raise it, texts are never truncated"
            )
        return self._pad(parsed, max(lengths, default=0))

    def to_dict(self) -> dict[str, object]:
        """All that `Tokenizer(**...)` needs, as JSON types."""
        return {
            "folded": {kind: list(blocks) for kind, blocks in self.folded.items()},
            "signatures": list(self.signatures),
            "words": list(self.words),
            "max_statements": self.max_statements,
        }

    def _pad(self, parsed: list[list[Block]], length: int) -> Programs:
        n = len(parsed)
        signatures: dict[str, int] = {}
        signature = np.full((n, length), -1, dtype=np.int64)
        reads = np.zeros((n, length, 1 + length), dtype=np.int8)
        linear = np.zeros((n, length), dtype=bool)
        output = np.zeros((n, length), dtype=bool)
        arrows: list[int] = []  # flat, which numpy reads much faster than tuples
        for i, blocks in enumerate(parsed):
            t = 0
            for block in blocks:
                place = dict.fromkeys(block.inputs, 0)
                for statement in block.statements:
                    signature[i, t] = signatures.setdefault(statement.signature, len(signatures))
                    signs = LINEAR.get(statement.operator)
                    linear[i, t] = signs is not None
                    for value, sign in zip(statement.inputs, signs or _ONES, strict=False):
                        arrows += (i, t, place[value], sign)
                    t += 1
                    place.update(dict.fromkeys(statement.outputs, t))
                for value in block.outputs:
                    if place[value]:
                        output[i, place[value] - 1] = True
        if arrows:
            row, reader, source, count = np.array(arrows).reshape(-1, 4).T
            np.add.at(reads, (row, reader, source), count.astype(np.int8))
        used = output.copy()
        for t in range(length - 1, 0, -1):
            used[:, :t] |= used[:, t : t + 1] & (reads[:, t, 1 : t + 1] != 0)
        return Programs(tuple(signatures), signature, reads, linear, output, used)

    def sha256(self) -> str:
        """Fingerprint of everything the tokenizer knows."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()


def _name(blocks: Sequence[str]) -> str:
    """The name of the main graph."""
    return re.split(r"\W", blocks[0], maxsplit=1)[0]


def _common(documents: Sequence[Sequence[str]]) -> list[str]:
    """Blocks that all documents have; none of a single one: there is nothing to compare it to."""
    if len(documents) == 1:
        return []
    common = set.intersection(*map(set, documents))
    return [block for block in documents[0] if block in common]


def _missing(folded: set[str], blocks: list[str]) -> str:
    absent = sorted(block.split("(")[0].split("<")[0].strip() for block in folded - set(blocks))
    return ", ".join(absent[:3]) or "a function stands twice"
