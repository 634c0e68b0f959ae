#!/usr/bin/env bash
# Checks superbench on a large GPU with many cores, in at most ten minutes, without a network:
#
#   1. extraction of a random HuBERT base in bfloat16 from synthetic FLAC, against its bare forward pass on the same batches
#      (goal: at least 0.75 of its throughput), means and frames;
#   2. sweeps of PR and ASR with five learning rates, 200 updates each, and few-shot KS, on the GPU;
#   3. the same on the CPU, at the same time, on the other half of the cores;
#   4. `superbench diff` of both.
#
#   bash benchmarks/on_gpu.sh               PYTHON=… names another Python than .venv/bin/python
#   bash benchmarks/on_gpu.sh --rehearse    the same steps on the CPU with a tiny model: tries the script, measures nothing
#
# The exit status is 0 if every step ran, 1 if one failed, 2 without a GPU.
set -u
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD CUBLAS_WORKSPACE_CONFIG=:4096:8
SECONDS=0

device=cuda model=benchmarks/synthetic.py:HubertBase precision=bfloat16
updates=200 few=(--count 200 --seconds 10) many=(--count 1500 --seconds 10) patience=1
if [ "${1:-}" = --rehearse ]; then
    device=cpu model=benchmarks/synthetic.py:HubertTiny precision=float32
    updates=2 few=(--count 4 --seconds 1) many=(--count 8 --seconds 1) patience=10
elif ! "$PYTHON" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    echo "on_gpu.sh: torch finds no CUDA device on this machine, so there is nothing to measure. Run it on a machine with a" \
        "GPU and a torch for its driver; benchmarks/feeding.py measures decoding and writing without one." >&2
    exit 2
fi

work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$work"' EXIT
failed=0

step() { # step SECONDS TITLE COMMAND…: runs a command with a time limit, and says how it ended
    local limit=$(($1 * patience)) title=$2 began=$SECONDS status
    shift 2
    echo "== $title"
    timeout "$limit" "$@"
    status=$?
    [ $status = 0 ] || { failed=1; echo "== $title: exit status $status (124: it took longer than $limit s)"; }
    echo "== $title: $((SECONDS - began)) s, $SECONDS s in all"
}

cores=$(nproc)
half=$((cores > 1 ? cores / 2 : 1))
run() { # run DEVICE CORES OUT OPTIONS…: runs tasks on the model, with a store of its own
    local on=$1 set=$2 out=$3
    shift 3
    taskset -c "$set" "$PYTHON" -m superbench run "hubert=$model" --data "$work/data" --device "$on" --out "$work/$out" \
        --store "$work/$out-store" "$@"
}
everything() { # everything DEVICE CORES OUT: the sweeps, then few-shot
    run "$1" "$2" "$3" --tasks pr,asr --lr 1e-1,1e-2,1e-3,1e-4,1e-5 --max-steps $updates || return 1
    run "$1" "$2" "$3" --tasks ks --protocol few-shot
}
export -f run everything
export PYTHON work model updates

"$PYTHON" - <<'PYTHON'
import os, torch
gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
print(f"torch {torch.__version__}, {gpu}, {len(os.sched_getaffinity(0))} cores")
PYTHON
step 60 "extraction of means" "$PYTHON" benchmarks/extraction.py --device $device --precision $precision --kind voices \
    --upstream $model --reductions mean --rounds 3 "${many[@]}"
step 60 "extraction of frames" "$PYTHON" benchmarks/extraction.py --device $device --precision $precision --kind voices \
    --upstream $model --reductions frames --rounds 3 "${few[@]}"
step 90 "miniature corpora" "$PYTHON" -m superbench data synth --out "$work/data" --tasks pr,asr,ks
timeout $((340 * patience)) bash -c "everything cpu $((cores - half))-$((cores - 1)) cpu" > "$work/cpu.log" 2>&1 &
on_cpu=$!
step 340 "sweeps and few-shot on the GPU" bash -c "everything $device 0-$((half - 1)) gpu"
if wait $on_cpu; then
    step 30 "GPU and CPU" "$PYTHON" -m superbench diff "$work/gpu/hubert" "$work/cpu/hubert"
else
    failed=1
    echo "== the run on the CPU failed, or did not end in time:"
fi
tail -n 25 "$work/cpu.log"
echo "== $SECONDS s in all; $([ $failed = 0 ] && echo every step ran || echo a step failed, see above)"
exit $failed
