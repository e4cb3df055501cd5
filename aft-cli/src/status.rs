//! `aft status`.
