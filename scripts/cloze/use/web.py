"""The page and the JSON API of a model: what they accept, what they answer.

Nothing is loaded from elsewhere and nothing is sent anywhere: no script, no font, no counter.
"""

import asyncio
import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import parse_qs

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from cloze.errors import ClozeError
from cloze.files import resource
from cloze.pages import render
from cloze.use.answerer import FoundAnswer
from cloze.use.predictors import Classification
from cloze.use.service import ModelService, as_record
from cloze.use.tagger import Spans
from cloze.use.texts import Text

MAX_BODY_BYTES = 256 << 10
MAX_CHARACTERS = 20_000
MAX_TEXTS = 64
_SECONDS_TO_NOTICE = 1e-3
# A larger body is not even read to its end: the connection is closed instead.
_MAX_DISCARDED_BYTES = 16 << 20
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_FIELDS = {"answer": ("Question", "Context")}
_ALLOWED_CONTROLS = "\t\n\r"
_HINTS = {
    "fill-mask": "Write {mask} where a word is to be filled in.",
    "classify": "A second text is read as the other half of a pair.",
    "tag": "Words are tagged in the first text.",
    "answer": "The answer is a piece of the context, or none.",
    "embed": "With a second text you also see how alike the two are.",
}


class _AfterWhatArrived:
    """Begins with a request once all that came with it has been looked at.

    If that was no HTTP, the server has answered by itself and closed the connection; an answer of
    ours would be its error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(_SECONDS_TO_NOTICE)
        await self._app(scope, receive, send)


def make_app(service: ModelService) -> Starlette:
    """Return the application: `/` is the page, `/api` and `/api/{use}` the API."""
    app = Starlette(
        routes=[
            Route("/", _show_page, methods=["GET"]),
            Route("/", _answer_form, methods=["POST"]),
            Route("/api", _describe, methods=["GET"]),
            Route("/api/{use}", _answer_json, methods=["POST"]),
        ],
        # Another name for this machine may be a page elsewhere that was led here by its DNS.
        middleware=[
            Middleware(_AfterWhatArrived),
            Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"]),
        ],
        exception_handlers={HTTPException: _explain},
    )
    app.state.service = service
    return app


async def _show_page(request: Request) -> Response:
    service: ModelService = request.app.state.service
    return _page(service, service.uses[0])


async def _answer_form(request: Request) -> Response:
    service: ModelService = request.app.state.service
    use, first, second = service.uses[0], "", ""
    try:
        fields = _form_fields(await _read_body(request))
        first, second = fields.get("text", ""), fields.get("second_text", "").strip()
        use = fields.get("use", use)
        for number, example in enumerate(service.examples):
            if fields.get("example") == str(number):
                first, second = example.first, example.second or ""
        texts = [_checked(first, second or None, service, use)]
        if use == "embed" and second:
            texts = [Text(text, None, "text") for text in (first, second)]
        results = await run_in_threadpool(service.predict, use, texts)
        shown = _shown(second if use == "answer" else first, results)
        return _page(service, use, first, second, shown)
    except HTTPException as error:
        status, message = error.status_code, error.detail
    except ClozeError as error:
        status, message = 422, str(error)
    use = use if use in service.uses else service.uses[0]
    kept = (first[:MAX_CHARACTERS], second[:MAX_CHARACTERS])
    return _page(service, use, *kept, {"error": message}, status)


async def _describe(request: Request) -> Response:
    service: ModelService = request.app.state.service
    return JSONResponse(service.facts(), headers=_HEADERS)


async def _answer_json(request: Request) -> Response:
    service: ModelService = request.app.state.service
    use = request.path_params["use"]
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        _refuse(415, "send JSON with the header Content-Type: application/json")
    texts = [
        _checked(first, second, service, use)
        for first, second in _json_texts(await _read_body(request))
    ]
    if len({text.second is None for text in texts}) > 1:
        _refuse(422, "texts: some are pairs and some are not; send them in two requests")
    try:
        results = await run_in_threadpool(service.predict, use, texts)
    except ClozeError as error:
        _refuse(422, str(error))
    records = [as_record(text, result) for text, result in zip(texts, results, strict=True)]
    return JSONResponse({"results": records}, headers=_HEADERS)


async def _explain(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, status_code=error.status_code, headers=_HEADERS)


def _refuse(status: int, message: str) -> NoReturn:
    raise HTTPException(status, message)


async def _read_body(request: Request) -> bytes:
    """Return the body; one that is too long is read to its end, so that the answer arrives."""
    body, size = bytearray(), 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size <= MAX_BODY_BYTES:
                body += chunk
            if size > _MAX_DISCARDED_BYTES:
                break
    except (ClientDisconnect, asyncio.CancelledError):
        # The client is gone, or the server ends: nobody could read an answer.
        _refuse(400, "the connection ended before the input did")
    if size > MAX_BODY_BYTES:
        _refuse(
            413,
            f"the input is longer than {MAX_BODY_BYTES >> 10} KiB; send less at a time, or use "
            "scripts/predict.py, which reads files of any size",
        )
    return bytes(body)


def _form_fields(body: bytes) -> dict[str, str]:
    try:
        parsed = parse_qs(
            body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=8
        )
    except ValueError:
        _refuse(400, "the form is not UTF-8; send it from the page, or use the JSON API")
    return {name: values[-1] for name, values in parsed.items()}


def _json_texts(body: bytes) -> list[tuple[Any, Any]]:
    """Return the texts of a request: `{"texts": ["…", ["…", "…"]]}`."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        _refuse(400, 'the body is not JSON; send {"texts": ["…"]}')
    texts = given.get("texts") if isinstance(given, dict) else None
    if not isinstance(texts, list) or not texts:
        _refuse(422, 'texts: missing; send {"texts": ["…"]}, or [["…", "…"]] for pairs')
    if len(texts) > MAX_TEXTS:
        _refuse(422, f"texts: {len(texts)} of them; send up to {MAX_TEXTS} at a time")
    pairs = [text if isinstance(text, list) else [text, None] for text in texts]
    if not all(len(pair) == 2 for pair in pairs):
        _refuse(422, "texts: a list stands for a pair and holds two texts")
    return [(first, second) for first, second in pairs]


