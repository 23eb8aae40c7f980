/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk of the running server in libvirt's words. */

#include <config.h>

#include <stdio.h>
#include <string.h>

#include <json-c/json.h>

#include "libvirt.h"
#include "show.h"

/* virtio-blk and USB tell the guest 20 characters at most. */
#define MAX_SERIAL 20

static bool
is_true (struct json_object *object, const char *key)
{
  return json_object_get_boolean (json_object_object_get (object, key));
}

static bool
is_unix (struct json_object *reply)
{
  return strcmp (show_string (reply, "transport"), "unix") == 0;
}

/* Where the server takes both, a local socket needs no TLS, and a network does. */
static bool
wants_tls (struct json_object *reply)
{
  const char *tls = show_string (reply, "tls");

  return strcmp (tls, "require") == 0 || (strcmp (tls, "on") == 0 && !is_unix (reply));
}

static void
add_string (struct json_object *object, const char *key, const char *text)
{
  json_object_object_add (object, key, json_object_new_string (text));
}

/* The host's page cache has no part in it: the server has its own cache, and libvirt migrates guests without it only.  Requests of
 * NBD are always asynchronous, so io= would mean nothing.  Zeros become holes, which neither the overlay nor an upload has to carry.
 * A guest pauses where it would get an I/O error otherwise: while the server is restarted, or has no room. */
static struct json_object *
driver_of (bool read_only)
{
  struct json_object *driver = json_object_new_object ();

  add_string (driver, "name", "qemu");
  add_string (driver, "type", "raw");
  add_string (driver, "cache", "none");
  if (!read_only) {
    add_string (driver, "discard", "unmap");
    add_string (driver, "detect_zeroes", "unmap");
  }
  add_string (driver, "error_policy", "stop");
  add_string (driver, "rerror_policy", "stop");
  return driver;
}

void
libvirt_complete (struct json_object *reply, bool usb)
{
  const char *name = show_string (reply, "name"), *slash = strrchr (name, '/');
  const char *disk = slash ? slash + 1 : name;

  if (!is_true (reply, "ok"))
    return;
  add_string (reply, "bus", usb ? "usb" : "virtio");
  add_string (reply, "target", usb ? "sda" : "vdb");
  json_object_object_add (reply, "removable", json_object_new_boolean (usb));
  json_object_object_add (reply, "serial", json_object_new_string_len (disk, (int) strnlen (disk, MAX_SERIAL)));
  json_object_object_add (reply, "driver", driver_of (is_true (reply, "read_only")));
  /* A certificate is a host's, and a socket has no host. */
  if (wants_tls (reply) && is_unix (reply))
    add_string (reply, "tls_hostname", "localhost");
}

/* A value of an attribute, with its quotes. */
static void
print_attribute (const char *name, const char *value)
{
  printf (" %s='", name);
  for (; *value; ++value)
    switch (*value) {
    case '&':
      fputs ("&amp;", stdout);
      break;
    case '<':
      fputs ("&lt;", stdout);
      break;
    case '\'':
      fputs ("&apos;", stdout);
      break;
    default:
      putchar (*value);
    }
  putchar ('\'');
}

static void
print_host (struct json_object *reply)
{
  fputs ("    <host", stdout);
  if (is_unix (reply)) {
    print_attribute ("transport", "unix");
    print_attribute ("socket", show_string (reply, "socket"));
  }
  else {
    print_attribute ("name", show_string (reply, "host"));
    printf (" port='%d'", (int) show_int (reply, "port"));
  }
  puts ("/>");
}

/* What has to be known besides, at the place where it is used. */
static void
print_comments (struct json_object *reply)
{
  struct json_object *uid = json_object_object_get (reply, "uid");

  if (is_true (reply, "any_address"))
    puts ("  <!-- The server listens at all addresses of its host: give that host's name, unless the guest runs there too. -->");
  if (wants_tls (reply))
    puts ("  <!-- TLS: qemu.conf has the folder of the certificates, nbd_tls_x509_cert_dir. -->");
  if (is_true (reply, "certificate"))
    puts ("  <!-- The rules want the client's certificate to have the name that vm= says. -->");
  if (uid)
    printf ("  <!-- The rules want QEMU to run as the user with id %lld. -->\n", (long long) json_object_get_int64 (uid));
}

void
libvirt_print (struct json_object *reply)
{
  puts ("<disk type='network' device='disk'>");
  print_comments (reply);
  fputs ("  <driver", stdout);
  json_object_object_foreach (json_object_object_get (reply, "driver"), key, value)
    print_attribute (key, json_object_get_string (value));
  fputs ("/>\n  <source protocol='nbd'", stdout);
  print_attribute ("name", show_string (reply, "name"));
  if (wants_tls (reply))
    print_attribute ("tls", "yes");
  if (*show_string (reply, "tls_hostname"))
    print_attribute ("tlsHostname", show_string (reply, "tls_hostname"));
  puts (">");
  print_host (reply);
  fputs ("  </source>\n  <target", stdout);
  print_attribute ("dev", show_string (reply, "target"));
  print_attribute ("bus", show_string (reply, "bus"));
  if (is_true (reply, "removable"))
    print_attribute ("removable", "on");
  puts ("/>");
  if (is_true (reply, "read_only"))
    puts ("  <readonly/>");
  fputs ("  <serial>", stdout);
  /* A disk's name: nothing in it needs another spelling. */
  fputs (show_string (reply, "serial"), stdout);
  puts ("</serial>\n</disk>");
}
