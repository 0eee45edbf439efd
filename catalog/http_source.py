"""Byte ranges of a file on a web server, and the one way in which this program talks to such servers.

A model file of 100 GB gives its header for a few MB: ranges are asked for in growing chunks, and a server
that does not know ranges is refused before it sends the file. Every failure is a NetworkError of one
sentence. httpx is imported when the first client is made.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from llmfit.advisor.errors import NetworkError
from llmfit.advisor.text import printable
from llmfit.advisor.units import MIB

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 15.0
"""Without a byte for this long, a server is given up."""
REQUEST_LIMIT_S = 120.0
"""A whole request may take this long: a server that drips bytes must not hold the program for ever."""
FIRST_CHUNK_BYTES = MIB
MAX_CHUNK_BYTES = 8 * MIB
MAX_FETCHED_BYTES = 256 * MIB
"""Ranges of one file, all together; the headers of the largest vocabularies are 30 MB."""
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)
_TRY_LATER = "Try again later."
_CHECK_NETWORK = "Check the network and the proxy settings."


def open_client(headers: Mapping[str, str] | None = None, *, timeout_s: float = TIMEOUT_S) -> httpx.Client:
    """A client that follows redirects and drops credentials when one leads to another host.

    Raises NetworkError where the proxy or certificate settings of the environment cannot be used.
    """
    import httpx

    try:
        return httpx.Client(
            headers={"Accept-Encoding": "identity", **(headers or {})},
            follow_redirects=True,
            max_redirects=5,
            timeout=timeout_s,
        )
    except (ImportError, ValueError, OSError, httpx.InvalidURL) as error:
        reason = printable(str(error), 200).rstrip(".")
        raise NetworkError("network settings", f"cannot be used ({reason})", _CHECK_NETWORK) from None


@contextmanager
def network_errors(what: str) -> Iterator[None]:
    """Turn everything that httpx raises inside into a NetworkError about ``what``."""
    import httpx

    try:
        yield
    except httpx.TimeoutException:
        raise NetworkError(what, "the server did not answer in time", _TRY_LATER) from None
    except httpx.TooManyRedirects:
        raise NetworkError(what, "the server redirects in circles", _TRY_LATER) from None
    except httpx.ConnectError as error:
        reason = printable(str(error), 200).rstrip(".")
        raise NetworkError(what, f"the server cannot be reached ({reason})", _CHECK_NETWORK) from None
    except (httpx.HTTPError, httpx.StreamError) as error:
        reason = printable(str(error), 200).rstrip(".") or type(error).__name__
        raise NetworkError(what, f"the connection failed ({reason})", _TRY_LATER) from None
    except (httpx.InvalidURL, ValueError) as error:
        reason = printable(str(error), 200).rstrip(".")
        raise NetworkError(what, f"not a usable address ({reason})", "Check the address.") from None


def check_status(response: httpx.Response, what: str) -> None:
    """Raise NetworkError for an answer that is not a success, with what a person can do about it."""
    status = response.status_code
    if response.is_success:
        return
    if status in (401, 403):
        hint = "Check the name; if it is private or gated, accept its terms on the web page and set HF_TOKEN."
        raise NetworkError(what, f"the server refuses access (HTTP {status})", hint)
    if status == 404:
        raise NetworkError(what, "the server does not know it (HTTP 404)", "Check the name.")
    if status == 429:
        raise NetworkError(what, "the server asks to slow down (HTTP 429)", _TRY_LATER)
    raise NetworkError(what, f"the server answered HTTP {status}", _TRY_LATER)


def read_body(response: httpx.Response, max_bytes: int, what: str) -> bytes:
    """The body of a streamed response: at most ``max_bytes``, within REQUEST_LIMIT_S."""
    deadline_s = time.monotonic() + REQUEST_LIMIT_S
    body = bytearray()
    for piece in response.iter_raw():
        body += piece
        if len(body) > max_bytes:
            raise NetworkError(what, f"the server sends more than {max_bytes:,} bytes", _TRY_LATER)
        if time.monotonic() > deadline_s:
            raise NetworkError(what, f"the answer took longer than {REQUEST_LIMIT_S:.0f} s", _TRY_LATER)
    return bytes(body)


class HttpRangeSource:
    """A ByteSource over HTTP. ``name`` stands in errors; the client belongs to the caller.

    The last chunk is kept, so a reader that goes forward asks the server once for every byte. Raises
    NetworkError from ``size_bytes`` and ``read``.
    """

    def __init__(self, client: httpx.Client, url: str, name: str) -> None:
        self._client = client
        self._url = url
        self._name = printable(name)
        self._size_bytes: int | None = None
        self._block_offset = 0
        self._block = b""
        self._chunk_bytes = FIRST_CHUNK_BYTES
        self._fetched_bytes = 0

    @property
    def size_bytes(self) -> int:
        if self._size_bytes is None:
            self._fetch(0, 1)
        return self._size_bytes or 0

    def read(self, offset: int, length: int) -> bytes:
        length = max(0, min(length, self.size_bytes - offset))
        start = offset - self._block_offset
        if length and not 0 <= start <= len(self._block) - length:
            self._fetch(offset, length)
            start = 0
        return self._block[start : start + length]

    def _fetch(self, offset: int, length: int) -> None:
        """Have at least ``length`` bytes from ``offset`` in the block."""
        wanted = max(length, self._chunk_bytes)
        if self._fetched_bytes + wanted > MAX_FETCHED_BYTES:
            self._fail(
                f"its header is longer than {MAX_FETCHED_BYTES // MIB} MiB", "It is no usual model file."
            )
        headers = {"Range": f"bytes={offset}-{offset + wanted - 1}"}
        with network_errors(self._name), self._client.stream("GET", self._url, headers=headers) as response:
            total_bytes, expected_bytes = self._range_of(response, offset, length, wanted)
            block = read_body(response, expected_bytes, self._name)
        if len(block) != expected_bytes:
            self._fail("the connection ended early", _TRY_LATER)
        self._size_bytes, self._block_offset, self._block = total_bytes, offset, block
        self._fetched_bytes += len(block)
        self._chunk_bytes = min(2 * self._chunk_bytes, MAX_CHUNK_BYTES)

    def _range_of(self, response: httpx.Response, offset: int, length: int, wanted: int) -> tuple[int, int]:
        """Bytes of the whole file and of this answer, before any of its body is read."""
        if response.status_code == 416 and response.headers.get("Content-Range", "").strip() == "bytes */0":
            return 0, 0
        check_status(response, self._name)
        if response.status_code != 206:
            hint = "Download the file and name it by its path."
            self._fail("the server does not send parts of a file (no HTTP ranges)", hint)
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            self._fail("the server sends the file compressed, so its parts cannot be used", _TRY_LATER)
        match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
        if match is None:
            self._fail("the server does not say which part of the file it sends", _TRY_LATER)
        first, last, total_bytes = (int(number) for number in match.groups())
        if self._size_bytes is not None and total_bytes != self._size_bytes:
            self._fail("the file changed while it was read", _TRY_LATER)
        needed = min(offset + length, total_bytes)
        if first != offset or not needed <= last + 1 <= min(offset + wanted, total_bytes):
            self._fail("the server sends another part of the file than the one asked for", _TRY_LATER)
        return total_bytes, last - first + 1

    def _fail(self, why: str, hint: str) -> NoReturn:
        raise NetworkError(self._name, why, hint)
