/* SPDX-License-Identifier: BSD-3-Clause */
/* Classes of MIME types, and types of the most common extensions: facts, as IANA's registry and the freedesktop.org MIME database
 * have them, with names that were in use before a type was registered. */

#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "media-type.h"

enum {
  IMAGE = 1 << 0, VIDEO = 1 << 1, AUDIO = 1 << 2, TEXT = 1 << 3, DOCUMENT = 1 << 4, SPREADSHEET = 1 << 5, PRESENTATION = 1 << 6,
  ARCHIVE = 1 << 7, FONT = 1 << 8, MODEL = 1 << 9,
};

/* Those of a main type's name have all of it. */
static const struct class {
  const char *name;
  unsigned bit;
  bool is_main;
} classes[] = {
  { "image", IMAGE, true },
  { "video", VIDEO, true },
  { "audio", AUDIO, true },
  { "text", TEXT, true },
  { "document", DOCUMENT, false },
  { "spreadsheet", SPREADSHEET, false },
  { "presentation", PRESENTATION, false },
  { "archive", ARCHIVE, false },
  { "font", FONT, true },
  { "model", MODEL, true },
};
#define N_CLASSES (sizeof classes / sizeof classes[0])

/* Families: whatever begins like this. */
static const struct {
  const char *prefix;
  unsigned bits;
} families[] = {
  { "application/vnd.oasis.opendocument.text", DOCUMENT },
  { "application/vnd.oasis.opendocument.spreadsheet", DOCUMENT | SPREADSHEET },
  { "application/vnd.oasis.opendocument.presentation", DOCUMENT | PRESENTATION },
  { "application/vnd.oasis.opendocument.graphics", DOCUMENT },
  { "application/vnd.openxmlformats-officedocument.wordprocessingml.", DOCUMENT },
  { "application/vnd.openxmlformats-officedocument.spreadsheetml.", DOCUMENT | SPREADSHEET },
  { "application/vnd.openxmlformats-officedocument.presentationml.", DOCUMENT | PRESENTATION },
};

