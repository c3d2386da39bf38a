from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.data import datasets
from training.data.datasets import Dataset, Example, InvalidDataset, Problem, TarMember

SENTENCES = [{"raw": "A shape.", "tokens": ["a", "shape"]}, {"tokens": ["one", "shape"]}]
CAPTIONS = ("A shape.", "one shape")
NAMES = ["blue_circle.jpg", "blue_square.jpg", "red_circle.jpg", "red_square.jpg"]


def split_of(dataset: Dataset) -> dict[str, str | None]:
    return {example.name: example.split for example in dataset.examples}


def found(dataset: Dataset) -> list[tuple[str, str]]:
    return [(problem.kind, str(problem)) for problem in dataset.problems]


def assert_reads(dataset: Dataset, form: str, render: Callable[..., bytes]) -> None:
    """Both captions of the photos that the test drew, no problem, and the photos' own bytes."""
    assert (dataset.format, dataset.problems) == (form, ())
    assert {example.captions for example in dataset.examples} == {CAPTIONS}
    for example in dataset.examples:
        color, shape = Path(example.name).stem.split("_")
        assert example.photo.read_bytes() == render(color, shape), example.name


def without_lists(folder: Path) -> None:
    for path in folder.glob("Flickr_8k.*"):
        path.unlink()


def test_kaggle_folder(dataset: Path) -> None:
    read = datasets.read(dataset)
    assert read.format == "kaggle"
    train = datasets.of_split(read.examples, "train")
    assert [e.name for e in train] == [
        "red_circle.jpg", "red_square.jpg", "blue_circle.jpg", "blue_square.jpg",
    ]  # fmt: skip
    assert train[0] == Example(
        "red_circle.jpg",
        dataset / "Images" / "red_circle.jpg",
        ("A red circle .", "red circle"),
        "train",
    )
    assert len(datasets.of_split(read.examples, "val")) == 4
    assert {kind for kind, _ in found(read)} == {datasets.IN_SEVERAL_SPLITS}
    with pytest.raises(InvalidDataset, match="no split 'test'; it has train, val"):
        datasets.of_split(read.examples, "test")


def test_kaggle_folder_without_lists_has_no_splits(dataset: Path) -> None:
    without_lists(dataset)
    read = datasets.read(dataset)
    assert [(e.split, len(e.captions)) for e in read.examples] == [(None, 2)] * 4
    assert read.problems == ()


def test_photos_in_no_list_are_left_out_and_told(dataset: Path) -> None:
    (dataset / "Flickr_8k.trainImages.txt").write_text("red_circle.jpg\nred_square.jpg\n")
    (dataset / "Flickr_8k.devImages.txt").unlink()
    read = datasets.read(dataset)
    assert split_of(read) == {"red_circle.jpg": "train", "red_square.jpg": "train"}
    kind = datasets.IN_NO_SPLIT
    assert read.problems == (Problem(kind, "blue_circle.jpg"), Problem(kind, "blue_square.jpg"))


def test_captions_hold_commas_quoted_or_not(dataset: Path) -> None:
    without_lists(dataset)
    path = dataset / "captions.txt"
    path.write_text(
        path.read_text()
        + 'red_circle.jpg,"A ball, a red one , lies here ."\n'
        + 'red_circle.jpg,Round , red .\nred_circle.jpg,"Never closed\nred_circle.jpg,The end\n'
    )
    assert datasets.read(dataset).examples[0].captions[2:] == (
        "A ball, a red one , lies here .",
        "Round , red .",
        "Never closed",
        "The end",
    )


def test_a_line_without_a_caption_is_named(dataset: Path) -> None:
    without_lists(dataset)
    with open(dataset / "captions.txt", "a") as file:
        file.write("red_circle.jpg\n\n")
    assert found(datasets.read(dataset)) == [
        (datasets.BAD_ROW, "captions.txt line 10 (it has no comma)")
    ]


