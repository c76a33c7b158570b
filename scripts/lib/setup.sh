# Set-up shared by the scripts; sourced. Idempotent; says what it installs. Works on a fresh Debian as root.
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
STAMPS=$ROOT/.stamps
PY=$ROOT/.venv/bin/python
mkdir -p "$STAMPS"

say() { printf '== %s\n' "$*" >&2; }

# need_apt PACKAGE...: Debian packages, behind a policy that keeps their servers from starting.
need_apt() {
  local missing=() p
  for p in "$@"; do dpkg-query -W -f='${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing+=("$p"); done
  [ ${#missing[@]} -eq 0 ] && return 0
  say "installing Debian packages: ${missing[*]}"
  local policy=/usr/sbin/policy-rc.d saved='' rc=0
  [ -e "$policy" ] && { saved=$(mktemp); cp -p "$policy" "$saved"; }
  printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod 755 "$policy"
  [ -e "$STAMPS/apt-updated" ] || { apt-get update -qq >&2 && touch "$STAMPS/apt-updated"; }
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || rc=$?
  if [ -n "$saved" ]; then mv "$saved" "$policy"; else rm -f "$policy"; fi
  return $rc
}

python_sum() { cat "$ROOT/scripts/locks/$1.txt" "$ROOT/pyproject.toml" | sha256sum | cut -c1-16; }

# need_python LOCK: .venv holding what scripts/locks/LOCK.txt names, and this package itself, editable.
need_python() {
  local lock=$ROOT/scripts/locks/$1.txt sum
  sum=$(python_sum "$1")
  [ -x "$PY" ] && [ -e "$STAMPS/python-$1-$sum" ] && return 0
  [ "$1" = runtime ] && [ -x "$PY" ] && [ -e "$STAMPS/python-dev-$(python_sum dev)" ] && return 0
  say "installing the Python packages of scripts/locks/$1.txt into .venv"
  [ -x "$PY" ] || python3 -m venv "$ROOT/.venv"
  "$PY" -m pip install -q --disable-pip-version-check --require-hashes -r "$lock" >&2
  "$PY" -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e "$ROOT" >&2
  touch "$STAMPS/python-$1-$sum"
}

# need_node DIR...: the npm packages of folders with a package-lock.json.
need_node() {
  local dir stamp
  for dir in "$@"; do
    stamp=$STAMPS/node-${dir//\//-}-$(sha256sum "$ROOT/$dir/package-lock.json" | cut -c1-16)
    [ -e "$stamp" ] && [ -d "$ROOT/$dir/node_modules" ] && continue
    say "installing the npm packages of $dir"
    (cd "$ROOT/$dir" && npm ci --no-fund --no-audit --loglevel=error >&2)
    touch "$stamp"
  done
}

# need_bindings DIR...: TypeScript packages, built when a source is newer than what was built.
need_bindings() {
  local dir
  for dir in "$@"; do
    [ -d "$ROOT/$dir/dist" ] && [ -z "$(find "$ROOT/$dir/src" "$ROOT/$dir/package.json" -newer "$ROOT/$dir/dist" -print -quit)" ] && continue
    say "building $dir"
    (cd "$ROOT/$dir" && npm run --silent build >&2 && touch dist)
  done
}