/* In lower case and in strcmp's order. */
static const struct member {
  const char *type;
  unsigned bits;
} members[] = {
  { "application/acad", MODEL },
  { "application/annodex", VIDEO },
  { "application/atom+xml", TEXT },
  { "application/csv", SPREADSHEET | DOCUMENT },
  { "application/dicom", IMAGE },
  { "application/ecmascript", TEXT },
  { "application/eps", DOCUMENT | IMAGE },
  { "application/epub+zip", DOCUMENT },
  { "application/fits", IMAGE },
  { "application/font-sfnt", FONT },
  { "application/font-woff", FONT },
  { "application/font-woff2", FONT },
  { "application/geo+json", TEXT },
  { "application/gpx+xml", TEXT },
  { "application/gzip", ARCHIVE },
  { "application/haansofthwp", DOCUMENT },
  { "application/illustrator", IMAGE },
  { "application/java-archive", ARCHIVE },
  { "application/javascript", TEXT },
  { "application/json", TEXT },
  { "application/ld+json", TEXT },
  { "application/mp4", VIDEO },
  { "application/msword", DOCUMENT },
  { "application/msword-template", DOCUMENT },
  { "application/mxf", VIDEO },
  { "application/oda", DOCUMENT },
  { "application/ogg", AUDIO },
  { "application/onenote", DOCUMENT },
  { "application/oxps", DOCUMENT },
  { "application/pdf", DOCUMENT },
  { "application/photoshop", IMAGE },
  { "application/postscript", DOCUMENT },
  { "application/rdf+xml", TEXT },
  { "application/rss+xml", TEXT },
  { "application/rtf", DOCUMENT | TEXT },
  { "application/schema+json", TEXT },
  { "application/sieve", TEXT },
  { "application/sla", MODEL },
  { "application/sql", TEXT },
  { "application/toml", TEXT },
  { "application/typescript", TEXT },
  { "application/vnd.adobe.flash.movie", VIDEO },
  { "application/vnd.amazon.ebook", DOCUMENT },
  { "application/vnd.amazon.mobi8-ebook", DOCUMENT },
  { "application/vnd.android.package-archive", ARCHIVE },
  { "application/vnd.appimage", ARCHIVE },
  { "application/vnd.apple.keynote", PRESENTATION | DOCUMENT },
  { "application/vnd.apple.mpegurl", AUDIO },
  { "application/vnd.apple.numbers", SPREADSHEET | DOCUMENT },
  { "application/vnd.apple.pages", DOCUMENT },
  { "application/vnd.comicbook+zip", DOCUMENT },
  { "application/vnd.comicbook-rar", DOCUMENT },
  { "application/vnd.corel-draw", IMAGE },
  { "application/vnd.debian.binary-package", ARCHIVE },
  { "application/vnd.efi.img", ARCHIVE },
  { "application/vnd.efi.iso", ARCHIVE },
  { "application/vnd.flatpak", ARCHIVE },
  { "application/vnd.framemaker", DOCUMENT },
  { "application/vnd.hancom.hwp", DOCUMENT },
  { "application/vnd.lotus-1-2-3", SPREADSHEET | DOCUMENT },
  { "application/vnd.lotus-wordpro", DOCUMENT },
  { "application/vnd.mpegurl", VIDEO },
  { "application/vnd.ms-3mfdocument", MODEL },
  { "application/vnd.ms-asf", VIDEO },
  { "application/vnd.ms-cab-compressed", ARCHIVE },
  { "application/vnd.ms-excel", SPREADSHEET | DOCUMENT },
  { "application/vnd.ms-excel.addin.macroenabled.12", SPREADSHEET | DOCUMENT },
  { "application/vnd.ms-excel.sheet.binary.macroenabled.12", SPREADSHEET | DOCUMENT },
  { "application/vnd.ms-excel.sheet.macroenabled.12", SPREADSHEET | DOCUMENT },
  { "application/vnd.ms-excel.template.macroenabled.12", SPREADSHEET | DOCUMENT },
  { "application/vnd.ms-fontobject", FONT },
  { "application/vnd.ms-htmlhelp", DOCUMENT },
  { "application/vnd.ms-opentype", FONT },
  { "application/vnd.ms-outlook", DOCUMENT },
  { "application/vnd.ms-pki.stl", MODEL },
  { "application/vnd.ms-powerpoint", PRESENTATION | DOCUMENT },
  { "application/vnd.ms-powerpoint.addin.macroenabled.12", PRESENTATION | DOCUMENT },
  { "application/vnd.ms-powerpoint.presentation.macroenabled.12", PRESENTATION | DOCUMENT },
  { "application/vnd.ms-powerpoint.slide.macroenabled.12", PRESENTATION | DOCUMENT },
  { "application/vnd.ms-powerpoint.slideshow.macroenabled.12", PRESENTATION | DOCUMENT },
  { "application/vnd.ms-powerpoint.template.macroenabled.12", PRESENTATION | DOCUMENT },
  { "application/vnd.ms-publisher", DOCUMENT },
  { "application/vnd.ms-visio.drawing.macroenabled.main+xml", DOCUMENT },
  { "application/vnd.ms-visio.drawing.main+xml", DOCUMENT },
  { "application/vnd.ms-word", DOCUMENT },
  { "application/vnd.ms-word.document.macroenabled.12", DOCUMENT },
  { "application/vnd.ms-word.template.macroenabled.12", DOCUMENT },
  { "application/vnd.ms-works", DOCUMENT },
  { "application/vnd.ms-wpl", AUDIO },
  { "application/vnd.ms-xpsdocument", DOCUMENT },
  { "application/vnd.oasis.opendocument.formula", DOCUMENT },
  { "application/vnd.oasis.opendocument.image", IMAGE },
  { "application/vnd.rar", ARCHIVE },
  { "application/vnd.rn-realmedia", VIDEO },
  { "application/vnd.rn-realmedia-vbr", VIDEO },
  { "application/vnd.snap", ARCHIVE },
  { "application/vnd.squashfs", ARCHIVE },
  { "application/vnd.stardivision.calc", SPREADSHEET | DOCUMENT },
  { "application/vnd.stardivision.draw", IMAGE },
  { "application/vnd.stardivision.impress", PRESENTATION | DOCUMENT },
  { "application/vnd.stardivision.writer", DOCUMENT },
  { "application/vnd.sun.xml.calc", SPREADSHEET | DOCUMENT },
  { "application/vnd.sun.xml.calc.template", SPREADSHEET | DOCUMENT },
  { "application/vnd.sun.xml.draw", IMAGE },
  { "application/vnd.sun.xml.impress", PRESENTATION | DOCUMENT },
  { "application/vnd.sun.xml.impress.template", PRESENTATION | DOCUMENT },
  { "application/vnd.sun.xml.writer", DOCUMENT },
  { "application/vnd.sun.xml.writer.global", DOCUMENT },
  { "application/vnd.sun.xml.writer.template", DOCUMENT },
  { "application/vnd.symbian.install", ARCHIVE },
  { "application/vnd.visio", DOCUMENT },
  { "application/vnd.wordperfect", DOCUMENT },
  { "application/x-7z-compressed", ARCHIVE },
  { "application/x-abiword", DOCUMENT },
  { "application/x-acad", MODEL },
  { "application/x-ace", ARCHIVE },
  { "application/x-ace-compressed", ARCHIVE },
  { "application/x-alz", ARCHIVE },
  { "application/x-amipro", DOCUMENT },
  { "application/x-aportisdoc", DOCUMENT },
  { "application/x-apple-diskimage", ARCHIVE },
  { "application/x-appleworks-document", DOCUMENT },
  { "application/x-applix-spreadsheet", SPREADSHEET | DOCUMENT },
  { "application/x-applix-word", DOCUMENT },
  { "application/x-archive", ARCHIVE },
  { "application/x-arj", ARCHIVE },
  { "application/x-asar", ARCHIVE },
  { "application/x-awk", TEXT },
  { "application/x-bcpio", ARCHIVE },
  { "application/x-blender", MODEL },
  { "application/x-bzdvi", DOCUMENT },
  { "application/x-bzip", ARCHIVE },
  { "application/x-bzip2", ARCHIVE },
  { "application/x-bzip3", ARCHIVE },
  { "application/x-bzpdf", DOCUMENT },
  { "application/x-bzpostscript", DOCUMENT },
  { "application/x-cab", ARCHIVE },
  { "application/x-cb7", DOCUMENT },
  { "application/x-cbr", DOCUMENT },
  { "application/x-cbt", DOCUMENT },
  { "application/x-cbz", DOCUMENT },
  { "application/x-cd-image", ARCHIVE },
  { "application/x-compress", ARCHIVE },
  { "application/x-compressed", ARCHIVE },
  { "application/x-compressed-iso", ARCHIVE },
  { "application/x-cpio", ARCHIVE },
  { "application/x-cpio-compressed", ARCHIVE },
  { "application/x-csh", TEXT },
  { "application/x-dar", ARCHIVE },
  { "application/x-deb", ARCHIVE },
  { "application/x-debian-package", ARCHIVE },
  { "application/x-desktop", TEXT },
  { "application/x-docbook+xml", DOCUMENT },
  { "application/x-dvi", DOCUMENT },
  { "application/x-fictionbook+xml", DOCUMENT },
  { "application/x-flac", AUDIO },
  { "application/x-font", FONT },
  { "application/x-font-afm", FONT },
  { "application/x-font-bdf", FONT },
  { "application/x-font-linux-psf", FONT },
  { "application/x-font-otf", FONT },
  { "application/x-font-pcf", FONT },
  { "application/x-font-speedo", FONT },
  { "application/x-font-ttf", FONT },
  { "application/x-font-ttx", FONT },
  { "application/x-font-type1", FONT },
  { "application/x-font-woff", FONT },
  { "application/x-gettext-translation-template", TEXT },
  { "application/x-gnumeric", SPREADSHEET | DOCUMENT },
  { "application/x-gtar", ARCHIVE },
  { "application/x-gz-font-linux-psf", FONT },
  { "application/x-gzdvi", DOCUMENT },
  { "application/x-gzip", ARCHIVE },
  { "application/x-gzpdf", DOCUMENT },
  { "application/x-gzpostscript", DOCUMENT },
  { "application/x-httpd-php", TEXT },
  { "application/x-hwp", DOCUMENT },
  { "application/x-hwt", DOCUMENT },
  { "application/x-ipynb+json", TEXT },
  { "application/x-iso9660-appimage", ARCHIVE },
  { "application/x-iso9660-image", ARCHIVE },
  { "application/x-iwork-keynote-sffkey", PRESENTATION | DOCUMENT },
  { "application/x-iwork-numbers-sffnumbers", SPREADSHEET | DOCUMENT },
  { "application/x-iwork-pages-sffpages", DOCUMENT },
  { "application/x-java-archive", ARCHIVE },
  { "application/x-java-pack200", ARCHIVE },
  { "application/x-javascript", TEXT },
  { "application/x-kpovmodeler", MODEL },
  { "application/x-kpresenter", PRESENTATION | DOCUMENT },
  { "application/x-krita", IMAGE },
  { "application/x-kspread", SPREADSHEET | DOCUMENT },
  { "application/x-kword", DOCUMENT },
  { "application/x-latex", DOCUMENT | TEXT },
  { "application/x-lha", ARCHIVE },
  { "application/x-lhz", ARCHIVE },
  { "application/x-lrzip", ARCHIVE },
  { "application/x-lyx", DOCUMENT | TEXT },
  { "application/x-lz4", ARCHIVE },
  { "application/x-lzh", ARCHIVE },
  { "application/x-lzh-compressed", ARCHIVE },
  { "application/x-lzip", ARCHIVE },
  { "application/x-lzma", ARCHIVE },
  { "application/x-lzop", ARCHIVE },
  { "application/x-lzpdf", DOCUMENT },
  { "application/x-m4", TEXT },
  { "application/x-magicpoint", DOCUMENT },
  { "application/x-matroska", VIDEO },
  { "application/x-mif", DOCUMENT },
  { "application/x-mobipocket-ebook", DOCUMENT },
  { "application/x-mp3", AUDIO },
  { "application/x-ms-wim", ARCHIVE },
  { "application/x-msi", ARCHIVE },
  { "application/x-mswrite", DOCUMENT },
  { "application/x-navi-animation", IMAGE },
  { "application/x-ndjson", TEXT },
  { "application/x-ogg", AUDIO },
  { "application/x-oleo", SPREADSHEET | DOCUMENT },
  { "application/x-pagemaker", DOCUMENT },
  { "application/x-par2", ARCHIVE },
  { "application/x-pdf", DOCUMENT },
  { "application/x-perl", TEXT },
  { "application/x-photoshop", IMAGE },
  { "application/x-php", TEXT },
  { "application/x-pocket-word", DOCUMENT },
  { "application/x-pyspread-bz-spreadsheet", SPREADSHEET | DOCUMENT },
  { "application/x-pyspread-spreadsheet", SPREADSHEET | DOCUMENT },
  { "application/x-python", TEXT },
  { "application/x-qemu-disk", ARCHIVE },
  { "application/x-quattropro", SPREADSHEET | DOCUMENT },
  { "application/x-rar", ARCHIVE },
  { "application/x-rar-compressed", ARCHIVE },
  { "application/x-raw-disk-image", ARCHIVE },
  { "application/x-raw-disk-image-xz-compressed", ARCHIVE },
  { "application/x-redhat-package-manager", ARCHIVE },
  { "application/x-rpm", ARCHIVE },
  { "application/x-ruby", TEXT },
  { "application/x-sh", TEXT },
  { "application/x-shar", ARCHIVE },
  { "application/x-shellscript", TEXT },
  { "application/x-shockwave-flash", VIDEO },
  { "application/x-shorten", AUDIO },
  { "application/x-source-rpm", ARCHIVE },
  { "application/x-sql", TEXT },
  { "application/x-stuffit", ARCHIVE },
  { "application/x-stuffitx", ARCHIVE },
  { "application/x-subrip", TEXT },
  { "application/x-sv4cpio", ARCHIVE },
  { "application/x-sv4crc", ARCHIVE },
  { "application/x-t602", DOCUMENT },
  { "application/x-tar", ARCHIVE },
  { "application/x-tarz", ARCHIVE },
  { "application/x-tcl", TEXT },
  { "application/x-tex", DOCUMENT | TEXT },
  { "application/x-texinfo", DOCUMENT | TEXT },
  { "application/x-troff-man", DOCUMENT | TEXT },
  { "application/x-troff-msvideo", VIDEO },
  { "application/x-tzo", ARCHIVE },
  { "application/x-ustar", ARCHIVE },
  { "application/x-vdi-disk", ARCHIVE },
  { "application/x-vhd-disk", ARCHIVE },
  { "application/x-vhdx-disk", ARCHIVE },
  { "application/x-vmdk-disk", ARCHIVE },
  { "application/x-wpg", IMAGE },
  { "application/x-xar", ARCHIVE },
  { "application/x-xz", ARCHIVE },
  { "application/x-xzpdf", DOCUMENT },
  { "application/x-yaml", TEXT },
  { "application/x-zip", ARCHIVE },
  { "application/x-zip-compressed", ARCHIVE },
  { "application/x-zip-compressed-fb2", DOCUMENT },
  { "application/x-zoo", ARCHIVE },
  { "application/x-zstd", ARCHIVE },
  { "application/xhtml+xml", TEXT },
  { "application/xml", TEXT },
  { "application/xml-dtd", TEXT },
  { "application/xslt+xml", TEXT },
  { "application/xspf+xml", AUDIO },
  { "application/yaml", TEXT },
  { "application/zip", ARCHIVE },
  { "application/zlib", ARCHIVE },
  { "application/zstd", ARCHIVE },
  { "image/vnd.djvu", DOCUMENT },
  { "image/vnd.djvu+multipage", DOCUMENT },
  { "image/x-djvu", DOCUMENT },
  { "text/asciidoc", DOCUMENT },
  { "text/csv", SPREADSHEET | DOCUMENT },
  { "text/markdown", DOCUMENT },
  { "text/org", DOCUMENT },
  { "text/richtext", DOCUMENT },
  { "text/rtf", DOCUMENT },
  { "text/spreadsheet", SPREADSHEET | DOCUMENT },
  { "text/tab-separated-values", SPREADSHEET | DOCUMENT },
  { "text/troff", DOCUMENT },
  { "text/x-asciidoc", DOCUMENT },
  { "text/x-bibtex", DOCUMENT },
  { "text/x-csv", SPREADSHEET | DOCUMENT },
  { "text/x-latex", DOCUMENT },
  { "text/x-markdown", DOCUMENT },
  { "text/x-rst", DOCUMENT },
  { "text/x-tex", DOCUMENT },
  { "text/x-texinfo", DOCUMENT },
};

