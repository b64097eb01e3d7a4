"""storage.*: access to foreign storage, as it is entered on the settings page of the web app.

This server stores no files elsewhere; it keeps the settings for those who move on with a copy of the database.
They hold secrets, so only admins read and write them.
"""

import json
from typing import Any

from stepwise_server.api.call import Call
from stepwise_server.api.common.fields import free
from stepwise_server.api.registry import endpoint
from stepwise_server.store.database import Transaction

PROVIDERS = ("aws", "azure", "google")
SETTING = "storage"


@endpoint("storage.get_settings")
def get_settings(tx: Transaction, call: Call) -> dict[str, Any]:
    """Answer with the settings; with none for those who may not know them."""
    return {"settings": _stored(tx) if call.caller.may("admin") else {}}


@endpoint("storage.set_settings", writes=True, role="admin")
def set_settings(tx: Transaction, call: Call) -> dict[str, Any]:
    """Replace the settings of the given providers."""
    given = {name: free(call.mapping(name), name) for name in PROVIDERS if call.given(name)}
    return _save(tx, {**_stored(tx), **given})


@endpoint("storage.reset_settings", writes=True, role="admin")
def reset_settings(tx: Transaction, call: Call) -> dict[str, Any]:
    """Forget the settings of the given providers; of all without `keys`."""
    keys = call.texts("keys", PROVIDERS)
    return _save(tx, {name: value for name, value in _stored(tx).items() if name not in keys})


def _stored(tx: Transaction) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads(
        tx.value("SELECT value FROM settings WHERE name = ?", [SETTING]) or "{}"
    )
    return stored


def _save(tx: Transaction, settings: dict[str, Any]) -> dict[str, Any]:
    if settings == _stored(tx):
        return {"updated": 0}
    tx.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", [SETTING, json.dumps(settings)])
    return {"updated": 1}
