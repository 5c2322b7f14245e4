"""HTTP requests that say plainly what went wrong and try again where that may help."""

import email.utils
import http.client
import logging
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import requests
from requests.auth import AuthBase

from cloze.errors import ClozeError

log = logging.getLogger("cloze")

ATTEMPTS = 6
FIRST_DELAY_SECONDS = 1.0
MAX_DELAY_SECONDS = 300.0
TIMEOUT_SECONDS = (20.0, 60.0)  # to connect; between two pieces of an answer
_TRANSIENT_STATUSES = {408, 425, 429, 500, 502, 503, 504}

Result = TypeVar("Result")


class TransientError(Exception):
    """A failure that the next attempt may not meet; `delay` is what the server asks for."""

    def __init__(self, reason: str, delay: float | None = None) -> None:
        super().__init__(reason)
        self.delay = delay


class HttpError(ClozeError):
    """A refusal by a server that another attempt would not change."""

    def __init__(self, message: str, status: int, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def is_missing(self) -> bool:
        """Whether the server says that there is no such thing."""
        return self.status in (404, 410)


class BearerToken(AuthBase):
    """Sends a token; `requests` drops it when a redirect leaves the host."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return `request` with the token in its headers."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def send(url: str, headers: Mapping[str, str], auth: AuthBase | None = None) -> requests.Response:
    """Make one GET request and return its answer, whose body is not read yet.

    Raises `TransientError` if the connection fails or
    the server is overloaded, `HttpError` for any other status of 400 or more, `ClozeError`
    if the address or the server's certificate is at fault.
    """
    try:
        response = requests.get(
            url, headers=headers, auth=auth, stream=True, timeout=TIMEOUT_SECONDS
        )
    except requests.exceptions.SSLError as error:
        if "CERTIFICATE_VERIFY_FAILED" not in str(error):
            raise TransientError(describe(error)) from error
        raise ClozeError(
            f"{url}: the server's certificate is not trusted ({describe(error)}); behind a proxy "
            "that inspects traffic, set REQUESTS_CA_BUNDLE to the file of its certificates"
        ) from error
    except (requests.ConnectionError, requests.Timeout) as error:
        raise TransientError(describe(error)) from error
    # The library says what is wrong with an address, its own or a redirect's, by either.
    except (requests.RequestException, ValueError) as error:
        raise ClozeError(f"{url}: {error}; check the address") from error
    if response.status_code >= 400:
        with response:
            raise refusal(url, response.status_code, response.headers)
    return response


def retrying(
    url: str,
    operation: Callable[[], Result],
    received: Callable[[], int] = lambda: 0,
    attempts: int = ATTEMPTS,
) -> Result:
    """Call `operation` until it raises no `TransientError`, waiting longer each time.

    Gives up after `attempts` failures in a row, where an attempt that took `received()`
    beyond its former maximum starts the count anew. Raises `ClozeError` then, or if the
    server asks for a longer wait than `MAX_DELAY_SECONDS`.
    """
    failures, most = 0, received()
    while True:
        try:
            return operation()
        except TransientError as error:
            if received() > most:
                failures, most = 0, received()
            failures += 1
            delay = error.delay
            if delay is None:
                delay = FIRST_DELAY_SECONDS * 2 ** (failures - 1)
            elif delay > MAX_DELAY_SECONDS:
                raise ClozeError(
                    f"{url}: {error}; the server asks for a wait of {delay:.0f} s: "
                    "run the same command again after that"
                ) from error
            if failures == attempts:
                times = f" after {attempts} attempts" if attempts > 1 else ""
                raise ClozeError(
                    f"{url}: {error}; gave up{times}. Check the connection and run "
                    "the same command again, or set `mirror` to a folder that has the file"
                ) from error
            log.warning("%s: %s; trying again in %.3g s", url, error, delay)
            time.sleep(delay)


def describe(error: BaseException) -> str:
    """Return what lies at the root of a library's nested connection error."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(error) or type(error).__name__


def refusal(url: str, status: int, headers: Mapping[str, str]) -> TransientError | HttpError:
    """Return what an answer with a status of 400 or more amounts to."""
    phrase = http.client.responses.get(status, "")
    said = f"the server answered {status} {phrase}".rstrip()
    if status in _TRANSIENT_STATUSES:
        return TransientError(said, _retry_after(headers.get("Retry-After", "")))
    advice = "check the address"
    if status in (401, 403):
        advice = "check the address and that you have access (a browser shows what it asks for)"
    return HttpError(f"{url}: {said}; {advice}", status, headers.get("X-Error-Code", ""))


def _retry_after(value: str) -> float | None:
    """Seconds that the header Retry-After asks for: it holds a number or a date."""
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
        return max(0.0, moment.timestamp() - time.time())
    # The latter for a date that no clock shows.
    except (ValueError, OverflowError):
        return None
