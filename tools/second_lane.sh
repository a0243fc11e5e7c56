#!/usr/bin/env bash
# Runs the tests on TFX 1.21 and Python 3.13 against a built wheel, on a machine too old for them.
#
#   tools/second_lane.sh WHEEL [PYTEST_ARGUMENT...]        (as root; `make test-second-lane` calls it)
#
# A Debian 13 root is made by debootstrap in a temporary folder. It gets the wheel, the tests and
# what installs them, and none of the source folders: what passes here passes for a user of the
# wheel. Then this machine's own environment (VENV, default .venv) and the one in the root write to
# the same databases at the same time. The folder is removed at the end, after everything mounted in
# it is unmounted.
set -euo pipefail

readonly suite=trixie
# git: what the tests register comes from a repository that they make.
readonly packages=python3,python3-venv,python3-dev,g++,git,ca-certificates
readonly project=/project

fail() {
  echo "second lane: error: $*" >&2
  exit 1
}

say() { echo "second lane: $*"; }

[[ $# -ge 1 ]] || fail "usage: tools/second_lane.sh WHEEL [PYTEST_ARGUMENT...]"
[[ $EUID -eq 0 ]] || fail "a Debian root folder can only be made as root: try sudo"
[[ -f $1 ]] || fail "there is no wheel $1: make one with \`make wheel\`"

# In a mount namespace of its own nothing stays mounted, whatever way this script ends.
if [[ -z ${TFX_REGISTRY_NAMESPACE:-} ]] && unshare --mount true 2>/dev/null; then
  TFX_REGISTRY_NAMESPACE=1 exec unshare --mount --propagation private bash "$0" "$@"
fi

wheel=$(realpath "$1")
shift
repository=$(realpath "$(dirname "$0")/..")
root=$(mktemp -d -t tfx-registry-lane.XXXXXXXX)
# Database servers refuse to run as root, and other users must get through.
chmod 755 "$root"

clean_up() {
  local status=$?
  trap - EXIT
  rm -f "$root.log"
  for folder in proc dev; do
    if mountpoint --quiet "$root/$folder"; then
      umount --recursive "$root/$folder" || umount --recursive --lazy "$root/$folder" || true
    fi
  done
  if grep --quiet --fixed-strings " $root/" /proc/self/mounts; then
    echo "second lane: error: $root is still mounted on, left as it is" >&2
    exit 1
  fi
  rm --recursive --force --one-file-system "$root"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install_debootstrap() {
  command -v debootstrap >/dev/null && return
  command -v apt-get >/dev/null || fail "debootstrap is missing: install it with your package manager"
  say "installing debootstrap"
  { apt-get update && DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends debootstrap; } >"$root.log" 2>&1 || {
    tail -n 15 "$root.log" >&2
    fail "debootstrap could not be installed with apt-get"
  }
  rm -f "$root.log"
}

# Prints the mirror that this machine's own Debian packages come from, or nothing.
debian_mirror() {
  command -v apt-get >/dev/null || return 0
  apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 2>/dev/null |
    awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }' || true
}

make_root() {
  local mirror
  mirror=$(debian_mirror)
  # Without a mirror debootstrap takes its own default.
  if ! debootstrap --variant=minbase --include="$packages" "$suite" "$root" ${mirror:+"$mirror"} \
    >"$root.log" 2>&1; then
    tail -n 15 "$root.log" >&2
    fail "debootstrap could not make a Debian 13 root: is the Debian mirror reached from here?"
  fi
  rm -f "$root.log"
}

# Names and certificates as this machine has them, so that a proxy's own certificate is trusted.
connect_root() {
  local bundle=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}
  for file in /etc/resolv.conf /etc/hosts; do
    [[ -e $file ]] && cp --dereference "$file" "$root$file"
  done
  [[ -f $bundle ]] && cp --dereference "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --make-rslave "$root/dev"
}

# Only what a test of the wheel needs: no src/, components/ or pipelines/.
copy_project() {
  mkdir "$root$project" "$root$project/dist"
  # Python may write its compiled files there at this very moment.
  tar --create --directory "$repository" --exclude=__pycache__ tests tools constraints \
    pyproject.toml | tar --extract --directory "$root$project"
  cp "$wheel" "$root$project/dist/"
}

# Runs a command in the root with a small environment: no variable of this machine's Python, but
# the ways to the network.
inside() {
  local passed=()
  local name
  for name in CI TERM {HTTP,HTTPS,NO,ALL}_PROXY {http,https,no,all}_proxy \
    UV_INDEX UV_DEFAULT_INDEX UV_INDEX_URL UV_EXTRA_INDEX_URL PIP_INDEX_URL PIP_EXTRA_INDEX_URL; do
    [[ -n ${!name:-} ]] && passed+=("$name=${!name}")
  done
  chroot "$root" /usr/bin/env -i HOME=/root PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin \
    LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt "${passed[@]}" \
    /bin/sh -c 'cd "$0" && exec "$@"' "$project" "$@"
}

# Writers with two releases of ML Metadata on one database: one outside, the other in the root.
mixed_writers() {
  local own=${VENV:-.venv}/bin/python
  cd "$repository"
  [[ -x $own ]] || fail "there is no environment ${VENV:-.venv}: make it with \`make setup\`"
  if [[ $("$own" tools/bootstrap.py --print-lane) == 1.21 ]]; then
    say "this machine's own lane is 1.21, too: no second release to write beside it"
    return
  fi
  say "writing to the same databases with both lanes"
  env --unset=PYTHONDONTWRITEBYTECODE TFX_REGISTRY_OTHER_ROOT="$root" \
    TFX_REGISTRY_OTHER_PYTHON="chroot '$root' /usr/bin/env -i HOME=/root PATH=/usr/bin:/bin \
      LANG=C.UTF-8 '$project/.venv/bin/python'" \
    "$own" -m pytest -p no:cacheprovider --basetemp="$root/tmp/mixed-writers" \
    tests/contract/test_mixed_writers.py
}

# Pipelines compiled by this lane's kfp, and their tasks by their command lines: all of a project, and
# our tasks of both examples. The three whole runs of one example are left to lane 1.16.
kubeflow() {
  inside python3 tools/bootstrap.py --lane 1.21 --venv .venv-kubeflow --variant kfp \
    --wheel "dist/$(basename "$wheel")" --extras emulators,examples,kfp,object-stores,test
  say "compiling for Kubeflow and running its tasks"
  inside timeout 1500 .venv-kubeflow/bin/python -m pytest tests/orchestrators/kubeflow \
    -m "not source_tree and not e2e"
}

# Pipelines under Airflow 2, which takes Python 3.12 at most where Debian 13 has 3.13: the package of
# Debian 12 can be installed beside it.
airflow() {
  sed "s/ $suite / bookworm /" "$root/etc/apt/sources.list" \
    >"$root/etc/apt/sources.list.d/bookworm.list"
  if ! { inside apt-get update && inside env DEBIAN_FRONTEND=noninteractive apt-get install -y \
    --no-install-recommends python3.11 libpython3.11-dev; } >"$root.log" 2>&1; then
    tail -n 15 "$root.log" >&2
    fail "Debian 12's Python 3.11 could not be installed in the root"
  fi
  inside python3 tools/bootstrap.py --lane 1.21 --venv .venv-airflow --variant airflow \
    --wheel "dist/$(basename "$wheel")" --extras airflow,examples,object-stores,test
  say "running pipelines under Airflow"
  inside timeout 1500 .venv-airflow/bin/python -m pytest -m "not source_tree" \
    tests/orchestrators/airflow
}

install_debootstrap
say "making a Debian 13 root ..."
started=$SECONDS
make_root
connect_root
copy_project
say "making it took $((SECONDS - started)) s"
inside python3 tools/bootstrap.py --lane 1.21 --venv .venv \
  --wheel "dist/$(basename "$wheel")" --extras benchmarks,dev,docs,examples,notebooks,tfx
inside bash tools/install_databases.sh
say "running the tests against the wheel"
inside .venv/bin/python -m pytest "$@" -m "not source_tree and not browser"
mixed_writers
if [[ $# -eq 0 ]]; then
  kubeflow
  airflow
fi
