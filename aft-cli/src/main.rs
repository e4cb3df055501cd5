//! `aft`: the command line of aft stores.

mod adopt;
mod args;
mod check;
mod checkpoint;
mod chunks;
mod clone;
mod colour;
mod confirm;
mod cost;
mod decision;
mod del;
mod demo;
mod diff;
mod dump;
mod exit;
#[cfg(unix)]
mod export;
mod export_log;
mod failure;
mod gc;
mod get;
#[cfg(unix)]
mod import;
mod key;
mod load;
mod log;
mod logging;
mod ls;
mod manual;
#[cfg(not(unix))]
mod no_directories;
mod output;
mod place;
mod point;
mod probe;
mod progress;
mod put;
mod put_lines;
mod report;
mod request;
mod requests;
mod signals;
mod since;
mod status;
mod store;
mod survey;
mod sweep;
#[cfg(feature = "top")]
mod top;
#[cfg(unix)]
mod tree;
mod txn;
mod versions;
mod watch;
mod why;

#[cfg(not(unix))]
use no_directories as export;
#[cfg(not(unix))]
use no_directories as import;

use std::io::stderr;
use std::process::ExitCode;

use anstream::AutoStream;
use clap::Parser;

use crate::args::{Arguments, Command, Common, Early, StoreCommand};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::Output;
use crate::signals::{unless_interrupted, until_commit};
use crate::store::Store;
use crate::watch::{Patience, Watch};

/// What is true where a signal stops a command before it commits.
const NOTHING: &str = "nothing was committed";

fn main() -> ExitCode {
    let early = Early::of(std::env::args_os());
    early.keys_as.set();
    colour::choose(early.color);
    let arguments = Arguments::parse();
    let json = arguments.common.json;
    logging::start(arguments.common.verbose);
    let Err(failure) = start(arguments) else { return Exit::Done.into() };
    // Where stderr is gone too, the exit code is all that can be said.
    let _ = failure.report(&mut AutoStream::auto(stderr()).lock(), json);
    failure.exit().into()
}

fn start(arguments: Arguments) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(|cause| Failure::io("cannot start", cause))?;
    let ended = runtime.block_on(run(arguments));
    // Not by dropping it, which waits for threads that hang in a system call: of a dead disk, or a pipe nobody writes to.
    runtime.shutdown_background();
    ended
}

async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { common, command } = arguments;
    let output = Output::new(common.json).asking(!common.yes);
    match command {
        Command::Store(command) => watched(command, &common, &output).await,
        Command::Demo(args) => {
            let store = common.store.as_deref().map(|flag| Store::find(Some(flag))).transpose()?;
            demo::run(args, store, &output).await
        }
        Command::Probe(args) => probe::run(args, common.store.as_deref(), &output).await,
        Command::Cost(args) => cost::run(args, &output).await,
        Command::Completions(args) => manual::completions(&args, &output),
        Command::Man(args) => manual::man(&args, &output),
    }
}

/// Runs a command that works on one store, and says what it waits for where that takes long.
async fn watched(command: StoreCommand, common: &Common, output: &Output) -> Result<(), Failure> {
    let follows = matches!(&command, StoreCommand::Log(log) if log.follow);
    let watch = Watch::new(if follows { Patience::endless() } else { Patience::default() });
    let store = Store::find(common.store.as_deref())?.watched(&watch);
    if store.is_in_memory() {
        return Err(Failure::usage("a store in memory is gone when the command ends").advice(
            "name a folder or a bucket; memory:// serves programs and tests, and aft demo and probe",
        ));
    }
    // For programs stderr has the error alone, and a live view has the whole terminal.
    let silent = output.is_json() || command.is_live();
    tokio::select! {
        ended = on_store(command, &store, output) => ended,
        failure = watch.given_up(store.shown(), |line| if !silent { output.note(line) }) => Err(failure),
    }
}

async fn on_store(command: StoreCommand, store: &Store, output: &Output) -> Result<(), Failure> {
    match command {
        StoreCommand::Put(args) => until_commit(put::run(args, store, output), NOTHING, output).await,
        StoreCommand::Get(args) => get::run(args, store, output).await,
        StoreCommand::Del(args) => until_commit(del::run(args, store, output), NOTHING, output).await,
        StoreCommand::Ls(args) => ls::run(args, store, output).await,
        StoreCommand::Import(args) => until_commit(import::run(args, store, output), NOTHING, output).await,
        StoreCommand::Export(args) => {
            unless_interrupted(export::run(args, store, output), "the directory is as it was").await
        }
        StoreCommand::Dump(args) => {
            unless_interrupted(dump::run(args, store, output), "there is no dump, or a part of one on stdout")
                .await
        }
        StoreCommand::Load(args) => load::run(args, store, output).await,
        StoreCommand::Log(args) => log::run(args, store, output).await,
        StoreCommand::Status(args) => status::run(args, store, output).await,
        StoreCommand::Report(args) => report::run(args, store, output).await,
        #[cfg(feature = "top")]
        StoreCommand::Top(args) => top::run(args, store, output).await,
        StoreCommand::Versions(args) => versions::run(args, store, output).await,
        StoreCommand::Why(args) => why::run(args, store, output).await,
        StoreCommand::ExportLog(args) => export_log::run(&args, store, output).await,
        StoreCommand::Txn(args) => txn::show(args, store, output).await,
        StoreCommand::Request(args) => request::run(args, store, output).await,
        StoreCommand::Diff(args) => diff::run(args, store, output).await,
        StoreCommand::Cancel(args) => txn::cancel(args, store, output).await,
        StoreCommand::Sweep(args) => sweep::run(store, &args, output).await,
        StoreCommand::Checkpoint(_) => {
            unless_interrupted(
                checkpoint::run(store, output),
                "every key is as it was: a checkpoint counts whole or not at all",
            )
            .await
        }
        StoreCommand::Gc(args) => {
            unless_interrupted(
                gc::run(args, store, output),
                "what was deleted was garbage; the next `aft gc` goes on",
            )
            .await
        }
        StoreCommand::Check(_) => {
            unless_interrupted(
                check::run(store, output),
                "nothing was changed, and nothing is said of the store",
            )
            .await
        }
        StoreCommand::Adopt(args) => adopt::run(args, store, output).await,
        StoreCommand::Clone(args) => {
            let goes_on = "this store is as it was; run the same command again to go on, and until then use no unfinished clone";
            unless_interrupted(clone::run(args, store, output), goes_on).await
        }
    }
}
