# SPDX-License-Identifier: BSD-3-Clause
"""What guests do for the traces, on which tree, and what becomes of it.

Contents are made of lines of 32 bytes that say whose and which they are: every sector differs from every other, all of
it packs well, and a guest can make them with nothing but busybox (GEN)."""

MIB = 1 << 20

# gen TAG BYTES
GEN = r"""cat >/bin/gen <<'END'
#!/bin/sh
awk -v tag="$1" -v n=$((($2 + 31) / 32)) 'BEGIN { for (i = 0; i < n; i++) printf "%-20.20s %010d\n", tag, i }' |
    head -c "$2"
END
chmod 755 /bin/gen
"""


def gen(tag, size):
    lines = (size + 31) // 32
    return b"".join(b"%-20.20s %010d\n" % (tag.encode(), i) for i in range(lines))[:size]


FOLDERS = ["dirA", "dirB", "tree", "tree/inner", "olddir", "emptydir", "\u00dcbung", "wide"]
FILES = {
    "over.bin": gen("over", MIB),
    "trunc.bin": gen("trunc", MIB),
    "append.txt": gen("append", 10000),
    "del.bin": gen("del", 20000),
    "doc.txt": gen("doc", 5000),
    "ren1.txt": gen("ren1", 100),
    "dirA/ren2.txt": gen("ren2", 200),
    "tree/inner/leaf.txt": gen("leaf", 300),
    "tree/other leaf.bin": gen("leaf2", 70000),
    "touch.txt": gen("touch", 50),
    "case.txt": gen("case", 60),
    "over8k.txt": gen("over8k", 8000),
    "empty.txt": b"",
    "\u00dcbung/stra\u00dfe \u65e5\u672c.txt": gen("street", 1234),
}
FILES.update({"olddir/old file %d.txt" % i: gen("old%d" % i, 100 * i) for i in range(1, 11)})
FILES.update({"wide/file with a long name, number %d.dat" % i: gen("wide%d" % i, 40) for i in range(60)})

MTIME = 1700000000


class Operation:
    """name; what it is; the script ($M is the mount point); what it does to the tree.

    now: {path: bytes}, files that are new or have another content at the end; folders: new ones; gone: files and folders
    that are not there any more (folders with all below); states: {path: [bytes]}, contents that the guest had in between;
    growing: {path: tag}, every beginning of gen's bytes is such a state; mount: options; discard: the disk takes
    TRIM; quick: only with sync, there is no trace of it idling."""

    def __init__(self, name, what, script, now=None, folders=(), gone=(), states=None, growing=None, mount="",
                 discard=False, quick=False, vfat=None):
        self.name, self.what, self.script = name, what, script
        self.now, self.folders, self.gone = now or {}, list(folders), list(gone)
        self.states, self.growing = states or {}, growing or {}
        self.mount, self.discard, self.quick, self.vfat = mount, discard, quick, vfat

    def final(self):
        """(folders, files) at the end."""
        def stays(path):
            return not any(path == gone or path.startswith(gone + "/") for gone in self.gone)
        folders = [path for path in FOLDERS if stays(path)] + self.folders
        files = {path: data for path, data in FILES.items() if stays(path)}
        files.update(self.now)
        return sorted(folders), files


def patched(data, offset, new):
    return data[:offset] + new + data[offset + len(new):]


def moved(folder, to):
    """The files below a folder, below another."""
    return {to + path[len(folder):]: data for path, data in FILES.items() if path.startswith(folder + "/")}


DOC = FILES["doc.txt"]

