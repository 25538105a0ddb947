#!/usr/bin/env bash
# confine.sh FOLDER USER:GROUP [NAME=VALUE…] -- COMMAND…: runs it as a container engine would: FOLDER is its
# root, mounted read-only; it is that user with no group, no capability and no way to gain one; its
# environment is what is given. Called by image.test.mjs, inside enter.sh.
set -euo pipefail
root=$1 user=${2%:*} group=${2#*:}
shift 2
env=()
while [ "$1" != -- ]; do env+=("$1"); shift; done
shift

if [ "${CONFINED:-}" != yes ]; then
  CONFINED=yes exec unshare --mount "$0" "$root" "$user:$group" ${env[@]+"${env[@]}"} -- "$@"
fi
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
for device in "$root"/dev/*; do mount --bind "/dev/${device##*/}" "$device"; done
# Where this is a real root, really that user; in a user namespace of one user, a further one that calls it so.
if [ "$(awk '{ print $3 }' /proc/self/uid_map | head -n 1)" != 1 ]; then
  enter=(chroot --userspec="$user:$group" --groups= "$root")
else
  enter=(unshare --user --map-user="$user" --map-group="$group" --root="$root")
fi
exec setpriv --no-new-privs --inh-caps=-all env -i ${env[@]+"${env[@]}"} "${enter[@]}" "$@"
