//! The gateway's process: settings, telemetry, build, run. The parts are in the library; `ops` frames it.

use std::process::ExitCode;

use roomcast_gateway::{App, Args};

fn main() -> ExitCode {
    roomcast_ops::run_main("roomcast-gateway", Args::check, async |config, lifecycle, log| {
        let app = App::build(config, &lifecycle, log).await?;
        app.announce()?;
        anyhow::Ok(app.run(lifecycle).await)
    })
}
