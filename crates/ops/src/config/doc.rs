//! The reference of a binary's settings as Markdown, made from its clap command. A test of each binary compares
//! the result with docs/CONFIGURATION.md, so that the page cannot go stale.

use std::fmt::Write as _;

use clap::{Arg, Command};

/// A section `## title` with the command's description and one table per help heading: flag, environment
/// variable, default, meaning. Order is the order of declaration; hidden arguments are left out; values in the
/// environment of the caller do not show. Ends with a newline.
pub fn markdown(cmd: &Command, title: &str) -> String {
    let mut cmd = cmd.clone();
    // Fills in what clap derives, such as value names.
    cmd.build();
    let mut out = format!("## {title}\n");
    if let Some(about) = cmd.get_long_about().or_else(|| cmd.get_about()) {
        out.push_str(&format!("\n{about}\n"));
    }
    let mut headings: Vec<Option<&str>> = Vec::new();
    let args: Vec<&Arg> = cmd.get_arguments().filter(|arg| is_documented(arg)).collect();
    for arg in &args {
        if !headings.contains(&arg.get_help_heading()) {
            headings.push(arg.get_help_heading());
        }
    }
    for heading in headings {
        if let Some(heading) = heading {
            out.push_str(&format!("\n### {heading}\n"));
        }
        out.push_str("\n| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n");
        for arg in args.iter().filter(|arg| arg.get_help_heading() == heading) {
            // Writing to a string does not fail.
            writeln!(out, "{}", row(arg)).unwrap_or_default();
        }
    }
    for sub in cmd.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
        out.push_str(&format!("\n#{}", markdown(sub, &format!("`{}`", sub.get_name()))));
    }
    out
}

fn is_documented(arg: &Arg) -> bool {
    !arg.is_hide_set() && !matches!(arg.get_id().as_str(), "help" | "version")
}

fn row(arg: &Arg) -> String {
    let flag = match (arg.get_long(), arg.get_short()) {
        (Some(long), _) => format!("--{long}{}", value_name(arg)),
        (None, Some(short)) => format!("-{short}{}", value_name(arg)),
        (None, None) => arg.to_string(),
    };
    let env = arg.get_env().map(|env| code(&env.to_string_lossy())).unwrap_or_default();
    let defaults: Vec<_> = if arg.get_action().takes_values() {
        arg.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect()
    } else {
        vec![code("false")]
    };
    let help = arg.get_long_help().or_else(|| arg.get_help()).map(ToString::to_string).unwrap_or_default();
    let mut meaning = cell(&help);
    let possible: Vec<_> = if arg.get_action().takes_values() {
        arg.get_possible_values().iter().filter(|v| !v.is_hide_set()).map(|v| code(v.get_name())).collect()
    } else {
        vec![]
    };
    if !possible.is_empty() {
        if !meaning.is_empty() {
            meaning.push_str(if meaning.ends_with('.') { " " } else { ". " });
        }
        meaning.push_str(&format!("One of {}.", possible.join(", ")));
    }
    format!("| {} | {env} | {} | {meaning} |", code(&flag), defaults.join(", "))
}

fn value_name(arg: &Arg) -> String {
    let names = if arg.get_action().takes_values() { arg.get_value_names() } else { None };
    names.unwrap_or_default().iter().map(|name| format!(" <{name}>")).collect()
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

/// One line, and no character that ends a cell.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;
    use crate::LogFormat;

    /// Does a thing.
    #[derive(Parser)]
    struct Settings {
        /// Where Redis is.
        ///
        /// Without it everything stays in memory.
        #[arg(long, env = "ROOMCAST_REDIS", value_name = "URL")]
        redis: Option<String>,
        /// Origins a|b
        #[arg(long, default_values = ["a", "b"])]
        origin: Vec<String>,
        /// PATH is set wherever this runs and must not show.
        #[arg(long, env = "PATH")]
        verbose: bool,
        #[arg(long, hide = true)]
        secret_switch: bool,
        /// How log lines look
        #[arg(long, env = "ROOMCAST_LOG_FORMAT", value_enum, default_value_t, help_heading = "Logs")]
        log_format: LogFormat,
    }

    #[test]
    fn describes_every_setting() {
        let expected = "## Thing\n\nDoes a thing\n\n\
            | Flag | Environment | Default | Meaning |\n|---|---|---|---|\n\
            | `--redis <URL>` | `ROOMCAST_REDIS` |  | Where Redis is. Without it everything stays in memory. |\n\
            | `--origin <ORIGIN>` |  | `a`, `b` | Origins a\\|b |\n\
            | `--verbose` | `PATH` | `false` | PATH is set wherever this runs and must not show |\n\
            \n### Logs\n\n| Flag | Environment | Default | Meaning |\n|---|---|---|---|\n\
            | `--log-format <LOG_FORMAT>` | `ROOMCAST_LOG_FORMAT` | `auto` | How log lines look. One of `auto`, `text`, `json`. |\n";
        assert_eq!(markdown(&Settings::command(), "Thing"), expected);
        assert_eq!(markdown(&Settings::command(), "Thing"), expected, "deterministic");
    }

    #[test]
    fn describes_subcommands() {
        let cmd = Command::new("thing").subcommand(Command::new("check").arg(Arg::new("FILE").help("Which")));
        assert!(markdown(&cmd, "Thing").contains("\n### `check`\n\n| Flag"), "{}", markdown(&cmd, "Thing"));
    }
}
