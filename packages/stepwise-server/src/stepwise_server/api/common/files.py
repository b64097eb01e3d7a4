"""Files that nobody refers to any more."""

import re
from collections.abc import Sequence
from functools import partial

from stepwise_server.api.call import Call
from stepwise_server.store.database import Transaction


def remove_files(tx: Transaction, call: Call, urls: Sequence[str]) -> None:
    """Remove the files behind these URLs once the changes are safe; those of other servers are passed over.

    The call's `delete_external_artifacts: false` keeps them.
    """
    if urls and call.flag("delete_external_artifacts", default=True):
        tx.after_commit(partial(call.services.files.delete_urls, list(urls)))


def sdk_removes(call: Call) -> bool:
    """Tell whether the caller removes the files of what it deletes by itself, as the SDK does.

    It would report those that are gone already as failures, and some of them its user may want to keep: it asks
    `delete_artifacts_and_models` of its user, and tells us nothing of the answer.
    """
    client = call.headers.get("x-clearml-client") or call.headers.get("x-trains-client") or ""
    return re.search(r"\bclearml-\d", client) is not None
