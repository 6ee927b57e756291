# The wheel, as somebody installs it: built, put into a fresh environment, tried out of the checkout.
# `make wheel` runs it; BIN is where the tools are, PYTHON the interpreter of the environment.
set -eu
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
"$BIN/python" -m hatchling build -t wheel -d "$place" > "$place/build.log" || { cat "$place/build.log"; exit 1; }
"$PYTHON" -m venv "$place/venv"
"$place/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$place"/*.whl
cd "$place"
export HOME="$place/home" XDG_STATE_HOME="$place/state"
unset PYTHONPATH
venv/bin/waxlocal --version
venv/bin/waxlocald --help > "$place/help"
venv/bin/waxlocal demo > "$place/demo" || { cat "$place/demo"; exit 1; }
grep -q "0 missing, 0 doubled" "$place/demo" || { cat "$place/demo"; exit 1; }
printf '%s\n' 'from waxell_observe import WaxellContext' 'with WaxellContext("agent"): pass' > program.py
venv/bin/waxlocal run program.py
venv/bin/waxlocal sql 'SELECT agent_name FROM runs' | grep -qw agent
echo "the wheel records, shows, delivers, and stands in for waxell_observe"
