/* SPDX-License-Identifier: BSD-3-Clause */
/* A folder that is a remote's root, and a way to open what is below it that never leaves it.
 *
 * Whoever may write below the root may put symbolic links there, also while we walk: a link is never followed, neither
 * as the last name nor as one in the middle, so nothing outside the root can be read through us.
 *
 * No file descriptor is kept between calls: one would keep the file system from being unmounted, and would go on
 * showing a folder that has been replaced.  So the root is opened anew by its real path for each use, and must still be
 * what it was: where an unmounted disk leaves its empty mount point, an empty root would look like "all was deleted".
 *
 * A struct rootdir never changes after rootdir_new: any thread may use it.
 */

#ifndef CLOUDSHARE_ROOTDIR_H
#define CLOUDSHARE_ROOTDIR_H

struct rootdir;

/* Finds the folder and remembers what it is.  One that is missing may come back, e.g. when its disk is mounted: until then
 * rootdir_open says ENOENT.  NULL after one message when it is no folder, or not readable. */
extern struct rootdir *rootdir_new (const char *path);
extern void rootdir_free (struct rootdir *root);

/* Its real path: no symbolic link, no "." or ".." in it. */
extern const char *rootdir_path (const struct rootdir *root);

/* Opens the root itself (O_PATH).  -1 with errno and without a message; ENODEV: there is a folder at its path, but
 * another one, on another file system than before: something was unmounted, or mounted over it. */
extern int rootdir_open (const struct rootdir *root);

/* Opens a path relative to root_fd (from rootdir_open); "" is the root.  flags are open's (no O_CREAT); O_CLOEXEC and
 * O_NOFOLLOW are added.  -1 with errno and without a message: ELOOP or ENOTDIR where a symbolic link is in the way, and
 * ENOENT for a path with empty, "." or ".." names. */
extern int rootdir_open_below (int root_fd, const char *path, int flags);

#endif /* CLOUDSHARE_ROOTDIR_H */
