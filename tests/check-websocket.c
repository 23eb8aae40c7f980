/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests frames and handshakes of WebSocket, and what is read out of a Nextcloud's capabilities. */

#include <config.h>

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "msg.h"
#include "notify-push.h"
#include "websocket.h"

/* RFC 6455, section 1.3. */
#define KEY "dGhlIHNhbXBsZSBub25jZQ=="
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

static struct websocket_key
example_key (void)
{
  struct websocket_key key;

  websocket_key_of ((const uint8_t *) "the sample nonce", &key);
  return key;
}

START_TEST (keys)
{
  const struct websocket_key key = example_key ();
  char *request = websocket_request ("host:80", "/push/ws", &key);

  ck_assert_str_eq (key.key, KEY);
  ck_assert_str_eq (key.accept, ACCEPT);
  ck_assert_ptr_nonnull (strstr (request, "GET /push/ws HTTP/1.1\r\nHost: host:80\r\n"));
  ck_assert_ptr_nonnull (strstr (request, "\r\nSec-WebSocket-Key: " KEY "\r\n"));
  ck_assert_str_eq (request + strlen (request) - 4, "\r\n\r\n");
  free (request);
}
END_TEST

#define GOOD "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n"

static const struct {
  const char *text;
  int result;                  /* 1: as long as GOOD, or as the text */
  int status;
} answers[] = {
  { GOOD, 1, 101 },
  { "HTTP/1.1 101 x\r\nSEC-WEBSOCKET-ACCEPT:" ACCEPT " \r\nupgrade:WebSocket\r\n\r\n", 1, 101 },
  { "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: " ACCEPT "\r\n", 0, 0 },
  { "", 0, 0 },
  { "HTTP/1.1 101 x\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", -1, 101 },
  { "HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n", -1, 101 },
  { "HTTP/1.1 101 x\r\nSec-WebSocket-Accept: " ACCEPT "\r\n\r\n", -1, 101 },
  { "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", -1, 404 },
  { "HTTP/1.1 1\r\n\r\n", -1, 1 },
  { "SSH-2.0\r\n\r\n", -1, 0 },
  { "\r\n\r\n", -1, 0 },
};

START_TEST (answer)
{
  const struct websocket_key key = example_key ();
  const size_t n = strlen (answers[_i].text);
  char *text = malloc (n + 1);
  int status;
  ssize_t r;

  memcpy (text, answers[_i].text, n);
  r = websocket_answer (text, n, &key, &status);
  ck_assert_msg (r == (answers[_i].result == 1 ? (ssize_t) n : answers[_i].result), "%s: %zd", answers[_i].text, r);
  ck_assert_msg (r == 0 || status == answers[_i].status, "%s: %d", answers[_i].text, status);
  free (text);
}
END_TEST

START_TEST (endless_answer)
{
  const struct websocket_key key = example_key ();
  char *text = malloc (20000);
  int status;

  memset (text, 'x', 20000);
  ck_assert_int_eq (websocket_answer (text, 20000, &key, &status), -1);
  free (text);
}
END_TEST

/* The answer's bytes may be followed by frames. */
START_TEST (answer_and_more)
{
  const struct websocket_key key = example_key ();
  static const char text[] = GOOD "\x81\x02hi";
  int status;

  ck_assert_int_eq (websocket_answer (text, sizeof text - 1, &key, &status), (int) sizeof GOOD - 1);
}
END_TEST

