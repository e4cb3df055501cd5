//! Planted bugs: switches that each break one rule, so that tests can prove that they would find it broken.
//!
//! A check that has never failed proves nothing. With the feature `planted-bugs` a test turns one of these on for its thread;
//! without the feature every question is answered "no" at compile time.

/// A rule, broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "planted-bugs", derive(strum::VariantArray))]
#[cfg_attr(not(feature = "planted-bugs"), allow(dead_code, reason = "only tests plant bugs"))]
pub enum Planted {
    /// A commit is published when its feed object is dated, whoever dated it.
    PublishedByDate,
    /// What a listing says of an own object's date measures the clock, whatever was measured before.
    TrustListedDates,
    /// A feed object may be named by any time, and publishes then.
    NamesFromTheFuture,
    /// Whoever reads through a checkpoint takes all before its horizon for shown.
    HorizonIsShown,
    /// A store that refuses is asked as much as ever.
    NeverSlowDown,
    /// What there is to catch up on when listings have lied is listed once.
    CatchUpOnce,
    /// A sweep is believed by whom listings have just lied to.
    BelieveAtOnce,
    /// What a sweep published is taken for known before it is shown.
    SweepsOutrun,
    /// A version that was taken pushes those after it, whatever came of it.
    KeepEveryReading,
    /// Whoever noted a sweep with a wrong clock sweeps no more until that time has come.
    TrustSweepsAhead,
    /// An id that starts in the far future is cancelled like any other.
    CancelTheFuture,
    /// A group's commits may lie in two feed objects.
    GroupInPieces,
    /// Commits that nobody polls keep the right to decide.
    TurnsOfCallers,
    /// A transaction whose id was asked for commits in a group all the same.
    NamedInGroup,
    /// A transaction with values of its own in the store commits in a group.
    UploadsInGroup,
    /// Whoever asks what became of a transaction that committed in a group looks for a decision under its own id.
    AskTheMember,
    /// A direct decision counts however late it landed.
    DirectIsNeverLate,
    /// A direct decision goes like a feed object, by its age.
    DirectGoesByAge,
    /// Sweeps look for no decisions in the feed.
    SweepsSkipDirect,
    /// A direct decision is named by a clock that may be far ahead.
    DirectByAnyClock,
    /// A direct decision that was too slow for the feed is the end of it.
    DirectIsFinal,
    /// A sweep leaves to the next refresh all that the one before the last would have listed.
    LeftToRefreshes,
    /// What a direct decision's id is asked for is looked for among the other decisions.
    DirectHasARegister,
    /// A direct decision that is damaged is replaced as other feed objects are.
    DirectIsReplaced,
    /// A guard's conflict is taken for this transaction's own guard.
    TrustGuardConflict,
    /// Whoever finds a place free among the guards looks at none before it.
    FirstGuardIsFree,
    /// An undecided transaction that holds an earlier guard is passed by.
    GuardsIgnoreOpen,
    /// Of two that guard one version, where one writes the key and the other does not, neither waits for the other.
    ReadersPassWriters,
    /// Nobody rests, so that who has a contended key keeps it.
    NobodyRests,
    /// A transaction holds the guards of all its attempts.
    AnyAttemptHolds,
    /// Who only read a version has superseded it.
    ReadersSupersede,
    /// Those who only read a version wait for each other.
    ReadersOrderReaders,
    /// Who created a key once has superseded its absence for ever.
    OneLifeOfAKey,
    /// A deletion has guards of its own, beside those of a key that is absent.
    DeletionsHaveGuards,
    /// Who deleted a key that was deleted already has superseded its own deletion.
    ConflictWithRead,
    /// Who came second learns the version that it lost to, and none after it.
    OneVersionAtATime,
    /// Guards go once what they are over is in the index, superseded or not.
    GuardsGoByAge,
    /// Guards go over what was lost and restored, since it is as old as what is folded.
    GuardsForgetRestored,
    /// A serializable transaction does not guard what it writes without having read it.
    BlindWritesUnguarded,
    /// A commit leaves the view by a date although the checkpoint says that it did not fold it.
    FoldedByDateAlone,
    /// A token that can only be told its outcome reads all the same, without what it had read.
    ReadsWhenOver,
    /// An own feed object that listings never showed is forgotten like one that they did.
    UndatedIsForgotten,
    /// A refresh that has looked for a checkpoint answers for those who asked while it was under way.
    ForgetLateAsk,
    /// A node measures its clock by its own feed objects also where their dates are too late to count.
    LateMeasuresClock,
    /// A feed object counts under whatever name it is found.
    AnyNameWillDo,
    /// What may lie in a bundle by its name is taken for read, whatever lies in it.
    BundleIsWhole,
    /// A transaction reads through a checkpoint that folded what listings had not shown when it began.
    ReadsUnshown,
    /// What a transaction's view had is known by the newest date of the store alone.
    SeenByLastDate,
    /// What a transaction's view had is known by the node's own wall clock.
    SeenByWallClock,
    /// The receipt of what was read names the newest commit alone.
    ReceiptNamesNewest,
    /// The receipt of what was read leaves out what it has no room for.
    ReceiptLeavesOut,
    /// The receipt of another store is taken.
    ForeignReceipts,
    /// The upload of a part is polled by its caller, who holds its permit.
    PermitsOfCallers,
    /// A load of the cache is polled by its first caller, and all others wait for that one.
    LoadsOfCallers,
    /// A commit whose decision was under way when the node was closed waits for somebody to publish it.
    CloseLeavesCommits,
    /// A commit is decided although the node was closed before.
    DecideAfterClose,
    /// Closing a node again says that all is well.
    CloseOnce,
    /// A background task whose runtime is gone is not started again.
    PublisherStaysGone,
    /// What was copied into a clone is judged by the date of the copy.
    JudgeCopiesByDate,
    /// A clone takes over outcomes of commits that are not in it.
    CloneLaterOutcomes,
    /// A clone does not look for commits that nobody published.
    CloneUnswept,
    /// A void decision is copied as it is.
    CloneVoidAsItIs,
    /// A claim that a clone has is taken for the one of its name.
    CloneClaimsByName,
    /// A clone's sweeps are not told which decisions are in its index.
    CloneUntold,
    /// A clone is made over what was committed into the one before.
    CloneOverCommits,
    /// The values that rows of an index file name are not copied with it.
    CloneWithoutValues,
    /// A decision that is not found after an unknown create is taken for not written.
    TrustNotFound,
    /// "Already exists" is taken for this attempt's own success, without reading back.
    SkipReadBack,
    /// Another attempt's commit, read back, is acknowledged as this attempt's.
    AcceptForeignDecision,
    /// An older version is chosen where there is one, below the floor that the reads so far set.
    IgnoreFloor,
    /// The newest version is chosen, whatever was read before.
    IgnoreReads,
    /// A read of an absent key is not noted.
    ForgetAbsentRead,
    /// A scanned range is not noted.
    ForgetScannedRange,
    /// What a scan returned is not noted, nor its range.
    ForgetScan,
    /// A tombstone is noted as absent.
    TombstoneAsAbsent,
    /// A transaction does not see its own writes.
    ForgetOwnWrites,
    /// A read is noted once its value is there, not when it is chosen.
    NoteAfterFetch,
    /// A read that waited for the index does not look again where others were noted meanwhile.
    SnapshotOnce,
    /// Commits are published before they are decided.
    PublishBeforeDecision,
    /// Whoever reads another's decision does not apply the in-time rule.
    NoInTimeRule,
    /// The age of a transaction is not checked when it commits.
    NoExpiryCheck,
    /// A decision is acknowledged without being read back, however slow it was and whatever the clock.
    NeverVerify,
    /// A refresh looks back no further than the newest object known.
    NoRefreshOverlap,
    /// A feed object whose create is unknown or late is taken for published.
    TrustFeedCreate,
    /// A commit is acknowledged before its large values are durable.
    AckBeforeUpload,
    /// Versions come from the wall clock alone.
    WallClockVersion,
    /// A sweep looks back no further than the last one.
    ShortSweepWindow,
    /// The data cache is filled before the decision.
    CacheBeforeDecision,
    /// A commit is pruned although one of its keys was not overwritten.
    PruneTooMuch,
    /// An empty or void register is believed, although the feed tells of its commit.
    BelieveLostRegister,
    /// What a node has learned since it asked a register is held against the answer.
    TellOfOldAnswers,
    /// A node believes itself that a decision is lost, without looking whether it was folded meanwhile.
    TellWithoutRefresh,
    /// A check does not miss what a list of outcomes names.
    CheckIgnoresOutcomes,
    /// A check does not miss the claims of finished requests.
    CheckIgnoresClaims,
    /// A request whose register is gone is run again, although a list of outcomes names it.
    IgnoreOutcomeLists,
    /// "Already exists" is taken for this claim's own success.
    TrustClaimConflict,
    /// The claim of an expired transaction is taken over without a fence.
    TakeOverUnfenced,
    /// What became of a transaction is told, and not remembered.
    TellUnlearned,
    /// The claim of an aborted transaction is adopted all the same.
    AdoptDeadClaim,
    /// A run commits whatever transaction its closure leaves in the place of its own.
    TrustSwappedTransaction,
    /// A claim that was made for another input is adopted all the same.
    IgnoreInput,
    /// A run reports a failure although an earlier try of its may yet commit.
    BelieveFailure,
    /// An id is taken for forgotten by what time it was when the answer of its register came.
    ForgottenByLaterTime,
    /// Values are uploaded under an id that the claim may yet replace.
    UploadBeforeClaim,
    /// A resumed transaction passes for the attempt that was suspended.
    ResumeSameAttempt,
    /// A resumed transaction does not look for the versions that it has read.
    ForgetTokenReads,
    /// A transaction begins without the commits of the receipts it was given.
    IgnoreReceipts,
    /// This attempt's own decision, read back, is taken for another's.
    DisownDecision,
    /// A refresh looks back from the node's own time.
    RefreshByOwnClock,
    /// A refresh does not allow for dates that were cut to whole seconds.
    TightRefreshWindow,
    /// A feed object that cannot be read is passed over, and the refresh counts as complete.
    SkipUnreadableFeedObject,
    /// A sweep claims to have swept up to the time that it knew after its lists.
    SweptThroughAfterList,
    /// Dates are rounded to the nearest second instead of cut to whole seconds.
    RoundDates,
    /// A node whose clock is known to be off commits all the same.
    NoClockCheck,
    /// An id without a decision is taken for undecided, however old it is.
    NeverForgotten,
    /// A fold keeps the older of two versions.
    KeepOlderVersion,
    /// A fold takes a commit that was carried twice for superseded.
    DuplicateIsGarbage,
    /// Every fold lets every tombstone go.
    PurgeTooEarly,
    /// A node that slept longer than the feed is kept goes on from where it was.
    TrustOldFeed,
    /// A manifest before a damaged one is used without looking whether it is still whole.
    TrustOldManifest,
    /// A receipt whose decision was collected is refused, although its commit is folded.
    ReceiptsNeedDecisions,
    /// The age of a transaction is not checked again once the index has answered.
    NoAgeCheckAfterIndex,
    /// A checkpoint claims that everything is folded that began before now.
    SettleTooMuch,
    /// "Already exists" is taken for another maker's manifest, without reading back.
    TrustManifestConflict,
    /// What a checkpoint found to be garbage is collected while others are still read through.
    CollectGarbageEarly,
    /// A commit that a feed object carries was published then, although an earlier one carried it.
    TrustLaterCopy,
    /// A checkpoint folds by when commits were made, not by when they were published.
    FoldByCommitTime,
    /// A checkpoint folds what running transactions may not know.
    HorizonWithoutLifetime,
    /// A checkpoint claims that everything before its sweep's window is folded, whatever it left out.
    SettleWithoutUnfolded,
    /// The decision that a request key leads to is garbage once its commit is folded.
    CollectKeyedDecisions,
    /// A manifest counts however late it landed.
    VoidManifestCounts,
    /// A view takes in commits that are long settled.
    SettledComesBack,
    /// A void commit says that its id aborted, although the id was forgotten when it landed.
    VoidGhostDenies,
    /// An id without a decision is undecided, although a checkpoint tells that it is late.
    BelieveEmptyRegister,
    /// A maker of a checkpoint takes what another has collected for lost.
    NeverOvertaken,
    /// A claim is built on although it was collected meanwhile.
    TrustOldClaims,
    /// A token of a commit that is long folded needs the versions that were read.
    OldTokensNeedReads,
    /// How long a token was on its way is believed of the clocks.
    TrustTokenClocks,
    /// A token is read on through an older checkpoint than the one it was read through.
    ForgetTokenBase,
    /// A transaction reads on where an older checkpoint is used in place of the one it was read through.
    TrustOlderBase,
    /// A stream is taken for stored while its last parts are on their way.
    StreamBeforeUpload,
    /// The parts of a stream are listed in another order than they came in.
    PartsOutOfOrder,
    /// A transaction from elsewhere is as old as this node's clock says.
    AgeByOwnClock,
    /// Feed objects are collected as soon as any checkpoint was made after them.
    CollectFeedEarly,
    /// Files that no manifest names are collected however young they are.
    CollectFilesEarly,
    /// Values without a decision are taken for orphans however young their transaction is.
    CollectYoungValues,
    /// Orphans are looked for in the index that was known before their decisions were.
    OrphansByOldIndex,
    /// Values without a decision are taken for orphans although a row names them.
    OrphansWithoutIndex,
    /// Claims of a request key are collected one by one, each by its own age.
    CollectClaimsSingly,
    /// A store whose marker is dated otherwise than it was made is opened.
    TrustMarkerDate,
    /// An object dated in the future is taken for the store's time by a node whose clock was checked.
    BelieveFutureDates,
    /// A manifest counts by its date alone, though it is sealed.
    IgnoreSeals,
    /// A seal is believed to be there where creating it reported a conflict.
    TrustSealConflict,
    /// That the store honours create-if-absent is proven at open alone.
    NoRegularProof,
    /// A feed object that is late, or whose date was changed, is not even read.
    LateSaysNothing,
    /// What a late feed object told is not published again.
    FoundStaysHere,
    /// A checkpoint is made of a node that knows commits which nobody published.
    CheckpointForgetsFound,
    /// A damaged feed object is taken for an empty one.
    DamageIsEmpty,
    /// A damaged feed object is looked into by every node, whatever stands in for it.
    StandInUnread,
    /// A decision that cannot be read is passed over, where it may be of a damaged feed object.
    UnreadableIsNothing,
    /// A lost commit is published again whatever may have been deleted since.
    RestoreDeleted,
    /// A restored commit is taken for folded, by its age.
    RestoredIsSettled,
    /// A deletion leaves the index although a restored commit that it hides does not lie in it yet.
    PurgeAboveRestored,
    /// A restored commit is published however long ago it was found that it may be.
    SlowRestore,
    /// An inline value is looked for in one object.
    OneCopyOfValue,
    /// A check does not ask whether what is decided was published.
    CheckIgnoresLost,
    /// Older checkpoints, and what they need, are deleted before the newer one was read.
    DeleteBeforeProof,
    /// What a rule calls garbage is deleted although a commit of the view needs it.
    DeleteWhatIsNeeded,
    /// What a listing does not show is not there.
    TrustListings,
    /// The newest date of the store is believed, however far ahead of the node's clock it is.
    CollectByAnyTime,
    /// Old decisions are collected by their age alone.
    OutcomesByAge,
    /// What a void manifest names is collected while it is there.
    ForgetVoidManifests,
    /// A refresh goes on from the newest date known, whatever the listings of the feed showed.
    CursorByAnyDate,
    /// A checkpoint folds by the newest date known, whatever the listings of the feed showed.
    HorizonByAnyDate,
    /// A sweep claims to have swept up to the newest date known, whatever the listings of the feed showed.
    SweptThroughByAnyDate,
    /// A listing of checkpoints that lacks what the node builds on is believed.
    TrustListedCheckpoints,
    /// The oldest checkpoint that a listing shows is taken for the oldest that is there.
    TrustOldestListed,
    /// A listing of decisions that lacks those of the view's commits is believed.
    TrustListedDecisions,
    /// A listing of checkpoints that lacks a seal is believed.
    TrustListedSeals,
    /// A listing of lists of garbage that lacks those of checkpoints which are about to go is believed.
    TrustListedGarbage,
    /// A collection wants to be shown what its node built on since it listed.
    ExpectLaterCheckpoint,
    /// What a void manifest names goes with it, also where it landed again when its number had gone.
    GhostIsVoid,
    /// The same, where its commits were superseded and their deletions have left the index.
    PurgedGhostIsVoid,
    /// What is folded and in no list stays.
    UnlistedStays,
    /// What is in no list is folded.
    UnlistedIsFolded,
    /// Values are orphans by a checkpoint that may be gone.
    OrphansByHiddenIndex,
    /// An object is read whatever its length.
    ReadAnyLength,
    /// A node that cannot check its clock takes the newest date for the store's time, however far ahead it is.
    BelieveUndated,
    /// A light checkpoint says that all is folded and settled that a full one would fold.
    LightSettles,
    /// A light checkpoint does not say which commits are not folded, whatever a date says.
    LightForgetsUnfolded,
    /// The maker of a light checkpoint is taken for one that has just swept.
    LightHasSwept,
    /// A light checkpoint counts as the newest full one where the next full one is due.
    LightIsFull,
    /// A full checkpoint is given up where a light one was made meanwhile.
    LoseToLight,
    /// A full checkpoint goes on over whatever was made meanwhile.
    OverAnyCheckpoint,
    /// What commits demand that were read and have left the view is not asked of it any more, and that is all that is asked.
    FloorsForgetFolds,
    /// The same of commits that were read since the versions were taken from which is chosen.
    FloorsOfOldViews,
    /// What was listed when the store was opened is believed, however long that took.
    TrustOldListing,
    /// A full checkpoint goes on where a newer one cannot be read, which may have folded more.
    OverDamage,
    /// Files that no listed checkpoint names are nobody's where they are older than the newest, though that is a light one.
    FilesByLightOnes,
    /// Whose manifest it is that cannot be read is decided: another's.
    DamageIsTheirs,
    /// What all older checkpoints need as well is taken for proven, though no collection ran before.
    OldestIsProven,
    /// A light checkpoint is made before it is proven that the store honours create-if-absent.
    LightBeforeProof,
}

