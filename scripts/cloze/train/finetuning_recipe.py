"""How a classifier is trained, and what suits a task of its size."""

import math
from dataclasses import dataclass

from cloze.errors import ClozeError

# Passes over the training split, by its rows at most. Small tasks need the steps (Mosbach
# et al. 2021, §5: 20 epochs where 3 were usual), large ones do not.
_EPOCHS_BY_ROWS = ((10_000, 10), (200_000, 3), (math.inf, 2))
# Usual for BERT-base; encoders of 128 do best on SST-2 between 5e-4 and 1e-3, which this power of
# the width meets. No encoder that anyone trains is so narrow that more would do.
_HIGHEST_LEARNING_RATE = 1e-3
_LEARNING_RATE, _LEARNING_RATE_WIDTH, _LEARNING_RATE_POWER = 3.3e-5, 768, 1.5


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained; names as in Hugging Face's `TrainingArguments`.

    `warmup_ratio` is the share of the steps in which the learning rate rises from 0;
    it then falls to 0 in a straight line. `layerwise_lr_decay`: each layer's rate as a
    share of that of the layer above it (Clark et al. 2020, app. B), 1 for none.
    `class_weights`: `balanced` counts each class alike in the loss, whatever its rows.
    `early_stopping_patience`: end after this many epochs in a row without a better score on
    rows held out of the training split, and take the best epoch's weights; 0 for never.
    """

    learning_rate: float
    num_train_epochs: int
    train_batch_size: int
    warmup_ratio: float
    weight_decay: float
    max_grad_norm: float
    seed: int
    layerwise_lr_decay: float = 1.0
    class_weights: str = "none"
    early_stopping_patience: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.layerwise_lr_decay <= 1:
            raise ClozeError("--layerwise-lr-decay: must be above 0 and at most 1")

    def num_steps(self, num_texts: int) -> int:
        """Optimizer steps of the whole training; an epoch's last batch may be smaller."""
        return self.num_train_epochs * math.ceil(num_texts / self.train_batch_size)


def default_epochs(num_rows: int) -> int:
    """Return how many passes a training split of this many rows gets."""
    return next(epochs for rows, epochs in _EPOCHS_BY_ROWS if num_rows < rows)


def default_learning_rate(hidden_size: int) -> float:
    """Return the peak learning rate for an encoder of this width, to two digits."""
    ratio = _LEARNING_RATE_WIDTH / hidden_size
    rate = min(_HIGHEST_LEARNING_RATE, _LEARNING_RATE * ratio**_LEARNING_RATE_POWER)
    return float(f"{rate:.2g}")
