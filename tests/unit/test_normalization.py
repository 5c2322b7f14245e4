import unicodedata

import pytest

from cloze.tokens.tokenizer import bert_normalizer
from cloze.tokens.tokenizer_training import in_unicode_form, text_normalizer

TEXT = "E\u0301\u00c9 \ufb01 \uac00 漢字"  # two ways to write É, a ligature, Hangul, Han


@pytest.mark.parametrize(
    ("lowercase", "strip_accents", "form", "expected"),
    [
        (False, False, "none", TEXT),
        (False, False, "nfc", unicodedata.normalize("NFC", TEXT)),
        (False, False, "nfkc", "\u00c9\u00c9 fi \uac00 漢字"),
        (True, False, "nfc", "\u00e9\u00e9 \ufb01 \uac00 漢字"),
        (False, True, "none", "EE \ufb01 \uac00 漢字"),
        (True, True, "nfkc", "ee fi \uac00 漢字"),
    ],
)
def test_text_normalizer(lowercase: bool, strip_accents: bool, form: str, expected: str) -> None:
    normalizer = text_normalizer(
        lowercase=lowercase, strip_accents=strip_accents, unicode_normalization=form
    )
    assert normalizer.normalize_str(TEXT) == expected


@pytest.mark.parametrize("form", ["none", "nfc", "nfkc"])
def test_bert_s_normalizer_in_a_unicode_form(form: str) -> None:
    bert = bert_normalizer(lowercase=False, strip_accents=False, clean_text=False)
    normalizer = in_unicode_form(form, bert)
    composed = TEXT if form == "none" else unicodedata.normalize(form.upper(), TEXT)
    assert normalizer.normalize_str(TEXT) == bert.normalize_str(composed)
