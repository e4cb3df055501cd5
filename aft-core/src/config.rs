//! Settings: plain data, each with how to choose it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::millis;
use crate::error::Error;
use crate::format::marker::SharedSettings;

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 4096;
/// Longest stored result in bytes.
pub const MAX_RESULT_BYTES: usize = 256 * 1024;

/// Settings of a node.
///
/// The fields marked *shared* are what safety depends on: they are taken from the configuration when the store is
/// created and live in its marker. Afterwards the marker wins, with a warning;
/// [`Aft::config`](crate::Aft::config) has the effective values.
///
/// serde writes durations as text (`"5s"`, `"1h 30m"`) and reads that, or a number of seconds.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use aft_core::Config;
///
/// let config = Config { max_staleness: Duration::from_secs(1), ..Config::default() };
/// assert!(config.validate().is_ok());
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// *Shared.* How old a node's knowledge of other nodes' commits may be when a transaction begins (L). Shorter is
    /// fresher and costs one list request per interval while transactions begin; zero refreshes at each begin.
    /// A node that asks for less than the store's has it so for itself. Default 5 s.
    #[serde(with = "as_text")]
    pub max_staleness: Duration,
    /// *Shared.* How long after its start a transaction can read and commit (D). Longer lets slow functions finish and
    /// delays the collection of garbage by as much. Default 15 min, at least 1 s.
    #[serde(with = "as_text")]
    pub transaction_lifetime: Duration,
    /// *Shared.* How long after its version was taken a decision may land (C): later ones count as aborts, so that no
    /// frozen process can surface an old commit. Must exceed the slowest create. Default 60 s, at least 2 s.
    #[serde(with = "as_text")]
    pub commit_deadline: Duration,
    /// *Shared.* How far a node's clock may be from the store's; a node beyond it refuses to commit. Default 10 s, at least
    /// 2 s, since stores report whole seconds.
    #[serde(with = "as_text")]
    pub max_clock_skew: Duration,
    /// *Shared.* How long after the time in its name a feed object may land (P); later ones are published again. Bounds
    /// how far back a refresh lists. Default 10 s, at least 2 s.
    #[serde(with = "as_text")]
    pub publish_deadline: Duration,
    /// *Shared.* How much earlier than it became visible an object may be dated by the store (E), and the most a request
    /// may take. Default 30 s, at least 1 s.
    #[serde(with = "as_text")]
    pub visibility_delay: Duration,
    /// *Shared.* How long outcomes and results outlive their transaction. Default 24 h.
    #[serde(with = "as_text")]
    pub outcome_retention: Duration,
    /// *Shared.* How many prefixes decisions and values are spread over: 16, 256 or 4096. More suits stores with a
    /// request limit per prefix and makes sweeps cost more lists. Default 16.
    pub shards: u32,

    /// How long commits gather before they are published to other nodes. Default 1 s.
    #[serde(with = "as_text")]
    pub feed_interval: Duration,
    /// How long the last sweep may lie back before this node does one beside its work; and how often it looks for a newer
    /// checkpoint, whose commits it then drops from memory. Default 60 s.
    #[serde(with = "as_text")]
    pub sweep_interval: Duration,
    /// Values up to this size travel in the commit record; larger ones in objects of their own, uploaded from the
    /// moment they are put. Default 8 KiB, at most 1 MiB.
    pub inline_value_bytes: u64,
    /// The largest commit record; the largest inline values of a bigger one move to objects of their own. Bounds how
    /// many keys one transaction can write. Default 4 MiB, at least 64 KiB.
    pub max_record_bytes: u64,
    /// The largest value that can be put or read in one piece; larger ones are [streams](crate::Transaction::put_stream).
    /// Default 256 MiB.
    pub max_value_bytes: u64,
    /// The largest value that can be put as a stream; it must go up within
    /// [`transaction_lifetime`](Self::transaction_lifetime). Default 16 GiB.
    pub max_stream_bytes: u64,
    /// The size of the value objects that a stream is cut into. A stream holds about five of them in memory, and each adds up to 48
    /// bytes to the commit record. Default 8 MiB.
    pub stream_part_bytes: u64,
    /// The most that one transaction can hold in memory: keys and values of its write set. Default 1 GiB.
    pub max_transaction_bytes: u64,
    /// Memory of the cache, which holds values, and tails and blocks of the index, decoded; zero turns it off, and then each
    /// lookup reads them again. Default 64 MiB.
    pub cache_bytes: u64,
    /// How long one request to the store may take; the effective value is at most [`visibility_delay`](Self::visibility_delay).
    /// Requests that carry large values get a second more per MiB. Default 30 s.
    #[serde(with = "as_text")]
    pub request_timeout: Duration,
    /// How many requests one operation keeps under way at once. Default 16.
    pub parallel_requests: usize,
    /// How many requests the node has under way at once, in all; others wait in the order in which they came, for at most
    /// [`request_timeout`](Self::request_timeout), and then fail with [`Unavailable`](crate::ErrorKind::Unavailable), unsent. While the store refuses
    /// or fails (`SlowDown`, broken connections, no answer in time) it is fewer: each such failure lets half as many be under way as there were,
    /// at least four, and eight answers let one more. So what is tried again does not storm a store that is busy. Default 1024.
    pub max_requests: usize,
    /// How many decisions of the node are under way at once before commits share them (group commit). A commit that finds fewer is decided at once,
    /// by itself. One that does not waits until one of them has ended, and then shares a create with all that wait: up to a thousand commits, or
    /// 1 MiB of keys and values. After [`commit_deadline`](Self::commit_deadline) it fails with [`Unavailable`](crate::ErrorKind::Unavailable), not
    /// committed. Only those share that were begun without an id, request key or token, whose id nobody asked for, without a result, and
    /// whose values are all small; others neither wait nor count. 0: every commit has a decision of its own. Default 4.
    pub decisions_in_flight: usize,
    /// Makes decisions in the feed itself where that is due, so that a commit is one create in all, and published when it is durable. Only those
    /// commits may that may share a decision ([`decisions_in_flight`](Self::decisions_in_flight)), with at most 256 KiB of keys and values; and where the
    /// last one came half a [`feed_interval`](Self::feed_interval) before and nothing waits for publication, or where the commit waits for its own in any case
    /// ([`publish_before_ack`](Self::publish_before_ack)): each is an object that every node reads, so that a busy node makes fewer for many commits. Such a commit has one copy in the store until a checkpoint
    /// folded it, and counts if it lands within [`publish_deadline`](Self::publish_deadline); otherwise it is decided once more, as other commits are. A subscriber that
    /// takes `DEBUG` events of aft turns this and group commit off. Default true.
    pub direct_commits: bool,
    /// Reads every decision back before the commit is acknowledged: for machines whose wall clock and monotonic clock
    /// may both stop without notice. One request more per commit. Default false.
    pub verify_every_commit: bool,
    /// Publishes commits from a background task. Without it the next begin or commit past
    /// [`feed_interval`](Self::feed_interval) does (reads do not), which suits functions that are frozen between calls: a
    /// node that nobody calls publishes nothing until another node's sweep does. Default true.
    pub background: bool,
    /// Every commit of this node returns once the feed carries it, as with [`Begin::publish_before_ack`](crate::Begin::publish_before_ack): for
    /// hosts that freeze or kill a process between calls, where nobody may be left to publish it. One create more for each commit that is not published
    /// by its decision anyway ([`direct_commits`](Self::direct_commits)). Transactions
    /// that are resumed here have it too. Default false.
    pub publish_before_ack: bool,
    /// How many feed objects beyond the newest checkpoint a node may have to read when it starts before it makes a *light* checkpoint beside its work: one
    /// that folds nothing, for those who start next. One is made in ten seconds at most, by one of those that had so many to read; it costs seven
    /// requests. Zero turns it off. Default 128.
    pub reads_at_start: u64,
    /// Makes checkpoints and collects garbage from a background task, for servers that run all the time. Nodes share the work out,
    /// so that every node may have it on. Default none: then `aft checkpoint` and `aft gc`, or whoever calls
    /// [`Aft::checkpoint`](crate::Aft::checkpoint) and [`Aft::collect_garbage`](crate::Aft::collect_garbage), keep the store small.
    pub maintenance: Option<Maintenance>,
}

