#!/usr/bin/env bash
# A sweep over 1 and 3 ranks of mpirun gives the rows of one without; a job whose rank was killed is finished by a rerun.
# usage: mpi_test.sh GAMBREL SWEEP
set -euo pipefail
gambrel=$1 sweep=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
mpi=(mpirun --allow-run-as-root --oversubscribe -n)
many='workload.batch={sweep: {from: 1, to: 100, step: 1}}'

for search in exhaustive coordinate_descent; do
  options=(--search "$search" --seed 3)
  [ "$search" = exhaustive ] || options+=(--points 300 --keep pareto)
  "$gambrel" sweep "$sweep" --db "$search.sqlite" "${options[@]}" >/dev/null
  wanted=$("$gambrel" show "$search.sqlite" --hash)
  for n in 1 3; do
    "${mpi[@]}" $n "$gambrel" sweep "$sweep" --db "$search-$n.sqlite" "${options[@]}" >/dev/null
    [ "$("$gambrel" show "$search-$n.sqlite" --hash)" = "$wanted" ] || { echo "$search over $n ranks differs"; exit 1; }
  done
done

"$gambrel" sweep "$sweep" --set "$many" --db whole.sqlite >/dev/null
"${mpi[@]}" 3 "$gambrel" sweep "$sweep" --set "$many" --db killed.sqlite >/dev/null 2>&1 &
job=$!
sleep 1
kill -9 $job 2>/dev/null || true
wait $job || true
sleep 0.5  # ranks notice that mpirun has gone
"${mpi[@]}" 3 "$gambrel" sweep "$sweep" --set "$many" --db killed.sqlite >/dev/null
[ "$("$gambrel" show killed.sqlite --hash)" = "$("$gambrel" show whole.sqlite --hash)" ] || { echo "a rerun differs"; exit 1; }
echo "ranks agree"
