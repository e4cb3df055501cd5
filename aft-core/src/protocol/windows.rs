//! (tests) The table of windows in `docs/design.md`, made from the rules: a page that is copied drifts.

use std::fmt::Write;
use std::time::Duration;

use crate::protocol::timeliness::StoreTime;
use crate::protocol::timeliness::tests::limits;

const BEGIN: &str = "<!-- windows -->\n";
const END: &str = "<!-- /windows -->";

/// The last moment after 1000 s at which a rule still says no, in milliseconds after these.
fn last(rule: impl Fn(StoreTime) -> bool) -> u64 {
    let first = (1_000..1_000_000).find(|now| rule(StoreTime(*now))).unwrap();
    (first - 1 - 1_000) * 1000
}

fn table() -> String {
    let limits = limits();
    let (at, now) = (StoreTime(1_000), StoreTime(1_000_000));
    let day = Duration::from_secs(86_400);
    let ms = |window: Duration| u64::try_from(window.as_millis()).unwrap();
    let rows = [
        ("an id is forgotten", last(|now| limits.is_forgotten(at.ms(), now)), "after its start"),
        ("a refresh lists names", now.ms() - limits.refresh_from_ms(now), "before the newest date known"),
        ("a sweep lists ids", now.ms() - limits.sweep_window_from_ms(now), "before `swept_through`"),
        ("a commit is folded", now.ms() - limits.horizon(now).ms(), "after its publication"),
        ("a manifest settles", last(|now| limits.settles(at, now)), "after its date"),
        ("a manifest is void", last(|dated| limits.manifest_void(at, dated)), "after it was begun"),
        (
            "a file that no manifest names goes",
            last(|now| limits.unreferenced_file_may_go(at, now)),
            "after its date",
        ),
        (
            "an orphan value goes",
            last(|now| limits.orphan_value_may_go(at.ms(), now)),
            "after its transaction's start",
        ),
        (
            "claims go",
            last(|now| limits.claims_may_go(at, now, ms(day))) - ms(day),
            "and `outcome_retention` after the newest's date",
        ),
        ("a node begins anew from a manifest", limits.feed_kept_ms(), "after its last refresh"),
    ];
    let mut table = String::from("| what | by default | since |\n|---|---|---|\n");
    for (what, window, since) in rows {
        let window = humantime::format_duration(Duration::from_millis(window));
        writeln!(table, "| {what} | {window} | {since} |").unwrap();
    }
    table
}

#[test]
fn the_page_says_what_the_rules_say() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/design.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("AFT_BLESS").is_some() {
        std::fs::write(path, made).unwrap();
        return;
    }
    assert!(
        page == made,
        "docs/design.md has other windows; `AFT_BLESS=1 cargo test -p aft-core windows` writes it"
    );
}
