//! What `aft` does where somebody sits at a terminal: it asks before it deletes, and uses colours. And how signals stop it.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod common;
#[path = "common/terminal.rs"]
mod terminal;

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use common::{Place, read_tree};
use terminal::{Said, on_terminal};

/// `aft` on a terminal that does colours, in an environment that says nothing about them.
fn aft(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(name);
    }
    command.env("TERM", "xterm");
    command
}

fn says(place: &Place, arguments: &[&str], typed: &str) -> Said {
    on_terminal(&mut aft(place, arguments), typed, false)
}

#[test]
fn what_deletes_more_than_was_named_asks_first() {
    let place = Place::new();
    let tree = place.tree("tree", &[(b"kept", b"new")]);
    let out = place.tree("out", &[(b"precious", b"1")]);
    place.aft(&["put", "t/kept", "old"]).ok();
    place.aft(&["put", "t/gone", "old"]).ok();
    let commands: [&[&str]; 4] = [
        &["gc"],
        &["adopt", "--unpublished", "abort"],
        &["import", "tree", "--prefix", "t", "--delete"],
        &["export", "out", "--prefix", "t"],
    ];
    for arguments in commands {
        let (store, there) = (place.aft(&["dump"]).stdout, read_tree(&out));
        // Enter alone, another word, and the end of the input.
        for no in ["\n", "nope\n", "\u{4}"] {
            let said = says(&place, arguments, no);
            assert_eq!(said.status.code(), Some(1), "{}", said.screen);
            assert!(said.screen.contains("Go on? [y/N]"), "{}", said.screen);
            assert!(
                said.screen.contains("nothing was deleted") && said.screen.contains("--yes"),
                "{}",
                said.screen
            );
        }
        assert!(place.aft(&["dump"]).stdout == store && read_tree(&out) == there, "{arguments:?}");
        let said = says(&place, &[arguments, &["--yes"]].concat(), "");
        assert!(said.status.success() && !said.screen.contains("Go on?"), "{arguments:?}: {}", said.screen);
    }
    assert_eq!(read_tree(&out), read_tree(&tree));
    // A yes goes on, and what nothing is deleted for does not ask.
    let said = says(&place, &["export", "out", "--prefix", "t"], "y\n");
    assert!(
        said.status.success() && said.screen.contains("in") && said.screen.contains("Go on?"),
        "{}",
        said.screen
    );
    let quiet: [&[&str]; 5] = [
        &["gc", "--dry-run"],
        &["import", "tree", "--prefix", "t", "--delete"],
        &["export", "elsewhere", "--prefix", "t"],
        &["adopt"],
        &["del", "t/kept"],
    ];
    for arguments in quiet {
        let said = says(&place, arguments, "");
        assert!(said.status.success() && !said.screen.contains("Go on?"), "{arguments:?}: {}", said.screen);
    }
}

#[test]
fn scripts_are_not_asked() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    place.aft(&["gc"]).ok();
    // Nor where only stderr is a terminal.
    let mut command = aft(&place, &["gc"]);
    let pipe = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
    assert!(pipe.wait_with_output().unwrap().status.success());
}

#[test]
fn colours_are_for_terminals_and_for_who_asks() {
    let place = Place::new();
    place.aft(&["put", "k", "v"]).ok();
    let error = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = aft(&place, &[&["get", "absent"], arguments].concat());
        command.envs(variables.iter().copied());
        let screen = on_terminal(&mut command, "", true).screen;
        assert!(screen.contains("there is no key absent"), "{screen}");
        screen.contains("\u{1b}[")
    };
    assert!(error(&[], &[]));
    assert!(!error(&[("NO_COLOR", "1")], &[]));
    assert!(!error(&[("TERM", "dumb")], &[]));
    assert!(!error(&[], &["--color", "never"]));
    assert!(error(&[("NO_COLOR", "1")], &["--color", "always"]));
    // The head of a table is bold, and nothing else of it.
    let said = on_terminal(&mut aft(&place, &["log"]), "", true).screen;
    let (head, last) = (said.lines().next().unwrap(), said.lines().last().unwrap());
    assert!(head.contains("\u{1b}[1m") && !last.contains('\u{1b}'), "{said:?}");
    // Into a pipe or a file: none, unless they are asked for. Also of what clap says.
    let piped = |variables: &[(&str, &str)], arguments: &[&str]| {
        let output =
            aft(&place, arguments).envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
        (output.stdout.contains(&0x1b), output.stderr.contains(&0x1b))
    };
    assert_eq!(piped(&[], &["log"]), (false, false));
    assert_eq!(piped(&[], &["log", "--color", "always"]), (true, false));
    assert_eq!(piped(&[("CLICOLOR_FORCE", "1")], &["log"]), (true, false));
    assert_eq!(piped(&[("CLICOLOR_FORCE", "1")], &["get", "absent"]), (false, true));
    assert_eq!(piped(&[], &["log", "--wrong"]), (false, false));
    assert_eq!(piped(&[], &["log", "--wrong", "--color=always"]), (false, true));
}

/// A signal before the commit: nothing was committed, and the command says so.
#[test]
fn a_command_that_is_stopped_says_what_became_of_the_store() {
    let place = Place::new();
    place.aft(&["put", "k", "old"]).ok();
    for (arguments, begin) in [
        (&["put", "k"][..], &b"a beginning"[..]),
        (&["put", "--from-jsonl", "-"], b"{\"key\":\"k\",\"value\":\"new\"}\n"),
        (&["load", "-"], b"{\"aft_dump\":{\"version\":1,\"keys\":1}}\n{\"key\":\"k\",\"value\":\"new\"}\n"),
    ] {
        for signal in ["INT", "TERM"] {
            let mut command = place.command(arguments);
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null());
            let mut child = command.spawn().unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(begin).unwrap();
            // It waits for the rest of its input then.
            std::thread::sleep(std::time::Duration::from_millis(1_500));
            let kill = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status();
            assert!(kill.unwrap().success());
            let mut stderr = String::new();
            child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
            assert_eq!(child.wait().unwrap().code(), Some(1), "{arguments:?} {signal}: {stderr}");
            assert!(
                stderr.starts_with("error: stopped by a signal\n  hint: nothing was committed"),
                "{stderr}"
            );
            drop(stdin);
        }
    }
    assert_eq!(place.aft(&["get", "k"]).ok().text(), "old");
}
