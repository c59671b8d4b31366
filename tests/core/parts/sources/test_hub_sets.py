"""Sets at Hugging Face, from parquet files in the form that it gives them, by a server that stands for it."""

import io
import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from finetune_core.data.chosen import arranged
from finetune_core.errors import UserError
from finetune_core.parts.sources import HubSet
from finetune_core.recipe import Data, Recipe
from finetune_core.runs import preflight

RANDOM = np.random.default_rng(0)


def picture(form: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 255, (30, 30, 3), dtype=np.uint8)).save(file, form)
    return file.getvalue()


def table(labels: list, form: str = "PNG", names: tuple[str, ...] = (), column: str = "label") -> pa.Table:
    pictures = [{"bytes": picture(form), "path": None} for _ in labels]
    made = pa.table({"img": pictures, column: labels, "id": list(range(len(labels)))})
    features: dict = {"img": {"_type": "Image"}}
    if names:
        features[column] = {"names": list(names), "_type": "ClassLabel"}
    return made.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


class Hub:
    """What Hugging Face answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        made = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        self.http, self.url = made, f"http://127.0.0.1:{made.server_address[1]}"
        Thread(target=made.serve_forever, daemon=True).start()

    def offer(self, name: str, **splits: pa.Table) -> None:
        place = self.folder / "api" / "datasets" / name
        place.mkdir(parents=True)
        for split, rows in splits.items():
            parquet.write_table(rows, self.folder / f"{split}.parquet", row_group_size=5)
        urls = {split: [f"{self.url}/{split}.parquet"] for split in splits}
        (place / "parquet").write_text(json.dumps({"default": urls}))


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    (tmp_path / "hub").mkdir()
    made = Hub(tmp_path / "hub")
    monkeypatch.setenv("HF_ENDPOINT", made.url)
    yield made
    made.http.shutdown()


def test_names_and_sides_are_the_sets_own(hub: Hub) -> None:
    names = ("cat/kitten", "dog")
    rows = {"train": table([0, 1] * 6, names=names), "validation": table([0, 1], names=names)}
    hub.offer("who/pets", **rows, test=table([1, 0], "JPEG", names=names))
    source = HubSet(name="who/pets")
    assert "huggingface.co/datasets/who/pets" in source.coming()
    samples, parts = arranged(source.samples(), Data(source=source))
    assert samples.classes == ("cat-kitten", "dog")
    assert [len(side) for side in parts.sides] == [12, 2, 2]
    assert {path.suffix for path in samples.paths} == {".png", ".jpg"}
    assert not source.coming()
    hub.http.shutdown()
    assert len(source.samples()) == 16, "the second time nothing is asked for"


def test_labels_in_words_and_columns_by_name(hub: Hub) -> None:
    hub.offer("words", train=table(["red", "blue", "red", "blue", "../up", "../up", None], column="colour"))
    with pytest.raises(UserError, match="no column with classes") as caught:
        HubSet(name="words").samples()
    assert "colour" in caught.value.why
    samples = HubSet(name="words", label="colour").samples()
    assert samples.classes == ("-up", "blue", "red")
    assert len(samples) == 6


@pytest.mark.parametrize("name", ["no such", "a/b/c", "../up", "http://x", ""])
def test_what_is_no_name_is_told(hub: Hub, name: str) -> None:
    with pytest.raises(UserError, match=r"no name of a set|No set is named"):
        HubSet(name=name).samples()


def test_a_set_that_is_not_there_or_says_nonsense_is_told(hub: Hub) -> None:
    with pytest.raises(UserError, match="cannot be had"):
        HubSet(name="not/there").samples()
    hub.offer("odd", train=table([0, 1]))
    (hub.folder / "api/datasets/odd/parquet").write_text("<html>")
    with pytest.raises(UserError, match="does not say what is in"):
        HubSet(name="odd").samples()
    hub.offer("broken", train=table([0, 1]))
    (hub.folder / "train.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(UserError, match="damaged"):
        HubSet(name="broken").samples()
    parquet.write_table(table([0, 1, 0, 1]), hub.folder / "train.parquet")
    assert len(HubSet(name="broken").samples()) == 4, "the next try is a new one"


def test_preflight_tells_before(hub: Hub) -> None:
    recipe = Recipe().with_value("data.source", {"kind": "hub_set", "name": "who/pets"})
    assert "not on this machine yet" in next(each for each in preflight.findings(recipe) if each.title == "Data").text
    nameless = Recipe().with_value("data.source", {"kind": "hub_set"})
    assert next(each for each in preflight.findings(nameless) if each.title == "Data").level == "next"
