#!/usr/bin/env bash
# Builds btcd and lnd, the real Lightning network of the heavier suite, from the Go module proxy, once per machine. The last line on
# stdout is the folder that holds btcd, btcctl, lnd and lncli; progress goes to stderr.
#   bash test/peers/build-lnd.sh        HEARTH_PEERS_CACHE=DIR keeps what is built elsewhere than ~/.cache/hearth-peers
set -euo pipefail

btcd=v0.24.2
here="$(cd "$(dirname "$0")" && pwd)/lnd"
lnd=$(sed -n 's/.*lightningnetwork\/lnd \(v[^ ]*\).*/\1/p' "$here/go.mod" | head -n 1)
cache="${HEARTH_PEERS_CACHE:-$HOME/.cache/hearth-peers}/lnd-$lnd-btcd-$btcd"

fail() { echo "build-lnd: $*" >&2; exit 1; }

mkdir -p "$cache" 2>/dev/null || fail "cannot write to $cache; set HEARTH_PEERS_CACHE to a folder that can be written."
exec 9>"$cache/lock" # two suites at once: the second waits for the first one's build
flock 9

if [ -e "$cache/complete" ]; then
  echo "$cache"
  exit 0
fi

command -v go >/dev/null || fail "Go is not on PATH; install Go 1.25 or newer to build lnd $lnd."

say_and_fail() { tail -n 40 "$cache/build.log" >&2; fail "$1 could not be built; all it said is in $cache/build.log."; }

echo "Building btcd $btcd and lnd $lnd (once, about three minutes on two cores) ..." >&2
GOBIN="$cache" go install "github.com/btcsuite/btcd@$btcd" "github.com/btcsuite/btcd/cmd/btcctl@$btcd" >"$cache/build.log" 2>&1 9>&- || say_and_fail "btcd $btcd"
# `go install` refuses lnd: its module replaces another, so it is built from a module of our own that does the same.
(cd "$here" && go build -mod=mod -trimpath -ldflags="-s -w" -tags "invoicesrpc signrpc walletrpc chainrpc routerrpc peersrpc" \
  -o "$cache/" github.com/lightningnetwork/lnd/cmd/lnd github.com/lightningnetwork/lnd/cmd/lncli) >>"$cache/build.log" 2>&1 9>&- || say_and_fail "lnd $lnd"

"$cache/lnd" --version >/dev/null || fail "the lnd that was built does not start."
touch "$cache/complete"
echo "$cache"