def test_problems_are_collected(dataset: Path) -> None:
    without_lists(dataset)
    with open(dataset / "captions.txt", "a") as file:
        file.write(f"red_circle.jpg, .\nred_square.jpg,{'very ' * 50}red\n")
        file.write("lost.jpg,A lost photo\nmute.jpg,\n")
    (dataset / "Images" / "mute.jpg").write_bytes(b"")
    lists = "red_circle.jpg\nred_square.jpg\nlost.jpg\nmute.jpg\nred_circle.jpg\nnever.jpg\n"
    (dataset / "Flickr_8k.trainImages.txt").write_text(lists)
    read = datasets.read(dataset)
    assert found(read) == [
        (datasets.EMPTY_CAPTION, "red_circle.jpg"),
        (datasets.LONG_CAPTION, "red_square.jpg (51 words)"),
        (datasets.MISSING, "lost.jpg"),
        (datasets.EMPTY_CAPTION, "mute.jpg"),
        (datasets.NO_CAPTION, "mute.jpg"),
        (datasets.DUPLICATE, "red_circle.jpg"),
        (datasets.MISSING, "never.jpg"),
        (datasets.IN_NO_SPLIT, "blue_circle.jpg"),
        (datasets.IN_NO_SPLIT, "blue_square.jpg"),
    ]
    assert [len(e.captions) for e in read.examples] == [2, 2]
    assert len(datasets.read(dataset, max_words=51).examples[1].captions) == 3


@pytest.fixture
def karpathy(dataset: Path) -> dict[str, Any]:
    images = [
        {"filename": name, "split": split, "sentences": SENTENCES}
        for name, split in zip(NAMES, ("train", "restval", "val", "test"), strict=True)
    ]
    (dataset / "captions.txt").unlink()
    return {"images": images, "dataset": "shapes"}


def write(source: Path, document: Any) -> Path:
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(json.dumps(document))
    return source


def test_karpathy_json(
    dataset: Path, karpathy: dict[str, Any], render: Callable[..., bytes]
) -> None:
    source = dataset / "dataset.json"
    read = datasets.read(write(source, karpathy))
    assert_reads(read, "karpathy", render)
    assert split_of(read) == dict(zip(NAMES, ("train", "train", "val", "test"), strict=True))

    # Two photos may have one name if their folders differ.
    first, second = karpathy["images"][:2]
    for image, folder in ((first, "train2014"), (second, "val2014")):
        inner = dataset / "Images" / folder
        inner.mkdir()
        (dataset / "Images" / image["filename"]).rename(inner / "blue_circle.jpg")
        image |= {"filepath": folder, "filename": "blue_circle.jpg"}
    read = datasets.read(write(source, karpathy))
    assert list(split_of(read))[:2] == ["train2014/blue_circle.jpg", "val2014/blue_circle.jpg"]
    assert not read.problems


@pytest.mark.parametrize(
    ("change", "kind", "name"),
    [
        ({"split": "extra"}, datasets.BAD_ROW, "images[1] (split 'extra' is none of"),
        ({"split": []}, datasets.BAD_ROW, "images[1] ("),
        ({"sentences": 5}, datasets.BAD_ROW, "images[1] ("),
        ({"sentences": [{}]}, datasets.BAD_ROW, "images[1] (it has no 'tokens')"),
        ({"sentences": [{"tokens": "a shape"}]}, datasets.BAD_ROW, "images[1] ('tokens' is str"),
        ({"sentences": [{"raw": None}]}, datasets.BAD_ROW, "images[1] (its captions are not all"),
        ({"filename": None}, datasets.BAD_ROW, "images[1] ("),
        ({"filename": "x" * 999}, datasets.BAD_ROW, "images[1] ("),
        ({"sentences": []}, datasets.NO_CAPTION, "blue_square.jpg"),
        ({"filename": "gone.jpg"}, datasets.MISSING, "gone.jpg"),
        ({"filename": "blue_circle.jpg"}, datasets.DUPLICATE, "blue_circle.jpg"),
        ({"split": None}, datasets.IN_NO_SPLIT, "blue_square.jpg"),
    ],
)
def test_a_bad_row_is_a_problem_and_the_reading_goes_on(
    dataset: Path, karpathy: dict[str, Any], change: dict[str, Any], kind: str, name: str
) -> None:
    karpathy["images"][1] |= change
    read = datasets.read(write(dataset / "dataset.json", karpathy))
    [problem] = read.problems
    assert problem.kind == kind
    assert str(problem).startswith(name)
    assert list(split_of(read)) == [NAMES[0], *NAMES[2:]]


