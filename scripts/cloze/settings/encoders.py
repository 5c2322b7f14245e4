"""The shape of an encoder, and how one from elsewhere is read."""

from dataclasses import dataclass

from cloze.settings.fields import setting

LAYOUTS = ("bert", "modernbert", "roberta", "distilbert", "electra")
POSITION_EMBEDDING_TYPES = ("absolute", "relative_key")
POOLINGS = ("mean", "cls")


@dataclass(frozen=True, kw_only=True)
class ArchitectureSettings:
    """What fixes an encoder's shape; names as in Hugging Face's configurations."""

    layout: str = setting("bert", "kind of encoder", choices=LAYOUTS)
    hidden_size: int = setting(256, "vector size", minimum=1)
    num_hidden_layers: int = setting(4, "layers", minimum=1)
    num_attention_heads: int = setting(4, "heads", minimum=1)
    intermediate_size: int = setting(1024, "of the MLP", minimum=1)
    max_position_embeddings: int = setting(
        512, "longest sample; roberta keeps the first positions free, two or fewer", minimum=1
    )
    position_embedding_type: str = setting(
        "absolute",
        "positions (bert); transformers 5 cannot read relative_key",
        choices=POSITION_EMBEDDING_TYPES,
    )
    layer_norm_eps: float = setting(1e-12, "added to the variance", above=0)
    rope_theta: float = setting(10_000.0, "rotary base of global layers (modernbert)", above=0)
    global_attn_every_n_layers: int = setting(
        1,
        "one layer in so many attends to the whole text, the others to a window (modernbert)",
        minimum=1,
    )
    local_attention: int = setting(
        128, "width of that window in tokens, half of it on each side (modernbert)", minimum=2
    )
    local_rope_theta: float = setting(
        10_000.0, "rotary base of the layers with a window (modernbert)", above=0
    )
    embedding_size: int | None = setting(
        None, "size of token vectors (electra); unset: hidden_size", minimum=1
    )


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How an encoder from elsewhere is read."""

    unpickle: bool = setting(
        False, "read a pytorch_model.bin too, by PyTorch's loader that admits tensors alone"
    )
