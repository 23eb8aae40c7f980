/* SPDX-License-Identifier: BSD-3-Clause */
/* Listings and looks at one item; and the removal of what broken-off uploads have left, which listings show. */

#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "cleanup.h"
#include "rclone.h"

#define LONGEST_LISTING (400 * 1024 * 1024)

/* One entry of a listing; name is the answer's. */
struct listed {
  const char *name;
  struct json_object *entry;
  bool is_folder;
};

static void
finish_list (struct rclone_flow *flow, enum cloud_result result, const char *sentence)
{
  flow->list_sink->done (flow->opaque, result, sentence);
}

static int
compare (const void *a, const void *b)
{
  const struct listed *one = a, *other = b;
  const int r = strcmp (one->name, other->name);

  /* A folder before a file of its name. */
  return r != 0 ? r : (int) other->is_folder - (int) one->is_folder;
}

/* Names that people can read. */
static void
leave_out (struct rclone_flow *flow, const char *name, const char *why)
{
  CLEANUP_FREE char *plain = malloc (strlen (name) * 3 + 1);
  char *to = plain;

  if (plain == NULL)
    return;
  for (; *name; name++)
    if ((unsigned char) *name < 0x20 || *name == 0x7f)
      to += sprintf (to, "%%%02X", (unsigned char) *name);
    else
      *to++ = *name;
  *to = '\0';
  flow->list_sink->left_out (flow->opaque, *plain ? plain : "(no name)", why);
}

static enum cloud_result
give_item (struct rclone_flow *flow, const struct listed *listed, const struct timespec *now)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  const char *name, *why;
  const int r = rclone_entry_read (listed->entry, &flow->features, &seen, &name, &why);
  struct cloud_item item;

  if (r == -1)
    return why ? rclone_flow_fail (flow, CLOUD_BAD, flow->path, "rclone's listing has %s", why) :
      rclone_flow_no_memory (flow);
  if (r == 1 || *name == '\0') {
    leave_out (flow, name, why ? why : "it has no name");
    return CLOUD_OK;
  }
  item = rclone_seen_item (&seen, name, &flow->features, now);
  flow->list_sink->item (flow->opaque, &item);
  return CLOUD_OK;
}

/* Clouds that know files by numbers may have several of one name: rclone reaches one of them. */
static enum cloud_result
give_all (struct rclone_flow *flow, struct listed *list, size_t n)
{
  CLEANUP_FREE char **left = calloc (n + 1, sizeof *left);
  enum cloud_result result = CLOUD_OK;
  struct timespec now;
  size_t nr_left = 0;

  if (left == NULL)
    return rclone_flow_no_memory (flow);
  clock_gettime (CLOCK_REALTIME, &now);
  qsort (list, n, sizeof *list, compare);
  for (size_t i = 0; i < n && result == CLOUD_OK; i++) {
    if (rclone_is_own (list[i].name)) {
      if (localitem_is_own (list[i].name) == LOCALITEM_UPLOAD)
        left[nr_left++] = (char *) list[i].name;
    }
    else if (i > 0 && strcmp (list[i].name, list[i - 1].name) == 0)
      leave_out (flow, list[i].name, "there is another item of the same name");
    else
      result = give_item (flow, &list[i], &now);
  }
  if (result == CLOUD_OK && nr_left > 0)
    rclone_sweep (flow->rclone, flow->path, left, nr_left);
  return result;
}

