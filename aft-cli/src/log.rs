//! `aft log`.
