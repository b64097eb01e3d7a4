#!/usr/bin/env bash
# Create .venv with everything pinned. `make venv` calls this when constraints.txt or a pyproject.toml is newer than the
# stamp, which is written last: an interrupted installation is taken up again, not taken for a finished one.
#
# usage: ci/make_venv.sh STAMP [pip arguments…]     environment: PYTHON, the interpreter to use (python3)
set -euo pipefail

stamp=$1
shift
venv=$(dirname "$stamp")
python=${PYTHON:-python3}

version='import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))'

# A .venv that works stays, whoever made it; one that is half made, moved or too old is made again.
if ! "$venv/bin/python" -c "$version" >/dev/null 2>&1 || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
  if ! found=$("$python" -c "$version" 2>/dev/null); then
    echo "error: stepwise needs Python 3.11 or newer, and $python is ${found:-not there}" >&2
    echo "  next: make ${MAKECMDGOALS:-venv} PYTHON=python3.11   (or the path of any newer Python)" >&2
    exit 1
  fi
  echo "creating $venv with Python $found"
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input install --constraint constraints.txt)
group='import sys, tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"][sys.argv[1]], sep="\n")'
mapfile -t build_tools < <("$venv/bin/python" -c "$group" build)
mapfile -t tools < <("$venv/bin/python" -c "$group" dev)
packages=(-e packages/stepwise-core -e packages/stepwise-track -e packages/stepwise-server -e packages/stepwise-cli)

# The build tools come first and the packages build with them: without build isolation even those are pinned.
"${pip[@]}" --quiet "$@" "${build_tools[@]}"
if ! "$venv/bin/python" -c 'from importlib.metadata import version; version("torch")' 2>/dev/null; then
  echo "installing torch: the one large download, with pip's own progress"
  "${pip[@]}" "$@" torch
fi
echo "installing the four packages and the tools"
"${pip[@]}" --quiet --no-build-isolation "$@" "${packages[@]}" "${tools[@]}"
# clearml-agent wants older libraries than the tools above, so it lives in an environment of its own, as a user's would.
if ! "$venv/agent/bin/clearml-agent" --version >/dev/null 2>&1; then
  "$venv/bin/python" -m venv "$venv/agent"
fi
"$venv/agent/bin/python" -m pip --disable-pip-version-check --no-input install --quiet "$@" -r ci/agent-requirements.txt
touch "$stamp"
echo "$venv is ready"
