//! A server of the Model Context Protocol for tests, over standard input and output. Its first argument says how it
//! misbehaves; without one it behaves.
//!
//! It must not use the library that it tests.

use serde_json::{Value, json};
use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

/// How it misbehaves, and how far it has come.
struct Server {
    mode: String,
    calls: u32,
    changed: bool,
}

fn main() -> io::Result<()> {
    let mode = std::env::args().nth(1).unwrap_or_default();
    if mode == "silent" {
        wait();
    }
    let mut server = Server { mode, calls: 0, changed: false };
    for line in io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line?) else { continue };
        server.on(&message)?;
    }
    if server.mode == "stays" {
        wait();
    }
    Ok(())
}

fn at<'v>(message: &'v Value, place: &str) -> &'v Value {
    message.pointer(place).unwrap_or(&Value::Null)
}

fn wait() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()
}

fn notify(method: &str, params: &Value) -> io::Result<()> {
    write(&json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string())
}

impl Server {
    fn on(&mut self, message: &Value) -> io::Result<()> {
        let (id, method) = (&message["id"], message["method"].as_str().unwrap_or_default());
        if method == "notifications/cancelled" {
            // Where a test can see it.
            return self.tell("cancelled");
        }
        if id.is_null() {
            return Ok(());
        }
        let result = match method {
            "initialize" if self.mode == "newer" => {
                let error = json!({ "code": -32601, "message": "method not found" });
                return write(&json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string());
            }
            "initialize" => self.initialize(message)?,
            "server/discover" => json!({
                "supportedVersions": ["2026-07-28"], "capabilities": { "tools": {} },
                "resultType": "complete", "ttlMs": 0, "cacheScope": "private",
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "scripted", "version": "2.0" } },
            }),
            "tools/list" => self.list(message),
            "tools/call" => match self.call(message)? {
                Some(result) => result,
                None => return Ok(()),
            },
            _ => json!({}),
        };
        write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string())
    }

    fn initialize(&self, message: &Value) -> io::Result<Value> {
        match self.mode.as_str() {
            "hangs" => wait(),
            "huge" => write(&"x".repeat(9 * 1024 * 1024))?,
            "no-json" => (0..200).try_for_each(|_| write("Welcome! {"))?,
            "chatty" => (0..20).try_for_each(|_| write("starting up ..."))?,
            _ => {}
        }
        Ok(json!({
            "protocolVersion": at(message, "/params/protocolVersion"), "capabilities": { "tools": { "listChanged": true } },
            "serverInfo": { "name": "scripted", "version": "1.0" },
        }))
    }

    fn list(&self, message: &Value) -> Value {
        let object = json!({ "type": "object" });
        let count = if self.changed { json!({ "type": "string" }) } else { json!({ "type": "integer" }) };
        let mut tools = vec![
            json!({
                "name": "echo", "description": "Gives back what it gets.", "annotations": { "readOnlyHint": true },
                "inputSchema": { "type": "object", "properties": { "text": { "type": "string" } }, "required": ["text"] },
            }),
            json!({ "name": "Count.Words", "inputSchema": { "type": "object", "properties": { "n": count } } }),
            json!({ "name": "do", "inputSchema": { "type": "object", "properties": { "what": { "type": "string" } } } }),
        ];
        match self.mode.as_str() {
            "same-names" => tools.push(json!({ "name": "count__words", "inputSchema": object })),
            "bomb" => tools.push(json!({
                "name": "bomb", "inputSchema": { "type": "object", "description": "x".repeat(100_000) },
            })),
            "many" => tools.extend((0..300).map(|n| json!({ "name": format!("t{n}"), "inputSchema": object }))),
            "endless" => {
                let next = format!("{}x", at(message, "/params/cursor").as_str().unwrap_or_default());
                return json!({ "tools": [], "nextCursor": next });
            }
            _ => {}
        }
        json!({ "tools": tools })
    }

    /// The result, or none when there will be none.
    fn call(&mut self, message: &Value) -> io::Result<Option<Value>> {
        self.calls += 1;
        let (name, args) = (at(message, "/params/name").as_str().unwrap_or_default(), at(message, "/params/arguments"));
        let text = |text: &str| Some(json!({ "content": [{ "type": "text", "text": text }] }));
        if name == "echo" {
            let structured = json!({ "echo": args["text"], "calls": self.calls });
            let content = json!([{ "type": "text", "text": args["text"] }]);
            return Ok(Some(json!({ "content": content, "structuredContent": structured })));
        }
        Ok(match args["what"].as_str().unwrap_or_default() {
            "die" => {
                writeln!(io::stderr(), "fatal: out of luck")?;
                return Err(io::Error::other("out of luck"));
            }
            "hang" => None,
            "environment" => {
                let shown = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
                    format!("{}={}", name.display(), value.display())
                };
                let mut names: Vec<String> = std::env::vars_os().map(shown).collect();
                names.sort();
                text(&names.join("\n"))
            }
            "where" => text(&std::env::current_dir()?.display().to_string()),
            "child" => {
                // Outlives its parent unless the whole group is killed.
                let child = std::process::Command::new("sleep").arg("600").spawn()?;
                text(&format!("{} {}", std::process::id(), child.id()))
            }
            "flood" => {
                for n in 0..50_000 {
                    notify("notifications/message", &json!({ "level": "info", "data": n }))?;
                    notify("notifications/progress", &json!({ "progressToken": 1, "progress": n }))?;
                    write(&json!({ "jsonrpc": "2.0", "id": format!("p{n}"), "method": "ping" }).to_string())?;
                }
                text("still here")
            }
            "log" => {
                (0..20_000).try_for_each(|n| writeln!(io::stderr(), "line {n}: {}", "y".repeat(300)))?;
                text("logged")
            }
            "change" => {
                self.changed = true;
                notify("notifications/tools/list_changed", &json!({}))?;
                text("changed")
            }
            "huge" => {
                write(&"x".repeat(9 * 1024 * 1024))?;
                None
            }
            "large" => text(&"z".repeat(5 * 1024 * 1024)),
            "fail" => Some(json!({ "content": [{ "type": "text", "text": "no such thing" }], "isError": true })),
            "image" => Some(json!({ "content": [{ "type": "image", "data": "aGk=", "mimeType": "image/png" }] })),
            "nonsense" => Some(json!({ "content": "nonsense" })),
            other => text(other),
        })
    }

    /// Writes a word into the file that the environment names.
    fn tell(&self, word: &str) -> io::Result<()> {
        match std::env::var_os("SCRIPTED_TELL") {
            Some(path) => std::fs::write(path, word),
            None => Ok(()),
        }
    }
}
