#!/usr/bin/env bash
# gambrel's --suite cuda: with a plugin that pretends, and, where nvcc is, with the real one compiled and linked.
# usage: cuda_test.sh SOURCE_DIR PROGRAM FAKE_PLUGIN [NVCC]
set -euo pipefail
source_dir=$1 program=$2 fake=$3 nvcc=${4:-}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failures=0

# expect CODE TEXT ARGUMENT...: the program's exit code, and a text in what it prints on either stream.
expect() {
  local wanted=$1 text=$2 code=0 out
  shift 2
  out=$("$program" "$@" 2>&1) || code=$?
  if [ $code = "$wanted" ] && grep -qF -- "$text" <<<"$out"; then return 0; fi
  printf 'gambrel %s\nexpected exit code %s and "%s", got %s:\n%s\n\n' "$*" "$wanted" "$text" "$code" "$out"
  failures=$((failures + 1))
}

unset GAMBREL_CUDA_PLUGIN
GAMBREL_CUDA_PLUGIN=$scratch/none.so expect 4 'the CUDA plugin cannot be loaded: ' measure --suite cuda

echo "-- a pretended device"
export GAMBREL_CUDA_PLUGIN=$fake
expect 0 'gemm/bf16/cublas/m4096.n4096.k4096/1t  2000.000  60000.0    50.0      100.0%  fma_f32  16/16' measure --suite cuda --rounds 15
expect 0 'libraries: CUDA: Pretended GPU (GPU); CUDA: Pretended GPU (GPU), cuBLAS' measure --suite cuda --rounds 15
FAKE_CUDA_WRONG=gemm expect 4 'gemm/bf16/cublas/m4096.n4096.k4096/1t is wrong' measure --suite cuda --rounds 15
expect 0 '2 kernels: 2 recorded' check --suite cuda --rounds 15 --db "$scratch/b.sqlite"
GAMBREL_SLOWDOWN='^gemm=1.5' expect 1 'regressed: gemm/bf16/cublas' check --suite cuda --rounds 15 --db "$scratch/b.sqlite" --filter '^gemm'

echo "-- no device, and a cuBLAS that does not start"
for verb in measure check; do
  FAKE_CUDA_CODE=35 expect 4 'no CUDA device: error 35' $verb --suite cuda
  FAKE_CUDA_CODE=-1 expect 4 'cuBLAS does not start: cublasCreate = 1' $verb --suite cuda
done

if [ -n "$nvcc" ]; then
  echo "-- the real plugin, compiled by $nvcc"
  "$nvcc" -std=c++20 -O1 -arch=sm_90 -shared -Xcompiler -fPIC,-Wall "$source_dir/kernels/suite/cuda/plugin.cu" -lcublas -o "$scratch/libgambrel_cuda.so"
  export GAMBREL_CUDA_PLUGIN=$scratch/libgambrel_cuda.so
  code=0
  out=$("$program" measure --suite cuda --rounds 15 2>&1) || code=$?
  if [ $code = 4 ] && grep -qE 'no CUDA device: error [0-9]+' <<<"$out"; then
    echo "   skipped, as it should be: $(head -n 1 <<<"$out")"
  elif [ $code != 0 ]; then
    printf 'exit code %s from the real plugin:\n%s\n' $code "$out"
    failures=$((failures + 1))
  fi
else
  echo "-- the real plugin: skipped, there is no nvcc"
fi
[ $failures = 0 ]