/* RFC 6455, 5.7, and what is against 5.2 and 5.5. */
static const struct {
  const char *bytes;
  size_t n;
  int result;
  enum websocket_opcode opcode;
  bool last;
  const char *payload;
} frames[] = {
#define B(text) text, sizeof text - 1
  { B ("\x81\x05Hello"), 7, WEBSOCKET_TEXT, true, "Hello" },
  { B ("\x01\x03Hel"), 5, WEBSOCKET_TEXT, false, "Hel" },
  { B ("\x80\x02lo"), 4, WEBSOCKET_MORE, true, "lo" },
  { B ("\x89\x05Hello"), 7, WEBSOCKET_PING, true, "Hello" },
  { B ("\x8a\x00"), 2, WEBSOCKET_PONG, true, "" },
  { B ("\x88\x02\x03\xe8"), 4, WEBSOCKET_CLOSE, true, "\x03\xe8" },
  { B ("\x81\x05Hello\x81"), 7, WEBSOCKET_TEXT, true, "Hello" },
  { B ("\x81\x7e\x00\x03" "abc"), 7, WEBSOCKET_TEXT, true, "abc" },
  { B ("\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x01" "a"), 11, WEBSOCKET_TEXT, true, "a" },
  { B (""), 0 },
  { B ("\x81"), 0 },
  { B ("\x81\x05Hell"), 0 },
  { B ("\x81\x7e\x00"), 0 },
  { B ("\x81\x7f\x00\x00\x00\x00\x00\x00\x00"), 0 },
  { B ("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58"), -1 },   /* masked by a server */
  { B ("\xc1\x01x"), -1 },                                      /* reserved bits */
  { B ("\x83\x00"), -1 },                                       /* reserved opcodes */
  { B ("\x8b\x00"), -1 },
  { B ("\x09\x00"), -1 },                                       /* a control frame in pieces */
  { B ("\x89\x7e\x00\x80"), -1 },                               /* and one that is too long */
  { B ("\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x01"), -1 },       /* longer than we take */
  { B ("\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff"), -1 },
};

START_TEST (frame)
{
  uint8_t *bytes = malloc (frames[_i].n + 1);
  struct websocket_frame got = { 0 };
  ssize_t r;

  memcpy (bytes, frames[_i].bytes, frames[_i].n);
  bytes = realloc (bytes, frames[_i].n + (frames[_i].n == 0));
  r = websocket_read (bytes, frames[_i].n, &got);
  ck_assert_msg (r == frames[_i].result, "%d: %zd", _i, r);
  if (r > 0) {
    ck_assert_int_eq (got.opcode, frames[_i].opcode);
    ck_assert_int_eq (got.last, frames[_i].last);
    ck_assert_uint_eq (got.n, strlen (frames[_i].payload));
    ck_assert_int_eq (memcmp (got.payload, frames[_i].payload, got.n), 0);
  }
  free (bytes);
}
END_TEST

