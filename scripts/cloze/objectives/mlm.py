"""Masked-language modelling (Devlin et al. 2019, §3.1): its data, loss and evaluation."""

import argparse
import dataclasses
import functools
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import MaskedLM
from cloze.model.hf import load_matching
from cloze.model.hf_config import config_from_folder
from cloze.model.positions import Extension
from cloze.model.weights import hf_names
from cloze.objectives.adaptation import start_new_pieces
from cloze.objectives.initial_embeddings import (
    cooccurrence_embeddings,
    head_scale,
    unigram_log_probabilities,
)
from cloze.objectives.masking import Masker
from cloze.objectives.objective import Objective
from cloze.objectives.prediction_history import PredictionHistory
from cloze.objectives.rows import MaskedBatch, RowBatches, describe_rows, has_pairs
from cloze.settings.encoders import ArchitectureSettings
from cloze.settings.fields import from_args
from cloze.tokens.extension import Word, read_parts
from cloze.tokens.loading import load_rows
from cloze.tokens.manifest import read_manifest
from cloze.tokens.shards import Rows
from cloze.tokens.tokenizer import SpecialIds, load_tokenizer, special_ids
from cloze.tokens.tokenizer_folder import tokenizer_of_folder

# The validation masks are one fixed draw, whatever the run's seed.
_VALIDATION_SEED = 1 << 32
# The rate before the recipe is decided, for measuring the machine.
_TRIAL_PROBABILITY = 0.2
_TRIAL_ROWS = 64
EVALUATION_BATCH_SIZE = 32
_MAX_LOGITS = 1 << 24


@dataclass(frozen=True)
class PretrainingData:
    """Rows and batches of both splits; `text_bytes`: UTF-8 bytes of the validation split."""

    special: SpecialIds
    train_rows: Rows
    validation_rows: Rows
    train: RowBatches
    validation: RowBatches
    text_bytes: int

    @classmethod
    def load(cls, args: argparse.Namespace) -> Self:
        """Read what the command line of `pretrain.py` names.

        Raises `ClozeError` if the data set cannot be used with the objective.
        """
        train_rows = load_rows(args.dataset, "train", args.tokenizer)
        validation_rows = load_rows(args.dataset, "validation", args.tokenizer)
        special = special_ids(load_tokenizer(args.tokenizer))
        _check_rows(args, train_rows, validation_rows)
        _check_pairs(args, train_rows)
        text_bytes = read_manifest(args.dataset).splits["validation"].text_bytes
        return cls.of_rows(train_rows, validation_rows, special, args, text_bytes)

    @classmethod
    def of_rows(
        cls,
        train_rows: Rows,
        validation_rows: Rows,
        special: SpecialIds,
        args: argparse.Namespace,
        text_bytes: int = 0,
    ) -> Self:
        """Return the data of these rows, masked as the recipe says."""

        def batches(rows: Rows, seed: int) -> RowBatches:
            masker = Masker(
                vocab_size=rows.vocab_size,
                mask_token_id=special.mask,
                special_token_ids=special.all,
                mlm_probability=_TRIAL_PROBABILITY,
                max_length=rows.row_length,
                seed=seed,
                whole_words=args.mask_whole_words,
            )
            return RowBatches(rows, masker, special.pad, args.next_sentence)

        train, validation = (
            batches(train_rows, args.seed),
            batches(validation_rows, _VALIDATION_SEED),
        )
        return cls(special, train_rows, validation_rows, train, validation, text_bytes)


