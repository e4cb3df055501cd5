//! A webhook as an AWS Lambda function: each event charges once, however often it is delivered, and is answered the same each time.
//!
//! A sender delivers an event until it is answered. The answer can be lost although the charge was made: the host may refuse the response
//! (too long, say), or kill the function before it was sent, and the function itself learns nothing of it. So the event's id is the
//! request key: the next delivery gets the stored result.
//!
//! The store is opened once, when the process starts, and stays open from call to call; [`Config::function`] says how. The build needs
//! nothing of AWS; the host calls it:
//!
//! ```console
//! $ cargo build -p aft-s3 --example lambda --release   # target/release/examples/lambda is the function's `bootstrap`
//! ```
//!
//! `AFT_URL` says where the store is (`s3://bucket/prefix`); without it, a folder among the temporary files. `tests/lambda.rs` plays the host.

use std::env;
use std::time::Duration;

use aft_core::{Aft, Begin, Config};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The function's timeout, as it is set at the host.
const LIMIT: Duration = Duration::from_secs(30);

/// The open store: a process that is called again has it still.
static AFT: OnceCell<Aft> = OnceCell::const_new();

async fn aft() -> Result<&'static Aft, Error> {
    let open = async || {
        let temporary = || format!("file://{}", env::temp_dir().join("aft-lambda").display());
        let url = env::var("AFT_URL").unwrap_or_else(|_| temporary());
        let storage = aft_s3::open(&url, aft_s3::Options::default())?;
        Ok(Aft::open(storage, Config::function(LIMIT)).await?)
    };
    AFT.get_or_try_init(open).await
}

/// Charges what the event says, once.
async fn charge(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let id = event.payload["id"].as_str().ok_or("the event has no id")?;
    let cents = event.payload["cents"].as_u64().ok_or("the event has no cents")?;
    // Another amount under the same id is another request, and refused.
    let begin = Begin::new().request(id).input(cents.to_string());
    let run = aft().await?.run_with(begin, async |tx| {
        // A row for each charge: events that race would overwrite a balance that each of them reads.
        let row = format!("charge/{id}/{}", tx.id());
        tx.put(&row, cents.to_string())?;
        Ok(json!({ "charge": row, "cents": cents }).to_string().into())
    });
    // It is committed and published: nothing is left to be done after the answer.
    Ok(serde_json::from_slice(&run.await?.result)?)
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Error> {
    // While the host starts the process, not within the first call.
    aft().await?;
    lambda_runtime::run(service_fn(charge)).await
}
