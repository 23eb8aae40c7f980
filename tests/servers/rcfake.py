#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Something that calls itself rclone's remote control, and lies.

  rcfake.py     prints its port; URLs are http://127.0.0.1:PORT/MODE

A remote of one file "f" of 5 bytes, "hello".  MODE says what is wrong with it; "ok" nothing.
"""

import json
import socket
import socketserver
import sys
import http.server

FEATURES = {"Features": {"CanHaveEmptyDirectories": True, "Move": True, "DirMove": True, "SlowHash": True}, "Hashes": ["md5"],
            "Precision": 1}
ITEM = {"Path": "f", "Name": "f", "Size": 5, "ModTime": "2001-09-09T01:46:40.5Z", "IsDir": False}


def item(**changes):
    return {**ITEM, **changes}


LISTS = {
    "no-name": [{"Size": 5}],
    "no-kind": [{"Name": "f", "Size": 5}],
    "number-name": [item(Name=7)],
    "string-items": ["f", "g"],
    "null-item": [None],
    "not-a-list": {"f": 1},
    "up": [item(Name="../../etc/passwd"), item(Name=".."), item(Name="."), item(Name="a/b"), item(Name="a\0b"), item(Name="")],
    "twice": [item(), item(Size=6), item(IsDir=True, Size=-1)],
    "sizes": [item(Name="minus", Size=-1), item(Name="text", Size="5"), item(Name="half", Size=5.5),
              item(Name="huge", Size=2 ** 70), item(Name="fine")],
    "bad-name": [item(Name="bad\ufffd")],
}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def drop(self):
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def answer(self, status, body, headers=()):
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        mode = self.path.split("/")[1]
        if self.path.endswith("/*"):
            return self.answer(200, b"<html>")
        whole = {"short": b"hel", "long": b"hello, world", "other": b"HELLO"}.get(mode, b"hello")
        if mode == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"he")
            self.wfile.flush()
            return self.drop()
        if mode == "get-404":
            return self.answer(404, {"error": "object not found", "status": 404})
        if "Range" in self.headers and mode != "no-range":
            first, last = self.headers["Range"][6:].split("-")
            if mode == "wrong-range":
                first = str(int(first) + 1)
            return self.answer(206, whole[int(first):int(last) + 1],
                               [("Content-Range", "bytes %s-%s/%d" % (first, last, len(whole)))])
        self.answer(200, whole)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        mode, verb = self.path.split("/", 2)[1:]
        ask = json.loads(body)
        if mode == "html":
            return self.answer(200, b"<html>welcome</html>")
        if mode == "empty":
            return self.answer(200, b"")
        if mode == "array":
            return self.answer(200, b"[]")
        if mode == "deep":
            return self.answer(200, b'{"a":' * 10000 + b"1" + b"}" * 10000)
        if mode == "cut-json":
            return self.answer(200, b'{"list": [{"Name": "f"')
        if mode == "endless":
            self.send_response(200)
            self.send_header("Content-Length", str(1 << 40))
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65536)
            except OSError:
                return
        if mode == "drop":
            return self.drop()
        if mode.startswith("status-"):
            return self.answer(int(mode[7:]), {"error": "so it is", "status": int(mode[7:])})
        if mode.startswith("says-"):
            return self.answer(500, {"error": mode[5:].replace("+", " "), "status": 500})
        if mode == "error-number":
            return self.answer(500, {"error": 5})
        if verb in ("rc/noopauth", "core/bwlimit"):
            return self.answer(200, {})
        if verb == "operations/fsinfo":
            return self.answer(200, {"Features": 5} if mode == "features" else FEATURES)
        if verb == "operations/stat":
            if ask["remote"] == "":
                return self.answer(200, {"item": {"Path": "", "Name": "", "IsDir": True, "Size": -1}})
            if mode == "stat-text":
                return self.answer(200, {"item": "f"})
            if mode == "stat-none":
                return self.answer(200, {})
            known = ask["remote"] == "f"
            return self.answer(200, {"item": (item(Size=5 + (mode == "other-version")) if known else None)})
        if verb == "operations/list":
            if ask["remote"] != "":
                return self.answer(404, {"error": "directory not found", "status": 404})
            return self.answer(200, {"list": LISTS.get(mode, [item()])})
        if mode == "job-text":
            return self.answer(200, {"jobid": "7"})
        if ask.get("_async"):
            return self.answer(200, {"jobid": 7})
        if verb == "job/status":
            return self.answer(200, {"finished": "perhaps"} if mode == "job-odd" else
                               {"finished": True, "success": False, "error": "no space left on device"})
        return self.answer(200, {})


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
