<?php
/* SPDX-License-Identifier: BSD-3-Clause */
/* A WebDAV server for tests, on SabreDAV: serves the folder $CLOUDSHARE_DIR.  Started by sabredav.sh, which describes
 * the options.  With CLOUDSHARE_PROPAGATE=1 it answers like ownCloud in what a client can use to find changes: ETags of
 * folders change with anything below, items have an oc:fileid that survives a move, files an oc:checksums.
 *
 * Folder ETags are computed, not stored: a PROPFIND looks at everything below.  Good enough for tests. */

use Sabre\DAV;

error_reporting (0);
require_once 'Sabre/autoload.php';

const OC = 'http://owncloud.org/ns';

/* A hash of a file's content; kept, because clients ask for it often, unless the file has just been changed. */
function content_hash ($path, $algorithm)
{
  clearstatcache (true, $path);
  $st = stat ($path);
  $key = implode ('-', [$algorithm, $st['ino'], $st['size'], $st['mtime'], $st['ctime']]);
  $file = getenv ('CLOUDSHARE_STATE') . "/hashes/$key";
  if (time () - $st['ctime'] < 3)
    return hash_file ($algorithm, $path);
  $hash = @file_get_contents ($file);
  if ($hash === false || strlen ($hash) < 32) {
    $hash = hash_file ($algorithm, $path);
    file_put_contents ("$file." . getmypid (), $hash);
    rename ("$file." . getmypid (), $file);
  }
  return $hash;
}

trait Item
{
  public $path;

  public function __construct ($path)
  {
    $this->path = $path;
  }

  public function getName ()
  {
    return basename ($this->path);
  }

  public function setName ($name)
  {
    rename ($this->path, dirname ($this->path) . "/$name");
  }

  public function getLastModified ()
  {
    clearstatcache (true, $this->path);
    return filemtime ($this->path);
  }

  public function fileId ()
  {
    return fileinode ($this->path);
  }
}

class TestFile extends DAV\Node implements DAV\IFile, DAV\PartialUpdate\IPatchSupport
{
  use Item;

  public function put ($data)
  {
    $new = dirname ($this->path) . '/.' . basename ($this->path) . '.part';
    file_put_contents ($new, $data);
    rename ($new, $this->path);
    return $this->getETag ();
  }

  /* In place, as SabreDAV's own files do it. */
  public function patch ($data, $type, $offset = null)
  {
    $file = fopen ($this->path, $type == 1 ? 'ab' : 'cb');
    if ($type != 1)
      fseek ($file, $offset, $type == 2 ? SEEK_SET : SEEK_END);
    is_string ($data) ? fwrite ($file, $data) : stream_copy_to_stream ($data, $file);
    fclose ($file);
    return $this->getETag ();
  }

  public function get ()
  {
    return fopen ($this->path, 'rb');
  }

  public function delete ()
  {
    unlink ($this->path);
  }

  public function getSize ()
  {
    clearstatcache (true, $this->path);
    return filesize ($this->path);
  }

  public function getETag ()
  {
    if (getenv ('CLOUDSHARE_ETAG') != 'mtime')
      return '"' . content_hash ($this->path, 'md5') . '"';
    clearstatcache (true, $this->path);
    $st = stat ($this->path);
    return '"' . sha1 ("{$st['ino']}-{$st['size']}-{$st['mtime']}") . '"';
  }

  public function getContentType ()
  {
    return null;
  }
}

class TestFolder extends DAV\Node implements DAV\ICollection, DAV\IQuota
{
  use Item;

  public function createFile ($name, $data = null)
  {
    return (new TestFile ("{$this->path}/$name"))->put ($data);
  }

  public function createDirectory ($name)
  {
    mkdir ("{$this->path}/$name");
  }

  public function getChild ($name)
  {
    $path = "{$this->path}/$name";
    clearstatcache (true, $path);
    if (is_link ($path) || !file_exists ($path))
      throw new DAV\Exception\NotFound ("there is no $name");
    return is_dir ($path) ? new TestFolder ($path) : new TestFile ($path);
  }

  public function childExists ($name)
  {
    return file_exists ("{$this->path}/$name");
  }

  public function getChildren ()
  {
    $children = [];
    foreach (scandir ($this->path) as $name) {
      if ($name == '.' || $name == '..' || str_ends_with ($name, '.part'))
        continue;
      try {
        $children[] = $this->getChild ($name);
      } catch (DAV\Exception\NotFound $e) {
        /* gone meanwhile */
      }
    }
    return $children;
  }

