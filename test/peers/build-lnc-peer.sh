#!/usr/bin/env bash
# Builds the mailbox and session server of the heavier suite, from the Go module proxy, once per machine and version of their source. The
# last line on stdout is the program's path; progress goes to stderr.
#   bash test/peers/build-lnc-peer.sh        HEARTH_PEERS_CACHE=DIR keeps what is built elsewhere than ~/.cache/hearth-peers
set -euo pipefail

here="$(cd "$(dirname "$0")" && pwd)/lnc"
version=$(cat "$here"/*.go "$here/go.mod" "$here/go.sum" | sha256sum | cut -c 1-12)
cache="${HEARTH_PEERS_CACHE:-$HOME/.cache/hearth-peers}/lnc-peer-$version"

fail() { echo "build-lnc-peer: $*" >&2; exit 1; }

mkdir -p "$cache" 2>/dev/null || fail "cannot write to $cache; set HEARTH_PEERS_CACHE to a folder that can be written."
exec 9>"$cache/lock" # two suites at once: the second waits for the first one's build
flock 9

if [ ! -e "$cache/complete" ]; then
  command -v go >/dev/null || fail "Go is not on PATH; install Go 1.25 or newer."
  echo "Building the peer of Lightning Node Connect (once, about half a minute) ..." >&2
  if ! (cd "$here" && go build -trimpath -ldflags="-s -w" -o "$cache/lncpeer" .) >"$cache/build.log" 2>&1 9>&-; then
    tail -n 40 "$cache/build.log" >&2
    fail "it could not be built; all it said is in $cache/build.log."
  fi
  touch "$cache/complete"
fi
echo "$cache/lncpeer"
