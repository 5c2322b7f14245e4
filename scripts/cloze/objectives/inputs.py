"""What a pretraining job reads: rows of both splits, their tokenizer, an earlier encoder."""

import argparse
import time
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer

from cloze.cli import log
from cloze.errors import ClozeError
from cloze.files import require_file, sha256_file
from cloze.model.flags import encoder_config
from cloze.model.heads import MaskedLM, MaskedLMWithNextSentence
from cloze.model.model_io import load_encoder_into
from cloze.objectives.initial_embeddings import (
    cooccurrence_embeddings,
    head_scale,
    unigram_log_probabilities,
)
from cloze.objectives.masking import Masker
from cloze.objectives.mlm import PretrainingModel, masked_lm_of
from cloze.objectives.rows import RowBatches, has_pairs
from cloze.tokens.loading import load_rows
from cloze.tokens.shards import Rows
from cloze.tokens.tokenizer import SpecialIds, load_tokenizer, special_ids

# The validation masks are one fixed draw, whatever the run's seed.
_VALIDATION_SEED = 1 << 32
# The rate before the recipe is decided, for measuring the machine.
_TRIAL_PROBABILITY = 0.2


@dataclass(frozen=True)
class Inputs:
    """Rows, tokenizer and batches of both splits."""

    tokenizer: Tokenizer
    special: SpecialIds
    train_rows: Rows
    validation_rows: Rows
    train: RowBatches
    validation: RowBatches


def load_inputs(args: argparse.Namespace) -> Inputs:
    """Read what the command line of `pretrain.py` names.

    Raises `ClozeError` if the data set cannot be used with the architecture or objective.
    """
    train_rows = load_rows(args.dataset, "train", args.tokenizer)
    validation_rows = load_rows(args.dataset, "validation", args.tokenizer)
    _check_rows(args, train_rows, validation_rows)
    _check_pairs(args, train_rows)
    tokenizer = load_tokenizer(args.tokenizer)
    special = special_ids(tokenizer)

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

    return Inputs(
        tokenizer,
        special,
        train_rows,
        validation_rows,
        batches(train_rows, args.seed),
        batches(validation_rows, _VALIDATION_SEED),
    )


def new_model(args: argparse.Namespace, inputs: Inputs) -> PretrainingModel:
    """Return the model with its first weights, drawn from the seed or those of `init_from`.

    Raises `ClozeError` for an encoder of another tokenizer or shape, and for next-sentence
    prediction with a layout that has no such head.
    """
    torch.manual_seed(args.seed)
    config = encoder_config(args, inputs.train_rows.vocab_size, inputs.special.pad, args.dropout)
    model = MaskedLMWithNextSentence(config) if args.next_sentence else MaskedLM(config)
    if args.init_from is not None:
        _check_same_tokenizer(args)
        load_encoder_into(model, args.init_from)
    return model


def start_from_counts(model: PretrainingModel, inputs: Inputs, seed: int) -> None:
    """Start from what can be counted in the training rows.

    The token embeddings from which tokens stand near which, the bias of the predictions from
    how often each token occurs.
    """
    started = time.perf_counter()
    masked_lm = masked_lm_of(model)
    encoder = masked_lm.encoder
    embeddings = cooccurrence_embeddings(
        inputs.train_rows, inputs.special.all, encoder.config.hidden_size, seed
    )
    encoder.token_embedding.weight.data.copy_(embeddings)
    masked_lm.head_norm.weight.data.fill_(head_scale(encoder.config.hidden_size))
    frequencies = unigram_log_probabilities(inputs.train_rows, inputs.special.all)
    masked_lm.decoder_bias.data.copy_(torch.from_numpy(frequencies))
    log.info("embeddings from co-occurrence in %.1f s", time.perf_counter() - started)


def _check_rows(args: argparse.Namespace, train: Rows, validation: Rows) -> None:
    if train.max_length > args.max_position_embeddings:
        raise ClozeError(
            f"max_position_embeddings: {args.max_position_embeddings} is less than the data set's "
            f"max_length {train.max_length}; raise it, or build the data set with a lower one"
        )
    for name, rows in (("training", train), ("validation", validation)):
        if rows.num_rows == 0:
            raise ClozeError(
                f"{args.dataset}: the {name} split has no rows; give the corpus more text or a "
                "larger validation_fraction"
            )


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
    theirs = require_file(args.init_from / "tokenizer.json")
    if sha256_file(theirs) != sha256_file(args.tokenizer):
        raise ClozeError(
            f"{theirs}: is another tokenizer than {args.tokenizer}, so the weights of "
            f"{args.init_from} would mean other words; build the data set with that tokenizer"
        )
