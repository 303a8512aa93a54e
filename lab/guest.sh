#!/usr/bin/env bash
# Builds the test guest as an ordinary user, without root; a second run only looks.
#
#   lab/guest.sh [DIR]        default: target/guest of the project
#
#   DIR/vmlinuz, DIR/initrd   direct kernel boot, the fastest
#   DIR/boot.qcow2            a disk that boots by itself under BIOS and under UEFI:
#                               1 FAT32: syslinux, kernel, initrd (BIOS), one EFI binary (UEFI)
#                               2 ext4:  /data of the guest, so what it remembers is cloned with it
#
# It is a Debian cloud kernel with busybox and the QEMU guest agent; what runs in it is in
# lab/guest/root. Once up it says "GUEST-UP name=.. ip=.. boot=.. agent=.. id=.." on its serial port.
# Kernel arguments: name=NAME (who it says it is).
# The kernel is the machine's own Debian cloud kernel if it has one, else it is downloaded.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "${1:-${CARGO_TARGET_DIR:-$here/../target}/guest}"
out=$(cd "${1:-${CARGO_TARGET_DIR:-$here/../target}/guest}" && pwd)
PATH=$PATH:/usr/sbin:/sbin
stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub
command_line="console=ttyS0 panic=1 quiet no_timer_check maxcpus=1 lab=disk"
modules=(virtio_pci virtio_blk virtio_scsi sd_mod sr_mod virtio_net virtio_console virtio_balloon
  virtio_rng virtio_mem virtio_input isofs vfat nls_cp437 nls_iso8859-1 nls_utf8 nls_ascii evdev button
  8021q virtiofs efivarfs)

die() { printf 'guest: %s\n' "$*" >&2; exit 1; }

# Debian's cloud kernel: prints the directory that holds boot/ and lib/modules/
find_kernel() {
  if compgen -G '/boot/vmlinuz-*-cloud-amd64' >/dev/null && [ -r "$(newest_kernel /)" ] &&
    [ -d "/lib/modules/$(kernel_version /)" ]; then
    echo /
    return
  fi
  if [ ! -e "$out/kernel/complete" ]; then download_kernel; fi
  echo "$out/kernel"
}
newest_kernel() { printf '%s\n' "${1%/}"/boot/vmlinuz-*-cloud-amd64 | sort -V | tail -n 1; }
kernel_version() { local image; image=$(newest_kernel "$1"); echo "${image##*/vmlinuz-}"; }

