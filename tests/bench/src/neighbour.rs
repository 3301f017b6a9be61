//! A plugin beside another that makes 200 calls at once, for which there are 64 slots: what its own calls then take, and
//! whether those of the other all end in time. And nine beside a tenth.

use crate::measure::{Spread, count, row, spread};
use crate::plugin::{context, host, reference};
use anyhow::Result;
use cofferdam_core::id::LocalName;
use cofferdam_core::port::Tool as _;
use cofferdam_plugin::LoadedPlugin;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// Calls of the other plugin at once.
const AT_ONCE: usize = 200;
/// How long one of them may take.
const WALL: Duration = Duration::from_millis(300);
/// How much later it may end.
const GRACE: Duration = Duration::from_millis(200);

pub(crate) fn run(runtime: &Runtime) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let built = |name| -> Result<Arc<[u8]>> { Ok(cofferdam_guests::built_bytes(name)?.into()) };
    let host = host(dir.path());
    let good = runtime.block_on(host.load(reference("good", &built("greet")?)))?;
    let mut other = reference("other", &built("echo")?);
    other.limits.wall = Some(WALL);
    let other = runtime.block_on(host.load(other))?;
    let alone = runtime.block_on(runtime.spawn(calls(Arc::clone(&good), count(2_000, 3))))??;
    row("a plugin alone, p99 of its calls", &alone.p99(), "");
    let small = ("echo", json!({ "value": 1 }));
    let endless = ("wait_for_cancel", json!({}));
    let nine = (0..9).map(|number| {
        let component = variant(&built("greet")?, number).into();
        Ok(runtime.block_on(host.load(reference("good", &component)))?)
    });
    let nine: Vec<Arc<LoadedPlugin>> = nine.collect::<Result<_>>()?;
    let beside_good = together(runtime, &nine, (&good, "greet", &greeting()))?;
    let beside_hostile = together(runtime, &nine, (&other, endless.0, &endless.1))?;
    row("nine plugins' calls beside those of a tenth", &millis(beside_good), "");
    row("the same beside a tenth that computes without end", &millis(beside_hostile), "1.2 x");
    let ratio = beside_hostile.as_secs_f64() / beside_good.as_secs_f64();
    row("against beside a good one", &format!("{ratio:.2} x"), "1.2 x");
    for (what, (tool, args), samples) in
        [("small calls", small, count(5_000, 2)), ("calls that compute until they are ended", endless, count(5_000, 1))]
    {
        let crowd = Crowd::start(runtime, &other, AT_ONCE, tool, &args)?;
        let beside = runtime.block_on(runtime.spawn(calls(Arc::clone(&good), samples)))??;
        let (served, ended, late) = crowd.stop(runtime)?;
        row(&format!("beside {AT_ONCE} {what}, p99"), &beside.p99(), "2 x alone");
        let ratio = beside.p99.as_secs_f64() / alone.p99.as_secs_f64();
        row("against alone", &format!("{ratio:.1} x"), "2 x");
        row("of those calls: served, refused in time, late", &format!("{served}, {ended}, {late}"), "none late");
    }
    Ok(())
}

/// The same component under another digest: with a section that says nothing.
fn variant(component: &[u8], number: u8) -> Vec<u8> {
    [component, &[0, 3, 1, b'n', number]].concat()
}

/// How long these plugins take for some calls of each, while one more makes calls of its own: the fastest of three times.
fn together(
    runtime: &Runtime,
    plugins: &[Arc<LoadedPlugin>],
    (another, tool, args): (&Arc<LoadedPlugin>, &str, &Value),
) -> Result<Duration> {
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let crowd = Crowd::start(runtime, another, 1, tool, args)?;
        let start = Instant::now();
        let tasks: Vec<_> =
            plugins.iter().map(|plugin| runtime.spawn(calls(Arc::clone(plugin), count(2_000, 2)))).collect();
        for task in tasks {
            runtime.block_on(task)??;
        }
        best = best.min(start.elapsed());
        crowd.stop(runtime)?;
    }
    Ok(best)
}

fn greeting() -> Value {
    json!({ "name": "Ada" })
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

async fn calls(plugin: Arc<LoadedPlugin>, samples: usize) -> Result<Spread> {
    let (ctx, name, args) = (context().await?, LocalName::parse("greet")?, Arc::new(greeting()));
    let mut times = Vec::with_capacity(samples);
    for _ in 0..samples {
        let start = Instant::now();
        plugin.call(ctx.clone(), &name, Arc::clone(&args)).await?;
        times.push(start.elapsed());
    }
    Ok(spread(times))
}

/// Many tasks that call one plugin without end.
struct Crowd {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicUsize; 3]>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Crowd {
    fn start(runtime: &Runtime, plugin: &Arc<LoadedPlugin>, tasks: usize, tool: &str, args: &Value) -> Result<Self> {
        let (stop, counts) = (Arc::<AtomicBool>::default(), Arc::<[AtomicUsize; 3]>::default());
        let ctx = runtime.block_on(context())?;
        let name = LocalName::parse(tool)?;
        let args = Arc::new(args.clone());
        let one = || {
            let (plugin, ctx, name, args) = (Arc::clone(plugin), ctx.clone(), name.clone(), Arc::clone(&args));
            let (stop, counts) = (Arc::clone(&stop), Arc::clone(&counts));
            async move {
                while !stop.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    let answer = plugin.call(ctx.clone(), &name, Arc::clone(&args)).await;
                    let late = start.elapsed() > WALL + GRACE;
                    let [served, refused, too_late] = &*counts;
                    let count = match answer {
                        _ if late => too_late,
                        Ok(_) => served,
                        Err(_) => refused,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let tasks = (0..tasks).map(|_| runtime.spawn(one())).collect();
        Ok(Self { stop, counts, tasks })
    }

    /// How many were served, refused in time, and late.
    fn stop(self, runtime: &Runtime) -> Result<(usize, usize, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            runtime.block_on(task)?;
        }
        let [served, refused, late] = &*self.counts;
        Ok((served.load(Ordering::Relaxed), refused.load(Ordering::Relaxed), late.load(Ordering::Relaxed)))
    }
}
