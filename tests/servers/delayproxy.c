/* SPDX-License-Identifier: BSD-3-Clause */
/* A TCP proxy that makes a server look far away: everything arrives a given time later, in both directions, without a
 * limit of bandwidth.  For machines whose kernel cannot delay packets (sch_netem).
 *
 *   delayproxy MS TARGET-PORT          MS milliseconds each way, so a round trip takes 2 * MS
 *
 * Listens on a free port of 127.0.0.1, prints PORT=... and serves until it is ended.  At SIGUSR1 it says on standard
 * error what it has seen: connections, and bytes in each direction.
 *
 * What is like a real line: latency of each byte, and the round trip that opening a connection costs (the client's own
 * connect ends at once, so its first bytes are held back for that long).  What is not: slow start, loss, a window.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CHUNK 65536
#define MAX_CONNECTIONS 512

/* What is on its way in one direction at most: 1 GB/s over 60 ms. */
#define MAX_IN_FLIGHT (64 * 1024 * 1024)

struct chunk {
  struct chunk *next;
  int64_t due_us;
  size_t n, sent;          /* n 0: the sender has closed its side */
  char data[];
};

/* One direction of a connection. */
struct stream {
  int from, to;
  int64_t not_before_us;   /* for the handshake */
  struct chunk *first, **last;
  size_t in_flight;
  bool read_ended, write_ended;
  uint64_t *total;
};

struct connection {
  int client, server;
  struct stream up, down;
};

static struct connection connections[MAX_CONNECTIONS];
static unsigned n_connections, n_accepted;
static uint64_t bytes_up, bytes_down;
static int64_t delay_us;

