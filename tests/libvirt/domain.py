# SPDX-License-Identifier: BSD-3-Clause
"""The guests of tests/guest, as domains of libvirt.

  with Domain(uri, "vm1", [element, ...]) as guest:
      guest.check("mount $(part photos 1) /mnt")
      guest.virsh("domstate", guest.name)

An element is a <disk>, as text; the guest finds the disk by its <serial>."""

import os
import subprocess
import sys
import time
from xml.sax.saxutils import quoteattr

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
import guest                                                                            # noqa: E402

DOMAIN = """<domain type={type}>
  <name>{name}</name>
  <memory unit='MiB'>{mem}</memory>
  <vcpu>{smp}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{folder}/vmlinux</kernel>
    <initrd>{folder}/initrd.img</initrd>
    <cmdline>console=ttyS0 panic=-1 quiet loglevel=4 no_timer_check random.trust_cpu=on cryptomgr.notests</cmdline>
  </os>
  <features><acpi/></features>
  {cpu}
  <on_poweroff>destroy</on_poweroff><on_reboot>destroy</on_reboot><on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {disks}
    <controller type='usb' model='qemu-xhci'/>
    <serial type='file'><source path={console}/></serial>
    <channel type='unix'>
      <source mode='bind' path={control}/>
      <target type='virtio' name='control'/>
    </channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
</domain>
"""


class Domain(guest.Guest):
    def __init__(self, uri, name, elements, **options):
        self.uri, self.name, self.elements = uri, name, elements
        super().__init__(**options)

    def virsh(self, *words, check=True):
        done = subprocess.run(["virsh", "-q", "-c", self.uri, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise guest.GuestError("virsh %s: %s" % (" ".join(words), done.stdout.strip()))
        return done.stdout.strip()

    def _start(self, folder, mem, smp, extra):
        assert not extra
        kvm = self.accel == "kvm"
        path = self.dir + "/domain.xml"
        with open(path, "w") as file:
            file.write(DOMAIN.format(
                type=quoteattr("kvm" if kvm else "qemu"), name=self.name, mem=mem, smp=smp, folder=folder,
                cpu="<cpu mode='host-passthrough'/>" if kvm else "", disks="\n    ".join(self.elements),
                console=quoteattr(self.dir + "/console.log"), control=quoteattr(self.dir + "/control")))
        self.virsh("define", "--validate", path)
        self.virsh("start", self.name)

    def state(self):
        return self.virsh("domstate", self.name, "--reason", check=False)

    def alive(self):
        return self.state().split(" ")[0] in ("running", "paused", "in")

    def kill(self):
        if self.alive():
            self.virsh("destroy", self.name, check=False)
        self.virsh("undefine", self.name, check=False)

    def down(self, mode="clean", seconds=60):
        if mode != "kill" and self.alive():
            try:
                self.sh("cd /; sync; umount -a -t vfat,msdos,exfat; poweroff -f", seconds)
            except guest.GuestError:
                pass            # it ends before it has answered
            end = time.monotonic() + 10
            while self.alive() and time.monotonic() < end:
                time.sleep(0.1)
        self.kill()
