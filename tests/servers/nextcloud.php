<?php
/* SPDX-License-Identifier: BSD-3-Clause */
/* What Nextcloud's documentation says of chunked uploads (version 2), on SabreDAV, for tests.  It is not Nextcloud: where the
 * documentation is silent it follows what ownCloud was seen to do, and it refuses whatever is not as documented.  Started by
 * nextcloud.sh, which describes the options.
 *
 *   /remote.php/dav/files/USER/       the folder $CLOUDSHARE_DIR, as ownCloud shows it (sabredav.php)
 *   /remote.php/dav/uploads/USER/     uploads under way
 *   /ocs/v2.php/cloud/capabilities
 */

use Sabre\DAV;

define ('CLOUDSHARE_CLASSES', 1);
require 'sabredav.php';

const SMALLEST_CHUNK = 5 * 1024 * 1024;

$user = getenv ('CLOUDSHARE_USER') ?: 'alice';
$files = "/remote.php/dav/files/$user/";
$uploads = "/remote.php/dav/uploads/$user/";
$dir = getenv ('CLOUDSHARE_DIR');
$state = getenv ('CLOUDSHARE_STATE') . '/uploads';
$quota = (int) getenv ('CLOUDSHARE_QUOTA');
$path = rawurldecode (parse_url ($_SERVER['REQUEST_URI'], PHP_URL_PATH));
$method = $_SERVER['REQUEST_METHOD'];

function answer ($status, $why = '', $headers = [])
{
  header ("HTTP/1.1 $status x", true, $status);
  foreach ($headers as $header)
    header ($header);
  header ('Content-Length: ' . strlen ($why));
  echo $why;
  exit;
}

function request_header ($name)
{
  return $_SERVER['HTTP_' . strtoupper (strtr ($name, '-', '_'))] ?? null;
}

/* Where Destination leads to in the folder that is served. */
function destination ()
{
  global $files, $dir;
  $to = request_header ('Destination');
  if ($to === null)
    answer (400, 'no Destination');
  $to = rawurldecode (parse_url ($to, PHP_URL_PATH));
  if (!str_starts_with ($to, $files) || str_contains ($to, '/../'))
    answer (403, 'a Destination elsewhere');
  return "$dir/" . substr ($to, strlen ($files));
}

function etag_of ($file)
{
  return file_exists ($file) ? (new TestFile ($file))->getETag () : null;
}

function remove_upload ($folder)
{
  array_map ('unlink', glob ("$folder/*"));
  rmdir ($folder);
}

/* The chunks, in the order of their names. */
function chunks_of ($folder)
{
  $names = array_values (array_diff (scandir ($folder), ['.', '..']));
  sort ($names, SORT_STRING);
  return $names;
}

function list_upload ($folder, $href)
{
  $text = '<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">';
  $date = gmdate ('D, d M Y H:i:s') . ' GMT';
  $row = function ($href, $props) {
    return "<d:response><d:href>$href</d:href><d:propstat><d:prop>$props</d:prop>"
           . '<d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>';
  };
  $text .= $row ($href, '<d:resourcetype><d:collection/></d:resourcetype>');
  $sum = 0;
  foreach (chunks_of ($folder) as $name) {
    $size = filesize ("$folder/$name");
    $sum += $size;
    $text .= $row ("$href$name", "<d:resourcetype/><d:getcontentlength>$size</d:getcontentlength>"
                                 . "<d:getlastmodified>$date</d:getlastmodified><d:getetag>\"$name-$size\"</d:getetag>");
  }
  $text .= $row ("$href.file", "<d:resourcetype/><d:getcontentlength>$sum</d:getcontentlength>");
  answer (207, "$text</d:multistatus>", ['Content-Type: application/xml']);
}

