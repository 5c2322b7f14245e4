"""The server of a model, asked over HTTP as a browser and a program ask it."""

import signal
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests

import serve
from cloze.files import write_json
from cloze.model.device import Compute
from cloze.model.heads import QuestionAnswerer
from cloze.model.hf import save_model
from cloze.use.predictors import Embedder
from cloze.use.service import ModelService
from cloze.use.texts import Text
from tests.tiny import write_tokenizer
from tests.tiny_model import make_config, perturbed
from tests.tiny_task import write_encoder
from tests.unit.test_predictors import write_classifier

uvicorn = pytest.importorskip("uvicorn")
pytest.importorskip("starlette")

CPU = Compute("cpu", "fp32", False, 1)


def start(folder):
    """A running server for a model folder, as `serve.py` makes it."""
    from cloze.use.web import make_app

    listener, service = serve._listen(0), ModelService(folder, CPU)
    server = uvicorn.Server(
        uvicorn.Config(make_app(service), log_level="warning", access_log=False)
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    return SimpleNamespace(
        url=f"http://127.0.0.1:{listener.getsockname()[1]}",
        address=listener.getsockname(),
        folder=folder,
        service=service,
        stop=lambda: (setattr(server, "should_exit", True), thread.join()),
    )


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    folder = write_classifier(tmp_path_factory.mktemp("served") / "a<b>c", ["bad", "<i>good</i>"])
    server = start(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def answerer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "answerer"
    model = perturbed(QuestionAnswerer(make_config()))
    model.null_threshold = -1000.0
    save_model(folder, model, write_tokenizer(folder / "tokenizer").parent)
    server = start(folder)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    server = start(write_encoder(tmp_path_factory.mktemp("served") / "encoder"))
    yield server
    server.stop()


def ask(server, use, *texts, **options):
    return requests.post(f"{server.url}/api/{use}", json={"texts": list(texts)}, **options)


def submit(server, **fields):
    return requests.post(server.url, data=fields)


def test_it_listens_on_the_loopback_address_alone(classifier):
    assert classifier.address[0] == "127.0.0.1"


def test_the_api_says_what_the_model_does(classifier, encoder):
    facts = requests.get(f"{classifier.url}/api").json()
    assert facts["uses"] == ["classify", "embed"]
    assert facts["labels"] == ["bad", "<i>good</i>"]
    assert requests.get(f"{encoder.url}/api").json()["mask_token"] == "[MASK]"


def test_texts_and_pairs_are_classified(classifier):
    (one,) = ask(classifier, "classify", "w1 w2").json()["results"]
    assert one["score"] == one["probabilities"][one["label"]]
    (pair,) = ask(classifier, "classify", ["w1", "w2"]).json()["results"]
    assert (pair["text"], pair["second_text"]) == ("w1", "w2")


def test_questions_are_answered_from_their_context(answerer):
    (found,) = ask(answerer, "answer", ["w1 w2", "w3 w4 w5"]).json()["results"]
    assert found == {
        "question": "w1 w2", "context": "w3 w4 w5", "answer": "", "start": 0, "end": 0,
        "score": found["no_answer_probability"],
        "no_answer_probability": found["no_answer_probability"],
    }  # fmt: skip
    response = ask(answerer, "answer", "w1 w2")
    assert response.status_code == 422
    assert "has no context; give each question the text" in response.json()["error"]


@pytest.mark.parametrize("threshold", [-1000.0, 1000.0])
def test_the_page_shows_the_answer_in_its_context_as_text(answerer, threshold):
    model = answerer.service._predictors["answer"]._model
    model.null_threshold, kept = threshold, model.null_threshold
    page = submit(answerer, use="answer", text="w1", second_text="<b>w3</b>").text
    model.null_threshold = kept
    assert ("<h2>No answer</h2>" in page) == (threshold < 0)
    assert ("<mark>" in page) == (threshold > 0)
    assert "<b>" not in page
    shown = page.split("<p class=tagged>")[1].split("</p>")[0]
    assert shown.replace("<mark>", "").replace("</mark>", "") == "&lt;b&gt;w3&lt;/b&gt;"


def test_masks_are_filled(encoder):
    (found,) = ask(encoder, "fill-mask", "[MASK] w1 [MASK]").json()["results"]
    assert [len(candidates) for candidates in found["masks"]] == [5, 5]


def test_embeddings_are_those_of_the_library(encoder):
    (found,) = ask(encoder, "embed", "w1 w2").json()["results"]
    (expected,) = Embedder(encoder.folder, CPU)([Text("w1 w2", None, "")])
    assert found["embedding"] == pytest.approx(expected.tolist(), abs=1e-6)


@pytest.mark.parametrize(
    ("use", "texts", "status", "message"),
    [
        ("translate", ["w1"], 404, "'translate' is not what this model does; it can classify"),
        ("classify", [], 422, "texts: missing"),
        ("classify", "w1", 422, "texts: missing"),
        ("classify", ["w1"] * 65, 422, "65 of them; send up to 64"),
        ("classify", ["  "], 422, "the text is empty"),
        ("classify", [7], 422, "a text is int, not text"),
        ("classify", [["a", "b", "c"]], 422, "holds two texts"),
        ("classify", ["a", ["b", "c"]], 422, "some are pairs and some are not"),
        ("classify", ["ab\x07c"], 422, "character 3 of the text is U+0007, a control character"),
        ("classify", ["a\ud800"], 422, "U+D800"),
        ("classify", ["w " * 10_001], 422, "the text has 20,002 characters; send up to 20,000"),
    ],
)
def test_what_the_api_cannot_answer_is_explained(classifier, use, texts, status, message):
    answer = requests.post(f"{classifier.url}/api/{use}", json={"texts": texts})
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_text_without_a_mask_is_explained(encoder):
    answer = ask(encoder, "fill-mask", "w1")
    assert answer.status_code == 422
    assert "has no [MASK]" in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000])
