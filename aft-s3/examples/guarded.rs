//! Three things that go wrong where two read the same and both write: a counter that loses additions, a seat that is sold twice, an account that is
//! overdrawn. Here several processes do each of them at the same time, and guards keep it right.
//!
//! - `counter`: every request adds one, and is delivered to two processes, some of which are killed in the middle. In the end the counter says how many requests
//!   there were. [`get_guarded`](aft_core::Transaction::get_guarded) under [`Aft::run`].
//! - `seats`: parties of two book seats side by side, both or none. No seat is sold twice. Guards of keys that are absent.
//! - `account`: two accounts may be overdrawn, but not their sum. Each withdrawal reads both and writes one, so that no two need write the same key: write
//!   skew. [`Begin::serializable`].
//!
//! Each counts in the end whether it came out right, and fails if not.
//!
//! ```console
//! $ cargo run -p aft-s3 --example guarded                               # all three, in a temporary folder
//! $ cargo run -p aft-s3 --example guarded -- seats s3://bucket/prefix   # one of them, at another place
//! ```

#![allow(clippy::print_stdout, reason = "it tells a story")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::{env, thread};

use aft_core::{Aft, Begin, Config, KeyRange, TxnId};

type Failure = Box<dyn Error + Send + Sync>;

/// The first argument of the processes that this one starts.
pub(crate) const WORKER: &str = "worker";
const GAMES: [&str; 3] = ["counter", "seats", "account"];
/// Processes that work at the same time.
const WORKERS: u64 = 4;

/// Requests that add one to the counter.
const REQUESTS: u64 = 24;
/// How many answers a process that is killed gives before; the others live to the end.
const KILLED_AFTER: usize = 3;

const SEATS: u64 = 30;
/// Pairs that each process tries to book.
const TRIES: u64 = 12;

const ACCOUNTS: [&str; 2] = ["ada", "bob"];
/// What each account has in the beginning.
const BALANCE: i64 = 300;
const WITHDRAWALS: u64 = 8;

async fn open(url: &str) -> Result<Aft, Failure> {
    Ok(Aft::open(aft_s3::open(url, aft_s3::Options::default())?, Config::default()).await?)
}

fn number(value: Option<&[u8]>) -> i64 {
    value.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0)
}

/// From 0 to one less than this.
fn random(below: u64) -> u64 {
    RandomState::new().build_hasher().finish() % below
}

/// A process of the counter. Each request comes to it and to its neighbour; what was done already is only answered.
async fn count(aft: &Aft, root: &str, me: u64) -> Result<(), Failure> {
    let key = format!("{root}n");
    for request in (0..REQUESTS).filter(|request| request % WORKERS == me || (request + 1) % WORKERS == me) {
        let run = aft.run(format!("{root}request/{request}"), async |tx| {
            let n = number(tx.get_guarded(&key).await?.as_deref()) + 1;
            tx.put(&key, n.to_string())?;
            Ok(n.to_string().into())
        });
        println!("{request} {}", String::from_utf8_lossy(&run.await?.result));
    }
    Ok(())
}

/// A process that books seats: two side by side, both or none.
async fn book(aft: &Aft, root: &str, me: u64) -> Result<(), Failure> {
    for party in 0..TRIES {
        let first = random(SEATS - 1);
        let pair = [first, first + 1];
        let (keys, party) = (pair.map(|seat| seat_key(root, seat)), format!("{me}.{party}"));
        let booked = aft.transact(async |tx| {
            let free = tx.get_many_guarded(&keys).await?.iter().all(Option::is_none);
            if free {
                keys.iter().try_for_each(|key| tx.put(key, party.clone()))?;
            }
            Ok(free)
        });
        if booked.await? {
            println!("{} {party}", pair[0]);
            println!("{} {party}", pair[1]);
        }
    }
    Ok(())
}

fn seat_key(root: &str, seat: u64) -> String {
    format!("{root}seat/{seat:02}")
}

/// A process that withdraws from one account or the other, as long as both together have it.
async fn withdraw(aft: &Aft, root: &str) -> Result<(), Failure> {
    let keys = ACCOUNTS.map(|name| format!("{root}{name}"));
    for _ in 0..WITHDRAWALS {
        let (from, cents) = (random(2) as usize, 10 + random(50) as i64);
        // It guards the account that it only reads as well: whoever writes that one meanwhile has a conflict with it.
        let paid = aft.transact_with(Begin::new().serializable(), async |tx| {
            let balances = tx.get_many(&keys).await?;
            let balances = [number(balances[0].as_deref()), number(balances[1].as_deref())];
            let enough = balances.iter().sum::<i64>() >= cents;
            if enough {
                tx.put(&keys[from], (balances[from] - cents).to_string())?;
            }
            Ok(enough)
        });
        if paid.await? {
            println!("{from} {cents}");
        }
    }
    Ok(())
}

/// One process of a game.
#[tokio::main]
async fn work(game: &str, url: &str, root: &str, me: &str) -> Result<(), Failure> {
    let (aft, me) = (open(url).await?, me.parse()?);
    match game {
        "counter" => count(&aft, root, me).await?,
        "seats" => book(&aft, root, me).await?,
        _ => withdraw(&aft, root).await?,
    }
    Ok(aft.close().await?)
}

/// What a process answered: two words a line.
type Answers = Vec<(u64, String)>;

