//! `tracer man`.

use std::io::{self, Write};

use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli;

/// Writes the man page, in roff, to `out`: one page for all commands.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl Write) -> io::Result<()> {
    let mut definition = cli::definition();
    definition.build();
    let page = Man::new(definition.clone()).section("8").manual("System Administration");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    let mut commands = Roff::default();
    commands.control("SH", ["COMMANDS"]);
    for command in definition.get_subcommands().filter(|command| command.get_name() != "help") {
        let mut usage = command.clone().render_usage().to_string();
        usage = usage.trim_start_matches("Usage: ").trim().to_owned();
        commands.control("TP", []);
        commands.text([bold(usage)]);
        commands.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        // The options of `live` have their own section, and apply to `run`, too.
        let own = command.get_arguments().filter(|arg| {
            !arg.is_positional()
                && arg.get_id() != "help"
                && !definition.get_arguments().any(|other| other.get_id() == arg.get_id())
        });
        for arg in own {
            commands.control("RS", []);
            commands.control("TP", []);
            commands.text([bold(arg.to_string())]);
            commands.text([roman(arg.get_help().map(ToString::to_string).unwrap_or_default())]);
            commands.control("RE", []);
        }
    }
    commands.to_writer(out)?;
    page.render_options_section(out)?;
    let mut end = Roff::default();
    for (title, text) in [("VALUES OF FILTERS", cli::VALUES), ("EXIT STATUS", cli::EXIT_STATUS)] {
        end.control("SH", [title]);
        end.text([roman(text)]);
    }
    end.control("SH", ["EXAMPLES"]);
    end.control("nf", []);
    for line in cli::EXAMPLES.lines() {
        end.text([roman(line.trim_start())]);
    }
    end.control("fi", []);
    end.control("SH", ["ENVIRONMENT"]);
    end.control("TP", []);
    end.text([bold("NO_COLOR")]);
    end.text([roman("If set and not empty, no colours, unless --color asks for them.")]);
    end.to_writer(out)?;
    page.render_version_section(out)?;
    out.flush()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_command_and_option() {
        let mut page = Vec::new();
        write(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap().replace('\\', "");
        let definition = cli::definition();
        for command in definition.get_subcommands() {
            assert!(page.contains(command.get_name()), "{}", command.get_name());
        }
        for option in definition.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("--{option}")), "{option}");
        }
        assert!(page.contains("--user"));
        assert!(page.contains("Size of the buffer"));
        assert!(page.contains("EXIT STATUS") && page.contains("tracer doctor  "));
    }
}