def test_a_row_that_is_no_object(dataset: Path, karpathy: dict[str, Any]) -> None:
    karpathy["images"][1] = "blue_square.jpg"
    read = datasets.read(write(dataset / "dataset.json", karpathy))
    assert [(p.kind, p.name) for p in read.problems] == [(datasets.BAD_ROW, "images[1]")]


@pytest.mark.parametrize("folder", ["images", ".", "../val2017"])
def test_coco_json(dataset: Path, folder: str, render: Callable[..., bytes]) -> None:
    images = [{"id": i, "file_name": name} for i, name in enumerate(NAMES)]
    annotations = [{"image_id": i, "caption": text} for text in CAPTIONS for i in range(4)]
    document = {"images": images, "annotations": annotations}
    source = write(dataset / "annotations" / "captions_val2017.json", document)
    for name in NAMES:
        (source.parent / folder).mkdir(exist_ok=True)
        (dataset / "Images" / name).rename(source.parent / folder / name)
    read = datasets.read(source)
    assert_reads(read, "coco", render)
    assert split_of(read) == dict.fromkeys(NAMES)

    annotations += [{"image_id": 9, "caption": "Nobody's"}, {"caption": "Of what?"}]
    assert found(datasets.read(write(source, document))) == [
        (datasets.BAD_ROW, "annotations[9] (it has no 'image_id')"),
        (datasets.BAD_ROW, "annotations of image_id 9 (no image has this id)"),
    ]

    document = {"images": images, "annotations": annotations[:8]}
    images[1] = {"id": 0, "file_name": NAMES[1]}
    images[2] = {"id": 2}
    assert found(datasets.read(write(source, document))) == [
        (datasets.BAD_ROW, "images[1] (another image has its id, 0)"),
        (datasets.BAD_ROW, "images[2] (it has no 'file_name')"),
        (datasets.BAD_ROW, "annotations of image_id 1 (no image has this id)"),
    ]


@pytest.mark.parametrize("folder", ["Images", "images", "Flicker8k_Dataset", "."])
def test_flickr8k_token(dataset: Path, folder: str, render: Callable[..., bytes]) -> None:
    (dataset / "captions.txt").unlink()
    for name in NAMES:
        (dataset / folder).mkdir(exist_ok=True)
        (dataset / "Images" / name).rename(dataset / folder / name)
    lines = [f"{name}#{i}\t{text}\n" for name in NAMES for i, text in enumerate(CAPTIONS)]
    (dataset / "Flickr8k.token.txt").write_text("".join(lines) + "no tab\n")
    (dataset / "Flickr_8k.trainImages.txt").write_text("\n".join(NAMES[:2]))
    (dataset / "Flickr_8k.devImages.txt").write_text(NAMES[2])
    (dataset / "Flickr_8k.testImages.txt").write_text(NAMES[3])
    read = datasets.read(dataset)
    assert split_of(read) == dict(zip(NAMES, ("train", "train", "val", "test"), strict=True))
    assert found(read) == [(datasets.BAD_ROW, "Flickr8k.token.txt line 9 (it has no tab)")]
    (dataset / "Flickr8k.token.txt").write_text("".join(lines))
    assert_reads(datasets.read(dataset), "flickr8k-token", render)


def test_a_line_with_surplus_tabs_is_named(dataset: Path) -> None:
    without_lists(dataset)
    (dataset / "captions.txt").unlink()
    (dataset / "Images" / "red_circle.jpg").rename(dataset / "Images" / "red#1 circle.jpg")
    (dataset / "Flickr8k.token.txt").write_text(
        "red#1 circle.jpg#0\tA shape.\nblue_circle.jpg#0\tA shape\ten\n"
    )
    read = datasets.read(dataset)
    assert list(split_of(read)) == ["red#1 circle.jpg"]
    assert found(read) == [(datasets.BAD_ROW, "Flickr8k.token.txt line 2 (it has 2 tabs, not one)")]


