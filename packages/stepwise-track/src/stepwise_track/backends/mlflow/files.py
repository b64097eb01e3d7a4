"""Files of a run in MLflow. Their names follow from the record, so that a repeat overwrites the same file."""

import json
import re
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.tracking import MlflowClient
from mlflow.tracking.multimedia import compress_image_size
from PIL import Image, UnidentifiedImageError

from stepwise_track.backends.protocol import Delivery, RunContext
from stepwise_track.backends.render import as_word, names_within
from stepwise_track.events import FileRef, Picture, Table
from stepwise_track.naming import file_stem, safe_name

CONSOLE_BYTES = 256 * 2**10
"""Size at which the next console file begins: every batch with lines sends the last one again."""


class RunFiles:
    """Sends files of one run.

    Args:
        run: the run.
        client: of MLflow.
        run_id: id of the run in MLflow.
    """

    def __init__(self, run: RunContext, client: MlflowClient, run_id: str) -> None:
        self._run, self._client, self._run_id = run, client, run_id

    def text(self, one: Delivery, folder: str, name: str, step: int | None, text: str) -> None:
        """Send a text."""
        suffix = PurePosixPath(name).suffix if folder == "configuration" else ".txt"
        self._client.log_text(self._run_id, text, f"{folder}/{_stem(one, name, step)}{suffix}")

    def json(self, one: Delivery, folder: str, name: str, step: int | None, content: Any) -> str:
        """Send plain values, with words for NaN and infinities; return the path."""
        path = f"{folder}/{_stem(one, name, step)}.json"
        self.tree(path, as_word(content))
        return path

    def tree(self, path: str, content: Any) -> None:
        """Send plain values to a path."""
        self._client.log_text(self._run_id, json.dumps(content, ensure_ascii=False, indent=1), path)

    def table(self, one: Delivery, event: Table) -> str:
        """Send a table as `load_table` reads it (pandas' `split`); its readers turn the words back into numbers."""
        rows = [list(row) for row in event.rows]
        return self.json(
            one, "tables", event.name, event.step, {"columns": list(event.columns), "data": rows}
        )

    def picture(self, one: Delivery, event: Picture) -> bool:
        """Send a picture; return whether MLflow's page shows it among the images."""
        source = self._run.find(event.file)
        if source is None:
            self._run.degrade("picture", "left out: the file was changed before its turn came")
            return False
        if not _is_png(source):
            self._run.degrade("picture", "as a file: MLflow shows PNG only")
            self._send_as(source, f"pictures/{_stem(one, event.name, event.step)}{source.suffix}")
            return False
        # The names that `log_image` makes, with the record in the place of a random UUID.
        key = re.sub(r"[^a-zA-Z0-9_\-. ]", "~", event.name)
        mark = uuid.uuid5(uuid.NAMESPACE_OID, one.id)
        stem = f"images/{key}+step+{event.step or 0}+timestamp+{round(one.time * 1000)}+{mark}"
        self._send_as(source, f"{stem}.png")
        with TemporaryDirectory() as folder, Image.open(source) as image:
            small = Path(folder) / "small.webp"
            compress_image_size(image.convert("RGBA")).save(small)
            self._send_as(small, f"{stem}+compressed.webp")
        return True

    def several(self, one: Delivery, name: str, files: Sequence[FileRef]) -> str | None:
        """Send the files of an artifact, each under its own name; return their folder, None if none was there."""
        parts = [safe_name(part) for part in name.split("/")]
        root = "/".join(parts if parts[0] == "checkpoints" else ["artifacts", *parts])
        root += f".{one.seq}"
        sent = False
        for file, place in zip(files, names_within(files), strict=True):
            source = self._run.find(file)
            if source is None:
                self._run.degrade(one.event.kind, "a file left out: it was changed before its turn came")
                continue
            folder = PurePosixPath(root, place).parent
            self._run.progress()
            self._client.log_artifact(self._run_id, str(source), str(folder))
            sent = True
        return root if sent else None

    def console(self, lines: list[str]) -> dict[str, int]:
        """Add lines to the console file, and send it; return what the state is to say of it then.

        A copy is kept beside the cursor. What a crash left in it beyond the state is cut off.
        """
        state: dict[str, int] = self._run.state.get("console") or {"number": 1, "size": 0}
        if not lines:
            return state
        number, size = state["number"], state["size"]
        path = self._console_path(number)
        if size > CONSOLE_BYTES or (size and not (path.exists() and path.stat().st_size >= size)):
            number, size = number + 1, 0
            path = self._console_path(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.truncate(size)
            file.write("".join(lines).encode("utf-8", "replace"))
        self._client.log_artifact(self._run_id, str(path), "console")
        return {"number": number, "size": path.stat().st_size}

    def _console_path(self, number: int) -> Path:
        return self._run.run_dir / "relay" / "mlflow" / f"{number:04}.log"

    def _send_as(self, source: Path, target: str) -> None:
        """Send a file under another name: MLflow takes the name of the file itself."""
        place = PurePosixPath(target)
        with TemporaryDirectory() as folder:
            copy = Path(folder) / place.name
            shutil.copyfile(source, copy)
            self._client.log_artifact(self._run_id, str(copy), str(place.parent))


def _is_png(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.format == "PNG"
    except UnidentifiedImageError:
        return False


def _stem(one: Delivery, name: str, step: int | None) -> str:
    """Return the name of a file without suffix; the number of the record keeps equal names apart."""
    return f"{file_stem(name, step)}.{one.seq}"
