"""What a model folder says of texts, against `transformers` and against each text by itself."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cloze.errors import ClozeError
from cloze.files import write_json
from cloze.model.device import Compute
from cloze.model.encoder import EncoderConfig
from cloze.model.heads import SequenceClassifier
from cloze.model.hf import save_model
from cloze.objectives.texts import encode_texts
from cloze.settings.machine import DEVICES
from cloze.tokens.tokenizer import load_tokenizer
from cloze.use.predictors import (
    WINDOW_TEXTS,
    Classifier,
    Embedder,
    MaskFiller,
    batches_by_length,
    finetuning_limits,
    tasks_of,
    windows,
)
from cloze.use.texts import Text
from tests.tiny import write_tokenizer
from tests.tiny_model import perturbed
from tests.tiny_task import write_encoder

CPU = Compute("cpu", "fp32", False, 1)


def texts_of(*texts):
    return [Text(text, None, f"text {number}") for number, text in enumerate(texts, start=1)]


def write_classifier(folder, labels, layout="bert"):
    tokenizer = write_tokenizer(folder / "tokenizer")
    torch.manual_seed(0)
    config = EncoderConfig(
        vocab_size=64, layout=layout, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32,
    )  # fmt: skip
    model = perturbed(SequenceClassifier(config, num_labels=len(labels)))
    save_model(folder, model, tokenizer.parent, labels)
    return folder


@pytest.fixture
def encoder(tmp_path):
    return write_encoder(tmp_path / "encoder")


def test_a_mask_is_filled_as_by_the_pipeline_of_transformers(encoder):
    transformers = pytest.importorskip("transformers")
    text = "w1 w2 [MASK] w4"
    (masks,) = MaskFiller(encoder, CPU, top_k=4)(texts_of(text))
    theirs = transformers.pipeline("fill-mask", model=str(encoder), tokenizer=str(encoder))
    expected = theirs(text, top_k=4)
    assert [candidate.token for candidate in masks[0]] == [found["token_str"] for found in expected]
    scores = [found["score"] for found in expected]
    assert [candidate.score for candidate in masks[0]] == pytest.approx(scores, rel=1e-4)


def test_each_mask_of_a_text_gets_candidates_of_its_own(encoder):
    fill = MaskFiller(encoder, CPU, top_k=2)
    texts = texts_of("[MASK] w1 [MASK]", "w3 [MASK]", "w1 " * 20 + "[MASK] w2 [MASK] [MASK]")
    together = fill(texts)
    assert [len(masks) for masks in together] == [2, 1, 3]
    for text, masks in zip(texts, together, strict=True):
        (alone,) = fill([text])
        for mask, expected in zip(masks, alone, strict=True):
            assert [c.token for c in mask] == [c.token for c in expected]
            assert [c.score for c in mask] == pytest.approx([c.score for c in expected], rel=1e-4)


def test_a_text_without_a_mask_is_named(encoder):
    with pytest.raises(ClozeError, match=r"text 2: has no \[MASK\]"):
        MaskFiller(encoder, CPU)(texts_of("w1 [MASK]", "w2"))


def test_a_mask_that_is_cut_off_is_named(encoder):
    with pytest.raises(ClozeError, match="lies behind the first 8 tokens"):
        MaskFiller(encoder, CPU, max_length=8)(texts_of("w1 " * 9 + "[MASK]"))


@pytest.mark.parametrize("layout", ["bert", "modernbert"])
def test_a_text_is_classified_as_by_the_pipeline_of_transformers(tmp_path, layout):
    transformers = pytest.importorskip("transformers")
    model = write_classifier(tmp_path / "model", ["bad", "fair", "good"], layout)
    texts = ["w1 w2 w3", "w9", "w5 " * 25]
    theirs = transformers.pipeline(
        "text-classification", model=str(model), tokenizer=str(model), top_k=None
    )
    for found, expected in zip(
        Classifier(model, CPU)(texts_of(*texts)), theirs(texts), strict=True
    ):
        assert found.label == expected[0]["label"]
        assert found.score == pytest.approx(expected[0]["score"], abs=1e-5)
        probabilities = {entry["label"]: entry["score"] for entry in expected}
        assert found.probabilities == pytest.approx(probabilities, abs=1e-5)


def test_a_pair_is_read_with_token_types(tmp_path):
    transformers = pytest.importorskip("transformers")
    folder = write_classifier(tmp_path / "model", ["no", "yes"])
    pair = Text("w1 w2 w3", "w4 w5", "row 1")
    (found,) = Classifier(folder, CPU)([pair])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    logits = model(
        input_ids=torch.tensor([[2, 6, 7, 8, 3, 9, 10, 3]]),
        token_type_ids=torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]]),
    ).logits
    expected = logits.softmax(-1)[0].tolist()
    assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-5)


def test_a_regression_gives_its_score_and_no_label(tmp_path):
    model = write_classifier(tmp_path / "model", ["score"])
    (found,) = Classifier(model, CPU)(texts_of("w1 w2"))
    assert found.label is None
    assert found.probabilities is None
    assert np.isfinite(found.score)


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_embedding_pools_the_hidden_states_of_transformers(encoder, pooling):
    transformers = pytest.importorskip("transformers")
    (found,) = Embedder(encoder, CPU, pooling=pooling)(texts_of("w1 w2 w3"))
    model = transformers.AutoModel.from_pretrained(encoder).eval()
    hidden = model(input_ids=torch.tensor([[2, 6, 7, 8, 3]])).last_hidden_state[0]
    expected = hidden.mean(0) if pooling == "mean" else hidden[0]
    np.testing.assert_allclose(found, expected.detach().numpy(), atol=1e-5)


def test_results_do_not_depend_on_the_company_of_a_text(encoder):
    embed = Embedder(encoder, CPU)
    texts = texts_of(*(f"w{n % 50} " * (1 + n % 29) for n in range(200)))
    together = embed(texts)
    for number in (0, 28, 111, 199):
        np.testing.assert_allclose(together[number], embed([texts[number]])[0], atol=1e-5)


def test_texts_that_lose_tokens_are_counted(encoder):
    embed = Embedder(encoder, CPU, max_length=6)
    embed(texts_of("w1", "w1 " * 10))
    embed(texts_of("w1 " * 5))
    assert embed.truncated == 2


def test_a_folder_is_refused_for_what_its_head_cannot_do(encoder):
    assert tasks_of(encoder) == ["fill-mask", "embed"]
    with pytest.raises(ClozeError, match=r"cannot classify; .* it can fill-mask and embed"):
        Classifier(encoder, CPU)


def test_more_tokens_than_positions_are_refused(encoder):
    with pytest.raises(ClozeError, match="--max-length 33: the encoder has 32 positions"):
        Embedder(encoder, CPU, max_length=33)


def test_a_classifier_reads_what_it_was_fine_tuned_on(tmp_path):
    write_json(
        tmp_path / "metrics.json", {"metrics": {"recipe": {"max_length": 64, "truncation": "tail"}}}
    )
    assert finetuning_limits(tmp_path) == (64, "tail")
    assert finetuning_limits(tmp_path / "from-elsewhere") == (None, "head")


def test_windows_are_bounded_by_texts_and_by_characters():
    short = windows(Text("a", None, "") for _ in range(WINDOW_TEXTS + 1))
    assert [len(window) for window in short] == [WINDOW_TEXTS, 1]
    long = windows(Text("a" * (1 << 22), None, "") for _ in range(3))
    assert [len(window) for window in long] == [2, 1]


def test_as_many_candidates_as_there_are_tokens_share_the_whole_probability(encoder):
    tokenizer = load_tokenizer(encoder / "tokenizer.json")
    (masks,) = MaskFiller(encoder, CPU, top_k=64)(texts_of("[MASK]"))
    assert {candidate.token for candidate in masks[0]} == set(tokenizer.get_vocab())
    assert sum(candidate.score for candidate in masks[0]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("device", DEVICES[1:])
def test_batches_hold_every_text_in_few_shapes_and_next_to_no_padding(tmp_path, device):
    tokenizer = load_tokenizer(write_tokenizer(tmp_path))
    words = np.random.default_rng(0).integers(1, 120, 3000)
    encoded = encode_texts(tokenizer, ["w1 " * count for count in words], 128, 64)
    seen, slots, shapes = [], 0, set()
    for batch, numbers in batches_by_length(encoded, device):
        seen += numbers.tolist()
        slots += batch.input_ids.numel()
        shapes.add(batch.input_ids.shape)
    assert sorted(seen) == list(range(3000))
    assert encoded.lengths.sum() <= slots < 1.1 * encoded.lengths.sum()
    assert len(shapes) < 30


@pytest.mark.parametrize("use", [MaskFiller, Classifier, Embedder])
def test_what_is_no_number_is_no_prediction(tmp_path, monkeypatch, use):
    write = write_encoder if use is MaskFiller else lambda path: write_classifier(path, ["a", "b"])
    predictor = use(write(tmp_path / "model"), CPU)
    forward = type(predictor._model).forward
    monkeypatch.setattr(
        type(predictor._model), "forward", lambda *given: forward(*given) + float("nan")
    )
    with pytest.raises(ClozeError, match=r"model: gives what is no number .* --precision fp32"):
        predictor(texts_of("w1 [MASK] w2"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, value):
    folder = write_classifier(tmp_path / "model", ["a", "b"])
    weights = load_file(folder / "model.safetensors")
    weights["classifier.bias"][0] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ClozeError, match=r"model: its weight 'classifier.bias' holds what is no"):
        Classifier(folder, CPU)
