//! Which planted bugs random seeds find, and how soon.

use aft_core::planted::Planted;

/// How many seeds each of them may take. The rarest are found by one in 25: any change of the code gives the seeds other
/// histories, so that a window of twice that would miss one of them now and then.
pub const SEEDS_PER_BUG: u64 = 200;

/// Each planted bug that random seeds find, and a seed from which it is soon found. Those that few seeds reach are found by
/// cases of their own (`tests/hazards`).
pub const FOUND_BY_SEEDS: [(Planted, u64); 25] = [
    (Planted::TrustNotFound, 0),
    (Planted::SkipReadBack, 0),
    (Planted::AcceptForeignDecision, 0),
    (Planted::IgnoreFloor, 0),
    (Planted::IgnoreReads, 0),
    (Planted::ForgetAbsentRead, 0),
    (Planted::ForgetScannedRange, 0),
    (Planted::ForgetScan, 0),
    (Planted::TombstoneAsAbsent, 0),
    (Planted::ForgetOwnWrites, 0),
    (Planted::PublishBeforeDecision, 0),
    (Planted::NoInTimeRule, 0),
    (Planted::NoExpiryCheck, 0),
    (Planted::NeverVerify, 0),
    (Planted::TrustFeedCreate, 40),
    (Planted::AckBeforeUpload, 100),
    (Planted::WallClockVersion, 0),
    (Planted::CacheBeforeDecision, 40),
    (Planted::PruneTooMuch, 0),
    (Planted::TrustClaimConflict, 0),
    (Planted::UploadBeforeClaim, 0),
    (Planted::ResumeSameAttempt, 40),
    (Planted::GuardsIgnoreOpen, 0),
    (Planted::FirstGuardIsFree, 0),
    (Planted::TrustGuardConflict, 0),
];

/// As [`FOUND_BY_SEEDS`], where nodes make checkpoints and collect garbage in every seed
/// ([`Options::upkeep`](super::Options::upkeep)).
pub const FOUND_WITH_UPKEEP: [(Planted, u64); 13] = [
    (Planted::HorizonWithoutLifetime, 0),
    (Planted::SettleWithoutUnfolded, 1260),
    (Planted::SettleTooMuch, 0),
    (Planted::SettledComesBack, 0),
    (Planted::CollectKeyedDecisions, 0),
    (Planted::NeverOvertaken, 0),
    (Planted::KeepOlderVersion, 0),
    (Planted::TrustManifestConflict, 0),
    (Planted::CollectFeedEarly, 0),
    (Planted::CollectFilesEarly, 0),
    (Planted::CollectYoungValues, 0),
    (Planted::OrphansWithoutIndex, 0),
    (Planted::ForgetTokenBase, 0),
];
