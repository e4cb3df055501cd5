//! What programs store and pass on goes through serde and comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use aft_core::{
    Aft, Begin, CommitInfo, Config, ErrorKind, Outcome, Receipt, StoreInfo, Token, TxnId, Version,
};
use aft_memory::MemoryStorage;
use serde::{Serialize, de::DeserializeOwned};

fn round<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) -> String {
    let text = serde_json::to_string(value).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), value, "{text}");
    assert_eq!(&serde_json::from_reader::<_, T>(text.as_bytes()).unwrap(), value, "nothing to borrow from");
    text
}

#[tokio::test]
async fn identities_are_text_and_reports_come_back() {
    let aft = Aft::open(Arc::new(MemoryStorage::new()), Config::default()).await.unwrap();
    let mut tx = aft.begin().await.unwrap();
    tx.put("k", "v").unwrap();
    tx.set_result("done").unwrap();
    let receipt = tx.commit().await.unwrap().receipt;
    let id: TxnId = receipt.txn_id();
    assert_eq!(round(&id), format!("\"{id}\""));
    assert_eq!(round(&receipt), format!("\"{receipt}\""));
    let version: Version = receipt.version();
    assert_eq!(round(&version), format!("\"{version}\""));
    assert_eq!(version.to_string().parse::<Version>().unwrap(), version);
    assert_eq!("v".parse::<Version>().unwrap_err().kind(), ErrorKind::InvalidInput);
    let token: Token = aft.begin_with(Begin::new().after(&receipt)).await.unwrap().suspend().await.unwrap();
    assert_eq!(round(&token), format!("\"{token}\""));
    let outcome: Outcome = aft.outcome(id).await.unwrap();
    assert!(round(&outcome).starts_with("{\"committed\":{\"receipt\":\"aft1."));
    round::<Vec<CommitInfo>>(&aft.recent_commits(1));
    round::<StoreInfo>(&aft.store_info());
    // One that read nothing and wrote nothing has a receipt that names nothing.
    let nothing = aft.begin().await.unwrap().commit().await.unwrap().receipt;
    assert_eq!(round::<Receipt>(&nothing), "\"aft1.none\"");
    aft.begin_with(Begin::new().after(&nothing)).await.unwrap().abort().await.unwrap();
    assert_eq!(ErrorKind::OutcomeUnknown.to_string(), "outcome unknown");
}
