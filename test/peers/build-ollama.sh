#!/usr/bin/env bash
# Builds Ollama, the real engine of the heavier suite, from the Go module proxy and Debian's packages, once per machine;
# it never fetches a ready-made program. The last line on stdout is the path of the binary; progress goes to stderr.
#   bash test/peers/build-ollama.sh        HEARTH_PEERS_CACHE=DIR keeps what is built elsewhere than ~/.cache/hearth-peers
set -euo pipefail

version=0.17.4
malgo=v0.11.24 # the Go module that carries miniaudio.h, which the module of Ollama leaves out
cache="${HEARTH_PEERS_CACHE:-$HOME/.cache/hearth-peers}/ollama-v$version"

fail() { echo "build-ollama: $*" >&2; exit 1; }

# Without AVX2, FMA and F16C the engine reads prompts nine times slower; on a processor that lacks one it would crash.
flags="-O3"
if [ "$(uname -m)" = x86_64 ] && grep -qw avx2 /proc/cpuinfo && grep -qw fma /proc/cpuinfo && grep -qw f16c /proc/cpuinfo; then
  flags="-O3 -march=x86-64-v3"
fi

mkdir -p "$cache" 2>/dev/null || fail "cannot write to $cache; set HEARTH_PEERS_CACHE to a folder that can be written."
exec 9>"$cache/lock" # two suites at once: the second waits for the first one's build
flock 9

if [ -x "$cache/ollama" ] && [ "$(cat "$cache/flags" 2>/dev/null)" = "$flags" ]; then
  echo "$cache/ollama"
  exit 0
fi

command -v go >/dev/null || fail "Go is not on PATH; install Go 1.24 or newer to build Ollama $version."
command -v g++ >/dev/null || fail "g++ is not on PATH; install gcc and g++ to build Ollama $version."

finds_headers() { g++ -E -x c++ -o /dev/null - <<<$'#include <nlohmann/json.hpp>\n#include <stb/stb_image.h>' 2>/dev/null; }
if ! finds_headers; then
  command -v apt-get >/dev/null || fail "nlohmann/json.hpp or stb/stb_image.h is missing; install both below /usr/include."
  root=()
  [ "$(id -u)" = 0 ] || root=(sudo -n)
  install_headers() { "${root[@]}" apt-get install -y -qq --no-install-recommends nlohmann-json3-dev libstb-dev >&2 9>&-; }
  install_headers || { "${root[@]}" apt-get update -qq >&2 9>&- && install_headers; } ||
    fail "apt-get could not install nlohmann-json3-dev and libstb-dev; install them by hand."
  finds_headers || fail "nlohmann-json3-dev and libstb-dev are installed, but g++ does not find their headers."
fi

work="$cache/build" # always the same path: it is part of what Go's build cache compares
rm -rf "$work"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/include/miniaudio" "$work/bin"
module=$(cd "$work" && go mod download -json "github.com/gen2brain/malgo@$malgo" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') ||
  fail "the Go module proxy did not give malgo $malgo; check the network and run this again."
cp "$module/miniaudio.h" "$work/include/miniaudio/" || fail "malgo $malgo carries no miniaudio.h; the pinned version has changed."

echo "Building Ollama $version (once, about three minutes on two cores) ..." >&2
# Without the version in it the engine calls itself 0.0.0, which clients with a minimum version refuse.
(cd "$work" && CGO_ENABLED=1 CGO_CFLAGS="$flags -I$work/include" CGO_CXXFLAGS="$flags -I$work/include" GOBIN="$work/bin" \
  go install -ldflags "-s -w -X github.com/ollama/ollama/version.Version=$version" "github.com/ollama/ollama@v$version" \
  >"$cache/build.log" 2>&1 9>&-) || { tail -n 40 "$cache/build.log" >&2; fail "go install of Ollama $version failed; all it said is in $cache/build.log."; }

"$work/bin/ollama" --version 2>&1 | grep -q "$version" || fail "the Ollama that was built does not start or is not version $version."
rm -f "$cache/flags" # the new binary counts only together with its flags
mv "$work/bin/ollama" "$cache/ollama"
printf '%s\n' "$flags" >"$cache/flags"
echo "$cache/ollama"
