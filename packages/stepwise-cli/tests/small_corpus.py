"""A parallel corpus small enough for a test, and a configuration that reads it."""

import gzip
import json
from pathlib import Path


def parallel(folder: Path, word: str = "hound") -> Path:
    """Write a small parallel corpus, and return a configuration that reads it by relative paths."""
    (folder / "corpus").mkdir(exist_ok=True)
    paths = {}
    for split in ("train", "valid", "test"):
        for side, language in (("source", "en"), ("target", "de")):
            file = folder / "corpus" / f"{split}.{language}.gz"
            lines = [f"{word} {split} {language} {number}" for number in range(40)]
            file.write_bytes(gzip.compress("\n".join(lines).encode(), mtime=0))
            paths[f"{split}_{side}"] = f"corpus/{file.name}"
    config = {
        "preset": "modern",
        "model": {"d_model": 16, "n_heads": 2, "n_layers": 1, "max_length": 64},
        "data": {"name": "parallel", "parallel": paths},
        "training": {"max_steps": 2, "warmup_steps": 1, "device": "cpu", "threads": 1},
        "logging": {"log_code": False},
    }
    (folder / "mine.json").write_text(json.dumps(config))
    return folder / "mine.json"
