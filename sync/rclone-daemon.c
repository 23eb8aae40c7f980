/* SPDX-License-Identifier: BSD-3-Clause */
/* The rclone that the provider starts: one thread keeps it running and reads what it prints. */

#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/evp.h>

#include "cleanup.h"
#include "msg.h"
#include "rclone-daemon.h"
#include "rclone-text.h"

/* So long start waits for it. */
#define READY_MS 15000

/* One that ended earlier than this is started again later and later. */
#define SOUND_MS 20000
#define FIRST_PAUSE_MS 500
#define LONGEST_PAUSE_MS 30000

/* So long it may take to end by itself. */
#define END_MS 3000

/* Of one line that it prints. */
#define LONGEST_LINE 2000

extern char **environ;

struct rclone_daemon {
  char *config_file;
  unsigned timeout_s;
  int wake_fd;                 /* an eventfd: the thread is to end */
  pthread_t thread;
  bool has_thread;

  /* The thread's own. */
  pid_t pid;
  int out_fd;                  /* what it prints */
  char line[LONGEST_LINE + 1];
  size_t line_len;
  char secret[2][33];          /* user and password */

  /* Protects the members below.  Nothing else is locked under it. */
  pthread_mutex_t lock;
  pthread_cond_t cond;         /* some of it has changed */
  bool stopping;
  unsigned starts;
  struct rclone_access access; /* url NULL: not ready */
  bool failed;                 /* the last one has ended, or could not be started */
  char *last;                  /* why: what it printed last, or a sentence of ours; or NULL */
};

void
rclone_access_clear (struct rclone_access *access)
{
  free (access->url);
  free (access->header);
  *access = (struct rclone_access) { NULL };
}

