"""Vectors of texts that are close where the texts belong together."""

import dataclasses
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig, PackedBatch
from cloze.model.hf import load_sentence_encoder
from cloze.model.pooling import Pooling, SentenceEncoder, read_pooling
from cloze.objectives.contrastive import (
    cosent_loss,
    false_negatives,
    multiple_negatives_ranking_loss,
)
from cloze.objectives.objective import CoupledObjective, map_tensors, moved
from cloze.objectives.task import TaskObjective, TrainingRows, predict_batches
from cloze.objectives.texts import (
    EncodedTexts,
    encode_texts,
    pack_texts,
    rounded_places,
    slot_values,
)
from cloze.tasks.kind import Outcome
from cloze.tasks.retrieval import best_documents
from cloze.tasks.sentence_similarity import (
    COSENT,
    RANKING,
    SIMCSE,
    collection_of,
    cosine_outcome,
    is_scored,
    negatives_of,
    ranking_outcome,
)
from cloze.tasks.task import Task, TaskSplit

_SCORES_AT_ONCE = 2**24
_SHOWN_TEXTS, _SHOWN_NEIGHBOURS = 5, 3
# What the fit to the training split is measured on: a ranking costs the square of its rows.
_FITTED_ROWS = 2_000


@dataclass(frozen=True)
class PairBatch:
    """Packed texts of P pairs, R a pair, and what the loss of the whole global batch reads.

    `places` int64 [B, N]: at each text's place in its row its number in the global batch, text r
    of pair p being r · P + p, and -1 where the row has no n-th text. `ids` int64 [R, P]: equal
    where texts are; `scores` float32 [P], None where pairs have none. `gradients` float32
    [B, N, D] of the loss in the vectors and `shares` float32 [B, N], what of its value stands at
    each place: None before they are known.
    """

    packed: PackedBatch
    places: Tensor
    ids: Tensor
    scores: Tensor | None
    temperature: float
    factor: float = 1.0
    gradients: Tensor | None = None
    shares: Tensor | None = None

    @property
    def num_rows(self) -> int:
        """Rows of this batch."""
        return self.places.shape[0]

    def to(self, device: torch.device) -> "PairBatch":
        """Return the batch on `device`."""
        return map_tensors(self, lambda tensor: moved(tensor, device))

    def rows(self, start: int, stop: int) -> "PairBatch":
        """Return rows `start` to `stop`; what belongs to the whole batch stays as it is."""

        def cut(tensor: Tensor | None) -> Tensor | None:
            return None if tensor is None else tensor[start:stop]

        return dataclasses.replace(
            self,
            packed=map_tensors(self.packed, lambda tensor: tensor[start:stop]),
            places=self.places[start:stop],
            gradients=cut(self.gradients),
            shares=cut(self.shares),
        )

    def weighted(self, factor: float) -> "PairBatch":
        """Return the batch with its loss times `factor`."""
        return dataclasses.replace(self, factor=self.factor * factor)


