"""The facade: bytes of photos in, captions out. Serving, the command line and scores all use it."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, repeat
from pathlib import Path
from typing import Self

import torch

from model import checkpoint, image
from model.beam_search import beam_search
from model.calibration import Calibration
from model.decoding_options import DecodingOptions
from model.decoding_step import Attended, DecoderState, Memory, attend
from model.hypotheses import Hypothesis
from model.image import InvalidImage
from model.inference.devices import choose_precision, has_bf16
from model.inference.lanes import Lanes, SpareLanes
from model.inference.prepared import PreparedNetwork, prepare
from model.inference.rounding import is_rounded
from model.network import ShowAttendTell
from model.word_map import WordMap

DEFAULT_OPTIONS = DecodingOptions()
BATCH_SIZE = 32  # photos that are searched together


@dataclass(frozen=True)
class Caption:
    """One caption of a photo."""

    text: str
    log_prob: float  # natural logarithm of the probability of the words and the end
    words: list[str]  # T, as the word map has them
    word_log_probs: list[float]
    attention: torch.Tensor  # weights over the grid for each word, summing to 1, shape = (T, h, w)
    confidence: float | None = None  # see `model.calibration`; None without a calibration


@dataclass
class Timings:
    """The seconds that each part of captioning took, summed over batches."""

    decoding: float = 0.0  # waiting for decoded photos; the next batch is decoded meanwhile
    encoding: float = 0.0
    search: float = 0.0


class Captioner:
    """A network with its word map, ready to caption.

    Parameters
    ----------
    network
        Prepared for inference, or as it is trained; the latter is put into evaluation mode.
    """

    def __init__(
        self,
        network: ShowAttendTell | PreparedNetwork,
        word_map: WordMap,
        calibration: Calibration | None = None,
    ) -> None:
        if isinstance(network, ShowAttendTell):
            network.eval()
        self.network = network
        self.word_map = word_map
        self.calibration = calibration
        self._lanes = SpareLanes()

    @classmethod
    def load(
        cls, folder: str | Path, device: str | torch.device = "cpu", precision: str = "auto"
    ) -> Self:
        """Load a checkpoint folder and prepare its network for inference.

        Parameters
        ----------
        precision
            See `model.inference.devices.choose_precision`.

        Raises
        ------
        checkpoint.InvalidCheckpoint
            Names the file at fault.
        ValueError
            There is no such precision.
        """
        network, word_map = checkpoint.load(folder, device)
        where = torch.device(device)
        rounded = precision == "auto" and has_bf16(where) and is_rounded(network.encoder)
        dtypes = choose_precision(precision, where, rounded)
        calibration = Calibration.load(folder)
        return cls(prepare(network, *dtypes), word_map, calibration)

    @property
    def device(self) -> torch.device:
        return self.network.encoder.image_mean.device

    def caption(
        self, images: Sequence[bytes], options: DecodingOptions = DEFAULT_OPTIONS
    ) -> list[list[Caption]]:
        """Return the captions of each image, best first.

        Raises
        ------
        InvalidImage
            Names the first image that is no photo by its position in the list.
        """
        captions = []
        for i, found in enumerate(self.caption_each(images, options)):
            if isinstance(found, InvalidImage):
                raise InvalidImage(f"image {i}: {found}") from found
            captions.append(found)
        return captions

    def caption_each(
        self,
        images: Sequence[bytes],
        options: DecodingOptions | Sequence[DecodingOptions] = DEFAULT_OPTIONS,
        timings: Timings | None = None,
        deadline: float = math.inf,
    ) -> list[list[Caption] | InvalidImage]:
        """Caption images as `caption` does, but leave the error of a bad image in its place.

        Parameters
        ----------
        options
            For all images, or for each of them: those with equal options are searched together.
        timings
            The seconds of each part are added to it.
        deadline
            A time of `time.perf_counter`. Images are captioned `BATCH_SIZE` at a time; once the
            deadline has passed no further batch is begun, and the list that is returned is shorter
            than the images. The first batch is always captioned.
        """
        return list(self.caption_stream(images, options, timings, deadline))

    def caption_stream(
        self,
        images: Iterable[bytes | InvalidImage],
        options: DecodingOptions | Iterable[DecodingOptions] = DEFAULT_OPTIONS,
        timings: Timings | None = None,
        deadline: float = math.inf,
    ) -> Iterator[list[Caption] | InvalidImage]:
        """Caption any number of images, and hold no more than three batches of them at a time.

        The images of a batch are taken and decoded while the batch before it is captioned. Which
        images share a batch depends only on their place: the first `BATCH_SIZE` do, then the next.

        Parameters
        ----------
        images
            An `InvalidImage` stands for a photo that could not be read; it is yielded in its place.
        options, timings, deadline
            See `caption_each`.
        """
        each = repeat(options) if isinstance(options, DecodingOptions) else iter(options)
        timings = timings or Timings()
        started = time.perf_counter()
        with self._lanes.borrow(self.device) as lanes:
            for photos in self._decode_ahead(images):
                timings.decoding += time.perf_counter() - started
                wanted = list(islice(each, len(photos)))
                yield from self._caption_decoded(photos, wanted, lanes, timings)
                started = time.perf_counter()
                if started > deadline:
                    break

    def caption_photos(
        self, photos: torch.Tensor, options: DecodingOptions = DEFAULT_OPTIONS
    ) -> list[list[Caption]]:
        """Caption photos that `model.image.decode` returned, stacked, shape = (B, 3, H, W)."""
        return self.caption_grid(self.encode(photos), options)

    @torch.inference_mode()
    def encode(self, photos: torch.Tensor) -> torch.Tensor:
        """Encode photos (B, 3, H, W) to grids (B, P, D)."""
        return self.network.encoder.in_micro_batches(photos)

    def caption_grid(
        self,
        grid: torch.Tensor,
        options: DecodingOptions = DEFAULT_OPTIONS,
        idle: Executor | None = None,
    ) -> list[list[Caption]]:
        """Caption photos that are encoded already, shape = (B, P, D), of any type and device.

        Parameters
        ----------
        idle
            A thread that attends to the grid while this one scores words; for few photos.
        """
        grid = grid.to(self.network.encoder.image_mean)  # the type and device of the parameters
        ahead = _attend_in(idle) if idle else None
        found = beam_search(self.network.decoder, grid, self.word_map, options, ahead)
        return [[self._caption(hypothesis) for hypothesis in each] for each in found]

    def warm_up(self, options: DecodingOptions = DEFAULT_OPTIONS) -> None:
        """Caption a grey square, so that the first photo does not pay for first-time set-up."""
        size = self.network.config.image_size
        self.caption_photos(torch.full((1, 3, size, size), 127, dtype=torch.uint8), options)

    def _decode_ahead(
        self, images: Iterable[bytes | InvalidImage]
    ) -> Iterator[list[torch.Tensor | InvalidImage]]:
        """Yield batches of decoded photos; while one is captioned, threads decode the next."""
        remaining = iter(images)
        first = list(islice(remaining, BATCH_SIZE))
        if len(first) == 1:  # starting threads takes as long as decoding
            yield [self._decode(first[0])]
            return
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:

            def begin(
                batch: Iterable[bytes | InvalidImage],
            ) -> list[Future[torch.Tensor | InvalidImage]]:
                return [pool.submit(self._decode, data) for data in batch]

            try:
                decoding = begin(first)
                del first
                while decoding:
                    photos = [future.result() for future in decoding]
                    decoding = begin(islice(remaining, BATCH_SIZE))
                    yield photos
            finally:  # a caller that stops early does not wait for photos that are not begun
                pool.shutdown(wait=False, cancel_futures=True)

    def _decode(self, data: bytes | InvalidImage) -> torch.Tensor | InvalidImage:
        if isinstance(data, InvalidImage):
            return data
        try:
            return image.decode(data, self.network.config.image_size)
        except InvalidImage as error:
            return error

    def _caption_decoded(
        self,
        photos: list[torch.Tensor | InvalidImage],
        options: Sequence[DecodingOptions],
        lanes: Lanes,
        timings: Timings,
    ) -> list[list[Caption] | InvalidImage]:
        """Caption one batch; ``photos`` is emptied."""
        errors = [photo if isinstance(photo, InvalidImage) else None for photo in photos]
        good = [photo for photo in photos if isinstance(photo, torch.Tensor)]
        wanted = [o for o, error in zip(options, errors, strict=True) if error is None]
        photos.clear()
        found = lanes.run(self._caption_part, good, wanted) if good else []
        for _, part in found:
            timings.encoding += part.encoding / len(found)
            timings.search += part.search / len(found)
        captions = itertools.chain.from_iterable(captions for captions, _ in found)
        return [error or next(captions) for error in errors]

    def _caption_part(
        self,
        photos: list[torch.Tensor],
        options: Sequence[DecodingOptions],
        idle: Executor | None,
    ) -> tuple[list[list[Caption]], Timings]:
        """Caption photos together; ``photos`` is emptied, ``idle`` takes a share of the search."""
        started = time.perf_counter()
        grid = self.encode(_stack(photos))
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # or encoding would end in the search
        encoded = time.perf_counter()
        captions = self._caption_each_grid(grid, options, idle)
        searched = time.perf_counter()
        return captions, Timings(encoding=encoded - started, search=searched - encoded)

    def _caption_each_grid(
        self, grid: torch.Tensor, options: Sequence[DecodingOptions], idle: Executor | None
    ) -> list[list[Caption]]:
        """Run `caption_grid` with options for each photo: once for all that have equal options."""
        rows: dict[DecodingOptions, list[int]] = {}
        for row, wanted in enumerate(options):
            rows.setdefault(wanted, []).append(row)
        if len(rows) == 1:
            return self.caption_grid(grid, options[0], idle)
        found: dict[int, list[Caption]] = {}
        for wanted, chosen in rows.items():
            found |= zip(chosen, self.caption_grid(grid[chosen], wanted, idle), strict=True)
        return [found[row] for row in range(len(options))]

    def _caption(self, hypothesis: Hypothesis) -> Caption:
        # Photos are squashed to squares, so grids are squares too.
        side = math.isqrt(hypothesis.alphas.shape[1])
        return Caption(
            text=self.word_map.decode(hypothesis.tokens),
            log_prob=hypothesis.log_prob,
            confidence=self.calibration.confidence(hypothesis.log_prob, len(hypothesis.tokens))
            if self.calibration
            else None,
            words=[self.word_map.words[token] for token in hypothesis.tokens],
            word_log_probs=hypothesis.token_log_probs,
            attention=hypothesis.alphas.view(-1, side, side),
        )


def _attend_in(lane: Executor) -> Callable[[DecoderState, Memory], Future[Attended]]:
    """Return a function that begins to compute `attend` in another thread."""

    @torch.inference_mode()
    def compute(state: DecoderState, memory: Memory) -> Attended:
        return attend(state, memory)

    def begin(state: DecoderState, memory: Memory) -> Future[Attended]:
        return lane.submit(compute, state, memory)

    return begin


def _stack(photos: list[torch.Tensor]) -> torch.Tensor:
    """Stack photos and empty the list, so that the memory of each is freed."""
    together = torch.stack(photos)
    photos.clear()
    return together
