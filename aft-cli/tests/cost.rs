//! `aft cost` as a user runs it.

#![allow(
    clippy::unwrap_used,
    clippy::float_cmp,
    reason = "a test fails by panicking; counts are whole numbers"
)]

mod common;

use common::{Place, bare, ran};
use serde_json::Value;

fn cost(place: &Place, arguments: &[&str]) -> common::Ran {
    ran(bare(place.dir.path()).arg("cost").args(arguments).output().unwrap())
}

fn line<'a>(document: &'a Value, side: &str, name: &str) -> &'a Value {
    let lines = document[side].as_array().unwrap();
    lines.iter().find(|line| line["name"].as_str().unwrap().starts_with(name)).unwrap()
}

#[test]
fn a_month_is_priced_from_exact_counts_and_nothing_is_written() {
    let place = Place::new();
    let workload =
        ["--commits=1000", "--keys=5", "--bytes=100", "--reads=2000", "--opens=0", "--stored-gb=10"];
    let table = cost(&place, &workload).ok();
    for part in [
        "all of aft",
        "all of plain keys",
        "S3 Standard",
        "S3 Express",
        "R2",
        "GCS",
        "https://aws.amazon.com/s3/pricing/",
    ] {
        assert!(table.text().contains(part), "{part} in {}", table.text());
    }
    let json = cost(&place, &[&workload[..], &["--json"]].concat()).ok();
    let json: Value = serde_json::from_slice(&json.stdout).unwrap();
    let commits = line(&json, "aft", "commits");
    assert_eq!(
        (&commits["times"], &commits["each"]["creates"], &commits["each"]["gets"]),
        (&1000.0.into(), &1.0.into(), &0.0.into())
    );
    assert_eq!(commits["dollars"][0], 0.005);
    assert_eq!(line(&json, "plain", "writes")["times"], 5000.0);
    assert_eq!(json["plain_total"]["creates"], 5000.0);
    let first = &json["stores"][0];
    assert_eq!(first["price"]["name"], "S3 Standard");
    // 5,000 writes, 2,000 reads, 10 GB.
    let plain = first["plain_dollars"].as_f64().unwrap();
    assert!((plain - (0.025 + 0.0008 + 0.23)).abs() < 1e-9, "{plain}");
    assert_eq!(common::read_tree(place.dir.path()).len(), 0);
}

#[test]
fn a_price_list_of_ones_own_takes_the_place_of_the_built_in_one() {
    let place = Place::new();
    let prices = r#"{"note": "ours", "stores": [{"name": "Attic", "region": "here", "as_of": "2026-01", "source": "the landlord",
        "note": "", "put_per_million": 1, "get_per_million": 2, "list_per_million": 3, "delete_per_million": 4,
        "stored_per_gb_month": 5, "upload_per_gb": 0, "read_per_gb": 0, "internet_per_gb": 0}]}"#;
    std::fs::write(place.path("prices.json"), prices).unwrap();
    let table = cost(&place, &["--prices", "prices.json", "--commits=10", "--reads=0"]).ok();
    assert!(table.text().contains("Attic") && !table.text().contains("S3 Standard"), "{}", table.text());
    std::fs::write(place.path("wrong.json"), r#"{"stores": []}"#).unwrap();
    cost(&place, &["--prices", "wrong.json"]).fails(2, &["wrong.json", "no price list"]);
    cost(&place, &["--prices", "absent.json"]).fails(2, &["absent.json"]);
    cost(&place, &["--keys=10000", "--bytes=16777216"]).fails(2, &["64 MiB"]);
    assert_eq!(cost(&place, &["--keys=0"]).code, 2);
}
