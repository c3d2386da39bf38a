"""The files of the page, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import requests

from captioner.web.page.files import POLICY, STATIC, TYPES, PageFiles
from captioner.web.page.option_fields import option_fields
from handler.options import HEADER, OPTIONS, from_headers
from tests.captioner.web.fakes import SECONDS, running_app


def test_the_page_and_its_files_are_bounded_by_a_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_app(monkeypatch, key="secret") as app:  # the page itself needs no key
        for path in ("/", *(f"/page/{file.name}" for file in STATIC.iterdir())):
            reply = requests.get(app.url + path, timeout=SECONDS)
            assert (reply.status_code, reply.headers["content-security-policy"]) == (200, POLICY)
            assert reply.headers["x-content-type-options"] == "nosniff"
            assert "set-cookie" not in reply.headers
            assert "access-control-allow-origin" not in reply.headers
        for path in ("/page/", "/page/nothing.js", "/page/..%2Ffiles.py", "/page/%2e%2e/files.py"):
            assert requests.get(app.url + path, timeout=SECONDS).status_code == 404
    assert "unsafe" not in POLICY
    assert "default-src 'none'" in POLICY


@pytest.mark.parametrize("path", sorted(STATIC.iterdir()), ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere_and_nothing_is_stored(path: Path) -> None:
    text = path.read_text()
    assert path.suffix in TYPES
    assert not re.search(r"//[\w-]+\.\w", text.replace("http://www.w3.org/2000/svg", ""))
    for stored in ("localStorage", "sessionStorage", "indexedDB", "cookie", "caches"):
        assert stored not in text
    assert len(text.splitlines()) <= 350


def test_scripts_import_each_other_by_names_that_there_are() -> None:
    for path in STATIC.glob("*.js"):
        for name in re.findall(r'from "\./(.+?)"', path.read_text()):
            assert (STATIC / name).is_file(), (path.name, name)


def test_every_option_of_the_search_has_a_field() -> None:
    fields = option_fields()
    names = re.findall(rf'name="({HEADER}[a-z-]+)"', fields)
    search = [name for name in OPTIONS if not name.startswith("return_")]
    assert list(from_headers(dict.fromkeys(names, "1"))) == search
    for name in search:
        assert f'<label for="{name}">' in fields
        assert f'id="{name}-help"' in fields


def test_the_link_to_the_api_is_shown_where_there_is_one() -> None:
    def page(files: PageFiles) -> str:
        return files.files["index.html"].decode()

    assert 'href="docs"' in page(PageFiles())
    assert "docs" not in page(PageFiles(docs=False))
    assert "<!--" not in page(PageFiles())
