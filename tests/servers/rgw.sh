# shellcheck shell=bash
# Ceph RGW with one monitor and one OSD, for server.sh, which sets the keys.
# shellcheck disable=SC2154

rgw_conf() {
  local store=$1 dir=$2 port=$3
  cat <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = v1:127.0.0.1:$((port + 1))
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind msgr2 = false
auth cluster required = none
auth service required = none
auth client required = none
mon allow pool size one = true
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
osd crush chooseleaf type = 0
osd crush update on start = false
osd class update on start = false
osd objectstore = $store
osd memory target = 939524096
bluestore block size = 10737418240
memstore device bytes = 4294967296
# Without these two a start takes 20 s.
paxos propose interval = 0.05
paxos min wait = 0.01
mon data avail crit = 1
mon data = $dir/mon
osd data = $dir/osd
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
debug rgw = 0/0
debug osd = 0/0
debug bluestore = 0/0
debug rocksdb = 0/0
debug ms = 0/0
CONF
}

# rgw STORE DIR PORT: starts the daemons; makes the cluster first where there is none.
rgw() {
  local store=$1 dir=$2 port=$3 new=0 osd
  export CEPH_CONF=$dir/ceph.conf
  # What a start that was cut short has left is no cluster.
  if [[ ! -e $dir/made ]]; then
    new=1
    rm -rf "$dir"/{mon,osd,run,log}
    mkdir -p "$dir"/{mon,osd,run,log}
    rgw_conf "$store" "$dir" "$port" >"$CEPH_CONF"
    monmaptool --create --clobber --addv a "v1:127.0.0.1:$((port + 1))" --fsid "$(rgw_fsid)" "$dir/monmap"
    ceph-mon --mkfs -i a --monmap "$dir/monmap"
  fi
  ceph-mon -f -i a &
  if ((new)); then
    osd=$(cat /proc/sys/kernel/random/uuid)
    rgw_patiently ceph --connect-timeout 30 osd new "$osd"
    rgw_patiently ceph --connect-timeout 30 osd crush add osd.0 1.0 host=localhost root=default
    ceph-osd -i 0 --mkfs --osd-uuid "$osd"
  fi
  ceph-osd -f -i 0 &
  if ((new)); then
    rgw_patiently rgw_user aft "$access_key" "$secret_key" >/dev/null
    touch "$dir/made"
  fi
  # Without tcp_nodelay a get takes 44 ms.
  radosgw -f -n client.rgw.a --rgw-frontends="beast endpoint=127.0.0.1:$port tcp_nodelay=1" &
}

# rgw_user NAME KEY SECRET
rgw_user() {
  timeout 60 radosgw-admin user info --uid="$1" 2>/dev/null ||
    timeout 60 radosgw-admin user create --uid="$1" --display-name="$1" --access-key="$2" --secret-key="$3"
}

# Tries again for a while: a monitor that has just begun may say that nothing is permitted. All that is tried can be done twice.
rgw_patiently() {
  local try
  for try in {1..10}; do
    "$@" && return
    printf 'try %d failed: %s\n' "$try" "$*"
    sleep 0.5
  done
  return 1
}

rgw_fsid() { sed -n 's/^fsid = //p' "$CEPH_CONF"; }
