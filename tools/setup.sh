#!/bin/sh
# Make the environment: checks the tools, creates $VENV, installs the pinned packages, builds the ROS workspace.
# Does nothing when nothing changed since the last time.
set -eu
cd "$(dirname "$0")/.."
fail() { echo "error: $*" >&2; exit 1; }

command -v "$PYTHON" >/dev/null 2>&1 || fail "no '$PYTHON' found: install Python 3.11 or 3.12 with venv, or run make PYTHON=/path/to/python3.11"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' \
  || fail "'$PYTHON' is $("$PYTHON" --version 2>&1): taustack needs Python 3.11 or 3.12; run make PYTHON=/path/to/python3.11"
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || fail "'$PYTHON' has no venv: install it (Debian, Ubuntu: apt install python3-venv)"
command -v g++ >/dev/null 2>&1 || fail "no g++ found: it builds the ROS interfaces (Debian, Ubuntu: apt install g++)"
command -v cmake >/dev/null 2>&1 || fail "no cmake found: it builds the ROS interfaces (Debian, Ubuntu: apt install cmake)"
cmake_version=$(cmake --version | head -n 1 | sed 's/[^0-9]*\([0-9]*\.[0-9]*\).*/\1/')
case "$cmake_version" in
  [012].*|3.[0-9]|3.1[0-5]) fail "cmake is $cmake_version: taustack needs 3.16 or newer" ;;
esac

stamp="$VENV/.taustack-setup"
wanted=$(cat pyproject.toml constraints.txt tools/setup.sh tools/lerobot.txt | cksum; "$PYTHON" --version; pwd)
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  echo "setting up $VENV (once, some minutes) ..."
  [ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
  log="$VENV/setup.log"
  if ! "$VENV/bin/python" -m pip install --disable-pip-version-check -c constraints.txt -e '.[sim,train,video,bench,ros-build,dev]' > "$log" 2>&1; then
    fail "the packages could not be installed ($(grep -m 1 '^ERROR' "$log" || tail -n 1 "$log")): check the network and run make again; the whole log is $log"
  fi
  # Only a test opens datasets with LeRobot, which asks for an older torch: beside the environment, without what it depends on.
  if ! "$VENV/bin/python" -m pip install --disable-pip-version-check --no-deps --upgrade --target "$VENV/lerobot" -r tools/lerobot.txt >> "$log" 2>&1; then
    fail "LeRobot could not be installed ($(grep -m 1 '^ERROR' "$log" || tail -n 1 "$log")): check the network and run make again; the whole log is $log"
  fi
  "$VENV/bin/python" -c "import taustack.controllers.tracker" || fail "the functions of a tick could not be compiled"  # else the first start takes seconds more
  echo "$wanted" > "$stamp"
fi
"$VENV/bin/python" tools/build_ros_ws.py || fail "the ROS interfaces could not be built"
