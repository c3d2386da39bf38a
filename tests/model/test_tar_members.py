"""The members of a tar are found in order, and lie where it is said."""

from __future__ import annotations

import io
import tarfile

import pytest

from model.tar_members import tar_members


def tar_of(count: int, mode: str = "w", format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=format) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for i in range(count):
            info = tarfile.TarInfo(f"folder/{'long' * 40 if i % 3 == 0 else ''}ü{i}.jpg")
            info.size = 700 * i
            tar.addfile(info, io.BytesIO(bytes([i]) * info.size))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.LNKTYPE, "folder/1.jpg"
        tar.addfile(link)
        tar.addfile(tarfile.TarInfo("folder/.hidden.jpg"))
    return buffer.getvalue()


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_lie_where_it_is_said(format: int) -> None:
    content = tar_of(30, format=format)
    *members, link = tar_members(io.BytesIO(content))
    assert [member.name.rpartition("ü")[2] for member in members] == [f"{i}.jpg" for i in range(30)]
    for i, member in enumerate(members):
        assert not member.is_link
        assert content[member.offset : member.offset + member.size] == bytes([i]) * 700 * i
    assert (link.name, link.is_link) == ("link.jpg", True)


def test_an_empty_tar_has_no_members() -> None:
    assert not list(tar_members(io.BytesIO(bytes(10240))))


@pytest.mark.parametrize(
    "content",
    [tar_of(3, "w:gz"), b"no tar" * 1000, tar_of(9)[:9000], tar_of(9).replace(b"ustar", b"USTAR")],
    ids=["compressed", "text", "cut", "damaged"],
)
def test_what_is_no_whole_tar_is_an_error(content: bytes) -> None:
    with pytest.raises(tarfile.TarError):
        list(tar_members(io.BytesIO(content)))
