# SPDX-License-Identifier: BSD-3-Clause
"""What measurements stand on: a temporary folder, processes that end with us, servers, clocks.

A Bench is a context manager: at its end everything that it started is stopped, and its folder is removed."""

import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

MIB = 1 << 20

# How far away "far" is, milliseconds one way.
DELAY_MS = 10

NETNS = "cloudshare-bench-%d" % os.getpid()


class Trouble(Exception):
    """A measurement cannot be made; its text says why."""


def say(text):
    print("# " + text, file=sys.stderr, flush=True)


def interleaved(runs, *kinds):
    """Calls each kind in turn, with the number of the run, as often as there are runs: A B A B...  Returns a list of
    results for each kind.  What else the machine does then hits all of them alike."""
    results = [[] for _ in kinds]
    for i in range(runs):
        for result, kind in zip(results, kinds):
            result.append(kind(i))
    return results


def python_with_nbd():
    for python in ("python3", "/usr/bin/python3"):
        if subprocess.run([python, "-c", "import nbd"], stderr=subprocess.DEVNULL).returncode == 0:
            return python
    raise Trouble("Python has no module nbd (python3-libnbd)")


def needs(*programs):
    for program in programs:
        if shutil.which(program) is None:
            raise Trouble("%s is not installed" % program)


