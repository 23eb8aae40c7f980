#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""A bucket of 1,000,000 objects that exist only as a rule: no server here takes so many in a time that a test has.

  s3million.py     prints its port; the URL is http://127.0.0.1:PORT/, the bucket "million"

"wide/" has 250,000 objects, and 750 other folders have 1,000 each.  Answers ListObjectsV2 as Amazon's reference tells it
(prefix, delimiter "/", max-keys, start-after, continuation-token; sorted by bytes, 1,000 a page), HEAD and GET (with ranges).
Takes no signature for wrong.  /_requests gives the number of requests so far.
"""

import http.server
import re
import socketserver
import urllib.parse

WIDE, FOLDERS, EACH = 250000, 750, 1000
ALL = FOLDERS * EACH + WIDE
STAMP = "2024-05-06T07:08:09.000Z"
requests = 0


def body_of(number):
    return b"object %d\n" % number * (number % 3)


def key_of(n):
    """The object of this number, in the order of keys."""
    folder, index = divmod(n, EACH)
    return "folder %03d/photo %06d.jpg" % (folder, index) if folder < FOLDERS else "wide/photo %06d.jpg" % (n - FOLDERS * EACH)


def number_of(key):
    for pattern, base in ((r"folder (\d{3})/photo (\d{6})\.jpg", None), (r"wide/photo (\d{6})\.jpg", FOLDERS * EACH)):
        found = re.fullmatch(pattern, key)
        if found:
            numbers = [int(x) for x in found.groups()]
            n = numbers[-1] + (numbers[0] * EACH if base is None else base)
            return n if n < ALL and key_of(n) == key else None
    return None


def first_from(key):
    """The first object at or after a key."""
    low, high = 0, ALL
    while low < high:
        middle = (low + high) // 2
        if key_of(middle) < key:
            low = middle + 1
        else:
            high = middle
    return low


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, body, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def list(self, query):
        prefix, most = query.get("prefix", ""), min(int(query.get("max-keys", 1000)), 1000)
        after = query.get("continuation-token") or query.get("start-after") or ""
        n, out, count, token = max(first_from(prefix), first_from(after + "\0") if after else 0), [], 0, None
        while n < ALL and key_of(n).startswith(prefix):
            key = key_of(n)
            if count == most:
                token = last
                break
            slash = key.find("/", len(prefix)) if query.get("delimiter") == "/" else -1
            if slash >= 0:
                name = key[:slash + 1]
                out.append("<CommonPrefixes><Prefix>%s</Prefix></CommonPrefixes>" % name)
                n = first_from(name[:-1] + "0")
                last = name + "~"
            else:
                out.append("<Contents><Key>%s</Key><LastModified>%s</LastModified><ETag>&quot;%032x&quot;</ETag><Size>%d</Size>"
                           "<StorageClass>STANDARD</StorageClass></Contents>" % (key, STAMP, n, len(body_of(n))))
                n += 1
                last = key
            count += 1
        page = ('<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                "<Name>million</Name><Prefix>%s</Prefix><KeyCount>%d</KeyCount><MaxKeys>%d</MaxKeys><IsTruncated>%s</IsTruncated>"
                % (prefix, count, most, "true" if token else "false"))
        if token:
            page += "<NextContinuationToken>%s</NextContinuationToken>" % token
        self.answer(200, (page + "".join(out) + "</ListBucketResult>").encode(), Content_Type="application/xml")

    def do_GET(self):
        global requests
        requests += 1
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/_requests":
            return self.answer(200, b"%d\n" % requests)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        if url.path.rstrip("/") == "/million":
            return self.list(query)
        key = urllib.parse.unquote(url.path).removeprefix("/million/")
        n = number_of(key)
        if n is None:
            return self.answer(404, b"<Error><Code>NoSuchKey</Code></Error>", Content_Type="application/xml")
        body, headers, status = body_of(n), {"ETag": '"%032x"' % n, "Last_Modified": "Mon, 06 May 2024 07:08:09 GMT"}, 200
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if found and body:
            first, end = int(found[1]), min(int(found[2] or len(body)) + 1, len(body))
            headers["Content_Range"], status = "bytes %d-%d/%d" % (first, end - 1, len(body)), 206
            body = body[first:end]
        self.answer(status, body, **headers)

    do_HEAD = do_GET


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64


server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
