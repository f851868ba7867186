#!/bin/sh
# llama-server.sh: finds a real llama-server for spec/real, or installs one, and prints its path.
#
#   LLAMA_SERVER set             that one
#   llama-server in PATH         that one
#   otherwise                    Debian sid's llama.cpp-tools in a folder of its own, $LLAMA_ROOT (default
#                                /opt/llama-sid; 700 MB, two minutes, needs root, debootstrap and the network).
#                                Nothing of the machine itself changes but that debootstrap may be installed.
#
# Exit status 1, and why on stderr, when there is none to be had. The installed one does not run inside a chroot:
# a wrapper starts it with sid's own dynamic loader and libraries, so paths and signals are the host's.
set -eu

give_up() {
    echo "llama-server: $*" >&2
    exit 1
}

if [ -n "${LLAMA_SERVER:-}" ]; then
    [ -x "$LLAMA_SERVER" ] || give_up "LLAMA_SERVER=$LLAMA_SERVER cannot be run"
    echo "$LLAMA_SERVER"
    exit
fi
if command -v llama-server; then
    exit
fi

root=${LLAMA_ROOT:-/opt/llama-sid}
wrapper=$root/llama-server
if [ -x "$wrapper" ]; then
    echo "$wrapper"
    exit
fi

command -v apt-get >/dev/null || give_up "not a Debian machine; set LLAMA_SERVER"
[ "$(id -u)" = 0 ] || give_up "installing one needs root; set LLAMA_SERVER, or run spec/real/llama-server.sh as root once"
echo "installing llama.cpp-tools of Debian sid in $root (once, about 700 MB)" >&2

log=$(mktemp)
trap 'rm -f "$log"' EXIT
step() {
    "$@" >"$log" 2>&1 && return
    tail -n 15 "$log" >&2
    give_up "failed: $*"
}

if ! command -v debootstrap >/dev/null; then
    step apt-get update -qq
    step env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq debootstrap
fi
[ -x "$root/usr/bin/apt-get" ] || step debootstrap --variant=minbase sid "$root"
mkdir -p "$root/proc"
# a mirror's snapshot may be older than its "valid until" date says it may be
apt_old=Acquire::Check-Valid-Until=false
step chroot "$root" apt-get -o $apt_old -qq update
step chroot "$root" env DEBIAN_FRONTEND=noninteractive \
    apt-get -o $apt_old -y -qq --no-install-recommends install llama.cpp-tools

# Written last and renamed into place: its existence means that all of the above worked.
cat >"$wrapper.new" <<'RUN'
#!/bin/sh
# Runs the llama-server of this Debian tree with the tree's own loader and libraries.
root=$(dirname "$(readlink -f "$0")")
set -- "$root/usr/bin/llama-server" "$@"
for lib in "$root"/usr/lib/*-linux-gnu*; do break; done
# the plainest CPU code that there is: it runs everywhere, and speed does not matter here
for cpu in "$lib"/ggml/backends*/libggml-cpu-x64.so "$lib"/ggml/backends*/libggml-cpu*.so; do
    if [ -e "$cpu" ]; then
        export GGML_BACKEND_PATH="$cpu"
        break
    fi
done
for loader in "$root"/lib64/ld-linux-*.so* "$root"/lib/ld-linux-*.so* "$lib"/ld-linux-*.so*; do
    [ ! -x "$loader" ] || exec "$loader" --library-path "$lib:$lib/llama" "$@"
done
exit 127
RUN
chmod +x "$wrapper.new"
"$wrapper.new" --version >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    give_up "the installed one does not run"
}
mv "$wrapper.new" "$wrapper"
echo "$wrapper"
