#!/usr/bin/env bash
# Plants one bug at a time into the protocol and the formats, and demands that the tests find it.
#   tests/mutants.sh [word]              only the mutants whose name has the word
#   tests/mutants.sh --check [word]      only whether each still changes its file: builds and runs nothing
# Exit code 0 where every mutant was caught. Works on a copy; docs/testing.md has the table.
set -u
check=; [[ ${1:-} != --check ]] || { check=1; shift; }
root=$(cd "$(dirname "$0")/.." && pwd)
copy=$(mktemp -d)
trap 'rm -r "$copy"' EXIT
trap 'exit 130' INT TERM
if [[ $check ]]; then
    mkdir "$copy/aft-core" && cp -R "$root/aft-core/src" "$copy/aft-core/"
else
    (cd "$root" && git ls-files -co --exclude-standard -z | tar -c --null -T - ) | tar -x -C "$copy"
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$root/target}/mutants
# A mutant is caught by the first failing case; the smallest one is of no interest.
export PROPTEST_MAX_SHRINK_ITERS=0 RUST_BACKTRACE=0
saved=$root/aft-core/src/protocol
cd "$copy/aft-core/src/protocol" || exit 2

# name | file | perl substitution on the whole file
mutants() { cat <<'END'
choose: the floor is ignored|choose.rs|s/take_while\(\|found\| found\.version\(\) >= floor\)/take_while(|_| true)/
choose: the floor's own version is refused|choose.rs|s/version\(\) >= floor/version() > floor/
choose: any version is admitted|choose.rs|s/\|\| admits\(reads, found\)/|| true/
choose: the oldest version first|choose.rs|s/\.iter\(\)\.rev\(\)\.take_while/.iter().take_while/
choose: a lost version is absent|choose.rs|s/None if floor\.is_absent\(\)/None if true/
choose: a key that was read is chosen anew|choose.rs|s/if let Some\(read\) = reads\.read\(key\) \{/if let (Some(read), false) = (reads.read(key), true) {/
scan: the range is forgotten|choose.rs|s/reads\.record_range\(covered\.clone\(\)\);//
scan: a tombstone is recorded as absent|choose.rs|s/else \{\s*read\(&key, reads, &versions, base\)\?\s*\};/else { let found = choose(&key, reads, &versions, base)?; reads.record(&key, found.as_ref().filter(|found| !found.is_tombstone())); found };/
scan: a page covers the whole range|choose.rs|s/Some\(last\) if more =>/Some(last) if more && false =>/
scan: a page of no keys|choose.rs|s/limit\.max\(1\)/limit/
scan: a floor under an unknown key is passed over|choose.rs|s/in reads\.unread_floors_in\(&covered\) \{/in reads.unread_floors_in(&covered).into_iter().take(0) {/
read set: absent reads are forgotten|read_set.rs|s/self\.reads\.insert\(key, found\.cloned\(\)\);/if found.is_some() { self.reads.insert(key, found.cloned()); }/
read set: floors are not raised|read_set.rs|s/if commit\.writes\.len\(\) == 1 \|\| !self\.commits/if true || !self.commits/
read set: a floor is lowered again|read_set.rs|s/\*floor = \(\*floor\)\.max\(at_least\)/*floor = at_least/
read set: the single-write shortcut for all|read_set.rs|s/if commit\.writes\.len\(\) == 1 \|\| self\.commits/if commit.writes.len() > 0 || self.commits/
read set: the shortcut skips absent reads|read_set.rs|s/read\.as_ref\(\)\.map_or\(Version::ABSENT, Found::version\) < commit\.version && wrote/read.as_ref().is_some_and(|read| read.version() < commit.version) && wrote/
read set: a commit that was read is refused|read_set.rs|s{ \|\| self\.commits\.contains\(&commit\.version\)}{}; s{read < commit\.version\)}{read <= commit.version)}
read set: admits forgets the ranges|read_set.rs|s/if self\.ranges\.is_empty\(\) && self\.reads/if self.reads/
read set: an older range is dropped|../key_range.rs|s/None => true,/None => false,/
read set: ranges are not joined|../key_range.rs|s/            joined = union;\n/            drop(union);\n/
read set: the greatest version ignores tombstones|read_set.rs|s/flatten\(\)\.map\(Found::version\)\.max/flatten().filter(|found| !found.is_tombstone()).map(Found::version).max/
view: versions in the order of arrival|view.rs|s/versions\.insert\(at, found\)/let _ = at;\n        versions.push(found)/
view: a record that comes twice counts twice|view.rs|s/if is_folded\(&known\.key\(\)\.0, known\.get\(\), &self\.base\) \{\s*self\.remove\(version\);\s*\}\s*return false;/known.into_mut()/
range: the end is included|../key_range.rs|s/is_none_or\(\|end\| key < \*end\)/is_none_or(|end| key <= *end)/
range: ranges that do not touch are joined|../key_range.rs|s/if !reaches\(self, other\) \|\| !reaches/if !reaches(self, other) && !reaches/
prune: a version supersedes itself|prune.rs|s/newest\[key\] > commit\.version/newest[key] >= commit.version/
prune: one overwritten key is enough|prune.rs|s/writes\.keys\(\)\.all\(/writes.keys().any(/
prune: the oldest version supersedes|prune.rs|s/\(\*version\)\.max\(/(*version).min(/
in time: the deadline is one early|timeliness.rs|s/last_modified\.ms\(\) > clock_ms\.saturating_add\(self\.deadline_ms\)/last_modified.ms() >= clock_ms.saturating_add(self.deadline_ms)/
in time: the lifetime is not checked|timeliness.rs|s/clock_ms - start_ms > self\.lifetime_ms/false/
in time: a clock ahead is not checked|timeliness.rs|s/clock_ms > last_modified\.ms\(\)\.saturating_add\(self\.skew_ms\)/false/
in time: a refresh forgets late visibility|timeliness.rs|s/self\.visibility_ms \+ self\.publish_ms \+ ROUNDING_MS/self.publish_ms + ROUNDING_MS/
in time: a refresh forgets publication|timeliness.rs|s/self\.visibility_ms \+ self\.publish_ms \+ ROUNDING_MS/self.visibility_ms + ROUNDING_MS/
in time: a sweep forgets the deadline|timeliness.rs|s/self\.visibility_ms \+ self\.deadline_ms \+ self\.lifetime_ms \+ self\.skew_ms/self.visibility_ms + self.lifetime_ms + self.skew_ms/
in time: an id is forgotten early|timeliness.rs|s/self\.lifetime_ms \+ self\.deadline_ms \+ self\.visibility_ms/self.lifetime_ms + self.visibility_ms/
range: ranges in the order of arrival|../key_range.rs|s/ranges\.insert\(at, joined\)/let _ = at;\n    ranges.push(joined)/
join: a key may be read at two versions|branches.rs|s/!= \*version \{/!= *version && false {/
join: a read below a floor|branches.rs|s/is_some_and\(\|read\| read < floor\)/is_some_and(|read| read < floor && false)/
join: a read at a floor is refused|branches.rs|s/is_some_and\(\|read\| read < floor\)/is_some_and(|read| read <= floor)/
join: the lower floor counts|branches.rs|s/\(\*merged\)\.max\(\*floor\)/(*merged).min(*floor)/
join: floors under what was read stay|branches.rs|s/floors\.retain\([^\n]*\n//
join: the ranges of one branch alone are checked|branches.rs|s/for branch in \[a, b\]/for branch in [a, a]/
join: a range admits what the other branch read|branches.rs|s/seen\.chain\(/seen.take(0).chain(/
join: a range admits what the other branch must read|branches.rs|s/seen\.chain\(floors\.keys\(\)\)/seen.chain(floors.keys().take(0))/
join: what both found absent is refused|branches.rs|s/filter\(\|\(_, version\)\| !version\.is_absent\(\)\)/filter(|_| true)/
join: both may write a key|branches.rs|s/contains\(&in_b\)\.then_some\(in_a\)/contains(&in_b).then_some(in_a).or(Some(in_a))/
join: what was inherited wins|branches.rs|s/Some\(in_b\)\n/Some(in_a)\n/
join: a write of the second branch is dropped|branches.rs|s/\? == theirs\.writer/? == theirs.writer && false/
join: the older result wins|branches.rs|s/if newer == ours\.0/if newer != ours.0/
join: ranges pile up|branches.rs|s/key_range::add\(&mut joined\.ranges, range\)/joined.ranges.push(range)/
join: inline values keep their places|branches.rs|s/    lay_out\(&mut writes\);\n//
join: receipts are lost|branches.rs|s/    joined\.receipts\.extend\(b\.receipts\);\n//
join: attempts are lost|branches.rs|s/    joined\.lineage\.extend\(b\.lineage\);\n//
join: the younger age counts|branches.rs|s/age_ms\.max\(b\.age_ms\)/age_ms.min(b.age_ms)/
join: the older checkpoint counts|branches.rs|s/base\.max\(b\.base\)/base.min(b.base)/
join: a foreign request|branches.rs|s/\(&a\.store_id, a\.txn, &a\.request_key\) != \(&b\.store_id, b\.txn, &b\.request_key\)/(&a.store_id, a.txn) != (&b.store_id, b.txn)/
resume: ranges are forgotten|branches.rs|s/    state\.ranges\.iter\(\)\.for_each\([^\n]*\n//
resume: a version that is not there was absent|branches.rs|s/return Err\(Lost\(\*version\)\)/let _ = Lost(*version)/
resume: writes are this attempt's own|write_buffer.rs|s/Pending \{ content, writer \}\);/Pending { content, writer: self.attempt }\);/
token: a damaged value is taken|../format/token.rs|s/if checksum\(&inline\) != \*expected/if false && checksum(&inline) != *expected/
token: an entry may come twice|../format/token.rs|s/\*last >= key/*last > key/
token: ranges may touch|../format/token.rs|s/\|last\| !last\.precedes\(&range\)/|last| last.precedes(&range) && false/
token: a floor may be absent|../format/token.rs|s/ \|\| \(entry\.version == 0 && !absent\)//
token: more payload than values|../format/token.rs|s/if at != bytes\.len\(\) \|\| writers/if writers/
token: more writers than writes|../format/token.rs|s/ \|\| writers\.next\(\)\.is_some\(\)//
token: a commit passes for open|../format/token.rs|s/record\.clock != Timestamp::default\(\) \|\| //
token: one byte too long a key|../format/token.rs|s/entry\.key\.len\(\) > MAX_KEY_BYTES/entry.key.len() > MAX_KEY_BYTES + 1/
token: the group of a commit is forgotten|../format/token.rs|s/receipt\.decided_by\.map_or\(txn, TxnId::from_bytes\)/txn/
claim: more than one|../format/request.rs|s/!rest\.is_empty\(\) \|\| payload_start != object\.len\(\)/payload_start != object.len()/
claim: a payload|../format/request.rs|s/!rest\.is_empty\(\) \|\| payload_start != object\.len\(\)/!rest.is_empty()/
claim: an empty key|../format/request.rs|s/wire\.key\.is_empty\(\) \|\| //
claim: the hash of the key alone|../format/request.rs|s/hash_of\(b"aft request key\\0", key\)/hash_of(b"", key)/
fold: the older version stays|fold.rs|s/b\.version\.cmp\(&a\.version\)/a.version.cmp(&b.version)/
fold: a row that comes twice is lost|fold.rs|s/Some\(version\) if version == row\.version &&/Some(version) if version == row.version && false &&/
fold: every tombstone leaves|fold.rs|s/self\.purge_bound\.is_some_and\(\|bound\| row\.version < bound\)/true/
fold: a tombstone at the bound leaves|fold.rs|s/row\.version < bound/row.version <= bound/
fold: values leave too|fold.rs|s/matches!\(row\.value, RowValue::Tombstone\)\n\s*&& //
fold: rows out of order are merged|fold.rs|s/if !goes_on \|\| !rows/if !goes_on && !rows/
fold: what is unfolded bounds no purge|knowledge/draft.rs|s/open\.map\(TxnId::start_ms\)/open.map(TxnId::start_ms).take(0)/
fold: what a sweep may find bounds no purge|fold.rs|s/fold\(window_from_ms, u64::min\)/fold(window_from_ms.max(1 << 48), u64::min)/
fold: settled by the sweep alone|fold.rs|s/fold\(window_from_ms, u64::min\)/fold(window_from_ms, |settled, _| settled)/
fold: runs are merged once they are lighter|fold.rs|s/< 2 \* newer/< newer/
fold: only the first run that is too light|fold.rs|s/count = n \+ 1;/count = n + 1;\n            break;/
fold: all runs every time|fold.rs|s/if u128::from\(\*weight\) < 2 \* newer/if true || 2 * newer == 0/
collect: a horizon forgets clocks|collect.rs|s/3 \* self\.skew_ms/self.skew_ms/
collect: a horizon forgets staleness|collect.rs|s/let window = self\.staleness_ms\n\s*\+ self\.deadline_ms/let window = self.deadline_ms/
collect: a horizon forgets the lifetime|collect.rs|s/HorizonWithoutLifetime\) \{ 0 \} else \{ self\.lifetime_ms \}/HorizonWithoutLifetime) { 0 } else { 0 }/
collect: a horizon forgets the deadline|collect.rs|s/let window = self\.staleness_ms\n\s*\+ self\.deadline_ms/let window = self.staleness_ms/
collect: a manifest settles before it is visible|collect.rs|s/self\.staleness_ms \+ self\.lifetime_ms \+ self\.visibility_ms/self.staleness_ms + self.lifetime_ms/
collect: a manifest settles before refreshes|collect.rs|s/self\.staleness_ms \+ self\.lifetime_ms \+ self\.visibility_ms/self.lifetime_ms + self.visibility_ms/
collect: a file goes before its manifest is visible|collect.rs|s/2 \* self\.visibility_ms/self.visibility_ms/
collect: no manifest is void|collect.rs|s/date\.ms\(\) > begun\.ms\(\)\.saturating_add\(self\.lifetime_ms\)/date.ms() > begun.ms().saturating_add(self.lifetime_ms) \&\& false/
collect: an outcome that is not in the runs|collect.rs|s/start_ms < settled_ms && //
collect: an outcome goes before the deadline|collect.rs|s/claimed \+ self\.claims_window\(\)/claimed + self.claims_window() - self.deadline_ms/
collect: claims go before the slowest claim|collect.rs|s/3 \* self\.visibility_ms/self.visibility_ms/
collect: a feed object at the horizon goes|collect.rs|s/published < settled_horizon/published <= settled_horizon/
collect: garbage goes before its manifest settles|collect.rs|s/number <= settled/number <= settled + 1/
manifest: a wrong sum is taken|../format/manifest.rs|s/!= wire\.sum\(\) \{/!= wire.sum() && false {/
manifest: files of a run may overlap|../format/manifest.rs|s/before\.last_key < after\.first_key/before.last_key <= after.first_key/
manifest: the first file from a key on|../format/manifest.rs|s/\.filter\(\|file\| \*file\.first_key <= \*key\)//
manifest: the end of a range is in it|../format/manifest.rs|s/first_key < \*end/first_key <= *end/
manifest: a file may be listed twice|../format/manifest.rs|s/ids\.insert\(file\.id\)/{ ids.insert(file.id); true }/
recent: a feed object of any time|../format/feed.rs|s/self\.time_ms >= 1 << 48/false/
recent: a payload|../format/recent.rs|s/!rest\.is_empty\(\) \|\| payload_start != object\.len\(\)/!rest.is_empty()/
garbage: more than one|../format/garbage.rs|s/!rest\.is_empty\(\) \|\| payload_start != object\.len\(\)/payload_start != object.len()/
END
}

failed=0
while IFS= read -r line; do
    name=${line%%|*}; rest=${line#*|}; file=${rest%%|*}; change=${rest#*|}
    [[ $name == *"${1:-}"* ]] || continue
    perl -0pi -e "$change" "$file"
    if cmp -s "$file" "$saved/$file"; then
        echo "STALE     $name"; failed=1
    elif [[ $check ]]; then
        echo "changes   $name"
    elif ! out=$(cargo test -q -p aft-core --lib --no-run 2>&1); then
        echo "NO BUILD  $name"; grep -m3 '^error' -A4 <<<"$out"; failed=1
    elif out=$(timeout 300 cargo test -q -p aft-core --lib -- protocol:: format:: key_range:: 2>&1); then
        echo "SURVIVED  $name"; failed=1
    else
        found=$(grep -oE '^    (protocol|format|key_range)::.*' <<<"$out" | sort -u | sed 's/^ *//; s/^protocol:://')
        [[ $found ]] || failed=1
        echo "caught    $name: $(wc -l <<<"$found"), ${found%%$'\n'*}"
    fi
    cp "$saved/$file" "$file"
done < <(mutants)
exit $failed
