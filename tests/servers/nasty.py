#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A WebDAV server that misbehaves on request, for tests.

    nasty.py [--port N] [--cert FILE --key FILE] [--peer URL] [--size BYTES]

Listens on 127.0.0.1 and prints its port as the first line on standard output.  Ends when standard input does, if that
is a pipe, or when it is killed.  --peer is where redirects to "another server" lead (default: the same port by the name
localhost, which is another host for a client that was told 127.0.0.1).

The first segment of the path is the mode: http://127.0.0.1:PORT/MODE/ is a folder with the same few files in every
mode, and one thing wrong with it.  MODES below lists them.  /_log gives the requests so far, one line each:
METHOD PATH|Authorization|Range|Depth|length of the body.  /_hits/MODE gives the number of requests in a mode.
"""

import argparse
import gzip
import hashlib
import http.server
import os
import random
import re
import select
import socket
import ssl
import stat
import struct
import sys
import threading
import time
import urllib.parse
import xml.sax.saxutils

MODES = """
ok                nothing wrong
auth-basic        401 unless alice:secret comes as Basic
auth-digest-only  401 that offers Digest only (and never accepts)
bearer            401 unless the token is t0ken
status-NNN        every answer has this status
status-get-NNN    every GET has this status
drop              the connection is closed without an answer
drop-reused       the connection is closed without an answer to its second request
stall             the headers come, then nothing
stall-get         half of a file comes, then nothing
silent            not even headers come
slow-get          a file comes at 4 KiB every 50 ms
cut-list          the connection is closed in the middle of a listing
cut-list-chunked  the same, with chunked coding
short-list        half a listing, whole as far as HTTP can tell
trailing          text behind the multistatus
two-roots         the multistatus twice
bomb              entities that grow
doctype           a DOCTYPE and nothing else wrong
external          an external entity
deep              nested a hundred levels deep
long-text         a property of 100,000 bytes
long-tag          a tag of 2,000,000 bytes
html              a web page instead of a listing, status 200
html-207          a web page instead of a listing, status 207
not-xml           text instead of a listing, status 207
other-root        a document of another kind, status 207
empty-207         nothing at all, status 207
no-self           the listing lacks the folder itself
other-path        all hrefs lie elsewhere
mapped            all hrefs lie elsewhere, consistently (as behind a proxy)
absolute          hrefs are URLs of a host that does not exist
unescaped         hrefs are not percent-encoded
lower             hrefs have lower-case escapes
no-slash          hrefs of folders have no slash at the end
bad-names         entries named "..", ".", "a/b", NUL, and of other folders
dupes             every entry twice
status-in-list    one entry has a status 404, another 403, a third an empty 404 propstat
no-size           one file without a length
no-etag           no entity tags in listings, but Last-Modified
no-etag-get       no entity tag with GET
weak              all entity tags are weak
fresh             all files were written just now
future            all files were written next year
iso-time          getlastmodified as chezdav has it
oc                oc:id, oc:fileid and oc:checksums
big-N             the folder has N files
wrong-etag        GET has another entity tag than the listing
wrong-time        GET has another Last-Modified than the listing (and there are no entity tags)
wrong-total       Content-Range has another total
wrong-start       Content-Range begins one byte later
wrong-end         Content-Range ends past the file
bad-range         Content-Range makes no sense
no-range          a 206 without Content-Range
ignore-range      ranges are answered with the whole file
ignore-range-chunked  the same, without a length
short-range       a 206 has at most 1000 bytes, and says so
empty-range       a continued 206 has no bytes at all
off-by-one        a 206 with an end lacks the last byte, and says so
lying-range       a 206 has fewer bytes than Content-Range says
long-range        a 206 has more bytes than Content-Range says, and a length that agrees with them
cut-get           the connection is closed in the middle of a file
cut-get-chunked   the same, with chunked coding
long-get          more bytes than Content-Length says
long-get-chunked  more bytes than the listing says
short-get         fewer bytes than the listing says, with the length to match
loop              redirects to itself, with a counter
redirect-path     redirects to the same path in mode ok (301)
redirect-307      the same with 307
redirect-303      the same with 303
redirect-peer     redirects to mode ok of the peer
redirect-http     redirects to http:// of the same host
redirect-file     redirects to file:///etc/passwd
redirect-get      a GET is redirected to mode ok of the peer
cookie            slow without the cookie that the first answer sets
no-dates          neither Date nor getlastmodified

