//! Examples in the help of each command. Every line that begins with `cofferdam` works as it stands.

pub(super) const EXAMPLES: &str = "\
Examples:
  cofferdam init                              write a small workflow to begin with
  cofferdam run hello.yaml                    run it
  cofferdam run audit.yaml --workdir ./src --grant-requested
  cofferdam validate *.yaml                   check documents without running them
  cofferdam runs show last                    look at what happened
";

pub(super) const RUN: &str = "\
Examples:
  cofferdam run                               list the documents in this folder
  cofferdam run hello.yaml
  cofferdam run hello.yaml \"some text\"        give it a text; `-` reads standard input
  cofferdam run hello.yaml --input folder=src --input notes=@notes.md
  cofferdam run release.yaml --answer approve=yes --answer notes=@notes.md
  cofferdam run hello.yaml --model ollama/llama3.2
  cofferdam run hello.yaml --grant scan:fs=read --allow write
  cofferdam run hello.yaml --dry-run          show what would happen
  cofferdam run hello.yaml --json | jq .kind  every event as a line of JSON

Grants: a document only requests. What its plugins may do is decided by `--grant`, by
`--grant-requested`, by `cofferdam.toml`, or by a person at a terminal; the rest is denied.
Questions: a step that asks a person is answered by `--answer`, else at the terminal, else by its
default. A run with an open question does all that it can without, and ends with exit code 4.
Output goes to standard output, everything else to standard error.";

pub(super) const AGENT: &str = "\
Examples:
  cofferdam agent \"What is in this folder?\"
  git diff | cofferdam agent \"Review this change.\" --tools read,grep
  cofferdam agent \"Tidy the notes.\" --allow write --allow edit -C notes
  cofferdam agent \"Which files are largest?\" --plugin text=builtin:text --schema files.schema.json
  cofferdam runs show last --transcript       what it did

It is recorded as a run of one step: `runs show`, `replay` and `resume` work on it. Tools that only
read run without asking; others need `--allow`, `--sandbox`, or a person at a terminal.
Text that is piped in, or comes from a file, is read to its end before the agent begins.";

pub(super) const GOAL: &str = "\
Examples:
  cofferdam goal \"Find the three largest files here and say what each is for.\"
  cofferdam goal \"Summarise every note in notes/.\" --dry-run > summarise.yaml
  cofferdam goal \"Review the code in src/.\" --edit        change the plan first
  cofferdam goal \"Compare these two drafts.\" --yes --save compare.yaml

A model writes a document: agents, and steps that depend on each other. It is checked like every
document, and what is wrong with it is repaired, at most three times. The plan is shown, kept in a
file that `cofferdam run` runs again, and runs when you say yes. It cannot allow itself anything:
tools that write, plugins and servers need the same permissions as in a document of your own.";

pub(super) const RESUME: &str = "\
Examples:
  cofferdam resume last
  cofferdam resume 01920c5f                   the beginning of an id is enough
  cofferdam resume last --answer approve=yes
  cofferdam resume last --on-unknown-effect retry
  cofferdam resume last --accept-changes      with the document as it is now, in a new run

Finished steps keep what they gave and cost nothing. An agent goes on in the middle of its
conversation; steps that failed, were cancelled or never began run again. The document must be what
it was; a run that is completed gives its result once more, and nothing is called. With
`--accept-changes` a changed document goes on in a new run: it takes over the steps that are what
they were, with their agents and plugins, as do all that they depend on. The old run stays.
A tool's call that had begun and whose end is not recorded is made again, with the same idempotency
key, where the tool only reads or says that doing it twice is doing it once. Of others it is not
known whether they had their effect: a person is asked, and without one the step fails with
`effect_unknown`.";

pub(super) const FORK: &str = "\
Examples:
  cofferdam fork last --from review
  cofferdam fork 01920c5f --from 'each[2].lint' --from notes
  cofferdam fork last --input folder=src      what reads the input runs again
  cofferdam fork last --from 'rounds[1]'      and all later iterations

The new run has its own id and takes over what the recorded one has done, but for the steps that are
named, those that read an input with another value, and all that depends on these. The recorded run
stays as it is and may be under way. What cannot be shown to be unaffected runs again. A copy of the
output directory (`out:`) is taken along as it is now; other files that steps wrote stay where they
are, and values that plugins keep for a run are not taken along.";

pub(super) const ANSWER: &str = "\
Examples:
  cofferdam answer last approve yes
  cofferdam answer 01920c5f notes @notes.md

The same as `cofferdam resume RUN --answer STEP=VALUE`, which takes several answers at once.";

