#!/usr/bin/env bash
# Installs a build into a temporary folder and uses it from outside, by find_package and by pkg-config.
# usage: install_test.sh BUILD_DIR CMAKE CXX
set -euo pipefail
build=$1 cmake=$2 cxx=$3
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

"$cmake" --install "$build" --prefix "$scratch/first" >/dev/null
mv "$scratch/first" "$scratch/moved"  # an installed tree may be moved
prefix=$scratch/moved

echo "-- the installed program finds the installed configurations"
cd "$scratch"
listed=$("$prefix/bin/gambrel" list chips)
shipped=$(find "$prefix/share/gambrel/configs/chips" -name '*.yaml' | head -n 1)
grep -q -- "$(basename "$shipped" .yaml)" <<<"$listed"

echo "-- find_package"
"$cmake" -S "$here/consumer" -B "$scratch/consumer" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
"$cmake" --build "$scratch/consumer" >/dev/null
"$scratch/consumer/consumer"

echo "-- pkg-config"
PKG_CONFIG_PATH=$(dirname "$(find "$prefix" -name gambrel.pc)")
export PKG_CONFIG_PATH
read -ra flags <<<"$(pkg-config --cflags --libs gambrel)"
"$cxx" -std=c++20 "$here/consumer/main.cpp" "${flags[@]}" -o "$scratch/by-pkg-config"
"$scratch/by-pkg-config"
[ "$("$scratch/by-pkg-config")" = "gambrel $(pkg-config --modversion gambrel): 3.35 TB/s" ]

echo "-- docs/examples/own-kernel, built against what is installed"
"$cmake" -S "$here/../../docs/examples/own-kernel" -B "$scratch/own" -DCMAKE_CXX_COMPILER="$cxx" -DCMAKE_PREFIX_PATH="$prefix" >/dev/null
"$cmake" --build "$scratch/own" >/dev/null

# Runs the example's gate: exit code one of $1 and text $2, or exit 5 with the word that this machine was too busy to tell.
gate() {
  local wanted=$1 text=$2 code=0 out
  shift 2
  out=$(env "$@" "$scratch/own/own_kernel" "$scratch/own.sqlite" 2>"$scratch/own.log") || code=$?
  if [ "$code" = 5 ] && grep -qE '^(unmeasured|noisy): ' <<<"$out"; then
    echo "   too busy a machine: $(tail -n 1 <<<"$out")"
    busy=yes
    return 0
  fi
  if [[ $code == [$wanted] ]] && grep -qE -- "$text" <<<"$out"; then return 0; fi
  printf 'expected exit code %s and "%s", got %s:\n%s\n' "$wanted" "$text" "$code" "$out"
  cat "$scratch/own.log"
  return 1
}
busy=no
gate 0 '^2 kernels: 2 recorded$'
# Where not even a baseline could be taken there is nothing more to learn. The second run compares, whatever it finds on a
# busy machine; three times as slow is found under any load.
if [ $busy = no ]; then
  gate 01 '^2 kernels: [^r]*(regressed|passed|improved)'
  busy=no
  gate 1 '^regressed: polynomial/' GAMBREL_SLOWDOWN='^polynomial=3'
fi

if [ -x "$scratch/own/own_benchmark" ]; then
  echo "-- its benchmark's JSON, fed to the installed gate"
  "$scratch/own/own_benchmark" --benchmark_format=json --benchmark_repetitions=15 --benchmark_min_time=0.0001 >"$scratch/own.json" 2>/dev/null
  code=0
  told=$("$prefix/bin/gambrel" check --from "$scratch/own.json" --db "$scratch/fed.sqlite" --allow-unmeasured 2>"$scratch/own.log") || code=$?
  if [ $code != 0 ] || ! grep -q '^2 kernels: ' <<<"$told" || ! grep -q '^polynomial ' <<<"$told"; then
    printf 'exit code %s\n%s\n' $code "$told"
    cat "$scratch/own.log"
    exit 1
  fi
fi
