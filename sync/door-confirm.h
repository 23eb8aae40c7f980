/* SPDX-License-Identifier: BSD-3-Clause */
/* Tells AWS's SNS that we want its messages: the one request that one from outside can cause. */

#ifndef CLOUDSHARE_DOOR_CONFIRM_H
#define CLOUDSHARE_DOOR_CONFIRM_H

struct door_confirm;

/* NULL after one message. */
extern struct door_confirm *door_confirm_new (const char *cainfo);

/* Fetches the URL, if it is AWS's (door_event_may_confirm), one at a time and not often.  One thread at a time; the request
 * itself ends on another. */
extern void door_confirm_ask (struct door_confirm *confirm, const char *url);

/* Ends what is under way.  confirm may be NULL. */
extern void door_confirm_free (struct door_confirm *confirm);

#endif /* CLOUDSHARE_DOOR_CONFIRM_H */