/// When a node maintains its store by itself.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), aft_core::Config::default()).await?;
/// use aft_core::{Config, Maintenance};
///
/// let config = Config { maintenance: Some(Maintenance::default()), ..Config::default() };
/// # drop(aft);
/// let aft = aft_core::Aft::open(std::sync::Arc::new(aft_memory::MemoryStorage::new()), config).await?;
/// aft.close().await?;
/// # Ok::<(), aft_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Maintenance {
    /// How long after the last checkpoint the next one is made, if anything was committed. Among all nodes at most four are made in
    /// this time. Shorter keeps fewer commits in memory and makes cold starts read less. Default 5 min, at least 4 s.
    #[serde(with = "as_text")]
    pub checkpoint_interval: Duration,
    /// How many commits beyond the last checkpoint bring the next one forward. Default 10,000.
    pub checkpoint_commits: u64,
    /// How often garbage is collected, by one of the nodes. Each time lists the whole store: a request per thousand
    /// objects. Default 30 min, at least 4 s.
    #[serde(with = "as_text")]
    pub collect_interval: Duration,
}

impl Default for Maintenance {
    fn default() -> Self {
        Self {
            checkpoint_interval: Duration::from_secs(5 * 60),
            checkpoint_commits: 10_000,
            collect_interval: Duration::from_secs(30 * 60),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            max_staleness: secs(5),
            transaction_lifetime: secs(15 * 60),
            commit_deadline: secs(60),
            max_clock_skew: secs(10),
            publish_deadline: secs(10),
            visibility_delay: secs(30),
            outcome_retention: secs(24 * 60 * 60),
            shards: 16,
            feed_interval: secs(1),
            sweep_interval: secs(60),
            inline_value_bytes: 8 << 10,
            max_record_bytes: 4 << 20,
            max_value_bytes: 256 << 20,
            max_stream_bytes: 16 << 30,
            stream_part_bytes: 8 << 20,
            max_transaction_bytes: 1 << 30,
            cache_bytes: 64 << 20,
            request_timeout: secs(30),
            parallel_requests: 16,
            max_requests: 1024,
            decisions_in_flight: 4,
            direct_commits: true,
            verify_every_commit: false,
            background: true,
            publish_before_ack: false,
            reads_at_start: 128,
            maintenance: None,
        }
    }
}

