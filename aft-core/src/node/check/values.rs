//! Values in objects of their own, and value objects that nothing names.

use futures::FutureExt;

use super::commits::Commits;
use super::index::Manifests;
use super::suspects::{Suspect, SuspectKind};
use super::{Check, CheckProblemKind, shown};
use crate::error::{Error, ErrorKind};
use crate::format::name::ObjectName;
use crate::format::record::StoredValue;
use crate::format::row::{Row, RowValue};
use crate::protocol::timeliness::StoreTime;
use crate::protocol::view::Commit;
use crate::protocol::write_set::ValueRef;
use crate::version::Version;

impl Check<'_> {
    /// Verifies the values that rows name.
    pub(super) async fn values_of_rows(&self, rows: Vec<Row>) -> Result<(), Error> {
        let stored = rows.into_iter().filter(|row| matches!(row.value, RowValue::Stored(_))).collect();
        self.each(stored, |row: Row| {
            async move {
                let RowValue::Stored(stored) = &row.value else { return Ok(()) };
                self.value(&row.key, row.version, stored).await
            }
            .boxed()
        })
        .await
    }

    /// Verifies the values that a commit names.
    pub(super) async fn values_of(&self, commit: &Commit) -> Result<(), Error> {
        let stored = commit.writes.iter().filter_map(|(key, value)| match value {
            ValueRef::Stored(stored) => Some((key, stored)),
            ValueRef::Tombstone | ValueRef::Inline { .. } => None,
        });
        for (key, stored) in stored {
            self.value(key, commit.version, stored).await?;
        }
        Ok(())
    }

    /// Verifies a value: each part is there, with its length and checksum.
    async fn value(&self, key: &[u8], version: Version, stored: &StoredValue) -> Result<(), Error> {
        let mut whole = true;
        for part in &stored.parts {
            let name = ObjectName::Value(version.txn, part.object());
            self.name_value(name);
            let loaded = {
                let _permit = self.permit(part.len).await;
                self.node.load_whole_part(&self.store, version.txn, *part).await
            };
            let kind = match loaded {
                Ok(_) => continue,
                Err(error) if error.kind() == ErrorKind::VersionUnavailable => CheckProblemKind::Missing,
                Err(error) if error.kind() == ErrorKind::Corrupt => CheckProblemKind::Damaged,
                Err(error) => return Err(error),
            };
            whole = false;
            let what = format!("the value of the key {}, version {version}", shown(key));
            let needed = SuspectKind::Value { key: bytes::Bytes::copy_from_slice(key), version, kind };
            self.suspect(Suspect { path: self.path(name), what, needed });
        }
        self.count(|report| &mut report.values, u64::from(whole));
        Ok(())
    }

    /// Value objects that nothing names and that no transaction can name any more.
    pub(super) async fn orphaned_values(
        &self,
        manifests: &Manifests,
        commits: &Commits,
        now: StoreTime,
    ) -> Result<(), Error> {
        if manifests.is_partial || commits.recent_is_damaged || self.index_is_damaged() {
            self.leave_out("orphaned values: what the damaged parts of the index name is not known");
            return Ok(());
        }
        let folders: Vec<_> = self.node.shards.value_folders().collect();
        self.each(folders, |folder: String| {
            async move {
                for (name, object) in self.list(&folder).await? {
                    let ObjectName::Value(txn, _) = name else { continue };
                    let named = commits.is_decided(txn) || self.is_named(&object.path);
                    if !named && self.node.limits.orphan_value_may_go(txn.start_ms(), now) {
                        self.orphan(object.path);
                    }
                }
                Ok(())
            }
            .boxed()
        })
        .await
    }
}