def _checked(first: Any, second: Any, service: ModelService, use: str) -> Text:
    """Return a text that can be read; raises `HTTPException` that says what is wrong with it."""
    if use not in service.uses:
        _refuse(404, f"{use!r} is not what this model does; it can {' and '.join(service.uses)}")
    for text in (first,) if second is None else (first, second):
        if not isinstance(text, str):
            _refuse(422, f"a text is {type(text).__name__}, not text; send a string")
        if not text.strip():
            _refuse(422, "the text is empty; write one")
        if len(text) > MAX_CHARACTERS:
            _refuse(
                422, f"the text has {len(text):,} characters; send up to {MAX_CHARACTERS:,} at once"
            )
        for position, character in enumerate(text, start=1):
            if unicodedata.category(character) in ("Cc", "Cs") and (
                character not in _ALLOWED_CONTROLS
            ):
                _refuse(
                    422,
                    f"character {position} of the text is U+{ord(character):04X}, a control "
                    "character; remove it",
                )
    return Text(first, second, "the text")


def _page(
    service: ModelService,
    use: str,
    first: str = "",
    second: str = "",
    shown: Mapping[str, Any] | None = None,
    status: int = 200,
) -> Response:
    page = render(
        resource("use/page.html"),
        title=service.title,
        examples=service.examples,
        uses=service.uses,
        use=use,
        hint=" ".join(_HINTS[name].format(mask=service.mask_token) for name in service.uses),
        fields=_FIELDS.get(service.uses[0], ("Text", "Second text, if any")),
        first=first,
        second=second,
        max_characters=MAX_CHARACTERS,
        shown=shown or {},
    )
    return HTMLResponse(page, status_code=status, headers=_HEADERS)


def _shown(text: str, results: Sequence[Any]) -> dict[str, Any]:
    """Return what the page shows of one text's result, or of two embeddings.

    text: that which the result has places in.
    """
    first = results[0]
    if isinstance(first, np.ndarray):
        found = {"size": len(first), "numbers": " ".join(f"{value:.3f}" for value in first[:8])}
        if len(results) == 2:
            norms = np.linalg.norm(first) * np.linalg.norm(results[1])
            found["cosine"] = f"{float(first @ results[1] / norms):.4f}"
        return found
    if isinstance(first, Classification):
        if first.probabilities is None:
            return {"score": f"{first.score:.4f}"}
        ordered = sorted(first.probabilities.items(), key=lambda entry: -entry[1])
        given = first.label if first.labels is None else ", ".join(first.labels) or "No label"
        return {"bars": [(given, ordered)]}
    if isinstance(first, FoundAnswer):
        return {"answer": first, "passage": _around(text, first)}
    if isinstance(first, Spans):
        return {"tagged": _in_parts(text, first)}
    several = len(first) > 1
    return {
        "bars": [
            (f"Mask {number}" if several else "Mask", candidates)
            for number, candidates in enumerate(first, start=1)
        ]
    }


def _around(context: str, found: FoundAnswer) -> tuple[str, str, str]:
    """Return a context in three parts, the second of which is the answer."""
    return context[: found.start], context[found.start : found.end], context[found.end :]


def _in_parts(text: str, tagged: Spans) -> list[tuple[str, str]]:
    """Return a text in parts, each with its type, which is empty between the spans."""
    parts, done = [], 0
    for span in tagged.spans:
        parts += [(text[done : span.start], ""), (text[span.start : span.end], span.type)]
        done = span.end
    return [part for part in [*parts, (text[done:], "")] if part[0]]
