# SPDX-License-Identifier: BSD-3-Clause
"""What test-libvirt.sh has its guests do.

  four-guests.py URI CTL CACHE REMOTE SOCKET LOG SERVER...

SERVER... is the server's command line; SOCKET is where it then listens."""

import concurrent.futures
import hashlib
import json
import os
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from domain import Domain, guest                                                        # noqa: E402

URI, CTL, CACHE, REMOTE, SOCKET, LOG, *SERVER = sys.argv[1:]
# The rules of test-libvirt.sh: which disks each has, how large they are, and which folder is on them.
GIVEN = {"vm1": ["photos"], "vm2": ["photos"], "vm3": ["photos", "docs"], "vm4": ["docs"]}
SIZE = {"photos": 80 << 20, "docs": 64 << 20}
FOLDER = {"photos": "Photos", "docs": "Docs"}
LINGER = 3
began = time.monotonic()


def say(text):
    print("%5.1f s  %s" % (time.monotonic() - began, text), flush=True)


def start_server():
    """Returns the process, once it serves."""
    if os.path.exists(SOCKET):
        os.unlink(SOCKET)
    with open(LOG, "ab") as log:
        started = subprocess.Popen(SERVER, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    wait_for("the server has started", lambda: started.poll() is not None or
             subprocess.run([CTL, "poke", CACHE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)
    assert started.poll() is None, "the server does not start"
    return started


def ctl(*words, fails=False):
    done = subprocess.run([CTL, words[0], *words[1:-1], CACHE, words[-1]] if len(words) > 1 else [CTL, words[0], CACHE],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert (done.returncode != 0) == fails, (words, done)
    return done.stderr if fails else done.stdout


def wait_for(what, condition, seconds=40):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "this has not become true in time: " + what
        time.sleep(0.1)


def tree(folder):
    """Path to checksum."""
    found = {}
    for at, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(at, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, folder)] = hashlib.sha256(file.read()).hexdigest()
    return found


def mount(vm, disk):
    vm.check("mkdir -p /mnt/%s && mount -o noatime $(part %s 1) /mnt/%s" % (disk, disk, disk))


def unmount(vm, disk):
    vm.check("umount /mnt/%s" % disk)


def tree_in(vm, disk):
    text = vm.check("cd /mnt/%s && find . -type f -exec sha256sum {} +" % disk)
    return {line[66:].removeprefix("./"): line[:64] for line in text.splitlines() if line}


def everywhere(each):
    """Runs each(name, vm) for all guests at once."""
    with concurrent.futures.ThreadPoolExecutor(len(vms)) as pool:
        for done in [pool.submit(each, name, vm) for name, vm in vms.items()]:
            done.result()


# ---- each sees what it was given ----

def disk_sizes(vm):
    return {int(line.split()[1]) for line in vm.check("lsblk -b -d -n -o NAME,SIZE").splitlines()}


def sees_its_disks(name, vm):
    # A disk on USB takes a while to be found.
    wait_for(name + "'s disks", lambda: len(disk_sizes(vm)) >= len(GIVEN[name]) and
             vm.sh("ls %s" % " ".join("$(part %s 1)" % disk for disk in GIVEN[name]))[0] == 0)
    sizes = disk_sizes(vm)
    assert sizes == {SIZE[disk] for disk in GIVEN[name]}, (name, sizes)
    for disk in GIVEN[name]:
        # Of the FAT32 boot sector: without udev, lsblk knows none.
        label = vm.check("dd if=$(part %s 1) bs=1 skip=71 count=11 status=none" % disk).strip()
        assert label == disk.upper(), (name, label)
        mount(vm, disk)
        assert tree_in(vm, disk) == tree(os.path.join(REMOTE, FOLDER[disk])), (name, disk, tree_in(vm, disk))
    # Not even its bytes: what the other folders hold is marked.
    for disk in GIVEN[name]:
        others = "|".join("marker-of-" + folder for folder in ("Photos", "Docs", "Secret") if folder != FOLDER[disk])
        status, output = vm.sh("dd if=$(disk %s) bs=1M status=none | tr -d '\\0' | grep -a -o -E '%s'" % (disk, others))
        assert status == 1, (name, disk, status, output)


def other_exports_are_refused():
    for name, disk in ("vm1", "docs"), ("vm2", "docs"), ("vm4", "photos"), ("vm5", "photos"), ("vm1", "secret"):
        assert "there is no" in ctl("libvirt-xml", name + "/" + disk, fails=True)
        # As somebody would write it by hand.
        at = vms.get(name, vms["vm1"])
        path = os.path.join(at.dir, "other.xml")
        with open(path, "w") as file:
            file.write(elements["vm3", "docs"].replace("'vm3/docs'", "'%s/%s'" % (name, disk)).replace("'vdb'", "'vdx'"))
        said = at.virsh("attach-device", at.name, path, check=False)
        assert "error" in said, said
    listed = json.loads(subprocess.check_output(["nbdinfo", "--list", "--json", "nbd+unix:///?socket=" + SOCKET]))
    names = {export["export-name"] for export in listed["exports"]}
    assert names == {name + "/" + disk for name, disks in GIVEN.items() for disk in disks}, names


# ---- each writes ----

def writes(name, vm):
    for disk in GIVEN[name]:
        vm.check("""cd /mnt/{0} && echo "a file of {1}" >from-{1}.txt && mkdir "folder of {1}" &&
                    dd if=/dev/urandom of="folder of {1}/random" bs=1000 count=700 status=none &&
                    mkdir -p common && echo {1} >common/{1}.txt && cd / && sync""".format(disk, name))
        written[name, disk] = tree_in(vm, disk)
        unmount(vm, disk)


def cloud_has_all():
    for disk, folder in FOLDER.items():
        want = dict(original[disk])
        for (_, which), files in written.items():
            if which == disk:
                want.update(files)
        got = tree(os.path.join(REMOTE, folder))
        assert got == want, (disk, sorted(set(got) ^ set(want)), [path for path in got if got[path] != want.get(path)])
    assert tree(os.path.join(REMOTE, "Secret")) == secret
    assert sorted(os.listdir(REMOTE)) == ["Docs", "Photos", "Secret"], os.listdir(REMOTE)


# ---- the others have it ----

def connections(view):
    status = json.loads(subprocess.check_output([CTL, "status", "--json", CACHE]))
    for disk in status["disks"]:
        for one in disk["views"]:
            if one["name"] == view:
                return one["connections"]
    return None


def has_the_newest(name, vm):
    for disk in GIVEN[name]:
        mount(vm, disk)
        got, want = tree_in(vm, disk), tree(os.path.join(REMOTE, FOLDER[disk]))
        assert got == want, (name, disk, sorted(set(got) ^ set(want)))
        unmount(vm, disk)


def replug(vm, disk):
    """Pulls a disk out for longer than linger=, and puts it back."""
    path = os.path.join(vm.dir, disk + ".xml")
    with open(path, "w") as file:
        file.write(elements[vm.name, disk])
    vm.virsh("detach-device", vm.name, path)
    wait_for("the disk is unplugged", lambda: not connections(vm.name + "/" + disk))
    assert vm.sh("lsblk -d -n -o NAME | grep .")[0] == 1, "the guest still sees it"
    time.sleep(LINGER + 1.5)
    vm.virsh("attach-device", vm.name, path)


# ---- the server is restarted ----

def while_resuming(vm, work):
    """The result of work, in the domain that has to be resumed meanwhile."""
    while not work.done():
        if vm.state() == "paused (I/O error)":
            vm.virsh("resume", vm.name)
        time.sleep(0.2)
    return work.result()


def restart_under_load(vm, disk):
    """It is killed in the middle of writing: the guest pauses, goes on when it is resumed, and has not noticed."""
    global server
    mount(vm, disk)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        work = pool.submit(vm.sh, """cd /mnt/%s && mkdir load && for i in $(seq 60); do
            dd if=/dev/urandom of=load/$i bs=10000 count=3 conv=fsync status=none || exit 1; usleep 20000; done
            dmesg | grep -i -E 'i/o error|fat-fs.*error' && exit 2; exit 0""" % disk, 120)
        wait_for("the guest has begun", lambda: connections(vm.name + "/" + disk) and len(os.listdir(REMOTE + "/Photos")) and
                 vm.state().startswith("running") and time.sleep(1.5) is None)
        server.kill()
        server.wait()
        wait_for("the domain pauses", lambda: vm.state() == "paused (I/O error)")
        say("the server is dead, and the domain " + vm.state())
        # Too early: it pauses again.
        vm.virsh("resume", vm.name, check=False)
        wait_for("the domain pauses again", lambda: vm.state() == "paused (I/O error)")
        server = start_server()
        status, output = while_resuming(vm, work)
        assert status == 0, (status, output)
    written[vm.name, disk] = tree_in(vm, disk)
    assert len([path for path in written[vm.name, disk] if path.startswith("load/")]) == 60
    unmount(vm, disk)


# ---- all of it ----

secret = tree(os.path.join(REMOTE, "Secret"))
original = {disk: tree(os.path.join(REMOTE, folder)) for disk, folder in FOLDER.items()}
written = {}
# The second has its disk as a USB stick.
server = start_server()
elements = {(name, disk): ctl("libvirt-xml", *(["--usb"] if name == "vm2" else []), name + "/" + disk)
            for name, disks in GIVEN.items() for disk in disks}
elements["vm3", "docs"] = elements["vm3", "docs"].replace("'vdb'", "'vdc'")
vms = {}
try:
    guest.build()
    guest.accelerator()
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        starting = {name: pool.submit(Domain, URI, name, [elements[name, disk] for disk in disks], mem=192)
                    for name, disks in GIVEN.items()}
        for name, vm in starting.items():
            if vm.exception() is None:
                vms[name] = vm.result()
        for vm in starting.values():
            vm.result()
    say("four guests are up (%s)" % vms["vm1"].accel)
    everywhere(sees_its_disks)
    other_exports_are_refused()
    say("each sees its disks and nothing else")

    everywhere(writes)
    subprocess.check_call([CTL, "drain", "--timeout", "60", CACHE], stdout=subprocess.DEVNULL)
    cloud_has_all()
    say("the cloud has what they wrote")

    replug(vms["vm2"], "photos")
    for name, disk in elements:
        if name != "vm2":
            ctl("refresh", name + "/" + disk)
    everywhere(has_the_newest)
    say("each has what the others wrote")

    original = {disk: tree(os.path.join(REMOTE, folder)) for disk, folder in FOLDER.items()}
    written = {}
    restart_under_load(vms["vm1"], "photos")
    subprocess.check_call([CTL, "drain", "--timeout", "60", CACHE], stdout=subprocess.DEVNULL)
    cloud_has_all()
    say("a restart of the server was not noticed")
    # The others notice it at their next request, and so have not been connected until then: that refreshes their views.
    time.sleep(LINGER + 1.5)
    for name in "vm2", "vm3":
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            while_resuming(vms[name], pool.submit(has_the_newest, name, vms[name]))
        say("%s has it, too" % name)
    for vm in vms.values():
        vm.down("clean")
        vm.cleanup()
    say("done")
except guest.GuestMissing as error:
    print(error)
    sys.exit(77)
except BaseException:
    for name, vm in vms.items():
        print("---- %s: %s\n%s" % (name, vm.state(), vm.logs()[-1500:]), file=sys.stderr)
        vm.kill()
        vm.cleanup()
    raise
finally:
    server.kill()
    server.wait()
