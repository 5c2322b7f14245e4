"""ONNX: the graph of a model for runtimes without PyTorch, and its outputs there."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from cloze.use.hf_export import Outputs, Peer, unpadded
from cloze.use.optional import require_module

_PACKAGES = "onnx onnxscript onnxruntime"
_OPSET = 18


def require_onnx() -> None:
    """Raise `ClozeError` with the command that installs it if a library is missing."""
    for name in _PACKAGES.split():
        require_module(name, "--onnx", "onnx", _PACKAGES)


class _FirstOutput(nn.Module):
    """A `transformers` model that takes its inputs in a fixed order and returns one tensor."""

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the logits or, of a bare encoder, the last hidden states."""
        outputs = self.model(**dict(zip(self.names, inputs, strict=True)), return_dict=False)
        first: Tensor = outputs[0]
        return first


def export_onnx(peer: Peer, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Write the peer's graph; its inputs have any number of texts of any length."""
    axes = {0: torch.export.Dim("texts"), 1: torch.export.Dim("tokens")}
    names = list(inputs)
    with warnings.catch_warnings():
        # The exporter warns of what it simplifies; the parity check says whether it was right.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _FirstOutput(peer.model, names),
            tuple(inputs.values()),
            path,
            input_names=names,
            output_names=[peer.output_name],
            dynamic_shapes=(tuple(axes for _ in names),),
            opset_version=_OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def onnx_outputs(path: Path, inputs: Mapping[str, Tensor]) -> Outputs:
    """Return what `onnxruntime` computes on the CPU."""
    runtime = require_module("onnxruntime", "--onnx", "onnx", _PACKAGES)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    arrays = {name: value.numpy() for name, value in inputs.items()}
    return unpadded(inputs, torch.from_numpy(session.run(None, arrays)[0]))
