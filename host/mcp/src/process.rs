//! A server's program: started in a group of its own with a cleaned environment, and killed with its group.

use crate::health::Health;
use crate::settings::{ServerSettings, Values};
use cofferdam_child::Group;
use cofferdam_core::limits;
use cofferdam_core::server::ServerReference;
use secrecy::ExposeSecret as _;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};

/// How often it is looked whether a program has ended.
const LOOK: Duration = Duration::from_millis(10);

/// A program that runs. Dropping it kills it.
pub(crate) struct Process(Group);

/// Its input and output.
pub(crate) struct Pipes {
    pub(crate) input: Sender,
    pub(crate) output: Receiver,
}

impl Process {
    /// Starts the program of a server; what it writes to its standard error goes to the log.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(settings: &ServerSettings, values: &Values, health: &Arc<Health>) -> io::Result<(Self, Pipes)> {
        let ServerReference::Command { command, args, .. } = &settings.reference else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        let mut program = Command::new(command);
        program.args(args).env_clear().current_dir(&settings.directory);
        for name in ["PATH", "HOME"] {
            if let Some(value) = (settings.variables)(name) {
                program.env(name, value.expose_secret());
            }
        }
        for (name, value) in &values.each {
            program.env(name, value.expose_secret());
        }
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let (group, pipes) = Group::start(&mut program)?;
        let (input, output, errors) = (pipes.stdin, pipes.stdout, pipes.stderr);
        // From here on, dropping it kills the program.
        let process = Self(group);
        let missing = || io::Error::from(io::ErrorKind::BrokenPipe);
        let input = Sender::from_owned_fd(OwnedFd::from(input.ok_or_else(missing)?))?;
        let output = Receiver::from_owned_fd(OwnedFd::from(output.ok_or_else(missing)?))?;
        let errors = Receiver::from_owned_fd(OwnedFd::from(errors.ok_or_else(missing)?))?;
        tokio::spawn(log(errors, Arc::clone(health)));
        Ok((process, Pipes { input, output }))
    }

    /// Waits for a program whose input was closed, then kills what is left of its group.
    pub(crate) async fn stop(&self) {
        let looks = limits::MCP_STOP_MS / 10;
        for _ in 0..looks {
            if self.0.has_ended() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.kill();
    }

    /// Kills the group, once.
    pub(crate) fn kill(&self) {
        self.0.kill();
    }
}

/// Passes the first lines on to the log, and reads on so that the program is never stuck.
async fn log(errors: Receiver, health: Arc<Health>) {
    let mut reader = BufReader::new(errors);
    let (mut line, mut lines) = (Vec::new(), 0_usize);
    loop {
        let available = match reader.fill_buf().await {
            Ok([]) | Err(_) => break,
            Ok(available) => available,
        };
        let end = available.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(available.len());
        let room = limits::MCP_LOG_LINE_BYTES.saturating_sub(line.len());
        line.extend_from_slice(available.get(..taken.min(room)).unwrap_or_default());
        reader.consume(end.map_or(taken, |end| end + 1));
        if end.is_some() {
            lines += 1;
            say(&line, lines, &health);
            line.clear();
        }
        tokio::task::consume_budget().await;
    }
    if !line.is_empty() {
        lines += 1;
        say(&line, lines, &health);
    }
    if lines > limits::MCP_LOG_LINES {
        tracing::info!(server = %health.alias, lines, "lines of the MCP server's standard error, most of them dropped");
    }
}

fn say(line: &[u8], number: usize, health: &Health) {
    let text = health.shown(&String::from_utf8_lossy(line));
    if text.trim().is_empty() {
        return;
    }
    if number <= limits::MCP_LOG_LINES {
        tracing::info!(server = %health.alias, "{text}");
    }
    health.hear(&text);
}
