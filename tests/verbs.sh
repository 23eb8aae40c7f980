# SPDX-License-Identifier: BSD-3-Clause
# Sourced after functions.sh by the tests of providers: what every remote must come to, whatever the server.  What is said to be
# done is done, whole; what is refused has left everything as it was; versions that are not the one that was meant stay; and
# nothing is left behind.
#
#   . "$(dirname "$0")/verbs.sh"
#   remote=(https://127.0.0.1:1234/ user=alice password=secret)     what cloudtool is given first (or define "tool")
#   see ()                        another's eyes and hands, which know nothing of the provider (see_in_folder makes one):
#   {                               get PATH       prints a file; fails when there is none
#       case $1 in ...              put PATH FILE  stores a file behind the provider's back
#   }                               all            prints the paths of all files and folders, these with a / at their end,
#                                                  sorted by bytes; without uploads under way
#                                   clear          removes all
#   verbs                         files and folders; the remote is empty before and after each of these
#   verbs_names                   names that are odd, but good
#   verbs_times                   of change, where they are kept
#   verbs_ranges BYTES            of a file of that many
#   verbs_large BYTES             a file of that many, up and down, in pieces
#   verbs_many N                  files in one folder
#   verbs_stopped                 in the middle
#   verbs_huge                    5 GiB; needs them at both ends
#
# In what remotes differ; set it after sourcing this:

# A name as long as may be, and one that is refused.
verbs_longest_name=$(printf '%0250d' 7)
verbs_too_long_name=$(printf '%0256d' 7)
# Names of verbs_names that the remote has its own opinion about.
verbs_names_not=()
# Keeps times of change.
verbs_keeps_times=no
# Seconds that one run of cloudtool may take.
verbs_timeout=120

# enum cloud_result
OK=0 GONE=1 CHANGED=2 OFFLINE=3 AUTH=4 DENIED=5 BUSY=6 EXISTS=7 PARENT=8 FULL=9 REFUSED=10 BAD=11 LOCAL=12 STOPPED=13 WHOLE=14

: "${CLOUDTOOL:=$abs_top_builddir/tests/cloudtool}"
[ -x "$CLOUDTOOL" ] || skip "$CLOUDTOOL has not been built"

remote=()
printf 'one\n' >"$tmp/one"
printf 'two, which is longer\n' >"$tmp/two"
head -c 1000 /dev/zero | tr '\0' x >"$tmp/1000"
head -c 3000000 /dev/urandom >"$tmp/large"
: >"$tmp/empty"

tool ()
{
    timeout "$verbs_timeout" "$CLOUDTOOL" "${remote[@]}" "$@"
}

# is RESULT[|RESULT] ARGUMENT...: runs cloudtool; what it prints is in $tmp/tool.out, and in $out without NULs.
is ()
{
    local want=$1 status=0
    shift
    tool "$@" >"$tmp/tool.out" 2>"$tmp/tool.err" || status=$?
    out=$(tr -d '\0' <"$tmp/tool.out")
    ! grep -qE 'Sanitizer|runtime error' "$tmp/tool.err" || cat "$tmp/tool.err" >&2
    [[ "|$want|" = *"|$status|"* ]] ||
        fail "line $(caller), ${remote[*]:-$URL} $*: $status instead of $want: ${out:0:500} $(cat "$tmp/tool.err")"
}

# token PATH: prints it.
token ()
{
    tool stat "$1" | cut -f 5
}

is_settled ()
{
    tool stat "$1" | grep -q 'settled$'
}

# holds PATH FILE: others see these bytes.
holds ()
{
    see get "$1" >"$tmp/seen.out" && cmp "$tmp/seen.out" "$2" || fail "line $(caller): others see other bytes in $1"
}

# only PATH...: others see these, and nothing else.
only ()
{
    { [ $# = 0 ] || printf '%s\n' "$@"; } | LC_ALL=C sort >"$tmp/seen.want"
    see all | diff "$tmp/seen.want" - || fail "line $(caller): others see other files"
}

# see_in_folder DIR: the remote is a folder of this host.
see_in_folder ()
{
    _seen=$1
    see ()
    {
        case $1 in
            get) [ -f "$_seen/$2" ] && cat "$_seen/$2" ;;
            put) cp "$3" "$_seen/$2" ;;
            all)
                # What servers keep for themselves is nobody's file.
                (cd "$_seen" && find . -mindepth 1 \( -name .DAV -o -name '.cloudshare-upload-*' \) -prune -o \
                    \( -type d -printf '%P/\n' -o -printf '%P\n' \) | LC_ALL=C sort)
                ;;
            clear) find "$_seen" -mindepth 1 -delete ;;
        esac
    }
}

