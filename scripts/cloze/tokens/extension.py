"""New pieces for a tokenizer that exists: those that shorten a text most, under ids of their own.

The text is first cut as the tokenizer cuts it. Then, again and again, the two neighbours within a
word that stand together most often become one piece, as in byte-pair encoding (Sennrich et al.
2016): of all single additions this one saves most tokens. Old pieces keep their ids, and a text
without a new piece in it is cut as before:

| model | a new piece is |
|---|---|
| WordPiece | an entry, which the longest match finds; what longer pieces swallowed is left out |
| BPE | an entry and a merge that comes after all old ones |
| Unigram | an entry; its score is its share of the text, or a little above that of its parts |
"""

import heapq
import itertools
import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from cloze.errors import ClozeError
from cloze.files import read_json, write_json
from cloze.tokens.text_encoder import TextEncoder
from cloze.tokens.tokenizer import load_tokenizer, special_ids, vocab_size

EXTENSION = "extension.json"
# A vector that is trained less often stays where it started.
FEWEST_USES = 10
_ABOVE_PARTS = 1e-3

Word = tuple[int, ...]
_Pair = tuple[int, int]


@dataclass(frozen=True)
class VocabularyExtension:
    """What a vocabulary is extended by.

    pieces: each new piece, in the order of the new ids, to the ids of the old pieces that it is
    made of. uses: how often each stands in the text that it was found in. merges: the pairs that
    became pieces, in order, of which only BPE needs to know.
    """

    pieces: dict[str, Word]
    uses: dict[str, int]
    merges: list[tuple[str, str]]


def count_words(tokenizer: Tokenizer, texts: Iterable[str]) -> Counter[Word]:
    """Return how often each word of the texts occurs, a word being the ids of its tokens."""
    encoder, words = TextEncoder(tokenizer), Counter[Word]()
    for text in texts:
        data = np.frombuffer(text.encode(), np.uint8)
        encoded = encoder.encode(data, np.array([0, len(data)], np.int64))
        bounds = np.append(np.flatnonzero(encoded.word_starts), len(encoded.input_ids)).tolist()
        ids = encoded.input_ids.tolist()
        words.update(tuple(ids[start:end]) for start, end in itertools.pairwise(bounds))
    return words


def find_extension(
    tokenizer: Tokenizer, words: Mapping[Word, int], number: int, least: int = FEWEST_USES
) -> VocabularyExtension:
    """Return at most `number` new pieces, fewer where no more are used `least` times.

    words: as `count_words` returns them. Raises `ClozeError` for a model that cannot be extended.
    """
    model = _model(tokenizer)
    search = _Search(tokenizer, words, model.get("continuing_subword_prefix") or "")
    # BPE comes to a long piece through the shorter ones, which the others find at once.
    is_bpe = model["type"] == "BPE"
    kept: list[int] = []
    while len(kept) < number and search.merge_most_frequent(least):
        kept = [piece for piece in search.new if is_bpe or search.uses[piece] >= least]
    names = search.names
    return VocabularyExtension(
        pieces={names[piece]: search.new[piece] for piece in kept},
        uses={names[piece]: search.uses[piece] for piece in kept},
        merges=[(names[left], names[right]) for left, right in search.merges],
    )


class _Search:
    """The words of a text, and which two neighbours in them stand together how often.

    new: each piece found so far to the ids of the old pieces that it is made of.
    """

    def __init__(self, tokenizer: Tokenizer, words: Mapping[Word, int], prefix: str) -> None:
        vocab = tokenizer.get_vocab(with_added_tokens=True)
        self.names = {number: name for name, number in vocab.items()}
        self.new: dict[int, Word] = {}
        self.uses = Counter[int]()
        self.merges: list[_Pair] = []
        self._numbers, self._first_new = dict(vocab), vocab_size(tokenizer)
        self._prefix, self._special = prefix, special_ids(tokenizer).all
        self._words = [word for word in words if len(word) > 1]
        self._counts = [words[word] for word in self._words]
        self._together = Counter[_Pair]()
        self._places: defaultdict[_Pair, set[int]] = defaultdict(set)
        self._heap: list[tuple[int, _Pair]] = []
        self._note({place for pair in range(len(self._words)) for place in self._add(pair)})

    def merge_most_frequent(self, least: int) -> bool:
        """Make one piece of the pair that stands together most often; False if none is left."""
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            # Where the count has changed since, the pair lies there once more.
            if -negative != self._together[pair]:
                continue
            if -negative < least:
                return False
            if (piece := self._piece(pair)) is not None:
                self._merge(pair, piece)
                return True
        return False

    def _piece(self, pair: _Pair) -> int | None:
        """Return the number of the piece that a pair makes; None if that is an old one."""
        left, right = pair
        text = self.names[left] + self.names[right].removeprefix(self._prefix)
        number = self._numbers.setdefault(text, self._first_new + len(self.new))
        if number < self._first_new:
            return None
        self.names[number] = text
        parts = tuple(part for piece in pair for part in self.new.get(piece, (piece,)))
        self.new.setdefault(number, parts)
        return number

    def _merge(self, pair: _Pair, piece: int) -> None:
        self.merges.append(pair)
        changed = set[_Pair]()
        for place in sorted(self._places.pop(pair)):
            word, count = self._words[place], self._counts[place]
            for neighbours in itertools.pairwise(word):
                self._together[neighbours] -= count
                changed.add(neighbours)
            self._words[place] = _merged(word, pair, piece)
            replaced = (len(word) - len(self._words[place])) * count
            self.uses.update({piece: replaced, pair[0]: -replaced})
            self.uses[pair[1]] -= replaced
            changed |= self._add(place)
        self._note(changed)

    def _add(self, place: int) -> set[_Pair]:
        """Count the pairs of a word; returns them."""
        pairs = set[_Pair]()
        for pair in itertools.pairwise(self._words[place]):
            self._together[pair] += self._counts[place]
            self._places[pair].add(place)
            pairs.add(pair)
        return pairs

    def _note(self, pairs: set[_Pair]) -> None:
        for pair in pairs:
            if self._together[pair] > 0 and not self._special.intersection(pair):
                heapq.heappush(self._heap, (-self._together[pair], pair))


