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

points() {
  local count
  count=$("$gambrel" show "$1" --sql 'SELECT count(*) FROM designs' --format csv 2>/dev/null | tail -n 1) || true
  echo "${count:-0}"
}

# Killed once it has written some of its points, and before it has all: else the rerun would prove nothing.
all=$(points whole.sqlite) kept=0
for try in 1 2 3 4 5; do
  rm -f killed.sqlite*
  "${mpi[@]}" 3 "$gambrel" sweep "$sweep" --set "$many" --db killed.sqlite >/dev/null 2>&1 &
  job=$!
  while [ "$(points killed.sqlite)" -eq 0 ] && kill -0 $job 2>/dev/null; do sleep 0.02; done
  kill -9 $job 2>/dev/null || true
  wait $job 2>/dev/null || true
  sleep 0.5  # ranks notice that mpirun has gone
  kept=$(points killed.sqlite)
  [ "$kept" -eq 0 ] || [ "$kept" -ge "$all" ] || break
done
[ "$kept" -gt 0 ] && [ "$kept" -lt "$all" ] || { echo "no job was killed half-way: $kept of $all points after the last try"; exit 1; }
"${mpi[@]}" 3 "$gambrel" sweep "$sweep" --set "$many" --db killed.sqlite >/dev/null
[ "$("$gambrel" show killed.sqlite --hash)" = "$("$gambrel" show whole.sqlite --hash)" ] || { echo "a rerun differs"; exit 1; }
echo "ranks agree; the killed job had $kept of $all points"
