"""Photos and the parts of a table in an object store, which moto's server imitates."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import boto3
import pyarrow.parquet
import pytest
from moto.server import ThreadedMotoServer

from captioner.cli.main import main
from tests.captioner.cli.test_caption_table import by_content

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an object store with a bucket that holds 12 photos, one of which is bad."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (ENVIRONMENT | {"AWS_ENDPOINT_URL": f"http://{host}:{port}"}).items():
            patch.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="library")
        for i in range(12):
            content = b"bad" if i == 3 else f"photo {i}".encode()
            client.put_object(Bucket="library", Key=f"photos/{i:03}.jpg", Body=content)
        yield client
    server.stop()


def files_of(s3: Any, folder: str) -> dict[str, Any]:
    """Return what the store says of the files in a folder, by their names."""
    found = s3.list_objects_v2(Bucket="library", Prefix=f"{folder}/").get("Contents", [])
    return {each["Key"].removeprefix(f"{folder}/"): each for each in found}


def test_parts_are_written_into_a_store(
    s3: Any, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer, out = by_content, "s3://library/captions"
    command = ["caption", "s3://library/photos", "--server", scripted.url, "--out", out]
    command += ["--part-size", "5"]
    assert main([*command, "--part", "1/2"]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 5 photos of share 1/2, 5 of them")
    assert [*files_of(s3, "captions")] == ["part-00001.parquet", "run.json"]
    before = files_of(s3, "captions")
    assert main(command) == 1
    assert capsys.readouterr() == (
        f"{out}: 12 photos, 7 of them captioned now\n",
        "captioner: 1 of 7 photos could not be captioned; the column error says why\n",
    )
    after = files_of(s3, "captions")
    assert before.items() <= after.items()  # with their times
    rows: list[dict[str, Any]] = []
    for number in range(3):
        part = f"part-{number:05}.parquet"
        content = s3.get_object(Bucket="library", Key=f"captions/{part}")["Body"].read()
        rows += pyarrow.parquet.read_table(io.BytesIO(content)).to_pylist()
        assert "-" not in after[part]["ETag"]  # in one request; one of several has a dash
    assert [row["photo"] for row in rows] == [f"s3://library/photos/{i:03}.jpg" for i in range(12)]
    captions = [None if i == 3 else f"photo {i}" for i in range(12)]
    assert [row["caption"] for row in rows] == captions
    s3.delete_object(Bucket="library", Key="captions/part-00002.parquet")
    assert main(command) == 0
    assert capsys.readouterr().out == f"{out}: 12 photos, 2 of them captioned now\n"
    assert files_of(s3, "captions").keys() == after.keys()
    assert main([*command, "--beam-size", "3"]) == 1
    assert f"{out} was begun with other settings: --beam-size" in capsys.readouterr().err


def test_a_bucket_that_is_not_there_is_one_line(
    s3: Any, scripted: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted.answer = by_content
    command = ["caption", "s3://library/photos", "--server", scripted.url]
    assert main([*command, "--out", "s3://elsewhere/captions"]) == 1
    assert scripted.asked == []
    (line,) = capsys.readouterr().err.splitlines()
    assert "bucket 'elsewhere'" in line
    assert "does not exist" in line
