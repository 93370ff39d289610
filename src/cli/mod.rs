//! The command line: parse, call the library, print. Nothing is computed here.

mod batch;
mod devices;
mod evaluate;
mod info;
mod method;
mod output;
mod patches;
mod register;
mod simulate;

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

const LONG_ABOUT: &str = "\
Registers two overlapping point clouds without an initial guess.

The answer is one rigid transform, T_target_source. It maps coordinates of the SOURCE cloud to coordinates \
of the TARGET cloud: p_target = T_target_source * p_source. It is a 4x4 matrix, row by row, in the unit of \
the clouds.";

const EXIT_CODES: &str = "\
Exit codes:
  0  done; for `register`: the transform is accepted
  1  `register` only: rejected, there is no confident answer (the best guess is still printed)
  2  an error, or a pair of many that could not be registered; one sentence on the standard error says which

Set RUST_LOG=debug to see on the standard error what the program finds on its way, or RUST_LOG=warn
for what it ignores.";

#[derive(Debug, Parser)]
#[command(version, about = "Registers two overlapping point clouds without an initial guess")]
#[command(long_about = LONG_ABOUT, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Register(register::Arguments),
    Batch(batch::Arguments),
    Evaluate(evaluate::Arguments),
    Info(info::Arguments),
    /// List the devices that this program could compute on
    Devices,
    Simulate(simulate::Arguments),
    Patches(patches::Arguments),
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Rejected,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::Rejected => Self::from(1),
        }
    }
}

/// Runs the command that the process's arguments ask for. Wrong arguments end the process with code 2.
pub fn run() -> ExitCode {
    start_logging();
    match Cli::parse().command.run() {
        Ok(outcome) => outcome.into(),
        Err(error) => {
            // A closed standard error leaves nobody to tell; the exit code still does.
            let _ = writeln!(std::io::stderr(), "error: {}", sentence(&error));
            ExitCode::from(2)
        }
    }
}

impl Command {
    fn run(&self) -> anyhow::Result<Outcome> {
        match self {
            Self::Register(arguments) => arguments.run(),
            Self::Batch(arguments) => arguments.run(),
            Self::Evaluate(arguments) => arguments.run(),
            Self::Info(arguments) => arguments.run(),
            Self::Devices => devices::run(),
            Self::Simulate(arguments) => arguments.run(),
            Self::Patches(arguments) => arguments.run(),
        }
    }
}

/// Logging is for those who ask for it: off unless RUST_LOG says otherwise, and never on the standard output.
fn start_logging() {
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::OFF.into()).from_env_lossy();
    let coloured = std::io::stderr().is_terminal();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(coloured)
        .without_time()
        .init();
}

/// The error and its causes on one line. A cause that its consequence already quotes is not said twice.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(|cause| cause.to_string().replace('\n', " ")) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_sentence_names_every_cause_once() {
        let missing = std::io::Error::from(std::io::ErrorKind::NotFound);
        let quoted = coregister::Error::file("read", "a.ply", missing);
        let text = sentence(&anyhow::Error::new(quoted).context("pair 3"));
        assert_eq!(text, "pair 3: cannot read a.ply: entity not found");
    }

    #[test]
    fn only_a_rejection_differs_from_success() {
        let code = |outcome: Outcome| format!("{:?}", ExitCode::from(outcome));
        assert_eq!(code(Outcome::Done), format!("{:?}", ExitCode::SUCCESS));
        assert_ne!(code(Outcome::Rejected), code(Outcome::Done));
    }
}
