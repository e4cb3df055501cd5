//! `aft completions` and `aft man`: what shells and manuals are told, made from the arguments themselves.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use crate::args::{Arguments, Completions, Man};
use crate::failure::Failure;
use crate::output::Output;

const NAME: &str = "aft";

pub(crate) fn completions(args: &Completions, output: &Output) -> Result<(), Failure> {
    output.bytes(&script(args.shell))
}

fn script(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    script
}

pub(crate) fn man(args: &Man, output: &Output) -> Result<(), Failure> {
    let pages = pages()?;
    let Some(folder) = &args.dir else {
        return output.bytes(&pages.into_iter().next().unwrap_or_default().1);
    };
    write(&pages, folder).map_err(|cause| {
        Failure::io(format_args!("cannot write manual pages to {}", folder.display()), cause)
    })?;
    let names: Vec<_> = pages.iter().map(|(name, _)| name).collect();
    output.done(
        &serde_json::json!({ "pages": names }),
        format!("{} pages in {}", names.len(), folder.display()),
    )
}

fn write(pages: &[(String, Vec<u8>)], folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    pages.iter().try_for_each(|(name, page)| std::fs::write(folder.join(name), page))
}

/// The pages by their file names, that of the whole first.
fn pages() -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut command = Arguments::command();
    command.build();
    let of = |command: &Command| {
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(command.clone());
        man.render(&mut page).map_err(|cause| Failure::io("cannot make a manual page", cause))?;
        Ok((man.get_filename(), page))
    };
    let verbs = command.get_subcommands().filter(|verb| verb.get_name() != "help");
    std::iter::once(of(&command)).chain(verbs.map(of)).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn every_shell_and_every_verb_is_told() {
        for shell in Shell::value_variants() {
            let script = String::from_utf8(script(*shell)).unwrap();
            assert!(script.contains("checkpoint") && script.contains("versions"), "{shell}");
        }
        let pages = pages().unwrap();
        let verbs = Arguments::command().get_subcommands().count();
        assert_eq!(pages.len(), 1 + verbs);
        for (name, page) in pages {
            let page = String::from_utf8(page).unwrap();
            assert!(name.ends_with(".1") && page.contains(".SH SYNOPSIS"), "{name}");
        }
    }
}