# ---- files and folders ----

verbs ()
{
    local v w

    only
    is $OK list
    [ -z "$out" ] || fail "listed: $out"
    is $OK put f "$tmp/one"
    v=$(cut -f 5 <<<"$out")
    [ "$v" = "$(token f)" ] || fail "another token than listed: $out"
    [ "$(cut -f 3 <<<"$out")" = 4 ] || fail "another size: $out"
    is $EXISTS put f "$tmp/two"
    is $OK version="$v" put f "$tmp/two"
    w=$(cut -f 5 <<<"$out")
    [ "$v" != "$w" ] && [ "$w" = "$(token f)" ] || fail "the token did not change as listed: $v, $w, $(token f)"
    is $OK list
    [ "$(grep '^f	' <<<"$out" | cut -f 5)" = "$w" ] || fail "a listing has another token: $out"
    is $CHANGED version="$v" put f "$tmp/one"
    is $CHANGED version="$v" remove f
    is $CHANGED version="$v" move f g
    is $CHANGED version="$v" size=4 get f
    holds f "$tmp/two"
    is $GONE version="$v" put never "$tmp/one"
    is $PARENT put no/f "$tmp/one"
    is $GONE stat never
    is $GONE list no
    is $GONE version="$v" size=4 get never
    # Nothing was made by the way.
    only f

    is $OK put large "$tmp/large"
    holds large "$tmp/large"
    is $OK get large
    cmp "$tmp/tool.out" "$tmp/large"
    is $OK get large 1000000 5
    cmp -i 1000000:0 -n 5 "$tmp/large" "$tmp/tool.out" && [ "$(stat -c %s "$tmp/tool.out")" = 5 ] || fail "a range came out differently"
    is $OK parallel=7 get large
    cmp "$tmp/tool.out" "$tmp/large"
    is $OK version="$(token large)" put large "$tmp/empty"
    holds large "$tmp/empty"
    # A source that fails in the middle leaves the old one.
    is $LOCAL version="$(token f)" cut=1000000 put f "$tmp/large"
    holds f "$tmp/two"
    is $LOCAL cut=1000000 put new "$tmp/large"
    is $GONE stat new

    is $OK mkdir d
    is $EXISTS mkdir d
    is $EXISTS mkdir f
    is $PARENT mkdir no/d
    is $EXISTS put d "$tmp/one"
    is "$EXISTS|$CHANGED" version='"x"' put d "$tmp/one"
    only d/ f large

    is $OK move f 'd/a name # of 100%'
    holds 'd/a name # of 100%' "$tmp/two"
    is $GONE version="$w" move f g
    is $OK put f "$tmp/one"
    is $EXISTS move f 'd/a name # of 100%'
    is $PARENT move f no/f
    holds f "$tmp/one"
    holds 'd/a name # of 100%' "$tmp/two"
    is $EXISTS move f d
    is $EXISTS move d f
    is $REFUSED move d d/inside
    is $OK mkdir d/empty
    is $OK move d e
    only e/ 'e/a name # of 100%' e/empty/ f large
    holds 'e/a name # of 100%' "$tmp/two"
    is $OK mkdir d
    is $EXISTS move d e
    is $OK remove d
    is $OK move f F
    is $GONE stat f
    is $OK move F f

    is $EXISTS remove e
    only e/ 'e/a name # of 100%' e/empty/ f large
    is $OK remove 'e/a name # of 100%'
    is $OK remove e/empty
    is $OK stat e
    is $OK remove e
    is $GONE folder=true remove e
    is $CHANGED folder=true remove f
    only f large

    # Somebody else's version, as long as ours.
    is $OK stat f
    wait_until 20 is_settled f
    v=$(token f)
    printf 'ONE\n' >"$tmp/other"
    see put f "$tmp/other"
    is $CHANGED version="$v" put f "$tmp/two"
    is $CHANGED version="$v" move f g
    is $CHANGED version="$v" remove f
    is $CHANGED version="$v" size=4 get f
    holds f "$tmp/other"

    is $OK remove f
    is $GONE version="$v" remove f
    is $OK remove large
    is $REFUSED put "$verbs_too_long_name" "$tmp/one"
    is $OK put "$verbs_longest_name" "$tmp/one"
    is $OK remove "$verbs_longest_name"
    is $OK list
    [ -z "$out" ] || fail "listed: $out"
    only
}

# ---- names ----

