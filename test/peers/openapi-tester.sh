#!/usr/bin/env bash
# Installs Schemathesis, the property-based tester of OpenAPI documents, from PyPI into an environment of its own, once per
# machine. The last line on stdout is the path of its program; progress goes to stderr.
#   bash test/peers/openapi-tester.sh        HEARTH_PEERS_CACHE=DIR keeps it elsewhere than in ~/.cache/hearth-peers
set -euo pipefail

# Both decide which cases a seed stands for.
version=4.32.5
hypothesis=6.170.15
cache="${HEARTH_PEERS_CACHE:-$HOME/.cache/hearth-peers}/schemathesis-$version"
program="$cache/venv/bin/schemathesis"

fail() { echo "openapi-tester: $*" >&2; exit 1; }

mkdir -p "$cache" 2>/dev/null || fail "cannot write to $cache; set HEARTH_PEERS_CACHE to a folder that can be written."
exec 9>"$cache/lock" # two suites at once: the second waits for the first one's installation
flock 9

# The mark is written last: an installation that was interrupted is made anew.
if [ -f "$cache/ready" ] && [ "$(cat "$cache/ready")" = "$version $hypothesis" ]; then
  echo "$program"
  exit 0
fi

python=$(command -v python3) || fail "python3 is not on PATH; install Python 3.10 or newer."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$python is $("$python" --version), which is too old; install Python 3.10 or newer."

echo "Installing Schemathesis $version (once) ..." >&2
rm -rf "$cache/venv" "$cache/ready"
"$python" -m venv "$cache/venv" >"$cache/install.log" 2>&1 9>&- || { tail -n 20 "$cache/install.log" >&2; fail "python3 cannot make a virtual environment; install its venv module (python3-venv)."; }
"$cache/venv/bin/python" -m pip install --disable-pip-version-check "schemathesis==$version" "hypothesis==$hypothesis" >>"$cache/install.log" 2>&1 9>&- ||
  { tail -n 20 "$cache/install.log" >&2; fail "pip could not install Schemathesis $version; check the network and run this again. All it said is in $cache/install.log."; }

"$program" --version 2>&1 | grep -qF "$version" || fail "the Schemathesis that was installed does not start or is not version $version."
printf '%s\n' "$version $hypothesis" >"$cache/ready"
echo "$program"
