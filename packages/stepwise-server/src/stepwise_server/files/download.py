"""Downloads: a stored file, whole or in part, streamed out."""

import mimetypes
import re
from collections.abc import Iterator
from datetime import datetime
from email.utils import formatdate, parsedate_to_datetime
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from stepwise_server import limits
from stepwise_server.files.store import StoredFile

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)


def respond(request: Request, file: StoredFile) -> Response:
    """Answer GET or HEAD for a file; closes it when the answer is sent or the client is gone.

    `Range` takes one range; several are answered with the whole file, as HTTP allows.
    """
    etag = f'"{file.sha256 or f"{file.size}-{file.modified}"}"'
    headers = {
        "ETag": etag,
        "Last-Modified": formatdate(file.modified, usegmt=True),
        "Cache-Control": "private, max-age=300",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
    }
    kind = media_type(file.name)
    if any(word in kind for word in ("html", "svg", "xml")):
        # What was uploaded is no page of ours: a script in it must not act with the reader's cookie.
        headers["Content-Security-Policy"] = "sandbox allow-scripts"
    if _unchanged(request, etag, file.modified):
        file.content.close()
        return Response(status_code=304, headers=headers)
    if "download" in request.query_params:
        name = file.name.rpartition("/")[2]
        headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{quote(name, safe='')}"
    wanted = _range(request, etag, file)
    if wanted is None:
        file.content.close()
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    first, end = wanted
    partial = end - first < file.size
    if partial:
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - first)
    status = 206 if partial else 200
    if request.method == "HEAD":
        file.content.close()
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(_chunks(file, first, end), status, headers, kind)


def media_type(name: str) -> str:
    """Return the content type that a file's extension stands for; compressed files are only bytes."""
    guessed, encoding = mimetypes.guess_type(name, strict=False)
    return guessed if guessed and not encoding else "application/octet-stream"


def _chunks(file: StoredFile, first: int, end: int) -> Iterator[bytes]:
    with file.content as content:
        content.seek(first)
        while first < end and (chunk := content.read(min(limits.DOWNLOAD_CHUNK_BYTES, end - first))):
            first += len(chunk)
            yield chunk


def _unchanged(request: Request, etag: str, modified: float) -> bool:
    """Tell whether the client has this content already."""
    known = request.headers.get("if-none-match")
    if known is not None:
        tags = [tag.strip().removeprefix("W/") for tag in known.split(",")]
        return etag in tags or "*" in tags
    since = _date(request.headers.get("if-modified-since"))
    return since is not None and int(modified) <= since.timestamp()


def _range(request: Request, etag: str, file: StoredFile) -> tuple[int, int] | None:
    """Return first byte and end of what is wanted, all by default; None if there are no such bytes."""
    match = RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    still = request.headers.get("if-range")
    if not match or match.groups() == ("", "") or (still is not None and not _same(still, etag, file)):
        return 0, file.size
    if not match[1]:  # the last n bytes
        count = min(int(match[2]), file.size)
        return (file.size - count, file.size) if count else None
    first = int(match[1])
    last = min(int(match[2]), file.size - 1) if match[2] else file.size - 1
    if first >= file.size:
        return None
    return (first, last + 1) if last >= first else (0, file.size)


def _same(known: str, etag: str, file: StoredFile) -> bool:
    date = _date(known)
    return known.strip() == etag or (date is not None and date.timestamp() == int(file.modified))


def _date(text: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(text) if text else None
    except (ValueError, TypeError, OverflowError):
        return None
