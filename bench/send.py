# SPDX-License-Identifier: BSD-3-Clause
"""What goes to the cloud: how many bytes for a small change, many small files, and large ones both ways; of Apache, nearby and
a round trip away, and of a Ceph gateway."""

import os
import random as randoms
import shutil
import socket
import subprocess
import threading
import time

from harness import DELAY_MS, MIB, TOP, Trouble, interleaved, needs, say
from write import Guest, Journal, Mount, writable_remote

PATCH_FILE = 256 * MIB
PATCH_BYTES = 4096
KIB = 1 << 10

UPLOAD_BYTES = 4096

READ = ("-q", "4", "-b", str(MIB))
RCLONE = ("--transfers", "8", "--ignore-checksum", "--retries", "1")


class Counter:
    """Passes connections on to a port, and counts the bytes of both directions."""

    def __init__(self, port):
        self.to, self.sent, self.received = port, 0, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.to))
            for ends, name in (((client, server), "sent"), ((server, client), "received")):
                for end in ends:
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self.pass_on, args=(*ends, name), daemon=True).start()

    def pass_on(self, source, target, name):
        try:
            while data := source.recv(1 << 18):
                setattr(self, name, getattr(self, name) + len(data))
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def take(self):
        """(sent, received) since the last time."""
        taken = self.sent, self.received
        self.sent -= taken[0]
        self.received -= taken[1]
        return taken

    def close(self):
        self.listener.close()


def port_of(url):
    return int(url.split("/")[2].rpartition(":")[2])


# ---- kinds of remotes ----

class Dav:
    """An Apache on a folder of this host; prefix is what goes before commands that use it."""

    name, limit = "Apache", 64 * KIB

    def __init__(self, bench, far=False):
        self.bench = bench
        self.folder = bench.new_path("remote")
        os.mkdir(self.folder)
        os.chmod(self.folder, 0o777)
        self.url, self.prefix = bench.far_apache(self.folder) if far else (bench.apache(self.folder), [])
        if far:
            self.name += ", %d ms (%s)" % (2 * DELAY_MS, "netem" if bench.netem else "proxy")

    def through(self, counter):
        self.counted = "http://127.0.0.1:%d/" % counter.port

    def port(self):
        return port_of(self.url)

    def ours(self, path="", counted=False):
        return ["remote=" + (self.counted if counted else self.url) + path]

    def rclone(self, path="", counted=False):
        return [":webdav:" + path, "--webdav-url", self.counted if counted else self.url, "--webdav-vendor", "other"]

    def curl(self, path):
        return [self.url + path]

    def make(self, path):
        os.mkdir(os.path.join(self.folder, path))
        os.chmod(os.path.join(self.folder, path), 0o777)

    def put(self, path, source):
        shutil.copyfile(source, os.path.join(self.folder, path))
        os.chmod(os.path.join(self.folder, path), 0o666)
        self.bench.age(self.folder)

    def holds(self, path, source):
        return subprocess.run(["cmp", "-s", os.path.join(self.folder, path), source]).returncode == 0

    def files(self, path):
        """How many there are in a folder and below it."""
        return sum(sum(not name.startswith(".") for name in names) for at, _, names in os.walk(os.path.join(self.folder, path))
                   if ".DAV" not in at)

    def remove(self, path):
        self.bench.remove(os.path.join(self.folder, path))


