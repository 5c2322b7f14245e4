"""What `config.json` of a model folder says of the model's head: its kind, labels, pooling."""

import re
from collections.abc import Mapping
from pathlib import Path

from cloze.errors import ClozeError, shortened
from cloze.model.hf_config import architecture_of, layout_of, read_config
from cloze.model.weights import has_masked_lm_head, weight_shapes

MULTI_LABEL, REGRESSION = "multi_label_classification", "regression"
_PROBLEMS = (MULTI_LABEL, REGRESSION, "single_label_classification")


def head_of_folder(folder: Path) -> str:
    """Return how the name of a model folder's class ends: `ForMaskedLM`, …, or `Model`.

    Without `architectures` the weights tell. The discriminator of ELECTRA is the encoder alone.
    """
    raw = read_config(folder)
    name = architecture_of(raw)
    layout = layout_of(raw, folder)
    if name is None:
        return _head_of_weights(weight_shapes(folder, layout), layout)
    found = re.search(r"(For[A-Z]\w*)\Z", name)
    if found is None or (found[1] == "ForPreTraining" and layout != "bert"):
        return "Model"
    if found[1] in ("ForMaskedLM", "ForPreTraining"):
        # A bare encoder is often saved beside the configuration of the whole model.
        shapes = weight_shapes(folder, layout)
        return found[1] if not shapes or has_masked_lm_head(shapes, layout) else "Model"
    return found[1]


def _head_of_weights(shapes: Mapping[str, tuple[int, ...]], layout: str) -> str:
    if has_masked_lm_head(shapes, layout):
        return "ForMaskedLM"
    if "qa_outputs.weight" in shapes:
        return "ForQuestionAnswering"
    if "classifier.out_proj.weight" in shapes or "pre_classifier.weight" in shapes:
        return "ForSequenceClassification"
    if "classifier.weight" in shapes and layout != "modernbert":
        pooled = "bert.pooler.dense.weight" in shapes
        return "ForSequenceClassification" if pooled else "ForTokenClassification"
    return "Model"


def label_names(folder: Path) -> list[str]:
    """Return the names of a model folder's labels in order; none if it has no classifier.

    Where `config.json` names none they are LABEL_0, LABEL_1, … as in `transformers`, as many as
    the classifier has. Raises `ClozeError` for names that are no table of numbers to texts.
    """
    path, raw = folder / "config.json", read_config(folder)
    labels = raw.get("id2label")
    if labels is None and isinstance(raw.get("label2id"), dict):
        labels = {number: name for name, number in raw["label2id"].items()}
    if not labels and labels != []:
        shapes = weight_shapes(folder, layout_of(raw, folder))
        last = shapes.get("classifier.out_proj.weight", shapes.get("classifier.weight", (0,)))
        return [f"LABEL_{index}" for index in range(last[0])]
    if isinstance(labels, dict):
        named = {str(key): value for key, value in labels.items()}
        found = [named.get(str(index)) for index in range(len(named))]
        if all(isinstance(name, str | int) for name in found):
            return [str(name) for name in found]
    raise ClozeError(
        f"{path}: id2label {shortened(labels)} is no table of 0, 1, … to the names of labels; "
        "mend it"
    )


def problem_type(folder: Path, num_labels: int) -> str | None:
    """Return the `problem_type` of a classifier's folder; None where it does not say.

    Raises `ClozeError` for one that Cloze does not compute.
    """
    path, kind = folder / "config.json", read_config(folder).get("problem_type")
    if kind is not None and kind not in _PROBLEMS:
        raise ClozeError(
            f"{path}: problem_type {shortened(kind)} is unknown; use one of {', '.join(_PROBLEMS)}"
        )
    if kind == REGRESSION and num_labels > 1:
        raise ClozeError(
            f"{path}: problem_type regression with {num_labels} labels is not one Cloze computes; "
            "it knows regression of one number"
        )
    return kind


def classifier_pooling(folder: Path) -> str:
    """Return what the classifier of a model folder pools: `cls` or `mean`.

    `transformers` takes `cls` where `config.json` does not say. Raises `ClozeError` for a
    pooling that it does not know either.
    """
    path = folder / "config.json"
    pooling = read_config(folder).get("classifier_pooling", "cls")
    if pooling not in ("cls", "mean"):
        raise ClozeError(f"{path}: classifier_pooling {pooling!r} is unknown; use cls or mean")
    return str(pooling)
