#!/usr/bin/env bash
# Installs the Debian packages that the end-to-end tests (test) or the benchmarks (bench) need, only those that are missing.
set -euo pipefail
case "${1:-test}" in
  test)  want=(gcc libc6-dev make sip-tester baresip dnsmasq-base kea-dhcp4-server isc-dhcp-server tftp-hpa chromium firefox-esr iproute2 nftables ffmpeg libspandsp-dev fonts-noto-cjk ca-certificates curl nodejs) ;;
  bench) want=(gcc libc6-dev kamailio rtpengine-daemon janus) ;;
  *) echo "usage: $0 test|bench" >&2; exit 2 ;;
esac
declare -A probe=([gcc]=gcc [make]=make [sip-tester]=sipp [baresip]=baresip [dnsmasq-base]=dnsmasq [kea-dhcp4-server]=kea-dhcp4 [isc-dhcp-server]=dhcpd [tftp-hpa]=tftp [chromium]=chromium [firefox-esr]=firefox-esr [iproute2]=ip
  [nftables]=nft [ffmpeg]=ffmpeg [curl]=curl [nodejs]=node [kamailio]=kamailio [rtpengine-daemon]=rtpengine [janus]=janus)
missing=()
for package in "${want[@]}"; do
  # A command that is there counts as installed, whoever installed it (Node.js often comes from elsewhere than Debian).
  if [[ -n "${probe[$package]:-}" ]]; then
    PATH="$PATH:/usr/sbin:/sbin" command -v "${probe[$package]}" >/dev/null 2>&1 && continue
  fi
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
(( ${#missing[@]} == 0 )) && exit 0
if (( EUID != 0 )); then
  echo "these Debian packages are missing: ${missing[*]}; install them (apt-get install ${missing[*]}) or run as root" >&2
  exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# A package must not start a service of its own: the tests start what they need, where they need it.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