verbs_names ()
{
    local name names=()
    for name in 'a b' ' leading' '#1' '100%' '%41' 'a+b&c=d' "it's" 'ä€😀' '~tilde' '[x](y){z}' 'semi;colon,comma' '-' \
        '.hidden' 'a"b' 'q?m*k' 'x:y' 'back\slash' '<tag>&amp;' '...' 'two  spaces' 'a=b@c$d^e|f`g'; do
        case " ${verbs_names_not[*]-} " in *" $name "*) ;; *) names+=("$name") ;; esac
    done
    is $OK mkdir names
    for name in "${names[@]}"; do
        is $OK put "names/$name" "$tmp/one"
        holds "names/$name" "$tmp/one"
        is $OK version="$(token "names/$name")" put "names/$name" "$tmp/two"
    done
    is $OK list names
    cut -f 1 <<<"$out" | LC_ALL=C sort >"$tmp/listed"
    printf 'names/%s\n' "${names[@]}" | LC_ALL=C sort | diff - "$tmp/listed" || fail "names come out differently"
    for name in "${names[@]}"; do
        is $OK mkdir "in $name"
        is $OK move "names/$name" "in $name/$name"
        holds "in $name/$name" "$tmp/two"
        is $OK get "in $name/$name"
        cmp "$tmp/tool.out" "$tmp/two"
        is $OK move "in $name" "$name of"
        is $OK list "$name of"
        [ "$(cut -f 1 <<<"$out")" = "$name of/$name" ] || fail "listed: $out"
        is $OK remove "$name of/$name"
        is $OK remove "$name of"
    done
    is $OK remove names
    only
}

# ---- times ----

verbs_times ()
{
    is $OK mtime=1234567890 put t "$tmp/1000"
    if [ "$verbs_keeps_times" = yes ]; then
        [ "$(cut -f 4 <<<"$out")" = 1234567890 ] || fail "the time was not kept: $out"
        is $OK touch t 1111111110
        [ "$(cut -f 4,5 <<<"$out")" = "1111111110	$(token t)" ] || fail "the time was not set: $out"
        is $OK stat t
        [ "$(cut -f 4 <<<"$out")" = 1111111110 ] || fail "another time is listed: $out"
    else
        is $REFUSED touch t 1111111110
    fi
    holds t "$tmp/1000"
    is $OK remove t
    only
}

# ---- ranges ----

# changed OLD NEW SIZE OFFSET+LENGTH,...: NEW is OLD with other bytes in these ranges, and that size.
changed ()
{
    python3 -c '
import os, sys
old, new, size, ranges = sys.argv[1:]
content = bytearray (open (old, "rb").read ()[:int (size)])
content += bytes (int (size) - len (content))
for range in ranges.split (","):
  offset, length = map (int, range.split ("+"))
  content[offset:offset + length] = os.urandom (length)
assert len (content) == int (size)
open (new, "wb").write (content)' "$@"
}

# Ranges alone are taken, or all is asked for; with all at hand it is done in either way.
verbs_ranges ()
{
    local size=$1 new_size ranges whole status v alone=0 all=0 m=$(($1 / 2))
    head -c "$size" /dev/urandom >"$tmp/old"
    is $OK put r "$tmp/old"
    for ranges in "0+1" "0+4096" "$m+4096" "$((size - 1))+1" "$((m - 100))+4,$m+10,$((m + 20000))+70000" \
        "$((size - 10))+$((10 + 5000))" "7+9,$size+100000" "$m+1,$size+$m" "100+4096 $((size - 5000))" "0+$m $m"; do
        read -r ranges new_size <<<"$ranges"
        : "${new_size:=$(awk -F '[+,]' -v size="$size" '{ end = $(NF - 1) + $NF; print (end > size ? end : size) }' <<<"$ranges")}"
        for whole in true false; do
            changed "$tmp/old" "$tmp/new" "$new_size" "$ranges"
            v=$(token r)
            is $CHANGED version='"0-0-0"' base="$size" ranges="$ranges" whole=$whole put r "$tmp/new"
            holds r "$tmp/old"
            status=0
            tool version="$v" base="$size" ranges="$ranges" whole=$whole put r "$tmp/new" >"$tmp/tool.out" 2>"$tmp/tool.err" || status=$?
            if [ $status = $WHOLE ] && [ $whole = false ]; then
                all=$((all + 1))
                holds r "$tmp/old"
                is $OK version="$v" put r "$tmp/new"
            else
                [ $status = $OK ] || fail "ranges $ranges of $size, now $new_size: $status: $(cat "$tmp/tool.err")"
                [ $whole = true ] || alone=$((alone + 1))
            fi
            [ "$(cut -f 3,5 "$tmp/tool.out")" = "$new_size	$(token r)" ] || fail "another token or size: $(cat "$tmp/tool.out")"
            holds r "$tmp/new"
            is $OK get r
            cmp "$tmp/tool.out" "$tmp/new"
            # Or that is taken for the same put, whose answer got lost.
            is "$CHANGED|$OK" version="$v" base="$size" ranges="$ranges" whole=$whole put r "$tmp/new"
            holds r "$tmp/new"
            # Back to what the other ranges begin with.
            is $OK version="$(token r)" put r "$tmp/old"
        done
    done
    is $GONE version="$v" base="$size" ranges=0+1 whole=false put never "$tmp/old"
    is $OK remove r
    only
    rm "$tmp/old" "$tmp/new"
    echo "${remote[0]:-$URL}: $alone of $((alone + all)) puts of ranges of $size bytes went alone"
}

