//! Directories as keys, and keys as directories. Nothing here knows of stores.

pub(crate) mod layout;
pub(crate) mod staging;
pub(crate) mod walk;
