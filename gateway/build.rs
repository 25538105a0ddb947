//! Fails early, and says what to do, where the web UI that the binary embeds was not built yet.

use std::path::Path;

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=ui/dist/classic");
    for file in ["index.html", "app.js", "app.css", "socket.io/version", "classic/client-2.2.0.js"] {
        println!("cargo::rerun-if-changed=ui/dist/{file}");
        if !Path::new("ui/dist").join(file).exists() {
            return Err(format!("gateway/ui/dist/{file} is missing: run `make ui` first"));
        }
    }
    Ok(())
}
