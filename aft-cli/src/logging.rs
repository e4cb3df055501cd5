//! Log lines on stderr.

use std::io::stderr;

use tracing_subscriber::EnvFilter;

use crate::colour;

/// Logs what `RUST_LOG` asks for, or else what the number of `-v` does.
pub(crate) fn start(verbosity: u8) {
    let default = match verbosity {
        0 => "error",
        1 => "aft_core=info,aft_s3=info,warn",
        2 => "aft_core=debug,aft_s3=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colour = colour::on(&stderr());
    // A subscriber that somebody set before is kept.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colour).try_init();
}
