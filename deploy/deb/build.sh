#!/usr/bin/env bash
# Builds dist/linehall_VERSION_ARCH.deb from bin/; the same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
version=${1#v}
# A Debian version begins with a digit; a bare commit id becomes a version below every release.
[[ $version =~ ^[0-9] ]] || version="0~$version"
arch=$(dpkg --print-architecture)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

install -D -m 0755 bin/linehall "$root/usr/bin/linehall"
install -D -m 0755 bin/linesim "$root/usr/bin/linesim"
install -D -m 0644 deploy/systemd/linehall.service "$root/usr/lib/systemd/system/linehall.service"
for file in linehall.yaml terminals.csv linehall.schema.json; do
  install -D -m 0644 "configs/$file" "$root/usr/share/doc/linehall/examples/$file"
done
install -D -m 0644 deploy/prometheus/linehall.rules.yml "$root/usr/share/doc/linehall/examples/linehall.rules.yml"
install -D -m 0644 README.md "$root/usr/share/doc/linehall/README.md"
install -D -m 0644 README.zh-CN.md "$root/usr/share/doc/linehall/README.zh-CN.md"
install -D -m 0644 LICENSE "$root/usr/share/doc/linehall/copyright"
install -d -m 0755 "$root/DEBIAN"
cat > "$root/DEBIAN/control" <<CONTROL
Package: linehall
Version: $version
Architecture: $arch
Maintainer: The Linehall authors <linehall@localhost>
Depends: adduser
Section: net
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root/usr" | cut -f1)
Description: telephone exchange and video conference over leased lines
 SIP exchange for desk phones and video conference for venues on one box,
 both on one ledger of each leased line.
CONTROL
cat > "$root/DEBIAN/postinst" <<'SCRIPT'
#!/bin/sh
set -e
if [ "$1" = configure ]; then
  getent passwd linehall >/dev/null || adduser --system --group --home /var/lib/linehall --no-create-home --quiet linehall
  if [ ! -e /etc/linehall/linehall.yaml ]; then
    install -d -m 0770 -g linehall /etc/linehall
    for file in linehall.yaml terminals.csv linehall.schema.json; do
      install -m 0640 -g linehall "/usr/share/doc/linehall/examples/$file" "/etc/linehall/$file"
    done
    echo "linehall: edit /etc/linehall/linehall.yaml and terminals.csv, run 'linehall check', then 'systemctl enable --now linehall'"
  fi
  [ -d /run/systemd/system ] && systemctl daemon-reload || true
fi
SCRIPT
chmod 0755 "$root/DEBIAN/postinst"
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
mkdir -p dist
dpkg-deb --root-owner-group --build "$root" "dist/linehall_${version}_${arch}.deb"