pub(super) const APPROVE: &str = "\
Examples:
  cofferdam run tidy.yaml --defer-approvals   calls that nobody may allow here wait
  cofferdam approve last write                allow the call that the step `write` waits with
  cofferdam approve last write --deny --reason \"not on a Friday\"
  cofferdam approve 01920c5f write --call 3   one of several, as `cofferdam runs show` names them

The run goes on where it was: the call is made once, or its model reads that it was denied. Deny rules
beat what is said here. What else nobody is there to allow waits again, and the run ends with exit
code 4 once more. Of two people exactly one is heard: another word that comes later is refused.";

pub(super) const REPLAY: &str = "\
Examples:
  cofferdam replay last
  cofferdam replay 01920c5f                   the beginning of an id is enough
  cofferdam replay last --json | jq .unchecked

Everything is worked out once more from what is recorded: models say what they said, tools give what
they gave, and all that follows must be what followed. No model and no tool is called, nothing is
fetched and nothing is written, so that a run of another machine can be replayed after `runs import`.
The first difference ends it with exit code 1 and is shown. Who came first where steps run side by
side, what people answered and when time was over is taken as it is recorded. What cannot be worked
out here, since a plugin, a closure or an agent is missing, is named.";

pub(super) const VALIDATE: &str = "\
Examples:
  cofferdam validate hello.yaml
  cofferdam validate flows/*.yaml             all of them, and every finding of each
  cofferdam validate --strict --json *.yaml   for continuous integration
  cofferdam validate --format github *.yaml   findings stand beside the changed lines

Nothing runs, nothing is fetched and no model is asked. Included documents, files that texts are
taken from, plugins, expressions and schemas are checked too. Whether this machine has the tools
and models that a document names is a warning. `cofferdam explain CODE` tells what a code means.";

pub(super) const TEST: &str = "\
Examples:
  cofferdam test                              every *.test.yaml of this folder and below
  cofferdam test hello.test.yaml
  cofferdam test --filter retries             cases with this word in their name
  cofferdam test --junit report.xml           also a report for continuous integration

A case gives a document, its inputs, and the answers of the model and of tools; and says what it
expects: status, output, steps, path, messages to the model, loops, calls, tokens. Nothing touches
the network or the records of the project, and waits take no time. `host/docs/testing.md` has the
whole format. Exit code 1 when a case fails, 2 when a test file is broken.";

pub(super) const PLAN: &str = "\
Examples:
  cofferdam plan hello.yaml
  cofferdam plan hello.yaml --format mermaid  for a README
  cofferdam plan hello.yaml --format dot | dot -Tsvg > hello.svg
  cofferdam plan hello.yaml --format json | jq .model_calls

Steps with the same number may run at the same time. Groups, loops and included documents stand with
their inner steps. Nothing runs: how often a model would be asked is given as two bounds.";

pub(super) const PLUGIN: &str = "\
Examples:
  cofferdam plugin list
  cofferdam plugin inspect builtin:text
  cofferdam plugin add oci://ghcr.io/acme/github-tools:1.4.2 --as github
  cofferdam plugin lock review.yaml
  cofferdam plugin new my-tool                to write one: new, build, check, call, test";

pub(super) const PLUGIN_CHECK: &str = "\
Examples:
  cofferdam plugin check builtin:text
  cofferdam plugin check ./my-tool.wasm
  cofferdam plugin check ./my-tool.wasm --json | jq .findings

The plugin is asked what it is, with everything denied. Names, schemas and examples are held against
each other; each finding says what to do. Exit code 2 when there is an error; warnings alone are 0.";

pub(super) const PLUGIN_CALL: &str = "\
Examples:
  cofferdam plugin call builtin:text words '{\"text\": \"two words\"}'
  cofferdam plugin call ./my-tool.wasm count @args.json
  cofferdam plugin call ./my-tool.wasm read '{\"path\": \"/step/a\"}' --grant my-tool:fs=read -C docs
  cofferdam plugin call ./my-tool.wasm count '{}' --config @config.json --json
  cofferdam plugin call ./my-tool.wasm count '{}' --trace    show what it asks of its host

The call goes the way of every call of a run: arguments are checked, limits hold, and what is not
granted is denied. Nothing is recorded. The result goes to standard output; what the plugin logs and
reports, and what it was denied, with the lines that would allow it, to standard error. Exit codes
are those of `run`.";

pub(super) const PLUGIN_NEW: &str = "\
Examples:
  cofferdam plugin new word-count             a tool in Rust, in the folder word-count
  cofferdam plugin new shout --kind transform
  cofferdam plugin new ~/plugins/mail --kind sink
  cofferdam plugin new outline --lang js
  cofferdam plugin new figures --lang python

The SDK is unpacked into `NAME/.cofferdam-sdk`; what it needs besides comes from crates.io, npm or
PyPI. Nothing is overwritten. In JavaScript and Python there are tools.";

pub(super) const PLUGIN_BUILD: &str = "\
Examples:
  cofferdam plugin build                      the crate of this folder
  cofferdam plugin build word-count
  CARGO_NET_OFFLINE=true cofferdam plugin build word-count
  cofferdam plugin build outline --install    a folder of JavaScript, for the first time

A crate is built with `cargo build --release --target wasm32-wasip2`, a folder with `package.json`
by componentize-js, one with `pyproject.toml` by componentize-py. Those two are fetched only with
`--install`: by `npm ci` or `npm install`, or by `pip install -r requirements.txt` into `.venv`.
Then the component is checked as `plugin check` does. Its path goes to standard output.";

pub(super) const PLUGIN_DEV: &str = "\
Examples:
  cofferdam plugin dev                        the crate of this folder, and its test files
  cofferdam plugin dev word-count --call count --args '{\"text\": \"two words\"}'
  cofferdam plugin dev word-count --test word-count/tool.plugin-test.yaml

Builds as `plugin build` does, checks, calls or tests, and does it again after each change of a file
in the folder, until Ctrl-C. What the plugin asks of its host is shown as it asks: requests, values,
files, secrets by name, other tools, and what it is denied with the lines that would allow it. What
a build writes (`target`, `node_modules`, `dist`, `build`, hidden files, `*.wasm`, `*.lock`) is not
watched, nor are crates outside of the folder.";

pub(super) const PLUGIN_TEST: &str = "\
Examples:
  cofferdam plugin test                       every *.plugin-test.yaml of this folder and below
  cofferdam plugin test word-count
  cofferdam plugin test word-count/tool.plugin-test.yaml --json
  cofferdam plugin test word-count --record   fill in what cases without `expect` are to expect

A test file:
  plugin: { source: ./tool.wasm }             or { build: . }: built first
  cases:
    - name: counts
      call: { tool: count, args: { text: two words } }
      expect: { result: { words: 2 } }
    - name: asks a server, with a token that it never sees
      grants:
        http:
          - host: api.example.com
            inject: [{ secret: TOKEN, header: authorization, format: \"Bearer {}\" }]
      secrets: { TOKEN: test-token-1 }
      http:
        - { request: \"https://api.example.com/items\", response: { json: [1, 2] } }
      call: { tool: list }
      expect:
        result: [1, 2]
        requests: [{ method: GET, headers: { authorization: Bearer test-token-1 } }]
    - name: reads nothing that is not granted
      call: { tool: read, args: { path: /step/a.txt } }
      grants: {}
      expect: { error: { code: plugin_error }, denied: [fs] }

No case reaches the network, reads the environment or depends on the time. Transforms have cases
with `apply`, conditions with `decide` and `choose`. `host/docs/plugins.md` has every key. Exit code
1 when a case fails, 2 when a test file is broken.";

pub(super) const PLUGIN_INSPECT: &str = "\
Examples:
  cofferdam plugin inspect builtin:secrets-scan
  cofferdam plugin inspect ./my-tool.wasm --grant my-tool:fs=read";

pub(super) const PLUGIN_LOCK: &str = "\
Examples:
  cofferdam plugin lock review.yaml           writes cofferdam.lock; grants nothing
  cofferdam plugin lock                       the plugins that keep the runs and take the events
  cofferdam plugin lock review.yaml --update  takes what tags of registries point to now
  cofferdam run --locked review.yaml          takes only what stands there";

pub(super) const PLUGIN_ADD: &str = "\
Examples:
  cofferdam plugin add oci://ghcr.io/acme/github-tools:1.4.2 --as github
  cofferdam plugin add builtin:text
  cofferdam plugin add ./my-tool.wasm --grant my-tool:fs=read
  cofferdam plugin add oci://ghcr.io/acme/github-tools:1.4.2 --as github --update

Fetches the component, compiles it, asks it what it is with everything denied, and shows that. Then
`[plugins.NAME]` with source and digest stands in the nearest `cofferdam.toml`, which is made when
there is none, and the component in `cofferdam.lock`. Nothing is granted but what `--grant` and
`--grant-requested` say. Runs never fetch: they take what is locked from this machine.
Keys: `--username`, COFFERDAM_REGISTRY_USERNAME and COFFERDAM_REGISTRY_PASSWORD, or the `auths` of
docker's `config.json`; its helper programs are not run.";

pub(super) const PLUGIN_PUSH: &str = "\
Examples:
  cofferdam plugin push my-tool.wasm oci://ghcr.io/acme/my-tool:1.0.0
  cofferdam plugin push my-tool.wasm oci://localhost:5000/my-tool:dev
  pass ghcr | cofferdam plugin push my-tool.wasm oci://ghcr.io/acme/my-tool:1.0.0 \\
      --username ann --password-stdin

The component is checked as by `plugin check`; what does not pass is not pushed. The reference with
the digest goes to standard output: it names this very component for ever, while a tag can be moved.
The artifact has the Wasm OCI layout that other tools read, too. Keys are those of `plugin add`.";

pub(super) const PLUGIN_DOCTOR: &str = "\
Examples:
  cofferdam plugin doctor                     this machine, and the plugins of cofferdam.toml
  cofferdam plugin doctor review.yaml         also those of a document
  cofferdam plugin doctor ./my-tool.wasm --json

Nothing is fetched, changed or run: compilers are asked for their version, and plugins for what
they are. Exit code 1 when something must be mended.";

pub(super) const RUNS: &str = "\
Examples:
  cofferdam runs list
  cofferdam runs show last                    steps, times, tokens and errors
  cofferdam runs show last --json             every recorded event
  cofferdam runs show last --transcript       what the agents said and did
  cofferdam runs diff 0198a1 last             what is different, and why
  cofferdam runs export last -o run.jsonl     one file for another machine
  cofferdam runs gc --older-than 7d --dry-run";

pub(super) const RUNS_SHOW: &str = "\
Examples:
  cofferdam runs show last
  cofferdam runs show last --transcript               each agent step
  cofferdam runs show last --transcript review --full
  cofferdam runs show last --transcript 'scan[2].lint'
  cofferdam runs show last --transcript review --json

A step is named by its path: `review`, `scan[2].lint`; `scan.lint` means that of every iteration,
and `scan` all that is inside of it. Long texts are cut after some lines unless `--full` is given.
With `--json` the events of that step alone are printed.";

pub(super) const RUNS_DIFF: &str = "\
Examples:
  cofferdam runs diff 0198a1 0198b2
  cofferdam runs diff 0198a1 last --json

Compared are document, inputs, plugins and settings; and of each step whether it is there, its
status, output, error, attempts and tokens. Times and ids are no differences. Exit code 0 when
status and outputs of the runs and of all their steps are the same, 1 when they are not.";

pub(super) const RUNS_EXPORT: &str = "\
Examples:
  cofferdam runs export last -o run.jsonl
  cofferdam runs export last | gzip > run.jsonl.gz

The file holds everything that is recorded: documents, inputs, outputs, conversations, and the
content of sensitive steps, too. It does not hold the files in the run's output directory. Its
lines are JSON; each record has its sum, and the last line the sum over all.";

pub(super) const RUNS_IMPORT: &str = "\
Examples:
  cofferdam runs import run.jsonl
  gzip -dc run.jsonl.gz | cofferdam runs import -

All of it is checked before anything is imported: a file that was cut or changed is refused with the
line. The run keeps its id. One that is there already is refused unless it is the very same.";

pub(super) const RUNS_RM: &str = "\
Examples:
  cofferdam runs rm last
  cofferdam runs rm 0198a1 0198b2
  cofferdam runs rm last --force              also when nobody can tell who works on it

A run is deleted with its records and blobs, what plugins keep for it, and its output directory. All
runs that are named are looked up before the first is deleted. A run that somebody works on is never
deleted: the process is named.";

pub(super) const RUNS_GC: &str = "\
Examples:
  cofferdam runs gc --dry-run                 what is older than 30 days
  cofferdam runs gc --older-than 7d --keep 20
  cofferdam runs gc --status failed --older-than 12h --yes

Runs that are `interrupted` or `waiting` stay unless `--status` names them; one that somebody works on
stays anyway, and is named. Output directories of that age go, too, when neither the store in use nor
the one of the project has their run. On a terminal you are asked first, unless `--yes` is given.";

pub(super) const MEMORY: &str = "\
Examples:
  cofferdam memory show
  cofferdam memory show --session billing --search \"tide tables\"
  cofferdam memory clear --session billing";

pub(super) const MEMORY_SHOW: &str = "\
Examples:
  cofferdam memory show
  cofferdam memory show --session billing --search \"tide tables\"
  cofferdam memory show --json | jq -r .text
  cofferdam memory show --shared --agent scout

What plugins keep is theirs to show.";

pub(super) const MEMORY_CLEAR: &str = "\
Examples:
  cofferdam memory clear --session billing
  cofferdam memory clear --all --yes
  cofferdam memory clear --shared --agent scout

Records of runs stay: a run that is not done hands over what its steps gave again when it is resumed.";

pub(super) const TOOLS: &str = "\
Examples:
  cofferdam tools list                        what `cofferdam agent` would be offered
  cofferdam tools list audit.yaml --agent reviewer";

pub(super) const TOOLS_LIST: &str = "\
Examples:
  cofferdam tools list
  cofferdam tools list --allow write --deny \"write(path=secrets/*)\"
  cofferdam tools list audit.yaml --agent reviewer --grant-requested
  cofferdam tools list --json | jq -r 'select(.calls == \"run\").tool'

Calls `run`, are `denied`, or a person is `asked`, by the rule in the next column; rules that look at
the arguments of a call are named behind it. Plugins are loaded, nothing is started or spent.";

pub(super) const PERMISSIONS: &str = "\
Examples:
  cofferdam permissions list
  cofferdam permissions forget write";

pub(super) const PERMISSIONS_LIST: &str = "\
Examples:
  cofferdam permissions list
  cofferdam permissions list --json | jq -r 'select(.counts).name'

These are the answers `always` of this project. Rules are shown by `cofferdam config show`, and what
follows from all of them by `cofferdam tools list`.";

pub(super) const PERMISSIONS_FORGET: &str = "\
Examples:
  cofferdam permissions forget write          all answers about a tool, plugin or server
  cofferdam permissions forget 3f2a91         one of them, as `list` names it
  cofferdam permissions forget --all

Whoever wants the same is asked again. A run in which an answer was given keeps it to its end.";

pub(super) const SINKS: &str = "\
Examples:
  cofferdam sinks list                        what each sink lacks and refused
  cofferdam sinks deliver                     what they lack, now and without a run
  cofferdam sinks dead-letters hook
  cofferdam sinks resend hook --all
  cofferdam sinks drop hook --all

A sink is named as in `cofferdam.toml`. Exit code 1 when something is left.";

pub(super) const INIT: &str = "\
Examples:
  cofferdam init                              here; nothing is overwritten
  cofferdam init my-project
  cofferdam init --template loop              another one, also beside the first
  cofferdam init --list

Beside the document stand the settings of the project and the JSON Schema of documents. The first
line of the document leads editors to it, so that they complete and check while you write.";

pub(super) const SCHEMA: &str = "\
Examples:
  cofferdam schema > cofferdam.schema.json

Editors with a YAML language server complete and check a document that begins with
  # yaml-language-server: $schema=cofferdam.schema.json";

pub(super) const CONFIG: &str = "\
Examples:
  cofferdam config show --origin

A flag beats an environment variable, which beats `cofferdam.toml` of the project, which beats
`cofferdam/config.toml` in the user's configuration directory.";

pub(super) const DOCTOR: &str = "\
Examples:
  cofferdam doctor                            exit code 1 when something must be mended
  cofferdam doctor --provider openai          one small request: its URL, status and first lines
  cofferdam doctor --provider ollama/qwen3:8b";

pub(super) const MODELS: &str = "\
Examples:
  cofferdam models list";

pub(super) const MODELS_LIST: &str = "\
Examples:
  cofferdam models list
  cofferdam models list --json | jq -r 'select(.has_key).provider'

A model is named `provider/model`, or by a name of `[models.aliases]` in cofferdam.toml. Keys come
from the environment, else from `.env` in this folder; they are never shown.";

pub(super) const DEV: &str = "\
Examples:
  cofferdam dev model-server --modes          what the names of models ask for
  cofferdam dev model-server --port 4010      serve until Ctrl-C";

pub(super) const MODEL_SERVER: &str = "\
Examples:
  cofferdam dev model-server --modes
  cofferdam dev model-server --port 4010
  OPENAI_BASE_URL=http://127.0.0.1:4010/v1 cofferdam run hello.yaml --model openai/flaky-2

The first line on stdout is JSON: `base_url` for OpenAI's protocols, `root` for those of Anthropic,
Google and Ollama, and the port. It listens on loopback alone, takes any key, and keeps what it was
asked at `/_log`.";

pub(super) const COMPLETIONS: &str = "\
Examples:
  cofferdam completions bash > ~/.local/share/bash-completion/completions/cofferdam
  cofferdam completions fish > ~/.config/fish/completions/cofferdam.fish";

pub(super) const LIMITS: &str = "\
Examples:
  cofferdam limits
  cofferdam limits --json";

pub(super) const EXPLAIN: &str = "\
Examples:
  cofferdam explain W021";