  public function delete ()
  {
    foreach (scandir ($this->path) as $name) {
      if ($name == '.' || $name == '..')
        continue;
      $path = "{$this->path}/$name";
      is_dir ($path) && !is_link ($path) ? (new TestFolder ($path))->delete () : unlink ($path);
    }
    rmdir ($this->path);
  }

  public function getQuotaInfo ()
  {
    return [disk_total_space ($this->path) - disk_free_space ($this->path), disk_free_space ($this->path)];
  }

  /* Of everything below. */
  public function treeETag ()
  {
    $all = '';
    foreach ($this->getChildren () as $child)
      $all .= $child->getName () . "\0"
              . ($child instanceof TestFolder ? $child->treeETag () : $child->getETag ()) . "\0";
    return '"' . md5 ($all) . '"';
  }

  public function treeSize ()
  {
    $size = 0;
    foreach ($this->getChildren () as $child)
      $size += $child instanceof TestFolder ? $child->treeSize () : $child->getSize ();
    return $size;
  }
}

/* <oc:checksums><oc:checksum>SHA1:... MD5:...</oc:checksum></oc:checksums>, as ownCloud writes it */
class Checksums extends DAV\Property
{
  private $text;

  public function __construct ($path)
  {
    $this->text = 'SHA1:' . content_hash ($path, 'sha1') . ' MD5:' . content_hash ($path, 'md5');
  }

  public function serialize (DAV\Server $server, DOMElement $prop)
  {
    $prop->appendChild ($prop->ownerDocument->createElementNS (OC, 'oc:checksum', $this->text));
  }
}

class Propagate extends DAV\ServerPlugin
{
  public function initialize (DAV\Server $server)
  {
    $server->xmlNamespaces[OC] = 'oc';
    $server->subscribeEvent ('beforeGetProperties', [$this, 'properties']);
    $server->subscribeEvent ('beforeMethod', function ($method, $uri) use ($server) {
      if ($method != 'GET' && $method != 'HEAD')
        return;
      $node = $server->tree->getNodeForPath ($uri);
      if ($node instanceof TestFile)
        $server->httpResponse->setHeader ('OC-Checksum', 'SHA1:' . content_hash ($node->path, 'sha1'));
    });
  }

  public function properties ($path, DAV\INode $node, &$wanted, &$found)
  {
    $folder = $node instanceof TestFolder;
    foreach ($wanted as $i => $name) {
      $value = null;
      switch ($name) {
      case '{DAV:}getetag':
        $value = $folder ? $node->treeETag () : null;
        break;
      case '{' . OC . '}fileid':
        $value = $node->fileId ();
        break;
      case '{' . OC . '}id':
        $value = sprintf ('%08doctest', $node->fileId ());
        break;
      case '{' . OC . '}size':
        $value = $folder ? $node->treeSize () : $node->getSize ();
        break;
      case '{' . OC . '}permissions':
        $value = $folder ? 'RDNVCK' : 'RDNVW';
        break;
      case '{' . OC . '}checksums':
        $value = $folder ? null : new Checksums ($node->path);
        break;
      }
      if ($value !== null) {
        $found[200][$name] = $value;
        unset ($wanted[$i]);
      }
    }
  }
}

/* nextcloud.php takes the classes from here. */
if (defined ('CLOUDSHARE_CLASSES'))
  return;

$user = getenv ('CLOUDSHARE_USER');
if ($user != '' && (($_SERVER['PHP_AUTH_USER'] ?? null) !== $user
                    || ($_SERVER['PHP_AUTH_PW'] ?? null) !== getenv ('CLOUDSHARE_PASSWORD'))) {
  header ('HTTP/1.1 401 Unauthorized');
  header ('WWW-Authenticate: Basic realm="cloudshare"');
  exit;
}

$server = new DAV\Server (new TestFolder (getenv ('CLOUDSHARE_DIR')));
$server->setBaseUri (rtrim (getenv ('CLOUDSHARE_PATH'), '/') . '/');
if (getenv ('CLOUDSHARE_PROPAGATE') == '1')
  $server->addPlugin (new Propagate ());
if (getenv ('CLOUDSHARE_PARTIAL') == '1')
  $server->addPlugin (new DAV\PartialUpdate\Plugin ());
if (getenv ('CLOUDSHARE_LOCKS') == '1')
  $server->addPlugin (new DAV\Locks\Plugin (new DAV\Locks\Backend\File (getenv ('CLOUDSHARE_STATE') . '/locks')));
$server->exec ();
