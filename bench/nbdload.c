/* SPDX-License-Identifier: BSD-3-Clause */
/* Reads from an NBD server over a Unix socket, or writes to it, and says how fast: the load of the bench.
 *
 *   nbdload [OPTION]... SOCKET random|sequential|write-random|write-sequential OFFSET LENGTH
 *   nbdload [OPTION]... SOCKET watch OFFSET LENGTH
 *
 *   -b BYTES      size of a request (4096)
 *   -c FILE       compares what is read with the file's bytes; sequential only, and no measurement
 *   -e NAME       export ("")
 *   -f            a FLUSH after each write, which is done when that is
 *   -l FILE       writes two doubles for each request: when it went out, and when its answer was there
 *   -o            write-random: no block twice; ends early where there is none left
 *   -q N          requests in flight (1)
 *   -s SEED       of the random offsets (1)
 *   -t SECONDS    random, write-random: how long (1); watch: fails then.  SIGTERM ends it early, in order
 *   -w SECONDS    waits so long for the server to listen (0)
 *
 * Prints, as lines of NAME=VALUE: requests, bytes, seconds (from the first request to the last answer, without the
 * handshake), started and ended (when these two were) and first (seconds from before connecting to the first answer).
 *
 * watch reads the area twice a millisecond until it has other bytes than at first.  Prints ready once it has those, and
 * changed: when the first answer was there that differs.
 *
 * Points in time are of CLOCK_MONOTONIC.
 *
 * One thread, one connection and no library: what is measured should be the server.  Simple replies only ("NBD
 * protocol", doc/proto.md of NetworkBlockDevice/nbd, "Simple reply message"), since they can come in any order.
 */

#include <config.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 256

/* Requests up to this are received several at once. */
#define SMALL (64 * 1024)
#define STAGE (1024 * 1024)

/* proto.md, "Values". */
#define INIT_MAGIC       UINT64_C (0x4e42444d41474943)   /* "NBDMAGIC" */
#define OPTION_MAGIC     UINT64_C (0x49484156454f5054)   /* "IHAVEOPT" */
#define REPLY_MAGIC      UINT64_C (0x0003e889045565a9)   /* of an option */
#define REQUEST_MAGIC    0x25609513u
#define SIMPLE_MAGIC     0x67446698u
#define FLAGS_FIXED_NO_ZEROES 3
#define OPT_GO           7
#define REP_ACK          1
#define REP_INFO         3
#define CMD_READ         0
#define CMD_WRITE        1
#define CMD_DISC         2
#define CMD_FLUSH        3

struct greeting {
  uint64_t init, option;
  uint16_t flags;
} __attribute__ ((packed));
_Static_assert (sizeof (struct greeting) == 18, "greeting");

struct option_reply {
  uint64_t magic;
  uint32_t option, type, length;
} __attribute__ ((packed));
_Static_assert (sizeof (struct option_reply) == 20, "option_reply");

struct request {
  uint32_t magic;
  uint16_t flags, type;
  uint64_t cookie, offset;
  uint32_t length;
} __attribute__ ((packed));
_Static_assert (sizeof (struct request) == 28, "request");

struct reply {
  uint32_t magic, error;
  uint64_t cookie;
} __attribute__ ((packed));
_Static_assert (sizeof (struct reply) == 16, "reply");

static uint32_t block = 4096;
static unsigned depth = 1;
static const char *export = "";
static double seconds = 1, wait_seconds;
static uint64_t seed = 1;
static const char *compare;
static FILE *log_file;
static volatile sig_atomic_t terminated;

static bool sequential, writing, flushing, once;
static uint64_t area_start, area_length;
static const char *content;          /* of the file to compare with */

static int sock = -1;
static struct { uint64_t offset; uint32_t length; bool in_flush; double sent; } slots[MAX_DEPTH];
static char *payload;                /* of every write */
static uint64_t next_offset, next_index;
static uint64_t n_sent, n_received, n_bytes;

static void
fail (const char *what)
{
  fprintf (stderr, "nbdload: %s: %s\n", what, strerror (errno));
  exit (EXIT_FAILURE);
}

static void
fail_protocol (const char *what)
{
  fprintf (stderr, "nbdload: %s\n", what);
  exit (EXIT_FAILURE);
}

static double
now (void)
{
  struct timespec ts;

  clock_gettime (CLOCK_MONOTONIC, &ts);
  return ts.tv_sec + ts.tv_nsec * 1e-9;
}

static void
send_all (const void *buf, size_t n)
{
  const char *p = buf;

  while (n > 0) {
    const ssize_t r = send (sock, p, n, MSG_NOSIGNAL);

    if (r == -1)
      fail ("send");
    p += r;
    n -= (size_t) r;
  }
}

