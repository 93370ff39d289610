use std::path::Path;

use clap::{Parser, Subcommand};
use xtask::{install_c, kernels};

/// Chores of coregister's developers.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    InstallC(install_c::Options),
    Kernels(kernels::Options),
}

fn main() -> anyhow::Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the checkout");
    match Arguments::parse().chore {
        Chore::InstallC(options) => install_c::run(checkout, &options),
        Chore::Kernels(options) => kernels::run(checkout, &options),
    }
}
