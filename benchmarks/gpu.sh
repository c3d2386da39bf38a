#!/bin/sh
# Runs on a machine with a GPU, within ten minutes, what a machine without one cannot: the tests that
# compute on a device, two benchmarks, and a training under torchrun. A part that fails or takes too
# long does not stop the others; a table at the end says how each went.
#   benchmarks/gpu.sh               on the GPUs of this machine
#   benchmarks/gpu.sh --device cpu  a small form on the CPU, which shows only that the script works
# Environment:
#   PYTHON  an interpreter that has what requirements-dev.txt lists (default: .venv/bin/python, which
#           scripts/bootstrap dev makes)
# The exit status is 0 if every part went well, 1 if one did not, 2 if there is no GPU.
set -eu
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
device=cuda
if [ "$*" = "--device cpu" ]; then
    device=cpu
elif [ $# != 0 ]; then
    echo "gpu.sh: its arguments are none, or --device cpu; not $*" >&2
    exit 2
fi
if [ "$device" = cpu ]; then
    export CUDA_VISIBLE_DEVICES=
    machine=$(uname -m) patience=10 processes=1 photos=20
    tests=tests/model/test_decoder.py
    caption="--quick --rounds 1"
    serve="--quick --rounds 1 --only latency"
    stages=
else
    processes=$("$python" -c 'import torch; print(torch.cuda.device_count())')
    if [ "$processes" = 0 ]; then
        echo "gpu.sh: torch finds no CUDA GPU on this machine, so nothing was run; see nvidia-smi, or" \
            "try the small form for CPUs, --device cpu" >&2
        exit 2
    fi
    machine=$("$python" -c 'import torch; print(torch.cuda.get_device_name())')
    patience=1 photos=640
    tests="tests/model tests/training tests/benchmarks"
    caption="--rounds 3"
    serve="--quick --rounds 1 --server-type web"
    stages="--fine_tune.epochs 1 --self_critical.epochs 1"
fi
folder=$(mktemp -d "${TMPDIR:-/tmp}/captioner-gpu-XXXXXX")
rows=$folder/rows
failed=0

run() { # NAME SECONDS COMMAND...
    name=$1 limit=$(($2 * patience))
    shift 2
    printf '\n== %s: %s\n' "$name" "$*"
    begun=$(date +%s)
    # Interrupted, a benchmark stops its servers and torchrun its processes.
    {
        code=0
        timeout --foreground --signal=INT --kill-after=20 "$limit" "$@" 2>&1 || code=$?
        echo "$code" > "$folder/code"
    } | tee "$folder/$name.log"
    code=$(cat "$folder/code")
    case $code in
        0) result=ok ;;
        124 | 137) result="over $limit s" ;;
        *) result="failed, status $code" ;;
    esac
    [ "$code" = 0 ] || failed=1
    printf '%-8s  %-18s  %5s s\n' "$name" "$result" $(($(date +%s) - begun)) >> "$rows"
}

# shellcheck disable=SC2086 # the options are words
{
    run tests 150 "$python" -m pytest -q -m device -p no:cacheprovider $tests
    run caption 120 "$python" -m benchmarks caption --device "$device" $caption
    run serve 150 "$python" -m benchmarks serve $serve
    run photos 60 "$python" -m benchmarks.captioned_photos "$folder/photos" "$folder/data" "$photos"
    run train 120 "$python" -m torch.distributed.run --standalone --nproc-per-node "$processes" \
        -m captioner train --data "$folder/data" --out "$folder/checkpoint" \
        --from checkpoints/flickr8k --minimum_count 1 --decoder.epochs 1 $stages
}
rm -rf "$folder/photos" "$folder/data" "$folder"/checkpoint*
printf '\n%s, processes of the training: %s\n' "$machine" "$processes"
cat "$rows"
echo "logs: $folder"
exit "$failed"