# Downloads the kernel's package and unpacks it beside the guest. The machine's package lists
# may be empty or old: then with lists of our own.
download_kernel() {
  local work=$out/kernel.new apt=(-q -o APT::Sandbox::User=)
  rm -rf "$work" "$out/kernel"
  mkdir -p "$work"/{lists,archives}/partial
  printf 'guest: downloading a kernel (once)\n' >&2
  if ! fetch_kernel "$work" "${apt[@]}" >"$work/log" 2>&1; then
    apt+=(-o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work")
    if ! { apt-get "${apt[@]}" update && fetch_kernel "$work" "${apt[@]}"; } >>"$work/log" 2>&1; then
      tail -n 20 "$work/log" >&2
      die "no kernel: neither /boot/vmlinuz-*-cloud-amd64 nor the package linux-image-cloud-amd64"
    fi
  fi
  dpkg -x "$work"/linux-image-*.deb "$work"
  if [ -d "$work/usr/lib/modules" ] && [ ! -e "$work/lib" ]; then ln -s usr/lib "$work/lib"; fi
  depmod -b "$work" "$(kernel_version "$work")"
  rm -rf "$work"/{lists,archives,log,linux-image-*.deb,pkgcache.bin,srcpkgcache.bin}
  touch "$work/complete"
  mv "$work" "$out/kernel"
}
# fetch_kernel DIR APT-OPTIONS...: the package that the meta package stands for, into DIR
fetch_kernel() {
  local package
  package=$(apt-cache "${@:2}" show --no-all-versions linux-image-cloud-amd64 |
    sed -n 's/^Depends: \(linux-image-[^ ,]*-cloud-amd64\).*/\1/p')
  [ -n "$package" ] && (cd "$1" && apt-get "${@:2}" download "$package")
}

# The initramfs: lab/guest/root, busybox, modules in load order, the agent and its libraries.
build_initrd() {
  local root=$work/root module library
  cp -r "$here/guest/root" "$root"
  mkdir -p "$root"/{proc,sys,dev,run,tmp,data,mnt,lib/modules,usr/sbin,var/run,var/log}
  cp /bin/busybox "$root/bin/"
  cp /usr/sbin/qemu-ga "$root/usr/sbin/"
  ldd /usr/sbin/qemu-ga | grep -oE '/[^ ]+' | sort -u | while read -r library; do
    install -D "$library" "$root$library"
  done
  for module in "${modules[@]}"; do # a kernel lacks some, and has some built in
    modprobe -d "$kernel" -S "$version" -n --show-depends "$module" 2>/dev/null || true
  done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
    cp "$module" "$root/lib/modules/"
    echo "${module##*/}"
  done >"$root/etc/modules"
  grep -q '^virtio_blk' "$root/etc/modules" || die "kernel $version: no module virtio_blk found"
  (cd "$root" && find . | sort | cpio -o -H newc -R 0:0 --quiet | zstd -q -10) >"$work/initrd"
}

# Kernel, initrd and command line in one EFI binary: sections added behind those of the stub.
build_efi() {
  local address=0 size start section arguments=()
  printf '%s' "$command_line" >"$work/cmdline"
  while read -r size start; do
    if ((16#$start + 16#$size > address)); then address=$((16#$start + 16#$size)); fi
  done < <(objdump -h "$stub" | awk '$2 ~ /^\./ { print $3, $4 }')
  for section in osrel:root/etc/os-release cmdline:cmdline linux:vmlinuz initrd:initrd; do
    address=$(((address + 4095) / 4096 * 4096))
    arguments+=(--add-section ".${section%%:*}=$work/${section#*:}"
      --change-section-vma ".${section%%:*}=$address")
    address=$((address + $(stat -c %s "$work/${section#*:}")))
  done
  objcopy "${arguments[@]}" "$stub" "$work/BOOTX64.EFI"
}

# The disk, put together from files: no loop device, no mount.
build_disk() {
  local boot=$work/boot.fat data=$work/data.ext4 disk=$work/disk.raw
  cat >"$work/syslinux.cfg" <<END
DEFAULT lab
PROMPT 0
TIMEOUT 1
LABEL lab
 LINUX /vmlinuz
 INITRD /initrd
 APPEND $command_line
END
  truncate -s 80M "$boot"
  mkfs.vfat -F 32 -n BOOT "$boot" >/dev/null
  mcopy -i "$boot" "$work"/{vmlinuz,initrd,syslinux.cfg} ::
  mmd -i "$boot" ::/EFI ::/EFI/BOOT
  mcopy -i "$boot" "$work/BOOTX64.EFI" ::/EFI/BOOT/
  syslinux --install "$boot"
  truncate -s 32M "$data"
  mkfs.ext4 -q -L data -E root_owner=0:0 "$data"
  truncate -s 114M "$disk" # 1 MiB, the two partitions, 1 MiB
  sfdisk -q "$disk" <<END
label: dos
start=1MiB, size=80MiB, type=ef, bootable
start=81MiB, size=32MiB, type=83
END
  dd if=/usr/lib/SYSLINUX/mbr.bin of="$disk" bs=440 count=1 conv=notrunc status=none
  dd if="$boot" of="$disk" bs=1M seek=1 conv=notrunc,sparse status=none
  dd if="$data" of="$disk" bs=1M seek=81 conv=notrunc,sparse status=none
  qemu-img convert -O qcow2 "$disk" "$work/boot.qcow2"
}

for tool in busybox qemu-ga cpio zstd modprobe mcopy mkfs.vfat mkfs.ext4 sfdisk syslinux objcopy qemu-img; do
  command -v "$tool" >/dev/null || die "$tool is missing; run scripts/setup.sh demo"
done
exec {lock}>"$out/lock" # two builds at once: the second finds it done
flock "$lock"
kernel=$(find_kernel)
version=$(kernel_version "$kernel")
inputs=$({
  echo "$version"
  cd "$here"
  find guest.sh guest/root -type f | sort | xargs -d '\n' sha256sum
  sha256sum /bin/busybox "$(command -v qemu-ga)" "$stub" /usr/lib/SYSLINUX/mbr.bin "$(newest_kernel "$kernel")"
} | sha256sum)
if [ "$inputs" != "$(cat "$out/inputs" 2>/dev/null)" ]; then
  work=$(mktemp -d "$out/build.XXXXXX")
  trap 'rm -rf "$work"' EXIT
  rm -f "$out/inputs"
  cp "$(newest_kernel "$kernel")" "$work/vmlinuz"
  build_initrd
  build_efi
  build_disk
  chmod 644 "$work"/{vmlinuz,initrd,boot.qcow2}
  mv -f "$work"/{vmlinuz,initrd,boot.qcow2} "$out/"
  echo "$inputs" >"$out/inputs"
fi
echo "$out"
