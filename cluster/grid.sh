#!/usr/bin/env bash
# The paper's grid on a Ray cluster that runs already: activations, embeddings, SAEs, scores.
# Given again, it goes on with what is lacking. What is set below can be set from outside: TOWER=pocket cluster/grid.sh
set -euo pipefail

PYTHON=${PYTHON:-python}
PICTURES=${PICTURES:-imagenet:/data/imagenet/train}
TOWER=${TOWER:-hf:openai/clip-vit-large-patch14-336@ce19dc912ca5cd21c8a653c79e251e808ccabcd1}
SCORER=${SCORER:-hf:facebook/dinov2-base@f9e44c814b77203eaa57a6bdbbd535f21ede1415}
SCORED_AT=${SCORED_AT:-projection}
HOOK_POINTS=${HOOK_POINTS:-block_11 block_17 block_22 block_23 projection}
SWEEP=${SWEEP:-cluster/grid.yaml}
TOGETHER=${TOGETHER:-1}                # SAEs that share a worker; more of them where there are fewer workers than SAEs
GPUS=${GPUS:-1}                        # how much of a GPU a worker takes; 0 on a cluster without
ADDRESS=${ADDRESS:-auto}
OUT=${OUT:?say where to write: a folder that all machines see under the same path}

stage() { "$PYTHON" -m vlm_sae_lib "$@" --engine ray --address "$ADDRESS"; }

train_and_score() {
    local here=$OUT/$1
    stage train --activations "$here/activations" --sweep "$SWEEP" --together "$TOGETHER" --gpus "$GPUS" --out "$here/saes"
    for sae in "$here"/saes/*/; do
        name=$(basename "$sae")
        [ -f "$here/scores/$name/scores.json" ] && continue
        stage score --sae "$sae" --activations "$here/activations" --embeddings "$OUT/embeddings" \
            --resamples 0 --out "$here/scores/$name"
    done
}

stage collect --pictures "$PICTURES" --tower "$SCORER" --hook-point "$SCORED_AT" --gpus "$GPUS" --out "$OUT/embeddings"
for point in $HOOK_POINTS; do
    stage collect --pictures "$PICTURES" --tower "$TOWER" --hook-point "$point" --gpus "$GPUS" --out "$OUT/$point/activations"
done
# One SAE is one worker's, and the widest takes as long as all the narrow ones: so all hook points are trained at once.
started=()
for point in $HOOK_POINTS; do
    train_and_score "$point" &
    started+=($!)
done
for one in "${started[@]}"; do
    wait "$one"
done
