# Sourced by the commands beside this folder. What is missing is installed on Debian, as root.

# find_python COMMAND MODULE: set $python to a Python 3.11 or later that has the module, or end
# COMMAND with one line and exit code 2.
find_python() {
    case $(uname -s) in
    MSYS* | MINGW* | CYGWIN*) python=python && return ;;
    esac
    look_for_python "$2" && return
    if can_install; then
        echo "$1: installing Python ..." >&2
        install_packages "$1" python3 python3-pip python3-venv || exit 2
    fi
    look_for_python "$2" || { echo "$1: needs Python 3.11 or later with $2 (python3)" >&2; exit 2; }
}

look_for_python() {
    check="import sys; sys.version_info < (3, 11) and sys.exit(1); import $1; print(sys.executable)"
    for python in python3 /usr/bin/python3; do
        python=$("$python" -ISc "$check" 2>/dev/null) && return
    done
    return 1
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

install_packages() {
    command=$1 log=$(mktemp /tmp/apt-get.XXXXXX) || return
    shift
    if timeout --foreground 300 apt-get update >"$log" 2>&1 </dev/null &&
        DEBIAN_FRONTEND=noninteractive timeout --foreground 600 \
            apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 </dev/null; then
        rm -f "$log"
    else
        echo "$command: apt-get could not install $*, see $log" >&2
        return 1
    fi
}