/// What a function's transaction may be older than its call may take, in whole seconds: as far as a node's clock may be off, and so be set
/// right in the middle of a call. Not more: an attempt that is retried after its call was killed goes on under an id that is as old as that
/// call, and what is left of its lifetime would not do; garbage waits for as long.
const FUNCTION_MARGIN_S: u64 = 10;

impl Config {
    /// Settings for a function: a process that its host freezes between calls and kills without notice, and that may take `limit` for one
    /// call (its timeout, as the host has it).
    ///
    /// | setting | is | since |
    /// |---|---|---|
    /// | [`background`](Self::background), [`maintenance`](Self::maintenance) | off | timers stop while the process is frozen |
    /// | [`publish_before_ack`](Self::publish_before_ack) | on | nothing is left to be published when a call returns |
    /// | [`transaction_lifetime`](Self::transaction_lifetime) | `limit`, rounded up to seconds, and 10 s | no call needs more; a clock may be set right by 10 s meanwhile. *Shared*: it counts only for whoever makes the store, and else the store's own is used. Where that is less than `limit`, slow calls end as [`Expired`](crate::ErrorKind::Expired) |
    /// | [`cache_bytes`](Self::cache_bytes) | 16 MiB | a small function has 128 MiB for all that it does |
    ///
    /// **Open once, outside of the handler,** and keep the handle in a `static` (a `tokio::sync::OnceCell`): a process that is called again
    /// has it still. Opening an existing store takes four requests in two rounds: the marker beside the list of checkpoints, then the
    /// list of the feed beside the proof that the store honours create-if-absent; two gets more in one round more where
    /// there is a checkpoint, and one get for each feed object since, up to some eight; of more than that [some twenty](Self::reads_at_start). A call in an open
    /// process costs one list where the last refresh is longer than [`max_staleness`](Self::max_staleness) ago; a commit one create, its decision in the feed, and under a
    /// [request key](crate::Begin::request) three: claim, decision, feed.
    ///
    /// **What is flushed when.** A commit returns once its decision and its feed object are in the store. Nothing waits in memory
    /// for a later call, so [`Aft::close`](crate::Aft::close) has nothing to do and need not be called.
    ///
    /// **A freeze** stops timers and what was under way; it goes on where it was. A transaction that is open over a freeze
    /// expires by the clock, since its age is its id's; nothing else becomes of it. A refresh that slept longer than the feed is kept begins
    /// anew. A sweep or a bundle that a refresh began beside the work fails or goes on, and another node does what it left.
    ///
    /// **A kill** loses nothing that was acknowledged. Whether a commit counts that was under way is settled by its id
    /// ([`Aft::outcome`](crate::Aft::outcome)) or its request key: whoever runs the request again gets the stored result, or commits it. What was decided and
    /// not published yet others find with their next sweep.
    ///
    /// Somebody else keeps the store small: a scheduled function that calls [`Aft::checkpoint`](crate::Aft::checkpoint) and
    /// [`Aft::collect_garbage`](crate::Aft::collect_garbage), or `aft checkpoint` and `aft gc` from cron.
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use std::{sync::Arc, time::Duration};
    /// use aft_core::{Aft, Config, Error};
    /// use tokio::sync::OnceCell;
    ///
    /// static AFT: OnceCell<Aft> = OnceCell::const_new();
    ///
    /// async fn handler(event_id: &str) -> Result<bytes::Bytes, Error> {
    ///     let aft = AFT.get_or_try_init(async || {
    ///         // Or aft_s3::open("s3://bucket/prefix", aft_s3::Options::default())?
    ///         let storage = Arc::new(aft_memory::MemoryStorage::new());
    ///         Aft::open(storage, Config::function(Duration::from_secs(30))).await
    ///     });
    ///     let run = aft.await?.run(event_id, async |tx| {
    ///         tx.put("paid", "5 EUR")?;
    ///         Ok("receipt 1".into())
    ///     });
    ///     Ok(run.await?.result)
    /// }
    ///
    /// assert_eq!(handler("evt_1").await?, "receipt 1"); // opens the store
    /// assert_eq!(handler("evt_1").await?, "receipt 1"); // in the same process: has it open
    /// # Ok::<(), Error>(())
    /// # }).unwrap();
    /// ```
    pub fn function(limit: Duration) -> Self {
        let seconds = limit.as_secs().saturating_add(u64::from(limit.subsec_nanos() > 0));
        Self {
            transaction_lifetime: Duration::from_secs(seconds.saturating_add(FUNCTION_MARGIN_S)),
            cache_bytes: 16 << 20,
            background: false,
            publish_before_ack: true,
            maintenance: None,
            ..Self::default()
        }
    }

