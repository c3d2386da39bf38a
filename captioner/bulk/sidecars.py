"""Captions in files beside the photos, as other programs read them: sidecars."""

from __future__ import annotations

import errno
import json
import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from xml.sax.saxutils import escape

from captioner.bulk.photo import Photo
from captioner.bulk.row import Row, encodable
from captioner.bulk.run import Counts, Sink
from captioner.bulk.sources import tar
from captioner.bulk.sources.stores import is_address
from model.files import write_new

# The caption is the default text of dc:description (XMP specification, part 1, 8.2.2.4 and 8.3),
# within the wrapper that exiv2, and so digiKam, writes around the XMP of a sidecar.
XMP = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="captioner">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">
   <dc:description>
    <rdf:Alt>
     <rdf:li xml:lang="x-default">{}</rdf:li>
    </rdf:Alt>
   </dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""
_NO_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Content = Callable[[Row, Sequence[str]], str]  # of a sidecar, from the row and the table's columns


@dataclass(frozen=True)
class SidecarForm:
    """A form of sidecars.

    Attributes
    ----------
    path
        Returns the sidecar's path from the photo's.
    content
        Returns the sidecar's text.
    """

    path: Callable[[Path], Path]
    content: Content


def _text(row: Row, _columns: Sequence[str]) -> str:
    return f"{encodable(row.caption or '')}\n"


def _json(row: Row, columns: Sequence[str]) -> str:
    return json.dumps(row.to_dict(columns), ensure_ascii=False, indent=1) + "\n"


def _xmp(row: Row, _columns: Sequence[str]) -> str:
    return XMP.format(escape(_NO_XML.sub(" ", row.caption or "")))


def _added(ending: str) -> Callable[[Path], Path]:
    return lambda photo: photo.with_name(photo.name + ending)


# Trainers, such as kohya's, read photo.txt; programs for photos read photo.jpg.xmp, which tells the
# sidecar of photo.jpg from that of photo.png.
FORMS = {
    "txt": SidecarForm(lambda photo: photo.with_suffix(".txt"), _text),
    "json": SidecarForm(_added(".json"), _json),
    "xmp": SidecarForm(_added(".xmp"), _xmp),
}


def check_sources(sources: Iterable[str]) -> None:
    """Raise `ValueError` for a source whose photos are no files of this machine."""
    for source in sources:
        if is_address(source) or source.lower().endswith((tar.ENDING, *tar.COMPRESSED_ENDINGS)):
            raise ValueError(
                f"{source}: sidecars are written beside files of this machine; leave this source"
                " out, or write a table with --out instead of --sidecar"
            )


class SidecarSink:
    """Writes a sidecar beside each photo that has a caption, and passes its row on.

    A sidecar is on its disk before its row is passed on. One that is there is never touched.

    Parameters
    ----------
    sink
        Takes the rows.
    form
        A name of `FORMS`.
    columns
        The columns of a row that a sidecar holds.
    skip_existing
        Whether photos that have a sidecar are left out.
    say
        Prints, at the end, what was written.
    """

    def __init__(
        self,
        sink: Sink,
        form: str,
        columns: Sequence[str],
        skip_existing: bool,
        say: Callable[[str], None],
    ) -> None:
        self._sink, self._form, self._columns = sink, FORMS[form], columns
        self._skip_existing, self._say = skip_existing, say
        self._waiting: deque[Photo] = deque()
        self._skipped = self._kept = self._written = 0

    def unwritten(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        for photo in self._sink.unwritten(self._placed(photos)):
            self._waiting.append(photo)
            yield photo

    def write(self, row: Row) -> None:
        photo = self._waiting.popleft()
        if row.caption is not None:
            assert photo.file
            self._write(self._form.path(photo.file), row)
        self._sink.write(row)

    def flush(self) -> None:
        self._sink.flush()

    def finish(self) -> Counts:
        counts = self._sink.finish()
        self._say(self._summary())
        return counts

    def _placed(self, photos: Iterable[Photo]) -> Iterator[Photo]:
        """Yield photos; those that can have no sidecar cannot be read either."""
        for photo in photos:
            if photo.file is None:
                reason = "It is no file of this machine, beside which a sidecar could be written"
                yield Photo(photo.name, partial(_refuse, photo, reason))
            elif os.path.lexists(self._form.path(photo.file)):
                if self._skip_existing:
                    self._skipped += 1
                else:
                    yield photo
            elif os.access(photo.file.parent, os.W_OK):
                yield photo
            else:
                reason = "No sidecar can be written in its folder, which is read-only"
                yield Photo(photo.name, partial(_refuse, photo, reason), photo.file)

    def _write(self, path: Path, row: Row) -> None:
        content = self._form.content(row, self._columns).encode()
        if write_new(path, content):
            self._written += 1
        elif path.read_bytes() != content:  # else a run that was interrupted has written it
            self._kept += 1

    def _summary(self) -> str:
        kept = f"; there before and left as they are: {self._kept}" if self._kept else ""
        skipped = f"; have one already: {self._skipped}" if self._skipped else ""
        return f"sidecars written: {self._written}{kept}{skipped}"


def _refuse(photo: Photo, reason: str) -> bytes:
    """Raise the error of reading a photo, and if there is none one that gives the reason."""
    photo.read()
    raise OSError(errno.EINVAL, reason, photo.name)