/* By extension, in strcmp's order. */
static const struct own {
  const char *extension, *type;
} owns[] = {
  { "3ds", "image/x-3ds" },
  { "3g2", "video/3gpp2" },
  { "3gp", "video/3gpp" },
  { "3mf", "model/3mf" },
  { "7z", "application/x-7z-compressed" },
  { "aac", "audio/aac" },
  { "aif", "audio/x-aiff" },
  { "aiff", "audio/x-aiff" },
  { "amr", "audio/AMR" },
  { "ape", "audio/x-ape" },
  { "apk", "application/vnd.android.package-archive" },
  { "arw", "image/x-sony-arw" },
  { "asf", "application/vnd.ms-asf" },
  { "avi", "video/x-msvideo" },
  { "avif", "image/avif" },
  { "azw3", "application/vnd.amazon.mobi8-ebook" },
  { "blend", "application/x-blender" },
  { "bmp", "image/bmp" },
  { "bz2", "application/x-bzip" },
  { "c", "text/x-csrc" },
  { "cab", "application/vnd.ms-cab-compressed" },
  { "cbr", "application/vnd.comicbook-rar" },
  { "cbz", "application/vnd.comicbook+zip" },
  { "cr2", "image/x-canon-cr2" },
  { "cr3", "image/x-canon-cr3" },
  { "css", "text/css" },
  { "csv", "text/csv" },
  { "deb", "application/vnd.debian.binary-package" },
  { "djvu", "image/vnd.djvu" },
  { "dmg", "application/x-apple-diskimage" },
  { "dng", "image/x-adobe-dng" },
  { "doc", "application/msword" },
  { "docm", "application/vnd.ms-word.document.macroEnabled.12" },
  { "docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document" },
  { "dot", "application/msword-template" },
  { "dotx", "application/vnd.openxmlformats-officedocument.wordprocessingml.template" },
  { "eml", "message/rfc822" },
  { "epub", "application/epub+zip" },
  { "fb2", "application/x-fictionbook+xml" },
  { "flac", "audio/flac" },
  { "flv", "video/x-flv" },
  { "gif", "image/gif" },
  { "glb", "model/gltf-binary" },
  { "gltf", "model/gltf+json" },
  { "gz", "application/gzip" },
  { "h", "text/x-chdr" },
  { "heic", "image/heic" },
  { "heif", "image/heif" },
  { "htm", "text/html" },
  { "html", "text/html" },
  { "ico", "image/vnd.microsoft.icon" },
  { "ics", "text/calendar" },
  { "img", "application/x-raw-disk-image" },
  { "iso", "application/x-cd-image" },
  { "jar", "application/x-java-archive" },
  { "java", "text/x-java" },
  { "jpe", "image/jpeg" },
  { "jpeg", "image/jpeg" },
  { "jpg", "image/jpeg" },
  { "jpx", "image/jpx" },
  { "js", "application/javascript" },
  { "json", "application/json" },
  { "jxl", "image/jxl" },
  { "key", "application/vnd.apple.keynote" },
  { "log", "text/plain" },
  { "lz4", "application/x-lz4" },
  { "m2ts", "video/mp2t" },
  { "m3u", "audio/x-mpegurl" },
  { "m3u8", "audio/x-mpegurl" },
  { "m4a", "audio/mp4" },
  { "m4v", "video/mp4" },
  { "markdown", "text/markdown" },
  { "mbox", "application/mbox" },
  { "md", "text/markdown" },
  { "mid", "audio/midi" },
  { "midi", "audio/midi" },
  { "mkv", "video/x-matroska" },
  { "mobi", "application/x-mobipocket-ebook" },
  { "mov", "video/quicktime" },
  { "mp2", "audio/mp2" },
  { "mp3", "audio/mpeg" },
  { "mp4", "video/mp4" },
  { "mpeg", "video/mpeg" },
  { "mpg", "video/mpeg" },
  { "msg", "application/vnd.ms-outlook" },
  { "msi", "application/x-msi" },
  { "mts", "video/mp2t" },
  { "mxf", "application/mxf" },
  { "nef", "image/x-nikon-nef" },
  { "numbers", "application/vnd.apple.numbers" },
  { "obj", "model/obj" },
  { "odf", "application/vnd.oasis.opendocument.formula" },
  { "odg", "application/vnd.oasis.opendocument.graphics" },
  { "odp", "application/vnd.oasis.opendocument.presentation" },
  { "ods", "application/vnd.oasis.opendocument.spreadsheet" },
  { "odt", "application/vnd.oasis.opendocument.text" },
  { "oga", "audio/ogg" },
  { "ogg", "audio/ogg" },
  { "ogv", "video/ogg" },
  { "one", "application/onenote" },
  { "opus", "audio/ogg" },
  { "orf", "image/x-olympus-orf" },
  { "otf", "font/otf" },
  { "ott", "application/vnd.oasis.opendocument.text-template" },
  { "pages", "application/vnd.apple.pages" },
  { "pdf", "application/pdf" },
  { "pl", "application/x-perl" },
  { "png", "image/png" },
  { "pot", "application/vnd.ms-powerpoint" },
  { "pps", "application/vnd.ms-powerpoint" },
  { "ppsx", "application/vnd.openxmlformats-officedocument.presentationml.slideshow" },
  { "ppt", "application/vnd.ms-powerpoint" },
  { "pptm", "application/vnd.ms-powerpoint.presentation.macroEnabled.12" },
  { "pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation" },
  { "prc", "application/x-mobipocket-ebook" },
  { "ps", "application/postscript" },
  { "psd", "image/vnd.adobe.photoshop" },
  { "pub", "application/vnd.ms-publisher" },
  { "py", "text/x-python" },
  { "qcow2", "application/x-qemu-disk" },
  { "qt", "video/quicktime" },
  { "raf", "image/x-fuji-raf" },
  { "rar", "application/vnd.rar" },
  { "rpm", "application/x-rpm" },
  { "rst", "text/x-rst" },
  { "rtf", "application/rtf" },
  { "rw2", "image/x-panasonic-rw2" },
  { "sh", "application/x-shellscript" },
  { "sql", "application/sql" },
  { "srt", "application/x-subrip" },
  { "stl", "model/stl" },
  { "svg", "image/svg+xml" },
  { "tar", "application/x-tar" },
  { "tar.bz2", "application/x-bzip-compressed-tar" },
  { "tar.gz", "application/x-compressed-tar" },
  { "tar.xz", "application/x-xz-compressed-tar" },
  { "tar.zst", "application/x-zstd-compressed-tar" },
  { "tbz2", "application/x-bzip-compressed-tar" },
  { "tex", "text/x-tex" },
  { "text", "text/plain" },
  { "tgz", "application/x-compressed-tar" },
  { "tif", "image/tiff" },
  { "tiff", "image/tiff" },
  { "toml", "application/toml" },
  { "ts", "video/mp2t" },
  { "tsv", "text/tab-separated-values" },
  { "ttc", "font/collection" },
  { "ttf", "font/ttf" },
  { "txt", "text/plain" },
  { "txz", "application/x-xz-compressed-tar" },
  { "vcf", "text/vcard" },
  { "vdi", "application/x-vdi-disk" },
  { "vhd", "application/x-vhd-disk" },
  { "vhdx", "application/x-vhdx-disk" },
  { "vmdk", "application/x-vmdk-disk" },
  { "vsd", "application/vnd.visio" },
  { "vsdx", "application/vnd.ms-visio.drawing.main+xml" },
  { "vst", "application/vnd.visio" },
  { "vtt", "text/vtt" },
  { "wav", "audio/x-wav" },
  { "webm", "video/webm" },
  { "webp", "image/webp" },
  { "wma", "audio/x-ms-wma" },
  { "wmv", "video/x-ms-wmv" },
  { "woff", "font/woff" },
  { "woff2", "font/woff2" },
  { "xcf", "image/x-xcf" },
  { "xls", "application/vnd.ms-excel" },
  { "xlsm", "application/vnd.ms-excel.sheet.macroEnabled.12" },
  { "xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet" },
  { "xltx", "application/vnd.openxmlformats-officedocument.spreadsheetml.template" },
  { "xml", "application/xml" },
  { "xps", "application/vnd.ms-xpsdocument" },
  { "xz", "application/x-xz" },
  { "yaml", "application/x-yaml" },
  { "yml", "application/x-yaml" },
  { "zip", "application/zip" },
  { "zst", "application/zstd" },
};

