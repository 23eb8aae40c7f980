/* SPDX-License-Identifier: BSD-3-Clause */
/* A disk of the running server in libvirt's words.  What the server tells of itself and of the export is completed with what a
 * guest's disk should be like, and printed as the element <disk>. */

#ifndef CLOUDSHARE_LIBVIRT_H
#define CLOUDSHARE_LIBVIRT_H

#include <stdbool.h>

struct json_object;

/* Adds "bus", "target", "removable", "serial", "driver" and, with TLS, "tls_hostname", unless reply says that it failed. */
extern void libvirt_complete (struct json_object *reply, bool usb);

/* The element, from the members that libvirt_complete has completed. */
extern void libvirt_print (struct json_object *reply);

#endif /* CLOUDSHARE_LIBVIRT_H */