/// Starts one process after another for the same work: the first `killed` are killed once they have given some answers.
fn lives(game: &str, url: &str, root: &str, me: u64, killed: usize) -> Result<Answers, Failure> {
    let mut answers = Answers::new();
    for life in 0..=killed {
        let mut worker = Command::new(env::current_exe()?)
            .args([WORKER, game, url, root, &me.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut lines = BufReader::new(worker.stdout.take().ok_or("its output is a pipe")?).lines();
        let most = if life < killed { KILLED_AFTER * (life + 1) } else { usize::MAX };
        for line in lines.by_ref().take(most) {
            let line = line?;
            let (what, said) = line.split_once(' ').ok_or("an answer is two words")?;
            answers.push((what.parse()?, said.to_owned()));
        }
        if life < killed {
            worker.kill()?;
            worker.wait()?;
            println!("{game}: process {me} was killed");
        } else if !worker.wait()?.success() {
            return Err(format!("{game}: process {me} failed; what it says is above").into());
        }
    }
    Ok(answers)
}

/// All processes of a game, side by side; two of them are killed again and again if that belongs to it.
fn workers(game: &str, url: &str, root: &str) -> Result<Answers, Failure> {
    thread::scope(|scope| {
        let killed = |me| if game == "counter" && me < 2 { 2 } else { 0 };
        let threads: Vec<_> =
            (0..WORKERS).map(|me| scope.spawn(move || lives(game, url, root, me, killed(me)))).collect();
        let mut answers = Answers::new();
        for thread in threads {
            answers.extend(thread.join().map_err(|_| "a thread of this process died")??);
        }
        Ok(answers)
    })
}

/// What stands in the store in the end, by key, also of processes that died before they told anybody.
async fn stored(aft: &Aft, root: &str) -> Result<BTreeMap<String, String>, Failure> {
    aft.sweep().await?;
    let tx = aft.begin_with(Begin::new().latest()).await?;
    let found = tx.scan(KeyRange::prefix(root)).await?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(found.iter().map(|(key, value)| (text(&key[root.len()..]), text(value))).collect())
}

fn judge_counter(answers: &Answers, stored: &BTreeMap<String, String>) -> Result<(), Failure> {
    let mut by_request = BTreeMap::new();
    for (request, said) in answers {
        if let Some(before) = by_request.insert(request, said).filter(|before| *before != said) {
            return Err(format!("request {request} was answered {before} and {said}").into());
        }
    }
    let counted: BTreeSet<_> = by_request.values().collect();
    let n = stored.get("n").map_or("nothing", String::as_str);
    println!(
        "counter: {} answers for {} requests, {} different numbers; the counter says {n}",
        answers.len(),
        by_request.len(),
        counted.len()
    );
    if n != REQUESTS.to_string() || counted.len() as u64 != REQUESTS {
        return Err(format!("the counter lost additions: {REQUESTS} requests, and it says {n}").into());
    }
    Ok(())
}

fn judge_seats(answers: &Answers, stored: &BTreeMap<String, String>) -> Result<(), Failure> {
    let mut sold = BTreeMap::new();
    for (seat, party) in answers {
        if let Some(other) = sold.insert(seat_key("", *seat), party.clone()) {
            return Err(format!("seat {seat} was sold twice: to party {other} and to party {party}").into());
        }
    }
    println!("seats: {} of {SEATS} are sold, to {} parties", sold.len(), sold.len() / 2);
    if sold != *stored {
        return Err(format!("what was sold is not what is stored: {sold:?}, {stored:?}").into());
    }
    Ok(())
}

fn judge_account(answers: &Answers, stored: &BTreeMap<String, String>) -> Result<(), Failure> {
    let balances = ACCOUNTS.map(|name| number(stored.get(name).map(String::as_bytes)));
    let paid: i64 = answers.iter().map(|(_, cents)| number(Some(cents.as_bytes()))).sum();
    let (sum, had) = (balances.iter().sum::<i64>(), BALANCE * ACCOUNTS.len() as i64);
    println!(
        "account: {} withdrawals of {}, {paid} of {had} paid out; left are {balances:?}",
        answers.len(),
        WITHDRAWALS * WORKERS
    );
    if paid > had || sum < 0 {
        return Err(format!("the accounts are overdrawn: {paid} paid out of {had}, the sum is {sum}").into());
    }
    if sum != had - paid {
        return Err(format!("a withdrawal is lost: {paid} paid out of {had}, but the sum is {sum}").into());
    }
    Ok(())
}

/// Plays one game at this place: under keys of its own, so that it can be played again.
#[tokio::main]
async fn play(game: &str, url: &str) -> Result<(), Failure> {
    let root = format!("guarded-example/{}/{game}/", TxnId::new());
    let aft = open(url).await?;
    if game == "account" {
        // As those do that come after: a key is either always written guarded or never.
        let filled = aft.transact_with(Begin::new().serializable().publish_before_ack(), async |tx| {
            ACCOUNTS.iter().try_for_each(|name| tx.put(format!("{root}{name}"), BALANCE.to_string()))
        });
        filled.await?;
    }
    let answers = workers(game, url, &root)?;
    let stored = stored(&aft, &root).await?;
    match game {
        "counter" => judge_counter(&answers, &stored)?,
        "seats" => judge_seats(&answers, &stored)?,
        _ => judge_account(&answers, &stored)?,
    }
    Ok(aft.close().await?)
}

/// Plays all three, in a temporary folder.
pub(crate) fn play_all() -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let url = format!("file://{}", folder.path().display());
    GAMES.iter().try_for_each(|game| play(game, &url))
}

pub(crate) fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [WORKER, game, url, root, me] => work(game, url, root, me),
        [] => play_all(),
        [game, url] if GAMES.contains(&game) => play(game, url),
        [game] if GAMES.contains(&game) => {
            let folder = tempfile::tempdir()?;
            play(game, &format!("file://{}", folder.path().display()))
        }
        _ => Err(format!("name one of {GAMES:?}, and after it, if you like, the URL of a store").into()),
    }
}
