"""What happens to a text before it is cut into words: Unicode forms, case, accents."""

from tokenizers import normalizers

_COMPOSED = {"nfc": normalizers.NFC, "nfkc": normalizers.NFKC}
_DECOMPOSED = {"none": normalizers.NFD, "nfc": normalizers.NFD, "nfkc": normalizers.NFKD}


def in_unicode_form(form: str, normalizer: normalizers.Normalizer) -> normalizers.Normalizer:
    """Return a normalizer that first brings a text to a form, `none`, `nfc` or `nfkc`."""
    if form == "none":
        return normalizer
    return normalizers.Sequence([_COMPOSED[form](), normalizer])


def text_normalizer(
    *, lowercase: bool, strip_accents: bool, unicode_normalization: str
) -> normalizers.Normalizer:
    """Return a normalizer that adds no spaces, as BERT's does around Han characters.

    `unicode_normalization` is `none`, `nfc` or `nfkc`.
    """
    steps: list[normalizers.Normalizer] = []
    if strip_accents:
        # Composed again, or Hangul would stay in pieces.
        decomposed = _DECOMPOSED[unicode_normalization]()
        steps += [decomposed, normalizers.StripAccents(), normalizers.NFC()]
    elif unicode_normalization != "none":
        steps.append(_COMPOSED[unicode_normalization]())
    if lowercase:
        steps.append(normalizers.Lowercase())
    return normalizers.Sequence(steps)
