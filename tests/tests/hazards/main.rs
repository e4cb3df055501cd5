//! Executions that broke earlier drafts of the design, by their number in the list of hazards (`docs/testing.md`): each a case,
//! and the planted bugs with which it must fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a case fails by panicking")]

mod bundles;
mod busy;
mod checkpoints;
mod clocks;
mod closing;
mod collected;
mod copies;
mod dates;
mod direct;
mod expiry;
mod feed;
mod found;
mod garbage;
mod groups;
mod guards;
mod healing;
mod lies;
mod light;
mod light_damage;
mod proof;
mod pruning;
mod reads;
mod register;
mod requests;
mod streams;
mod sweep;
mod tokens;
mod told;

use std::sync::Arc;
use std::time::Duration;

use aft_core::planted::Planted;
use aft_core::{Aft, ErrorKind, Outcome, Transaction};
use aft_memory::{Fault, Gate, Operation};
use aft_tests::sim::{FOUND_BY_SEEDS, FOUND_WITH_UPKEEP};
use aft_tests::{NodeClock, World, holds_unless, put};
use tokio::time::sleep;

/// Makes a test of each case: it must hold, and fail with each of its planted bugs, in these words.
macro_rules! cases {
    ($($module:ident::$case:ident { $($bug:ident: $words:literal),* $(,)? })*) => {
        $(
            #[test]
            fn $case() {
                holds_unless($module::$case, &[$((Planted::$bug, $words)),*]);
            }
        )*

        /// The planted bugs that some case finds.
        const FOUND_BY_CASES: &[Planted] = &[$($(Planted::$bug,)*)*];
    };
}