class Ceph:
    """A RADOS gateway on a cluster in memory."""

    name, limit, prefix = "Ceph", 5 * MIB + 64 * KIB, []
    access, secret, bucket = "cloudshare-key", "cloudshare-secret", "cloudshare"

    def __init__(self, bench):
        needs("ceph-mon", "ceph-osd", "radosgw")
        self.bench = bench
        script = os.path.join(TOP, "tests", "servers", "rgw.sh")
        _, out = bench.run([script, "start", bench.tmp], env=dict(os.environ, TMPDIR=bench.tmp))
        told = dict(line.split("=", 1) for line in out.splitlines())
        bench.servers.append([script, "stop", told["STATE"]])
        self.url = told["URL"].rstrip("/")
        import boto3
        from botocore.config import Config
        self.s3 = boto3.client("s3", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=self.access,
                               aws_secret_access_key=self.secret, config=Config(s3={"addressing_style": "path"}))

    def through(self, counter):
        self.counted = "http://127.0.0.1:%d" % counter.port

    def port(self):
        return port_of(self.url + "/")

    def ours(self, path="", counted=False):
        return ["remote=s3://%s/%s" % (self.bucket, path), "endpoint=" + (self.counted if counted else self.url),
                "access-key=" + self.access, "secret-key=" + self.secret]

    def rclone(self, path="", counted=False):
        return [":s3:%s/%s" % (self.bucket, path), "--s3-provider", "Ceph", "--s3-endpoint",
                self.counted if counted else self.url, "--s3-access-key-id", self.access,
                "--s3-secret-access-key", self.secret]

    def curl(self, path):
        return ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", "%s:%s" % (self.access, self.secret),
                "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD", "%s/%s/%s" % (self.url, self.bucket, path)]

    def make(self, path):
        self.s3.put_object(Bucket=self.bucket, Key=path + "/", Body=b"")

    def put(self, path, source):
        self.s3.upload_file(source, self.bucket, path)

    def keys(self, path):
        for page in self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=path + "/"):
            for item in page.get("Contents", []):
                yield item["Key"]

    def holds(self, path, source):
        copy = self.bench.new_path("copy")
        self.s3.download_file(self.bucket, path, copy)
        same = subprocess.run(["cmp", "-s", copy, source]).returncode == 0
        self.bench.remove(copy)
        return same

    def files(self, path):
        return sum(not key.endswith("/") for key in self.keys(path))

    def remove(self, path):
        for key in list(self.keys(path)) + [path]:
            self.s3.delete_object(Bucket=self.bucket, Key=key)


def near_clouds(bench):
    yield Dav(bench)
    if bench.ceph:
        yield Ceph(bench)