class MaskedLanguageModeling(Objective[MaskedBatch]):
    """Predict masked tokens of packed rows.

    `mlm_probability` holds one rate for each of as many equal shares of the run; validation
    uses the last. `history` records guesses for the same few gaps.
    """

    metric_for_best_model = "validation_loss"
    greater_is_better = False
    model: MaskedLM

    def __init__(self, data: PretrainingData, args: argparse.Namespace) -> None:
        self.data, self._seed = data, args.seed
        self._new_pieces: list[Word] = []
        self._has_new_head = False
        self._new_embedding_init = args.new_embedding_init
        self.model = self._new_model(args)
        self.num_examples = data.train_rows.num_rows
        self.tokens_per_example = data.train.tokens_per_row
        self.places_per_example = data.train_rows.row_length
        self.num_eval_examples = data.validation.num_rows
        self.history: PredictionHistory | None = None
        is_new = args.init_from is None and args.adapt is None
        self._uses_cooccurrence = is_new and args.embedding_init == "cooccurrence"
        self.mask_at([_TRIAL_PROBABILITY])

    def mask_at(self, mlm_probability: Sequence[float]) -> None:
        """Mask at these rates, one for each of as many equal shares of the run."""
        self._rates = list(mlm_probability)
        self._stages = [self.data.train.with_mlm_probability(rate) for rate in self._rates]
        self.validation = self.data.validation.with_mlm_probability(self._rates[-1])

    def stage(self, progress: float) -> int:
        """Return which of the equal shares of the run `progress` lies in, from 0."""
        return min(len(self._rates) - 1, int(progress * len(self._rates)))

    def batch(
        self, step: int, batch_size: int, progress: float, part: tuple[int, int] | None
    ) -> MaskedBatch:
        """Return rows of the global batch of a step; see `Objective.batch`."""
        batches = self._stages[self.stage(progress)]
        return batches.training_batch(self._seed, step, batch_size, part)

    def fullest_batch(self, num_rows: int) -> MaskedBatch:
        """Return a batch that takes as much memory as any of so many rows."""
        fullest = self._stages[self._rates.index(max(self._rates))]
        return fullest.training_batch(self._seed, 0, num_rows)

    def describe_batch(self, step: int, batch_size: int) -> str:
        """Return how many rows a batch has, their digest, the first of them and the call."""
        rows = self.data.train.row_numbers(self._seed, step, batch_size)
        return (
            f"{describe_rows(rows)} (RowBatches.training_batch({self._seed}, {step}, {batch_size}))"
        )

    @classmethod
    def loss(cls, model: nn.Module, batch: MaskedBatch) -> Tensor:
        """Return the sum of cross-entropy (nats) times weight over the batch's predictions."""
        return weighted_cross_entropy(
            model(batch.packed, batch.positions), batch.labels, batch.weights
        )

    def evaluate(self, compute: Compute, num_examples: int) -> dict[str, float]:
        """Return loss (nats a token) and accuracy over the predictions, with fixed masks."""
        scores = self._scores(self.validation.spread_rows(num_examples), compute)
        bits = masked_bits_per_byte(
            scores["validation_loss"], ordinary_tokens(self.data.validation_rows),
            self.data.text_bytes,
        )  # fmt: skip
        return {**scores, "validation_masked_bits_per_byte": bits}

    def describe_progress(self, progress: float) -> dict[str, float]:
        """Return the masking rate."""
        return {"mlm_probability": self._rates[self.stage(progress)]}

    def record(self, step: int, compute: Compute) -> dict[str, Any]:
        """Keep guesses for a few gaps; at the start return the initial loss, about ln V."""
        if self.history is not None:
            self.history.record(self.masked_lm, step)
        if step:
            return {}
        few = self.validation.first_rows(_TRIAL_ROWS)
        loss = self._scores(few, compute)["validation_loss"]
        log.info("initial loss %.3f, ln V %.3f", loss, math.log(self.model.config.vocab_size))
        return {"initial_loss": loss}

    def rewind(self, step: int) -> None:
        """Forget guesses after `step`."""
        if self.history is not None:
            self.history.rewind(step)

    @property
    def masked_lm(self) -> MaskedLM:
        """The encoder with its masked-language-modelling head, whatever else the model has."""
        return self.model

    def initialize_embeddings(self) -> None:
        """Start from what can be counted in the training rows, where the recipe asks for it.

        The token embeddings from which tokens stand near which, the bias of the predictions
        from how often each token occurs. Of an encoder that is adapted only what it has not: new
        pieces, and the bias where it comes without a head.
        """
        rows, special = self.data.train_rows, self.data.special.all
        masked_lm = self.masked_lm
        if self._new_pieces:
            start_new_pieces(
                masked_lm, self._new_pieces, rows, special, self._new_embedding_init, self._seed
            )
        if self._uses_cooccurrence:
            started = time.perf_counter()
            size = masked_lm.encoder.token_embedding.embedding_dim
            embeddings = cooccurrence_embeddings(rows, special, size, self._seed)
            masked_lm.encoder.token_embedding.weight.data.copy_(embeddings)
            masked_lm.head_norm.weight.data.fill_(head_scale(size))
            log.info("embeddings from co-occurrence in %.1f s", time.perf_counter() - started)
        if self._uses_cooccurrence or self._has_new_head:
            frequencies = torch.from_numpy(unigram_log_probabilities(rows, special))
            masked_lm.decoder_bias.data[: len(frequencies)] = frequencies

    @functools.cached_property
    def unigram_entropy(self) -> float:
        """The loss, in nats a token, of predicting by the training split's token frequencies.

        It is taken on the very positions that an evaluation of the whole predicts: an encoder
        whose loss stays here has learnt nothing from context.
        """
        log_probability = unigram_log_probabilities(self.data.train_rows, self.data.special.all)
        total = predicted = 0.0
        for batch in self.validation.evaluation_batches(EVALUATION_BATCH_SIZE):
            labels = batch.labels[batch.weights > 0].numpy()
            total -= log_probability[labels].sum()
            predicted += len(labels)
        return float(total / predicted)

    def _new_model(self, args: argparse.Namespace) -> MaskedLM:
        """Return the model with its first weights, drawn from the seed or those of a folder."""
        torch.manual_seed(args.seed)
        config = _config(args, self.data)
        model = self._build(config.with_dropout(args.dropout))
        if args.adapt is not None:
            self._take_over(model, args)
        if args.init_from is not None:
            parts = load_matching(
                model,
                args.init_from,
                reset_heads=args.reset_heads,
                extension=_extension(args, self.data),
            )
            log.info("heads of %s %s", args.init_from, parts)
        return model

    def _take_over(self, model: Any, args: argparse.Namespace) -> None:
        """Fill a model from the folder to adapt, and remember what it has that the folder lacks."""
        base = tokenizer_of_folder(args.adapt)
        self._new_pieces = read_parts(args.tokenizer, base, args.adapt)
        parts = load_matching(model, args.adapt, reset_heads=args.reset_heads, has_new_tokens=True)
        (bias,) = hf_names("decoder_bias", model.config.layout)
        self._has_new_head = bias in parts.drawn
        log.log(
            logging.WARNING if parts.drawn else logging.INFO,
            "%sheads of %s %s", "warning: " if parts.drawn else "", args.adapt, parts,
        )  # fmt: skip

    def _build(self, config: EncoderConfig) -> Any:
        return MaskedLM(config)

    @torch.no_grad()
    def _scores(self, batches: RowBatches, compute: Compute) -> dict[str, float]:
        """Score rows with masks that never change."""
        self.model.eval()
        totals: dict[str, Tensor] = {}
        for batch in batches.evaluation_batches(EVALUATION_BATCH_SIZE):
            sums = self._sums(batch.to(compute.torch_device), compute)
            for name, values in sums.items():
                totals[name] = totals.get(name, 0) + values.double().cpu()
        self.model.train()
        scores = {}
        for name, values in totals.items():
            loss, correct, predicted = values.tolist()
            scores[f"{name}loss"] = loss / predicted
            scores[f"{name}accuracy"] = correct / predicted
        return scores

    def _sums(self, batch: MaskedBatch, compute: Compute) -> dict[str, Tensor]:
        """Return loss, right guesses and number of a batch's predictions, float32 [3]."""
        with compute.autocast():
            states = self.model.encoder(batch.packed, batch.positions)
        return {"validation_": token_sums(self.masked_lm, states, batch, compute)}


