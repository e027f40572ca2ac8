# Runs a program in an image's root as `docker run --read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges` does,
# in namespaces of its own and without a network but a loopback. Started by deploy/images/container.py, as root:
#   unshare --mount --net --pid --ipc --uts --fork sh container.sh ROOT FOLDER [SOURCE TARGET ro|rw]... -- NAME=VALUE... PROGRAM...
set -eu
root=$1 folder=$2
shift 2

mount --make-rprivate /
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
  mkdir -p "$root$2"
  mount --bind -o "$3" "$1" "$root$2"
  shift 3
done
shift
mount -o remount,bind,ro "$root"

mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for device in null zero full random urandom; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
ip link set lo up

exec chroot "$root" env -i -C "$folder" "$@"
