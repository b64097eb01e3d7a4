"""The part of the logger for everything that is not a number: texts, tables, pictures, files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from loguru import logger as log

from stepwise_track import limits
from stepwise_track.artifacts import save_artifact
from stepwise_track.capture.ranks import RankSession
from stepwise_track.capture.watch import Watch
from stepwise_track.errors import TrackError
from stepwise_track.events import (
    Artifact,
    Checkpoint,
    Configuration,
    Histogram,
    InputDataset,
    Parameters,
    Picture,
    Scalars,
    Table,
    Text,
)
from stepwise_track.files import as_array, optimizer_path, reference_files, save_checkpoint, save_picture
from stepwise_track.reports import REPORT_COLUMNS, report_rows
from stepwise_track.secrets import redact_tree
from stepwise_track.session import RunSession
from stepwise_track.values import as_number, as_plain, as_step


class RichLogger:
    """Logs texts, tables, pictures, histograms, checkpoints and artifacts to a session.

    Files are referenced by path and SHA-256; one from outside the run folder is copied in.
    """

    def __init__(self, session: RunSession | RankSession) -> None:
        self._session = session
        self._watches: list[Watch] = []
        self._told_of_gradients = False
        self.run_dir = session.run_dir
        self.name = session.run_dir.name

    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Log words, such as a note or an example."""
        self._session.append(Text(name, text, _optional_step(step)))

    def log_text_generation(
        self,
        prompt: str,
        generated_text: str,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        step: int | None = None,
    ) -> None:
        """Log a text that the model produced, with its prompt and the sampling settings."""
        settings = {"temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
        info = {"prompt": prompt} | {
            key: as_plain(item) for key, item in settings.items() if item is not None
        }
        self._session.append(Text("text_generation", generated_text, _optional_step(step), info))

    def log_table(
        self,
        name: str,
        rows: Any,
        columns: Sequence[str] | None = None,
        step: int | None = None,
        *,
        on_model: bool = False,
    ) -> None:
        """Log a table.

        Args:
            name: its name.
            rows: a list of mappings, a list of lists (with `columns`), or a pandas DataFrame.
            columns: names of the columns; by default those of the rows, in order of appearance.
            step: training step.
            on_model: whether it describes the run's model, and is to be shown with that too.

        Raises:
            TrackError: if a row has another number of cells than there are columns.
        """
        if hasattr(rows, "to_dict"):  # a DataFrame
            rows, columns = rows.to_dict("records"), columns or list(rows.columns)
        mappings = [row for row in rows if isinstance(row, Mapping)]
        if columns is None:
            columns = list(dict.fromkeys(key for row in mappings for key in row))
        cells = tuple(
            tuple(as_plain([row.get(key) for key in columns] if isinstance(row, Mapping) else row))
            for row in rows
        )
        if odd := next((row for row in cells if len(row) != len(columns)), None):
            raise TrackError(
                f"table {name!r} has {len(columns)} columns, but a row of {len(odd)} cells",
                hint="give `columns`, and one cell for each in every row",
            )
        self._session.append(Table(name, tuple(map(str, columns)), cells, _optional_step(step), on_model))

    def log_classification_report(
        self,
        report: Any,
        predictions: Any = None,
        *,
        step: int | None = None,
        name: str = "Classification Report",
    ) -> None:
        """Log precision, recall, F1 and support of every class, as a table of the run and of its model.

        Args:
            report: what scikit-learn's `classification_report(…, output_dict=True)` returns, or the true
                labels.
            predictions: the predicted labels, if `report` is the true ones.
            step: training step.
            name: name of the table.

        Raises:
            TrackError: if the report is no mapping, or labels and predictions differ in number.
        """
        rows = report_rows(report, predictions)
        self.log_table(name, rows, ["class", *REPORT_COLUMNS], step, on_model=True)

    def log_config_object(self, name: str, config: Any) -> None:
        """Log a configuration in its own words, beside the parameters.

        Args:
            name: what it configures, such as `model`.
            config: the text of a file, or anything that can be a parameter (kept as JSON).
        """
        text = config if isinstance(config, str) else json.dumps(redact_tree(as_plain(config)), indent=2)
        self._session.append(Configuration(name, text))

    def log_dataset(
        self, name: str, version: str, project: str | None = None, info: Mapping[str, Any] | None = None
    ) -> None:
        """Log which data the run reads, as an input and as the parameters `dataset.name`, `dataset.version`.

        Args:
            name: name of the data.
            version: which state of it, such as `1.2.1` or a content hash.
            project: project that the tracker keeps it in.
            info: what else is known of it, such as sizes.
        """
        plain = None if info is None else as_plain(info)
        self._session.append(Parameters({"dataset": {"name": name, "version": str(version)}}))
        self._session.append(InputDataset(name, str(version), project, plain))

    def log_figure(self, name: str, figure: Any, step: int | None = None) -> None:
        """Log a matplotlib or plotly figure, or the path of one that is saved already.

        Raises:
            TrackError: if it is none of these.
        """
        if self._session.silent:
            return
        with self._session.surviving_full_disk():
            file = save_picture(self.run_dir, name, figure, _optional_step(step))
            self._session.append(Picture(name, file, "figure", _optional_step(step)))

    def log_image(self, name: str, image: Any, step: int | None = None) -> None:
        """Log a picture.

        Args:
            name: what it shows.
            image: a path, a Pillow image, or an array [H, W], [H, W, 3] or [H, W, 4]; uint8, or float in 0…1.
            step: training step.

        Raises:
            TrackError: if it is none of these.
        """
        if self._session.silent:
            return
        with self._session.surviving_full_disk():
            file = save_picture(self.run_dir, name, image, _optional_step(step))
            self._session.append(Picture(name, file, "image", _optional_step(step)))

    def log_histogram(self, name: str, values: Any, step: int | None = None) -> None:
        """Log the distribution of an array of any shape, as counts in `limits.HISTOGRAM_BINS` bins."""
        import numpy as np

        array = as_array(values).astype(np.float64).ravel()
        finite = array[np.isfinite(array)]
        counts, edges = np.histogram(finite, bins=limits.HISTOGRAM_BINS)
        self._session.append(
            Histogram(
                name,
                edges=tuple(edges.tolist()),
                counts=tuple(counts.tolist()),
                not_finite=array.size - finite.size,
                step=_optional_step(step),
            )
        )

    def watch(self, model: Any, every: int = 100, *, histograms: bool = True, prefix: str = "") -> None:
        """Log gradient norms and weight distributions of a model from now on, within `log_training_step`.

        Gradients are read as they are then: log a step after `backward()` and before `zero_grad()`. The training
        is not changed by it, but waits for the figures: about a millisecond for each parameter.

        Args:
            model: a torch module, or anything else whose `named_parameters()` are tensors.
            every: steps from one look to the next.
            histograms: whether to count the weights too, as `weights/<parameter>`.
            prefix: put before the names of blocks and parameters, to tell two models apart.

        Raises:
            TrackError: if `every` is not 1 or more, or the model has no `named_parameters`.
        """
        if as_step("every", every) < 1 or not hasattr(model, "named_parameters"):
            raise TrackError(
                f"cannot watch {type(model).__name__} every {every} steps",
                hint="give a torch module, and 1 or more steps",
            )
        self._watches.append(Watch(model, every, histograms=histograms, prefix=prefix))

    def log_watched(self, step: int) -> None:
        """Log the watched models as they are now, whether their steps have passed or not."""
        for watch in self._watches:
            self._look(watch, as_step("step", step))

    def _look(self, watch: Watch, step: int) -> None:
        """Log one watched model."""
        if self._session.silent:
            return
        if norms := watch.gradient_norms():
            self._session.append(Scalars(norms, step))
        else:
            self._warn_of_missing_gradients(step)
        for name, values in watch.weights():
            self.log_histogram(name, values, step)

    def _warn_of_missing_gradients(self, step: int) -> None:
        if not self._told_of_gradients:
            self._told_of_gradients = True
            log.warning(
                "no gradients to watch at step {}: log a step after backward() and before zero_grad()", step
            )

    def log_artifact(
        self, name: str, value: Any, metadata: Mapping[str, Any] | None = None, step: int | None = None
    ) -> None:
        """Log something that the run leaves behind: predictions, embeddings, a report.

        Args:
            name: what it is.
            value: the path of a file or of a folder; or text, bytes, an array or a tensor (kept as `.npy`), a
                mapping or a list (`.json`), or a DataFrame (`.csv`).
            metadata: kept with it.
            step: training step.

        Raises:
            TrackError: if it is none of these, or there is nothing at a path.
        """
        if self._session.silent:
            return
        with self._session.surviving_full_disk():
            files = save_artifact(self.run_dir, name, value, _optional_step(step))
            plain = None if metadata is None else as_plain(metadata)
            self._session.append(Artifact(name, files, "artifact", _optional_step(step), plain))

    def log_model(
        self,
        name: str,
        path: Path | str,
        framework: str = "pytorch",
        tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        *,
        config: Any = None,
        labels: Mapping[str, int] | None = None,
        publish: bool = False,
    ) -> None:
        """Log weights that are to be registered as a model.

        Args:
            name: name of the model.
            path: its file, or the folder of its files.
            framework: what reads the weights.
            tags: labels to find it by.
            metadata: kept with it.
            config: how it is built: a mapping, a dataclass or a pydantic model.
            labels: number of every class, by its name.
            publish: whether the registry is to take it as published, so that it cannot be changed any more.

        Raises:
            TrackError: if there is nothing at `path`.
        """
        if self._session.silent:
            return
        with self._session.surviving_full_disk():
            files = reference_files(self.run_dir, path)
            given = {"config": config, "labels": labels, "publish": publish or None}
            plain = {"framework": framework, "tags": list(tags)} | as_plain(metadata or {})
            plain |= {key: as_plain(item) for key, item in given.items() if item is not None}
            self._session.append(Artifact(name, files, "model", metadata=plain))

    def log_checkpoint(
        self,
        model: Any,
        optimizer: Any,
        epoch: Any,
        step: int,
        loss: Any,
        filepath: Path | str,
        is_best: bool = False,
        additional_metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Log a checkpoint, and save it first if a model is given.

        Args:
            model: a torch module, saved as safetensors (see `files.save_checkpoint`); None if `filepath` is
                written.
            optimizer: its optimiser, saved beside the model; or None.
            epoch: epoch, or None.
            step: optimiser steps done.
            loss: loss at this step, or None.
            filepath: a file, or a folder of files; relative to the current directory. A file that
                `log_checkpoint` did not write is recorded as it is, never overwritten.
            is_best: whether it is the best so far.
            additional_metadata: kept with it.

        Raises:
            TrackError: if there is nothing at `filepath` and no model is given, or safetensors is missing.
        """
        step = as_step("step", step)
        path = Path(filepath)
        if self._session.silent:
            return
        with self._session.surviving_full_disk():
            if model is not None:
                save_checkpoint(model, optimizer, path)
            files = reference_files(self.run_dir, path)
            if optimizer is not None and optimizer_path(path).exists():
                files += reference_files(self.run_dir, optimizer_path(path))
            self._session.append(
                Checkpoint(
                    files,
                    step,
                    epoch=None if epoch is None else as_number("epoch", epoch),
                    loss=None if loss is None else as_number("loss", loss),
                    is_best=bool(is_best),
                    metadata=None if additional_metadata is None else as_plain(additional_metadata),
                )
            )


def _optional_step(step: object) -> int | None:
    return None if step is None else as_step("step", step)