static enum cloud_result
list_children (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_CALL struct rclone_call call;
  CLEANUP_FREE struct listed *list = NULL;
  struct json_object *array;
  size_t n;

  rclone_call_init (&call, flow->rclone, "operations/list", flow->path);
  call.longest = LONGEST_LISTING;
  rclone_call_item (&call, flow->path);
  rclone_call_listing (&call, &flow->features);
  if (rclone_call_run (&call) != CLOUD_OK)
    return rclone_flow_refuse (flow, &call);
  if (!json_object_object_get_ex (call.out, "list", &array) ||
      (array && !json_object_is_type (array, json_type_array)))
    return rclone_flow_fail (flow, CLOUD_BAD, flow->path, "this does not answer like rclone's remote control");
  n = array ? json_object_array_length (array) : 0;
  if (!flow->features.empty_folders && n == 0 && *flow->path != '\0')
    return rclone_flow_fail (flow, CLOUD_GONE, flow->path, "there is no such folder");
  list = calloc (n + 1, sizeof *list);
  if (list == NULL)
    return rclone_flow_no_memory (flow);
  for (size_t i = 0; i < n; i++) {
    struct json_object *name, *folder;

    list[i].entry = json_object_array_get_idx (array, i);
    if (!json_object_is_type (list[i].entry, json_type_object) ||
        !json_object_object_get_ex (list[i].entry, "Name", &name) || !json_object_is_type (name, json_type_string))
      return rclone_flow_fail (flow, CLOUD_BAD, flow->path, "rclone's listing has an item without a name");
    list[i].name = json_object_get_string (name);
    list[i].is_folder = json_object_object_get_ex (list[i].entry, "IsDir", &folder) &&
      json_object_is_type (folder, json_type_boolean) && json_object_get_boolean (folder);
  }
  return give_all (flow, list, n);
}

static enum cloud_result
look (struct rclone_flow *flow)
{
  CLEANUP_RCLONE_SEEN struct rclone_seen seen = { .what = RCLONE_NOTHING };
  enum cloud_result result = rclone_flow_look (flow, flow->path, &seen);
  struct timespec now;
  struct cloud_item item;

  if (result == CLOUD_OK && seen.what == RCLONE_NOTHING)
    result = rclone_flow_fail (flow, CLOUD_GONE, flow->path, "there is no such item");
  if (result != CLOUD_OK)
    return result;
  clock_gettime (CLOCK_REALTIME, &now);
  item = rclone_seen_item (&seen, "", &flow->features, &now);
  flow->list_sink->item (flow->opaque, &item);
  return CLOUD_OK;
}

void
rclone_list (struct cloud *cloud, const char *path, int depth, const struct cloud_list_sink *sink, void *opaque)
{
  struct rclone_flow *flow = rclone_flow_new ((struct rclone *) cloud, path, opaque);

  if (flow == NULL) {
    sink->done (opaque, CLOUD_LOCAL, "out of memory");
    return;
  }
  flow->list_sink = sink;
  flow->finish = finish_list;
  rclone_flow_begin (flow, RCLONE_READS, depth == 0 ? look : list_children);
}

/* ---- what was left ---- */

bool
rclone_upload_is_under_way (struct rclone *rclone, const char *name)
{
  LOCK_FOR_SCOPE (&rclone->lock);
  for (const struct rclone_upload *upload = rclone->uploads; upload; upload = upload->next)
    if (strcmp (upload->name, name) == 0)
      return true;
  return false;
}

/* Of this process, or of an earlier one of the same cache; others' may be under way. */
void
rclone_sweep (struct rclone *rclone, const char *folder, char *const *names, size_t n)
{
  const struct localitem_maker maker = { .instance = rclone->cloud.owner, .run = rclone->run };
  char ours[LOCALITEM_OWN_SIZE];
  const size_t prefix = strlen (".cloudshare-upload-") + 16;

  if (!atomic_load (&rclone->writing))
    return;
  localitem_upload_name (&maker, ours);
  for (size_t i = 0; i < n; i++) {
    CLEANUP_FREE char *path = rclone_join (folder, names[i]);
    const bool is_ours = strlen (names[i]) == strlen (ours) && strncmp (names[i], ours, prefix) == 0;

    if (path && (localitem_is_left (names[i], &maker) ||
                 (is_ours && !rclone_upload_is_under_way (rclone, names[i]))))
      rclone_flow_discard (rclone, path);
  }
}
