import importlib.util
import json
import lzma
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "sentence_boundaries.py"


def load_benchmark() -> ModuleType:
    """By path: libraries, too, bring packages called `benchmarks`."""
    spec = importlib.util.spec_from_file_location(SCRIPT.stem, SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


benchmark = load_benchmark()
TREEBANK = """# newdoc id = one
# sent_id = 1
# text = He left.
1\tHe\the\tPRON\t_\t_\t2\tnsubj\t_\t_
2\tleft\tleave\tVERB\t_\t_\t0\troot\t_\tSpaceAfter=No
3\t.\t.\tPUNCT\t_\t_\t2\tpunct\t_\t_

# sent_id = 2
# text = "Why?"
1\t"\t"\tPUNCT\t_\t_\t2\tpunct\t_\tSpaceAfter=No
2\tWhy\twhy\tADV\t_\t_\t0\troot\t_\tSpaceAfter=No
3\t?\t?\tPUNCT\t_\t_\t2\tpunct\t_\tSpaceAfter=No
4\t"\t"\tPUNCT\t_\t_\t2\tpunct\t_\tSpaceAfter=No

# text = Vou ao
1\tVou\tir\tVERB\t_\t_\t0\troot\t_\t_
2-3\tao\t_\t_\t_\t_\t_\t_\t_\tSpaceAfter=No
2\ta\ta\tADP\t_\t_\t1\tcase\t_\t_
3\to\to\tDET\t_\t_\t1\tdet\t_\t_

# newpar
# text = Next.
1\tNext\tnext\tADJ\t_\t_\t0\troot\t_\tSpaceAfter=No
2\t.\t.\tPUNCT\t_\t_\t1\tpunct\t_\t_
"""


def test_a_treebank_keeps_its_paragraphs_and_missing_spaces() -> None:
    assert list(benchmark.treebank_paragraphs(TREEBANK)) == [
        ["He left. ", '"Why?"', "Vou ao"],
        ["Next. "],
    ]
    with pytest.raises(SystemExit, match="has no line '# text = '"):
        list(benchmark.treebank_paragraphs("1\tHe\the\tPRON\t_\t_\t0\troot\t_\t_"))


@pytest.mark.parametrize(
    ("paragraph", "is_one"),
    [
        ("The river is 3.5 km long and ends here.", True),
        ("He paid approx. three dollars for it all.", True),
        ("The books of J. R. R. Tolkien are long.", True),
        ("The books of J. K. Rowling are long.", False),
        ("He left the house. She came back at once.", False),
        ("It ended in c. 1200 without a trace.", False),
        ('"Stop!" he said to all of them.', True),
        ("He wrote all of it without an end", False),
        ("and so it goes on and on.", False),
        ("Too short here.", False),
        ("— Não sei o que ella disse, minha senhora!", True),
    ],
)
def test_only_paragraphs_of_surely_one_sentence_are_taken(paragraph: str, is_one: bool) -> None:
    names = re.compile(re.escape("J. R. R. Tolkien"))
    assert benchmark.is_one_sentence(paragraph, names) is is_one


def test_paragraphs_that_met_are_the_bounds() -> None:
    lines = [f"This is sentence number {number} of the text." for number in range(20)]
    text = "\n".join(
        [" = J. Doe = ", *lines, "Two are here. They do not count.", "J. Doe was here."]
    )
    groups = list(benchmark.one_sentence_paragraphs(text))
    assert [len(group) for group in groups] == [8, 8, 5]
    assert groups[2][-1] == "J. Doe was here. "


def test_bounds_are_counted_in_visible_characters() -> None:
    assert benchmark.bounds(["A b. ", "C. ", "D."]) == {3, 5}
    assert benchmark.bounds(["A", " b.", "  C.  D."]) == {1, 3}
    assert benchmark.bounds(["A b."]) == set()
    assert benchmark.context("A b. C. D.", 3) == "A b. |  C. D."


def test_precision_and_recall_are_those_of_the_bounds() -> None:
    paragraphs = [["One two. ", "Three four. ", "Five."], ["Six. ", "Seven."]]

    def split(text: str) -> list[str]:
        return ["One", " two. Three four. ", "Five."] if text.startswith("One") else [text]

    figures, errors = benchmark.measure(split, paragraphs, repeats=1)
    assert figures["precision"] == 0.5
    assert figures["recall"] == 0.3333
    assert figures["f1"] == 0.4
    assert [place for _, place in errors] == [3, 7, 4]


def test_it_ends_with_one_line_of_json(tmp_path: Path) -> None:
    gold = tmp_path / "gold.txt.xz"
    gold.write_bytes(lzma.compress(b"Dr. Smith left.\nNobody came.\n\nIt rains.\nIs it?\nYes.\n"))
    run = [sys.executable, str(SCRIPT), "--gold", str(gold), "--language", "en", "--repeats", "1"]
    finished = subprocess.run(run, capture_output=True, text=True, check=True)
    result = json.loads(finished.stdout.splitlines()[-1])
    assert (result["sentences"], result["bounds"], result["ratio"]) == (5, 3, None)
    assert result["sentencex"]["f1"] == 1.0
    gold.write_bytes(lzma.compress(b"Only one.\n"))
    finished = subprocess.run(run, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert "no paragraph of two sentences" in finished.stderr