def token_sums(masked_lm: MaskedLM, states: Tensor, batch: MaskedBatch, compute: Compute) -> Tensor:
    """Return loss, right guesses and number of a batch's predictions, float32 [3].

    states: the last hidden states of the masked tokens, [B, M, D]. At most `_MAX_LOGITS` logits
    exist at a time, however large batch and vocabulary are.
    """
    columns = max(1, _MAX_LOGITS // (EVALUATION_BATCH_SIZE * masked_lm.config.vocab_size))
    tensors = (states, batch.labels, batch.weights)
    parts = [tensor.split(columns, dim=1) for tensor in tensors]
    sums = []
    for some, labels, weights in zip(*parts, strict=True):
        with compute.autocast():
            logits = masked_lm.predict(some)
        sums.append(summed_scores(logits, labels, weights))
    return torch.stack(sums).sum(0)


def weighted_cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return the sum of cross-entropy (nats) times weight; logits [B, M, C], the others [B, M]."""
    losses = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), reduction="none")
    return (losses * weights.flatten()).sum()


def summed_scores(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Return summed loss, right guesses and number of the predictions of weight, float32 [3]."""
    counts = (weights > 0).flatten().float()
    logits, labels = logits.flatten(0, 1).float(), labels.flatten()
    losses = F.cross_entropy(logits, labels, reduction="none")
    right = logits.argmax(-1) == labels
    return torch.stack([losses @ counts, right.float() @ counts, counts.sum()])


def ordinary_tokens(rows: Rows) -> int:
    """Return the tokens that stand for the split's text, each stretch of text counted once.

    That leaves out special tokens, and second texts drawn from another document.
    """
    pairs = rows.second_lengths > 0
    drawn = rows.second_lengths[pairs & ~rows.is_next].astype(np.int64) - 1
    special = 2 * rows.num_samples + int(pairs.sum())
    return rows.num_tokens - special - int(drawn.sum())


def masked_bits_per_byte(loss: float, ordinary_tokens: int, text_bytes: int) -> float:
    """Return a masked-LM loss (nats a token) as bits a byte of text.

    It takes the length of tokens out of the loss. It is no code length: each prediction sees
    most other tokens, so compare it at equal masking rates only. `ordinary_tokens` as the
    function of that name counts them, `text_bytes` the UTF-8 bytes they stand for.
    """
    return loss / math.log(2) * ordinary_tokens / text_bytes


def _check_rows(args: argparse.Namespace, train: Rows, validation: Rows) -> None:
    for name, rows in (("training", train), ("validation", validation)):
        if rows.num_rows == 0:
            raise ClozeError(
                f"{args.dataset}: the {name} split has no rows; give the corpus more text or a "
                "larger validation_fraction"
            )


def _config(args: argparse.Namespace, data: PretrainingData) -> EncoderConfig:
    """Return the shape that the settings, or the folder to go on from, give an encoder of the rows.

    With `trained_length` it is that of the encoder to start from, extended to the rows' samples;
    with `adapt` that of the folder, with a place for each token of the rows' vocabulary. Raises
    `ClozeError` for an encoder of another tokenizer, and for samples that are too long.
    """
    if args.init_from is not None:
        _check_same_tokenizer(args)
    if (extension := _extension(args, data)) is not None:
        return extension.shape(config_from_folder(args.init_from))
    rows = data.train_rows
    if args.adapt is None:
        shape = dataclasses.asdict(from_args(ArchitectureSettings, args))
        config = EncoderConfig(rows.vocab_size, pad_token_id=data.special.pad, **shape)
    else:
        config = _adapted_config(args, rows)
    _check_length(args, config, rows)
    return config


def _adapted_config(args: argparse.Namespace, rows: Rows) -> EncoderConfig:
    if from_args(ArchitectureSettings, args) != ArchitectureSettings():
        raise ClozeError(
            f"--adapt {args.adapt}: brings its own shape; leave the flags of the architecture out, "
            "or start from it with --init-from"
        )
    theirs = config_from_folder(args.adapt)
    return dataclasses.replace(theirs, vocab_size=max(theirs.vocab_size, rows.vocab_size))


def _check_length(args: argparse.Namespace, config: EncoderConfig, rows: Rows) -> None:
    if rows.max_length <= config.max_length:
        return
    kept = config.first_position
    free = f", of which {config.layout} keeps {kept} free," if kept else ""
    origin, remedy = "", "raise it, or build"
    if args.adapt is not None:
        origin, remedy = f"{args.adapt}: ", "build"
    raise ClozeError(
        f"{origin}max_position_embeddings: {config.max_position_embeddings}{free} is less than "
        f"the data set's max_length {rows.max_length}; {remedy} the data set with a lower one"
    )


def _extension(args: argparse.Namespace, data: PretrainingData) -> Extension | None:
    if args.trained_length is None:
        return None
    return Extension(args.trained_length, data.train_rows.max_length)


def _check_pairs(args: argparse.Namespace, train: Rows) -> None:
    pairs = has_pairs(train)
    if args.next_sentence and not pairs:
        raise ClozeError(
            f"--next-sentence: the samples of {args.dataset} are single texts; build the data set "
            "with next_sentence: true (segment_text.py --next-sentence), or leave the flag out"
        )
    if pairs and not args.next_sentence:
        log.warning(
            "warning: the samples of %s are pairs of texts, half of them unrelated, but only "
            "masked tokens are predicted; add --next-sentence (next_sentence: true of the "
            "encoder), or build the data set without pairs",
            args.dataset,
        )


def _check_same_tokenizer(args: argparse.Namespace) -> None:
    theirs = tokenizer_of_folder(args.init_from)
    if theirs.to_str() != load_tokenizer(args.tokenizer).to_str():
        raise ClozeError(
            f"{args.init_from}: has another tokenizer than {args.tokenizer}, so its weights would "
            "mean other words; build the data set with that tokenizer"
        )