cases! {
    garbage::h01_a_value_whose_decision_was_folded_and_collected_meanwhile_is_no_orphan {
        OrphansByOldIndex: "a live value is no orphan",
        OrphansWithoutIndex: "a live value is no orphan",
    }
    checkpoints::h02_a_deletion_stays_where_an_older_write_is_published_again_long_after {
        SettledComesBack: "a deleted key stays deleted",
    }
    checkpoints::h03_a_receipt_of_a_collected_decision_is_honoured {
        ReceiptsNeedDecisions: "a folded commit is seen",
    }
    garbage::h07_an_old_claim_stays_as_long_as_the_one_that_committed {
        CollectClaimsSingly: "one request is one transaction",
    }
    collected::h07_a_claim_is_not_built_on_one_that_was_collected {
        TrustOldClaims: "one attempt of a request commits",
    }
    collected::h15_the_ghost_of_a_collected_decision_denies_nothing {
        VoidGhostDenies: "what was collected is forgotten",
    }
    collected::h15_a_collected_commit_is_not_undecided {
        BelieveEmptyRegister: "a commit is not undecided",
    }
    collected::h20_a_copy_of_a_folded_commit_does_not_come_back {
        TrustLaterCopy: "what is folded stays folded",
    }
    collected::a_manifest_that_lands_too_late_counts_for_nobody {
        VoidManifestCounts: "a manifest that is late counts for nobody",
    }
    collected::a_late_retry_of_a_token_learns_the_outcome {
        OldTokensNeedReads: "a late retry learns the outcome",
    }
    checkpoints::a_node_frozen_while_it_opens_looks_again {
        NeverOvertaken: "a newer checkpoint is there",
    }
    checkpoints::a_node_that_slept_past_the_feed_misses_nothing {
        TrustOldFeed: "what was folded while it slept is seen",
    }
    checkpoints::h12_a_reader_frozen_while_it_asks_the_index_reads_nothing_torn {
        NoAgeCheckAfterIndex: "cannot read l at 2",
    }
    checkpoints::h16_a_maker_knows_its_own_manifest {
        TrustManifestConflict: "what a manifest names is there",
    }
    checkpoints::what_is_not_folded_is_told_by_the_recent_file {
        SettleTooMuch: "a young commit is seen",
    }
    checkpoints::a_node_frozen_while_it_opens_lists_again {
        TrustOldListing: "what was folded while it opened is seen",
    }
    checkpoints::an_older_manifest_is_used_only_while_it_is_whole {
        TrustOldManifest: "nothing is missed",
    }
    garbage::a_value_that_a_row_names_is_no_orphan {
        OrphansWithoutIndex: "a live value is no orphan",
    }
    garbage::a_value_of_an_open_transaction_stays {
        CollectYoungValues: "a value of an open transaction stays",
    }
    garbage::the_feed_stays_until_what_it_carries_is_folded {
        CollectFeedEarly: "a young value is there",
    }
    garbage::the_files_of_a_checkpoint_under_way_stay {
        CollectFilesEarly: "what a manifest names is there",
    }
    garbage::garbage_waits_until_no_older_checkpoint_is_read_through {
        CollectGarbageEarly: "the checkpoint before is whole",
    }
    proof::h25_nothing_goes_before_the_checkpoint_was_read_that_replaces_it {
        DeleteBeforeProof: "what the checkpoint before holds is read",
    }
    proof::h25_a_young_feed_object_stays_whatever_its_date {
        PublishedByDate: "nobody takes it for old",
    }
    lies::h25_the_home_of_what_a_checkpoint_left_out_stays {
        DeleteWhatIsNeeded: "what the view needs stays",
    }
    proof::h26_a_listing_that_shows_nothing_makes_no_orphans {
        TrustListings: "a live value is no orphan",
    }
    proof::h26_a_collector_to_which_all_listings_lie_takes_no_committed_value {
        TrustListings: "a live value is no orphan",
    }
    proof::h26_checkpoints_that_are_not_listed_keep_their_files {
        TrustListings: "what a checkpoint names is there",
    }
    proof::h27_one_object_from_the_future_makes_nothing_old {
        CollectByAnyTime: "a value of an open transaction stays",
    }
    proof::an_outcome_that_no_checkpoint_folded_stays {
        OutcomesByAge: "the last copy of a commit stays",
        UnlistedIsFolded: "the last copy of a commit stays",
    }
    proof::what_a_void_manifest_names_stays_while_it_is_there {
        ForgetVoidManifests: "what a manifest names is there",
    }
    reads::h03_a_receipt_of_an_unpublished_or_pruned_commit_is_honoured {
        IgnoreReceipts: "the receipt's commit is seen",
    }
    reads::h03_the_receipt_of_a_reader_names_all_that_others_may_not_know {
        ReceiptNamesNewest: "whoever begins after it sees at least as much",
        IgnoreReceipts: "called `Option::unwrap()` on a `None` value",
    }
    reads::h03_the_receipt_of_a_reader_leaves_out_nothing_that_it_has_no_room_for {
        ReceiptLeavesOut: "for whoever begins after it",
        ReceiptNamesNewest: "for whoever begins after it",
    }
    reads::a_receipt_of_another_store_is_refused_whatever_its_age {
        ForeignReceipts: "a foreign receipt is refused",
    }
    closing::a_commit_under_way_while_its_node_is_closed_is_published {
        CloseLeavesCommits: "an acked commit is published",
    }
    closing::a_commit_that_is_not_decided_yet_is_none_once_its_node_is_closed {
        DecideAfterClose: "nothing is decided on a closed node",
    }
    closing::closing_again_publishes_what_is_left {
        CloseOnce: "closing again tries again",
    }
    tokens::h03_a_token_carries_what_it_read_to_a_node_that_does_not_know_it {
        ForgetTokenReads: "a token is not torn",
    }
    expiry::h04_a_long_upload_cannot_carry_a_commit_past_its_lifetime {
        NoExpiryCheck: "an expired transaction cannot commit",
    }
    expiry::h04_a_decision_that_lands_past_the_deadline_is_void_for_everyone {
        NoInTimeRule: "void for every node",
    }
    feed::h05_a_feed_object_that_becomes_visible_behind_every_cursor_is_taken_in {
        NoRefreshOverlap: "a published commit is seen",
    }
    sweep::h05_a_decision_that_becomes_visible_behind_a_sweep_is_found_by_the_next {
        ShortSweepWindow: "a committed transaction is found by the next sweep",
    }
    requests::h08_values_put_before_the_claim_is_settled_are_found {
        UploadBeforeClaim: "a committed value is there",
    }
    clocks::h10_clocks_that_stop_unnoticed_need_every_decision_read_back {
        NeverVerify: "a void decision is not acknowledged",
    }
    feed::h11_a_reader_whose_clock_is_an_hour_fast_misses_nothing {
        RefreshByOwnClock: "a published commit is seen",
    }
    feed::h11_a_feed_object_at_the_very_edge_of_the_window_is_taken_in {
        TightRefreshWindow: "a published commit is seen",
        NoRefreshOverlap: "a published commit is seen",
    }
    dates::h13_nodes_that_are_told_dates_in_different_precision_judge_alike {
        RoundDates: "two nodes judge one decision alike",
    }
    dates::h24_a_store_whose_dates_were_changed_is_not_taken_for_an_empty_one {
        TrustMarkerDate: "a check of it is not clean",
    }
    dates::h24_an_adopted_copy_reads_like_the_original {
        JudgeCopiesByDate: "a finished request is not run again",
    }
    dates::h24_a_store_that_is_made_in_an_outage_can_be_opened {}
    dates::h24_a_sealed_checkpoint_counts_whatever_its_date {
        IgnoreSeals: "a sealed checkpoint counts",
    }
    dates::h24_a_conflict_without_effect_leaves_no_checkpoint_unsealed {
        TrustSealConflict: "a checkpoint that was built on counts",
    }
    dates::h27_one_object_from_the_future_makes_nothing_else_old {
        BelieveFutureDates: "a young transaction is young",
        BelieveUndated: "what is young is not forgotten",
    }
    dates::a_late_feed_object_of_ones_own_measures_no_clock {
        LateMeasuresClock: "its clock is as right as before",
    }
    dates::no_object_is_read_further_than_its_kind_can_be_long {
        ReadAnyLength: "what is too long is not read",
    }
    dates::h29_a_store_that_begins_to_overwrite_is_found_out {
        NoRegularProof: "a store that overwrites is written to no more",
    }
    clocks::h14_a_clock_an_hour_ahead_cannot_commit_and_drags_nobody_along {
        NeverVerify: "a clock an hour ahead cannot commit",
        NoClockCheck: "it knows its clock and does not even try",
        NoInTimeRule: "a right clock commits as before",
    }
    clocks::h14_a_clock_far_behind_is_told_so {
        NoClockCheck: "a clock a minute behind cannot commit",
    }
    clocks::h14_a_clock_that_was_set_right_commits_at_once {
        KeepEveryReading: "a clock that was set right commits",
    }
    clocks::what_a_clock_ahead_publishes_is_folded_like_all_else {
        NamesFromTheFuture: "a commit is folded when it is old",
    }
    busy::who_waits_for_a_store_that_hangs_is_told {}
    busy::a_store_that_refuses_is_not_stormed {
        NeverSlowDown: "it is not asked much more than it can do",
    }
    clocks::an_id_from_the_near_future_holds_up_nobody {
        KeepEveryReading: "an unrelated transaction commits",
    }
    clocks::a_slow_node_overwrites_what_it_read_from_a_fast_one {
        WallClockVersion: "greater than what it read",
    }
    register::h15_a_collected_decision_is_forgotten_and_a_cancel_writes_nothing {
        NeverForgotten: "what was collected is forgotten",
    }
    register::h15_a_cancel_that_comes_too_late_to_know_anything_says_so {
        NeverForgotten: "what was collected is forgotten",
        NeverVerify: "what was collected is forgotten",
    }
    register::an_id_of_the_far_future_is_not_cancelled {
        CancelTheFuture: "an id of the far future is refused",
    }
    register::h16_a_commit_that_is_told_it_exists_already_knows_its_own {
        DisownDecision: "it was this attempt that committed",
    }
    register::h16_a_conflict_without_effect_is_no_success {
        SkipReadBack: "what is acknowledged is committed",
    }
    register::h16_a_decision_that_was_not_found_may_still_land {
        TrustNotFound: "what lands is this attempt's commit",
    }
    register::h16_another_attempts_decision_is_not_ones_own {
        AcceptForeignDecision: "one attempt commits",
    }
    reads::h17_a_scanned_tombstone_is_a_version {
        TombstoneAsAbsent: "k was read at its tombstone",
    }
    requests::h19_an_aborted_attempt_frees_its_request_key {
        AdoptDeadClaim: "an aborted attempt does not hold its request key",
    }
    pruning::h20_a_void_commit_prunes_nothing {
        NeverVerify: "what a void commit would have overwritten",
        PublishBeforeDecision: "what a void commit would have overwritten",
    }
    pruning::h20_a_commit_is_pruned_only_where_each_of_its_keys_was_overwritten {
        PruneTooMuch: "what nobody overwrote",
    }
    // What it would harm in a fold is found by the model in `fold/history.rs`.
    pruning::h20_a_commit_carried_twice_is_one {}
    sweep::h21_what_is_decided_while_a_sweep_lists_is_found_by_the_next {
        SweptThroughAfterList: "a committed transaction is found by the next sweep",
        ShortSweepWindow: "a committed transaction is found by the next sweep",
    }
    reads::h22_what_was_read_absent_stays_absent_for_a_later_commit {
        ForgetAbsentRead: "k was read absent",
        IgnoreReads: "k was read absent",
    }
    reads::h22_what_was_scanned_absent_stays_absent_for_a_later_commit {
        ForgetScannedRange: "k was scanned absent",
        ForgetScan: "k was scanned absent",
    }
    reads::h22_an_own_write_does_not_undo_the_read_before_it {
        IgnoreReads: "k was read at the first commit",
        ForgetOwnWrites: "k is the own write",
    }
    reads::h22_a_floor_holds_where_the_newest_version_may_not_be_read {
        IgnoreFloor: "k was read at 30, and so must l be",
        IgnoreReads: "m was read at 20",
    }
    reads::a_read_counts_from_when_it_is_chosen_not_from_when_its_value_is_there {
        NoteAfterFetch: "k was read at 1, and so must l be",
    }
    reads::a_read_that_waited_for_the_index_looks_again {
        SnapshotOnce: "k is read beside l",
    }
    reads::parallel_reads_of_one_transaction_are_atomic {
        NoteAfterFetch: "torn",
        IgnoreReads: "torn",
    }
    requests::a_request_key_answers_one_input_alone {
        IgnoreInput: "while the first is open",
    }
    requests::run_commits_the_transaction_that_it_gave_to_the_closure {
        TrustSwappedTransaction: "another transaction is no result of this one",
    }
    requests::a_claim_that_exists_already_is_read {
        TrustClaimConflict: "one request is one transaction",
    }
    requests::an_expired_attempt_is_taken_over_behind_a_fence {
        TakeOverUnfenced: "one attempt of a request commits",
    }
    requests::a_decision_that_lands_while_its_register_is_read_counts {
        ForgottenByLaterTime: "one attempt of a request commits",
    }
    requests::a_failure_is_believed_only_once_an_unknown_outcome_is_settled {
        BelieveFailure: "a request that failed leaves nothing",
    }
    requests::a_commit_that_run_knows_of_is_not_denied {
        BelieveFailure: "nobody may be told that nothing was committed",
    }
    streams::a_stream_is_durable_before_its_commit {
        StreamBeforeUpload: "the key is read",
    }
    streams::a_stream_that_nobody_polls_holds_up_no_upload {
        PermitsOfCallers: "another upload is not held up",
    }
    streams::a_read_that_nobody_polls_holds_up_no_other {
        LoadsOfCallers: "another reader is not held up",
    }
    streams::the_parts_of_a_stream_are_its_value_in_order {
        PartsOutOfOrder: "together they are another value",
    }
    tokens::h12_a_token_of_a_clock_that_is_ahead_reads_nothing_torn {
        TrustTokenClocks: "having read k at 1, it cannot read l at 2",
        SeenByWallClock: "having read k at 1, it cannot read l at 2",
    }
    tokens::h12_a_young_token_of_a_quiet_store_is_not_expired {
        SeenByLastDate: "a young token is not expired",
    }
    tokens::h12_a_node_that_is_new_to_a_quiet_store_refuses_nobody {
        SeenByLastDate: "a young token is not expired",
    }
    tokens::h12_a_token_is_as_old_as_the_store_says {
        AgeByOwnClock: "having read k at 1, it cannot read l at 2",
    }
    tokens::h23_a_token_that_read_over_a_purged_deletion_loses_nothing {
        ForgetTokenBase: "what was committed before it began is seen",
    }
    tokens::a_token_that_was_told_its_outcome_reads_nothing_anew {
        ReadsWhenOver: "what was read once is read again",
    }
    tokens::h23_a_token_is_not_read_on_through_an_older_checkpoint {
        ForgetTokenBase: "nothing is read through an older checkpoint",
    }
    bundles::what_a_bundle_lacks_is_read_from_the_feed {
        BundleIsWhole: "is on the feed",
    }
    bundles::whatever_becomes_of_a_bundle_the_feed_is_read {}
    bundles::bundles_are_collected_with_the_feed {}
    bundles::a_feed_object_under_another_name_is_damaged {
        AnyNameWillDo: "its decision has it",
    }
    tokens::h23_a_checkpoint_that_is_asked_for_during_a_refresh_is_found {
        ForgetLateAsk: "what is asked for while a refresh looks is for the next",
    }
    tokens::h23_a_checkpoint_in_place_of_a_damaged_one_hides_nothing {
        TrustOlderBase: "what was committed before it began is seen",
    }
    tokens::a_token_resumed_twice_commits_once {
        ResumeSameAttempt: "one of them commits",
    }
    healing::h24_what_a_feed_object_with_a_changed_date_tells_is_seen_and_published_again {
        LateSaysNothing: "a published commit is seen",
        FoundStaysHere: "what was told late is published again",
    }
    healing::h24_a_checkpoint_waits_for_what_was_told_late {
        CheckpointForgetsFound: "a published commit is seen",
    }
    healing::a_damaged_feed_object_is_replaced {
        DamageIsEmpty: "a published commit is seen",
        StandInUnread: "one node looks, the others need not",
    }
    healing::a_damaged_feed_object_and_a_damaged_decision_are_not_guessed {
        UnreadableIsNothing: "nobody knows what was committed",
    }
    healing::a_commit_whose_feed_object_is_gone_is_named_and_published_again {
        CheckIgnoresLost: "a lost commit is named",
    }
    healing::a_commit_older_than_what_is_settled_is_restored {
        CheckIgnoresLost: "a lost commit is named",
        RestoredIsSettled: "a lost commit is restored",
    }
    healing::h02_a_lost_commit_that_may_have_been_deleted_is_only_reported {
        RestoreDeleted: "a deleted key stays deleted",
    }
    healing::h02_a_deletion_stays_in_the_index_until_what_it_hides_is_there {
        PurgeAboveRestored: "a deleted key stays deleted",
    }
    healing::a_lost_commit_is_published_at_once_or_not_at_all {
        SlowRestore: "what was found too long ago is not published",
    }
    healing::a_value_that_the_feed_lost_is_read_from_the_decision {
        OneCopyOfValue: "the key is read",
    }
    lies::what_listings_of_the_feed_hid_is_read_once_they_show_it {
        CursorByAnyDate: "a published commit is seen",
    }
    lies::a_checkpoint_of_who_was_shown_nothing_claims_nothing {
        HorizonByAnyDate: "a published commit is seen",
        SweptThroughByAnyDate: "a published commit is seen",
    }
    lies::a_sweep_that_is_not_shown_what_it_knows_claims_nothing {
        TrustListedDecisions: "a committed transaction is found by the next sweep",
    }
    lies::a_node_that_slept_does_not_believe_that_its_checkpoint_is_gone {
        TrustListedCheckpoints: "what was committed is there",
    }
    healing::what_was_restored_keeps_its_guards {
        GuardsForgetRestored: "an update of what was restored is not lost",
    }
    register::a_commit_that_was_told_shows_on_the_node_that_told_it {
        TellUnlearned: "what was told to be committed shows",
    }
    groups::h06_a_member_of_a_group_is_not_cancelled {
        AskTheMember: "a commit is not denied",
    }
    groups::h06_who_was_asked_for_its_id_commits_alone {
        NamedInGroup: "whoever was told the id is told what became of it",
    }
    groups::h06_values_of_their_own_need_a_decision_of_their_own {
        UploadsInGroup: "a value that was committed is there",
    }
    groups::a_group_lies_in_one_feed_object {
        GroupInPieces: "every member of a group is published",
    }
    copies::of_two_copies_each_is_shown_to_one {
        FoldedByDateAlone: "what was committed is seen",
    }
    copies::of_two_copies_a_light_checkpoint_tells {
        LightForgetsUnfolded: "what was committed is seen",
    }
    lies::what_was_published_again_is_read_until_it_is_folded {
        FoldedByDateAlone: "what was committed is seen",
    }
    lies::what_was_lacking_while_a_node_caught_up_is_listed_again {
        CatchUpOnce: "what was committed is seen",
    }
    lies::a_checkpoint_of_who_has_just_caught_up_loses_nothing {
        BelieveAtOnce: "what was committed is there",
    }
    lies::a_changed_date_publishes_nothing_later {}
    lies::what_was_published_again_is_read_where_that_is_hidden {
        FoldedByDateAlone: "what was committed is seen",
    }
    lies::what_listings_never_showed_is_published_again {
        UndatedIsForgotten: "what was committed is seen",
    }
    lies::what_was_folded_by_its_first_date_leaves_the_view {}
    lies::a_token_that_can_only_be_told_its_outcome_reads_nothing {}
    lies::what_was_hidden_at_the_begin_is_not_read_as_rows {
        ReadsUnshown: "having read k at 1, it cannot read l at 2",
    }
    lies::what_lies_before_a_horizon_was_not_shown_for_that {
        HorizonIsShown: "having read l at 1, it cannot read k at 2",
    }
    lies::what_was_hidden_at_the_begin_is_not_read_as_rows_elsewhere {
        ReadsUnshown: "having read k at 1, it cannot read l at 2",
    }
    lies::what_a_checkpoint_needs_that_was_not_listed_stays {
        TrustListedCheckpoints: "what a checkpoint needs is there",
    }
    lies::the_list_of_a_checkpoint_that_was_not_listed_is_not_nobodys {
        TrustOldestListed: "what was folded is collected",
    }
    lies::a_checkpoint_whose_seal_was_not_listed_is_not_void {
        TrustListedSeals: "what was folded is collected",
    }
    lies::a_checkpoint_stays_until_its_list_of_garbage_was_worked_off {
        TrustListedGarbage: "what was folded is collected",
    }
    collected::a_manifest_that_lands_again_takes_no_list_with_it {
        GhostIsVoid: "a list that counts stays",
    }
    collected::a_manifest_that_lands_again_takes_no_list_with_it_of_what_was_purged {
        PurgedGhostIsVoid: "a list that counts stays",
    }
    lies::what_is_folded_goes_although_no_list_names_it {
        UnlistedStays: "what was folded is collected",
    }
    lies::a_value_is_no_orphan_by_a_checkpoint_that_is_gone {
        OrphansByHiddenIndex: "a live value is no orphan",
    }
    lies::a_listing_need_not_show_a_checkpoint_that_is_made_meanwhile {
        ExpectLaterCheckpoint: "a collection is not stopped by its own node's checkpoint",
    }
    feed::a_feed_object_that_cannot_be_read_is_not_passed_over {
        SkipUnreadableFeedObject: "a published commit is seen",
    }
    told::a_lost_decision_is_not_taken_for_undecided {
        BelieveLostRegister: "a commit that the feed tells is not denied",
    }
    told::a_decision_that_was_dated_anew_is_not_taken_for_void {
        BelieveLostRegister: "a commit that the feed tells is not denied",
    }
    told::a_folded_request_whose_decision_is_lost_does_not_run_again {
        IgnoreOutcomeLists: "a finished request does not run again",
    }
    told::a_request_that_died_undecided_runs_after_all {}
    told::what_was_collected_while_a_node_slept_is_not_lost {
        TellWithoutRefresh: "what was collected is forgotten",
    }
    told::what_nothing_tells_of_is_undecided_as_ever {}
    told::a_commit_made_while_its_register_was_asked_is_not_lost {
        TellOfOldAnswers: "a commit made meanwhile is not lost",
    }
    told::a_request_finished_while_another_delivery_refreshed_is_not_lost {
        TellOfOldAnswers: "a request finished meanwhile is not lost",
    }
    told::a_check_misses_what_leads_to_an_outcome {
        CheckIgnoresOutcomes: "a lost decision is named",
        CheckIgnoresClaims: "a lost claim is named",
    }
}