static void
receive_all (void *buf, size_t n)
{
  char *p = buf;

  while (n > 0) {
    const ssize_t r = recv (sock, p, n, MSG_WAITALL);

    if (r == -1)
      fail ("recv");
    if (r == 0)
      fail_protocol ("the server has closed the connection");
    p += r;
    n -= (size_t) r;
  }
}

static void
send_vector (struct iovec *vector, unsigned n)
{
  while (n > 0) {
    const struct msghdr message = { .msg_iov = vector, .msg_iovlen = n };
    ssize_t r = sendmsg (sock, &message, MSG_NOSIGNAL);

    if (r == -1)
      fail ("send");
    while (n > 0 && (size_t) r >= vector->iov_len) {
      r -= vector->iov_len;
      vector++;
      n--;
    }
    if (n > 0) {
      vector->iov_base = (char *) vector->iov_base + r;
      vector->iov_len -= r;
    }
  }
}

/* ---- the handshake ---- */

static void
connect_to (const char *path)
{
  struct sockaddr_un addr = { .sun_family = AF_UNIX };
  const double until = now () + wait_seconds;

  if (strlen (path) >= sizeof addr.sun_path)
    fail_protocol ("the socket's path is too long");
  strcpy (addr.sun_path, path);
  sock = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (sock == -1)
    fail ("socket");
  while (connect (sock, (struct sockaddr *) &addr, sizeof addr) == -1) {
    const struct timespec pause = { .tv_nsec = 500000 };

    if ((errno != ENOENT && errno != ECONNREFUSED) || now () >= until)
      fail (path);
    nanosleep (&pause, NULL);
  }
}

static void
handshake (void)
{
  struct greeting greeting;
  const uint32_t client_flags = htobe32 (FLAGS_FIXED_NO_ZEROES);
  const uint32_t name_length = strlen (export);
  const struct {
    uint64_t magic;
    uint32_t option, length, name_length;
  } __attribute__ ((packed)) go = {
    htobe64 (OPTION_MAGIC), htobe32 (OPT_GO), htobe32 (4 + name_length + 2), htobe32 (name_length),
  };
  const uint16_t no_information_requests = 0;

  receive_all (&greeting, sizeof greeting);
  if (be64toh (greeting.init) != INIT_MAGIC || be64toh (greeting.option) != OPTION_MAGIC)
    fail_protocol ("this is not an NBD server");
  send_all (&client_flags, sizeof client_flags);
  send_all (&go, sizeof go);
  send_all (export, name_length);
  send_all (&no_information_requests, sizeof no_information_requests);

  for (;;) {
    struct option_reply reply;
    char data[4096];

    receive_all (&reply, sizeof reply);
    if (be64toh (reply.magic) != REPLY_MAGIC || be32toh (reply.length) > sizeof data)
      fail_protocol ("the server's answer makes no sense");
    receive_all (data, be32toh (reply.length));
    switch (be32toh (reply.type)) {
    case REP_ACK:
      return;
    case REP_INFO:
      break;
    default:
      fail_protocol ("the server refuses the export");
    }
  }
}

/* ---- the load ---- */

