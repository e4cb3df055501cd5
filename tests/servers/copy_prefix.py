#!/usr/bin/env python3
"""Copies every object below one prefix of a bucket to another one, as people do it with boto3: a copy_object for each.

    copy_prefix.py BUCKET FROM TO

FROM and TO may be the same: then every object is copied onto itself, which dates it anew. The endpoint and the credentials are
those of the environment (AWS_ENDPOINT_URL_S3 and so on). Needs boto3.
"""

import concurrent.futures
import os
import sys

import boto3


def main(bucket, source, target):
    s3 = boto3.client("s3", endpoint_url=os.environ.get("AWS_ENDPOINT_URL_S3"))
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=source + "/")
    keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]

    def copy(key):
        request = {"Bucket": bucket, "Key": target + key[len(source):], "CopySource": {"Bucket": bucket, "Key": key}}
        if source == target:
            # S3 refuses a copy onto itself that changes nothing.
            request.update(MetadataDirective="REPLACE", Metadata={"copied": "yes"})
        s3.copy_object(**request)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(copy, keys))
    print(len(keys))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
