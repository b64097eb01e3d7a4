"""Files that nobody refers to any more."""

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