static uint64_t
random_next (void)
{
  /* xorshift64 */
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

/* Each number below n once, in an order that looks random: steps that each have an inverse modulo a power of two,
 * without the results that are too large.  False: that was all. */
static bool
permuted_next (uint64_t n, uint64_t *ret)
{
  unsigned bits = 1;
  uint64_t mask;

  while (UINT64_C (1) << bits < n)
    bits++;
  mask = (UINT64_C (1) << bits) - 1;
  while (next_index <= mask) {
    uint64_t x = (next_index++ + seed) & mask;

    for (unsigned i = 0; i < 3; ++i) {
      x = x * UINT64_C (0x9e3779b97f4a7c15) & mask;
      x ^= x >> (bits + 1) / 2;
    }
    if (x < n) {
      *ret = x;
      return true;
    }
  }
  return false;
}

/* False: there is nothing left to ask for. */
static bool
next_request (unsigned slot, struct request *request)
{
  uint64_t offset;
  uint32_t length = block;

  if (sequential) {
    if (next_offset >= area_length)
      return false;
    offset = next_offset;
    if (area_length - offset < length)
      length = area_length - offset;
    next_offset += length;
  }
  else if (once) {
    if (!permuted_next (area_length / block, &offset))
      return false;
    offset *= block;
  }
  else
    offset = random_next () % (area_length / block) * block;

  slots[slot].offset = offset;
  slots[slot].length = length;
  if (log_file)
    slots[slot].sent = now ();
  *request = (struct request) {
    .magic = htobe32 (REQUEST_MAGIC), .type = htobe16 (writing ? CMD_WRITE : CMD_READ), .cookie = htobe64 (slot),
    .offset = htobe64 (area_start + offset), .length = htobe32 (length),
  };
  n_sent++;
  return true;
}

/* The slot that became free; MAX_DEPTH: none yet, since its FLUSH is on the way. */
static unsigned
check_reply (const struct reply *reply)
{
  const uint64_t slot = be64toh (reply->cookie);

  if (be32toh (reply->magic) != SIMPLE_MAGIC || slot >= depth)
    fail_protocol ("the server's reply makes no sense");
  if (reply->error) {
    fprintf (stderr, "nbdload: %s %" PRIu32 " bytes at %" PRIu64 ": error %" PRIu32 "\n",
             writing ? "writing" : "reading", slots[slot].length, area_start + slots[slot].offset,
             be32toh (reply->error));
    exit (EXIT_FAILURE);
  }
  if (flushing && !slots[slot].in_flush) {
    const struct request flush = {
      .magic = htobe32 (REQUEST_MAGIC), .type = htobe16 (CMD_FLUSH), .cookie = reply->cookie,
    };

    send_all (&flush, sizeof flush);
    slots[slot].in_flush = true;
    return MAX_DEPTH;
  }
  slots[slot].in_flush = false;
  if (log_file) {
    const double times[2] = { slots[slot].sent, now () };

    fwrite (times, sizeof times, 1, log_file);
  }
  n_received++;
  n_bytes += slots[slot].length;
  return slot;
}

/* Waits for at least one reply.  Writes the slots that became free; returns how many. */
static unsigned
receive_small (char *stage, unsigned freed[MAX_DEPTH])
{
  static size_t have;
  const size_t bytes = sizeof (struct reply) + (writing ? 0 : block);
  size_t used = 0;
  unsigned n = 0;

  while (n == 0) {
    const ssize_t r = recv (sock, stage + have, STAGE - have, 0);

    if (r == -1)
      fail ("recv");
    if (r == 0)
      fail_protocol ("the server has closed the connection");
    have += (size_t) r;
    while (have - used >= bytes) {
      struct reply reply;
      unsigned slot;

      memcpy (&reply, stage + used, sizeof reply);
      slot = check_reply (&reply);
      if (slot != MAX_DEPTH)
        freed[n++] = slot;
      used += bytes;
    }
  }
  have -= used;
  memmove (stage, stage + used, have);
  return n;
}

static unsigned
receive_large (char *stage, unsigned freed[MAX_DEPTH])
{
  struct reply reply;
  unsigned slot;

  receive_all (&reply, sizeof reply);
  slot = check_reply (&reply);
  stage += (size_t) slot * block;
  receive_all (stage, slots[slot].length);
  if (content && memcmp (stage, content + slots[slot].offset, slots[slot].length) != 0) {
    fprintf (stderr, "nbdload: the bytes at %" PRIu64 " differ\n", slots[slot].offset);
    exit (EXIT_FAILURE);
  }
  freed[0] = slot;
  return 1;
}

/* Every slot that is free gets a request; all go out in one piece. */
static void
fill_slots (const unsigned freed[MAX_DEPTH], unsigned n)
{
  struct request requests[MAX_DEPTH];
  struct iovec vector[2 * MAX_DEPTH];
  unsigned k = 0;

  while (k < n && next_request (freed[k], &requests[k])) {
    vector[2 * k] = (struct iovec) { .iov_base = &requests[k], .iov_len = sizeof requests[k] };
    vector[2 * k + 1] = (struct iovec) { .iov_base = payload, .iov_len = slots[freed[k]].length };
    k++;
  }
  if (k > 0 && writing)
    send_vector (vector, 2 * k);
  else if (k > 0)
    send_all (requests, k * sizeof requests[0]);
}

static void
run (double connecting)
{
  const bool small = writing || (!sequential && block <= SMALL);
  char *stage = malloc (small ? STAGE : (size_t) depth * block);
  unsigned freed[MAX_DEPTH];
  unsigned n = depth;
  double start, end, first = 0;

  if (stage == NULL)
    fail ("malloc");
  /* The pages exist before the clock runs. */
  memset (stage, 1, small ? STAGE : (size_t) depth * block);
  for (unsigned i = 0; i < depth; ++i)
    freed[i] = i;

  start = now ();
  fill_slots (freed, n);
  end = start;
  while (n_received < n_sent) {
    n = small ? receive_small (stage, freed) : receive_large (stage, freed);
    end = now ();
    if (first == 0)
      first = end - connecting;
    if (!terminated && (sequential || end - start < seconds))
      fill_slots (freed, n);
  }

  printf ("requests=%" PRIu64 "\nbytes=%" PRIu64 "\nseconds=%.6f\nstarted=%.6f\nended=%.6f\nfirst=%.6f\n", n_received,
          n_bytes, end - start, start, end, first);
  free (stage);
}

static void
read_area (char *buf)
{
  const struct request request = {
    .magic = htobe32 (REQUEST_MAGIC), .type = htobe16 (CMD_READ), .offset = htobe64 (area_start),
    .length = htobe32 ((uint32_t) area_length),
  };
  struct reply reply;

  send_all (&request, sizeof request);
  receive_all (&reply, sizeof reply);
  if (be32toh (reply.magic) != SIMPLE_MAGIC || reply.error)
    fail_protocol ("the area cannot be read");
  receive_all (buf, area_length);
}

static void
watch (void)
{
  const struct timespec pause = { .tv_nsec = 500000 };
  char *first = malloc (area_length), *buf = malloc (area_length);
  double end;

  if (first == NULL || buf == NULL)
    fail ("malloc");
  read_area (first);
  printf ("ready=%.6f\n", now ());
  fflush (stdout);
  end = now () + seconds;
  do {
    if (terminated || now () >= end)
      fail_protocol ("nothing has changed");
    nanosleep (&pause, NULL);
    read_area (buf);
  } while (memcmp (first, buf, area_length) == 0);
  printf ("changed=%.6f\n", now ());
  free (first);
  free (buf);
}

/* ---- parameters ---- */

static void
usage (void)
{
  fprintf (stderr, "usage: nbdload [-b BYTES] [-c FILE] [-e NAME] [-f] [-l FILE] [-o] [-q N] [-s SEED] [-t SECONDS]"
           " [-w SECONDS] SOCKET random|sequential|write-random|write-sequential|watch OFFSET LENGTH\n");
  exit (EXIT_FAILURE);
}

static void
map_content (void)
{
  const int fd = open (compare, O_RDONLY | O_CLOEXEC);
  struct stat st;
  void *p;

  if (fd == -1 || fstat (fd, &st) == -1)
    fail (compare);
  if ((uint64_t) st.st_size < area_length)
    fail_protocol ("the file to compare with is too short");
  p = mmap (NULL, area_length, PROT_READ, MAP_SHARED, fd, 0);
  if (p == MAP_FAILED)
    fail (compare);
  close (fd);
  content = p;
}

static void
terminate (int signal_number)
{
  terminated = 1;
}

/* Bytes without zeros, which nobody can store as less than they are. */
static void
make_payload (void)
{
  payload = malloc (block);
  if (payload == NULL)
    fail ("malloc");
  for (uint32_t i = 0; i < block; ++i)
    payload[i] = random_next () % 255 + 1;
}

int
main (int argc, char *argv[])
{
  const char *kind;
  const struct request disc = { .magic = htobe32 (REQUEST_MAGIC), .type = htobe16 (CMD_DISC) };
  const char *log_path = NULL;
  double connecting;
  bool watching;
  int c;

  while ((c = getopt (argc, argv, "b:c:e:fl:oq:s:t:w:")) != -1) {
    switch (c) {
    case 'b': block = strtoul (optarg, NULL, 10); break;
    case 'c': compare = optarg; break;
    case 'e': export = optarg; break;
    case 'f': flushing = true; break;
    case 'l': log_path = optarg; break;
    case 'o': once = true; break;
    case 'q': depth = strtoul (optarg, NULL, 10); break;
    case 's': seed = strtoull (optarg, NULL, 10); break;
    case 't': seconds = strtod (optarg, NULL); break;
    case 'w': wait_seconds = strtod (optarg, NULL); break;
    default: usage ();
    }
  }
  if (argc - optind != 4)
    usage ();
  kind = argv[optind + 1];
  writing = strncmp (kind, "write-", 6) == 0;
  if (writing)
    kind += 6;
  watching = !writing && strcmp (kind, "watch") == 0;
  sequential = strcmp (kind, "sequential") == 0;
  if (!sequential && !watching && strcmp (kind, "random") != 0)
    usage ();
  area_start = strtoull (argv[optind + 2], NULL, 10);
  area_length = strtoull (argv[optind + 3], NULL, 10);
  if (block == 0 || block > (32u << 20) || depth == 0 || depth > MAX_DEPTH || seed == 0 || area_length == 0 ||
      (!sequential && !watching && area_length < block) || (compare && (writing || !sequential)) ||
      (flushing && !writing) || (once && (!writing || sequential)) || (watching && area_length > (32u << 20)))
    usage ();
  if (writing)
    make_payload ();
  if (compare)
    map_content ();
  if (log_path && (log_file = fopen (log_path, "wbe")) == NULL)
    fail (log_path);
  sigaction (SIGTERM, &(struct sigaction) { .sa_handler = terminate, .sa_flags = SA_RESTART }, NULL);

  connecting = now ();
  connect_to (argv[optind]);
  handshake ();
  if (watching)
    watch ();
  else
    run (connecting);
  if (log_file && fclose (log_file) != 0)
    fail (log_path);
  send_all (&disc, sizeof disc);
  close (sock);
  return EXIT_SUCCESS;
}
