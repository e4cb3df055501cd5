//! An in-memory store for aft.
