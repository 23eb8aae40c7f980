# SPDX-License-Identifier: BSD-3-Clause
"""What is measured, and on what."""

import os
import re
import subprocess

from harness import DELAY_MS, Trouble


def makefile_variable(build, name):
    try:
        with open(os.path.join(build, "Makefile")) as makefile:
            for line in makefile:
                found = re.match(r"%s = ?(.*)" % name, line)
                if found:
                    return found.group(1)
    except OSError as error:
        raise Trouble("%s: no build there: %s" % (build, error.strerror))
    return ""


def refuse_slow_builds(build):
    """A figure of a build that nobody would install misleads."""
    flags = makefile_variable(build, "CFLAGS")
    sanitizers = makefile_variable(build, "SANITIZER_FLAGS")
    levels = re.findall(r"-O(\S*)", flags)
    if sanitizers.strip() or "-fsanitize" in flags:
        raise Trouble("%s is built with sanitizers (%s): measure another build" % (build, sanitizers or flags))
    if not levels or levels[-1] not in ("2", "3"):
        raise Trouble("%s is not built with -O2 (CFLAGS are \"%s\"): measure another build" % (build, flags))
    plugin = os.path.join(build, ".libs", "nbdkit-cloudshare-plugin.so")
    if not os.path.exists(plugin):
        raise Trouble("%s has not been built" % plugin)
    with open(plugin, "rb") as code:
        data = code.read()
    for name in (b"__asan_init", b"__tsan_init", b"__ubsan_handle"):
        if name in data:
            raise Trouble("%s is built with sanitizers, whatever its Makefile says now" % plugin)


def first_line(*command):
    try:
        result = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return "not installed"
    return (result.stdout.decode(errors="replace").splitlines() or [""])[0].strip()


def processor():
    with open("/proc/cpuinfo") as info:
        for line in info:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine


def memory_gib():
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def describe(bench, out):
    plugin = subprocess.run(["nbdkit", bench.plugin, "--dump-plugin"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    version = re.search(r"cloudshare_version=(\S+)", plugin.stdout.decode())
    disk = first_line("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", bench.tmp)
    print("machine:  %d cores (%s), %.1f GiB, Linux %s, temporary files on %s; load %.1f before the start" %
          (os.cpu_count(), processor(), memory_gib(), os.uname().release, " ".join(disk.split()), os.getloadavg()[0]),
          file=out)
    print("versions: cloudshare %s (%s), %s, %s, %s, %s, sqlite %s" %
          (version.group(1) if version else "unknown", makefile_variable(bench.build, "CFLAGS"),
           first_line("nbdkit", "--version"), " ".join(first_line("curl", "--version").split()[:2]),
           first_line("apache2", "-v").removeprefix("Server version: "), first_line("rclone", "version"),
           first_line("sqlite3", "--version").split(" ")[0]), file=out)
    print("runs:     %d of each kind, in turn; a large file of %d MiB, trees of %d and %d files; far is a round trip of"
          " %d ms" % (bench.runs, bench.size >> 20, bench.files // 10, bench.files, 2 * DELAY_MS), file=out)
    print(file=out, flush=True)
