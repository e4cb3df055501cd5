//! Colours: on a terminal whose user did not ask for none (NO_COLOR, CLICOLOR=0, TERM=dumb), or where they are asked for (CLICOLOR_FORCE, `--color`).

use anstream::stream::RawStream;
use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use comfy_table::{Attribute, Cell};

/// Chooses for this process.
pub(crate) fn choose(choice: clap::ColorChoice) {
    let choice = match choice {
        clap::ColorChoice::Auto => ColorChoice::Auto,
        clap::ColorChoice::Always => ColorChoice::Always,
        clap::ColorChoice::Never => ColorChoice::Never,
    };
    choice.write_global();
}

/// Whether the stream gets colours.
pub(crate) fn on(stream: &impl RawStream) -> bool {
    AutoStream::choice(stream) != ColorChoice::Never
}

/// A line whose first word may say what it is: `error: …`.
pub(crate) fn led(text: &str) -> String {
    let Some((word, rest)) = text.split_once(':') else { return text.to_owned() };
    let style = match word {
        "error" => AnsiColor::Red.on_default().bold(),
        "warning" => AnsiColor::Yellow.on_default().bold(),
        "hint" => AnsiColor::Green.on_default().bold(),
        _ => Style::new(),
    };
    format!("{style}{word}:{style:#}{rest}")
}

/// The head of a table.
pub(crate) fn headings<const N: usize>(header: [&str; N]) -> [Cell; N] {
    header.map(|text| Cell::new(text).add_attribute(Attribute::Bold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_word_that_says_what_a_line_is_has_a_colour() {
        assert_eq!(led("error: at a: b"), "\u{1b}[1m\u{1b}[31merror:\u{1b}[0m at a: b");
        assert_eq!(led("left out: x"), "left out: x");
        assert_eq!(led("no recent commits"), "no recent commits");
    }
}
