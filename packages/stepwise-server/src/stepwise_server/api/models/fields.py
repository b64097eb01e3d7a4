"""What may be written into a model, checked."""

from typing import Any

import msgspec

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import free, members, part, reference, valid_labels, valid_name
from stepwise_server.errors import invalid
from stepwise_server.store import entities
from stepwise_server.store.database import Transaction
from stepwise_server.store.entities import MODEL, PROJECT, TASK, Document


class Metadata(msgspec.Struct):
    """One entry of `metadata`: a text with a label that says what type it has for the client."""

    key: str | None = None
    type: str | None = None
    value: str | None = None


def read_changes(tx: Transaction, call: Call, model: Document) -> Document:
    """Return the fields that a create, edit or update call writes.

    Raises:
        ApiError: 400/12 for wrong types, 400/16 for unknown references, 400/800 for a short name.
    """
    changes: Document = {}
    if call.given("name"):
        changes["name"] = valid_name(call.text("name"), "model")
    for text in ("uri", "comment", "framework"):
        if call.given(text):
            changes[text] = call.text(text)
    for tags in ("tags", "system_tags"):
        if call.given(tags):
            changes[tags] = entities.sorted_tags(call.texts(tags))
    if call.given("ready"):
        changes["ready"] = call.flag("ready")
    for field, entity in (("project", PROJECT), ("task", TASK), ("parent", MODEL)):
        if call.given(field):
            value = call.text(field)
            changes[field] = value if value == model.get(field) else reference(tx, entity, value, field)
    for name in ("design", "ui_cache"):
        if call.given(name):
            changes[name] = free(call.mapping(name), name)
    if call.given("labels"):
        changes["labels"] = valid_labels(part(call.params["labels"], dict[str, int], "labels"))
    if call.given("metadata"):
        changes["metadata"] = read_metadata(call.params["metadata"])
    return changes


def read_metadata(value: Any) -> Document:
    """Return metadata by key. Clients send a list of entries, or an object of entries by key.

    Raises:
        ApiError: 400/12 for wrong types, and for an entry without a key.
    """
    if isinstance(value, dict):
        named = part(value, dict[str, Metadata], "metadata")
        entries = [(each.key or key, each) for key, each in named.items()]
    else:
        entries = [(each.key or "", each) for each in part(value, list[Metadata], "metadata")]
    if any(not key for key, _ in entries):
        raise invalid("an entry of metadata has no key")
    return {key: {**members(entry), "key": key} for key, entry in entries}