static int64_t
now_us (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return (int64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static void
fail (const char *what)
{
  fprintf (stderr, "delayproxy: %s: %s\n", what, strerror (errno));
  exit (EXIT_FAILURE);
}

static void
stream_init (struct stream *stream, int from, int to, uint64_t *total)
{
  memset (stream, 0, sizeof *stream);
  stream->from = from;
  stream->to = to;
  stream->last = &stream->first;
  stream->total = total;
}

/* False: the connection is broken. */
static bool
take_in (struct stream *stream, int64_t now)
{
  struct chunk *chunk = malloc (sizeof *chunk + CHUNK), *smaller;
  ssize_t n;

  if (chunk == NULL)
    fail ("malloc");
  n = recv (stream->from, chunk->data, CHUNK, MSG_DONTWAIT);
  if (n == -1) {
    free (chunk);
    return errno == EAGAIN || errno == EINTR;
  }
  smaller = realloc (chunk, sizeof *chunk + (size_t) n);
  if (smaller != NULL)
    chunk = smaller;
  chunk->next = NULL;
  chunk->due_us = (now < stream->not_before_us ? stream->not_before_us : now) + delay_us;
  chunk->n = (size_t) n;
  chunk->sent = 0;
  *stream->last = chunk;
  stream->last = &chunk->next;
  stream->in_flight += (size_t) n;
  stream->read_ended = n == 0;
  *stream->total += (uint64_t) n;
  return true;
}

static bool
is_due (const struct stream *stream, int64_t now)
{
  return stream->first != NULL && stream->first->due_us <= now;
}

/* False: the connection is broken. */
static bool
give_out (struct stream *stream, int64_t now)
{
  while (is_due (stream, now)) {
    struct chunk *chunk = stream->first;

    if (chunk->n == 0) {
      shutdown (stream->to, SHUT_WR);
      stream->write_ended = true;
    }
    else {
      const ssize_t n
        = send (stream->to, chunk->data + chunk->sent, chunk->n - chunk->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

      if (n == -1)
        return errno == EAGAIN || errno == EINTR;
      chunk->sent += (size_t) n;
      stream->in_flight -= (size_t) n;
      if (chunk->sent < chunk->n)
        return true;
    }
    stream->first = chunk->next;
    if (stream->first == NULL)
      stream->last = &stream->first;
    free (chunk);
  }
  return true;
}

static void
free_stream (struct stream *stream)
{
  while (stream->first != NULL) {
    struct chunk *chunk = stream->first;

    stream->first = chunk->next;
    free (chunk);
  }
}

/* The last one takes its place. */
static void
drop_connection (unsigned i)
{
  struct connection *connection = &connections[i];

  close (connection->client);
  close (connection->server);
  free_stream (&connection->up);
  free_stream (&connection->down);
  if (i == --n_connections)
    return;
  *connection = connections[n_connections];
  if (connection->up.first == NULL)
    connection->up.last = &connection->up.first;
  if (connection->down.first == NULL)
    connection->down.last = &connection->down.first;
}

static int
connect_to (uint16_t port)
{
  struct sockaddr_in addr = { .sin_family = AF_INET, .sin_port = htons (port) };
  const int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

  addr.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  if (fd >= 0 && connect (fd, (struct sockaddr *) &addr, sizeof addr) == 0)
    return fd;
  if (fd >= 0)
    close (fd);
  return -1;
}

static void
accept_connection (int listener, uint16_t target_port)
{
  const struct linger reset = { .l_onoff = 1 };
  const int one = 1, client = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
  struct connection *connection = &connections[n_connections];
  int server;

  if (client < 0)
    return;
  server = connect_to (target_port);
  if (server < 0) {
    /* Nobody there: the client sees its connection reset. */
    setsockopt (client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    close (client);
    return;
  }
  setsockopt (client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt (server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  connection->client = client;
  connection->server = server;
  stream_init (&connection->up, client, server, &bytes_up);
  stream_init (&connection->down, server, client, &bytes_down);
  connection->up.not_before_us = now_us () + 2 * delay_us;
  n_connections++;
  n_accepted++;
}

static int
make_listener (uint16_t *ret_port)
{
  struct sockaddr_in addr = { .sin_family = AF_INET };
  socklen_t len = sizeof addr;
  const int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  addr.sin_addr.s_addr = htonl (INADDR_LOOPBACK);
  if (fd < 0 || bind (fd, (struct sockaddr *) &addr, sizeof addr) == -1 || listen (fd, 128) == -1 ||
      getsockname (fd, (struct sockaddr *) &addr, &len) == -1)
    fail ("cannot listen");
  *ret_port = ntohs (addr.sin_port);
  return fd;
}

static short
wanted_events (const struct stream *in, const struct stream *out, int64_t now)
{
  return (short) ((!in->read_ended && in->in_flight < MAX_IN_FLIGHT ? POLLIN : 0) | (is_due (out, now) ? POLLOUT : 0));
}

/* When the next chunk is due that is not due yet. */
static int64_t
earliest (int64_t until, const struct stream *stream, int64_t now)
{
  const struct chunk *first = stream->first;

  return first != NULL && first->due_us > now && first->due_us < until ? first->due_us : until;
}

static void
say_totals (int signals)
{
  struct signalfd_siginfo info;

  if (read (signals, &info, sizeof info) == sizeof info)
    fprintf (stderr, "delayproxy: connections=%u up=%" PRIu64 " down=%" PRIu64 "\n", n_accepted, bytes_up, bytes_down);
}

static void
serve (int listener, int signals, uint16_t target_port)
{
  static struct pollfd fds[2 + 2 * MAX_CONNECTIONS];

  for (;;) {
    const unsigned n = n_connections;
    int64_t now = now_us (), until = INT64_MAX, wait_us;
    struct timespec timeout;

    fds[0] = (struct pollfd) { .fd = n < MAX_CONNECTIONS ? listener : -1, .events = POLLIN };
    fds[1] = (struct pollfd) { .fd = signals, .events = POLLIN };
    for (unsigned i = 0; i < n; ++i) {
      const struct connection *c = &connections[i];
      const short client = wanted_events (&c->up, &c->down, now), server = wanted_events (&c->down, &c->up, now);

      /* A descriptor that is not asked about anything is left out, or its hang-up would make poll return for ever. */
      fds[2 + 2 * i] = (struct pollfd) { .fd = client ? c->client : -1, .events = client };
      fds[3 + 2 * i] = (struct pollfd) { .fd = server ? c->server : -1, .events = server };
      until = earliest (earliest (until, &c->up, now), &c->down, now);
    }
    wait_us = until == INT64_MAX ? 3600 * INT64_C (1000000) : until - now;
    timeout.tv_sec = wait_us / 1000000;
    timeout.tv_nsec = wait_us % 1000000 * 1000;
    if (ppoll (fds, 2 + 2 * n, &timeout, NULL) == -1 && errno != EINTR)
      fail ("poll");

    now = now_us ();
    /* From the end, since dropping one moves the last. */
    for (unsigned i = n; i-- > 0;) {
      struct connection *c = &connections[i];
      bool good = true;

      if (fds[2 + 2 * i].revents & (POLLIN | POLLHUP | POLLERR) && !c->up.read_ended)
        good = take_in (&c->up, now);
      if (good && fds[3 + 2 * i].revents & (POLLIN | POLLHUP | POLLERR) && !c->down.read_ended)
        good = take_in (&c->down, now);
      good = good && give_out (&c->up, now) && give_out (&c->down, now);
      if (!good || (c->up.write_ended && c->down.write_ended))
        drop_connection (i);
    }
    if (fds[0].revents & POLLIN)
      accept_connection (listener, target_port);
    if (fds[1].revents & POLLIN)
      say_totals (signals);
  }
}

int
main (int argc, char *argv[])
{
  uint16_t port, target_port;
  sigset_t usr1;
  int listener;

  if (argc != 3 || atof (argv[1]) < 0 || atoi (argv[2]) <= 0 || atoi (argv[2]) > 65535) {
    fprintf (stderr, "usage: delayproxy MS TARGET-PORT\n");
    return EXIT_FAILURE;
  }
  delay_us = (int64_t) (atof (argv[1]) * 1000);
  target_port = (uint16_t) atoi (argv[2]);
  sigemptyset (&usr1);
  sigaddset (&usr1, SIGUSR1);
  sigprocmask (SIG_BLOCK, &usr1, NULL);
  listener = make_listener (&port);
  printf ("PORT=%u\n", port);
  fflush (stdout);
  serve (listener, signalfd (-1, &usr1, SFD_CLOEXEC), target_port);
}
