"""The attention of one test sentence that a training leaves behind for pages to show."""

import json
from pathlib import Path


def test_every_kind_layer_and_head_is_there_and_each_row_is_a_distribution(trained: Path) -> None:
    found = json.loads((trained / "pictures" / "attention.json").read_text(encoding="utf-8"))
    assert set(found["kinds"]) == {"encoder", "decoder", "cross"} and found["whole"]
    for kind in found["kinds"].values():
        ((*heads,),) = kind["weights"]  # one layer
        assert len(heads) == 2
        for head in heads:
            assert len(head) == len(kind["rows"])
            for row in head:
                assert len(row) == len(kind["columns"])
                assert abs(sum(row) - 1000) <= len(row) / 2 + 1, "thousandths, each rounded"
    decoder = found["kinds"]["decoder"]["weights"][0][0]
    assert not any(any(row[number + 1 :]) for number, row in enumerate(decoder)), "none looks ahead"
