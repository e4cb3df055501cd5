//! `aft report` on real stores of files.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::fs;

use common::{Place, read_tree};
use quick_xml::Reader;
use quick_xml::events::Event;

/// The names of the elements of a page that is well formed, and all that it says, attributes too.
fn read(page: &str) -> (Vec<String>, String) {
    let (mut names, mut said, mut open) = (Vec::new(), String::new(), 0usize);
    let mut reader = Reader::from_str(page);
    loop {
        match reader.read_event().unwrap() {
            Event::Eof => break,
            event @ (Event::Start(_) | Event::Empty(_)) => {
                open += usize::from(matches!(event, Event::Start(_)));
                let (Event::Start(tag) | Event::Empty(tag)) = event else { continue };
                names.push(String::from_utf8(tag.name().as_ref().to_vec()).unwrap());
                for attribute in tag.attributes() {
                    let value = attribute.unwrap().value.into_owned();
                    said.push_str(&String::from_utf8(value).unwrap());
                }
            }
            Event::End(_) => open -= 1,
            Event::Text(text) => said.push_str(std::str::from_utf8(&text).unwrap()),
            Event::GeneralRef(name) => {
                let name = String::from_utf8(name.to_vec()).unwrap();
                said.push_str(match name.as_str() {
                    "lt" => "<",
                    "gt" => ">",
                    "amp" => "&",
                    "quot" => "\"",
                    "#39" => "'",
                    other => panic!("{other}"),
                });
            }
            _ => {}
        }
    }
    assert_eq!(open, 0, "everything is closed");
    (names, said)
}

#[test]
fn a_page_is_well_formed_and_no_key_is_markup() {
    let place = Place::new();
    let evil = "<script>alert('1')</script>";
    place.aft(&["put", evil, &"x".repeat(30_000)]).ok();
    for value in ["1", "22", "333"] {
        place.aft(&["put", "a&b\"\\xff", value]).ok();
    }
    place.aft(&["checkpoint"]).ok();
    let before = read_tree(&place.store());
    let file = place.path("page.html");
    fs::write(&file, "an older page").unwrap();
    let done = place.json(&["report", file.to_str().unwrap()]);
    assert_eq!(read_tree(&place.store()), before, "nothing is written to the store");
    let page = fs::read_to_string(&file).unwrap();
    assert_eq!((&done["bytes"], done["warnings"].as_array().unwrap().len()), (&page.len().into(), 0));

    let (names, said) = read(&page);
    assert!(!names.iter().any(|name| name == "script"), "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "svg").count(), 2, "commits, and the lag of checkpoints");
    for word in [
        evil,
        "a&b\"\\xff",
        "29.30 KiB",
        "4 commits",
        "decisions in the feed: ",
        "checkpoint 1 (full)",
        "S3 Standard",
    ] {
        assert!(said.contains(word), "{word} in {said}");
    }
    for elsewhere in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(elsewhere), "{elsewhere} in the page");
    }
    let left: Vec<_> = fs::read_dir(place.dir.path()).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "the store and the page: {left:?}");
}

#[test]
fn a_page_of_an_empty_store_and_places_where_none_goes() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    place.aft(&["del", "k"]).ok();
    let file = place.path("page.html");
    let ran = place.aft(&["report", file.to_str().unwrap()]).ok();
    assert!(ran.text().contains("page.html: ") && ran.text().ends_with("0 warnings\n"), "{}", ran.text());
    let (_, said) = read(&fs::read_to_string(&file).unwrap());
    assert!(said.contains("None was made yet") && said.contains("of 0 keys"), "{said}");
    place.aft(&["report", place.dir.path().to_str().unwrap()]).fails(2, &["is a directory"]);
    place
        .aft(&["report", place.store().join("page.html").to_str().unwrap()])
        .fails(2, &["lies in the store itself"]);
    place.aft(&["report", place.path("no/such/folder").to_str().unwrap()]).fails(2, &["bad path"]);
    let nowhere = Place::new();
    nowhere
        .aft(&["report", nowhere.path("page.html").to_str().unwrap()])
        .fails(7, &["cannot open the store"]);
    assert!(!nowhere.path("page.html").exists());
}
