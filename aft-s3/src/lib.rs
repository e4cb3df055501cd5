//! S3, local files and other object stores for aft.
