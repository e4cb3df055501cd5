#!/usr/bin/env bash
# Ceph RGW 16.2.15 (Debian 12), S3: DeleteObjects, the bulk delete, asks for s3:DeleteObject on the bucket's own ARN. A user whom the bucket's policy
# allows s3:DeleteObject on every object of the bucket (arn:aws:s3:::bucket/*) deletes one with DeleteObject; the same object in a DeleteObjects is refused,
# the whole request with 403. With the bucket's ARN added to the statement it works.
#
# Expected by a good engineer: that the right to delete is one on objects, and that each of a bulk delete is judged by itself and told in the answer (S3 API:
# "DeleteObjects … s3:DeleteObject"). A policy of least privilege that works on S3 leaves cleaners on RGW without a single delete.
# Needs bash, root on Debian 12 (or a sudo that does not ask), Python with venv and pip, and a network. Fails if the behaviour changes.
set -euo pipefail
root=()
((EUID == 0)) || root=(sudo -n)
version=16.2.15+ds-0+deb12u2
"${root[@]}" apt-get -qq update
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
  "ceph-mon=$version" "ceph-osd=$version" "radosgw=$version" "ceph-common=$version" >/dev/null
dir=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" -q install 'boto3==1.40.0'
port=$((20000 + RANDOM % 10000))
mkdir "$dir"/{mon,osd,run,log}
export CEPH_CONF=$dir/ceph.conf
fsid=$(cat /proc/sys/kernel/random/uuid)
cat >"$CEPH_CONF" <<CONF
[global]
fsid = $fsid
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
osd objectstore = memstore
memstore device bytes = 1073741824
mon data avail crit = 1
mon data = $dir/mon
osd data = $dir/osd
run dir = $dir/run
admin socket = $dir/run/\$name.asok
log file = $dir/log/\$name.log
CONF
patiently() {
  local try
  for try in {1..20}; do
    "$@" >"$dir/out" 2>&1 && return
    sleep 0.5
  done
  cat "$dir/out"
  return 1
}
monmaptool --create --clobber --addv a "v1:127.0.0.1:$((port + 1))" --fsid "$fsid" "$dir/monmap" >/dev/null
ceph-mon --mkfs -i a --monmap "$dir/monmap"
ceph-mon -f -i a >/dev/null 2>&1 &
osd=$(cat /proc/sys/kernel/random/uuid)
patiently ceph --connect-timeout 30 osd new "$osd"
patiently ceph --connect-timeout 30 osd crush add osd.0 1.0 host=localhost root=default
ceph-osd -i 0 --mkfs --osd-uuid "$osd" >/dev/null 2>&1
ceph-osd -f -i 0 >/dev/null 2>&1 &
for user in owner cleaner; do
  patiently timeout 60 radosgw-admin user create --uid="$user" --display-name="$user" --access-key="$user" --secret-key="secret-of-$user"
done
radosgw -f -n client.rgw.a --rgw-frontends="beast endpoint=127.0.0.1:$port" >/dev/null 2>&1 &
"$dir/venv/bin/python" - "$port" <<'PY'
import json, sys, time
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def client(user):
    return boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1", aws_access_key_id=user,
                        aws_secret_access_key=f"secret-of-{user}",
                        config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))

owner, cleaner = client("owner"), client("cleaner")
for _ in range(120):
    try:
        owner.create_bucket(Bucket="bucket")
        break
    except Exception:
        time.sleep(0.5)

def attempt(resources):
    statement = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/cleaner"]}, "Action": ["s3:DeleteObject"],
                 "Resource": resources}
    owner.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    seen = []
    for delete in [lambda: cleaner.delete_object(Bucket="bucket", Key="k"),
                   lambda: cleaner.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "k"}]})]:
        owner.put_object(Bucket="bucket", Key="k", Body=b"1")
        try:
            answer = delete()
            seen.append(answer["ResponseMetadata"]["HTTPStatusCode"])
        except ClientError as error:
            seen.append(error.response["ResponseMetadata"]["HTTPStatusCode"])
    return seen

seen = {"objects": attempt(["arn:aws:s3:::bucket/*"]), "objects and bucket": attempt(["arn:aws:s3:::bucket/*", "arn:aws:s3:::bucket"])}
print(seen)
assert seen == {"objects": [204, 403], "objects and bucket": [204, 200]}, "the behaviour changed"
PY
