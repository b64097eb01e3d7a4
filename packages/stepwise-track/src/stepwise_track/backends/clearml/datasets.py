"""Folders as ClearML datasets: the SDK's own `Dataset`, so that others find them where they look for data.

The SDK waits for an absent server without end: connect first (`Connection`), to be told.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from clearml import Dataset


def upload_dataset(folder: Path, project: str, name: str, number: str, tags: Sequence[str]) -> str:
    """Send the files of a folder as a new version of a dataset, whole: until the end it is not final.

    Args:
        folder: the files.
        project: of the dataset.
        name: of the dataset.
        number: of the version: 1.0.2.
        tags: to find it by.

    Returns:
        The id of the ClearML dataset.
    """
    with redirect_stdout(
        io.StringIO()
    ):  # the SDK tells every step; its warnings and errors are logged all the same
        dataset: Any = Dataset.create(
            dataset_name=name, dataset_project=project, dataset_version=number, dataset_tags=list(tags)
        )
        dataset.add_files(str(folder))
        dataset.upload(show_progress=False)
        dataset.finalize()
    return str(dataset.id)


def download_dataset(dataset_id: str, folder: Path) -> None:
    """Write the files of a dataset into a new folder."""
    with redirect_stdout(io.StringIO()):
        dataset: Any = Dataset.get(dataset_id=dataset_id)
        dataset.get_mutable_local_copy(str(folder))
