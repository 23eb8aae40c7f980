# SPDX-License-Identifier: BSD-3-Clause

noinst_LTLIBRARIES = libsync.la

libsync_la_SOURCES = \
	sync/array.h \
	sync/blobs.h sync/blobs.c \
	sync/cache.h sync/cache.c \
	sync/cache-adopt.c \
	sync/cache-fetch.c \
	sync/cache-keeper.c \
	sync/cache-kin.c \
	sync/cache-private.h \
	sync/catalog.h sync/catalog.c \
	sync/change.h sync/change.c \
	sync/checksum.h sync/checksum.c \
	sync/cleanup.h \
	sync/cloud.h sync/cloud.c \
	sync/cloud-dir.c \
	sync/dir-private.h sync/dir-change.c sync/dir-left.c sync/dir-put.c sync/dir-ranges.c \
	sync/cloud-rclone.c \
	sync/cloud-s3.c \
	sync/cloud-webdav.c \
	sync/control.h sync/control.c \
	sync/davchange.h sync/davchange.c \
	sync/davmanners.h sync/davmanners.c \
	sync/davtext.h sync/davtext.c \
	sync/davxml.h sync/davxml.c \
	sync/conflict-name.h sync/conflict-name.c \
	sync/db.h sync/db.c \
	sync/door.h sync/door.c \
	sync/door-confirm.h sync/door-confirm.c \
	sync/door-event.h sync/door-event.c \
	sync/door-token.h sync/door-token.c \
	sync/engine.h sync/engine.c \
	sync/fileurl.h sync/fileurl.c \
	sync/fill.h sync/fill.c \
	sync/fsutil.h sync/fsutil.c \
	sync/health.h sync/health.c \
	sync/hints.h sync/hints.c \
	sync/http.h sync/http.c \
	sync/http-job.h sync/http-job.c \
	sync/http-url.h sync/http-url.c \
	sync/journal.h sync/journal.c sync/journal-status.c \
	sync/kin.h sync/kin.c \
	sync/known-folders.h sync/known-folders.c \
	sync/listing.h sync/listing.c \
	sync/local-tree.c \
	sync/localitem.h sync/localitem.c \
	sync/merge.h sync/merge.c \
	sync/msg.h sync/msg.c \
	sync/pull.h sync/pull.c \
	sync/pull-apply.c \
	sync/pull-match.h sync/pull-match.c \
	sync/pull-missing.c \
	sync/pull-private.h \
	sync/pull-tokens.c \
	sync/push.h sync/push.c \
	sync/push-circle.c \
	sync/push-judge.c \
	sync/push-next.c \
	sync/push-plan.h sync/push-plan.c \
	sync/push-private.h \
	sync/push-task.c \
	sync/ranges.h sync/ranges.c \
	sync/notify-push.h sync/notify-push.c \
	sync/rate.h sync/rate.c \
	sync/rootdir.h sync/rootdir.c \
	sync/rclone.h \
	sync/rclone-call.c \
	sync/rclone-change.c \
	sync/rclone-daemon.h sync/rclone-daemon.c \
	sync/rclone-error.c \
	sync/rclone-flow.c \
	sync/rclone-get.c \
	sync/rclone-list.c \
	sync/rclone-move.c \
	sync/rclone-put.c \
	sync/rclone-text.h sync/rclone-text.c \
	sync/s3.h \
	sync/s3-body.h sync/s3-put.c \
	sync/s3-change.c \
	sync/s3-credentials.h sync/s3-credentials.c \
	sync/s3-flow.h sync/s3-flow.c \
	sync/s3-get.c \
	sync/s3-list.c \
	sync/s3-manners.h sync/s3-manners.c \
	sync/s3-move.c \
	sync/s3-multipart.c \
	sync/s3-patch.c \
	sync/s3-plan.h sync/s3-plan.c \
	sync/s3-request.c \
	sync/s3-upload.h sync/s3-upload.c \
	sync/s3-url.h sync/s3-url.c \
	sync/s3-xml.h sync/s3-xml.c \
	sync/said.h sync/said.c \
	sync/sigv4.h sync/sigv4.c \
	sync/steps.h sync/steps.c \
	sync/treewatch.h sync/treewatch.c \
	sync/verdict.h sync/verdict.c \
	sync/versions.c \
	sync/waker.h sync/waker.c \
	sync/webdav.h sync/webdav-get.c sync/webdav-list.c \
	sync/webdav-change.c \
	sync/davput.h sync/webdav-put.c sync/webdav-ranges.c \
	sync/davchunks.h sync/davchunks.c sync/webdav-chunks.c \
	sync/websocket.h sync/websocket.c \
	sync/wire.h sync/wire.c \
	sync/workers.h sync/workers.c \
	$(NULL)
libsync_la_CPPFLAGS = \
	-I$(srcdir)/sync \
	$(CURL_CFLAGS) $(SQLITE_CFLAGS) $(EXPAT_CFLAGS) $(CRYPTO_CFLAGS) $(JSON_CFLAGS) \
	$(MICROHTTPD_CFLAGS) \
	$(NULL)
libsync_la_LIBADD = $(CURL_LIBS) $(SQLITE_LIBS) $(EXPAT_LIBS) $(CRYPTO_LIBS) $(JSON_LIBS) \
	$(MICROHTTPD_LIBS)