def write_metadata(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [",".join(rows[0]), *(",".join(f'"{v}"' for v in r.values()) for r in rows)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8-sig")  # as Excel does


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_image_folder(dataset: Path, kind: str, render: Callable[..., bytes]) -> None:
    folder = dataset / "Images"
    rows = [{"file_name": name, "text": text} for name in NAMES for text in CAPTIONS]
    write_metadata(folder / f"metadata.{kind}", rows)
    read = datasets.read(folder)
    assert_reads(read, "imagefolder", render)
    assert split_of(read) == dict.fromkeys(NAMES)

    for row in rows:
        row["split"] = "validation" if row["file_name"] == NAMES[3] else "train"
    write_metadata(folder / f"metadata.{kind}", rows)
    read = datasets.read(folder)
    assert_reads(read, "imagefolder", render)
    assert split_of(read) == dict(zip(NAMES, ("train", "train", "train", "val"), strict=True))


def test_image_folder_of_splits(dataset: Path, render: Callable[..., bytes]) -> None:
    for folder, name in (("train", NAMES[0]), ("validation", NAMES[1]), ("test", NAMES[2])):
        (dataset / folder).mkdir()
        (dataset / "Images" / name).rename(dataset / folder / name)
        rows = [{"file_name": name, "text": CAPTIONS}]
        write_metadata(dataset / folder / "metadata.jsonl", rows)
    (dataset / "captions.txt").unlink()
    read = datasets.read(dataset)
    assert_reads(read, "imagefolder", render)
    assert split_of(read) == {
        "train/blue_circle.jpg": "train",
        "test/red_circle.jpg": "test",
        "validation/blue_square.jpg": "val",
    }


def test_faults_of_metadata_are_named(dataset: Path) -> None:
    folder = dataset / "Images"
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "red_circle.jpg", "text": "red"}\n\n{"file_name": \n'
        '{"file_name": "red_circle.jpg"}\n{"file_name": "red_square.jpg", "text": 5}\n7\n'
    )
    read = datasets.read(folder)
    assert [example.captions for example in read.examples] == [("red",)]
    assert [(p.kind, p.name) for p in read.problems] == [
        (datasets.BAD_ROW, f"metadata.jsonl line {line}") for line in (3, 4, 5, 6)
    ]
    (folder / "metadata.jsonl").unlink()
    (folder / "metadata.csv").write_text('file_name,text\na.jpg,A\nb.jpg,"never closed\nc.jpg,C\n')
    with pytest.raises(
        InvalidDataset, match=r"metadata\.csv after line 2 is not CSV: .* mend its quotes"
    ):
        datasets.read(folder)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("x.jpg,A red chair, a table, and a lamp,val", "it has 2 fields more than there are col"),
        ("x.jpg,A red chair", "it has fewer fields than there are columns"),
        ("x.jpg,A red chair,extra", "split 'extra' is none of"),
    ],
)
def test_a_row_of_csv_that_does_not_fit_its_columns_is_named(
    dataset: Path, row: str, reason: str
) -> None:
    folder = dataset / "Images"
    (folder / "red_circle.jpg").rename(folder / "x.jpg")
    good = 'blue_circle.jpg,"A chair, red",train\n'
    (folder / "metadata.csv").write_text(f"file_name,text,split\n{good}{row}\n")
    read = datasets.read(folder)
    assert [example.captions for example in read.examples] == [("A chair, red",)]
    [(kind, problem)] = found(read)
    assert kind == datasets.BAD_ROW
    assert problem.startswith(f"metadata.csv line 3 ({reason}")


@pytest.mark.parametrize("header", ["file_name;text", "file_name, text", "file_name,text,text", ""])
def test_columns_of_csv_are_named_once(dataset: Path, header: str) -> None:
    (dataset / "Images" / "metadata.csv").write_text(f"{header}\nred_circle.jpg,red,A shape\n")
    with pytest.raises(
        InvalidDataset, match=r"metadata\.csv: its first line must name the columns"
    ):
        datasets.read(dataset / "Images")


