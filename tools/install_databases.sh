#!/usr/bin/env bash
# Installs the database servers that the tests start for themselves: MariaDB and PostgreSQL.
#
#   tools/install_databases.sh        (`make test` calls it; does nothing where they are there)
#
# As root on Debian or Ubuntu it asks apt-get, unless TFX_REGISTRY_NO_APT=1. Elsewhere it says what
# is missing and ends well: the tests that need a server then fail, naming the package. No service
# is started and no database cluster is made.
set -euo pipefail

packages=()
PATH=$PATH:/usr/sbin
command -v mariadbd >/dev/null || command -v mysqld >/dev/null || packages+=(mariadb-server-core)
command -v mariadb >/dev/null || command -v mysql >/dev/null || packages+=(mariadb-client-core)
# Debian keeps PostgreSQL's server out of PATH.
command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null ||
  packages+=(postgresql)
[[ ${#packages[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 || -n ${TFX_REGISTRY_NO_APT:-} ]] || ! command -v apt-get >/dev/null; then
  echo "install_databases: for all tests, install: sudo apt-get install ${packages[*]}" >&2
  exit 0
fi

log=$(mktemp)
no_start=/usr/sbin/policy-rc.d
no_cluster=/etc/postgresql-common/createcluster.d/tfx-registry-tests.conf
made=("$log")
trap 'rm -f "${made[@]}"' EXIT
if [[ ! -e $no_start ]]; then
  made+=("$no_start")
  printf '#!/bin/sh\nexit 101\n' >"$no_start"
  chmod +x "$no_start"
fi
mkdir -p "$(dirname "$no_cluster")"
made+=("$no_cluster")
echo "create_main_cluster = false" >"$no_cluster"

echo "install_databases: installing ${packages[*]} with apt-get ..."
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } \
  >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "install_databases: error: apt-get could not install ${packages[*]}" >&2
  exit 1
fi
