//! Prints the gateway's part of `docs/METRICS.md`, from the registry itself. Run by `make generate`.

use std::io::Write as _;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = roomcast_gateway::inventory()?;
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}