def test_a_key_given_twice_is_named(dataset: Path, karpathy: dict[str, Any]) -> None:
    folder = dataset / "Images"
    (folder / "metadata.jsonl").write_text(
        '{"file_name": "red_circle.jpg", "text": "red", "text": "round"}\n'
        '{"file_name": "red_square.jpg", "text": "red"}\n'
    )
    read = datasets.read(folder)
    assert list(split_of(read)) == ["red_square.jpg"]
    assert found(read) == [(datasets.BAD_ROW, "metadata.jsonl line 1 (it has 'text' twice)")]
    source = write(dataset / "dataset.json", karpathy)
    source.write_text(source.read_text().replace('"split"', '"filename"'))
    with pytest.raises(InvalidDataset, match=r"dataset\.json .*: it has 'filename' twice"):
        datasets.read(source)


def test_folders_and_fields_agree_on_the_split(dataset: Path) -> None:
    folder = dataset / "Images"
    (folder / "validation").mkdir()
    rows = [
        {"file_name": f"../{name}", "text": "A shape", "split": split}
        for name, split in zip(NAMES, ("val", "validation", "", "train"), strict=True)
    ]
    write_metadata(folder / "validation" / "metadata.jsonl", rows)
    read = datasets.read(folder)
    assert set(split_of(read).values()) == {"val"}
    assert found(read) == [
        (
            datasets.BAD_ROW,
            "validation/metadata.jsonl line 4 (its split is 'train', but its folder 'validation')",
        )
    ]
    (folder / "validation").rename(folder / "eval")
    write_metadata(folder / "metadata.jsonl", rows[:1])
    with pytest.raises(
        InvalidDataset, match=r"eval/metadata\.jsonl: its folder is not named after"
    ):
        datasets.read(folder)


DECOMPOSED, COMPOSED = "cafe\u0301.jpg", "caf\u00e9.jpg"


def named(dataset: Path, name: str) -> None:
    (dataset / "Images" / "red_circle.jpg").rename(dataset / "Images" / name)


@pytest.mark.parametrize(("on_disk", "listed"), [(COMPOSED, DECOMPOSED), (DECOMPOSED, COMPOSED)])
@pytest.mark.parametrize("form", ["kaggle", "flickr8k-token", "imagefolder", "karpathy", "coco"])
def test_names_are_the_same_in_both_forms_of_unicode(
    dataset: Path, karpathy: dict[str, Any], form: str, on_disk: str, listed: str
) -> None:
    """A caption and the split name the photo in either form, the disk in one."""
    without_lists(dataset)
    named(dataset, on_disk)
    source, split = dataset, "train"
    if form == "kaggle":
        text = f"image,caption\n{listed},one\n{on_disk},two\n"
        (dataset / "captions.txt").write_text(text, encoding="utf-8")
    elif form == "flickr8k-token":
        text = f"{on_disk}#0\tone\n{listed}#1\ttwo\n"
        (dataset / "Flickr8k.token.txt").write_text(text, encoding="utf-8")
    elif form == "imagefolder":
        source = dataset / "Images"
        names = ((listed, "one"), (on_disk, "two"))
        rows = [{"file_name": name, "text": text, "split": split} for name, text in names]
        write_metadata(source / "metadata.jsonl", rows)
    elif form == "karpathy":
        sentences = [{"raw": "one"}, {"raw": "two"}]
        karpathy["images"] = [{"filename": listed, "split": split, "sentences": sentences}]
        source = write(dataset / "dataset.json", karpathy)
    else:
        annotations = [{"image_id": 1, "caption": text} for text in ("one", "two")]
        images, split = [{"id": 1, "file_name": listed}], ""
        source = write(dataset / "x.json", {"images": images, "annotations": annotations})
    if form in ("kaggle", "flickr8k-token"):
        (dataset / "Flickr_8k.trainImages.txt").write_text(f"{listed}\n", encoding="utf-8")
    read = datasets.read(source)
    assert read.problems == ()
    path = dataset / "Images" / on_disk
    assert read.examples == (Example(COMPOSED, path, ("one", "two"), split or None),)


