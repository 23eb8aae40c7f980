#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What is in a bucket as boto3 sees it, which is a client of other people's: for tests.

  s3tool.py ENDPOINT BUCKET VERB...      keys are S3_ACCESS and S3_SECRET of the environment

Verbs: make | keys [PREFIX] | head KEY | get KEY | put KEY FILE [NAME=VALUE metadata]... | many PREFIX N | rm KEY | clear [PREFIX]
       state [PREFIX]  (keys, tags, times) | copyfrom FOLDER PREFIX | copyto FOLDER PREFIX | uploads | begin KEY FILE SIZE N   (an upload of N parts of SIZE bytes, never completed)
"""
import os, sys, concurrent.futures
import boto3
from botocore.config import Config

endpoint, bucket, verb, *args = sys.argv[1:]
s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=os.environ["S3_ACCESS"],
                  aws_secret_access_key=os.environ["S3_SECRET"], verify=os.environ.get("S3_CAINFO") or None,
                  config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}, max_pool_connections=16))


def pages(prefix=""):
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from page.get("Contents", [])


if verb == "make":
    s3.create_bucket(Bucket=bucket)
elif verb == "keys":
    for item in pages(*args):
        print(item["Key"])
elif verb == "head":
    answer = s3.head_object(Bucket=bucket, Key=args[0])
    print(answer["ContentLength"], answer["ETag"], answer.get("ContentType"))
    for name, value in sorted(answer["Metadata"].items()):
        print("%s=%s" % (name, value))
elif verb == "get":
    for part in s3.get_object(Bucket=bucket, Key=args[0])["Body"].iter_chunks(1 << 20):
        sys.stdout.buffer.write(part)
elif verb == "put":
    meta = dict(pair.split("=", 1) for pair in args[2:])
    s3.put_object(Bucket=bucket, Key=args[0], Body=open(args[1], "rb"), Metadata=meta, ContentType="text/x-test")
elif verb == "many":
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: s3.put_object(Bucket=bucket, Key="%s%06d" % (args[0], i), Body=b"x" * (i % 10)), range(int(args[1]))))
elif verb == "rm":
    s3.delete_object(Bucket=bucket, Key=args[0])
elif verb == "clear":
    # Not many by one request, whose XML cannot hold every key.
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda item: s3.delete_object(Bucket=bucket, Key=item["Key"]), pages(*args)))
elif verb == "copyfrom":
    for folder, folders, files in os.walk(args[0]):
        for name in folders:
            s3.put_object(Bucket=bucket, Key=args[1] + os.path.relpath(os.path.join(folder, name), args[0]) + "/", Body=b"")
        for name in files:
            path = os.path.join(folder, name)
            s3.put_object(Bucket=bucket, Key=args[1] + os.path.relpath(path, args[0]), Body=open(path, "rb"))
elif verb == "state":
    for item in pages(*args):
        print(item["Key"], item["ETag"], item["LastModified"].isoformat())
elif verb == "copyto":
    for item in pages(args[1]):
        path = os.path.join(args[0], item["Key"][len(args[1]):])
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if not item["Key"].endswith("/"):
            s3.download_file(bucket, item["Key"], path)
elif verb == "uploads":
    for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
        print(upload["Key"])
elif verb == "begin":
    upload = s3.create_multipart_upload(Bucket=bucket, Key=args[0])["UploadId"]
    content = open(args[1], "rb").read()
    size = int(args[2])
    for i in range(int(args[3])):
        s3.upload_part(Bucket=bucket, Key=args[0], UploadId=upload, PartNumber=i + 1, Body=content[i * size:(i + 1) * size])
else:
    sys.exit("unknown verb " + verb)
