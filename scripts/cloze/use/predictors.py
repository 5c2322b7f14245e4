"""A model folder put to use: masks filled, texts classified, texts embedded."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from cloze.errors import ClozeError
from cloze.metrics import recipe_of_model
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig, PackedBatch
from cloze.model.heads import MaskedLM, SequenceClassifier
from cloze.model.hf import load_classifier, load_masked_lm, load_sentence_encoder
from cloze.model.hf_heads import head_of_folder
from cloze.model.pooling import Pooling, SentenceEncoder, read_pooling
from cloze.objectives.texts import (
    ROW_TOKENS,
    EncodedTexts,
    check_max_length,
    encode_texts,
    pack_texts,
    packed_batches,
)
from cloze.tokens.tokenizer import special_ids, special_tokens
from cloze.tokens.tokenizer_folder import tokenizer_of_folder
from cloze.use.texts import Text

# A window is what is held in memory; the larger, the more alike the lengths in a batch.
WINDOW_TEXTS = 4096
_WINDOW_CHARACTERS = 1 << 23

# On a CPU what stays in its caches: twice as many were 8 to 30 % slower. A GPU wants more to do
# between two launches.
_BATCH_TOKENS = {"cpu": 1024, "mps": 8192, "cuda": 8192}

# Of rows that are not full: of a lone short text, and of long ones.
_LENGTHS_MULTIPLE = 8

TASKS = ("fill-mask", "classify", "tag", "answer", "embed")
_TASK_OF_HEAD = {
    "ForMaskedLM": "fill-mask",
    "ForPreTraining": "fill-mask",
    "ForSequenceClassification": "classify",
    "ForTokenClassification": "tag",
    "ForQuestionAnswering": "answer",
}
Result = TypeVar("Result")


def windows(texts: Iterable[Text]) -> Iterator[list[Text]]:
    """Yield `WINDOW_TEXTS` texts at a time, fewer where they are long."""
    window, characters = list[Text](), 0
    for text in texts:
        window.append(text)
        characters += sum(map(len, text.parts))
        if len(window) == WINDOW_TEXTS or characters >= _WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


def batches_by_length(
    encoded: EncodedTexts, device: str
) -> Iterator[tuple[PackedBatch, np.ndarray]]:
    """Yield every text once, as `pack_texts` does, in batches as large as suits the device.

    Texts of up to `ROW_TOKENS` tokens fill rows of that length together. Longer ones come
    before them, the longest first, so that a lack of memory shows at once; their rows are
    as long as the longest text of the batch. Next to nothing is padding either way, and
    batches of few shapes need few plans of matrix products.
    """
    order = np.argsort(-encoded.lengths, kind="stable")
    is_long = encoded.lengths[order] > ROW_TOKENS
    long, short = order[is_long], order[~is_long]
    batch_of = np.cumsum(encoded.lengths[long]) // _BATCH_TOKENS[device]
    bounds = [0, *(np.flatnonzero(np.diff(batch_of)) + 1), len(long)] if len(long) else []
    for start, stop in pairwise(bounds):
        yield pack_texts(encoded, long[start:stop], _LENGTHS_MULTIPLE)
    if len(short):
        rows = _BATCH_TOKENS[device] // ROW_TOKENS
        yield from packed_batches(encoded, rows, short, _LENGTHS_MULTIPLE)


class Candidate(NamedTuple):
    """A token for a mask and its probability."""

    token: str
    score: float


class TextLimits(NamedTuple):
    """What a classifier was fine-tuned to read: tokens of a text, what a longer one keeps."""

    max_length: int | None = None
    truncation: str = "head"


class Classification(NamedTuple):
    """What a classifier says of a text.

    `label` with its probability `score`, and the `probabilities` of all labels; of a
    regression the predicted `score` alone. Where labels do not exclude each other, `labels` are
    those that are given, and `label` the likeliest of all.
    """

    label: str | None
    score: float
    probabilities: dict[str, float] | None
    labels: list[str] | None = None


def tasks_of(folder: Path) -> list[str]:
    """Return which of `TASKS` a model folder can do, the one its head is for first."""
    head = head_of_folder(folder)
    return [_TASK_OF_HEAD[head], "embed"] if head in _TASK_OF_HEAD else ["embed"]


def finetuning_limits(folder: Path) -> TextLimits:
    """Return the limits that `metrics.json` of a fine-tuned model names.

    A model from elsewhere has no such file; it reads as many tokens as it has positions.
    """
    recipe = recipe_of_model(folder)
    return TextLimits(**{key: recipe[key] for key in TextLimits._fields if key in recipe})


class Predictor(ABC, Generic[Result]):
    """What the uses of a model share: texts in, results out, in their order."""

    task: ClassVar[str]

    def __init__(
        self,
        folder: Path,
        compute: Compute,
        max_length: int | None = None,
        truncation: str = "head",
    ) -> None:
        """Load a model folder.

        `max_length`: tokens kept of a text or a pair, None for as many as the encoder has
        positions; truncation: as for `truncate`. Raises `ClozeError` if the folder's model
        is made for something else or has fewer positions.
        """
        if self.task not in tasks_of(folder):
            raise ClozeError(
                f"{folder}: cannot {self.task}; by its config.json it can "
                f"{' and '.join(tasks_of(folder))}"
            )
        self._folder, self._compute, self._truncation = folder, compute, truncation
        self.tokenizer: Tokenizer = tokenizer_of_folder(folder)
        self._special = special_ids(self.tokenizer)
        model, self._config = self._load(folder)
        self._model = model.to(compute.torch_device).eval()
        self.max_length = max_length or self._config.max_length
        check_max_length(self.max_length, self._config.max_length)
        self.truncated = 0
        """Texts that lost tokens so far."""

    @abstractmethod
    def __call__(self, texts: Sequence[Text]) -> list[Result]:
        """Return a result for each text; all are single, or all are pairs."""

    @abstractmethod
    def _load(self, folder: Path) -> tuple[nn.Module, EncoderConfig]:
        """Return the model of a folder and its shape."""

    def _finite(self, values: Tensor) -> Tensor:
        """Return what the model gives in float32; raises `ClozeError` where that is no number."""
        values = values.float()
        if not values.isfinite().all():
            raise ClozeError(
                f"{self._folder}: gives what is no number (NaN or infinite); its weights are "
                "damaged, or too large for this precision: use --precision fp32, or make it again"
            )
        return values


class SamplePredictor(Predictor[Result]):
    """Gives each text or pair a result by itself: it is one sample of a batch."""

    @torch.inference_mode()
    def __call__(self, texts: Sequence[Text]) -> list[Result]:
        """Return a result for each text; all are single, or all are pairs."""
        encoded = encode_texts(
            self.tokenizer,
            [text.first for text in texts],
            self.max_length,
            self._config.vocab_size,
            pairs=None if texts[0].second is None else [str(text.second) for text in texts],
            truncation=self._truncation,
        )
        self.truncated += encoded.truncated
        self._check(texts, encoded)
        results: dict[int, Result] = {}
        for batch, numbers in batches_by_length(encoded, self._compute.device):
            with self._compute.autocast():
                found = self._run(batch.to(self._compute.torch_device))
            results.update(zip(numbers.tolist(), found, strict=True))
        return [results[number] for number in range(len(texts))]

    @abstractmethod
    def _run(self, batch: PackedBatch) -> Sequence[Result]:
        """Return a result for each sample, in the order of the rows."""

    def _check(self, texts: Sequence[Text], encoded: EncodedTexts) -> None:
        """Raise `ClozeError` if a text is none for this use."""


class MaskFiller(SamplePredictor[list[list[Candidate]]]):
    """Gives the likeliest tokens for each `[MASK]` of a text, the likeliest first.

    Unlike in training, a special token spelled in the text is that token here.
    """

    task = "fill-mask"
    _model: MaskedLM

    def __init__(
        self, folder: Path, compute: Compute, max_length: int | None = None, top_k: int = 5
    ) -> None:
        super().__init__(folder, compute, max_length)
        self.tokenizer.encode_special_tokens = False
        self.mask_token = special_tokens(self.tokenizer)["mask"]
        self._top_k = min(top_k, self._config.vocab_size)

    def _load(self, folder: Path) -> tuple[nn.Module, EncoderConfig]:
        model = load_masked_lm(folder)
        return model, model.config

    def _check(self, texts: Sequence[Text], encoded: EncodedTexts) -> None:
        masks_before = np.concatenate([[0], np.cumsum(encoded.input_ids == self._special.mask)])
        without = np.flatnonzero(np.diff(masks_before[encoded.offsets]) == 0)
        if not len(without):
            return
        text = texts[int(without[0])]
        if any(self.mask_token in part for part in text.parts):
            raise ClozeError(
                f"{text.where}: its {self.mask_token} lies behind the first "
                f"{self.max_length} tokens; shorten the text"
            )
        raise ClozeError(
            f"{text.where}: has no {self.mask_token}; "
            f"write {self.mask_token} where a word is to be filled in"
        )

    def _run(self, batch: PackedBatch) -> Sequence[list[list[Candidate]]]:
        is_mask = batch.input_ids == self._special.mask
        widest = int(is_mask.sum(dim=1).max())
        # Rows with fewer masks than others repeat whatever comes first in the order.
        positions = is_mask.int().argsort(dim=1, descending=True, stable=True)[:, :widest]
        kept = is_mask.gather(1, positions)
        logits = self._finite(self._model(batch, positions)[kept])
        scores, ids = logits.softmax(dim=-1).topk(self._top_k, dim=-1)
        # Number the samples of the batch through, then each mask by its sample.
        sample = (batch.first_tokens().flatten().cumsum(0) - 1).view_as(is_mask)
        results: list[list[list[Candidate]]] = [[] for _ in range(int(sample[-1, -1]) + 1)]
        owners = sample.gather(1, positions)[kept].tolist()
        for owner, mask_ids, mask_scores in zip(owners, ids.tolist(), scores.tolist(), strict=True):
            named = zip(map(self._spell, mask_ids), mask_scores, strict=True)
            results[owner].append([Candidate(token, score) for token, score in named])
        return results

    def _spell(self, token_id: int) -> str:
        """Return a token as text, or under its name where it spells none by itself."""
        decoded = self.tokenizer.decode([token_id], skip_special_tokens=False).strip()
        is_whole = decoded and "\ufffd" not in decoded
        return decoded if is_whole else str(self.tokenizer.id_to_token(token_id))


class Classifier(SamplePredictor[Classification]):
    """Gives each text, or pair, a label or a score."""

    task = "classify"
    _model: SequenceClassifier

    def _load(self, folder: Path) -> tuple[nn.Module, EncoderConfig]:
        model, self.labels = load_classifier(folder)
        return model, model.config

    def _run(self, batch: PackedBatch) -> Sequence[Classification]:
        logits = self._finite(self._model(batch))
        results, threshold = [], self._model.label_threshold
        if len(self.labels) == 1 and threshold is None:
            return [Classification(None, score, None) for score in logits[:, 0].tolist()]
        shares = logits.softmax(dim=-1) if threshold is None else logits.sigmoid()
        for row in shares.tolist():
            best = int(np.argmax(row))
            probabilities = dict(zip(self.labels, row, strict=True))
            given = None
            if threshold is not None:
                given = [label for label, share in probabilities.items() if share > threshold]
            results.append(Classification(self.labels[best], row[best], probabilities, given))
        return results


class Embedder(SamplePredictor[np.ndarray]):
    """Gives each text a vector, float32 [D], as the folder's `modules.json` says.

    `pooling` and `normalize` None: as there, and where there is none the mean as it is; the
    tokens that are kept of a text likewise.
    """

    task = "embed"
    _model: SentenceEncoder

    def __init__(
        self,
        folder: Path,
        compute: Compute,
        max_length: int | None = None,
        pooling: str | None = None,
        normalize: bool | None = None,
    ) -> None:
        given = read_pooling(folder) or Pooling()
        self._pooling = Pooling(
            pooling or given.mode, given.normalize if normalize is None else normalize
        )
        self._pooling = Pooling(
            pooling or given.mode, given.normalize if normalize is None else normalize
        )
        super().__init__(folder, compute, max_length or given.max_length)
        self.size = self._model.config.hidden_size

    def _load(self, folder: Path) -> tuple[nn.Module, EncoderConfig]:
        encoder = load_sentence_encoder(folder, self._pooling)
        return encoder, encoder.config

    def _run(self, batch: PackedBatch) -> Sequence[np.ndarray]:
        return list(self._finite(self._model(batch)).cpu().numpy())
