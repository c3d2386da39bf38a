"""Training: captions a second and memory.

The baseline of training the decoder is the tutorial's loop; of fine-tuning the encoder, the same
step with the encoder as autocast alone runs it; of two processes, one process with two threads. The
photos are noise and the captions random words of Flickr8k's lengths: neither changes the speed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.inputs import word_map
from benchmarks.measure import in_new_process, in_turn, time_of
from benchmarks.tutorial import TutorialTraining
from model.config import ModelConfig
from model.files import check_new, write_whole
from model.inference.devices import has_bf16
from model.network import ShowAttendTell
from model.process import set_up_process
from training.data.batches import Batch, BatchOrder, TrainingSet, batch_loader
from training.data.photo import Photo
from training.loop.averaging import AveragedWeights
from training.loop.epoch import EpochProgress, train_one_epoch
from training.loop.losses import CaptionLoss
from training.loop.steps import CrossEntropyStep
from training.processes import Processes, joined

WORDS = 2540
CAPTIONS = 5  # a photo
BATCHES = 8  # that one process trains on, whatever the number of photos
BASELINES = {
    "encoder in the loop": "tutorial",
    "cached features": "tutorial",
    "fine-tuning": "autocast alone",
}
THRESHOLDS = {"encoder in the loop": 6.0, "cached features": 10.0, "two processes": 0.85}


def captions(photos: int) -> list[list[str]]:
    """Return random captions as long as Flickr8k's: 10.8 words on average, nearly all 5 to 20."""
    random = np.random.default_rng(0)
    lengths = random.gamma(8.0, 10.8 / 8.0, (photos, CAPTIONS)).round().clip(3, 30).astype(int)
    return [
        [" ".join(f"w{i}" for i in random.integers(0, WORDS - 4, n)) for n in row]
        for row in lengths
    ]


class AutocastAlone(CrossEntropyStep):
    """The baseline of fine-tuning: all photos at once, every layer in autocast's precision."""

    def grid(self, batch: Batch) -> torch.Tensor:
        grid: torch.Tensor = self.network.encoder(batch.images)
        return grid.to(self.network.decoder.fc.weight.dtype)


class OurTraining:
    """This project's training: of the decoder from photos or cached grids; of the encoder, too."""

    def __init__(
        self,
        images: np.ndarray,
        texts: list[list[str]],
        processes: Processes,
        fine_tune: bool = False,
        step: type[CrossEntropyStep] = CrossEntropyStep,
    ) -> None:
        torch.manual_seed(0)
        words = word_map(WORDS)
        self.config = ModelConfig(
            len(words), "timm/tf_efficientnet_lite0", image_size=224, encoded_size=None
        )
        self.network = ShowAttendTell(self.config)
        self.network.encoder.fine_tune(fine_tune)
        photos = [Photo(str(i), tuple(captions)) for i, captions in enumerate(texts)]
        self.dataset = TrainingSet(photos, images, range(len(images)), words)
        self.processes = processes
        self.step: torch.nn.Module = step(self.network, CaptionLoss())
        if processes.world > 1:
            self.step = torch.nn.parallel.DistributedDataParallel(self.step)
        trained = [p for p in self.network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, 4e-4)
        self.averaged = AveragedWeights(self.network, 0.0)

    def epoch(self, batch_size: int = 32, max_batches: int | None = None) -> None:
        """Train on every photo, or on the first ``max_batches`` batches."""
        world, rank = self.processes.world, self.processes.rank
        order = BatchOrder(len(self.dataset), batch_size, 1, 0, rank, world)
        loader = batch_loader(self.dataset, order, 0, self.processes.device)
        train_one_epoch(
            step=self.step,
            batches=itertools.islice(loader, max_batches),
            total=order.total,
            done=EpochProgress(),
            optimizer=self.optimizer,
            set_rates=lambda batch: None,
            averaged=self.averaged,
            clip_norm=5.0,
            bf16=has_bf16(self.processes.device),
            processes=self.processes,
            after_batch=lambda: None,
            name="bench",
        )


def noise(photos: int) -> np.ndarray:
    """Return so many photos of noise, uint8, shape = (photos, 3, 224, 224)."""
    return np.random.default_rng(0).integers(0, 256, (photos, 3, 224, 224), dtype=np.uint8)


def speed(rounds: int, photos: int) -> dict[str, Any]:
    """Return the captions a second of each kind of training, and the ratios to the baselines.

    They run in turn, and a ratio is the median over the rounds.
    """
    alone = Processes(0, 1, torch.device("cpu"))
    pictures, texts = noise(photos), captions(photos)
    ours = OurTraining(pictures, texts, alone)
    with torch.no_grad():
        grids = ours.network.encoder(torch.from_numpy(pictures)).half().numpy()
    cached = OurTraining(grids, texts, alone)
    fine = OurTraining(pictures, texts, alone, fine_tune=True)
    plain = OurTraining(pictures, texts, alone, fine_tune=True, step=AutocastAlone)
    tutorial = TutorialTraining(ours.network.encoder.eval(), ours.config)
    (sample,) = batch_loader(ours.dataset, BatchOrder(photos, photos, 1, 0), 0, alone.device)
    chosen = torch.randperm(len(sample.captions))[:32]
    lengths = sample.lengths[chosen]
    their_batch = (
        sample.images[sample.image_of[chosen]],
        sample.captions[chosen, : int(lengths.max())],
        lengths,
    )
    runs: dict[str, tuple[Callable[[], object], int]] = {
        "tutorial": (lambda: tutorial.step(*their_batch), 32),
        "encoder in the loop": (ours.epoch, photos * CAPTIONS),
        "cached features": (cached.epoch, photos * CAPTIONS),
        "autocast alone": (plain.epoch, photos * CAPTIONS),
        "fine-tuning": (fine.epoch, photos * CAPTIONS),
    }
    timings = in_turn({name: run for name, (run, _) in runs.items()}, rounds)
    rates = {name: [runs[name][1] / seconds for seconds in each] for name, each in timings.items()}
    ratios = {
        name: statistics.median(o / t for o, t in zip(rates[name], rates[baseline], strict=True))
        for name, baseline in BASELINES.items()
    }
    return {
        "captions_per_second": {name: statistics.median(r) for name, r in rates.items()},
        "ratios": ratios,
    }


