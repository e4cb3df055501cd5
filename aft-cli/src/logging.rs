//! Log lines on stderr.

use std::ffi::OsString;
use std::io::{IsTerminal, stderr};

use tracing_subscriber::EnvFilter;

/// Logs what `RUST_LOG` asks for, or else what the number of `-v` does.
pub(crate) fn start(verbosity: u8) {
    let default = match verbosity {
        0 => "error",
        1 => "aft_core=info,aft_s3=info,warn",
        2 => "aft_core=debug,aft_s3=debug,info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let colour = coloured(stderr().is_terminal(), std::env::var_os("NO_COLOR"));
    // A subscriber that somebody set before is kept.
    let _ =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_ansi(colour).try_init();
}

/// Colours are for terminals whose user did not ask for none (no-color.org: any value but an empty one).
fn coloured(terminal: bool, no_colour: Option<OsString>) -> bool {
    terminal && no_colour.is_none_or(|value| value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_is_honoured() {
        assert!(coloured(true, None) && coloured(true, Some("".into())));
        assert!(!coloured(true, Some("1".into())) && !coloured(false, None));
    }
}