static int64_t
now_ms (void)
{
  struct timespec now;

  clock_gettime (CLOCK_MONOTONIC, &now);
  return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- its environment ---- */

/* What would let it listen elsewhere or without a password, print elsewhere or otherwise, hide files, or only pretend. */
static const char *const unwanted[] = {
  "RCLONE_RC", "RCLONE_LOG_FILE=", "RCLONE_LOG_FORMAT=", "RCLONE_LOG_LEVEL=", "RCLONE_USE_JSON_LOG=", "RCLONE_SYSLOG",
  "RCLONE_LOG_SYSTEMD=", "RCLONE_VERBOSE=", "RCLONE_QUIET=", "RCLONE_PROGRESS", "RCLONE_DRY_RUN=", "RCLONE_INTERACTIVE=",
  "RCLONE_IMMUTABLE=", "RCLONE_IGNORE_EXISTING=", "RCLONE_UPDATE=", "RCLONE_SIZE_ONLY=", "RCLONE_BACKUP_DIR=",
  "RCLONE_SUFFIX", "RCLONE_COMPARE_DEST=", "RCLONE_COPY_DEST=", "RCLONE_FILTER", "RCLONE_EXCLUDE", "RCLONE_INCLUDE",
  "RCLONE_FILES_FROM", "RCLONE_MIN_", "RCLONE_MAX_AGE", "RCLONE_MAX_SIZE", "RCLONE_MAX_TRANSFER", "RCLONE_MAX_DURATION",
  "RCLONE_NO_CHECK_DEST=", "RCLONE_INPLACE=", "RCLONE_BWLIMIT=", "RCLONE_ASK_PASSWORD=", "RCLONE_CPUPROFILE=",
  "RCLONE_MEMPROFILE=", "RCLONE_DEFAULT_TIME=", "NOTIFY_SOCKET=",
};

static bool
is_unwanted (const char *variable)
{
  for (size_t i = 0; i < sizeof unwanted / sizeof unwanted[0]; i++)
    if (strncmp (variable, unwanted[i], strlen (unwanted[i])) == 0)
      return true;
  return false;
}

static void
free_environment (char **list)
{
  for (size_t i = 0; list && list[i]; i++)
    free (list[i]);
  free (list);
}

#define EXTRA 12

static char **
make_environment (const struct rclone_daemon *daemon)
{
  size_t n = 0;
  char **list;
  int r = 0;

  while (environ[n])
    n++;
  list = calloc (n + EXTRA, sizeof *list);
  if (list == NULL)
    return NULL;
  n = 0;
  for (size_t i = 0; environ[i]; i++)
    if (!is_unwanted (environ[i]) && (daemon->config_file == NULL || strncmp (environ[i], "RCLONE_CONFIG=", 14) != 0) &&
        (list[n++] = strdup (environ[i])) == NULL)
      r = -1;

#define ADD(...) r = r == -1 || asprintf (&list[n], __VA_ARGS__) == -1 ? (list[n] = NULL, -1) : (n++, 0)
  ADD ("RCLONE_RC_USER=%s", daemon->secret[0]);
  ADD ("RCLONE_RC_PASS=%s", daemon->secret[1]);
  ADD ("RCLONE_ASK_PASSWORD=false");
  if (daemon->config_file)
    ADD ("RCLONE_CONFIG=%s", daemon->config_file);
  /* Its own are so long (5 minutes, 10 times) that an outage would be noticed by nobody. */
  if (getenv ("RCLONE_TIMEOUT") == NULL)
    ADD ("RCLONE_TIMEOUT=%us", daemon->timeout_s);
  if (getenv ("RCLONE_CONTIMEOUT") == NULL)
    ADD ("RCLONE_CONTIMEOUT=%us", daemon->timeout_s);
  if (getenv ("RCLONE_LOW_LEVEL_RETRIES") == NULL)
    ADD ("RCLONE_LOW_LEVEL_RETRIES=3");
#undef ADD

  if (r == -1) {
    free_environment (list);
    return NULL;
  }
  return list;
}

static int
make_secrets (struct rclone_daemon *daemon)
{
  unsigned char bytes[2][16];

  if (getrandom (bytes, sizeof bytes, 0) != sizeof bytes)
    return -1;
  for (size_t k = 0; k < 2; k++)
    for (size_t i = 0; i < sizeof bytes[k]; i++)
      snprintf (daemon->secret[k] + 2 * i, 3, "%02x", bytes[k][i]);
  return 0;
}

static char *
make_header (const struct rclone_daemon *daemon)
{
  char plain[80], *header = NULL;
  unsigned char encoded[128];
  const int n = snprintf (plain, sizeof plain, "%s:%s", daemon->secret[0], daemon->secret[1]);

  EVP_EncodeBlock (encoded, (const unsigned char *) plain, n);
  return asprintf (&header, "Authorization: Basic %s", (const char *) encoded) == -1 ? NULL : header;
}

/* ---- starting it ---- */

/* In the child, between fork and exec: only what is async-signal-safe. */
static void __attribute__ ((noreturn))
run_child (pid_t parent, int out_fd, int error_fd, char **environment)
{
  static char *const argv[] = { "rclone", "rcd", "--rc-serve", "--rc-addr", "127.0.0.1:0", NULL };
  struct sigaction action = { .sa_handler = SIG_DFL };
  sigset_t none;
  int error, null_fd;

  /* However this process ends, rclone ends with it.  The signal is sent when the thread that forked ends, and that is
   * the one that keeps rclone. */
  if (prctl (PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid () != parent)
    _exit (127);
  setsid ();
  sigemptyset (&action.sa_mask);
  for (int signal = 1; signal < NSIG; signal++)
    sigaction (signal, &action, NULL);
  sigemptyset (&none);
  sigprocmask (SIG_SETMASK, &none, NULL);
  null_fd = open ("/dev/null", O_RDWR);
  if (null_fd != -1 && dup2 (null_fd, 0) != -1 && dup2 (null_fd, 1) != -1 && dup2 (out_fd, 2) != -1) {
    /* Whatever else is open here is not its business: disks, databases, connections. */
    syscall (SYS_close_range, 3U, ~0U, 4U /* CLOSE_RANGE_CLOEXEC */);
    environ = environment;
    execvp (argv[0], argv);
  }
  error = errno;
  if (write (error_fd, &error, sizeof error) == -1)
    _exit (126);
  _exit (127);
}

static void
set_failed (struct rclone_daemon *daemon, const char *sentence)
{
  LOCK_FOR_SCOPE (&daemon->lock);
  daemon->failed = true;
  rclone_access_clear (&daemon->access);
  if (sentence) {
    free (daemon->last);
    daemon->last = strdup (sentence);
  }
  pthread_cond_broadcast (&daemon->cond);
}

/* -1: it could not be started, and daemon->last says why. */
static int
spawn (struct rclone_daemon *daemon)
{
  CLEANUP_CLOSE int out_write = -1, error_read = -1, error_write = -1;
  int out[2], errors[2], error;
  const pid_t parent = getpid ();
  char **environment;

  if (make_secrets (daemon) == -1 || (environment = make_environment (daemon)) == NULL) {
    set_failed (daemon, "out of memory");
    return -1;
  }
  if (pipe2 (out, O_CLOEXEC) == -1) {
    free_environment (environment);
    set_failed (daemon, "there are too many open files");
    return -1;
  }
  daemon->out_fd = out[0];
  out_write = out[1];
  if (pipe2 (errors, O_CLOEXEC) == 0) {
    error_read = errors[0];
    error_write = errors[1];
    daemon->pid = fork ();
    if (daemon->pid == 0)
      run_child (parent, out_write, error_write, environment);
  }
  free_environment (environment);
  if (daemon->pid > 0) {
    ssize_t n;

    close (error_write);
    error_write = -1;
    do
      n = read (error_read, &error, sizeof error);
    while (n == -1 && errno == EINTR);
    if (n == 0) {
      fcntl (daemon->out_fd, F_SETFL, O_NONBLOCK);
      daemon->line_len = 0;
      LOCK_FOR_SCOPE (&daemon->lock);
      daemon->starts++;
      return 0;
    }
    waitpid (daemon->pid, NULL, 0);
    set_failed (daemon, n == sizeof error && error == ENOENT ?
                "rclone is not installed (the package is called rclone); or give rclone-url= of one that runs" :
                "rclone cannot be run");
  }
  else
    set_failed (daemon, "there is no room for another process");
  daemon->pid = 0;
  close (daemon->out_fd);
  daemon->out_fd = -1;
  return -1;
}

/* ---- what it prints ---- */

static void
take_line (struct rclone_daemon *daemon)
{
  CLEANUP_FREE char *address = NULL, *text = NULL;

  daemon->line[daemon->line_len] = '\0';
  daemon->line_len = 0;
  if (daemon->line[strspn (daemon->line, " \t\r")] == '\0')
    return;
  address = rclone_line_address (daemon->line);
  if (address) {
    char *header = make_header (daemon);

    LOCK_FOR_SCOPE (&daemon->lock);
    if (header && daemon->access.url == NULL) {
      daemon->access = (struct rclone_access) { address, header };
      daemon->failed = false;
      free (daemon->last);
      daemon->last = NULL;
      address = header = NULL;
    }
    free (header);
    pthread_cond_broadcast (&daemon->cond);
    return;
  }
  text = rclone_error_clean (rclone_line_text (daemon->line));
  if (text == NULL)
    return;
  msg_debug ("rclone: %s", text);
  LOCK_FOR_SCOPE (&daemon->lock);
  /* Each request that fails is told, too. */
  if (daemon->access.url && rclone_line_is_routine (daemon->line))
    return;
  free (daemon->last);
  daemon->last = text;
  text = NULL;
}

/* False: it has closed its end. */
static bool
read_lines (struct rclone_daemon *daemon)
{
  char buf[4096];
  const ssize_t n = read (daemon->out_fd, buf, sizeof buf);

  if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
    return false;
  for (ssize_t i = 0; i < n; i++)
    if (buf[i] == '\n')
      take_line (daemon);
    else if (daemon->line_len < LONGEST_LINE)
      daemon->line[daemon->line_len++] = buf[i];
  return true;
}

/* ---- its life ---- */

/* Waits for something to read, or to be woken.  True: the thread is to end. */
static bool
wait_for (struct rclone_daemon *daemon, int fd, int timeout_ms)
{
  struct pollfd fds[2] = { { .fd = daemon->wake_fd, .events = POLLIN }, { .fd = fd, .events = POLLIN } };

  poll (fds, 2, timeout_ms);
  return fds[0].revents != 0;
}

/* Waits up to timeout_ms.  False: it runs on. */
static bool
has_ended (struct rclone_daemon *daemon, int timeout_ms)
{
  const int64_t until = now_ms () + timeout_ms;

  for (;;) {
    const pid_t r = waitpid (daemon->pid, NULL, WNOHANG);

    if (r == daemon->pid || (r == -1 && errno == ECHILD))
      return true;
    if (now_ms () >= until)
      return false;
    poll (NULL, 0, 10);
  }
}

static void
end_it (struct rclone_daemon *daemon, int signal)
{
  kill (daemon->pid, signal);
  if (!has_ended (daemon, END_MS)) {
    kill (daemon->pid, SIGKILL);
    while (waitpid (daemon->pid, NULL, 0) == -1 && errno == EINTR)
      ;
  }
  daemon->pid = 0;
  close (daemon->out_fd);
  daemon->out_fd = -1;
}

static void *
daemon_thread (void *opaque)
{
  struct rclone_daemon *daemon = opaque;
  int pause_ms = FIRST_PAUSE_MS;

  for (;;) {
    const int64_t since = now_ms ();
    bool stop = false;

    if (spawn (daemon) == 0) {
      while (!(stop = wait_for (daemon, daemon->out_fd, -1)) && read_lines (daemon))
        ;
      set_failed (daemon, NULL);
      /* That it has closed its end does not mean that it is gone. */
      end_it (daemon, stop ? SIGTERM : SIGKILL);
    }
    if (stop)
      return NULL;
    if (now_ms () - since > SOUND_MS)
      pause_ms = FIRST_PAUSE_MS;
    if (wait_for (daemon, -1, pause_ms))
      return NULL;
    pause_ms = pause_ms * 2 < LONGEST_PAUSE_MS ? pause_ms * 2 : LONGEST_PAUSE_MS;
  }
}

struct rclone_daemon *
rclone_daemon_new (const char *config_file, unsigned timeout_s)
{
  struct rclone_daemon *daemon = calloc (1, sizeof *daemon);
  pthread_condattr_t attr;

  if (daemon == NULL)
    return NULL;
  daemon->out_fd = -1;
  daemon->timeout_s = timeout_s ? timeout_s : 30;
  daemon->wake_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
  daemon->config_file = config_file ? strdup (config_file) : NULL;
  if (daemon->wake_fd == -1 || (config_file && daemon->config_file == NULL)) {
    cleanup_close (&daemon->wake_fd);
    free (daemon->config_file);
    free (daemon);
    return NULL;
  }
  pthread_mutex_init (&daemon->lock, NULL);
  pthread_condattr_init (&attr);
  pthread_condattr_setclock (&attr, CLOCK_MONOTONIC);
  pthread_cond_init (&daemon->cond, &attr);
  pthread_condattr_destroy (&attr);
  return daemon;
}

int
rclone_daemon_start (struct rclone_daemon *daemon)
{
  struct timespec until;
  sigset_t all, before;
  eventfd_t count;
  int r;

  eventfd_read (daemon->wake_fd, &count);
  daemon->failed = daemon->stopping = false;
  sigfillset (&all);
  pthread_sigmask (SIG_SETMASK, &all, &before);
  r = pthread_create (&daemon->thread, NULL, daemon_thread, daemon);
  pthread_sigmask (SIG_SETMASK, &before, NULL);
  if (r != 0) {
    msg_error ("there is no room for another thread");
    return -1;
  }
  daemon->has_thread = true;
  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_sec += READY_MS / 1000;
  LOCK_FOR_SCOPE (&daemon->lock);
  while (daemon->access.url == NULL && !daemon->failed && !daemon->stopping)
    if (pthread_cond_timedwait (&daemon->cond, &daemon->lock, &until) != 0)
      break;
  return 0;
}

void
rclone_daemon_stop (struct rclone_daemon *daemon)
{
  if (!daemon->has_thread)
    return;
  {
    LOCK_FOR_SCOPE (&daemon->lock);
    daemon->stopping = true;
    pthread_cond_broadcast (&daemon->cond);
  }
  eventfd_write (daemon->wake_fd, 1);
  pthread_join (daemon->thread, NULL);
  daemon->has_thread = false;
}

void
rclone_daemon_free (struct rclone_daemon *daemon)
{
  if (daemon == NULL)
    return;
  rclone_daemon_stop (daemon);
  rclone_access_clear (&daemon->access);
  pthread_cond_destroy (&daemon->cond);
  pthread_mutex_destroy (&daemon->lock);
  cleanup_close (&daemon->wake_fd);
  free (daemon->config_file);
  free (daemon->last);
  free (daemon);
}

int
rclone_daemon_ask (struct rclone_daemon *daemon, struct rclone_access *access, char **ret_sentence)
{
  *access = (struct rclone_access) { NULL };
  *ret_sentence = NULL;
  LOCK_FOR_SCOPE (&daemon->lock);
  if (daemon->access.url) {
    access->url = strdup (daemon->access.url);
    access->header = strdup (daemon->access.header);
    if (access->url && access->header)
      return 0;
    rclone_access_clear (access);
    return -1;
  }
  if (!daemon->failed)
    *ret_sentence = strdup ("rclone is being started");
  else if (daemon->starts == 0 || daemon->last == NULL)
    *ret_sentence = strdup (daemon->last ? daemon->last : "rclone has ended, and is started again");
  else if (asprintf (ret_sentence, "rclone has ended, and is started again; it said: %s", daemon->last) == -1)
    *ret_sentence = NULL;
  return -1;
}

bool
rclone_daemon_wait (struct rclone_daemon *daemon, unsigned ms)
{
  struct timespec until;

  clock_gettime (CLOCK_MONOTONIC, &until);
  until.tv_nsec += (long) (ms % 1000) * 1000000;
  until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
  LOCK_FOR_SCOPE (&daemon->lock);
  /* One that has never run is not on its way back. */
  while (daemon->access.url == NULL && !daemon->stopping && daemon->starts > 0)
    if (pthread_cond_timedwait (&daemon->cond, &daemon->lock, &until) != 0)
      break;
  return daemon->access.url != NULL;
}

void
rclone_daemon_stop_waiting (struct rclone_daemon *daemon)
{
  LOCK_FOR_SCOPE (&daemon->lock);
  daemon->stopping = true;
  pthread_cond_broadcast (&daemon->cond);
}

unsigned
rclone_daemon_starts (struct rclone_daemon *daemon)
{
  LOCK_FOR_SCOPE (&daemon->lock);
  return daemon->starts;
}
