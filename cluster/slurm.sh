#!/usr/bin/env bash
# A Ray cluster on the nodes of a SLURM job, and the paper's grid on it:
#   OUT=/shared/grid sbatch --nodes 4 cluster/slurm.sh
#SBATCH --job-name=vlm-sae-grid
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-task=4
#SBATCH --time=24:00:00
set -euo pipefail

PORT=${PORT:-6379}
CPUS=${SLURM_CPUS_PER_TASK:-1}
RAY=${RAY:-ray}
HERE=${SLURM_SUBMIT_DIR:-$(pwd)}
cd "$HERE"

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}
address=$(srun --nodes=1 --ntasks=1 --nodelist="$head" hostname --ip-address | awk '{ print $1; exit }')
export RAY_USAGE_STATS_ENABLED=0
# The job's own secret, on all its nodes: machines of which one has another token, or none, do not answer each other.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=${RAY_AUTH_TOKEN:-$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')}

# A node is lost with its srun, so each is started in a step of its own that lasts as long as the node.
started=()
srun --nodes=1 --ntasks=1 --nodelist="$head" \
    "$RAY" start --head --node-ip-address="$address" --port="$PORT" --num-cpus="$CPUS" --include-dashboard=false --block &
started+=($!)
trap 'kill "${started[@]}" 2>/dev/null || true; wait' EXIT
until "$RAY" status --address="$address:$PORT" >/dev/null 2>&1; do
    kill -0 "${started[0]}" || { echo "the head of the Ray cluster on $head did not start" >&2; exit 1; }
    sleep 2
done
for node in "${nodes[@]:1}"; do
    srun --nodes=1 --ntasks=1 --nodelist="$node" "$RAY" start --address="$address:$PORT" --num-cpus="$CPUS" --block &
    started+=($!)
done

ADDRESS="$address:$PORT" bash cluster/grid.sh
