//! S3, local files and every other object_store backend as stores for aft.
//!
//! - [`open`] takes a URL: `s3://bucket/prefix`, `file:///path`, `memory://`, and what the features `azure` and `gcp` add.
//! - [`ObjectStorage`] makes a store of any [`object_store`] backend.
//! - [`FileStorage`] keeps objects as local files; it does not go through object_store, whose files cannot keep the
//!   contract (see its module).

#[cfg(any(feature = "aws", feature = "gcp"))]
mod checked;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod connector;
#[cfg(feature = "aws")]
mod container;
mod failure;
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "ios"))]
mod file;
mod listing;
mod object;
mod open;
mod options;
mod prefix;
#[cfg(feature = "aws")]
mod profile;
#[cfg(any(feature = "aws", feature = "azure", feature = "gcp"))]
mod ranges;
#[cfg(feature = "aws")]
mod s3;
#[cfg(feature = "aws")]
mod settings;
#[cfg(any(feature = "aws", feature = "gcp"))]
mod versions;

#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "ios"))]
pub use file::FileStorage;
pub use object::ObjectStorage;
/// The version of object_store whose types are in the public names here.
pub use object_store;
pub use open::{open, shown};
pub use options::{Credentials, Options};
