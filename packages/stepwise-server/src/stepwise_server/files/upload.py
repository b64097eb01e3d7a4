"""Uploads: a multipart body, streamed into the store. Memory holds a chunk of it at a time."""

import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import python_multipart
from python_multipart.exceptions import FormParserError
from starlette.concurrency import run_in_threadpool

from stepwise_server import limits
from stepwise_server.errors import invalid
from stepwise_server.files import names
from stepwise_server.files.store import FileStore, Incoming

BOUNDARY = re.compile(rb'multipart/form-data\s*;.*?boundary=(?:"([^"]+)"|([^;\s]+))', re.IGNORECASE)

# Senders write a quote in a name as %22, so the name ends at the next quote and a backslash is one.
FIELD_NAME = re.compile(rb'form-data\b.*?;\s*name=(?:"([^"]*)"|([^;\s]+))', re.IGNORECASE | re.DOTALL)


async def receive(chunks: AsyncIterator[bytes], content_type: str, store: FileStore, user: str) -> list[str]:
    """Store every part of a multipart body under the name of its form field.

    Args:
        chunks: the body.
        content_type: of the request, with the boundary.
        store: that takes the files.
        user: id of the sender.

    Returns:
        The names, cleaned.

    Raises:
        ApiError: 400/12 if the body is no multipart form or a name is not possible.
        OSError: if the disk is full.
    """
    boundary = BOUNDARY.search(content_type.encode("latin-1", "replace"))
    if not boundary:
        raise invalid("files are uploaded as multipart/form-data", content_type=content_type[:100])
    parts = Parts(store, boundary[1] or boundary[2])
    waiting, size = [], 0
    try:
        async for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= limits.UPLOAD_CHUNK_BYTES:
                await run_in_threadpool(parts.feed, b"".join(waiting))
                waiting, size = [], 0
        await run_in_threadpool(parts.feed, b"".join(waiting))
        return await run_in_threadpool(parts.keep, user)
    finally:
        await run_in_threadpool(parts.discard)


class Parts:
    """The parts of one body, written to the store as they arrive.

    Args:
        store: that takes them.
        boundary: between them.
    """

    def __init__(self, store: FileStore, boundary: bytes) -> None:
        self._store, self._files = store, list[Incoming]()
        self._header, self._value, self._name = b"", b"", b""
        self._ended = False
        callbacks: dict[str, Callable[..., Any]] = {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._data,
            "on_part_end": self._finish,
            "on_end": self._end,
        }
        try:
            self._parser = python_multipart.MultipartParser(
                boundary,
                callbacks,  # type: ignore[arg-type]
                max_header_size=limits.UPLOAD_HEADER_BYTES,
            )
        except FormParserError as error:
            raise invalid(f"the body is no multipart form: {error}") from None

    def feed(self, chunk: bytes) -> None:
        """Take more of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError as error:
            raise invalid(f"the body is no multipart form: {error}") from None

    def keep(self, user: str) -> list[str]:
        """Give the finished parts their places in the store."""
        if not self._ended or not self._files:
            raise invalid("the body ends before its last part does" if self._files else "no file was sent")
        return self._store.keep(self._files, user)

    def discard(self) -> None:
        """Remove what was not kept."""
        for file in self._files:
            file.discard()

    def _begin(self) -> None:
        self._name = b""

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition" and (found := FIELD_NAME.search(self._value)):
            self._name = found[1] or found[2] or b""
        self._header = self._value = b""

    def _open(self) -> None:
        if len(self._files) >= limits.UPLOAD_FILES:
            raise invalid("too many files in one upload", limit=limits.UPLOAD_FILES)
        try:
            name = names.clean(self._name.decode("utf-8"))
        except UnicodeDecodeError:
            raise invalid("a file's name is no valid UTF-8") from None
        self._files.append(Incoming(self._store, name))

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._files[-1].write(data[start:end])

    def _finish(self) -> None:
        self._files[-1].finish()

    def _end(self) -> None:
        self._ended = True