def worker(photos: int, batch_size: int, threads: int, folder: Path) -> None:
    """Train on cached grids as one of several processes; the first prints its figures as JSON."""
    torch.set_num_threads(threads)
    grids = np.load(folder / f"grids-{photos}.npy", mmap_mode="r")
    with joined("cpu") as processes:
        ours = OurTraining(grids, captions(photos), processes)
        ours.epoch(batch_size, BATCHES)
        with PeakMemory() as memory:
            seconds = time_of(lambda: ours.epoch(batch_size, BATCHES))
        if processes.first:
            rate = batch_size * BATCHES * CAPTIONS / seconds
            print(json.dumps({"captions_per_second": rate, "megabytes": memory.megabytes}))


class PeakMemory:
    """Samples the peak memory of this process, without the pages of mapped files."""

    def __enter__(self) -> PeakMemory:
        self.megabytes = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self.megabytes = max(self.megabytes, int(line.split()[1]) / 1024)

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def launch(folder: Path, photos: int, batch_size: int, processes: int, threads: int) -> Any:
    """Run `worker` in so many new processes; return the figures that the first one prints."""
    arguments = [str(photos), str(batch_size), str(threads), str(folder)]
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*(launcher if processes > 1 else []), "-m", "benchmarks.train", "--worker"]
    return in_new_process([*command, *arguments], OMP_NUM_THREADS=str(threads))


def separate_processes(rounds: int) -> tuple[float, dict[str, float]]:
    """Train on cached grids in processes of their own.

    Returns
    -------
    The captions a second of two processes as a share of those of one with two threads, and the peak
    megabytes of one process by its number of photos and batch size.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random = np.random.default_rng(0)
        for count in (512, 2048):
            grids = random.standard_normal((count, 49, 1280), dtype=np.float32)
            np.save(folder / f"grids-{count}.npy", grids.astype(np.float16))
        pairs = [
            (launch(folder, 512, 32, 2, 1), launch(folder, 512, 32, 1, 2)) for _ in range(rounds)
        ]
        share = statistics.median(
            two["captions_per_second"] / one["captions_per_second"] for two, one in pairs
        )
        megabytes = {
            f"{count} photos, batch {size}": launch(folder, count, size, 1, 2)["megabytes"]
            for count, size in ((512, 32), (2048, 32), (512, 16), (512, 64))
        }
    return share, megabytes


def bench(rounds: int = 5, photos: int = 64, out: Path | None = None) -> dict[str, Any]:
    """Measure speed, then memory; print the figures and write them as JSON."""
    figures = speed(rounds, photos)
    figures["ratios"]["two processes"], figures["megabytes"] = separate_processes(rounds)
    print(described(figures))
    if out:
        write_whole(out, (json.dumps(figures, indent=2) + "\n").encode())
    return figures


def described(figures: dict[str, Any]) -> str:
    """Return the figures as lines of text, with baselines and thresholds."""
    ratios = figures["ratios"]
    lines = [
        f"{name:22} {rate:9.1f} captions/s" + _against_baseline(name, ratios)
        for name, rate in figures["captions_per_second"].items()
    ]
    lines.append(
        f"{'two processes':22} {'':20}   {ratios['two processes']:5.2f} of one with two threads"
        f"   (at least {THRESHOLDS['two processes']:g})"
    )
    lines += [f"memory, {name}: {value:.0f} MB" for name, value in figures["megabytes"].items()]
    return "\n".join(lines)


def _against_baseline(name: str, ratios: dict[str, float]) -> str:
    if name not in ratios:
        return ""
    threshold = f"   (at least {THRESHOLDS[name]:g})" if name in THRESHOLDS else ""
    return f"   {ratios[name]:5.1f} times the speed of {BASELINES[name]}{threshold}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``captioner bench train`` with these arguments."""
    parser = argparse.ArgumentParser(prog="captioner bench train", description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=5, help="how often each run is timed; figures are medians (5)"
    )
    parser.add_argument("--photos", type=int, default=64, help="photos of an epoch (64)")
    parser.add_argument("--out", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    parser.add_argument("--worker", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.worker:
        photos, batch_size, threads, folder = options.worker
        worker(int(photos), int(batch_size), int(threads), Path(folder))
    else:
        if options.out:  # before minutes of measuring
            check_new(options.out, options.overwrite)
        bench(options.rounds, options.photos, options.out)


if __name__ == "__main__":
    set_up_process()
    main()
