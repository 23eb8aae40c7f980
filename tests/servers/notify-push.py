#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""The protocol of Nextcloud's notify_push, as its documentation tells it: a WebSocket that takes a user and a password.

  notify-push.py USER PASSWORD [CERTIFICATE KEY]

Prints PORT=N, and then serves on 127.0.0.1 until it is ended.  Commands come as plain requests (always
without TLS, on a port of their own, printed as COMMANDS=N):

  GET /count               how many connections are logged in
  GET /send/TEXT           sends that message to all of them
  GET /pieces/TEXT         the same, in frames of one byte, with a ping between them
  GET /bad                 sends a frame that is none
  GET /drop                ends all connections without a word
  GET /close               ends all connections with a close frame
  GET /seen                what clients said since they were logged in, and how many pongs came
"""

import base64, hashlib, socket, ssl, struct, sys, threading, urllib.parse

user, password = sys.argv[1:3]
context = None
if len (sys.argv) > 4:
  context = ssl.SSLContext (ssl.PROTOCOL_TLS_SERVER)
  context.load_cert_chain (sys.argv[3], sys.argv[4])

lock = threading.Lock ()
clients, seen = [], []


def frame (opcode, payload, last=True):
  n = len (payload)
  head = bytes ([opcode | (0x80 if last else 0)])
  head += bytes ([n]) if n < 126 else b"\x7e" + struct.pack (">H", n) if n < 65536 else b"\x7f" + struct.pack (">Q", n)
  return head + payload


def take (stream, n):
  data = stream.read (n)
  if len (data) < n:
    raise EOFError
  return data


def read_frame (stream):
  first, second = take (stream, 2)
  assert second & 0x80, "a client has to mask"
  n = second & 0x7f
  if n == 126:
    n = struct.unpack (">H", take (stream, 2))[0]
  elif n == 127:
    n = struct.unpack (">Q", take (stream, 8))[0]
  mask = take (stream, 4)
  data = take (stream, n)
  return first & 0x0f, bytes (b ^ mask[i % 4] for i, b in enumerate (data))


def serve (connection):
  try:
    if context:
      connection = context.wrap_socket (connection, server_side=True)
    stream = connection.makefile ("rb")
    line = stream.readline ().decode ()
    headers = {}
    while (header := stream.readline ().decode ().rstrip ("\r\n")):
      key, value = header.split (":", 1)
      headers[key.lower ()] = value.strip ()
    if line != "GET /push/ws HTTP/1.1\r\n" or headers.get ("upgrade") != "websocket":
      connection.sendall (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
      return
    accept = base64.b64encode (hashlib.sha1 (headers["sec-websocket-key"].encode ()
                                             + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest ()).decode ()
    connection.sendall (("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         "Sec-WebSocket-Accept: %s\r\n\r\n" % accept).encode ())
    who = [read_frame (stream)[1].decode () for i in range (2)]
    if who != [user, password]:
      connection.sendall (frame (1, b"err: Invalid credentials"))
      return
    connection.sendall (frame (1, b"authenticated"))
    with lock:
      clients.append (connection)
    try:
      while True:
        opcode, data = read_frame (stream)
        with lock:
          if opcode == 1:
            seen.append (data.decode ())
          elif opcode == 10:
            seen.append ("pong " + data.decode ())
          elif opcode == 9:
            connection.sendall (frame (10, data))
          elif opcode == 8:
            return
    finally:
      with lock:
        clients.remove (connection)
  except (EOFError, OSError, KeyError, ValueError):
    pass
  finally:
    connection.close ()


def command (path):
  text = urllib.parse.unquote (path.split ("/", 2)[2]).encode () if path.count ("/") > 1 else b""
  verb = path.split ("/")[1]
  with lock:
    for client in clients:
      try:
        if verb == "send":
          client.sendall (frame (1, text))
        elif verb == "pieces":
          for i in range (len (text)):
            client.sendall (frame (0 if i else 1, text[i:i + 1], i == len (text) - 1))
            if i == 1:
              client.sendall (frame (9, b"there?"))
        elif verb == "bad":
          client.sendall (b"\xff\xff\xff")
        elif verb == "close":
          client.sendall (frame (8, struct.pack (">H", 1001)))
        if verb in ("drop", "close"):
          client.shutdown (socket.SHUT_RDWR)
      except OSError:
        pass
    return "\n".join (seen) if verb == "seen" else str (len (clients))


def commands (listener):
  while True:
    connection = listener.accept ()[0]
    try:
      stream = connection.makefile ("rb")
      path = stream.readline ().decode ().split (" ")[1]
      while stream.readline ().strip ():
        pass
      body = (command (path) + "\n").encode ()
      connection.sendall (b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len (body) + body)
    except (OSError, IndexError):
      pass
    connection.close ()


def listen ():
  listener = socket.socket ()
  listener.bind (("127.0.0.1", 0))
  listener.listen (16)
  return listener


door, desk = listen (), listen ()
threading.Thread (target=commands, args=(desk,), daemon=True).start ()
print ("PORT=%d\nCOMMANDS=%d" % (door.getsockname ()[1], desk.getsockname ()[1]), flush=True)
while True:
  threading.Thread (target=serve, args=(door.accept ()[0],), daemon=True).start ()
