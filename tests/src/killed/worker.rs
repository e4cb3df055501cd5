//! A worker process: takes requests from stdin, one a line, and answers on stdout. It expects to be killed at any moment.

use std::io::{BufRead, Write};
use std::path::PathBuf;

use aft_core::planted::{Planted, plant};
use aft_core::{Aft, Commit, CommitOutcome, Error, ErrorKind, Token, Transaction};

use super::request::{Request, Way, Work};
use crate::OpenNode;

/// What an answer says: lines of the test harness are none.
pub const DONE: &str = "done";
pub const HALF: &str = "half";

struct Worker {
    aft: Aft,
    tokens: PathBuf,
    work: Work,
    slot: usize,
    runs: u64,
}

/// Lines are `STEP N ISSUED_MS`; answers `done fresh RESULT`, `done replayed RESULT` and `half`.
pub async fn run(arguments: &str, open: OpenNode) {
    let [slot, work, planted, tokens, url] = arguments.splitn(5, '|').collect::<Vec<_>>()[..] else {
        panic!("{arguments:?}")
    };
    plant(Planted::ALL.iter().copied().find(|bug| format!("{bug:?}") == planted));
    let work = work.parse().unwrap();
    let aft = open(url.to_owned()).await;
    // What the process that was killed in this slot committed last must be seen: only this slot writes its coins.
    aft.sweep().await.unwrap();
    let mut worker = Worker { aft, tokens: tokens.into(), work, slot: slot.parse().unwrap(), runs: 0 };
    let (lines, mut taken) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lock().lines().map_while(Result::ok).try_for_each(|line| lines.send(line))
    });
    let mut stdout = std::io::stdout();
    while let Some(line) = taken.recv().await {
        let words: Vec<&str> = line.split(' ').collect();
        let [step, n, issued_ms] = words[..] else { panic!("no request: {line:?}") };
        let (n, issued_ms) = (n.parse().unwrap(), issued_ms.parse().unwrap());
        let request = Request { n, work: worker.work, issued_ms };
        let answer = worker.handle(step.parse().unwrap(), request).await;
        // Written past the harness, which may have begun a line.
        writeln!(stdout, "\n{answer}").unwrap();
    }
    worker.aft.close().await.unwrap();
}

impl Worker {
    async fn handle(&mut self, step: u32, request: Request) -> String {
        loop {
            self.runs += 1;
            let run = self.aft.new_txn_id().to_string();
            let answered = match (request.way(), step) {
                (Way::Run | Way::Increment, _) => self.run(request, &run).await,
                (Way::Token, 1) => self.suspend(request, &run).await,
                (Way::Token, _) => self.resume(request, &run).await,
                (Way::Key | Way::CallersId, _) => self.replay_or_commit(request, &run).await,
            };
            match answered {
                Ok(answer) => return answer,
                // Another process gave the attempt up that we took part in: the key leads to a new one.
                Err(error) if error.kind() == ErrorKind::Aborted && request.way() == Way::Key => {}
                Err(error) => panic!("request {}, {:?}: {error:?}", request.n, request.way()),
            }
        }
    }

    async fn run(&self, request: Request, run: &str) -> Result<String, Error> {
        let slot = self.slot;
        let run = self.aft.run(request.key(), async |tx| {
            if request.way() == Way::Increment {
                return Ok(request.increment(tx, run, slot).await?.into());
            }
            request.insert(tx, run).await?;
            Ok(request.transfer(tx, run, slot).await?.into())
        });
        let run = run.await?;
        Ok(done(run.outcome, &run.result))
    }

    async fn replay_or_commit(&self, request: Request, run: &str) -> Result<String, Error> {
        let mut tx = self.aft.begin_with(request.begin()).await?;
        if let Some(commit) = tx.replay().await? {
            return Ok(done_by(&commit));
        }
        request.insert(&mut tx, run).await?;
        // Some runs change their mind: whoever else is at it is told, and begins anew.
        if request.way() == Way::Key && self.runs.is_multiple_of(7) {
            tx.abort().await?;
            tx = self.aft.begin_with(request.begin()).await?;
            if let Some(commit) = tx.replay().await? {
                return Ok(done_by(&commit));
            }
            request.insert(&mut tx, run).await?;
        }
        self.finish(request, tx, run).await
    }

    /// The first of two steps: the open transaction becomes a file, put there as a whole.
    async fn suspend(&self, request: Request, run: &str) -> Result<String, Error> {
        let mut tx = self.aft.begin_with(request.begin()).await?;
        if let Some(commit) = tx.replay().await? {
            return Ok(done_by(&commit));
        }
        request.insert(&mut tx, run).await?;
        let token = tx.suspend().await?;
        let part = self.tokens.join(format!("{run}.part"));
        std::fs::write(&part, token.to_string()).unwrap();
        std::fs::rename(part, self.tokens.join(request.n.to_string())).unwrap();
        Ok(HALF.to_owned())
    }

    /// The second step, in another process.
    async fn resume(&self, request: Request, run: &str) -> Result<String, Error> {
        let text = std::fs::read_to_string(self.tokens.join(request.n.to_string())).unwrap();
        let mut tx = self.aft.resume(&text.parse::<Token>()?).await?;
        // Some do not ask first: the commit tells them.
        if !self.runs.is_multiple_of(3)
            && let Some(commit) = tx.replay().await?
        {
            return Ok(done_by(&commit));
        }
        self.finish(request, tx, run).await
    }

    async fn finish(&self, request: Request, mut tx: Transaction, run: &str) -> Result<String, Error> {
        let result = request.transfer(&mut tx, run, self.slot).await?;
        tx.set_result(result)?;
        Ok(done_by(&tx.commit().await?))
    }
}

fn done_by(commit: &Commit) -> String {
    done(commit.outcome, commit.result.as_deref().unwrap())
}

fn done(outcome: CommitOutcome, result: &[u8]) -> String {
    let outcome = if outcome == CommitOutcome::Fresh { "fresh" } else { "replayed" };
    format!("{DONE} {outcome} {}", std::str::from_utf8(result).unwrap())
}