def test_photos_whose_names_differ_in_unicode_s_form_alone_are_ambiguous(dataset: Path) -> None:
    named(dataset, COMPOSED)
    (dataset / "Images" / DECOMPOSED).write_bytes(b"another")
    if len({path.name for path in (dataset / "Images").iterdir()}) < 5:
        pytest.skip("this file system takes them for one")
    without_lists(dataset)
    text = (dataset / "captions.txt").read_text().replace("red_circle.jpg", DECOMPOSED)
    (dataset / "captions.txt").write_text(text, encoding="utf-8")
    read = datasets.read(dataset)
    assert len(read.examples) == 3
    [problem] = read.problems
    assert (problem.kind, problem.name) == (datasets.BAD_ROW, COMPOSED)
    assert "Images/ holds 2 files of the name" in problem.detail


def test_keys_of_tars_are_the_same_in_both_forms_of_unicode(tmp_path: Path) -> None:
    files = [(DECOMPOSED, b"photo"), (COMPOSED.replace("jpg", "txt"), b"A shape")]
    read = datasets.read(write_tar(tmp_path / "x.tar", files))
    assert (split_of(read), read.problems) == ({f"x.tar/{COMPOSED}": None}, ())
    read = datasets.read(write_tar(tmp_path / "x.tar", [*files, (COMPOSED, b"another")]))
    assert [problem.kind for problem in read.problems] == [datasets.DUPLICATE]


