"""`data.version`: the data of a configuration in a certain version, with its files from the store if need be."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from stepwise_core.config.schema import DataConfig
from stepwise_core.data.dataset import SPLITS, Dataset
from stepwise_core.data.sources import SOURCES
from stepwise_core.data.sources.parallel import short_name
from stepwise_core.data.store import NUMBER, DataStore, Version
from stepwise_core.errors import DataError

ROLES = tuple(f"{split}_{side}" for split in SPLITS for side in ("source", "target"))
"""The six files of a dataset, by the keys of `data.parallel`."""

LIST = "stepwise data versions   (what there is)"


def dataset_name(config: DataConfig) -> str:
    """Return the name of the dataset that a configuration means, without loading it."""
    return short_name(config.parallel) if config.name == "parallel" else config.name


def missing_files(config: DataConfig) -> list[str]:
    """Return the files that a configuration names and that are not there; made data has none."""
    if config.name != "parallel":
        return []
    return [path for role in ROLES if not Path(path := str(getattr(config.parallel, role))).exists()]


def is_here(config: DataConfig, store: DataStore | None = None) -> bool:
    """Whether the data of a configuration can be loaded without asking a server for its version.

    Raises:
        DataError: if the store is damaged.
    """
    if config.version is None:
        return True
    by_number = re.fullmatch(NUMBER, config.version) is not None
    if not by_number and not missing_files(config):
        return True
    return (store or DataStore()).find(config.version, dataset_name(config)) is not None


def load_version(config: DataConfig) -> Dataset:
    """Load the data of a configuration, and make sure that it is the version that `config.version` names.

    Files that are not where the configuration says come from the store. A file that is there is used, and must be
    the right one.

    Raises:
        DataError: if the version is unknown, or the data is another one.
    """
    assert config.version is not None
    store, name, wanted = DataStore(), dataset_name(config), config.version
    version = store.find(wanted, name)
    absent = missing_files(config)
    if version is None and (absent or re.fullmatch(NUMBER, wanted)):
        what = f"{absent[0]} is not there, and version {wanted}" if absent else f"data.version = {wanted}: it"
        raise DataError(
            f"{what} of {name} is not in the store {store.folder}", hint=f"stepwise data pull {wanted}"
        )
    expected = version.hash if version else wanted
    dataset = SOURCES[config.name].load(_with_stored_files(config, store, version) if version else config)
    if absent and version:
        dataset = replace(dataset, name=version.name)
    if dataset.version != expected:
        label = wanted if wanted == expected else f"{wanted} ({expected})"
        raise DataError(
            f"the data of {name} is version {dataset.version}, but data.version asks for {label}", hint=LIST
        )
    return dataset


def _with_stored_files(config: DataConfig, store: DataStore, version: Version) -> DataConfig:
    """Point what a configuration names and is not there to the same in the store."""
    if config.name != "parallel":
        return config
    absent = set(missing_files(config))
    paths = config.parallel.model_dump()
    for role in ROLES:
        if paths[role] in absent:
            if role not in version.roles:
                raise DataError(f"{version.name} {version.number} has no {role}", hint=LIST)
            paths[role] = str(store.file(version, version.roles[role]))
    return config.model_copy(update={"parallel": config.parallel.model_copy(update=paths)})


def push_dataset(dataset: Dataset, config: DataConfig, number: str | None = None) -> Version:
    """Keep a dataset in the store: the files that it was read from, or for made data its texts, one a line.

    Args:
        dataset: as loaded.
        config: what it was loaded by.
        number: of the new version; by default the next one.

    Raises:
        DataError: if the number is taken.
        OSError: if the store cannot be written.
    """
    with _files_of(dataset, config) as files:
        paths = _short_paths(files)
        return DataStore().push(
            dataset.name, dataset.version, {paths[role]: files[role] for role in ROLES}, paths, number
        )


@contextmanager
def _files_of(dataset: Dataset, config: DataConfig) -> Iterator[dict[str, Path]]:
    """Give the six files of a dataset by role; those of made data are there only for the moment."""
    if config.name == "parallel":
        if absent := missing_files(config):
            raise DataError(f"{absent[0]}: no such file, so it cannot be pushed", hint=LIST)
        yield {role: Path(getattr(config.parallel, role)) for role in ROLES}
        return
    with TemporaryDirectory(prefix="stepwise-data-") as folder:
        files = {role: Path(folder) / role.replace("_", ".") for role in ROLES}
        for role, file in files.items():
            split, side = role.split("_")
            lines = (f"{getattr(pair, side)}\n" for pair in dataset.split(split))
            file.write_bytes("".join(lines).encode("utf-8"))
        yield files


def _short_paths(files: dict[str, Path]) -> dict[str, str]:
    """Return by role a path for each file: its name, below its role where two files share one."""
    names = [path.name for path in dict.fromkeys(files.values())]
    return {
        role: path.name if names.count(path.name) == 1 else f"{role}/{path.name}"
        for role, path in files.items()
    }
