//! S3, local files and every other object_store backend as stores for aft.

mod file;
mod prefix;

pub use file::FileStorage;