OPERATIONS = [
    Operation("create1M", "create a file of 1 MiB", "gen big 1048576 >$M/big.bin", {"big.bin": gen("big", MIB)},
              growing={"big.bin": "big"}),
    Operation("small", "create a file of 100 bytes", "gen small 100 >$M/small.txt", {"small.txt": gen("small", 100)}),
    Operation("smallsub", "create a file of 100 bytes in a folder", "gen small 100 >$M/dirA/small.txt",
              {"dirA/small.txt": gen("small", 100)}),
    Operation("small50", "create 50 files of 100 bytes in a new folder",
              'mkdir $M/many; for i in $(seq 50); do echo "content of number $i" >"$M/many/small file $i.txt"; done',
              {"many/small file %d.txt" % i: b"content of number %d\n" % i for i in range(1, 51)}, ["many"]),
    Operation("overwrite", "write 4096 bytes in place, in the middle of a file of 1 MiB",
              "gen new 4096 | dd of=$M/over.bin bs=4096 seek=100 conv=notrunc iflag=fullblock 2>/dev/null",
              {"over.bin": patched(FILES["over.bin"], 409600, gen("new", 4096))}),
    Operation("append", "append 40000 bytes to a file of 10000", "gen more 40000 >>$M/append.txt",
              {"append.txt": FILES["append.txt"] + gen("more", 40000)}),
    Operation("appendsmall", "append 20 bytes to a file of 50, within its cluster", "echo 0123456789 >>$M/touch.txt",
              {"touch.txt": FILES["touch.txt"] + b"0123456789\n"}),
    Operation("truncdown", "truncate 1 MiB to 300000 bytes", "truncate -s 300000 $M/trunc.bin",
              {"trunc.bin": FILES["trunc.bin"][:300000]}),
    Operation("truncup", "truncate 10000 bytes up to 200000", "truncate -s 200000 $M/append.txt",
              {"append.txt": FILES["append.txt"] + bytes(190000)}),
    Operation("truncnull", "truncate a file to nothing, for good", ": >$M/doc.txt", {"doc.txt": b""}),
    Operation("rename", "rename in the same folder", 'mv $M/ren1.txt "$M/renamed file.txt"',
              {"renamed file.txt": FILES["ren1.txt"]}, gone=["ren1.txt"]),
    Operation("renamex", "move a file to another folder", "mv $M/dirA/ren2.txt $M/dirB/moved.txt",
              {"dirB/moved.txt": FILES["dirA/ren2.txt"]}, gone=["dirA/ren2.txt"]),
    Operation("renameover", "rename a file over another", "mv -f $M/del.bin $M/over8k.txt",
              {"over8k.txt": FILES["del.bin"]}, gone=["del.bin"]),
    Operation("delete", "delete a file of 20000 bytes", "rm $M/del.bin", gone=["del.bin"]),
    Operation("mkdir", "make a folder", "mkdir $M/newdir", folders=["newdir"]),
    Operation("rmdir", "remove an empty folder", "rmdir $M/emptydir", gone=["emptydir"]),
    Operation("mvdir", "move a folder with its content into another", 'mv $M/tree/inner "$M/dirB/inner two"',
              moved("tree/inner", "dirB/inner two"), ["dirB/inner two"], ["tree/inner"]),
    Operation("rendir", "rename a folder with its content", 'mv $M/olddir "$M/a longer name"',
              moved("olddir", "a longer name"), ["a longer name"], ["olddir"]),
    Operation("tmpfsync", "save: write .doc.txt.tmp, fsync, rename over doc.txt",
              "gen v2 6000 | dd of=$M/.doc.txt.tmp conv=fsync 2>/dev/null; mv -f $M/.doc.txt.tmp $M/doc.txt",
              {"doc.txt": gen("v2", 6000)}, states={".doc.txt.tmp": [gen("v2", 6000)]}),
    Operation("tmpnofsync", "save: write doc.tmp, rename over doc.txt", "gen v3 7000 >$M/doc.tmp; mv -f $M/doc.tmp $M/doc.txt",
              {"doc.txt": gen("v3", 7000)}, states={"doc.tmp": [gen("v3", 7000)]}),
    Operation("vim", "save as vim does: doc.txt becomes doc.txt~, new doc.txt, fsync, doc.txt~ goes",
              "mv $M/doc.txt $M/doc.txt~; gen v4 8000 | dd of=$M/doc.txt conv=fsync 2>/dev/null; rm $M/doc.txt~",
              {"doc.txt": gen("v4", 8000)}, states={"doc.txt~": [DOC]}),
    Operation("rewrite", "empty a file and write it anew, then fsync", "gen v5 5500 | dd of=$M/doc.txt conv=fsync 2>/dev/null",
              {"doc.txt": gen("v5", 5500)}),
    Operation("cpover", "cp a file of 60000 bytes over one of 8000", "gen cp 60000 >/tmp/cp; cp /tmp/cp $M/over8k.txt",
              {"over8k.txt": gen("cp", 60000)},
              growing={"over8k.txt": "cp"}),
    Operation("stream", "64 KiB each second for 45 seconds into an open file",
              'gen stream 2949120 >/tmp/stream; for i in $(seq 0 44); do dd if=/tmp/stream bs=65536 skip=$i count=1 2>/dev/null; '
              "sleep 1; done >$M/slow.bin", {"slow.bin": gen("stream", 45 * 65536)}, growing={"slow.bin": "stream"}),
    Operation("chmod", "chmod a-w", "chmod a-w $M/over.bin"),
    Operation("touch", "touch", "touch $M/touch.txt"),
    Operation("read", "read three files (atime)", "cat $M/trunc.bin $M/doc.txt $M/dirA/ren2.txt >/dev/null; ls -l $M/olddir >/dev/null"),
    Operation("rmr", "remove a folder with 10 files", "rm -r $M/olddir", gone=["olddir"]),
    Operation("rmwide", "remove a folder with 60 files of long names", "rm -r $M/wide", gone=["wide"]),
    Operation("mkrmdir", "make a folder and remove it at once", "mkdir $M/gone; rmdir $M/gone", states={"gone/": [b""]}),
    Operation("cprm", "create a file of 30000 bytes and delete it at once", "gen gone 30000 >$M/gone.bin; rm $M/gone.bin",
              states={"gone.bin": [gen("gone", 30000)]}),
    Operation("tar", "extract an archive of 24 files in 4 folders",
              'cd /tmp; rm -rf arc; for d in 1 2 3 4; do mkdir -p "arc/folder $d"; for f in 1 2 3 4 5 6; do '
              'gen "arc $d $f" $((f * f * 900)) >"arc/folder $d/file $f.dat"; done; done; tar cf arc.tar arc; cd $M; tar xf /tmp/arc.tar',
              {"arc/folder %d/file %d.dat" % (d, f): gen("arc %d %d" % (d, f), f * f * 900) for d in range(1, 5) for f in range(1, 7)},
              ["arc"] + ["arc/folder %d" % d for d in range(1, 5)],
              growing={"arc/folder %d/file %d.dat" % (d, f): "arc %d %d" % (d, f) for d in range(1, 5) for f in range(1, 7)}),
    Operation("cptree", "copy a folder with its content", "cp -r $M/tree $M/tree2",
              moved("tree", "tree2"), ["tree2", "tree2/inner"]),
    Operation("unicode", "create and rename files with names beyond ASCII",
              'cd "$M/\u00dcbung"; gen smile 3000 >"\u263a smile.txt"; mv "stra\u00dfe \u65e5\u672c.txt" "\u00c4nderung \U0001f600.txt"',
              {"\u00dcbung/\u263a smile.txt": gen("smile", 3000), "\u00dcbung/\u00c4nderung \U0001f600.txt": gen("street", 1234)},
              gone=["\u00dcbung/stra\u00dfe \u65e5\u672c.txt"]),
    Operation("recreate", "delete a file and create another by its name", "rm $M/doc.txt; gen again 4500 >$M/doc.txt",
              {"doc.txt": gen("again", 4500)}),
    Operation("swap", "two files change places, by a third name",
              "mv $M/doc.txt $M/x.tmp; mv $M/over8k.txt $M/doc.txt; mv $M/x.tmp $M/over8k.txt",
              {"doc.txt": FILES["over8k.txt"], "over8k.txt": DOC}, states={"x.tmp": [DOC]}),
    Operation("sparse", "write behind the end of a file, with a hole",
              "gen far 1000 | dd of=$M/append.txt bs=1000 seek=150 conv=notrunc iflag=fullblock 2>/dev/null",
              {"append.txt": FILES["append.txt"] + bytes(140000) + gen("far", 1000)}),
    Operation("emptyfile", "create a file of 0 bytes", ": >$M/nothing.txt", {"nothing.txt": b""}),
    Operation("twice", "write a file, 20 seconds later overwrite its first part",
              "gen one 20000 >$M/twice.bin; sleep 20; gen two 5000 | dd of=$M/twice.bin bs=5000 conv=notrunc iflag=fullblock 2>/dev/null",
              {"twice.bin": patched(gen("one", 20000), 0, gen("two", 5000))}, states={"twice.bin": [gen("one", 20000)]}, growing={"twice.bin": "one"}),
    Operation("direct", "O_DIRECT, 8 KiB in place",
              "gen dir 8192 >/tmp/direct; /bin/dd if=/tmp/direct of=$M/over.bin bs=8192 seek=3 count=1 conv=notrunc oflag=direct 2>/dev/null",
              {"over.bin": patched(FILES["over.bin"], 24576, gen("dir", 8192))}),
    Operation("dirgrow", "120 empty files with long names in a new folder, which grows",
              'mkdir $M/grow; for i in $(seq 120); do : >"$M/grow/a rather long file name, number $i.txt"; done',
              {"grow/a rather long file name, number %d.txt" % i: b"" for i in range(1, 121)}, ["grow"]),
    Operation("discard", "delete and truncate, with -o discard", "rm $M/del.bin; truncate -s 300000 $M/trunc.bin",
              {"trunc.bin": FILES["trunc.bin"][:300000]}, gone=["del.bin"], mount="discard", discard=True),
    Operation("optsync", "create and rename, with -o sync", "gen strict 20000 >$M/strict.bin; mv $M/ren1.txt $M/renamed.txt",
              {"strict.bin": gen("strict", 20000), "renamed.txt": FILES["ren1.txt"]}, gone=["ren1.txt"], mount="sync",
              growing={"strict.bin": "strict"}, quick=True),
    Operation("optflush", "create and delete, with -o flush", "gen flush 20000 >$M/flush.bin; rm $M/del.bin",
              {"flush.bin": gen("flush", 20000)}, gone=["del.bin"], mount="flush", vfat=True,
              growing={"flush.bin": "flush"}),
]
BY_NAME = {operation.name: operation for operation in OPERATIONS}
