#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Stands between a client and a real S3 server, to count requests and to do what servers and networks do on bad days.

  s3proxy.py TARGET RULES LOG      prints PORT=...

RULES is a file that is read for every request, one rule a line: METHOD REGEX ACTION.  REGEX is searched for in "PATH?QUERY
HEADER: VALUE..." of the request; METHOD may be "*".  The first rule that fits counts.  Actions:

  STATUS:CODE     answered so, and not passed on
  drop            the connection is closed, and nothing passed on
  lost            passed on, and the connection closed in the place of an answer
  cut             passed on, and the answer's body cut in the middle
  late:N          the clock in the answer is N seconds off, and the answer 403 RequestTimeTooSkewed unless the request is, too
  deaf            passed on without If-Match, If-None-Match and the like
  wholecopy       passed on without the range of a copy
  aws             conditions are honoured as AWS does it (by a look, and one request at a time)
  stop:FILE       FILE is made, and the answer held back until it is gone

Each line of LOG is METHOD, path, query, status and the length of the body that was sent.  Signatures hold, as the Host header is passed on; what is passed on
without conditions is signed anew (S3_ACCESS and S3_SECRET of the environment).
"""
import email.utils, http.client, http.server, os, re, sys, threading, time, urllib.parse
import socketserver

target, rules_name, log_name = sys.argv[1:4]
host, port = urllib.parse.urlsplit(target).hostname, urllib.parse.urlsplit(target).port
lock, condition_lock = threading.Lock(), threading.Lock()
CONDITIONS = ("if-match", "if-none-match", "x-amz-copy-source-if-match", "x-amz-copy-if-match")


def client():
    import boto3
    from botocore.config import Config
    return boto3.client("s3", endpoint_url=target, region_name="us-east-1", aws_access_key_id=os.environ["S3_ACCESS"],
                        aws_secret_access_key=os.environ["S3_SECRET"], config=Config(s3={"addressing_style": "path"}))


s3 = None


def tag_of(path):
    global s3
    with lock:
        s3 = s3 or client()
    _, bucket, key = urllib.parse.unquote(path).split("/", 2)
    try:
        return s3.head_object(Bucket=bucket, Key=key)["ETag"]
    except Exception:
        return None


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 120

    def log_message(self, *args):
        pass

    def rule(self):
        text = self.path + " " + " ".join("%s: %s" % pair for pair in self.headers.items())
        for line in open(rules_name):
            words = line.split()
            if len(words) == 3 and words[0] in ("*", self.command) and re.search(words[1], text):
                return words[2]
        return ""

    def log(self, status):
        path, _, query = self.path.partition("?")
        with lock, open(log_name, "a") as log:
            log.write("%s %s %s %s %s\n" % (self.command, path, query or "-", status, self.headers.get("Content-Length") or 0))

    def error(self, status, code, date=None):
        body = b"" if self.command == "HEAD" else b"<?xml version='1.0'?><Error><Code>%s</Code></Error>" % code.encode()
        self.log(status)
        self.send_response_only(int(status))
        self.send_header("Date", date or email.utils.formatdate(usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def conditions_hold(self):
        path = self.path.partition("?")[0]
        source = self.headers.get("x-amz-copy-source")
        wanted = self.headers.get("x-amz-copy-source-if-match")
        if source and wanted and tag_of(source) != wanted:
            return 412
        if self.headers.get("If-None-Match") == "*" and tag_of(path):
            return 412
        wanted = self.headers.get("If-Match")
        if wanted:
            there = tag_of(path)
            return 404 if there is None else 0 if there == wanted else 412
        return 0

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        action, _, detail = self.rule().partition(":")
        if action == "drop":
            self.log("drop")
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(length)
        if action.isdigit():
            return self.error(action, detail)
        skip = ()
        if action == "late":
            wrong = email.utils.formatdate(time.time() + int(detail), usegmt=True)
            told = self.headers.get("x-amz-date", "")
            then = time.mktime(time.strptime(told, "%Y%m%dT%H%M%SZ")) - time.timezone if told else 0
            if abs(then - time.time() - int(detail)) > 900:
                return self.error(403, "RequestTimeTooSkewed", wrong)
            return self.error(404, "NoSuchBucket", wrong)
        if action == "deaf":
            skip = CONDITIONS
        if action == "wholecopy":
            skip = ("x-amz-copy-source-range",)
        if action == "aws" and self.command != "GET":
            skip = CONDITIONS
            with condition_lock:
                refused = self.conditions_hold()
                if refused:
                    return self.error(refused, "PreconditionFailed" if refused == 412 else "NoSuchKey")
                return self.forward(body, skip, action, detail)
        self.forward(body, skip, action, detail)

    def signed_anew(self, body, skip):
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials
        dropped = skip + ("authorization", "x-amz-date", "x-amz-content-sha256", "user-agent", "accept", "content-length")
        request = AWSRequest(self.command, "http://%s%s" % (self.headers["Host"], self.path), data=body,
                             headers={n: v for n, v in self.headers.items() if n.lower() not in dropped})
        S3SigV4Auth(Credentials(os.environ["S3_ACCESS"], os.environ["S3_SECRET"]), "s3", "us-east-1").add_auth(request)
        request.headers["Content-Length"] = str(len(body))
        return request.headers.items()

    def forward(self, body, skip, action, detail):
        connection = http.client.HTTPConnection(host, port, timeout=120)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        has_condition = any(name.lower() in skip for name in self.headers.keys())
        for name, value in self.signed_anew(body, skip) if has_condition else self.headers.items():
            if name.lower() not in ("connection", "expect"):
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        if action == "stop":
            open(detail, "w").close()
            while os.path.exists(detail):
                time.sleep(0.02)
        if action == "lost":
            self.log("lost")
            self.close_connection = True
            self.connection.close()
            return
        self.log(answer.status)
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content)))
        self.end_headers()
        if action == "cut":
            self.close_connection = True
            content = content[:len(content) // 2]
        self.wfile.write(content)
        if action == "cut":
            self.wfile.flush()
            self.connection.close()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *args):
        pass


server = Server(("127.0.0.1", 0), Handler)
print("PORT=%d" % server.server_address[1], flush=True)
server.serve_forever()