    /// Whether every field is within its documented limits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), naming the field, its value and its limits.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use aft_core::Config;
    ///
    /// assert!(Config::default().validate().is_ok());
    /// let refused = Config { feed_interval: Duration::ZERO, ..Config::default() }.validate().unwrap_err();
    /// assert!(refused.to_string().contains("feed_interval"), "{refused}");
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        self.shared().validate().map_err(Error::invalid)?;
        let ms = millis;
        check("feed_interval", ms(self.feed_interval), 1, HOUR_MS, "ms")?;
        check("sweep_interval", ms(self.sweep_interval), 1_000, DAY_MS, "ms")?;
        if let Some(maintenance) = &self.maintenance {
            check("checkpoint_interval", ms(maintenance.checkpoint_interval), 4_000, DAY_MS, "ms")?;
            check("checkpoint_commits", maintenance.checkpoint_commits, 1, u64::MAX, "commits")?;
            check("collect_interval", ms(maintenance.collect_interval), 4_000, 30 * DAY_MS, "ms")?;
        }
        check("inline_value_bytes", self.inline_value_bytes, 0, 1 << 20, "bytes")?;
        check("max_record_bytes", self.max_record_bytes, 64 << 10, 64 << 20, "bytes")?;
        check("max_value_bytes", self.max_value_bytes, 1, 5 << 30, "bytes")?;
        check("max_stream_bytes", self.max_stream_bytes, 1, 1 << 50, "bytes")?;
        check("stream_part_bytes", self.stream_part_bytes, 1, 1 << 30, "bytes")?;
        check("max_transaction_bytes", self.max_transaction_bytes, 1, 1 << 40, "bytes")?;
        check("cache_bytes", self.cache_bytes, 0, 1 << 40, "bytes")?;
        check("request_timeout", ms(self.request_timeout), 1, HOUR_MS, "ms")?;
        check("parallel_requests", self.parallel_requests as u64, 1, 1024, "requests")?;
        check("max_requests", self.max_requests as u64, 1, 1 << 20, "requests")?;
        check("decisions_in_flight", self.decisions_in_flight as u64, 0, 1 << 20, "decisions")
    }

    pub(crate) fn shared(&self) -> SharedSettings {
        let ms = millis;
        SharedSettings {
            max_staleness_ms: ms(self.max_staleness),
            transaction_lifetime_ms: ms(self.transaction_lifetime),
            commit_deadline_ms: ms(self.commit_deadline),
            max_clock_skew_ms: ms(self.max_clock_skew),
            publish_deadline_ms: ms(self.publish_deadline),
            visibility_delay_ms: ms(self.visibility_delay),
            outcome_retention_ms: ms(self.outcome_retention),
            shards: self.shards,
        }
    }

    /// The effective configuration under a store's own settings.
    pub(crate) fn under(&self, shared: &SharedSettings) -> Self {
        let duration = Duration::from_millis;
        Self {
            // A node may know more than it must: only the most that any node allows itself counts for what is collected.
            max_staleness: self.max_staleness.min(duration(shared.max_staleness_ms)),
            transaction_lifetime: duration(shared.transaction_lifetime_ms),
            commit_deadline: duration(shared.commit_deadline_ms),
            max_clock_skew: duration(shared.max_clock_skew_ms),
            publish_deadline: duration(shared.publish_deadline_ms),
            visibility_delay: duration(shared.visibility_delay_ms),
            outcome_retention: duration(shared.outcome_retention_ms),
            shards: shared.shards,
            request_timeout: self.request_timeout.min(duration(shared.visibility_delay_ms)),
            ..self.clone()
        }
    }
}

