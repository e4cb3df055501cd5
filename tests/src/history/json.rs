//! A history as JSON lines: the form that judges outside this project read.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{History, Op, Session, Status, Transaction};

/// `["w", key, value]`, `["r", key, value]` or `["r", key, null]`.
type Operation<'a> = (&'a str, &'a str, Option<&'a str>);

#[derive(Serialize)]
struct LineOut<'a> {
    session: &'a str,
    status: &'static str,
    ops: Vec<Operation<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    guarded: Vec<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    serializable: bool,
}

#[derive(Deserialize)]
struct LineIn {
    session: String,
    status: String,
    ops: Vec<(String, String, Option<String>)>,
    #[serde(default)]
    guarded: Vec<String>,
    #[serde(default)]
    serializable: bool,
}

impl History {
    /// Writes one transaction a line, of each session in the session's order:
    /// `{"session":"n3/c1","status":"committed","ops":[["w","key","value"],["r","key",null]]}`. One with guards has `"guarded":["key"]` too, or
    /// `"serializable":true`.
    ///
    /// The form has no ids, so what they say is said in its terms. A replayed commit is a committed transaction
    /// without its writes, because those were dropped. A transaction of unknown outcome is a session of its own
    /// (`n3/c1?4`), because its session cannot rely on it: should it commit after all, it may do so later than
    /// what the session did next. A value that attempts of one id share is written by the attempt that won.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_json_lines(&self, mut out: impl Write) -> io::Result<()> {
        let owners = self.owners();
        let mut of_session: HashMap<&str, usize> = HashMap::new();
        for (index, transaction) in self.transactions.iter().enumerate() {
            let place = of_session.entry(&transaction.session).or_default();
            let unknown = format!("{}?{place}", transaction.session);
            *place += 1;
            let line = LineOut {
                session: if transaction.status == Status::Unknown { &unknown } else { &transaction.session },
                status: match transaction.status {
                    Status::Committed => "committed",
                    Status::Aborted => "aborted",
                    Status::Unknown => "unknown",
                },
                ops: operations(transaction, |key, value| {
                    // A value that two different transactions wrote stays twice: that is for the judge to say.
                    let owner = owners.get(&(key, value)).copied().unwrap_or(index);
                    owner == index || transaction.id == 0 || self.transactions[owner].id != transaction.id
                }),
                guarded: transaction.guarded.iter().map(|key| &**key).collect(),
                serializable: transaction.serializable,
            };
            serde_json::to_writer(&mut out, &line)?;
            out.write_all(b"\n")?;
        }
        out.flush()
    }

    /// Reads what [`History::write_json_lines`] wrote; empty lines are skipped. Ids, versions and times stay unset.
    ///
    /// # Errors
    ///
    /// Those of `lines`, and [`io::ErrorKind::InvalidData`] with the number of the line that makes no sense.
    pub fn read_json_lines(lines: impl BufRead) -> io::Result<Self> {
        let mut names = Names::default();
        let mut transactions = Vec::new();
        for (number, line) in lines.lines().enumerate() {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let transaction = parse(&line, &mut names).map_err(|message| {
                io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {message}", number + 1))
            })?;
            transactions.push(transaction);
        }
        Ok(Self { transactions })
    }

    /// Who wrote each value: of several attempts the one with the best claim.
    fn owners(&self) -> HashMap<(&str, &str), usize> {
        let mut owners = HashMap::new();
        for (index, transaction) in self.transactions.iter().enumerate() {
            for op in &transaction.ops {
                let Op::Write { key, value } = op else { continue };
                match owners.entry((&**key, &**value)) {
                    Entry::Vacant(free) => {
                        free.insert(index);
                    }
                    Entry::Occupied(mut taken) => {
                        if transaction.claim() < self.transactions[*taken.get()].claim() {
                            taken.insert(index);
                        }
                    }
                }
            }
        }
        owners
    }
}

/// The operations of a line: without writes that were dropped or are another attempt's, and without reads of those.
fn operations(transaction: &Transaction, owns: impl Fn(&str, &str) -> bool) -> Vec<Operation<'_>> {
    let mut dropped: HashMap<&str, bool> = HashMap::new();
    let mut operations = Vec::with_capacity(transaction.ops.len());
    for op in &transaction.ops {
        match op {
            Op::Write { key, value } => {
                let drop = transaction.replayed || !owns(key, value);
                dropped.insert(key, drop);
                if !drop {
                    operations.push(("w", &**key, Some(&**value)));
                }
            }
            Op::Read { key, value, .. } => {
                if !dropped.get(&**key).copied().unwrap_or(false) {
                    operations.push(("r", &**key, value.as_deref()));
                }
            }
        }
    }
    operations
}

fn parse(line: &str, names: &mut Names) -> Result<Transaction, String> {
    let line: LineIn = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut transaction = Transaction::new(names.shared(line.session), 0);
    transaction.status = match line.status.as_str() {
        "committed" => Status::Committed,
        "aborted" => Status::Aborted,
        "unknown" => Status::Unknown,
        other => return Err(format!("unknown status {other:?}")),
    };
    transaction.serializable = line.serializable;
    transaction.guarded = line.guarded.into_iter().map(|key| names.shared(key)).collect();
    for (kind, key, value) in line.ops {
        let key = names.shared(key);
        match (kind.as_str(), value) {
            ("w", Some(value)) => transaction.write(key, value),
            ("r", value) => transaction.read(key, value.map(Arc::from), None),
            (kind, value) => return Err(format!("no operation: [{kind:?}, {key:?}, {value:?}]")),
        }
    }
    Ok(transaction)
}

/// Keys and sessions, each allocated once.
#[derive(Default)]
struct Names(HashMap<String, Session>);

impl Names {
    fn shared(&mut self, name: String) -> Session {
        self.0.entry(name).or_insert_with_key(|name| Arc::from(name.as_str())).clone()
    }
}
