"""How long and how an encoder is pretrained."""

from dataclasses import dataclass

from cloze.settings.fields import Duration, setting

OPTIMIZERS = ("adamw", "muon")
SCHEDULES = ("linear", "cosine", "warmup_stable_decay", "constant")
EMBEDDING_INITS = ("cooccurrence", "random")
NEW_EMBEDDING_INITS = ("mean", "cooccurrence", "random")


@dataclass(frozen=True, kw_only=True)
class PretrainingLength:
    """What ends a run: exactly one of these is given."""

    max_steps: int | None = setting(
        None, "optimizer steps; give exactly one of this, max_tokens and budget", minimum=1
    )
    max_tokens: int | None = setting(None, "tokens to see, padding apart", minimum=1)
    budget: Duration | None = setting(None, "time from start to end, such as 90s, 20m or 1.5h")


@dataclass(frozen=True, kw_only=True)
class MonitoringSettings:
    """When a run is looked at and what is kept on its way: neither changes a weight."""

    eval_steps: int | None = setting(
        None,
        "steps between evaluations; default: a twentieth of the run, at most 1,000, or a tenth of "
        "a budget in time",
        minimum=1,
    )
    eval_tokens: int | None = setting(
        None,
        "tokens of the validation split that an evaluation before the last reads; default: a "
        "quarter of those trained since the one before. The last reads all",
        minimum=1,
    )
    keep_at: list[int] = setting(
        list,
        "percent of the run after which its weights are kept, before the learning rate has fallen; "
        "the workflow fine-tunes and reports them too",
        minimum=1,
        maximum=99,
        unique=True,
    )


@dataclass(frozen=True, kw_only=True)
class PretrainingSettings(MonitoringSettings, PretrainingLength):
    """The recipe of a pretraining; names as in Hugging Face's `TrainingArguments`."""

    train_batch_size: int | None = setting(
        None,
        "rows a step over all processes; default: 32, or fitted to the tokens of the budget",
        minimum=1,
    )
    optimizer: str = setting(
        "adamw",
        "muon: for the weights of hidden layers, beside AdamW for the rest",
        choices=OPTIMIZERS,
    )
    learning_rate: float | None = setting(None, "peak; default: by the hidden size", above=0)
    muon_learning_rate: float | None = setting(
        None,
        "peak of Muon, whose updates are as large as AdamW's; default: learning_rate",
        above=0,
    )
    lr_scheduler_type: str = setting("linear", "after the warm-up", choices=SCHEDULES)
    warmup_steps: float = setting(
        0.06, "linear warm-up: steps, or below 1 a share of the run", minimum=0
    )
    cooldown_fraction: float = setting(
        0.2, "share of the run in which warmup_stable_decay falls", minimum=0, maximum=1
    )
    weight_decay: float = setting(0.01, "not on biases and norms", minimum=0)
    adam_beta1: float = setting(0.9, "AdamW beta 1", minimum=0, maximum=1)
    adam_beta2: float = setting(0.98, "AdamW beta 2", minimum=0, maximum=1)
    adam_epsilon: float = setting(1e-6, "AdamW epsilon", above=0)
    max_grad_norm: float = setting(1.0, "clipping", above=0)
    mlm_probability: list[float] | None = setting(
        None,
        "share of tokens predicted; several: one for each of as many equal shares of the run; "
        "default: 0.15, or 0.2 with a budget in time",
        minimum=0,
        maximum=1,
        fewest=1,
    )
    embedding_init: str = setting(
        "cooccurrence",
        "token embeddings and the bias of the predictions at the start: counted in the corpus (no "
        "effect with init_from or adapt), or drawn at random and 0",
        choices=EMBEDDING_INITS,
    )
    reset_heads: bool = setting(
        False, "with init_from or adapt: draw the heads anew instead of loading those that match"
    )
    mask_whole_words: bool = setting(False, "predict all tokens of a word or none of them")
    next_sentence: bool = setting(
        False,
        "also predict whether the second text of a pair follows the first (layout bert, and a data "
        "set with next_sentence)",
    )
    dropout: float = setting(0.0, "while pretraining", minimum=0, maximum=1)
    seed: int = setting(0, "weights, order, masks", minimum=0)


@dataclass(frozen=True, kw_only=True)
class AdaptationSettings(PretrainingSettings):
    """The recipe by which an encoder goes on to learn another text."""

    new_embedding_init: str = setting(
        "mean",
        "vectors of the pieces that the vocabulary was extended by, at the start: mean of the old "
        "pieces that they are made of; counted in the corpus and mapped to the old vectors; or "
        "drawn at random",
        choices=NEW_EMBEDDING_INITS,
    )
