#!/bin/sh
# Prepares the environment: `sh requirements/install.sh dev|runtime|bench|bench-gepa|...`. A second run with unchanged locks does nothing.
#
# PYTHON names the interpreter (default: the first suitable one found); VENV the environment's folder (default: .venv).
set -eu

kind=${1:-dev}
venv=${VENV:-.venv}
lock=requirements/$kind.lock
stamp=$venv/.installed

say() { printf '%s\n' "$*" >&2; }

suitable() { "$1" -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] < (3, 14)))' >/dev/null 2>&1; }

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        suitable "$PYTHON" && { echo "$PYTHON"; return; }
        say "install: PYTHON=$PYTHON is $("$PYTHON" -V 2>&1 || true); Evoline needs Python 3.11, 3.12 or 3.13."
        return 1
    fi
    for candidate in python3 python3.13 python3.12 python3.11; do
        if suitable "$candidate"; then echo "$candidate"; return; fi
    done
    say "install: found $(python3 -V 2>&1 || echo 'no python3'), but Evoline needs Python 3.11, 3.12 or 3.13."
    say "         Install one (Debian, Ubuntu: apt-get install python3.11 python3.11-venv) or name it: make install PYTHON=/path/to/python3.11"
    return 1
}

fingerprint() { "$1" - "$2" "$PWD" <<'PY'
import hashlib, pathlib, sys
files = (sys.argv[1], "pyproject.toml")
digest = hashlib.sha256(sys.argv[2].encode())
for name in files:
    digest.update(pathlib.Path(name).read_bytes())
print(digest.hexdigest())
PY
}

installed() { [ -x "$venv/bin/python" ] && [ -f "$stamp" ] && grep -qx "$1 $2" "$stamp"; }

make_venv() {
    if [ -x "$venv/bin/python" ] && suitable "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then return; fi
    if ! "$python" -m venv --clear "$venv"; then
        say "install: $python cannot make a virtual environment; see the message above (Debian, Ubuntu: apt-get install python3-venv)."
        return 1
    fi
}

pip_install() { "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@"; }

uv_install() { "$venv/bin/uv" pip install -q --python "$venv/bin/python" "$@"; }

# The environments of the benchmarks' peers do not hold the project.
of_peers() { case $kind in bench*) true ;; *) false ;; esac; }
install_project() { of_peers || "$@" --no-deps --no-build-isolation -e .; }

# uv installs the lock in a fraction of pip's time; where it is not to be had or fails (an index that only pip knows), pip does it.
install_all() {
    if pip_install --require-hashes -r requirements/bootstrap.lock -r requirements/bootstrap-build.lock &&
        uv_install --require-hashes -r "$lock" && install_project uv_install; then return; fi
    say "install: uv could not do it; going on with pip, which takes one to three minutes."
    pip_install --require-hashes -r requirements/bootstrap-build.lock
    pip_install --require-hashes -r "$lock"
    install_project pip_install
}

# Else each process of a user who keeps Python from writing bytecode (PYTHONDONTWRITEBYTECODE) compiles 1,400 modules at its start.
compile_modules() {
    of_peers || env -u PYTHONDONTWRITEBYTECODE "$venv/bin/python" -c 'import evoline.cli.stack
for name in ("analytics", "evolution", "executor", "generator", "guardrail", "learner"): __import__(f"services.{name}.app")'
}

[ -f "$lock" ] || { say "install: no $lock here; run it from the project's folder as: sh requirements/install.sh dev|runtime|bench"; exit 2; }
if [ -x "$venv/bin/python" ] && suitable "$venv/bin/python"; then python=$venv/bin/python; else python=$(find_python); fi
print=$(fingerprint "$python" "$lock")
if installed "$kind" "$print"; then exit 0; fi
# The development lock holds everything that the runtime lock holds, in the same versions.
if [ "$kind" = runtime ] && installed dev "$(fingerprint "$python" requirements/dev.lock)"; then exit 0; fi

say "install: $kind dependencies into $venv with $("$python" -V 2>&1)"
rm -f "$stamp"
make_venv
install_all
compile_modules
printf '%s %s\n' "$kind" "$print" >"$stamp"
