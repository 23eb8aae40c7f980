#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Boots Linux guests with disks over NBD, and runs shell scripts in them.

As a program:

  guest.py run [-d DISK]... [-k KERNEL] [-t SECONDS] [-e clean|poweroff|kill] (-c SCRIPT | FILE)

boots, runs the script as root, shows its output and exits with its status (124: it took longer than SECONDS; 125: the
guest died; 77: guests cannot be had here).

As a module:

  with Guest(["nbd+unix:///disk?socket=/tmp/sock"]) as guest:
      status, output = guest.sh("mount $(part d0 1) /mnt && ls /mnt")

A DISK is URI[,key=value]..., of an NBD server, or the path of a raw image:
  if=virtio|scsi|usb   how it is attached     (virtio)
  name=NAME            its serial number and node name, by which the guest's `disk` finds it   (d0, d1, ...)
  ro=1                 read-only
  discard=1            the guest's TRIM goes through
  reconnect=SECONDS    for how long requests wait for a server that is gone   (0)
"""

import argparse
import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import uuid

HERE = os.path.dirname(os.path.abspath(__file__))
CACHE = os.environ.get("CLOUDSHARE_TEST_CACHE", "/var/tmp/cloudshare-test")

# A kernel that is really accelerated is up in a second or two; on a busy machine in ten.
TRIAL_SECONDS = 20
BOOT_SECONDS = 180


class GuestError(Exception):
    pass


class GuestTimeout(GuestError):
    pass


class GuestMissing(GuestError):
    """Guests cannot be had on this machine: tests skip."""


def build(kernel=None):
    """The folder with vmlinux and initrd.img."""
    env = dict(os.environ, **({"GUEST_KERNEL": kernel} if kernel else {}))
    done = subprocess.run([os.path.join(HERE, "build-guest")], stdout=subprocess.PIPE, text=True, env=env)
    if done.returncode == 77:
        raise GuestMissing("no kernel for guests")
    if done.returncode:
        raise GuestError("build-guest failed")
    return done.stdout.splitlines()[-1]


def accelerator():
    """kvm or tcg.  /dev/kvm may be there and be of no use (nested, or emulating): only a boot tells, so the answer of one
    is kept until the host boots again."""
    forced = os.environ.get("GUEST_ACCEL")
    if forced:
        return forced
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    with open("/proc/sys/kernel/random/boot_id") as file:
        memo = os.path.join(CACHE, "accel-" + file.read().strip())
    if not os.path.exists(memo):
        answer = "kvm"
        try:
            Guest(accel="kvm", boot_seconds=TRIAL_SECONDS).down("kill")
        except GuestMissing:
            raise
        except GuestError:
            answer = "tcg"
        with open(memo + ".new", "w") as file:
            file.write(answer)
        os.rename(memo + ".new", memo)
    with open(memo) as file:
        return file.read()


class Disk:
    def __init__(self, text, index):
        self.uri, *options = text.split(",")
        self.options = {"if": "virtio", "name": "d%d" % index}
        for option in options:
            key, _, value = option.partition("=")
            if key not in ("if", "name", "ro", "discard", "reconnect"):
                raise GuestError("unknown option of a disk: " + option)
            self.options[key] = value
        self.name = self.options["name"]

    def blockdev(self):
        uri = urllib.parse.urlsplit(self.uri)
        if uri.scheme not in ("nbd", "nbd+unix"):
            node = {"driver": "raw", "file": {"driver": "file", "filename": os.path.abspath(self.uri)}}
        else:
            if uri.scheme == "nbd":
                server = {"type": "inet", "host": uri.hostname, "port": str(uri.port or 10809)}
            else:
                server = {"type": "unix", "path": urllib.parse.parse_qs(uri.query)["socket"][0]}
            node = {"driver": "nbd", "server": server, "export": urllib.parse.unquote(uri.path[1:]),
                    "reconnect-delay": int(self.options.get("reconnect", 0))}
        node.update({"node-name": self.name, "read-only": self.options.get("ro") == "1",
                     "discard": "unmap" if self.options.get("discard") == "1" else "ignore"})
        return node

    def device(self):
        kind = self.options["if"]
        device = {"driver": {"virtio": "virtio-blk-pci", "scsi": "scsi-hd", "usb": "usb-storage"}[kind],
                  "id": "dev-" + self.name, "drive": self.name, "serial": self.name}
        if kind != "virtio":
            device["bus"] = {"scsi": "scsi0.0", "usb": "usb0.0"}[kind]
        return device


class Guest:
    """A running guest.  sh runs scripts in it, qmp talks to qemu, down ends it.  In a with statement it is shut down at
    the end, or killed after an exception; its folder (console.log, qemu.log) is then kept until cleanup."""

    def __init__(self, disks=(), kernel=None, mem=256, smp=1, qemu_args=(), accel=None, boot_seconds=BOOT_SECONDS):
        self.proc = None
        self.dir = None
        self._qmp = None
        self.events = []
        if shutil.which("qemu-system-x86_64") is None:
            raise GuestMissing("qemu-system-x86_64 is not installed")
        folder = build(kernel)
        self.accel = accel or accelerator()
        self.disks = [disk if isinstance(disk, Disk) else Disk(disk, i) for i, disk in enumerate(disks)]
        self.dir = tempfile.mkdtemp(prefix="cloudshare-guest.", dir="/tmp")     # short: sockets are in it
        try:
            self._start(folder, mem, smp, list(qemu_args))
            begin = time.monotonic()
            self.check("true", boot_seconds)
            self.boot_time = time.monotonic() - begin
        except BaseException as error:
            self.kill()
            if isinstance(error, GuestError):
                error.args = ("%s\n%s" % (error, self.logs()),)
            self.cleanup()
            raise

    def _start(self, folder, mem, smp, extra):
        kinds = {disk.options["if"] for disk in self.disks}
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none",
                   "-machine", "q35", "-accel", self.accel, "-cpu", "host" if self.accel == "kvm" else "qemu64",
                   "-m", str(mem), "-smp", str(smp),
                   "-kernel", folder + "/vmlinux", "-initrd", folder + "/initrd.img",
                   "-append", "console=ttyS0 panic=-1 quiet loglevel=4 no_timer_check random.trust_cpu=on "
                              "cryptomgr.notests",
                   "-chardev", "file,id=console,path=%s/console.log" % self.dir, "-serial", "chardev:console",
                   "-chardev", "socket,id=control,path=%s/control,server=on,wait=off" % self.dir,
                   "-device", "virtio-serial-pci", "-device", "virtserialport,chardev=control,name=control",
                   "-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0",
                   "-qmp", "unix:%s/qmp,server=on,wait=off" % self.dir]
        if "scsi" in kinds:
            command += ["-device", "virtio-scsi-pci,id=scsi0"]
        if "usb" in kinds:
            command += ["-device", "qemu-xhci,id=usb0"]
        for disk in self.disks:
            command += ["-blockdev", json.dumps(disk.blockdev()), "-device", json.dumps(disk.device())]
        with open(self.dir + "/qemu.log", "wb") as log:
            self.proc = subprocess.Popen(command + extra, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    # ---- the end ----

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.down("clean" if kind is None else "kill")
        if kind is None:
            self.cleanup()
        else:
            print("guest.py: the guest's logs are in " + self.dir, file=sys.stderr)

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def kill(self):
        """A power cut: what qemu or the guest had not written is lost."""
        if self.alive():
            self.proc.kill()
        if self.proc:
            self.proc.wait()
        if self._qmp:
            self._qmp.close()
            self._qmp = None

    def down(self, mode="clean", seconds=60):
        """clean: sync, unmount, power off.  poweroff: at once, nothing is flushed.  kill: a power cut."""
        scripts = {"clean": "cd /; sync; umount -a -t vfat,msdos,exfat; poweroff -f",
                   "poweroff": "echo o > /proc/sysrq-trigger; sleep 60"}
        if mode in scripts and self.alive():
            try:
                self.sh(scripts[mode], seconds)
            except GuestError:
                pass            # it ends before it has answered
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def cleanup(self):
        if self.dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def logs(self):
        text = ""
        for name in "qemu.log", "console.log":
            try:
                with open(os.path.join(self.dir, name), errors="replace") as file:
                    text += "---- %s\n%s\n" % (name, file.read()[-3000:])
            except OSError:
                pass
        return text

    # ---- commands ----

    def _connect(self, name, deadline):
        conn = socket.socket(socket.AF_UNIX)
        while True:
            try:
                conn.connect(os.path.join(self.dir, name))
                return conn
            except OSError:
                if not self.alive() or time.monotonic() > deadline:
                    conn.close()
                    raise GuestError("qemu has ended" if not self.alive() else "qemu does not listen") from None
                time.sleep(0.02)

    def sh(self, script, seconds=60, out=None):
        """Runs a shell script; returns (status, output).  out: a binary file that gets the output as it comes."""
        ident = uuid.uuid4().hex
        # The guest ends the script in time; this is for a guest that hangs.
        deadline = time.monotonic() + seconds + 5
        pattern = re.compile(rb"\n%s:(\d+)\.\n" % ident.encode())
        text, shown = b"", 0
        with self._connect("control", deadline) as conn:
            request = base64.b64encode(script.encode()).decode()
            conn.sendall(("RUN %s %d %s\n" % (ident, max(1, round(seconds)), request)).encode())
            conn.settimeout(0.5)
            while True:
                try:
                    piece = conn.recv(65536)
                    if not piece:
                        raise GuestError("the guest has gone")
                    text += piece
                except socket.timeout:
                    pass
                except OSError as error:
                    raise GuestError("the guest has gone: %s" % error) from None
                end = pattern.search(text, max(0, shown - 64))
                upto = end.start() if end else max(shown, len(text) - 64)       # the rest may be the end mark
                if out:
                    out.write(text[shown:upto])
                    out.flush()
                shown = upto
                if end:
                    return int(end.group(1)), text[:end.start()].decode(errors="replace")
                if not self.alive():
                    raise GuestError("the guest has ended")
                if time.monotonic() > deadline:
                    raise GuestTimeout("no answer in %d seconds" % seconds)

    def check(self, script, seconds=60):
        """Like sh, for scripts that must succeed; returns the output."""
        status, output = self.sh(script, seconds)
        if status:
            raise GuestError("status %d of %r:\n%s" % (status, script, output))
        return output

    def qmp(self, command, **arguments):
        """One QMP command; events that come meanwhile are added to self.events."""
        if self._qmp is None:
            conn = self._connect("qmp", time.monotonic() + 30)
            conn.settimeout(60)
            self._qmp = conn.makefile("rw")
            conn.close()                # the file holds it
            self._qmp.readline()
            self.qmp("qmp_capabilities")
        self._qmp.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._qmp.flush()
        while True:
            line = self._qmp.readline()
            if not line:
                raise GuestError("qemu has closed its QMP socket")
            answer = json.loads(line)
            if "event" in answer:
                self.events.append(answer)
            elif "error" in answer:
                raise GuestError("%s: %s" % (command, answer["error"]["desc"]))
            else:
                return answer["return"]


def run(args):
    if args.command is not None:
        script = args.command
    else:
        with open(args.file) as file:
            script = file.read()
    guest = Guest(args.disk, args.kernel, args.mem)
    try:
        if args.verbose:
            print("guest: up in %.1f s (%s)" % (guest.boot_time, guest.accel), file=sys.stderr)
        try:
            status, _ = guest.sh(script, args.time, sys.stdout.buffer)
        except GuestTimeout:
            status = 124
        # busybox's timeout ends the script by a signal.
        if status == 143:
            status = 124
        guest.down(args.end if status != 124 else "kill")
        return status
    finally:
        guest.kill()
        if args.verbose:
            sys.stderr.write(guest.logs())
        guest.cleanup()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("run")
    verb.add_argument("-d", "--disk", action="append", default=[])
    verb.add_argument("-k", "--kernel")
    verb.add_argument("-m", "--mem", type=int, default=256)
    verb.add_argument("-t", "--time", type=float, default=60)
    verb.add_argument("-e", "--end", choices=["clean", "poweroff", "kill"], default="clean")
    verb.add_argument("-c", "--command")
    verb.add_argument("-v", "--verbose", action="store_true")
    verb.add_argument("file", nargs="?")
    args = parser.parse_args()
    if (args.command is None) == (args.file is None):
        parser.error("either a file or -c")
    # Ended from outside, the guest ends too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(args)
    except GuestMissing as error:
        print("guest.py:", error, file=sys.stderr)
        return 77
    except GuestError as error:
        print("guest.py:", error, file=sys.stderr)
        return 125


if __name__ == "__main__":
    sys.exit(main())
