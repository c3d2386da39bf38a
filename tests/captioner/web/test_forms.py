"""Bodies of requests as the fields that TorchServe would make of them."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from captioner.web.forms import MAX_FIELDS, read_body
from handler.errors import RequestError

BOUNDARY = "b1"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(*fields: tuple[str, bytes], end: bytes = b"--b1--\r\n") -> bytes:
    return (
        b"".join(
            b'--b1\r\nContent-Disposition: form-data; name="%s"; filename="x"\r\n'
            b"Content-Type: image/jpeg\r\n\r\n%s\r\n" % (name.encode(), content)
            for name, content in fields
        )
        + end
    )


@given(st.dictionaries(st.text("abcé_", min_size=1), st.binary(max_size=200), max_size=4))
def test_fields_come_back_whole(fields: dict[str, bytes]) -> None:
    assert read_body(form(*fields.items()), FORM) == (fields, FORM)


def test_what_stands_before_and_after_a_form_is_left_out() -> None:
    body = b"preamble\r\n" + form(("data", b"photo"), end=b"--b1--\r\nepilogue")
    assert read_body(body, FORM)[0] == {"data": b"photo"}
    quoted = {"content-type": 'Multipart/Form-Data; charset=utf-8; boundary="b1"'}
    assert read_body(body, quoted)[0] == {"data": b"photo"}


def test_the_last_of_a_name_wins() -> None:
    assert read_body(form(("a", b"1"), ("a", b"2")), FORM)[0] == {"a": b"2"}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "its last boundary is missing"),
        (b"no form", "its last boundary is missing"),
        (form(("data", b"photo"), end=b""), "its last boundary is missing"),
        (b"--b1\r\nContent-Type: image/jpeg\r\n\r\nx\r\n--b1--", "a field has no name"),
        (b"--b1\r\n\r\nx\r\n--b1--", "a field has no name"),
        (
            b"--b1\r\nContent-Disposition: form-data; name*=a; name*1=b\r\n\r\nx\r\n--b1--",
            "a field has no name",
        ),
        (b"--b1\r\n" + 3000 * b"a: b\r\n" + b"\r\n\r\nx\r\n--b1--", "a field has more than"),
        (b"--b1\r\nnothing\r\n--b1--", "a field has no end of its headers"),
        (form(*[("a", b"")] * (MAX_FIELDS + 1)), f"it has more than {MAX_FIELDS} fields"),
        (b"\r\n--b1" * 1_000_000, f"it has more than {MAX_FIELDS} fields"),
    ],
)
def test_malformed_forms_are_refused(body: bytes, fault: str) -> None:
    with pytest.raises(RequestError, match=f"the form is malformed: {fault}"):
        read_body(body, FORM)


@pytest.mark.parametrize(
    "parameters",
    [
        "",
        "; boundary=",
        "; boundary*=a; boundary*1=b",
        "; boundary*=idna''b%2e1",
        f"; boundary*{5000 * '9'}*=b1",
    ],
)
def test_a_form_without_a_boundary_is_refused(parameters: str) -> None:
    with pytest.raises(RequestError, match="has no boundary"):
        read_body(form(), {"content-type": f"multipart/form-data{parameters}"})


@given(st.text("abn*=;'\"\\ %01", max_size=40), st.text("abn*=;'\"\\ %01", max_size=40))
def test_no_header_makes_another_error(boundary: str, name: str) -> None:
    """Any other would fail the requests that are answered together with this one."""
    disposition = f"Content-Disposition: form-data; name{name}".encode()
    body = b"--b1\r\n" + disposition + b"\r\n\r\nx\r\n--b1--"
    for more in (boundary, "=b1"):
        with contextlib.suppress(RequestError):
            read_body(body, {"content-type": f"multipart/form-data; boundary{more}"})


@pytest.mark.parametrize("type", ["", "image/jpeg", "application/json", "text/plain", "nonsense"])
def test_a_body_that_is_no_form_stays_as_it_is(type: str) -> None:
    headers = {"content-type": type} if type else {}
    assert read_body(b'{"a": 1}', headers) == ({"body": b'{"a": 1}'}, headers)


def test_json_that_says_it_is_a_form_has_its_own_type() -> None:
    as_form = {"content-type": "application/x-www-form-urlencoded", "accept": "*/*"}
    fields, headers = read_body(b' {"image": {"b64": "+/=="}}', as_form)
    assert fields == {"body": b' {"image": {"b64": "+/=="}}'}
    assert headers == {"content-type": "application/json", "accept": "*/*"}
    assert read_body(b"\xff\xd8 a photo", as_form) == ({}, as_form)
