#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Stands between the plugin and a real WebDAV server: writes down every request, and spoils some.

    proxy.py [--listen ADDRESS] [--port N] --to PORT --log FILE [--faults FILE]

Listens on 127.0.0.1 or ADDRESS, prints its port as the first line, and ends when it is killed.  FILE gets a line for each request that
has ended: "METHOD STATUS BYTES SHA1 PATH [DESTINATION, or what it copies]", with size and digest of the request's body ("-" where there is none) and the
status that the real server answered, whatever became of the answer (0: it was not asked).  Parts of a file (Content-Range,
X-Update-Range) count as METHOD "RANGE"; once a file of parts gets another name, a line "PUT" tells of all that it then is.

The file of faults holds lines "FAULT METHOD TIMES [PART]", and is read again when it changes; the first line that fits a
request (its method, or *; PART is in its path, or is >N: its body is larger), and is not used up, spoils it.  TIMES is a
number, or "N+K": K that fit are let by before.

  lost        the server does it; the answer does not come, the connection closes
  drop        the connection closes, the server is not asked
  cut         the server gets half of the body, then both connections close
  stall       the server does it; the answer comes after two minutes
  slow        the body goes to the server in 40 pieces in 4 seconds
  NNN         the answer has this status, the server is not asked
  NNN-done    the server does it, and the answer has this status
"""

import argparse
import hashlib
import http.client
import http.server
import os
import re
import socket
import sys
import threading
import time

LOCK = threading.Lock()
HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-authenticate"}


class Faults:
    def __init__(self, path):
        self.path, self.stamp, self.rules = path, None, []

    def find(self, method, path, length):
        with LOCK:
            try:
                stat = os.stat(self.path)
                stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            except (OSError, TypeError):
                return None
            if stamp != self.stamp:
                self.stamp = stamp
                with open(self.path) as file:
                    self.rules = [line.split() for line in file if line.strip()]
                for rule in self.rules:
                    times, _, skip = rule[2].partition("+")
                    rule[2] = int(times)
                    rule.append(int(skip or 0))
            for rule in self.rules:
                part = rule[3] if len(rule) > 4 else ""
                fits = length > int(part[1:]) if part.startswith(">") else part in path
                if rule[1] in ("*", method) and rule[2] > 0 and fits:
                    if rule[-1] > 0:
                        rule[-1] -= 1
                        continue
                    rule[2] -= 1
                    return rule[0]
        return None


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            data = b""
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                data += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    return data
        length = self.headers.get("Content-Length")
        return None if length is None else self.rfile.read(int(length))

    def is_part(self):
        return "Content-Range" in self.headers or "X-Update-Range" in self.headers

    def note_parts(self, status):
        """What was put together from parts is looked at as a whole where it is wanted."""
        with LOCK:
            if self.is_part():
                self.server.parts.add(self.path)
            known = self.command == "MOVE" and status // 100 == 2 and self.path in self.server.parts
            if known:
                self.server.parts.discard(self.path)
        if not known:
            return
        conn = http.client.HTTPConnection("127.0.0.1", self.server.to)
        conn.request("GET", re.sub("^[a-z]+://[^/]*", "", self.headers["Destination"]),
                     headers={name: self.headers[name] for name in ("Authorization",) if name in self.headers})
        answer = conn.getresponse()
        whole = answer.read()
        conn.close()
        if answer.status == 200:
            with LOCK:
                self.server.log.write("PUT 201 %d %s %s\n" % (len(whole), hashlib.sha1(whole).hexdigest(), self.path))

    def note(self, status, body):
        self.note_parts(status)
        with LOCK:
            target = self.headers.get("Destination", "") or self.headers.get("x-amz-copy-source", "")
            self.server.log.write("%s %d %d %s %s %s\n" % (
                "RANGE" if self.is_part() else self.command, status, len(body or b""), hashlib.sha1(body).hexdigest() if body is not None else "-", self.path,
                re.sub("^[a-z]+://[^/]*", "", target)))
            self.server.log.flush()

    def ask(self, body, slow=False, cut=False):
        """The server's answer, or None."""
        conn = socket.create_connection(("127.0.0.1", self.server.to))
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = "%s %s HTTP/1.1\r\n" % (self.command, self.path)
        for name, value in self.headers.items():
            if name.lower() not in HOP and name.lower() not in ("content-length", "expect"):
                head += "%s: %s\r\n" % (name, value)
        if body is not None:
            head += "Content-Length: %d\r\n" % len(body)
        conn.sendall((head + "Connection: close\r\n\r\n").encode("latin-1"))
        if body:
            if cut:
                conn.sendall(body[:len(body) // 2])
                time.sleep(0.2)
                conn.close()
                return None
            for i in range(40 if slow else 1):
                n = len(body) if not slow else -(-len(body) // 40)
                conn.sendall(body[i * n:(i + 1) * n])
                if slow:
                    time.sleep(0.1)
        answer = http.client.HTTPResponse(conn, method=self.command)
        answer.begin()
        answer.whole = b"" if self.command == "HEAD" else answer.read()
        conn.close()
        return answer

    def reply(self, status, headers, body, length=None):
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP and name.lower() != "content-length":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass                # http.server has sent 100 already
        body = self.body()
        fault = self.server.faults.find(self.command, self.path, len(body or b""))
        if fault == "drop":
            self.note(0, body)
            self.close_connection = True
            return
        if fault and fault.isdigit():
            self.note(0, body)
            self.reply(int(fault), [("Retry-After", "1")] if fault == "503" else [], b"spoilt\n")
            return
        try:
            answer = self.ask(body, fault == "slow", fault == "cut")
        except OSError:
            self.note(0, body)
            self.close_connection = True
            return
        if answer is None:
            self.note(0, body)
            self.close_connection = True
            return
        self.note(answer.status, body)
        if fault == "lost":
            self.close_connection = True
            return
        if fault == "stall":
            time.sleep(120)
        length = answer.headers.get("Content-Length") if self.command == "HEAD" else None
        if fault and re.fullmatch(r"\d+-done", fault):
            self.reply(int(fault[:3]), [], b"spoilt\n")
            return
        self.reply(answer.status, answer.getheaders(), answer.whole, length)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_MKCOL = do_MOVE = do_COPY = do_PROPFIND = do_PROPPATCH = handle_any
    do_OPTIONS = do_POST = do_LOCK = do_UNLOCK = do_PATCH = do_REPORT = handle_any


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--to", type=int, required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--faults")
    args = parser.parse_args()
    server = Server((args.listen, args.port), Proxy)
    server.parts = set()
    server.to, server.log, server.faults = args.to, open(args.log, "a"), Faults(args.faults)
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