def write_tar(path: Path, files: list[tuple[str, bytes]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def samples(render: Callable[..., bytes]) -> list[tuple[str, bytes]]:
    """Of every way to write a sample, one."""
    both = json.dumps({"captions": CAPTIONS, "url": "elsewhere"}).encode()
    return [
        ("a/red_circle.jpg", render("red", "circle")),
        ("a/red_circle.txt", "A shape.\n\none shape\n".encode("utf-8-sig")),
        ("blue_circle.json", both),
        ("blue_circle.JPEG", render("blue", "circle")),
        ("blue_circle.cls", b"7"),
        ("a/._blue_circle.jpg", b"what a Mac adds"),
    ]


def test_webdataset(
    tmp_path: Path, samples: list[tuple[str, bytes]], render: Callable[..., bytes]
) -> None:
    read = datasets.read(write_tar(tmp_path / "photos.tar", samples))
    assert_reads(read, "webdataset", render)
    names = ["photos.tar/a/red_circle.jpg", "photos.tar/blue_circle.jpeg"]
    assert split_of(read) == dict.fromkeys(names)
    assert isinstance(read.examples[0].photo, TarMember)

    # Keys of different shards may be the same; a shard's name or folder tells its split.
    for name in ("shapes-train-0.tar", "validation/0.tar", "test.tar"):
        write_tar(tmp_path / "shards" / name, samples)
    read = datasets.read(tmp_path / "shards")
    assert_reads(read, "webdataset", render)
    assert [(e.name.split("_")[0], e.split) for e in read.examples[::2]] == [
        ("shapes-train-0.tar/a/red", "train"),
        ("test.tar/a/red", "test"),
        ("validation/0.tar/a/red", "val"),
    ]


def test_faults_of_tars_are_named(tmp_path: Path, samples: list[tuple[str, bytes]]) -> None:
    files = [
        *samples,
        samples[0],
        ("alone.txt", b"No photo"),
        ("mute.png", b""),
        ("bad.jpg", b""),
        ("bad.json", b'{"text": 1}'),
        ("letters.jpg", b""),
        ("letters.json", b'{"captions": "one"}'),
        ("latin.jpg", b""),
        ("latin.txt", "à".encode("latin-1")),
        ("twice.jpg", b""),
        ("twice.png", b""),
        ("twice.txt", b"Which?"),
    ]
    path = write_tar(tmp_path / "x.tar", files)
    read = datasets.read(path)
    assert [(p.kind, p.name) for p in read.problems] == [
        (datasets.DUPLICATE, "x.tar/a/red_circle.jpg"),
        (datasets.MISSING, "x.tar/alone"),
        (datasets.NO_CAPTION, "x.tar/mute.png"),
        (datasets.BAD_ROW, "x.tar/bad.jpg"),
        (datasets.BAD_ROW, "x.tar/letters.jpg"),
        (datasets.BAD_ROW, "x.tar/latin.jpg"),
        (datasets.BAD_ROW, "x.tar/twice.jpg"),
    ]
    assert len(read.examples) == 2


def test_tars_of_links_and_compressed_tars_are_named(
    tmp_path: Path, samples: list[tuple[str, bytes]]
) -> None:
    path = write_tar(tmp_path / "shards" / "x.tar", samples)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "elsewhere.jpg"
        tar.addfile(link)
    [(kind, problem)] = found(datasets.read(path))
    assert kind == datasets.BAD_ROW
    assert problem.startswith("x.tar/link.jpg (it is a link")
    path.with_name("y.tar.gz").write_bytes(b"")
    with pytest.raises(InvalidDataset, match=r"y\.tar\.gz is compressed; decompress it"):
        datasets.read(path.parent)


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "header"])
def test_a_damaged_tar_is_named(
    tmp_path: Path, samples: list[tuple[str, bytes]], damage: str
) -> None:
    path = write_tar(tmp_path / "x.tar", samples)
    whole = path.read_bytes()
    second = whole.index(b"a/red_circle.txt")
    path.write_bytes(
        {
            "empty": b"",
            "text": b"no tar" * 200,
            "cut": whole[: second - 100],
            "header": whole[:second] + b"!" * 200 + whole[second + 200 :],
        }[damage]
    )
    with pytest.raises(InvalidDataset, match=r"x\.tar: .*a whole tar that is not compressed"):
        datasets.read(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", "{", '{"images": 5}'])
def test_not_karpathy(tmp_path: Path, content: str) -> None:
    source = tmp_path / "dataset.json"
    source.write_text(content)
    with pytest.raises(InvalidDataset, match=r"dataset\.json is not JSON with a list 'images'"):
        datasets.read(source)


def test_a_source_of_no_known_form_is_named(dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidDataset, match="nowhere does not exist"):
        datasets.read(tmp_path / "nowhere")
    for source in (tmp_path, dataset / "captions.txt", dataset / "Images"):
        with pytest.raises(InvalidDataset, match="is no dataset of a known form: a JSON file"):
            datasets.read(source)
    with pytest.raises(InvalidDataset, match="format is 'zip'; allowed: auto, karpathy, coco"):
        datasets.read(dataset, format="zip")
    (dataset / "captions.txt").write_text("file,text\n")
    with pytest.raises(InvalidDataset, match="first line must be 'image,caption'"):
        datasets.read(dataset)
    (dataset / "captions.txt").write_text("image,caption\n")
    without_lists(dataset)
    with pytest.raises(InvalidDataset, match="lists no photo in the form 'kaggle'"):
        datasets.read(dataset)
    (dataset / "captions.txt").write_bytes("image,caption\nà,à".encode("latin-1"))
    with pytest.raises(InvalidDataset, match=r"captions\.txt is not UTF-8"):
        datasets.read(dataset)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("karpathy", "shapes: Is a directory"),
        ("coco", "shapes: Is a directory"),
        ("flickr8k-token", r"token\.txt: No such file"),
        ("imagefolder", "lists no photo in the form 'imagefolder'"),
        ("webdataset", "lists no photo in the form 'webdataset'"),
    ],
)
def test_a_source_not_of_the_form_it_was_said_to_be(dataset: Path, form: str, message: str) -> None:
    assert datasets.read(dataset, format="kaggle").format == "kaggle"
    with pytest.raises(InvalidDataset, match=message):
        datasets.read(dataset, format=form)


def test_few_problems_are_required() -> None:
    names = {f"{i}.jpg" for i in range(10)}
    faults = [Problem(datasets.LONG_CAPTION, "0.jpg"), Problem(datasets.EMPTY_CAPTION, "0.jpg")]
    notices = [Problem(kind, f"{i}.jpg") for i in range(9) for kind in datasets.NOTICES]
    datasets.require_few([*faults, *notices], names, 0.1, "here")
    faults += [Problem(datasets.MISSING, f"m{i}.jpg") for i in range(4)]
    message = r"here: 5 of 14 photos have problems, allowed are 10\.0%: .*4 x missing photo: m0"
    with pytest.raises(InvalidDataset, match=message):
        datasets.require_few(faults, names, 0.1, "here")
    with pytest.raises(InvalidDataset, match="1 of 1 photos have problems"):
        datasets.require_few(faults[:1], {"0.jpg"}, 1.0, "here")