# ---- much ----

verbs_large ()
{
    local v
    head -c "$1" /dev/urandom >"$tmp/much"
    is $OK put l "$tmp/much"
    holds l "$tmp/much"
    v=$(token l)
    [ "$(cut -f 3,5 <<<"$out")" = "$1	$v" ] || fail "another size or token: $out"
    # What is there could be a put of the same whose answer was lost.
    is "$EXISTS|$OK" put l "$tmp/much"
    is $EXISTS put l "$tmp/large"
    is $CHANGED version='"0-0-0"' put l "$tmp/large"
    is $LOCAL cut=$(($1 - 1000)) put l2 "$tmp/much"
    is $GONE stat l2
    is $LOCAL version="$v" cut=$(($1 - 1000)) put l "$tmp/much"
    holds l "$tmp/much"
    is $OK move l l3
    is $OK parallel=3 get l3
    cmp "$tmp/tool.out" "$tmp/much"
    is $OK version="$(token l3)" put l3 "$tmp/one"
    holds l3 "$tmp/one"
    is $OK remove l3
    only
    rm "$tmp/much"
}

verbs_many ()
{
    is $OK mkdir many
    is $OK parallel=16 putmany many "$1"
    is $OK list many
    [ "$(grep -c '	file	1000	' <<<"$out")" = "$1" ] && [ "$(cut -f 1 <<<"$out" | sort -u | wc -l)" = "$1" ] ||
        fail "$(wc -l <<<"$out") files of $1 are listed"
    [ "$(see all | grep -c '^many/.')" = "$1" ] || fail "others see $(see all | grep -c '^many/.') files of $1"
    is $OK move many moved
    [ "$(see all | grep -c '^moved/.')" = "$1" ] || fail "others see $(see all | grep -c '^moved/.') files of $1 moved"
    see clear
}

verbs_stopped ()
{
    local ms path
    is $OK mkdir sub
    for ms in ${CLOUDSHARE_LONG:+1 10 100} 30 300; do
        is $STOPPED stop=$ms parallel=8 putmany sub 30000
        see all | grep '^sub/.' >"$tmp/stopped" || true
        # Whole, or not at all.
        [ "$(tool list sub | grep -c '	file	1000	')" -ge "$(wc -l <"$tmp/stopped")" ] || fail "half files are there"
        head -n 3 "$tmp/stopped" | while IFS= read -r path; do
            holds "$path" "$tmp/1000"
        done
        see clear
        is $OK mkdir sub
    done
    see clear
}

verbs_huge ()
{
    local size=$((5 << 30)) at verbs_timeout=3600
    truncate -s $size "$tmp/huge"
    for at in 0 $(((4 << 30) - 5)) $((size - 10)); do
        printf '%010d' "$at" | dd of="$tmp/huge" bs=10 seek="$at" oflag=seek_bytes conv=notrunc status=none
    done
    is $OK put huge "$tmp/huge"
    [ "$(cut -f 3,5 <<<"$out")" = "$size	$(token huge)" ] || fail "another size or token: $out"
    for at in 0 $(((4 << 30) - 5)) $((size - 10)); do
        is $OK get huge "$at" 10
        [ "$out" = "$(printf '%010d' "$at")" ] || fail "at $at: $out"
    done
    is $OK get huge $((1 << 30)) $((100 << 20))
    cmp -n $((100 << 20)) "$tmp/tool.out" /dev/zero
    : >"$tmp/tool.out"
    is $OK move huge moved
    is $OK stat moved
    [ "$(cut -f 3 <<<"$out")" = $size ] || fail "moved: $out"
    is $OK remove moved
    only
    rm "$tmp/huge"
}
