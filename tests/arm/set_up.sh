#!/bin/sh
# An ARM Python with what a training needs, in a folder of its own, for an emulated processor: set_up.sh FOLDER
# On Debian and Ubuntu, as root or not: nothing is installed, packages are only unpacked. apt must know the architecture
# (dpkg --add-architecture arm64 && apt-get update), and qemu-user-static must be installed.
set -eu
folder=$1
here=$(cd "$(dirname "$0")" && pwd)
python=${PYTHON:-python3}
mkdir -p "$folder/debs" "$folder/wheels" "$folder/root" "$folder/site"
folder=$(cd "$folder" && pwd)
command -v qemu-aarch64-static >/dev/null || { echo "qemu-aarch64-static was not found: apt-get install qemu-user-static"; exit 1; }
version=$(apt-cache depends python3-minimal:arm64 | sed -n 's/.*Depends: python\(3\.[0-9]*\)-minimal.*/\1/p' | head -1)
[ -n "$version" ] || { echo "apt does not know arm64: dpkg --add-architecture arm64 && apt-get update"; exit 1; }
(cd "$folder/debs" && for package in "python$version-minimal" "libpython$version-minimal" "libpython$version-stdlib" \
    libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libssl3 libffi8 libbz2-1.0 liblzma5 libgomp1 libuuid1 libcrypt1; do
    apt-get download -qq "$package:arm64"
done)
for package in "$folder"/debs/*.deb; do dpkg -x "$package" "$folder/root"; done
"$python" -m pip download --quiet --no-deps --only-binary=:all: --python-version "$version" --implementation cp \
    --abi "cp$(echo "$version" | tr -d .)" --abi abi3 --abi none --platform manylinux_2_28_aarch64 \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_17_aarch64 --platform manylinux2014_aarch64 \
    --dest "$folder/wheels" -r "$here/requirements.txt"
for wheel in "$folder"/wheels/*.whl; do (cd "$folder/site" && "$python" -m zipfile -e "$wheel" .); done
ln -sf "root/usr/bin/python$version" "$folder/python"
touch "$folder/.installed"
