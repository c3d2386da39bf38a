"""Tables as text: what separates their columns, their quotes, and their headers."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.formats.columns import RECOGNISED, ColumnChoice, UnknownColumns
from training.data.formats.delimited import fields_of, header_of

TEXTS = [
    "A red chair by a window",
    "two dogs run , one is brown",
    "a man, a woman and a child",
    "Ein Mann; er lacht",
    'she said "hello" to him',
    "it's the boy's ball",
    "two\nlines",
]
COUNT = 30


def table(delimiter: str, header: bool = True, quotes: bool = True, newline: str = "\n") -> str:
    """Return a table of the texts, in quotes where they need some, or without any quotes."""
    rows = [["image", "caption"]] if header else []
    rows += [[f"{i:03}.jpg", _field(TEXTS[i % len(TEXTS)], quotes)] for i in range(COUNT)]
    return newline.join(delimiter.join(row) for row in rows) + newline


def _field(text: str, quotes: bool) -> str:
    doubled = text.replace('"', '""')
    return f'"{doubled}"' if quotes and not text.replace(" ", "").isalpha() else text


def captions(text: str, choice: ColumnChoice = RECOGNISED) -> dict[str, str]:
    """Return the caption of each photo, by the columns that are recognised."""
    path = Path("captions.csv")
    header = header_of(path, text, choice)
    rows = [fields_of(row, header.names) for _, row in header.rows(path, text)]
    return {row[header.columns.photo]: row[header.columns.captions[0]] for row in rows}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_delimiters_quotes_and_headers_are_found(
    delimiter: str, header: bool, newline: str
) -> None:
    wanted = {f"{i:03}.jpg": TEXTS[i % len(TEXTS)] for i in range(COUNT)}
    found = captions(table(delimiter, header, newline=newline))
    assert {name: text.replace("\r\n", "\n") for name, text in found.items()} == wanted


def test_quotes_within_text_are_kept_where_no_field_is_quoted() -> None:
    text = table("\t", quotes=False).replace("two\nlines", '"Two" lines')
    assert captions(text) == {
        f"{i:03}.jpg": [*TEXTS[:-1], '"Two" lines'][i % len(TEXTS)] for i in range(COUNT)
    }


def test_fields_beyond_the_columns_are_not_cut() -> None:
    text = table(",", quotes=False).replace("two\nlines", "lines")
    header = header_of(Path("x.csv"), text, RECOGNISED)
    rows = [row for _, row in header.rows(Path("x.csv"), text)]
    assert len(rows) == COUNT
    with pytest.raises(
        ValueError,
        match="its fields are 3, the columns 2; a caption that holds the separator needs quotes",
    ):
        fields_of(rows[1], header.names)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("file_name,text\na.jpg,A chair\n", {"a.jpg": "A chair"}),
        ("file_name;text\na.jpg;A chair, red\n", {"a.jpg": "A chair, red"}),
        ('file_name, text\na.jpg, "A chair, red"\n', {"a.jpg": "A chair, red"}),
        ("image_name| comment_number| comment\na.jpg| 0| A chair .\n", {"a.jpg": "A chair ."}),
        ("Caption,File Name\nA chair,a.jpg\n", {"a.jpg": "A chair"}),
        ("A chair,a.jpg\nA table,b.jpg\n", {"a.jpg": "A chair", "b.jpg": "A table"}),
        (r'image,caption' "\n" r'a.jpg,"a \"red\" one"' "\n", {"a.jpg": 'a "red" one'}),
        ("image,caption\nd\\a.jpg,dog\nd\\b.jpg,cat\n", {"d\\a.jpg": "dog", "d\\b.jpg": "cat"}),
        ("image,caption\na.jpg,a; b\nb.jpg,c; d\n", {"a.jpg": "a; b", "b.jpg": "c; d"}),
    ],
)  # fmt: skip
def test_small_tables(text: str, found: dict[str, str]) -> None:
    assert captions(text) == found


def test_columns_that_are_named_need_no_usual_name() -> None:
    text = "pic,words,caption\na.jpg,red,blue\n"
    assert captions(text, ColumnChoice("pic", ["words"])) == {"a.jpg": "red"}
    assert captions(text, ColumnChoice("pic")) == {"a.jpg": "blue"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "x.csv is empty"),
        ("pic,caption\na.jpg,red\n", "usual name of photos; name one with --image-column: 'pic', "),
        ("image,words\na.jpg,red\n", "usual name of captions; name one with --caption-column"),
        ("image,image,text\na.jpg,b.jpg,red\n", "column 'image' is twice there"),
        ("a.jpg,red,1\nb.jpg,blue,2\n", "x.csv has 3 columns and no header"),
    ],
)
def test_tables_whose_columns_are_unknown(text: str, message: str) -> None:
    with pytest.raises(UnknownColumns, match=message):
        header_of(Path("x.csv"), text, RECOGNISED)


def test_a_column_that_is_named_must_be_there() -> None:
    with pytest.raises(UnknownColumns, match="the column 'pic' is not there: 'image', 'text'"):
        header_of(Path("x.csv"), "image,text\na.jpg,red\n", ColumnChoice("pic"))
