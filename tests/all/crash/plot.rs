//! The workflow of the crash tests: chains, a fan, loops, a group, an included document, agents that call tools.

use std::fmt::Write as _;

/// The document that is included.
pub(super) const INNER: &str = "
name: inner
inputs: { word: { type: string } }
steps:
  - { id: p, tool: once, args: { say: '{{ inputs.word }}' } }
  - { id: q, tool: same, args: { say: q }, dependsOn: [p] }
  - { id: r, tool: look, args: { say: r }, dependsOn: [q] }
output: 'inputs.word + steps.r.content'
";

/// A document of a few steps.
pub(super) const SHORT: &str = "
name: short
steps:
  - { id: a, tool: once, args: { say: a } }
  - { id: b, tool: same, args: { say: b }, dependsOn: [a] }
  - { id: c, tool: once, args: { say: c }, dependsOn: [b] }
";

/// What the agents are answered: each calls two tools at once, then one, then speaks.
pub(super) const SCRIPT: &str = "
answers:
  - turn: 1
    text: first
    toolCalls: [{ tool: once, args: { say: one } }, { tool: same, args: { say: two } }]
    usage: { input: 10, output: 2 }
  - turn: 2
    text: second
    toolCalls: [{ tool: look, args: { say: three } }, { tool: once, args: { say: four } }]
    usage: { input: 20, output: 3 }
default: { text: 'done by {{step}}', usage: { input: 30, output: 4 } }
";

/// The document. With the instances of its loops it has more than 50 steps.
pub(super) fn document() -> String {
    let mut text = String::from(
        "name: crash\noptions: { maxConcurrency: 4 }\nagents: { worker: { description: Works., tools: [once, same, look] } }\nplugins: {}\nsteps:\n",
    );
    for index in 0..10 {
        let tool = ["once", "same", "look"][index % 3];
        let after = if index == 0 { String::new() } else { format!(", dependsOn: [c{}]", index - 1) };
        writeln!(text, "  - {{ id: c{index}, tool: {tool}, args: {{ say: c{index} }}{after} }}").unwrap();
    }
    for index in 0..10 {
        let tool = ["same", "once"][index % 2];
        writeln!(text, "  - {{ id: f{index}, tool: {tool}, args: {{ say: f{index} }}, dependsOn: [c2] }}").unwrap();
    }
    let fan = (0..10).map(|index| format!("f{index}")).collect::<Vec<_>>().join(", ");
    writeln!(text, "  - {{ id: fan, tool: once, args: {{ say: fan }}, dependsOn: [{fan}] }}").unwrap();
    for index in 0..3 {
        let after = if index == 0 { "c1".to_owned() } else { format!("a{}", index - 1) };
        writeln!(text, "  - {{ id: a{index}, agent: worker, instructions: Work., dependsOn: [{after}] }}").unwrap();
    }
    text.push_str(
        "  - id: each
    dependsOn: [c4]
    loop:
      forEach: [k, l, m, n]
      steps:
        - { id: x, tool: once, args: { say: '{{ item }}' } }
        - { id: y, tool: same, args: { say: '{{ steps.x.content }}' }, dependsOn: [x] }
  - id: rounds
    dependsOn: [c5]
    tool: once
    args: { say: again }
    loop: { maxIterations: 5, until: iteration == 2 }
  - id: group
    dependsOn: [c6]
    steps:
      - { id: g, tool: once, args: { say: g } }
      - { id: h, agent: worker, instructions: Help., dependsOn: [g] }
  - { id: part, include: inner.yaml, with: { word: hello }, dependsOn: [c7] }
  - { id: not, tool: once, args: { say: never }, dependsOn: [c8], condition: 'steps.c8.content == \"x\"' }
  - id: last
    tool: same
    dependsOn: [c9, fan, a2, each, rounds, group, part, not]
    args: { say: '{{ steps.c9.content }} {{ steps.fan.content }} {{ steps.a2.content }} {{ steps.part.content }}' }
",
    );
    text
}

/// A document whose agents write to a coordinator; one has a sub-agent and remembers something.
pub(super) const TALKING: &str = "
name: crash
agents:
  worker: { description: Works., tools: [once, same, send_message] }
  lead: { description: Leads., tools: [once, same, agent], memory: { write: true } }
steps:
  - { id: a, agent: worker, instructions: Work. }
  - { id: b, agent: worker, instructions: Work. }
  - { id: c, agent: worker, instructions: Work., dependsOn: [a] }
  - { id: d, agent: worker, instructions: Work., dependsOn: [b] }
  - { id: e, agent: lead, instructions: Lead. }
";

/// What they and the coordinator are answered.
pub(super) const TALK: &str = "
answers:
  - { step: '@coordinator', contains: 'message from step `a`', times: 1, toolCalls: [{ tool: forward_to_agent, args: { target_step_id: a, text: to a } }, { tool: forward_to_agent, args: { target_step_id: c, text: first to c } }, { tool: forward_to_agent, args: { target_step_id: c, text: then to c } }] }
  - { step: '@coordinator', contains: 'message from step `b`', times: 1, toolCalls: [{ tool: forward_to_agent, args: { target_step_id: b, text: to b } }, { tool: forward_to_agent, args: { target_step_id: d, text: to d } }, { tool: narrate, args: { text: b speaks } }] }
  - { step: '@coordinator', contains: 'message from step `c`', times: 1, toolCalls: [{ tool: forward_to_agent, args: { target_step_id: c, text: to c } }, { tool: forward_to_agent, args: { target_step_id: nobody, text: to nobody } }] }
  - { step: '@coordinator', contains: 'All steps have ended', times: 1, toolCalls: [{ tool: finalize, args: { summary: all done } }] }
  - { step: e, turn: 1, toolCalls: [{ tool: agent, args: { task: below } }, { tool: memory_write, args: { key: k, value: 1, expected: 0 } }], usage: { input: 10, output: 2 } }
  - { step: e@1, turn: 1, toolCalls: [{ tool: once, args: { say: below } }, { tool: same, args: { say: below too } }], usage: { input: 10, output: 2 } }
  - { step: e@1, turn: 2, text: done below, usage: { input: 20, output: 3 } }
  - { step: e, turn: 2, text: led, usage: { input: 20, output: 3 } }
  - { step: '@coordinator', text: seen, usage: { input: 3, output: 1 } }
  - turn: 1
    text: first
    toolCalls: [{ tool: send_message, args: { text: one } }, { tool: same, args: { say: two } }, { tool: send_message, args: { text: three } }]
    usage: { input: 10, output: 2 }
  - turn: 2
    text: second
    toolCalls: [{ tool: once, args: { say: four } }]
    usage: { input: 20, output: 3 }
default: { text: 'done by {{step}}', usage: { input: 30, output: 4 } }
";