/* The type in lower case and without parameters.  Empty if it is longer than any. */
#define TYPE_MAX 160

static void
canonical (const char *type, char ret[TYPE_MAX])
{
  size_t n;

  while (*type == ' ' || *type == '\t')
    ++type;
  n = strcspn (type, "; \t\r\n");
  if (n >= TYPE_MAX)
    n = 0;
  for (size_t i = 0; i < n; ++i)
    ret[i] = type[i] >= 'A' && type[i] <= 'Z' ? type[i] + ('a' - 'A') : type[i];
  ret[n] = '\0';
}

static int
compare_member (const void *key, const void *member)
{
  return strcmp (key, ((const struct member *) member)->type);
}

static int
compare_own (const void *key, const void *own)
{
  return strcmp (key, ((const struct own *) own)->extension);
}

const char *
media_type_own (const char *extension)
{
  const struct own *own = bsearch (extension, owns, sizeof owns / sizeof owns[0], sizeof owns[0], compare_own);

  return own ? own->type : NULL;
}

bool
media_type_says_nothing (const char *type)
{
  /* Of servers that have no better idea; Apache's for folders; and what is said of empty files, which can be anything. */
  static const char *const nothing[] = {
    "", "application/octet-stream", "binary/octet-stream", "application/x-octet-stream", "application/unknown",
    "application/x-unknown", "unknown/unknown", "application/force-download", "application/x-download", "application/download",
    "httpd/unix-directory", "inode/directory", "inode/x-empty", "application/x-empty", "application/x-zerosize", NULL,
  };
  char bare[TYPE_MAX];

  canonical (type, bare);
  if (strchr (bare, '/') == NULL)
    return true;
  for (size_t i = 0; nothing[i]; ++i)
    if (strcmp (bare, nothing[i]) == 0)
      return true;
  return false;
}

