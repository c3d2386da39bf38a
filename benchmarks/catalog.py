"""The table of benchmarks. Imports nothing heavy, so that ``--help`` is quick."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Benchmark:
    """One row of the table; the module of its name, ``benchmarks.NAME``, runs it.

    Parameters
    ----------
    summary
        One line on what it measures.
    options
        Those fields of `benchmarks.options.Options` that it reads, besides ``checkpoint`` and
        ``quick``, which all read.
    required
        Options that must be given.
    by_default
        Whether it runs when no benchmark is named: it takes a minute or two, and shows how fast or
        how well captions are made.
    description
        A longer text for its ``--help``.
    """

    summary: str
    options: tuple[str, ...]
    required: tuple[str, ...] = ()
    by_default: bool = False
    description: str = ""


SERVE = """\
Measure captioning over HTTP against captioning in process; overload, killed workers, a restart.

It packages the checkpoint into a temporary folder, starts a server of its own on free ports of the
loopback interface, sends it load from the same cores, and stops it at the end. One after the other
it measures

  throughput   photos a second with 16 and with 64 clients, against the same photos in process,
               in batches of 32, with the server's decoding options
  latency      of one client, against one photo at a time in process
  memory       of the worker, before and after many requests
  overload     for a minute, photos arrive twice as fast as the server can caption them: each must
               be answered, with a caption or with 503, and right afterwards the server must be as
               fast as before
  kill         kill -9 of the worker, ten times under load: requests in its batch may fail, no
               others
  restart      the server is stopped and started again

and, of every reply, under every load, whether it is the caption that this photo has when it is
captioned alone, in process.

With --server-type web the server is that of captioner web. Beside it a TorchServe of the same
archive runs, and throughput and latency are compared with it, too, round by round. Then there are

  stop         SIGTERM under load: what was sent before must be answered, and the exit status is 0
  slow         for a minute, 200 senders begin photos and never end them: each must be dropped in
               time, other callers must get their captions as fast as before, and the memory must
               come back
  start        seconds from the command to the first caption, captioner web against captioner serve

Photos whose caption depends on the other photos in its batch are left out: where two captions are
equally likely, rounding decides, and that differs between batch sizes. It takes about six minutes,
with --server-type web about a quarter of an hour, with --quick about one. --only takes single
parts, so that a long run can be made in pieces."""

SWAP = """\
Swap versions and roll back while 32 clients ask without a pause.

It starts a TorchServe of its own, as bench serve does, and deploys version after version as
captioner deploy does; every fifth is rolled back. Even versions write in capitals what odd ones
write, so a caption shows which version wrote it. Every reply must be the caption that its version
has for that photo alone, in process, and no request may be lost or fail. Most of a swap's time is
two processes that import torch; with OMP_NUM_THREADS=1 the server leaves them one of two cores. It
takes about half an hour."""

BULK = """\
Measure captioning a folder into a table, as captioner caption FOLDER --out TABLE does, and what
trouble does to it. One after the other it measures

  folder     5,000 photos from a folder into a table, against the same photos in memory, in turn
  memory     the peak of a process that captions 20,000 photos, against one that captions 1,000
  ray        5,000 photos into parts by Ray's actors with half of the cores each, against one
             process with all of them; whole commands, in turn
  kill       kill -9 of the command, twenty times at random moments; the same command goes on each
             time, and every table in the end must have the bytes of an undisturbed one
  actors     kill -9 of Ray's actors, twenty times at random moments, while one command goes on
  node       kill -9 of a node of Ray, all its processes at once: the second of two on this machine,
             each in a network namespace where the system allows that
  trouble    a full disk, a folder that may not be read, a photo that changes while it is read: one
             line must name it, and nothing may be half-written

Photos are drawn or taken from --photos; they repeat. Ray needs pip install 'captioner[ray]'. It
takes about an hour. --only takes single parts, so that a long run can be made in pieces."""

BUSY = """\
Measure captioning beside processes that compute without a pause, against a quiet machine.

In each round photos are captioned in a batch of 32 and one at a time: beside no process, beside one
that spins, and beside as many as there are cores. That is done with the captioner's setting of how
threads wait for work, with OpenMP's own, and with threads that sleep at once. Let nothing else run.
It takes about three minutes at most: rounds for which there is no time are left out."""

ENGINES = """\
Measure the encoder alone by every library that can compute it on a CPU: torch as the captioner
prepares it and as it was trained, torch.compile, OpenVINO and ONNX Runtime, the last two if they
are installed (pip install openvino onnx onnxruntime). On the same weights and decoded photos it
prints, of each,

  photos/s     of a batch of 32, and milliseconds of a photo alone
  start        seconds from the command to the first grid, imports and compiling included
  MB           the process's peak memory, and on disk, of the packages that it needs more
  error        how far its grids are from those of the first row

It takes about four minutes at most: rounds for which there is no time are left out."""

OPERATORS = """\
Caption photos in batches of 32 and one at a time under torch's profiler, by one thread, and print
the milliseconds a photo of decoding, of each kind of torch's operators in the encoder and in the
search, and of what lies between operators, mostly Python."""

BENCHMARKS = {
    "search": Benchmark(
        "the beam search alone: cost against photos, beams and words",
        options=("rounds", "photos"),
        by_default=True,
    ),
    "caption": Benchmark(
        "from bytes to captions: throughput, latency, share of the machine's peak",
        options=("rounds", "photos", "device"),
        by_default=True,
    ),
    "start": Benchmark(
        "a new process: seconds to its first caption, memory",
        options=("rounds", "photos"),
        by_default=True,
    ),
    "against": Benchmark(
        "captioning, against another checkpoint or other decoding options",
        options=("rounds", "photos", "search", "other", "other_search"),
    ),
    "agreement": Benchmark(
        "whether faster precisions write the same captions, and their CIDEr",
        options=("data", "split"),
        required=("data",),
        by_default=True,
        description="Compare the captions of each precision with those of float32.",
    ),
    "serve": Benchmark(
        "captioning over HTTP against in process; overload, killed workers, a restart",
        options=("rounds", "photos", "requests", "server_type", "only"),
        description=SERVE,
    ),
    "swap": Benchmark(
        "versions swapped and rolled back under load: no request lost, no wrong caption",
        options=("photos", "swaps"),
        description=SWAP,
    ),
    "bulk": Benchmark(
        "a folder into a table: speed, also by Ray, memory, kill -9, other trouble",
        options=("rounds", "photos", "only"),
        description=BULK,
    ),
    "decoding": Benchmark(
        "decoding photos of every image format, against the estimate from their headers",
        options=("rounds",),
    ),
    "busy": Benchmark(
        "captioning beside processes that compute without a pause, against a quiet machine",
        options=("rounds", "photos"),
        description=BUSY,
    ),
    "operators": Benchmark(
        "where a photo's time goes: the operators of torch, by their kinds",
        options=("photos",),
        description=OPERATORS,
    ),
    "engines": Benchmark(
        "the encoder alone by torch, OpenVINO, ONNX Runtime and torch.compile",
        options=("rounds", "photos"),
        description=ENGINES,
    ),
    "train": Benchmark(  # its command line is its own, see `benchmarks.train`
        "training, against the tutorial's loop: captions a second, memory", options=()
    ),
}
