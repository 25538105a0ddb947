//! The binary `roomcast-presence`, as a checklist: settings, build, say where it listens, run. The frame
//! around it (telemetry, signals, exit codes) is `ops::run_main`.

use std::io::Write as _;
use std::process::ExitCode;

use roomcast_ops::run_main;
use roomcast_presence::{App, Args};

fn main() -> ExitCode {
    run_main("roomcast-presence", Args::check, async |config, lifecycle, log| {
        let app = App::build(&config, lifecycle, log).await?;
        // Whoever started us with port 0 reads the ports here: flushed before the first request.
        let mut stdout = std::io::stdout().lock();
        writeln!(stdout, "listening on http://{}\nadmin on http://{}", app.local_addr(), app.admin_addr())?;
        stdout.flush()?;
        drop(stdout);
        anyhow::Ok(app.run().await)
    })
}
