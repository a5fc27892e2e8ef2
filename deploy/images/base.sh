#!/bin/sh
# Makes the image of a plain Debian server, of this machine's own release and from its own mirrors: no image registry is needed.
# Usage: base.sh <image>
set -eu
image=$1
docker image inspect "$image" >/dev/null 2>&1 && exit 0

. /etc/os-release
suite=$VERSION_CODENAME
# what a Debian server has, beside what debootstrap calls minimal
packages=systemd,systemd-sysv,dbus,iproute2,cron,sudo,ca-certificates,procps,openssh-server,iptables,libatomic1

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root

# this machine's own Debian sources, whatever form they are written in
apt-get indextargets --format '$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)' | sed -n 's/^Debian|//p' | sort -u >"$work/sources.list"
mirror=$(awk -v suite="$suite" '$3 == suite { print $2; exit }' "$work/sources.list")
[ -n "$mirror" ] || { echo "this machine's apt has no source of $suite" >&2; exit 1; }

debootstrap --variant=minbase --include="$packages" "$suite" "$root" "$mirror" >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }

cp "$work/sources.list" "$root/etc/apt/sources.list"
# proxies and other ways to the mirrors
for file in /etc/apt/apt.conf.d/* /etc/apt/auth.conf.d/*; do
  if [ -f "$file" ] && grep -q '^Acquire\|^machine' "$file"; then cp "$file" "$root${file}"; fi
done
[ -z "${http_proxy:-}" ] || echo "Acquire::http::Proxy \"$http_proxy\";" >"$root/etc/apt/apt.conf.d/90proxy"
cp /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" apt-get update -q >"$work/log" 2>&1 || { tail -20 "$work/log" >&2; exit 1; }
chroot "$root" apt-get clean
: >"$root/etc/machine-id"
rm -f "$root/etc/ssh/ssh_host_"* "$root/etc/resolv.conf"
# every host makes its own keys at its first boot
mkdir -p "$root/etc/systemd/system/ssh.service.d"
cat >"$root/etc/systemd/system/ssh.service.d/keys.conf" <<'END'
[Service]
ExecStartPre=
ExecStartPre=/usr/bin/ssh-keygen -A
ExecStartPre=/usr/sbin/sshd -t
END
# units that need hardware or a kernel of their own
chroot "$root" systemctl mask -q systemd-udevd.service systemd-modules-load.service systemd-logind.service getty.target console-getty.service
chroot "$root" systemctl set-default -q multi-user.target

tar -C "$root" --numeric-owner -c . | docker import - "$image-root" >/dev/null
printf 'FROM %s\nSTOPSIGNAL SIGRTMIN+3\nCMD ["/lib/systemd/systemd"]\n' "$image-root" | docker build -q -t "$image" - >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
