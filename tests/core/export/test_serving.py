"""A model behind an address: real HTTP, a real process, and the answers of `predict`."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from finetune_core.recipe import Recipe
from finetune_core.runs import store
from finetune_core.runs.work.worker import work
from finetune_core.understand import predict
from tests.e2e.conftest import free_port


@pytest.fixture
def served(tiny: Recipe) -> Iterator[tuple[store.Run, str]]:
    run = store.create(tiny.with_value("phases.0.epochs", 1))
    assert work(run) == 0
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "finetune_core", "serve", str(run.path), "--port", str(port)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert "answers at" in process.stdout.readline()
    process.stdout.readline()
    yield run, f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


def _sent(url: str, body: bytes | None = None, **headers: str) -> tuple[int, str]:
    for _ in range(50):
        try:
            with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except urllib.error.URLError:  # it has said where it will listen, not yet that it does
            time.sleep(0.1)
    raise AssertionError("it does not listen")


def test_pictures_are_answered_as_predict_does_and_nonsense_in_words(
    served: tuple[store.Run, str], odd_photos: list[Path]
) -> None:
    run, url = served
    predictor = predict.load(run, "cpu")
    for photo in odd_photos:
        code, said = _sent(f"{url}/predict?top=2", photo.read_bytes())
        assert code == 200
        answers = [(each["name"], each["value"]) for each in json.loads(said)["answers"]]
        own = predictor([photo], 2)[0]
        assert [name for name, _ in answers] == [name for name, _ in own]
        assert [value for _, value in answers] == pytest.approx([value for _, value in own], abs=1e-5)
    for body, code, words in ((b"hello", 400, "not a JPEG"), (b"", 400, "No picture"), (b"\xff\xd8\xff", 400, "")):
        got, said = _sent(f"{url}/predict", body)
        assert (got, words in said) == (code, True)
        assert "Traceback" not in said
    assert _sent(f"{url}/predict?top=many", b"x")[0] == 400
    assert _sent(f"{url}/about", Host="somewhere.example")[0] == 400
    form = (
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + photo.read_bytes() + b"\r\n--b--"
    )
    code, said = _sent(f"{url}/predict", form, **{"Content-Type": "multipart/form-data; boundary=b"})
    assert (code, "Only the picture itself" in said) == (400, True)
    page = _sent(url)[1]
    assert "class_0" in page
    assert "/*ASKING*/" not in page