/* What we send is the same, masked: RFC 6455, 5.7. */
START_TEST (sent)
{
  static const uint8_t mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
  static const size_t sizes[] = { 0, 1, 125, 126, 65535, 65536, 70001 };
  uint8_t out[80000], payload[80000];

  ck_assert_uint_eq (websocket_frame (out, WEBSOCKET_TEXT, "Hello", 5, mask), 11);
  ck_assert_int_eq (memcmp (out, "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11), 0);
  for (size_t i = 0; i < sizeof payload; ++i)
    payload[i] = (uint8_t) (i * 7);
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; ++i) {
    const size_t n = websocket_frame (out, WEBSOCKET_BINARY, payload, sizes[i], mask);
    const size_t header = n - sizes[i] - 4;
    struct websocket_frame got;

    /* Unmasked it is one of a server's. */
    ck_assert (out[1] & 0x80);
    out[1] &= 0x7f;
    for (size_t k = 0; k < sizes[i]; ++k)
      out[header + k] = out[header + 4 + k] ^ mask[k % 4];
    ck_assert_int_eq (websocket_read (out, n - 4, &got), (ssize_t) n - 4);
    ck_assert_uint_eq (got.n, sizes[i]);
    ck_assert_int_eq (memcmp (got.payload, payload, got.n), 0);
  }
}
END_TEST

START_TEST (spoilt)
{
  const char *seed_text = getenv ("CLOUDSHARE_SEED");
  unsigned seed = seed_text ? (unsigned) strtoul (seed_text, NULL, 10) : 20261123;

  for (unsigned round = 0; round < 50000; ++round) {
    const size_t n = (unsigned) rand_r (&seed) % 24;
    uint8_t *bytes = malloc (n + (n == 0));
    struct websocket_frame got;
    ssize_t r;

    for (size_t i = 0; i < n; ++i)
      bytes[i] = (uint8_t) rand_r (&seed);
    r = websocket_read (bytes, n, &got);
    if (r > 0)
      ck_assert (r <= (ssize_t) n && got.payload >= bytes && got.payload + got.n == bytes + r);
    free (bytes);
  }
}
END_TEST

/* ---- capabilities ---- */

#define CAPABILITIES(url)                                                                                          \
  "{\"ocs\":{\"meta\":{\"status\":\"ok\"},\"data\":{\"version\":{\"major\":28},\"capabilities\":{\"core\":{},"     \
  "\"notify_push\":{\"type\":[\"files\",\"activities\"],\"endpoints\":{\"websocket\":" url ",\"pre_auth\":\"x\"}}}}}}"

static const struct {
  const char *remote, *json, *endpoint;
  bool refused;
} endpoints[] = {
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"wss:\\/\\/cloud.example\\/push\\/ws\""),
    "https://cloud.example/push/ws" },
  { "http://127.0.0.1:81/remote.php/dav/files/a/", CAPABILITIES ("\"ws://127.0.0.1:82/ws\""), "http://127.0.0.1:82/ws" },
  { "http://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"wss://cloud.example/push/ws\""), "https://cloud.example/push/ws" },
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"ws://cloud.example/push/ws\""), NULL, true },
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"wss://evil.example/push/ws\""), NULL, true },
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"wss://cloud.example@evil.example/push/ws\""), NULL, true },
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"https://cloud.example/push/ws\""), NULL },
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("\"wss://cloud.example/push/ws\\r\\nX: y\""), NULL },
  { "https://cloud.example/remote.php/dav/files/a/", CAPABILITIES ("7"), NULL },
  { "https://cloud.example/remote.php/dav/files/a/", "{\"ocs\":{\"data\":{\"capabilities\":[]}}}", NULL },
  { "https://cloud.example/remote.php/dav/files/a/", "{\"ocs\":null}", NULL },
  { "https://cloud.example/remote.php/dav/files/a/", "<html>", NULL },
  { "https://cloud.example/remote.php/dav/files/a/", "", NULL },
};

static void
quiet (enum msg_level level, const char *text)
{
}

START_TEST (endpoint)
{
  bool refused;
  char *url;

  msg_set_sink (quiet);
  url = notify_endpoint (endpoints[_i].remote, endpoints[_i].json, strlen (endpoints[_i].json), &refused);
  ck_assert_msg ((url == NULL) == (endpoints[_i].endpoint == NULL), "%d: %s", _i, url ? url : "none");
  if (url)
    ck_assert_str_eq (url, endpoints[_i].endpoint);
  ck_assert_int_eq (refused, endpoints[_i].refused);
  free (url);
}
END_TEST

START_TEST (capabilities)
{
  char *url = notify_capabilities_url ("https://h/sub/remote.php/dav/files/a/b/");

  ck_assert_str_eq (url, "https://h/sub/ocs/v2.php/cloud/capabilities?format=json");
  free (url);
  ck_assert_ptr_null (notify_capabilities_url ("https://h/dav/"));
}
END_TEST

int
main (void)
{
  Suite *suite = suite_create ("websocket");
  TCase *tcase = tcase_create ("websocket");
  SRunner *runner = srunner_create (suite);
  int failed;

  tcase_set_timeout (tcase, 30);
  tcase_add_test (tcase, keys);
  tcase_add_loop_test (tcase, answer, 0, sizeof answers / sizeof answers[0]);
  tcase_add_test (tcase, endless_answer);
  tcase_add_test (tcase, answer_and_more);
  tcase_add_loop_test (tcase, frame, 0, sizeof frames / sizeof frames[0]);
  tcase_add_test (tcase, sent);
  tcase_add_test (tcase, spoilt);
  tcase_add_loop_test (tcase, endpoint, 0, sizeof endpoints / sizeof endpoints[0]);
  tcase_add_test (tcase, capabilities);
  suite_add_tcase (suite, tcase);
  srunner_run_all (runner, CK_NORMAL);
  failed = srunner_ntests_failed (runner);
  srunner_free (runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
