#!/usr/bin/env bash
# From nothing to weights: builds the command, simulates scans, trains, exports.
#
#     training/run.sh [FOLDER]
#
# Everything goes to FOLDER (default: training/run); started again, it goes on where it stopped. Environment:
#   SCENES=5000      scenes to train on (about 1 000 pairs, 2 MB and half a second on one core each)
#   PYTHON=python3   an interpreter with training/requirements.txt
#   THREADS=0        threads of the CPU; 0: all
# Further arguments after FOLDER go to train.py, such as --size large --steps 100000.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
folder=${1:-$here/run}
shift || true
scenes=${SCENES:-5000} python=${PYTHON:-python3} threads=${THREADS:-0}
simulate=("$here/../target/release/coregister" patches)
if [ "$threads" != 0 ]; then simulate+=(--threads "$threads"); fi

cargo build --locked --release --manifest-path "$here/../Cargo.toml"
mkdir -p "$folder"
# Seeds of training and validation differ, so that no scene is in both.
"${simulate[@]}" -o "$folder/validation" --whole --scenes 24 --seed 1000001
"${simulate[@]}" -o "$folder/scenes" --scenes "$scenes" --seed 1
"$python" "$here/train.py" --scenes "$folder/scenes" --validation "$folder/validation" --output "$folder/model" \
    --threads "$threads" "$@"
"$python" "$here/export.py" "$folder/model/best.pt" "$folder/compact.safetensors"
"$python" "$here/validate.py" "$folder/validation" "$folder/compact.safetensors" --threads "$threads"