static const struct class *
class_of (const char *word)
{
  for (size_t i = 0; i < N_CLASSES; ++i)
    if (strcmp (word, classes[i].name) == 0)
      return &classes[i];
  return NULL;
}

bool
media_type_is_class (const char *word)
{
  return class_of (word) != NULL;
}

static bool
in_class (const char *type, const struct class *class)
{
  const size_t n = strlen (class->name);
  const struct member *member;

  if (class->is_main && strncmp (type, class->name, n) == 0 && type[n] == '/')
    return true;
  member = bsearch (type, members, sizeof members / sizeof members[0], sizeof members[0], compare_member);
  if (member && (member->bits & class->bit))
    return true;
  for (size_t i = 0; i < sizeof families / sizeof families[0]; ++i)
    if ((families[i].bits & class->bit) && strncmp (type, families[i].prefix, strlen (families[i].prefix)) == 0)
      return true;
  /* application/x-bzip-compressed-tar, and so on for each compression. */
  if (class->bit == ARCHIVE && strlen (type) > 14)
    return strcmp (type + strlen (type) - 14, "compressed-tar") == 0;
  return false;
}

bool
media_type_matches (const char *type, const char *wanted)
{
  char bare[TYPE_MAX], asked[TYPE_MAX];
  const struct class *class;
  size_t n;

  canonical (type, bare);
  canonical (wanted, asked);
  n = strlen (asked);
  if (bare[0] == '\0' || n == 0)
    return false;
  if (n >= 2 && strcmp (asked + n - 2, "/*") == 0)
    return strncmp (bare, asked, n - 1) == 0;
  class = class_of (asked);
  return class ? in_class (bare, class) : strcmp (bare, asked) == 0;
}

const char *
media_type_classes (void)
{
  return "image, video, audio, text, document, spreadsheet, presentation, archive, font, model";
}
