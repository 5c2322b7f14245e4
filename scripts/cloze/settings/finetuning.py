"""How an encoder is fine-tuned on a task."""

from dataclasses import dataclass

from cloze.settings.encoders import POOLINGS
from cloze.settings.fields import Duration, setting

TRUNCATIONS = ("head", "tail", "head+tail")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True, kw_only=True)
class TextSettings:
    """What a model reads of a text, in training and afterwards."""

    max_length: int = setting(128, "tokens kept of a text or a pair", minimum=1)
    truncation: str = setting("head", "what a longer text keeps", choices=TRUNCATIONS)
    doc_stride: int | None = setting(
        None,
        "of questions: tokens that two windows of a long context share, half a window at most; "
        "unset: 128",
        minimum=0,
    )
    max_answer_length: int | None = setting(
        None, "of questions: tokens of an answer, at most; unset: 30", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class FinetuningLength:
    """What ends a fine-tuning: at most one of these is given."""

    num_train_epochs: int | None = setting(
        None,
        "passes over the training split; unset: 10 below 10,000 rows, 3 below 200,000, else 2; 0: "
        "the encoder as it is, of sentence_similarity alone",
        minimum=0,
    )
    max_steps: int | None = setting(
        None, "end after so many steps instead of num_train_epochs", minimum=1
    )
    budget: Duration | None = setting(
        None, "end after this time, such as 5m, instead of num_train_epochs"
    )


@dataclass(frozen=True, kw_only=True)
class FinetuningRecipe(TextSettings, FinetuningLength):
    """What `config.yaml` says of a fine-tuning; names as in Hugging Face's `TrainingArguments`."""

    learning_rate: float | None = setting(
        None,
        "peak learning rate of AdamW; unset: by the width, 4.8e-4 for 128 and 3.3e-5 for 768",
        above=0,
    )
    train_batch_size: int = setting(32, "sentences of one step", minimum=1)
    warmup_ratio: float = setting(
        0.06,
        "share of the steps in which the learning rate rises; it then falls linearly to 0",
        minimum=0,
        maximum=1,
    )
    weight_decay: float = setting(
        0.01, "decoupled weight decay; biases and norms are exempt", minimum=0
    )
    max_grad_norm: float = setting(1.0, "clip the gradient at this norm", above=0)
    layerwise_lr_decay: float = setting(
        1.0,
        "learning rate of each layer as a share of that of the layer above it",
        above=0,
        maximum=1,
    )
    class_weights: str = setting(
        "none",
        "balanced: each class counts alike in the loss, whatever its rows",
        choices=CLASS_WEIGHTS,
    )
    early_stopping_patience: int = setting(
        0,
        "end after this many epochs without a better score on a tenth held out of the training "
        "split, and keep the best epoch; 0: never",
        minimum=0,
    )
    classifier_pooling: str | None = setting(
        None,
        "what the head reads of a text; unset: mean (modernbert), cls (bert, always)",
        choices=POOLINGS,
    )
    pooling: str | None = setting(
        None,
        "of sentence_similarity: what makes a text's vector; unset: as the encoder's folder says, "
        "else mean",
        choices=POOLINGS,
    )
    temperature: float = setting(
        0.05, "of sentence_similarity: what cosines are divided by in the loss", above=0
    )
    dropout: float = setting(0.1, "on hidden states and attention", minimum=0, maximum=1)
    classifier_dropout: float = setting(0.1, "before the last layer", minimum=0, maximum=1)
    reset_heads: bool = setting(
        False, "draw the whole head anew instead of loading what matches of the encoder's own"
    )


@dataclass(frozen=True, kw_only=True)
class FinetuningSettings(FinetuningRecipe):
    """One fine-tuning: the recipe and the seed."""

    seed: int = setting(0, "draws the new weights, order and dropout", minimum=0)