class SentenceSimilarity(TaskObjective[PairBatch], CoupledObjective[PairBatch]):
    """Cosines of pairs: by their scores, or against the other texts of the batch.

    Pairs with scores learn by CoSENT, which asks for the order of cosines that Spearman's
    correlation measures and needs no scale; no comparison with squared error was made. Pairs
    without learn by multiple negatives ranking, with hard negatives where the task has a column
    of them, and texts alone as in unsupervised SimCSE (Gao et al. 2021, §3): a text and itself
    under other dropout are the pair.
    """

    has_head = False
    recipe = ("temperature",)
    model: SentenceEncoder

    def __init__(self, model: nn.Module, data: TrainingRows, settings: Namespace) -> None:
        super().__init__(model, data, settings)
        loss, texts = data.task.facts["similarity_loss"], texts_of(data.split)
        if data.held_out.size and not _is_judged(data.split):
            raise ClozeError(
                "early_stopping_patience: texts alone have no score to stop at; set it to 0"
            )
        self._temperature: float = settings.temperature
        self._number_of = {text: number for number, text in enumerate(texts)}
        _, self._ids = np.unique(np.array(texts, dtype=object), return_inverse=True)
        self._pairs = self._training_pairs(loss, data.train)
        self._scores: np.ndarray | None = None
        if loss == COSENT:
            self._scores = data.split.labels[data.train].astype(np.float32)
        self._texts, self.num_examples = np.arange(len(self._pairs)), len(self._pairs)
        self.tokens_per_example = float(data.encoded.lengths[self._pairs].sum(axis=1).mean())
        self.places_per_example = self.tokens_per_example

    def _training_pairs(self, loss: str, rows: np.ndarray) -> np.ndarray:
        """Return the numbers of the texts of each example, int64 [num_examples, R].

        Of pairs an example a row, of queries one for each relevant document, of texts alone one
        for each that reads as no other does.
        """
        split, size = self.data.split, len(self.data.split)
        if split.documents is not None:
            relevant = collection_of(split).relevant
            found = [[row, size + number] for row in rows for number in relevant[row]]
            return np.array(found, dtype=np.int64)
        columns = [rows]
        if split.pairs is not None:
            columns += [self._numbers_of(split.pairs)[rows]]
        if loss == SIMCSE:
            numbers = np.concatenate(columns)
            _, first = np.unique(self._ids[numbers], return_index=True)
            return np.stack([numbers[np.sort(first)]] * 2, axis=1)
        if loss == RANKING and (negatives := negatives_of(split)):
            columns += [self._numbers_of(negatives)[rows]]
        return np.stack(columns, axis=1)

    def _numbers_of(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([self._number_of[text] for text in texts], dtype=np.int64)

    @classmethod
    def encode(
        cls, tokenizer: Tokenizer, split: TaskSplit, settings: Namespace, vocab_size: int
    ) -> EncodedTexts:
        """Return the texts of `texts_of`, each by itself; `settings`: those of `TextSettings`."""
        length, cut = settings.max_length, settings.truncation
        return encode_texts(tokenizer, texts_of(split), length, vocab_size, truncation=cut)

    @classmethod
    def build(cls, config: EncoderConfig, task: Task, settings: Namespace) -> SentenceEncoder:
        """Return an encoder whose vectors have length 1.

        It pools as the settings say, else as the folder that it starts from does, else the mean.
        """
        given = read_pooling(settings.model)
        mode = settings.pooling or (given.mode if given else Pooling.mode)
        return SentenceEncoder(config, Pooling(mode, True, settings.max_length))

    @classmethod
    def load(cls, folder: Path) -> tuple[SentenceEncoder, list[str]]:
        """Return a fine-tuned encoder; vectors have no labels."""
        return load_sentence_encoder(folder), []

    def batch(
        self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None
    ) -> PairBatch:
        """Return pairs of the global batch of a step; see `Objective.batch`."""
        examples = self._texts_of_batch(step, batch_size)
        pairs = self._pairs[examples]
        places = np.arange(pairs.size).reshape(pairs.T.shape)
        own = slice(*part) if part is not None else slice(None)
        numbers, places = pairs.T[:, own].ravel(), places[:, own].ravel()
        if not numbers.size:
            # A process that has no pair of a short batch takes part all the same, with no share.
            numbers, places = pairs[0, :1], np.array([-1])
        # A text that stands there twice is two texts, each with its own place.
        packed, order = pack_texts(self._encoded.take(numbers), np.arange(len(numbers)))
        slots = rounded_places(int(packed.sample_ids.max()))
        return PairBatch(
            packed,
            torch.from_numpy(slot_values(packed, order, places, slots, empty=-1)),
            torch.from_numpy(self._ids[pairs.T]),
            None if self._scores is None else torch.from_numpy(self._scores[examples]),
            self._temperature,
        )

    @classmethod
    def outputs(cls, model: nn.Module, batch: PairBatch) -> Tensor:
        """Return the vectors at each place of each row, float32 [B, N, D]."""
        vectors: Tensor = model.row_vectors(batch.packed, batch.places.shape[1])  # type: ignore[operator]
        return vectors

    @classmethod
    def decoupled(
        cls, batch: PairBatch, outputs: Tensor, total: Callable[[Tensor], Tensor]
    ) -> PairBatch:
        """Return the batch with `gradients` and `shares`; see `CoupledObjective`."""
        # Each process has its own places; the others' come as zeros.
        vectors = total(_by_number(batch, outputs)).requires_grad_()
        loss = _loss_of_vectors(batch, vectors)
        (gradient,) = torch.autograd.grad(loss, vectors)
        is_filled = batch.places >= 0
        gradients = gradient[batch.places.clamp(min=0)] * is_filled[..., None]
        shares = is_filled * (loss.detach() / batch.ids.numel())
        return dataclasses.replace(batch, gradients=gradients, shares=shares)

    @classmethod
    def loss(cls, model: nn.Module, batch: PairBatch) -> Tensor:
        """Return the loss of the whole batch or, once it is decoupled, the share of these rows."""
        outputs = cls.outputs(model, batch)
        if batch.gradients is None or batch.shares is None:
            return batch.factor * _loss_of_vectors(batch, _by_number(batch, outputs))
        product = (outputs * batch.gradients).sum()
        return batch.factor * (batch.shares.sum() + product - product.detach())

    @classmethod
    def predict(
        cls, model: nn.Module, encoded: EncodedTexts, compute: Compute, texts: np.ndarray | None
    ) -> np.ndarray:
        """Return the vectors of the texts, float32 [num_texts, D]."""
        assert isinstance(model, SentenceEncoder)
        vectors = np.empty((len(encoded.lengths), model.config.hidden_size), dtype=np.float32)
        for numbers, _, found in predict_batches(model, encoded, compute, texts, model):
            vectors[numbers] = found
        return vectors if texts is None else vectors[texts]

    @classmethod
    def outcome(
        cls, task: Task, split: TaskSplit, encoded: EncodedTexts, outputs: np.ndarray
    ) -> Outcome:
        """Return what the vectors of `texts_of` are worth, and some texts' nearest neighbours."""
        vectors, size = _of_length_one(outputs), len(split)
        queries, others = vectors[:size], vectors[size:]
        if is_scored(split):
            cosines = np.einsum("nd,nd->n", queries, others, dtype=np.float64)
            outcome = cosine_outcome(task, split.labels, cosines)
            found = others, split.pairs or []
        else:
            collection = collection_of(split)
            outcome = ranking_outcome(task, collection, _cosines(queries, others))
            found = others, collection.documents.texts
        outcome.metrics["neighbours"] = _neighbours(split.texts, queries, *found)
        return outcome

    def pooling(self) -> dict[str, str]:
        """Return what makes a text's vector."""
        return {"pooling": self.model.pooling.mode}

    def evaluate(self, compute: Compute, num_examples: int) -> dict[str, float]:
        """Return the task's score on the rows that are held out, all of them."""
        return {"held_out_score": self._score(self.data.held_out, compute)}

    def fit(self, compute: Compute) -> dict[str, Any]:
        """Return the score on at most 2,000 training rows; nothing of texts alone."""
        rows = self.data.train
        if not _is_judged(self.data.split):
            return {}
        if len(rows) > _FITTED_ROWS:
            generator = np.random.default_rng(self._seed)
            rows = np.sort(generator.choice(rows, _FITTED_ROWS, replace=False))
        return {"score": self._score(rows, compute)}

    def _score(self, rows: np.ndarray, compute: Compute) -> float:
        split = self.data.split.take(rows)
        numbers = self._numbers_of(texts_of(split))
        vectors = self.predict(self.model, self._encoded, compute, numbers)
        self.model.train()
        outcome = self.outcome(self.data.task, split, self._encoded, vectors)
        return float(outcome.metrics["score"])

    def describe_batch(self, step: int, batch_size: int) -> str:
        """Return the first texts of a batch."""
        texts = texts_of(self.data.split)
        first = self._pairs[self._texts_of_batch(step, batch_size)[:3], 0]
        return f"pairs of {', '.join(repr(texts[number]) for number in first)} and more"


def texts_of(split: TaskSplit) -> list[str]:
    """Return the texts that a split needs vectors of: those of its rows, then what they meet.

    That is each row's second text where pairs have scores, nothing where texts are alone, and
    else the documents of `collection_of`.
    """
    if split.documents is None and (split.pairs is None or is_scored(split)):
        return [*split.texts, *(split.pairs or ())]
    return [*split.texts, *collection_of(split).documents.texts]


def _is_judged(split: TaskSplit) -> bool:
    """Whether the vectors of a split can be right or wrong."""
    return split.pairs is not None or split.documents is not None


def _by_number(batch: PairBatch, outputs: Tensor) -> Tensor:
    """Return vectors float32 [R · P, D] by their number in the global batch, 0 of absent ones."""
    is_filled = batch.places >= 0
    vectors = outputs.new_zeros(batch.ids.numel(), outputs.shape[-1])
    return vectors.index_put((batch.places[is_filled],), outputs[is_filled])


def _loss_of_vectors(batch: PairBatch, vectors: Tensor) -> Tensor:
    """Return the loss of a global batch, float32 scalar; vectors [R · P, D]."""
    num_pairs = batch.ids.shape[1]
    anchors, others = vectors[:num_pairs], vectors[num_pairs:]
    if batch.scores is not None:
        return cosent_loss(anchors, others, batch.scores, batch.temperature)
    is_false = false_negatives(batch.ids[0], batch.ids[1:].flatten())
    return multiple_negatives_ranking_loss(anchors, others, is_false, batch.temperature)


def _of_length_one(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def _cosines(queries: np.ndarray, documents: np.ndarray) -> Iterator[np.ndarray]:
    """Yield each query's cosines with all documents, a few queries at a time in memory."""
    at_once = max(1, _SCORES_AT_ONCE // len(documents))
    for start in range(0, len(queries), at_once):
        yield from queries[start : start + at_once] @ documents.T


def _neighbours(
    texts: Sequence[str], queries: np.ndarray, others: np.ndarray, names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the nearest of the others to some texts, evenly spread over the rows."""
    rows = np.unique(np.linspace(0, len(texts) - 1, min(_SHOWN_TEXTS, len(texts))).astype(int))
    shown = []
    for row, cosines in zip(rows.tolist(), _cosines(queries[rows], others), strict=True):
        nearest = best_documents(cosines, _SHOWN_NEIGHBOURS).tolist()
        found = [{"text": names[number], "cosine": float(cosines[number])} for number in nearest]
        shown.append({"row": row, "text": texts[row], "neighbours": found})
    return shown