def random_file(bench, size):
    path = bench.new_path("random")
    with open(path, "wb") as out:
        for _ in range(size // MIB):
            out.write(os.urandom(MIB))
    return path


# ---- a small change ----

def patch(bench, table):
    for cloud in near_clouds(bench):
        size = min(PATCH_FILE, bench.size)
        content = random_file(bench, size)
        for folder in ("ours", "mount"):
            cloud.make(folder)
            cloud.put(folder + "/big.bin", content)
        counter = Counter(cloud.port())
        cloud.through(counter)
        cache = bench.new_path("cache")
        server = bench.nbdkit(bench.plugin, *cloud.ours("ours", True), "cache=" + cache, "fs=fat32", "size=8G", "write-back=0",
                              "settle=0.2", "poll=3600")
        guest, journal = Guest(bench, server), Journal(cache)

        def change(path, data, offset):
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(data)

        def ours(i):
            offset = (i + 2) * 9 * MIB + 12345 * 512
            bench.wait_idle(server)
            counter.take()
            guest.do("patch", offset, PATCH_BYTES, i, "big.bin")
            journal.wait(1, 60)
            journal.wait_none(300)
            done = counter.take()
            change(content, randoms.Random(i).randbytes(PATCH_BYTES), offset)
            if not cloud.holds("ours/big.bin", content):
                raise Trouble("other bytes are at the server")
            return done

        # The first change meets a file that is not in the cache, and finds out what the server can do.
        first = ours(-1)
        results = [ours(i) for i in range(bench.runs)]
        name = "bytes sent for 4 KiB in %d MiB, %s" % (size // MIB, cloud.name)
        table.absolute(name, [sent / KIB for sent, _ in results], "%.0f", "KiB", cloud.limit / KIB,
                       "<= %d KiB" % (cloud.limit // KIB))
        table.info("and the first time, of a file that was never read", "sent %.0f KiB, received %.0f KiB" % (
            first[0] / KIB, first[1] / KIB), "-")
        guest.leave()
        bench.stop(server)
        try:
            mount = Mount(bench, bench.new_path("mount"))
            mount.start(cloud.rclone("mount", True), "full")
            counter.take()
            change(os.path.join(mount.point, "big.bin"), b"x" * PATCH_BYTES, 9 * MIB)
            end = time.monotonic() + 120
            while counter.sent < size and time.monotonic() < end:
                time.sleep(0.1)
            time.sleep(1)
            sent, received = counter.take()
            table.info("and rclone mount", "-", "sent %.0f KiB, received %.0f KiB" % (sent / KIB, received / KIB))
            mount.stop()
        except (Trouble, OSError) as trouble:
            say("no rclone mount: %s" % trouble)
        counter.close()
        for path in (cache, content):
            bench.remove(path)
        for folder in ("ours", "mount"):
            cloud.remove(folder)


# ---- many small files ----

def small_files(bench, table, cloud, count):
    """From when they are all there to read until they are all in the cloud."""
    source = bench.new_path("small")
    os.mkdir(source)
    content = randoms.Random(count).randbytes(UPLOAD_BYTES + count)
    for i in range(count):
        with open(os.path.join(source, "Document %06d.txt" % i), "wb") as out:
            out.write(content[i:i + UPLOAD_BYTES])

    def ours(i):
        path, cache = "ours%d" % i, bench.new_path("cache")
        cloud.make(path)
        server = bench.nbdkit(bench.plugin, *cloud.ours(path), "cache=" + cache, "fs=fat32", "size=8G", "write-back=0",
                              "settle=0.2", prefix=cloud.prefix)
        guest, journal = Guest(bench, server), Journal(cache)
        bench.settle()
        done = guest.do("copy", count, UPLOAD_BYTES, "Copy")
        end = time.monotonic() + 600
        seen = 0
        # The journal is empty before the first of them are in it, too.
        while seen == 0 and not journal.waiting() and cloud.files(path) < count:
            if time.monotonic() > end:
                raise Trouble("nothing is sent")
            time.sleep(0.005)
        seconds = journal.wait_none(600) - done
        while cloud.files(path) < count:
            seconds = journal.wait_none(600) - done
            if time.monotonic() > end:
                raise Trouble("%d files of %d are there" % (cloud.files(path), count))
        if cloud.files(path) != count:
            raise Trouble("%d files of %d are there" % (cloud.files(path), count))
        guest.leave()
        bench.stop(server)
        bench.remove(cache)
        cloud.remove(path)
        return count / seconds

    def rclone(i):
        path = "rclone%d" % i
        cloud.make(path)
        bench.settle()
        seconds, _ = bench.run([*cloud.prefix, "rclone", "copy", source, *cloud.rclone(path), *RCLONE])
        if cloud.files(path) != count:
            raise Trouble("rclone: %d files of %d are there" % (cloud.files(path), count))
        cloud.remove(path)
        return count / seconds

    a, b = interleaved(bench.runs, ours, rclone)
    table.compare("%d new files of %d KiB to %s" % (count, UPLOAD_BYTES // KIB, cloud.name), a, b,
                  "rclone copy --transfers 8", "%.0f", "/s", at_least=1)
    bench.remove(source)


def upload(bench, table):
    needs("rclone")
    for cloud in near_clouds(bench):
        small_files(bench, table, cloud, bench.files // 10)
    small_files(bench, table, Dav(bench, far=True), bench.files // 40)


# ---- large files ----

def large_up(bench, table, cloud):
    size, source = bench.size, os.path.join(bench.large_file(), "big.bin")

    def ours(i):
        """Sending it, as others do, and with what comes before."""
        path, cache = "ours%d" % i, bench.new_path("cache")
        cloud.make(path)
        server = bench.nbdkit(bench.plugin, *cloud.ours(path), "cache=" + cache, "fs=fat32", "size=8G", "write-back=3600",
                              "settle=0.2", prefix=cloud.prefix)
        guest, journal = Guest(bench, server), Journal(cache)
        bench.settle()
        done = guest.do("file", source, "big")
        understood = journal.wait(1, 120) - done
        bench.settle()
        begin = time.monotonic()
        drain = bench.start([os.path.join(bench.build, "cloudsharectl"), "drain", cache])
        seconds = journal.wait_none(600) - begin
        drain.wait()
        if not cloud.holds(path + "/big 000000.txt", source):
            raise Trouble("other bytes are at the server")
        guest.leave()
        bench.stop(server)
        bench.remove(cache)
        cloud.remove(path)
        return size / seconds / MIB, size / (seconds + understood) / MIB

    def rclone(i):
        cloud.make("rclone%d" % i)
        bench.settle()
        seconds, _ = bench.run([*cloud.prefix, "rclone", "copy", source, *cloud.rclone("rclone%d" % i), *RCLONE])
        cloud.remove("rclone%d" % i)
        return size / seconds / MIB

    def curl(i):
        cloud.make("curl%d" % i)
        bench.settle()
        seconds, _ = bench.run([*cloud.prefix, "curl", "-sSf", "-T", source, *cloud.curl("curl%d/big.bin" % i)])
        cloud.remove("curl%d" % i)
        return size / seconds / MIB

    mine, *results = interleaved(bench.runs, ours, rclone, curl)
    name = "%d MiB up to %s" % (size // MIB, cloud.name)
    sent = [rate for rate, _ in mine]
    table.compare(name, sent, results[0], "rclone copy", "%.0f", "MiB/s", at_least=0.95)
    table.compare(name, sent, results[1], "curl -T", "%.0f", "MiB/s", at_least=0.95)
    table.compare(name + ", from the guest's last write", [rate for _, rate in mine], results[1], "curl -T", "%.0f", "MiB/s")


def large_down(bench, table, cloud):
    size, source = bench.size, os.path.join(bench.large_file(), "big.bin")
    cloud.make("down")
    cloud.put("down/big.bin", source)

    def ours(_):
        cache = bench.new_path("cache")
        server = bench.nbdkit(bench.plugin, *cloud.ours("down"), "cache=" + cache, prefix=cloud.prefix)
        offset, length = bench.where(server, "big.bin")
        bench.settle()
        figures = bench.load(server, "sequential", offset, length, *READ)
        bench.stop(server)
        bench.remove(cache)
        return figures["bytes"] / figures["seconds"] / MIB

    def rclone(_):
        copy = bench.new_path("copy")
        bench.settle()
        seconds, _ = bench.run([*cloud.prefix, "rclone", "copy", *cloud.rclone("down"), copy, *RCLONE])
        bench.remove(copy)
        return size / seconds / MIB

    def curl(_):
        copy = bench.new_path("copy")
        bench.settle()
        seconds, _ = bench.run([*cloud.prefix, "curl", "-sSf", "-o", copy, *cloud.curl("down/big.bin")])
        bench.remove(copy)
        return size / seconds / MIB

    results = interleaved(bench.runs, ours, rclone, curl)
    name = "%d MiB down from %s" % (size // MIB, cloud.name)
    table.compare(name, results[0], results[1], "rclone copy", "%.0f", "MiB/s", at_least=0.95)
    table.compare(name, results[0], results[2], "curl -o", "%.0f", "MiB/s", at_least=0.95)
    cloud.remove("down")


def transfer(bench, table):
    needs("rclone", "curl")
    for cloud in near_clouds(bench):
        large_up(bench, table, cloud)
        large_down(bench, table, cloud)
    far = Dav(bench, far=True)
    large_up(bench, table, far)
    large_down(bench, table, far)