/// Durations as people write them.
mod as_text {
    use std::fmt;
    use std::time::Duration;

    use serde::de::{Error, MapAccess, Visitor, value::MapAccessDeserializer};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        deserializer.deserialize_any(Text)
    }

    struct Text;

    impl<'de> Visitor<'de> for Text {
        type Value = Duration;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a duration: text such as \"5s\" or \"1h 30m\", or a number of seconds")
        }

        fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
            humantime::parse_duration(text)
                .map_err(|error| E::custom(format_args!("{text:?} is no duration such as \"5s\": {error}")))
        }

        fn visit_u64<E: Error>(self, seconds: u64) -> Result<Duration, E> {
            Ok(Duration::from_secs(seconds))
        }

        fn visit_i64<E: Error>(self, seconds: i64) -> Result<Duration, E> {
            u64::try_from(seconds).map(Duration::from_secs).map_err(E::custom)
        }

        fn visit_f64<E: Error>(self, seconds: f64) -> Result<Duration, E> {
            Duration::try_from_secs_f64(seconds).map_err(E::custom)
        }

        /// As serde itself has them: seconds and nanoseconds.
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Duration, A::Error> {
            Duration::deserialize(MapAccessDeserializer::new(map))
        }
    }
}

pub(crate) const HOUR_MS: u64 = 60 * 60 * 1000;
pub(crate) const DAY_MS: u64 = 24 * HOUR_MS;