def test_a_body_that_is_no_json_is_explained(classifier, body):
    headers = {"Content-Type": "application/json"}
    answer = requests.post(f"{classifier.url}/api/classify", data=body, headers=headers)
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["error"]


def test_json_must_say_that_it_is_json(classifier):
    answer = requests.post(f"{classifier.url}/api/classify", data='{"texts": ["w1"]}')
    assert answer.status_code == 415


def test_another_host_name_is_refused(classifier):
    answer = requests.get(classifier.url, headers={"Host": "elsewhere.example"})
    assert answer.status_code == 400


def test_the_page_answers_a_form(classifier):
    page = submit(classifier, use="classify", text="w1 w2")
    assert page.status_code == 200
    assert page.text.count("<meter") == 2


def test_the_page_compares_two_texts(encoder):
    page = submit(encoder, use="embed", text="w1 w2", second_text="w1 w2")
    assert "1.0000" in page.text


def test_nothing_is_loaded_from_elsewhere(classifier):
    page = requests.get(classifier.url)
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert "http" not in page.text.replace("http-equiv", "")
    assert "<script" not in page.text


def test_a_form_of_a_megabyte_gets_a_message(classifier):
    page = submit(classifier, use="classify", text="w" * (1 << 20))
    assert page.status_code == 413
    assert "the input is longer than 256 KiB; send less at a time" in page.text


def test_markup_in_a_form_is_text(classifier):
    markup = '</textarea><script>alert("x")</script>&amp;'
    page = submit(classifier, use="classify", text=markup)
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "&lt;/textarea&gt;&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;&amp;amp;" in page.text


def test_labels_and_the_name_of_the_model_are_escaped(classifier):
    page = submit(classifier, use="classify", text="w1").text
    assert "<i>good" not in page
    assert "&lt;i&gt;good&lt;/i&gt;" in page
    assert "<title>a&lt;b&gt;c</title>" in page


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\x9b"])
def test_control_characters_in_a_form_get_a_message(classifier, control):
    page = submit(classifier, use="classify", text=f"w1 {control}")
    assert page.status_code == 422
    assert f"character 4 of the text is U+{ord(control):04X}" in page.text


def test_a_form_that_is_not_utf_8_gets_a_message(classifier):
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    page = requests.post(classifier.url, data=b"text=%FF", headers=headers)
    assert page.status_code == 400
    assert "the form is not UTF-8" in page.text


def test_the_page_is_titled_by_its_task_and_has_examples_to_click(tmp_path):
    folder = write_classifier(tmp_path / "seed-1", ["bad", "good"])
    args = {"model": "results/sample/4k/rows/tiny"}
    write_json(
        folder / "metrics.json", {"metrics": {"task": "reviews"}, "args": args, "inputs": {}}
    )
    (folder / "validation").mkdir()
    texts = ["w1 w2", " ", "w3 " * 100, "<b>w4</b>"]
    pq.write_table(pa.table({"text": texts}), folder / "validation" / "predictions.parquet")
    server = start(folder)
    try:
        page = requests.get(server.url, timeout=60).text
        assert "<h1>reviews, by sample/4k/rows/tiny</h1>" in page
        assert page.count('<button name="example"') == 2
        assert "&lt;b&gt;w4&lt;/b&gt;</button>" in page
        clicked = submit(server, use="classify", text="", example="1")
        assert clicked.status_code == 200
        assert '<textarea id="text" name="text" required autofocus>&lt;b&gt;w4' in clicked.text
        # A number of none of them is no example.
        assert submit(server, use="classify", text="", example="7").status_code == 422
    finally:
        server.stop()


def test_a_port_in_use_is_named(classifier, capsys):
    flags = ["--model", str(classifier.folder), "--port", str(classifier.address[1])]
    assert serve.main([*flags, "--device", "cpu"]) == 1
    assert "cannot be used" in capsys.readouterr().err


def send(server, content):
    """Send bytes and leave without waiting for an answer."""
    with socket.create_connection(server.address) as connection:
        connection.sendall(content)


def test_a_client_that_hangs_up_is_no_error(classifier, caplog):
    started = b"POST /api/classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999\r\n"
    with caplog.at_level("WARNING"):
        send(classifier, started + b"Content-Type: application/json\r\n\r\n{")
        assert ask(classifier, "classify", "w1").status_code == 200
    assert not caplog.records


def test_it_ends_though_somebody_has_sent_half_of_a_request(tmp_path):
    model = write_encoder(tmp_path / "model")
    process = subprocess.Popen(
        [sys.executable, serve.__file__, "--model", str(model), "--port=0", "--device=cpu"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    port = int(process.stdout.readline().split()[0].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nx")
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said


def test_what_is_no_number_is_explained(classifier, monkeypatch):
    model = classifier.service._predictors["classify"]._model
    forward = type(model).forward
    monkeypatch.setattr(type(model), "forward", lambda *given: forward(*given) * float("nan"))
    answer = ask(classifier, "classify", "w1")
    assert answer.status_code == 422
    assert "gives what is no number" in answer.json()["error"]
    page = submit(classifier, use="classify", text="w1")
    assert page.status_code == 422
    assert "gives what is no number" in page.text