def _merged(word: Word, pair: _Pair, piece: int) -> Word:
    merged: list[int] = []
    place = 0
    while place < len(word):
        if word[place : place + 2] == pair:
            merged.append(piece)
            place += 2
        else:
            merged.append(word[place])
            place += 1
    return tuple(merged)


def extend(tokenizer: Tokenizer, extension: VocabularyExtension, num_tokens: int) -> Tokenizer:
    """Return the tokenizer with new pieces after all that it has.

    num_tokens: tokens of the text that the pieces were found in, by which Unigram scores them.
    Raises `ClozeError` for a model that cannot be extended.
    """
    model, description = _model(tokenizer), json.loads(tokenizer.to_str())
    if model["type"] == "Unigram":
        scores = [score for _, score in model["vocab"]]
        for text, parts in extension.pieces.items():
            least = sum(scores[part] for part in parts) + _ABOVE_PARTS
            share = math.log(extension.uses[text] / num_tokens)
            model["vocab"].append([text, max(least, share)])
    else:
        # What was added beside the model's own vocabulary gets its place there: no id is free.
        vocab, size = tokenizer.get_vocab(with_added_tokens=True), vocab_size(tokenizer)
        numbers = range(size, size + len(extension.pieces))
        model["vocab"] = vocab | dict(zip(extension.pieces, numbers, strict=True))
    if model["type"] == "BPE":
        model["merges"] += [list(pair) for pair in extension.merges]
    extended = Tokenizer.from_str(json.dumps({**description, "model": model}))
    extended.encode_special_tokens = True
    return extended


def _model(tokenizer: Tokenizer) -> dict[str, Any]:
    model: dict[str, Any] = json.loads(tokenizer.to_str())["model"]
    if model["type"] not in ("WordPiece", "BPE", "Unigram"):
        raise ClozeError(
            f"its tokenizer is a {model['type']}, to which no pieces can be added; WordPiece, BPE "
            "and Unigram can be extended, so leave extend_vocabulary out or adapt another encoder"
        )
    if model["type"] == "Unigram" and vocab_size(tokenizer) > len(model["vocab"]):
        raise ClozeError(
            "its tokenizer is a Unigram, whose pieces are numbered by their order, and tokens were "
            "added after the last of them, so none can follow; leave extend_vocabulary out or "
            "adapt another encoder"
        )
    return model


def write_extension(folder: Path, base: Tokenizer, extension: VocabularyExtension) -> None:
    """Write beside an extended tokenizer what its new pieces are made of, and which it extends."""
    write_json(
        folder / EXTENSION,
        {"extends_sha256": _sha256(base), "parts": list(extension.pieces.values())},
    )


def read_parts(tokenizer: Path, base: Tokenizer, origin: Path) -> list[Word]:
    """Return of each new piece of a `tokenizer.json` the ids of the pieces of `base` in it.

    Empty where both are the same tokenizer. Raises `ClozeError` that names `origin`, where `base`
    is from, if the one does not extend the other.
    """
    if load_tokenizer(tokenizer).to_str() == base.to_str():
        return []
    path = tokenizer.with_name(EXTENSION)
    found = read_json(path) if path.is_file() else {}
    if found.get("extends_sha256") != _sha256(base):
        raise ClozeError(
            f"{origin}: has another tokenizer than {tokenizer}, which does not extend it, so its "
            "weights would mean other words; build the data set with its own tokenizer or with one "
            "that extend_tokenizer.py made of it"
        )
    return [tuple(parts) for parts in found["parts"]]


def _sha256(tokenizer: Tokenizer) -> str:
    return sha256(tokenizer.to_str().encode()).hexdigest()