#[cfg(feature = "planted-bugs")]
mod active {
    use std::cell::Cell;

    use super::Planted;

    thread_local! {
        static ACTIVE: Cell<Option<Planted>> = const { Cell::new(None) };
    }

    impl Planted {
        /// Every planted bug.
        pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;
    }

    /// Turns a planted bug on for this thread, or all off.
    pub fn plant(bug: Option<Planted>) {
        ACTIVE.set(bug);
    }

    pub(crate) fn planted(bug: Planted) -> bool {
        ACTIVE.get() == Some(bug)
    }

    /// Random histories must find each of these bugs within so many seeds, and say so in these words.
    #[cfg(test)]
    pub(crate) fn must_find<T>(bugs: &[(Planted, &str)], seeds: u64, run: impl Fn(u64) -> Result<T, String>) {
        for (bug, words) in bugs {
            plant(Some(*bug));
            let found = (0..seeds).find_map(|seed| run(seed).err());
            plant(None);
            assert!(found.as_ref().is_some_and(|error| error.contains(words)), "{bug:?}: {found:?}");
        }
    }
}

#[cfg(all(test, feature = "planted-bugs"))]
pub(crate) use active::must_find;
#[cfg(feature = "planted-bugs")]
pub use active::plant;
#[cfg(feature = "planted-bugs")]
pub(crate) use active::planted;

#[cfg(not(feature = "planted-bugs"))]
#[inline]
pub(crate) const fn planted(_: Planted) -> bool {
    false
}
