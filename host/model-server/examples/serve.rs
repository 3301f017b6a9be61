//! Serves until it is killed. The first line on stdout is JSON: `{"base_url": .., "root": .., "port": ..}`.

use cofferdam_model_server::{ModelServer, Options};
use std::io::{self, Write};

#[tokio::main]
async fn main() -> io::Result<()> {
    let server = ModelServer::start(Options::default()).await?;
    let line = serde_json::json!({
        "base_url": server.base_url(),
        "root": server.root(),
        "port": server.address().port(),
    });
    writeln!(io::stdout(), "{line}")?;
    std::future::pending().await
}
