#!/usr/bin/env bash
# Builds, against a llama.cpp build tree of the same source (checked with b11434):
#   libggml-fakegpu.so   a ggml backend that poses as N CUDA devices of any size and computes on the CPU
#   memoracle            prints what llama.cpp itself would allocate for a llama-server command line
# usage: build.sh LLAMA_CPP_SOURCE LLAMA_CPP_BIN_DIR [OUTPUT_DIR]
#   LLAMA_CPP_BIN_DIR holds libggml*.so and libllama*.so of that source (shared libraries, GGML_NATIVE is fine).
# use:  FAKEGPU=24564:23900,12282 LD_PRELOAD=OUT/libggml-fakegpu.so llama-server --list-devices
#   (TOTAL_MIB[:FREE_MIB] a device; FAKEGPU_DESC names them; FAKEGPU_NO_FA=1 makes cards without flash attention)
# The table of operations CUDA supports is taken from the source at build time, not kept here.
set -euo pipefail
src=$(realpath "$1"); bin=$(realpath "$2"); here=$(cd "$(dirname "$0")" && pwd); out=$(realpath -m "${3:-$here/build}")
mkdir -p "$out"
rpath="\$ORIGIN/$(realpath --relative-to="$out" "$bin")"   # relative: both folders may be moved together
awk '/^static bool ggml_backend_cuda_device_supports_op\(/ {f=1} f {print} f && /^}/ {exit}' \
    "$src/ggml/src/ggml-cuda/ggml-cuda.cu" |
  awk '/^    switch \(op->op\)/ {f=1} f {print}' |
  sed -e 's/ && !ggml_cuda_op_mul_mat_use_fwht(op)//' \
      -e 's/ggml_cuda_flash_attn_ext_supported(dev_ctx->device, op)/fake_fattn_supported(op)/' \
      -e 's/ggml_cuda_lightning_indexer_supported(dev_ctx->device, op)/true/' > "$out/cuda_supports_op.inc"
grep -q fake_fattn_supported "$out/cuda_supports_op.inc" || { echo "build.sh: the CUDA source has changed: adapt the substitutions" >&2; exit 1; }
g++ -O2 -fPIC -shared -std=c++17 -DGGML_BACKEND_DL -DGGML_BACKEND_SHARED -DGGML_SHARED -DGGML_BACKEND_BUILD \
  -I"$src/ggml/include" -I"$src/ggml/src" -I"$out" "$here/fakegpu.cpp" -o "$out/libggml-fakegpu.so" \
  -L"$bin" -lggml -lggml-base -lggml-cpu -Wl,-rpath,"$rpath"
g++ -O1 -std=c++17 -DGGML_BACKEND_SHARED -DGGML_SHARED -DGGML_USE_CPU -DLLAMA_SHARED \
  -I"$src/common" -I"$src/include" -I"$src/src" -I"$src/ggml/include" -I"$src/vendor" \
  -DLLAMA_EXT_HEADER="\"$src/src/llama-ext.h\"" "$here/memoracle.cpp" -o "$out/memoracle" \
  -L"$bin" -lllama-common -lllama -lggml -lggml-base -lggml-cpu -Wl,-rpath,"$rpath"
echo "built in $out"
