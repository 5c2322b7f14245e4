"""The shape of an encoder, and how one from elsewhere is read."""

from dataclasses import dataclass

from cloze.settings.fields import setting

LAYOUTS = ("bert", "modernbert")
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
    max_position_embeddings: int = setting(512, "longest sample", minimum=1)
    position_embedding_type: str = setting(
        "absolute",
        "positions (bert); transformers 5 cannot read relative_key",
        choices=POSITION_EMBEDDING_TYPES,
    )
    layer_norm_eps: float = setting(1e-12, "added to the variance", above=0)
    rope_theta: float = setting(10_000.0, "rotary base (modernbert)", above=0)


@dataclass(frozen=True, kw_only=True)
class ImportSettings:
    """How an encoder from elsewhere is read."""

    unpickle: bool = setting(
        False, "read a pytorch_model.bin too, by PyTorch's loader that admits tensors alone"
    )
