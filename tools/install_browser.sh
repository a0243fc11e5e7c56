#!/usr/bin/env bash
# Installs the browser that the tests of the pages drive: Chromium, headless, with its driver.
#
#   tools/install_browser.sh        (`make test` calls it; does nothing where they are there)
#
# As root on Debian or Ubuntu it asks apt-get, unless TFX_REGISTRY_NO_APT=1. Elsewhere it says what
# is missing and ends well: the tests that need the browser then fail, naming the packages.
set -euo pipefail

packages=()
command -v chromium >/dev/null || packages+=(chromium)
command -v chromedriver >/dev/null || packages+=(chromium-driver)
# Without any font the pages are blank boxes.
[[ ${#packages[@]} -eq 0 ]] || compgen -G '/usr/share/fonts/truetype/*' >/dev/null ||
  packages+=(fonts-dejavu-core)
[[ ${#packages[@]} -gt 0 ]] || exit 0

if [[ $EUID -ne 0 || -n ${TFX_REGISTRY_NO_APT:-} ]] || ! command -v apt-get >/dev/null; then
  echo "install_browser: for all tests, install: sudo apt-get install ${packages[*]}" >&2
  exit 0
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
echo "install_browser: installing ${packages[*]} with apt-get ..."
export DEBIAN_FRONTEND=noninteractive
# Debian's stable updates replace the pair together, so both are asked for: a driver works only with
# a browser of its own version.
if ! { apt-get update && apt-get install -y --no-install-recommends chromium chromium-driver \
  "${packages[@]}"; } >"$log" 2>&1; then
  tail -n 15 "$log" >&2
  echo "install_browser: error: apt-get could not install ${packages[*]}" >&2
  exit 1
fi