fn check(field: &str, value: u64, least: u64, most: u64, unit: &str) -> Result<(), Error> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::invalid(format!("{field} is {value} {unit}; it must be from {least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_lifetime_is_its_limit_in_whole_seconds_and_ten_more() {
        for (limit_ms, lifetime_s) in [(0, 10), (1, 11), (1_000, 11), (1_001, 12), (900_000, 910)] {
            let config = Config::function(Duration::from_millis(limit_ms));
            assert_eq!(config.transaction_lifetime, Duration::from_secs(lifetime_s));
            config.validate().unwrap();
        }
        let forever = Config::function(Duration::MAX).validate().unwrap_err();
        assert!(forever.to_string().contains("transaction_lifetime"), "{forever}");
        assert_eq!(Duration::from_secs(FUNCTION_MARGIN_S), Config::default().max_clock_skew);
    }

    #[test]
    fn the_defaults_are_valid_and_a_bad_field_is_named() {
        Config::default().validate().unwrap();
        let bad = Config { max_clock_skew: Duration::ZERO, ..Config::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("max_clock_skew"));
        let bad = Config { parallel_requests: 0, ..Config::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("parallel_requests"));
        let bad = Config { shards: 15, ..Config::default() };
        assert!(bad.validate().unwrap_err().to_string().contains("shards"));
    }

    #[test]
    fn a_stores_settings_win() {
        let shared = Config { max_staleness: Duration::from_secs(1), ..Config::default() }.shared();
        let node = Config { cache_bytes: 7, ..Config::default() }.under(&shared);
        assert_eq!((node.max_staleness, node.cache_bytes), (Duration::from_secs(1), 7));
        assert_eq!(node.shared(), shared);
        // Knowing more than one must hurts nobody.
        let fresher = Config { max_staleness: Duration::ZERO, ..Config::default() }.under(&shared);
        assert_eq!(fresher.max_staleness, Duration::ZERO);
    }

    #[test]
    fn durations_are_text_and_numbers_are_seconds() {
        let config: Config = serde_json::from_str(
            r#"{"max_staleness": "1m 5s", "feed_interval": 2, "sweep_interval": 1.5,
                "request_timeout": {"secs": 7, "nanos": 0}, "maintenance": {"collect_interval": "1h"}}"#,
        )
        .unwrap();
        let secs = Duration::from_secs;
        assert_eq!(
            (config.max_staleness, config.feed_interval, config.request_timeout),
            (secs(65), secs(2), secs(7))
        );
        assert_eq!(config.sweep_interval, Duration::from_millis(1_500));
        assert_eq!(config.maintenance.as_ref().unwrap().collect_interval, secs(3_600));
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["max_staleness"], "1m 5s");
        assert_eq!(serde_json::from_value::<Config>(written).unwrap(), config);
        for bad in ["{\"feed_interval\": -1}", "{\"feed_interval\": \"soon\"}", "{\"feed_interval\": true}"] {
            assert!(serde_json::from_str::<Config>(bad).is_err(), "{bad}");
        }
    }
}
