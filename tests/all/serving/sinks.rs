//! Sinks behind the wall that crash, lie, hang and are given up.

use super::*;

pub(super) fn fickle(runtime: &Runtime, host: &PluginHost, act: &str) -> Arc<LoadedPlugin> {
    let component = cofferdam_guests::built_bytes("fickle").unwrap();
    let limits = cofferdam::core::policy::PluginLimits::parse(&json!({ "wall": "300ms" })).unwrap();
    let config = json!({ "do": act });
    load(runtime, host, PluginReference { config, limits, ..reference("fickle", component, &json!({})) })
}

#[test]
fn a_sink_that_crashes_is_started_again_and_in_the_end_no_more() {
    let (runtime, host) = (runtime(), host());
    let sink = runtime.block_on(fickle(&runtime, &host, "trap_once").sink()).unwrap();
    runtime.block_on(async {
        let fault = sink.deliver(batch(2)).await.unwrap_err();
        assert!(fault.message.contains("plugin `fickle`") && fault.message.contains("crashed"), "{fault}");
        assert_eq!(sink.deliver(batch(2)).await.unwrap(), Ack::All);
    });
    let sink = runtime.block_on(fickle(&runtime, &host, "trap").sink()).unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            assert!(sink.deliver(batch(1)).await.unwrap_err().message.contains("crashed"));
        }
        let fault = sink.deliver(batch(1)).await.unwrap_err();
        assert!(fault.message.contains("failed 3 times in a row and is not started again"), "{fault}");
    });
}

#[test]
fn a_run_offers_a_batch_again_to_a_sink_that_crashed_until_it_has_crashed_too_often() {
    for (act, problem) in [("trap_once", None), ("trap", Some("not started again"))] {
        let settings = format!(
            "[run]\nsinks = [\"plugin:fickle\"]\n[plugins.fickle]\nsource = \"./fickle.wasm\"\nconfig = {{ do = \"{act}\" }}\n"
        );
        let project = Project::new();
        project
            .file("fickle.wasm", cofferdam_guests::built_bytes("fickle").unwrap())
            .file("three.yaml", THREE)
            .file("cofferdam.toml", settings);
        let outcome = project.run(&["run", "three.yaml"]).expect(0);
        match problem {
            None => assert!(!outcome.stderr.contains("sink `"), "{}", outcome.stderr),
            Some(problem) => drop(outcome.says(&[problem])),
        }
    }
}

#[test]
fn a_sink_that_lies_or_hangs_moves_nothing_and_ends_in_time() {
    let (runtime, host) = (runtime(), host());
    let tries = [
        ("take_more", "took 3 events of a batch of 2"),
        ("refuse_more", "refused event 2 of a batch of 2"),
        ("loop", "ran longer than its 300ms"),
        ("fail", "it does not want to"),
    ];
    for (act, said) in tries {
        let sink = runtime.block_on(fickle(&runtime, &host, act).sink()).unwrap();
        let begun = Instant::now();
        let fault = runtime.block_on(sink.deliver(batch(2))).unwrap_err();
        assert!(fault.message.contains(said), "{act}: {fault}");
        assert!(begun.elapsed() < Duration::from_secs(5), "{act}: {:?}", begun.elapsed());
    }
    let fault = runtime.block_on(fickle(&runtime, &host, "shut").sink()).err().unwrap();
    assert!(fault.message.contains("it stays shut"), "{fault}");
}

struct Hides(&'static str);

impl Redactor for Hides {
    fn redact(&self, text: &str) -> Option<String> {
        text.contains(self.0).then(|| text.replace(self.0, "[hidden]"))
    }
}

#[test]
fn what_a_sink_says_of_an_event_that_it_refuses_holds_no_secret() {
    let runtime = runtime();
    let settings = HostSettings::alone(Arc::new(TokioClock::new()));
    let host = PluginHost::new(HostSettings { redactor: Arc::new(Hides("odd")), ..settings });
    let sink = runtime.block_on(fickle(&runtime, &host, "odd").sink()).unwrap();
    let Ack::Except { rejected, .. } = runtime.block_on(sink.deliver(batch(2))).unwrap() else {
        panic!("it takes all")
    };
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].reason, "it is [hidden]");
}

#[test]
fn a_sink_that_was_closed_is_not_brought_up_again() {
    let (runtime, host) = (runtime(), host());
    let sink = runtime.block_on(fickle(&runtime, &host, "take").sink()).unwrap();
    runtime.block_on(async {
        assert_eq!(sink.deliver(batch(1)).await.unwrap(), Ack::All);
        sink.close().await;
        let fault = sink.deliver(batch(1)).await.unwrap_err();
        assert!(fault.message.contains("it was closed"), "{fault}");
        assert_eq!(host.occupancy().free, host.occupancy().slots);
    });
}

#[test]
fn a_call_that_is_given_up_takes_its_instance_along() {
    let (runtime, host) = (runtime(), host());
    let sink = Arc::new(runtime.block_on(fickle(&runtime, &host, "loop").sink()).unwrap());
    runtime.block_on(async {
        let delivering = Arc::clone(&sink);
        let call = tokio::spawn(async move { delivering.deliver(batch(1)).await });
        tokio::task::yield_now().await;
        call.abort();
        let _ = call.await;
        // Nobody is in the instance any more, and it counts as no failure.
        let fault = sink.deliver(batch(1)).await.unwrap_err();
        assert!(fault.message.contains("ran longer"), "{fault}");
    });
}
