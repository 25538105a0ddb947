//! The gateway's process: builds an [`App`] from the settings and runs it, with the process lifecycle of `ops`.

use std::process::ExitCode;

use roomcast_gateway::{App, Args};

fn main() -> ExitCode {
    roomcast_ops::run_main("roomcast-gateway", Args::check, async |config, lifecycle, log| {
        let app = App::build(config, &lifecycle, log).await?;
        app.announce()?;
        anyhow::Ok(app.run(lifecycle).await)
    })
}
