"""organization.prepare_download_for_get_all and download_for_get_all: a table as CSV."""

import csv
import dataclasses
import io
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

from stepwise_server import limits
from stepwise_server.api import queries
from stepwise_server.api.call import Call, Reply
from stepwise_server.api.registry import endpoint
from stepwise_server.errors import invalid
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, PROJECT, TASK, Document, Entity, new_id
from stepwise_server.store.query.paths import split

MOST_PREPARED = 100
"""Downloads that wait to be fetched; beyond that the oldest is forgotten."""


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        path: where the value lies in the document, as clients write paths.
        words: what is written in place of certain values.
    """

    title: str
    path: str
    words: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class Download:
    """A table that somebody asked for.

    Attributes:
        user: who did.
        entity: of the rows.
        params: the query.
        columns: of the table.
        expires: when it is forgotten, on the monotonic clock.
    """

    user: str
    entity: Entity
    params: Document
    columns: list[Column]
    expires: float


class Downloads:
    """The tables that wait to be fetched."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, Download] = OrderedDict()

    def keep(self, download: Download) -> str:
        """Remember a table; return the id that it is fetched by."""
        prepare_id = new_id()
        with self._lock:
            self._waiting[prepare_id] = download
            while len(self._waiting) > MOST_PREPARED:
                self._waiting.popitem(last=False)
        return prepare_id

    def find(self, prepare_id: str, user: str) -> Download:
        """Return a table.

        Raises:
            ApiError: 400/12 if this user prepared none with that id, or too long ago.
        """
        with self._lock:
            download = self._waiting.get(prepare_id)
        if download is None or download.user != user or download.expires < time.monotonic():
            raise invalid("no download was prepared under this id", prepare_id=prepare_id)
        return download


def _downloads(call: Call) -> Downloads:
    downloads = call.services.state.setdefault("downloads", Downloads())
    assert isinstance(downloads, Downloads)
    return downloads


@endpoint("organization.prepare_download_for_get_all")
def prepare(tx: Transaction, call: Call) -> dict[str, Any]:
    """Remember a query and the columns of its table; the browser then fetches it like a file."""
    entity = _entity(call)
    columns = [_column(each) for each in call.items("field_mappings")]
    if not columns:
        raise invalid("field_mappings names no field")
    params = {
        name: value for name, value in call.params.items() if name not in ("scroll_id", "size", "start")
    }
    params |= {"only_fields": [column.path for column in columns], "page": 0, "page_size": 1}
    queries.find(tx, dataclasses.replace(call, params=params), entity, expanded=True)  # raises now, not later
    expires = time.monotonic() + limits.SCROLL_SECONDS
    return {"prepare_id": _downloads(call).keep(Download(call.user, entity, params, columns, expires))}


def _entity(call: Call) -> Entity:
    """Return what the rows are of, named in the singular or plural."""
    wanted = call.required("entity_type")
    for entity in (TASK, MODEL, PROJECT):
        if wanted in (entity.name, entity.table):
            return entity
    raise invalid("entity_type is task, model or project", value=wanted)


def _column(mapping: Document) -> Column:
    path, title, words = mapping.get("field"), mapping.get("name"), mapping.get("values") or []
    title = path if title is None else title
    if not isinstance(path, str) or not path or not isinstance(title, str) or not isinstance(words, list):
        raise invalid("a field mapping has a field, a name and values", value=mapping)
    pairs = [each for each in words if isinstance(each, dict) and "key" in each]
    return Column(title, path, {str(each["key"]): str(each.get("value", "")) for each in pairs})


@endpoint("organization.download_for_get_all")
def download(tx: Transaction, call: Call) -> Reply:
    """Return the table that was prepared."""
    prepared = _downloads(call).find(call.required("prepare_id"), call.user)
    chunks = list(_chunks(tx, call, prepared))
    return Reply(
        body=iter(chunks), media_type="text/csv; charset=utf-8", filename=f"{prepared.entity.table}.csv"
    )


def _chunks(tx: Transaction, call: Call, prepared: Download) -> Iterator[bytes]:
    """Yield the text of the table, a page of rows at a time."""
    yield "\ufeff".encode() + _lines([[column.title for column in prepared.columns]])
    page, rows = 0, limits.PAGE_ROWS
    while rows == limits.PAGE_ROWS:
        params = {**prepared.params, "page": page, "page_size": limits.PAGE_ROWS}
        answer = queries.find(tx, dataclasses.replace(call, params=params), prepared.entity, expanded=True)
        found = answer[prepared.entity.table]
        yield _lines([[_cell(document, column) for column in prepared.columns] for document in found])
        page, rows = page + 1, len(found)


def _lines(rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(document: Document, column: Column) -> str:
    """Return the text of a cell; a text that a spreadsheet would run as a formula begins with an apostrophe."""
    value: Any = document
    for key in split(column.path):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value = value.get("name", value.get("id", ""))
    if isinstance(value, list):
        value = ", ".join(str(each) for each in value)
    text = "" if value is None else str(value)
    text = column.words.get(text, text)
    return "'" + text if text[:1] in ("=", "+", "@", "\t", "\r") else text