#[test]
fn every_planted_bug_is_found_by_a_case_by_seeds_or_by_a_model() {
    let seeds = || FOUND_BY_SEEDS.iter().chain(&FOUND_WITH_UPKEEP);
    let by_seeds = |bug| seeds().any(|(found, ..)| *found == bug);
    for bug in Planted::ALL.iter().copied() {
        let cases: [&[Planted]; 5] =
            [FOUND_BY_CASES, &direct::FOUND, &guards::FOUND, &light::FOUND, &light_damage::FOUND];
        let lists = cases.iter().chain(&found::ELSEWHERE);
        assert!(lists.into_iter().any(|list| list.contains(&bug)) || by_seeds(bug), "nothing finds {bug:?}");
    }
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A node whose clock the test holds.
async fn node_with_clock(world: &World) -> (Aft, Arc<NodeClock>) {
    let clock = world.clock();
    let node = world.builder().clock(clock.clone()).open().await.unwrap();
    (node, clock)
}

/// Commits, but the process dies while the create of its decision is on its way: it lands when the gate is released.
async fn die_committing(world: &World, tx: Transaction) -> Gate {
    let ghost = world.storage.fail(Operation::Create, "commits/", 1, Fault::Ghost);
    let commit = tokio::spawn(tx.commit());
    ghost.reached().await;
    commit.abort();
    assert!(commit.await.unwrap_err().is_cancelled());
    ghost
}

/// Publishes something from `other`, so that whoever refreshes learns what time it is.
async fn tell_the_time(other: &Aft) {
    put(other, "other", "v").await;
    other.publish().await.unwrap();
}
