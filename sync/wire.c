/* SPDX-License-Identifier: BSD-3-Clause */
/* A connection to a server's host and port, by libcurl. */

#include <config.h>

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "wire.h"

/* Seconds for name lookup, TCP and TLS together. */
#define CONNECT_TIMEOUT 10L

/* Milliseconds that a send may wait for the other side. */
#define SEND_TIMEOUT 10000

struct wire {
  CURL *easy;
  const atomic_bool *stopping;
  curl_socket_t fd;
};

static int
on_progress (void *opaque, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
  return atomic_load (((struct wire *) opaque)->stopping);
}

struct wire *
wire_open (const struct wire_config *config, char **ret_why)
{
  struct wire *wire = calloc (1, sizeof *wire);
  char error[CURL_ERROR_SIZE] = "";
  CURLcode code = CURLE_OUT_OF_MEMORY;
  CURL *easy;

  *ret_why = NULL;
  if (wire == NULL)
    return NULL;
  wire->stopping = config->stopping;
  easy = wire->easy = curl_easy_init ();
  if (easy == NULL)
    goto failed;
#define SET(option, value)                                      \
  if ((code = curl_easy_setopt (easy, option, value)) != CURLE_OK) \
    goto failed
  SET (CURLOPT_ERRORBUFFER, error);
  SET (CURLOPT_URL, config->url);
  SET (CURLOPT_PROTOCOLS_STR, "http,https");
  SET (CURLOPT_CONNECT_ONLY, 1L);
  /* Nobody is to agree upon HTTP/2. */
  SET (CURLOPT_HTTP_VERSION, (long) CURL_HTTP_VERSION_1_1);
  SET (CURLOPT_HTTPPROXYTUNNEL, 1L);
  SET (CURLOPT_NOSIGNAL, 1L);
  SET (CURLOPT_NOPROGRESS, 0L);
  SET (CURLOPT_XFERINFOFUNCTION, on_progress);
  SET (CURLOPT_XFERINFODATA, wire);
  SET (CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT);
  SET (CURLOPT_TCP_NODELAY, 1L);
  SET (CURLOPT_TCP_KEEPALIVE, 1L);
  SET (CURLOPT_SSL_VERIFYPEER, config->sslverify ? 1L : 0L);
  SET (CURLOPT_SSL_VERIFYHOST, config->sslverify ? 2L : 0L);
  if (config->cainfo) {
    SET (CURLOPT_CAINFO, config->cainfo);
    SET (CURLOPT_CAPATH, NULL);
  }
#undef SET
  code = curl_easy_perform (easy);
  if (code != CURLE_OK || (code = curl_easy_getinfo (easy, CURLINFO_ACTIVESOCKET, &wire->fd)) != CURLE_OK)
    goto failed;
  curl_easy_setopt (easy, CURLOPT_ERRORBUFFER, NULL);
  return wire;

failed:
  *ret_why = strdup (error[0] ? error : curl_easy_strerror (code));
  wire_close (wire);
  return NULL;
}

void
wire_close (struct wire *wire)
{
  if (wire == NULL)
    return;
  if (wire->easy)
    curl_easy_cleanup (wire->easy);
  free (wire);
}

int
wire_send (struct wire *wire, const void *buf, size_t n)
{
  const char *p = buf;
  int left = SEND_TIMEOUT;

  while (n > 0 && !atomic_load (wire->stopping)) {
    struct pollfd fd = { .fd = wire->fd, .events = POLLOUT };
    size_t sent = 0;
    const CURLcode code = curl_easy_send (wire->easy, p, n, &sent);

    if (code == CURLE_OK) {
      p += sent;
      n -= sent;
      continue;
    }
    if (code != CURLE_AGAIN || left <= 0)
      return -1;
    poll (&fd, 1, 500);
    left -= 500;
  }
  return n == 0 ? 0 : -1;
}

ssize_t
wire_receive (struct wire *wire, void *buf, size_t n)
{
  size_t got = 0;
  const CURLcode code = curl_easy_recv (wire->easy, buf, n, &got);

  if (code == CURLE_AGAIN)
    return 0;
  return code == CURLE_OK && got > 0 ? (ssize_t) got : -1;
}

int
wire_fd (struct wire *wire)
{
  return wire->fd;
}