Modes that begin with "w-" take changes, too, each in a folder of its own (of the same files; entity tags are numbers),
and do one thing wrong with the names that do not look like uploads under way, so that what is tried on those goes well:
w-ok              nothing; it knows If-Match, If-None-Match, If: and Overwrite
w-ignore          ignores all conditions, and Overwrite
w-if              knows If: only, and tells no entity tag after a PUT, as Apache
w-weak-if         the same, with tags that are weak for a second
w-match           knows If-Match only
w-lost-METHOD     carries METHOD out and closes the connection without an answer
w-drop-METHOD     closes the connection without an answer, and does nothing
w-NNN-METHOD      answers METHOD with this status, and does nothing
w-if-all-NNN-METHOD  the same as w-if, also for uploads under way
w-half            stores half of what is put, and says that all is well
w-nothing         stores nothing of what is put, and says that all is well
w-cut             what is put is seen while it comes, and stays half where it is cut off (and ignores conditions)
w-cut-if          the same, but knows conditions
w-early           closes the connection when a tenth of a body has come, and has said 413 unless it waits for 100
w-no100           never says "100 Continue"
w-stall           takes no more than a tenth of a body
w-think           answers a PUT three seconds after it came
w-then            after a PUT somebody else puts something, at once
w-between         the same, but between a look and a PUT, MOVE or DELETE
w-307             redirects PUT to w-ok of the same server
w-308-peer        redirects PUT to w-ok of another server
w-multi-METHOD    answers METHOD with a 207, in which an item is locked
w-new-tag         a MOVE changes the entity tag
w-no-root         nothing can be put into the top folder
w-no-dots         nothing may have a name that begins with a dot
w-no-temp         uploads under way are refused
w-mtime           knows X-OC-Mtime and PROPPATCH of lastmodified, and gives checksums
w-digest          wants alice:secret by Digest
w-stale           the same, with a nonce that is good for five requests
w-stale-early     the same, and closes the connection after a 401 when a tenth of a body has come
w-stale-lost      the same, but of a body's first 401s one is heard and the next is lost with the connection
w-toNNN-METHOD    redirects METHOD to w-ok of another server
w-putNNN          answers PUT with this status
w-chunked         no answer has a length
w-touched         an app of the server makes another tag after a PUT
w-touched-sum     the same, with checksums
w-copy            knows COPY, and takes PUT with Content-Range for all of the file, as chezdav and rclone do
w-ranges          knows COPY, and PUT with Content-Range
w-ranges-lose     the same, but loses ranges of files that are not small, and says that all is well
w-ranges-shift    the same, but puts them in the wrong place
w-ranges-NNN      the same, but answers with this status
w-ranges-hole     the same, but its copies of files that are not small are empty
w-ranges-gone     the same, but somebody removes what a range was put into
w-ranges-between  the same, but somebody else puts something between COPY and MOVE
gzip, w-gzip      all answers are compressed, which nobody has asked for
"""

MTIME = 1700000000
FILES = {
    "a.bin": random.Random(1).randbytes(1000000),
    "b.txt": b"hello, world\n",
    "empty": b"",
    "with space & amp.txt": b"x" * 100,
    "\u00fcml\u00e4ut.txt": b"y" * 26,
    "sub/c.txt": b"in a folder\n",
    "sub/d/e.txt": b"deep\n",
}
FOLDERS = ["", "sub", "sub/d"]

LOG = []
SEEN = {}
STORES = {}
NONCES = {}
LOST = set()
LOCK = threading.Lock()


def http_date(when):
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(when))


def etag_of(data):
    return '"%s"' % hashlib.md5(data).hexdigest()


class Nasty(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nasty"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.requests = 0

    def log_message(self, *args):
        pass

    # -- answers --

    def answer(self, status, body=b"", headers=(), length=None, chunked=False, cut=None, no_date=False):
        """Sends body; length overrides Content-Length, cut closes the connection after so many bytes."""
        if self.path.startswith(("/gzip/", "/w-gzip/")) and body:
            body, headers, length = gzip.compress(body), list(headers) + [("Content-Encoding", "gzip")], None
        chunked = chunked or self.path.startswith("/w-chunked/") and status not in (204, 304)
        self.send_response_only(status)
        if not no_date:
            self.send_header("Date", http_date(time.time()))
        for name, value in headers:
            self.send_header(name, value)
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        sent = body if cut is None else body[:cut]
        if chunked:
            for at in range(0, len(sent), 8192):
                piece = sent[at:at + 8192]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")
        else:
            self.wfile.write(sent)
        if cut is not None or (length is not None and length != len(body)):
            self.close_connection = True

    def sleep_long(self):
        for _ in range(600):
            time.sleep(0.1)

    def redirect(self, status, location):
        self.answer(status, b"<html>moved</html>", [("Location", location), ("Content-Type", "text/html")])

    # -- requests --

    def handle_expect_100(self):
        if urllib.parse.urlsplit(self.path).path.startswith("/w-no100/"):
            with LOCK:
                LOG.append("EXPECT %s||||0" % self.path)
            return True
        if self.early():
            # It is busy.  Who does not wait for its word does not hear it.
            time.sleep(1.5)
            self.close_connection = True
            if select.select([self.connection], [], [], 0)[0]:
                self.reset()
            else:
                self.answer(413)
            return False
        if self.stale_early():
            self.refuse_stale()
            return False
        return super().handle_expect_100()

    def handle_method(self):
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding"):
            with LOCK:
                LOG.append("%s %s|chunked||| 0" % (self.command, self.path))
            self.close_connection = True
            return self.answer(411)
        if self.early() or self.path.startswith("/w-stall/") and self.command == "PUT" and not self.is_temporary():
            self.rfile.read(length // 10)
            if not self.early():
                return self.sleep_long()
            self.reset()
            self.close_connection = True
            return None
        if self.path.startswith("/w-stale-lost/") and length > 100000 and "Expect" not in self.headers:
            self.rfile.read(length // 10)
            self.close_connection = True
            self.mode = "w-stale-lost"
            with LOCK:
                NONCES[self.mode] = NONCES.get(self.mode, 0) + 5
                heard = self.path not in LOST
                LOST.add(self.path)
            if heard:
                self.refuse_stale()
                time.sleep(0.5)
            else:
                self.reset()
            return None
        if self.stale_early() and length > 100000:
            self.rfile.read(length // 10)
            self.close_connection = True
            return self.refuse_stale()
        body = self.read_body(length)
        if body is None:
            self.close_connection = True
            return None
        self.body = body
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path, errors="surrogateescape")
        parts = [part for part in path.split("/") if part]
        self.requests += 1
        if self.path == "/_log":
            with LOCK:
                text = "\n".join(LOG) + "\n"
            return self.answer(200, text.encode())
        if parts[:1] == ["_hits"]:
            with LOCK:
                return self.answer(200, b"%d\n" % SEEN.get(parts[1], 0))
        with LOCK:
            LOG.append("%s %s|%s|%s|%s|%d" % (self.command, self.path, self.headers.get("Authorization", ""),
                                              self.headers.get("Range", ""), self.headers.get("Depth", ""), len(body)))
            if parts:
                SEEN[parts[0]] = SEEN.get(parts[0], 0) + 1
        self.mode = parts[0] if parts else ""
        self.item = "/".join(parts[1:])
        if self.mode.startswith("w-"):
            Writable(self).run()
            return
        if self.general():
            return
        if self.command == "PROPFIND":
            self.propfind()
        elif self.command in ("GET", "HEAD"):
            self.get()
        else:
            self.answer(405)

    do_GET = do_HEAD = do_PROPFIND = do_PUT = do_DELETE = do_OPTIONS = handle_method
    do_MKCOL = do_MOVE = do_COPY = do_PROPPATCH = do_PATCH = handle_method

    def is_temporary(self):
        return "cloudshare-upload-" in self.path

    def stale_early(self):
        if not self.path.startswith(("/w-stale-early/", "/w-stale-lost/")):
            return False
        self.mode, self.item = self.path.split("/")[1], ""
        return not Writable(self).may_come()

    def refuse_stale(self):
        Writable(self).refuse()

    def reset(self):
        """What is in the connection is lost with it."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def early(self):
        return self.command == "PUT" and self.path.startswith("/w-early/") and not self.is_temporary()

    def read_body(self, length):
        """None where the client went away."""
        if self.command == "PUT" and self.path.startswith("/w-cut"):
            parts = [part for part in urllib.parse.unquote(self.path).split("/") if part]
            body = b""
            self.mode, self.item = parts[0], "/".join(parts[1:])
            with LOCK:
                self.refused = not Writable(self).holds()
            while len(body) < length:
                piece = self.rfile.read1(min(65536, length - len(body)))
                body += piece
                with LOCK:
                    if not self.refused:
                        Store.of(self.mode).put(self.item, body)
                if not piece:
                    return None
            return body
        body = self.rfile.read(length)
        return body if len(body) == length else None

    def general(self):
        """What is wrong with any method.  True: answered."""
        mode = self.mode
        authorization = self.headers.get("Authorization", "")
        if mode == "auth-basic" and authorization != "Basic YWxpY2U6c2VjcmV0":
            self.answer(401, b"no", [("WWW-Authenticate", 'Basic realm="nasty"')])
        elif mode == "auth-digest-only":
            self.answer(401, b"no", [("WWW-Authenticate",
                                      'Digest realm="nasty", nonce="%d", qop="auth"' % time.time_ns())])
        elif mode == "bearer" and authorization != "Bearer t0ken":
            self.answer(401, b"no", [("WWW-Authenticate", 'Bearer realm="nasty"')])
        elif mode.startswith("status-get-") and self.command == "GET":
            self.answer(int(mode[11:]), b"x" * 1000)
        elif mode.startswith("status-") and mode[7:].isdigit():
            self.answer(int(mode[7:]), b"x" * 1000)
        elif mode == "drop" or (mode == "drop-reused" and self.requests > 1):
            self.close_connection = True
        elif mode == "silent":
            self.sleep_long()
        elif mode == "stall":
            self.send_response(207)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.sleep_long()
        elif mode == "loop":
            self.redirect(302, "/loop/%d/" % random.randrange(10**9))
        elif mode == "redirect-path":
            self.redirect(301, urllib.parse.quote("/ok/" + self.item + ("/" if self.path.endswith("/") else "")))
        elif mode == "redirect-307":
            self.redirect(307, "/ok/" + urllib.parse.quote(self.item))
        elif mode == "redirect-303":
            self.redirect(303, "/ok/" + urllib.parse.quote(self.item))
        elif mode == "redirect-peer" or (mode == "redirect-get" and self.command == "GET"):
            self.redirect(302, self.server.peer + "/ok/" + urllib.parse.quote(self.item))
        elif mode == "redirect-http":
            self.redirect(302, "http://%s:%d/ok/%s" % (self.headers["Host"].split(":")[0], self.server.server_port,
                                                      urllib.parse.quote(self.item)))
        elif mode == "redirect-file":
            self.redirect(302, "file:///etc/passwd")
        else:
            if mode == "cookie" and "session=1" not in self.headers.get("Cookie", ""):
                time.sleep(0.5)
            return False
        return True

    # -- PROPFIND --

    def href(self, item, folder):
        mode = self.mode
        text = "/" + mode + "/" + item
        if mode in ("other-path", "mapped"):
            text = "/else where/" + item
        if folder and not text.endswith("/") and mode != "no-slash":
            text += "/"
        if mode == "unescaped":
            return xml.sax.saxutils.escape("http://nowhere.invalid" + text)
        text = urllib.parse.quote(text, errors="surrogateescape")
        if mode == "absolute":
            text = "http://nowhere.invalid" + text
        if mode == "lower":
            text = "".join(c.lower() if at >= 1 and text[at - 1] == "%" or at >= 2 and text[at - 2] == "%" else c
                           for at, c in enumerate(text))
        return text

    def entry(self, item, data, href=None):
        """The <response> of a file, or of a folder where data is None."""
        mode = self.mode
        mtime = {"fresh": time.time(), "future": time.time() + 365 * 86400}.get(mode, MTIME)
        props = []
        if data is None:
            props.append("<D:resourcetype><D:collection/></D:resourcetype>")
        else:
            props.append("<D:resourcetype/>")
            if not (mode == "no-size" and item == "b.txt"):
                props.append("<D:getcontentlength>%d</D:getcontentlength>" % len(data))
            props.append("<D:getcontenttype>text/plain</D:getcontenttype>")
            if mode not in ("no-etag", "wrong-time", "no-dates"):
                etag = ("W/" if mode == "weak" else "") + etag_of(data)
                props.append("<D:getetag>%s</D:getetag>" % xml.sax.saxutils.escape(etag, {'"': "&quot;"}))
            if mode == "oc":
                props.append('<oc:id>id-%s</oc:id><oc:fileid>7</oc:fileid><oc:checksums><oc:checksum>SHA1:%s MD5:%s '
                             'ADLER32:00000001</oc:checksum></oc:checksums>'
                             % (hashlib.sha1(item.encode()).hexdigest()[:8], hashlib.sha1(data).hexdigest(),
                                hashlib.md5(data).hexdigest()))
        if mode == "iso-time":
            props.append("<D:getlastmodified>%s</D:getlastmodified>"
                         % time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(mtime)))
        elif mode != "no-dates":
            props.append("<D:getlastmodified>%s</D:getlastmodified>" % http_date(mtime))
        if mode == "long-text":
            props.append("<D:getcontenttype>%s</D:getcontenttype>" % ("x" * 100000))
        if mode == "long-tag":
            props.append("<x a='%s'/>" % ("x" * 2000000))
        if mode == "deep":
            props.append("<x>" * 100 + "</x>" * 100)
        if mode == "external":
            props.append("<D:getcontenttype>&file;</D:getcontenttype>")
        text = "<D:response><D:href>%s</D:href>" % (href or self.href(item, data is None))
        if mode == "status-in-list" and item in ("b.txt", "empty"):
            return text + "<D:status>HTTP/1.1 %s</D:status></D:response>\n" % (
                "404 Not Found" if item == "b.txt" else "403 Forbidden")
        status = "404 Not Found" if mode == "status-in-list" and item == "a.bin" else "200 OK"
        propstat = "<D:propstat><D:prop>%s</D:prop><D:status>HTTP/1.1 %s</D:status></D:propstat>"
        text += propstat % ("".join(props), status)
        text += propstat % ("<D:nothing/><D:getetag/>", "404 Not Found")
        return text + "</D:response>\n"

    def listing(self):
        """All <response> elements, or None where there is no such item."""
        mode, item = self.mode, self.item
        if item in FILES:
            return self.entry(item, FILES[item])
        if item not in FOLDERS:
            return None
        text = "" if mode == "no-self" and self.headers.get("Depth") == "1" else self.entry(item, None)
        if self.headers.get("Depth") == "0":
            return text
        prefix = item + "/" if item else ""
        for folder in FOLDERS:
            if folder.startswith(prefix) and folder and folder != item and "/" not in folder[len(prefix):]:
                text += self.entry(folder, None)
        for name, data in FILES.items():
            if name.startswith(prefix) and "/" not in name[len(prefix):]:
                text += self.entry(name, data) * (2 if mode == "dupes" else 1)
        if mode == "bad-names":
            for name in ("..", ".", "%2e%2e", "%2E", "a%2Fb", "nul%00l", "../x", "sub/deeper", "//", "%c3%28"):
                text += self.entry("x", b"bad", "/bad-names/" + name)
            for href in ("/", "/other/", "relative", "mailto:x", "http://h.invalid/bad-names/over-there",
                         "/bad-namesX"):
                text += self.entry("x", b"bad", href)
        return text

    def propfind(self):
        mode = self.mode
        prolog = '<?xml version="1.0" encoding="utf-8"?>\n'
        start = '<D:multistatus xmlns:D="DAV:" xmlns:oc="http://owncloud.org/ns">\n'
        end = "</D:multistatus>\n"
        headers = [("Content-Type", "application/xml; charset=utf-8")]
        if mode in ("html", "html-207"):
            page = b"<!DOCTYPE html>\n<html><head><title>Log in</title></head><body>Hello<br></body></html>"
            return self.answer(200 if mode == "html" else 207, page, [("Content-Type", "text/html")])
        if mode == "not-xml":
            return self.answer(207, b"Everything is fine.\n", headers)
        if mode == "empty-207":
            return self.answer(207, b"", headers)
        if mode == "other-root":
            return self.answer(207, (prolog + "<feed xmlns='DAV:'><response/></feed>").encode(), headers)
        if mode.startswith("big-"):
            return self.big(int(mode[4:]), prolog + start, end, headers)
        if mode == "bomb":
            prolog += "<!DOCTYPE lolz [<!ENTITY l0 'lollollollol'>%s]>\n" % "".join(
                "<!ENTITY l%d '%s'>" % (n, "&l%d;" % (n - 1) * 10) for n in range(1, 12))
            end = "<D:response><D:href>&l11;</D:href></D:response>" + end
        if mode == "doctype":
            prolog += "<!DOCTYPE multistatus>\n"
        if mode == "external":
            prolog += "<!DOCTYPE x [<!ENTITY file SYSTEM 'file:///etc/passwd'>]>\n"
        entries = self.listing()
        if entries is None:
            return self.answer(404, b"no such item")
        text = prolog + start + entries + end
        if mode == "trailing":
            text += "Internal Server Error"
        if mode == "two-roots":
            text += start + entries + end
        if mode == "short-list":
            text = text[:len(text) // 2]
        body = text.encode()
        cut = len(body) // 2 if mode.startswith("cut-list") else None
        if mode == "cookie":
            headers.append(("Set-Cookie", "session=1; path=/"))
        self.answer(207, body, headers, chunked=mode == "cut-list-chunked", cut=cut, no_date=mode == "no-dates")

    def big(self, n, start, end, headers):
        self.send_response(207)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def piece(text):
            data = text.encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        piece(start + self.entry("", None))
        if self.headers.get("Depth") != "0":
            one = self.entry("b.txt", FILES["b.txt"])
            for at in range(0, n, 100):
                piece("".join(one.replace("b.txt", "file-%07d.txt" % i) for i in range(at, min(n, at + 100))))
        piece(end)
        self.wfile.write(b"0\r\n\r\n")

    # -- GET --

    def get(self):
        mode, item = self.mode, self.item
        data = FILES.get(item)
        if data is None and mode.startswith("big-") and item.startswith("file-"):
            data = FILES["b.txt"]
        if data is None:
            return self.answer(404 if item not in FOLDERS else 403, b"no such file")
        size = len(data)
        headers = [("Content-Type", "application/octet-stream"), ("Accept-Ranges", "bytes")]
        if mode == "wrong-etag":
            headers.append(("ETag", '"another"'))
        elif mode not in ("no-etag-get", "no-etag", "wrong-time"):
            headers.append(("ETag", ("W/" if mode == "weak" else "") + etag_of(data)))
        headers.append(("Last-Modified", http_date(MTIME + (5 if mode == "wrong-time" else 0))))

        asked = self.headers.get("Range", "")
        if not asked.startswith("bytes=") or mode.startswith("ignore-range"):
            return self.get_whole(data, headers)
        first, _, last = asked[6:].partition("-")
        first, open_end = int(first), last == ""
        last = size - 1 if open_end else min(int(last), size - 1)
        if first >= size:
            return self.answer(416, b"", [("Content-Range", "bytes */%d" % size)])
        if mode == "short-range":
            last = min(last, first + 999)
        if mode == "off-by-one" and not open_end:
            last -= 1
        part = data[first:last + 1]
        if mode == "empty-range":
            if not open_end:
                last = first + 9
                part = data[first:last + 1]
            else:
                return self.answer(206, b"", headers + [("Content-Range", "bytes %d-%d/%d" % (first, last, size))])
        text = "bytes %d-%d/%d" % (first, last, size)
        if mode == "wrong-total":
            text = "bytes %d-%d/%d" % (first, last, size + 1)
        elif mode == "wrong-start":
            text = "bytes %d-%d/%d" % (first + 1, last + 1, size)
        elif mode == "wrong-end":
            text = "bytes %d-%d/*" % (first, size + 5)
        elif mode == "bad-range":
            text = "bytes %d-%d/%d" % (last, first - 1, size)
        if mode != "no-range":
            headers.append(("Content-Range", text))
        if mode == "lying-range":
            part = part[:-1]
        elif mode == "long-range":
            part += b"!"
        self.send_data(206, part, headers)

    def get_whole(self, data, headers):
        if self.mode == "short-get":
            data = data[:-1]
        self.send_data(200, data, headers)

    def send_data(self, status, data, headers):
        mode = self.mode
        if mode == "cut-get" or mode == "cut-get-chunked":
            self.answer(status, data, headers, chunked=mode.endswith("chunked"), cut=len(data) // 2)
        elif mode == "long-get":
            self.answer(status, data + b"more", headers, length=len(data))
        elif mode == "long-get-chunked":
            self.answer(status, data + b"more", headers, chunked=True)
        elif mode == "ignore-range-chunked":
            self.answer(status, data, headers, chunked=True)
        elif mode in ("stall-get", "slow-get"):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if mode == "stall-get":
                self.wfile.write(data[:len(data) // 2])
                self.sleep_long()
            for at in range(0, len(data), 4096):
                self.wfile.write(data[at:at + 4096])
                time.sleep(0.05)
        else:
            self.answer(status, b"" if self.command == "HEAD" else data, headers, length=len(data))


class Store:
    """What is in one of the folders that take changes.  All under LOCK."""

    def __init__(self):
        self.serial = 0
        self.items = {}
        for name in FOLDERS:
            self.items[name] = None
        for name, data in FILES.items():
            self.put(name, data, MTIME)

    @staticmethod
    def of(mode):
        if mode not in STORES:
            STORES[mode] = Store()
        return STORES[mode]

    def put(self, name, data, mtime=None):
        self.serial += 1
        self.items[name] = (data, self.serial, mtime or time.time())

    def exists(self, name):
        return name in self.items

    def is_folder(self, name):
        return name in self.items and self.items[name] is None

    def below(self, name):
        prefix = name + "/" if name else ""
        return [other for other in self.items if other and other.startswith(prefix)]

    def remove(self, name):
        for other in self.below(name):
            del self.items[other]
        del self.items[name]

    def move(self, name, to):
        if to in self.items:
            self.remove(to)
        for other in self.below(name):
            self.items[to + other[len(name):]] = self.items.pop(other)
        self.items[to] = self.items.pop(name)

    def etag(self, name):
        item = self.items.get(name)
        return '"%d"' % item[1] if item else None


class Writable:
    """One request in a mode that takes changes."""

    def __init__(self, http):
        self.http = http
        self.mode, self.item, self.method = http.mode, http.item, http.command
        self.headers = http.headers
        self.store = Store.of(self.mode)
        self.temporary = http.is_temporary()
        words = self.mode.split("-")
        self.kind = words[1]
        self.wrong = (not self.temporary or "all" in words) and words[-1] == self.method

    def knows(self, what):
        if self.kind in ("ignore",) or self.mode == "w-cut":
            return False
        if self.kind in ("if", "weak"):
            return what in ("if", "none", "overwrite")
        if self.kind == "match":
            return what in ("match", "overwrite")
        return True

    def target(self):
        text = urllib.parse.urlsplit(self.headers.get("Destination", "")).path
        return urllib.parse.unquote(text).strip("/").partition("/")[2]

    def holds(self):
        """Whether the conditions are met."""
        etag = self.store.etag(self.item)
        match, none, tagged = self.headers.get("If-Match"), self.headers.get("If-None-Match"), self.headers.get("If")
        if match and self.knows("match") and match != etag:
            return False
        if none == "*" and self.knows("none") and self.store.exists(self.item):
            return False
        if tagged and self.knows("if"):
            url, _, rest = tagged.partition(" ")
            name = urllib.parse.unquote(urllib.parse.urlsplit(url.strip("<>")).path).strip("/").partition("/")[2]
            if rest.strip("()[]") != self.store.etag(name):
                return False
        if self.method == "MOVE" and self.headers.get("Overwrite") == "F" and self.knows("overwrite"):
            if self.store.exists(self.target()):
                return False
        return True

    def run(self):
        answer = self.http.answer
        if self.kind in ("digest", "stale") and not self.digest():
            return None
        if self.kind.startswith("to3") and self.wrong:
            return self.http.redirect(int(self.kind[2:]), self.http.server.peer + "/w-ok/" + urllib.parse.quote(self.item))
        if self.kind == "multi" and self.wrong:
            text = ('<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>%s</D:href>'
                    '<D:status>HTTP/1.1 423 Locked</D:status></D:response></D:multistatus>' % self.http.path)
            return answer(207, text.encode(), [("Content-Type", "application/xml")])
        for word in self.mode.split("-"):
            if word.isdigit() and len(word) == 3 and self.wrong:
                return answer(int(word), b"no")
        if self.kind == "drop" and self.wrong:
            self.http.close_connection = True
            return None
        if self.method == "PUT" and not self.temporary and self.kind in ("307", "308"):
            base = self.http.server.peer if "peer" in self.mode else ""
            return self.http.redirect(int(self.kind), base + "/w-ok/" + urllib.parse.quote(self.item))
        with LOCK:
            status, body, headers = self.act()
        if self.kind == "think" and self.method == "PUT" and not self.temporary:
            time.sleep(3)
        if self.kind == "lost" and self.wrong:
            self.http.close_connection = True
            return None
        return answer(status, body, headers)

    def nonce(self):
        if self.kind == "digest":
            return "n0nce"
        with LOCK:
            return "n0nce%d" % (NONCES.get(self.mode, 0) // 5)

    def digest(self):
        if not self.may_come():
            self.refuse()
            return False
        with LOCK:
            NONCES[self.mode] = NONCES.get(self.mode, 0) + 1
        return True

    def refuse(self):
        stale = ", stale=true" if self.headers.get("Authorization") else ""
        self.http.answer(401, b"no", [("WWW-Authenticate", 'Digest realm="nasty", nonce="%s", qop="auth"%s'
                                      % (self.nonce(), stale))])

    def may_come(self):
        nonce = self.nonce()
        fields = dict(field.strip().partition("=")[::2] for field in
                      self.headers.get("Authorization", "").partition(" ")[2].split(","))
        fields = {key: value.strip('"') for key, value in fields.items()}

        def md5(text):
            return hashlib.md5(text.encode()).hexdigest()
        if fields.get("nonce") == nonce:
            want = md5(":".join([md5("alice:nasty:secret"), nonce, fields.get("nc", ""), fields.get("cnonce", ""),
                                 "auth", md5(self.method + ":" + fields.get("uri", ""))]))
            if fields.get("response") == want:
                return True
        return False

    def somebody_else(self, name):
        if self.store.exists(name) and not self.store.is_folder(name):
            self.store.put(name, b"from somebody else\n")

    def act(self):
        method, store, item = self.method, self.store, self.item
        parent = item.rpartition("/")[0]
        if method == "PROPFIND":
            return self.propfind()
        if method in ("GET", "HEAD"):
            if not store.exists(item) or store.is_folder(item):
                return 404, b"no", []
            return 200, store.items[item][0], [("ETag", store.etag(item))]
        if self.kind == "between" and not self.temporary and method != "PROPPATCH":
            self.somebody_else(item)
        if self.kind == "between" and method == "MOVE":
            self.somebody_else(self.target())
        if method == "COPY" and self.kind not in ("copy", "ranges"):
            return 405, b"no", []
        if method in ("MOVE", "COPY", "DELETE", "PROPPATCH") and not store.exists(item):
            return 404, b"no", []
        if self.http.refused if method == "PUT" and self.kind == "cut" else not self.holds():
            return 412, b"no", []
        if method in ("PUT", "MKCOL") and not store.is_folder(parent):
            return 409, b"no", []
        if method == "MKCOL":
            if store.exists(item):
                return 201 if self.kind == "ignore" else 405, b"", []
            store.items[item] = None
            return 201, b"", []
        if method == "DELETE":
            store.remove(item)
            return 204, b"", []
        if method == "MOVE":
            return self.move()
        if method == "COPY":
            return self.copy()
        if method == "PROPPATCH":
            return self.proppatch()
        if method == "PUT":
            return self.put()
        return 405, b"no", []

    def put(self):
        store, item, data = self.store, self.item, self.http.body
        name = item.rpartition("/")[2]
        if store.is_folder(item):
            return 405, b"no", []
        if (self.mode == "w-no-root" and item == name) or (self.mode == "w-no-dots" and name.startswith(".")) or \
                (self.mode == "w-no-temp" and self.temporary):
            return 403, b"no", []
        headers = []
        mtime = None
        if self.kind == "ranges" and self.headers.get("Content-Range"):
            return self.put_range()
        if self.kind == "mtime" and self.headers.get("X-OC-Mtime"):
            mtime = int(self.headers["X-OC-Mtime"])
            headers.append(("X-OC-Mtime", "accepted"))
        checksum = self.headers.get("OC-Checksum", "")
        if self.kind == "mtime" and checksum.startswith("SHA1:") and checksum[5:] != hashlib.sha1(data).hexdigest():
            return 400, b"bad checksum", []
        status = 204 if store.exists(item) else 201
        if self.kind == "half" and not self.temporary_probe(data):
            data = data[:len(data) // 2]
        if self.kind == "nothing" and not self.temporary_probe(data):
            return status, b"", [("ETag", '"none"')]
        store.put(item, data, mtime)
        if self.kind not in ("if", "weak"):
            headers.append(("ETag", store.etag(item)))
        if self.kind == "then" and not self.temporary:
            self.somebody_else(item)
        if self.kind == "touched" and not self.temporary:
            store.put(item, data, mtime)
        if self.kind.startswith("put"):
            status = int(self.kind[3:])
        return status, b"", headers

    def put_range(self):
        store, item, data = self.store, self.item, self.http.body
        old = store.items.get(item, (b"",))[0]
        first = int(re.match(r"bytes (\d+)-", self.headers["Content-Range"]).group(1))
        wrong = self.mode.split("-")[-1] if not self.temporary_probe(old) else ""
        if wrong.isdigit():
            return int(wrong), b"no", []
        if wrong == "lose":
            return 204, b"", []
        if wrong == "gone" and store.exists(item):
            store.remove(item)
            old = b""
        if wrong == "shift":
            first -= min(first, 512)
        old = old.ljust(first, b"\0")
        status = 204 if store.exists(item) else 201
        store.put(item, old[:first] + data + old[first + len(data):])
        if wrong == "between":
            self.somebody_else("ranged")
        return status, b"", []

    def copy(self):
        store, to = self.store, self.target()
        data = store.items[self.item][0]
        if self.mode == "w-ranges-hole" and not self.temporary_probe(data):
            data = bytes(len(data))[:len(data) // 2]
        status = 204 if store.exists(to) else 201
        store.put(to, data)
        return status, b"", []

    def temporary_probe(self, data):
        """What a client tries on scratch files is a few bytes."""
        return len(data) < 100

    def move(self):
        store, to = self.store, self.target()
        if not store.is_folder(to.rpartition("/")[0]):
            return 409, b"no", []
        status = 204 if store.exists(to) else 201
        store.move(self.item, to)
        if self.mode == "w-new-tag" and not store.is_folder(to):
            store.put(to, store.items[to][0], store.items[to][2])
        return status, b"", []

    def proppatch(self):
        found = re.search(rb"<d:lastmodified>(\d+)</d:lastmodified>", self.http.body)
        status = "403 Forbidden"
        if self.kind == "mtime" and found:
            self.store.put(self.item, self.store.items[self.item][0], int(found.group(1)))
            status = "200 OK"
        text = ('<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>%s</D:href><D:propstat><D:prop>'
                '<D:lastmodified/></D:prop><D:status>HTTP/1.1 %s</D:status></D:propstat></D:response></D:multistatus>'
                % (self.http.path, status))
        return 207, text.encode(), [("Content-Type", "application/xml")]

    def propfind(self):
        store, item = self.store, self.item
        if not store.exists(item):
            return 404, b"no", []
        names = [item]
        if self.headers.get("Depth") == "1" and store.is_folder(item):
            prefix = item + "/" if item else ""
            names += [name for name in store.below(item) if "/" not in name[len(prefix):]]
        text = '<?xml version="1.0"?><D:multistatus xmlns:D="DAV:" xmlns:oc="http://owncloud.org/ns">'
        for name in names:
            folder = store.is_folder(name)
            href = urllib.parse.quote("/%s/%s" % (self.mode, name)) + ("/" if folder and name else "")
            props = "<D:resourcetype>%s</D:resourcetype>" % ("<D:collection/>" if folder else "")
            if not folder:
                data, _, mtime = store.items[name]
                weak = "W/" if self.kind == "weak" and time.time() - mtime < 1 else ""
                props += ("<D:getcontentlength>%d</D:getcontentlength><D:getlastmodified>%s</D:getlastmodified>"
                          "<D:getetag>%s</D:getetag>" % (len(data), http_date(mtime), weak + store.etag(name)))
                if self.kind == "mtime" or self.mode == "w-touched-sum":
                    props += ("<oc:checksums><oc:checksum>SHA1:%s</oc:checksum></oc:checksums>"
                              % hashlib.sha1(data).hexdigest())
            text += ("<D:response><D:href>%s</D:href><D:propstat><D:prop>%s</D:prop>"
                     "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>" % (href, props))
        return 207, (text + "</D:multistatus>").encode(), [("Content-Type", "application/xml")]


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cert")
    parser.add_argument("--key")
    parser.add_argument("--peer")
    parser.add_argument("--size", type=int, default=len(FILES["a.bin"]), help="size of a.bin")
    args = parser.parse_args()
    FILES["a.bin"] = random.Random(1).randbytes(args.size)

    server = Server(("127.0.0.1", args.port), Nasty)
    scheme = "http"
    if args.cert:
        scheme = "https"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.cert, args.key)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.peer = (args.peer or "%s://localhost:%d" % (scheme, server.server_port)).rstrip("/")
    print(server.server_port, flush=True)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        def wait():
            sys.stdin.buffer.read()
            os._exit(0)
        threading.Thread(target=wait, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
