//! Which planted bugs random seeds find, and how soon.

use aft_core::planted::Planted;

/// Each planted bug that random seeds find, the seed from which it is looked for, and how many seeds it may take. Those that
/// few seeds reach are found by cases of their own (`tests/hazards`).
pub const FOUND_BY_SEEDS: [(Planted, u64, u64); 22] = [
    (Planted::TrustNotFound, 0, 40),
    (Planted::SkipReadBack, 0, 40),
    (Planted::AcceptForeignDecision, 0, 40),
    (Planted::IgnoreFloor, 0, 40),
    (Planted::IgnoreReads, 0, 40),
    (Planted::ForgetAbsentRead, 0, 40),
    (Planted::ForgetScannedRange, 0, 60),
    (Planted::ForgetScan, 0, 40),
    (Planted::TombstoneAsAbsent, 0, 40),
    (Planted::ForgetOwnWrites, 0, 40),
    (Planted::PublishBeforeDecision, 0, 40),
    (Planted::NoInTimeRule, 0, 40),
    (Planted::NoExpiryCheck, 0, 60),
    (Planted::NeverVerify, 0, 40),
    (Planted::TrustFeedCreate, 0, 60),
    (Planted::AckBeforeUpload, 0, 40),
    (Planted::WallClockVersion, 0, 40),
    (Planted::CacheBeforeDecision, 40, 40),
    (Planted::PruneTooMuch, 0, 40),
    (Planted::TrustClaimConflict, 0, 40),
    (Planted::UploadBeforeClaim, 0, 40),
    (Planted::ResumeSameAttempt, 40, 40),
];

/// As [`FOUND_BY_SEEDS`], where nodes make checkpoints and collect garbage in every seed
/// ([`Options::upkeep`](super::Options::upkeep)).
pub const FOUND_WITH_UPKEEP: [(Planted, u64, u64); 13] = [
    (Planted::HorizonWithoutLifetime, 0, 40),
    (Planted::SettleWithoutUnfolded, 0, 40),
    (Planted::SettleTooMuch, 0, 40),
    (Planted::SettledComesBack, 0, 40),
    (Planted::CollectKeyedDecisions, 0, 40),
    (Planted::NeverOvertaken, 0, 60),
    (Planted::KeepOlderVersion, 0, 40),
    (Planted::TrustManifestConflict, 0, 40),
    (Planted::CollectFeedEarly, 0, 40),
    (Planted::CollectFilesEarly, 0, 40),
    (Planted::CollectYoungValues, 0, 40),
    (Planted::OrphansWithoutIndex, 0, 40),
    (Planted::ForgetTokenBase, 0, 40),
];