function assemble ($folder)
{
  global $files, $dir;
  $target = destination ();
  $exists = file_exists ($target);
  $names = chunks_of ($folder);
  $etag = etag_of ($target);
  if (!is_dir (dirname ($target)))
    answer (409, 'no such folder');
  if (request_header ('Overwrite') === 'F' && $exists)
    answer (412, 'it exists');
  $if = request_header ('If');
  if ($if !== null) {
    if (!preg_match ('/^<([^>]*)> \(\[("[^"]*")\]\)$/', $if, $match))
      answer (400, 'an If: of another kind');
    $about = rawurldecode (parse_url ($match[1], PHP_URL_PATH));
    if ("$dir/" . substr ($about, strlen ($files)) !== $target || $match[2] !== $etag)
      answer (412, 'another version');
  }
  /* It would be about .file, which has none. */
  if (request_header ('If-Match') !== null)
    answer (412, 'the source has no such tag');
  $sum = 0;
  foreach ($names as $i => $name) {
    $size = filesize ("$folder/$name");
    if ($size < SMALLEST_CHUNK && $i < count ($names) - 1)
      answer (400, "$name is too small");
    $sum += $size;
  }
  if (request_header ('OC-Total-Length') !== null && (int) request_header ('OC-Total-Length') !== $sum)
    answer (400, "Chunks on server do not sum up to what was announced, but to $sum");
  $new = "$target." . getmypid () . '.part';
  $out = fopen ($new, 'wb');
  foreach ($names as $name) {
    $in = fopen ("$folder/$name", 'rb');
    stream_copy_to_stream ($in, $out);
    fclose ($in);
  }
  fclose ($out);
  $want = request_header ('OC-Checksum');
  if ($want !== null && strncmp ($want, 'SHA1:', 5) === 0 && substr ($want, 5) !== sha1_file ($new)) {
    unlink ($new);
    answer (400, 'another checksum');
  }
  $headers = [];
  if (request_header ('X-OC-Mtime') !== null) {
    touch ($new, (int) request_header ('X-OC-Mtime'));
    $headers[] = 'X-OC-Mtime: accepted';
  }
  rename ($new, $target);
  remove_upload ($folder);
  $etag = etag_of ($target);
  array_push ($headers, "ETag: $etag", "OC-ETag: $etag", sprintf ('OC-FileId: %08doctest', fileinode ($target)));
  answer ($exists ? 204 : 201, '', $headers);
}

function put_chunk ($folder, $name)
{
  global $quota;
  destination ();
  if (!is_dir ($folder))
    answer (404, 'no such upload');
  if (!preg_match ('/^[0-9]+$/', $name) || (int) $name < 1 || (int) $name > 10000)
    answer (400, 'a chunk is called 1 to 10000');
  if ($quota > 0 && (int) request_header ('OC-Total-Length') > $quota)
    answer (507, 'over quota');
  $limit = (int) getenv ('CLOUDSHARE_LIMIT');
  if ($limit > 0 && (int) $_SERVER['CONTENT_LENGTH'] > $limit)
    answer (413, 'too large');
  $part = getenv ('CLOUDSHARE_STATE') . '/part.' . getmypid ();
  file_put_contents ($part, fopen ('php://input', 'rb'));
  if (filesize ($part) !== (int) $_SERVER['CONTENT_LENGTH']) {
    unlink ($part);
    answer (400, 'cut off');
  }
  $status = file_exists ("$folder/$name") ? 204 : 201;
  rename ($part, "$folder/$name");
  answer ($status);
}

if (($_SERVER['PHP_AUTH_USER'] ?? null) !== $user || ($_SERVER['PHP_AUTH_PW'] ?? null) !== getenv ('CLOUDSHARE_PASSWORD'))
  answer (401, '', ['WWW-Authenticate: Basic realm="cloudshare"']);

if ($path === '/ocs/v2.php/cloud/capabilities') {
  if (request_header ('OCS-APIRequest') !== 'true')
    answer (412, 'CSRF check failed');
  $dav = getenv ('CLOUDSHARE_CHUNKING') ? ['chunking' => getenv ('CLOUDSHARE_CHUNKING')] : [];
  answer (200, json_encode (['ocs' => ['meta' => ['status' => 'ok'], 'data' => ['capabilities' => [
    'core' => ['pollinterval' => 60, 'webdav-root' => 'remote.php/webdav'], 'dav' => $dav]]]]),
    ['Content-Type: application/json']);
}

if (str_starts_with ($path, $uploads)) {
  @mkdir ($state);
  $parts = explode ('/', rtrim (substr ($path, strlen ($uploads)), '/'));
  $folder = "$state/$parts[0]";
  if ($parts[0] === '' || $parts[0][0] === '.' || count ($parts) > 2)
    answer (403);
  if (count ($parts) === 2 && $method === 'PUT')
    put_chunk ($folder, $parts[1]);
  if ($method === 'MKCOL' && count ($parts) === 1) {
    destination ();
    if (is_dir ($folder))
      answer (405);
    mkdir ($folder);
    answer (201);
  }
  if (!is_dir ($folder))
    answer (404);
  if ($method === 'MOVE' && ($parts[1] ?? '') === '.file')
    assemble ($folder);
  if ($method === 'PROPFIND' && count ($parts) === 1)
    list_upload ($folder, $uploads . rawurlencode ($parts[0]) . '/');
  if ($method === 'DELETE' && count ($parts) === 1) {
    remove_upload ($folder);
    answer (204);
  }
  answer (405);
}

$server = new DAV\Server (new TestFolder ($dir));
$server->setBaseUri ($files);
$server->addPlugin (new Propagate ());
$server->addPlugin (new DAV\Locks\Plugin (new DAV\Locks\Backend\File (getenv ('CLOUDSHARE_STATE') . '/locks')));
$server->exec ();