class Bench:
    def __init__(self, args):
        self.runs, self.size, self.files, self.ceph = args.runs, args.size * MIB, args.files, args.ceph
        self.build = os.path.abspath(args.build)
        self.plugin = os.path.join(self.build, ".libs", "nbdkit-cloudshare-plugin.so")
        self.nbdload = os.path.join(self.build, "bench", "nbdload")
        self.delayproxy = os.path.join(self.build, "tests", "servers", "delayproxy")
        for path in (self.plugin, self.nbdload):
            if not os.path.exists(path):
                raise Trouble("%s has not been built" % path)
        self.processes, self.servers, self.undo, self.n = [], [], [], 0
        self.netem = None

    def __enter__(self):
        base = os.environ.get("TMPDIR", "/var/tmp")
        self.tmp = tempfile.mkdtemp(prefix="cloudshare-bench.", dir=base)
        # Servers that give up root have to get in.
        os.chmod(self.tmp, 0o755)
        if len(self.tmp) > 80:
            shutil.rmtree(self.tmp)
            raise Trouble("%s is too long a path for sockets" % self.tmp)
        with open(self.path("rclone.conf"), "w"):
            pass
        os.environ["RCLONE_CONFIG"] = self.path("rclone.conf")
        # What somebody has set for other clouds is not for ours.
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        return self

    def __exit__(self, *_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self.stop_all()
        shutil.rmtree(self.tmp, ignore_errors=True)

    # ---- files ----

    def path(self, name):
        return os.path.join(self.tmp, name)

    def new_path(self, stem):
        self.n += 1
        return self.path("%s%d" % (stem, self.n))

    def remove(self, path):
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)

    def settle(self):
        """Nothing that an earlier run wrote is still on its way to the disk."""
        os.sync()

    def large_file(self):
        """A folder with one large file, big.bin; made once."""
        folder = self.path("large")
        if not os.path.isdir(folder):
            say("making a file of %d MiB" % (self.size // MIB))
            os.mkdir(folder)
            with open(os.path.join(folder, "big.bin"), "wb") as out:
                for _ in range(self.size // MIB):
                    out.write(os.urandom(MIB))
            self.age(folder)
        return folder

    def tree(self, name, folders, files, smallest, largest):
        """A folder with that many folders, and files spread evenly over them; made once.  The same every time."""
        top = self.path(name)
        if os.path.isdir(top):
            return top
        say("making %d files in %d folders" % (files, folders))
        rng = random.Random(1)
        data = rng.randbytes(2 * largest)
        for i in range(files):
            folder = os.path.join(top, "folder %04d" % (i % folders))
            if i < folders:
                os.makedirs(folder)
            size = rng.randint(smallest, largest)
            start = rng.randrange(largest)
            with open(os.path.join(folder, "Document number %06d.txt" % i), "wb", buffering=0) as out:
                out.write(data[start:start + size])
        self.age(top)
        return top

    def age(self, folder):
        """Files that were written a moment ago are looked at again by whoever is careful; ours are old."""
        an_hour_ago = time.time() - 3600
        for path, _, names in os.walk(folder, topdown=False):
            for name in names:
                os.utime(os.path.join(path, name), (an_hour_ago, an_hour_ago))
            os.utime(path, (an_hour_ago, an_hour_ago))

    # ---- processes ----

    def start(self, command, **options):
        """In the background.  Its output goes to a log that is shown if it ends early."""
        log = self.new_path("log")
        with open(log, "wb") as out:
            process = subprocess.Popen(command, stdin=options.pop("stdin", subprocess.DEVNULL),
                                       stdout=options.pop("stdout", out), stderr=out, **options)
        process.log = log
        self.processes.append(process)
        return process

    def stop(self, process):
        if process in self.processes:
            self.processes.remove(process)
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise Trouble("%s did not end within 30 seconds" % process.args[0])

    def complain(self, process, what):
        with open(process.log, errors="replace") as log:
            lines = log.read().splitlines()
        raise Trouble("%s: %s" % (what, lines[-1] if lines else "no message"))

    def stop_all(self):
        for process in reversed(self.processes[:]):
            try:
                self.stop(process)
            except Trouble as trouble:
                say(str(trouble))
        for server in self.servers:
            subprocess.run(server, stdin=subprocess.DEVNULL)
        self.servers.clear()
        while self.undo:
            self.undo.pop()()

    def run(self, command, **options):
        """Returns (seconds, output)."""
        start = time.monotonic()
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                **options)
        seconds = time.monotonic() - start
        if result.returncode != 0:
            lines = result.stderr.decode(errors="replace").strip().splitlines()
            raise Trouble("%s: status %d: %s" % (" ".join(command)[:100], result.returncode,
                                                 lines[-1] if lines else "no message"))
        return seconds, result.stdout.decode(errors="replace")

    # ---- nbdkit ----

    def nbdkit(self, *args, prefix=()):
        """Starts nbdkit; it listens on .socket before this returns."""
        sock = self.new_path("s")
        process = self.start([*prefix, "nbdkit", "-f", "-U", sock, *args])
        process.socket = sock
        end = time.monotonic() + 300
        while not os.path.exists(sock):
            if process.poll() is not None:
                self.complain(process, "nbdkit did not start")
            if time.monotonic() > end:
                raise Trouble("nbdkit has not started within five minutes")
            time.sleep(0.001)
        return process

    def ours(self, remote, cache, *args, prefix=()):
        return self.nbdkit(self.plugin, "remote=" + remote, "cache=" + cache, *args, prefix=prefix)

    def load(self, server, kind, offset, length, *options):
        """Runs bench/nbdload; returns its figures."""
        sock = server if isinstance(server, str) else server.socket
        try:
            _, out = self.run([self.nbdload, *options, sock, kind, str(offset), str(length)])
        except Trouble as trouble:
            if not isinstance(server, str) and server.poll() is not None:
                self.complain(server, "nbdkit ended")
            raise trouble
        lines = [line.partition("=") for line in out.splitlines()]
        return {key: float(value) for key, _, value in lines}

    def where(self, server, path, export=""):
        """(offset, length) of a file on the disk."""
        _, out = self.run([python_with_nbd(), os.path.join(TOP, "tests", "diskread.py"), uri(server, export),
                           "where", path])
        ranges = [tuple(map(int, line.split())) for line in out.splitlines()]
        for (offset, length), (after, _) in zip(ranges, ranges[1:]):
            if offset + length != after:
                raise Trouble("%s is not in one piece on the disk" % path)
        return ranges[0][0], sum(length for _, length in ranges)

    def listed(self, server):
        """How many files and folders there are on the disk."""
        _, out = self.run([python_with_nbd(), os.path.join(TOP, "tests", "diskread.py"), uri(server), "ls"])
        return out.count("\n")

    def peak_memory(self, process):
        """Most bytes of memory that the process has had."""
        with open("/proc/%d/status" % process.pid) as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        raise Trouble("the kernel does not tell VmHWM")

    def wait_idle(self, process, seconds=60):
        """Until the process has used no processor time to speak of for a second."""
        def used():
            with open("/proc/%d/stat" % process.pid) as stat:
                fields = stat.read().rpartition(")")[2].split()
            return int(fields[11]) + int(fields[12])
        end = time.monotonic() + seconds
        before = used()
        while time.monotonic() < end:
            time.sleep(1)
            after = used()
            if after - before <= 1:
                return
            before = after
        say("%s is still busy after %d seconds" % (process.args[0], seconds))

    # ---- servers ----

    def apache(self, folder, prefix=()):
        """Starts Apache with WebDAV on the folder; returns its URL."""
        needs("apache2")
        script = os.path.join(TOP, "tests", "servers", "apache.sh")
        _, out = self.run([*prefix, script, "start", folder], env=dict(os.environ, TMPDIR=self.tmp))
        told = dict(word.split("=", 1) for line in out.splitlines() for word in shlex.split(line))
        self.servers.append([script, "stop", told["STATE"]])
        return told["URL"]

    def far_apache(self, folder):
        """The same, a round trip of 2 * DELAY_MS away.  Returns its URL, and what goes before commands that use it."""
        if self.make_far_namespace():
            # Not "ip netns exec", which would hide mounts from us.
            prefix = ["nsenter", "--net=/run/netns/" + NETNS]
            self.netem = True
            return self.apache(folder, prefix), prefix
        if not os.path.exists(self.delayproxy):
            raise Trouble("neither sch_netem nor %s" % self.delayproxy)
        self.netem = False
        url = self.apache(folder)
        host, _, path = url.removeprefix("http://").partition("/")
        process = self.start([self.delayproxy, str(DELAY_MS), host.rpartition(":")[2]], stdout=subprocess.PIPE)
        line = process.stdout.readline().decode()
        if not line.startswith("PORT="):
            self.complain(process, "the delaying proxy did not start")
        return "http://127.0.0.1:%d/%s" % (int(line[5:]), path), []

    def make_far_namespace(self):
        """A network namespace whose loopback interface delays; False where the kernel or we cannot."""
        def quiet(*command):
            return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL).returncode == 0
        if os.geteuid() != 0 or not all(map(shutil.which, ("ip", "tc", "nsenter"))):
            return False
        if not quiet("ip", "netns", "add", NETNS):
            return False
        self.undo.append(lambda: quiet("ip", "netns", "del", NETNS))
        inside = ["ip", "netns", "exec", NETNS]
        # Packets between two programs pass the interface once in each direction.
        return (quiet(*inside, "ip", "link", "set", "lo", "up") and
                quiet(*inside, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "%dms" % DELAY_MS,
                      "limit", "1000000"))


def uri(server, export=""):
    return "nbd+unix:///%s?socket=%s" % (export, server.socket)
