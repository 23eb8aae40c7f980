# SPDX-License-Identifier: BSD-3-Clause
"""A remote as somebody else sees and changes it, who knows nothing of the plugin.

open_remote gives one of these for a folder's path (which a server may serve), or for s3:ENDPOINT,BUCKET,PREFIX (keys are
S3_ACCESS and S3_SECRET of the environment).  Every verb either does all of it or nothing, and tells what was there at the
moment when it was done.  Paths are relative to the remote's root."""

import os
import shutil
import tempfile


def open_remote(text, temporary_at=None):
    return Bucket(*text[3:].split(",")) if text.startswith("s3:") else Folder(text, temporary_at)


def without_scratch(files):
    """What a host whose network went away has left of uploads and trials is nobody's file; it goes after a while."""
    return {path: data for path, data in files.items()
            if not path.rpartition("/")[2].startswith((".cloudshare-upload-", ".cloudshare-scratch-"))}


class Folder:
    def __init__(self, root, temporary_at=None):
        self.root = root
        # Files are renamed between it and the root.
        self.temporary = tempfile.mkdtemp(prefix="remote.", dir=temporary_at or os.path.dirname(os.path.abspath(root)))

    def close(self):
        shutil.rmtree(self.temporary, ignore_errors=True)

    def tree(self):
        """{path: bytes}, {folder}"""
        from fidelity import tree_of
        files, folders = tree_of(self.root)
        return without_scratch(files), folders

    def has_folder(self, path):
        return os.path.isdir(os.path.join(self.root, path))

    def has(self, path):
        return os.path.exists(os.path.join(self.root, path))

    def take(self, path):
        """Removes a file; what it held, None when there was none."""
        held = os.path.join(self.temporary, "held")
        try:
            os.rename(os.path.join(self.root, path), held)
        except FileNotFoundError:
            return None
        with open(held, "rb") as file:
            data = file.read()
        os.unlink(held)
        return data

    def create(self, path, data):
        """False: something is there."""
        new = os.path.join(self.temporary, "new")
        with open(new, "wb") as file:
            file.write(data)
        os.chmod(new, 0o666)
        try:
            os.link(new, os.path.join(self.root, path))
        except FileExistsError:
            return False
        finally:
            os.unlink(new)
        return True

    def move(self, path, to):
        try:
            os.link(os.path.join(self.root, path), os.path.join(self.root, to))
            os.unlink(os.path.join(self.root, path))
        except (FileExistsError, FileNotFoundError):
            pass


class Bucket:
    def __init__(self, endpoint, bucket, prefix):
        import boto3
        import botocore.exceptions
        from botocore.config import Config
        self.failed = botocore.exceptions.ClientError
        self.bucket, self.prefix = bucket, prefix
        self.s3 = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=os.environ["S3_ACCESS"],
                               aws_secret_access_key=os.environ["S3_SECRET"],
                               config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}))
        self.s3.meta.events.register("before-sign.s3.PutObject", self.condition)
        self.header = None

    def close(self):
        pass

    def condition(self, request, **_):
        if self.header:
            request.headers.add_header(*self.header)

    def keys(self):
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=self.prefix):
            for item in page.get("Contents", []):
                yield item["Key"][len(self.prefix):]

    def get(self, path):
        """Bytes and tag; None, None when there is none."""
        try:
            answer = self.s3.get_object(Bucket=self.bucket, Key=self.prefix + path)
        except self.failed:
            return None, None
        return answer["Body"].read(), answer["ETag"]

    def put(self, path, data, header):
        self.header = header
        try:
            self.s3.put_object(Bucket=self.bucket, Key=self.prefix + path, Body=data)
            return True
        except self.failed as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] not in (404, 409, 412):
                raise
            return False
        finally:
            self.header = None

    def tree(self):
        files, folders = {}, {""}
        for key in self.keys():
            parts = key.split("/")
            for i in range(1, len(parts)):
                folders.add("/".join(parts[:i]))
            if parts[-1]:
                data, _ = self.get(key)
                if data is not None:
                    files[key] = data
        return without_scratch(files), folders

    def has_folder(self, path):
        return path == "" or any(key.startswith(path + "/") for key in self.keys())

    def has(self, path):
        return self.get(path)[1] is not None

    def take(self, path):
        # A removal cannot name what it removes: what it removes is a mark of ours, for which this version was exchanged.
        while True:
            data, tag = self.get(path)
            if tag is None:
                return None
            # The gateway takes tags without quotes only.
            if self.put(path, b"about to go: " + os.urandom(8).hex().encode(), ("If-Match", tag.strip('"'))):
                self.s3.delete_object(Bucket=self.bucket, Key=self.prefix + path)
                return data

    def create(self, path, data):
        return self.put(path, data, ("If-None-Match", "*"))

    def move(self, path, to):
        data, tag = self.get(path)
        if tag is None or not self.create(to, data):
            return
        if self.put(path, b"about to go: " + os.urandom(8).hex().encode(), ("If-Match", tag.strip('"'))):
            self.s3.delete_object(Bucket=self.bucket, Key=self.prefix + path)
