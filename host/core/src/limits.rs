//! Every bound in the system, named and argued.
//!
//! A queue, loop, buffer or retry without a name here is a fault. `cofferdam limits` prints this table.

/// One bound: its name, value, unit, and what would happen without it.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// The constant's name in lower case.
    pub name: &'static str,
    /// The value.
    pub value: u64,
    /// What the value counts: `bytes`, `ms`, `steps`.
    pub unit: &'static str,
    /// What would happen without it.
    pub reason: &'static str,
}

macro_rules! limits {
    ($($name:ident: $type:ty = $value:expr, $unit:literal, $reason:literal;)*) => {
        $(#[doc = $reason] #[doc = ""] #[doc = concat!("Unit: ", $unit, ".")] pub const $name: $type = $value;)*

        /// All bounds, in the order of this file.
        pub const ALL: &[Limit] = &[
            $(Limit { name: stringify!($name), value: $name as u64, unit: $unit, reason: $reason },)*
        ];
    };
}

const KIB: usize = 1024;
const MIB: usize = 1024 * 1024;

limits! {
    // Documents
    DOCUMENT_BYTES: usize = MIB, "bytes", "a larger document would be parsed whole into memory before anything could refuse it";
    DOCUMENT_DEPTH: usize = 32, "levels", "deeply nested YAML would overflow the stack of every walk over it";
    DOCUMENT_NODES: usize = 50_000, "nodes", "aliases could blow a small file up to any size";
    DOCUMENT_ALIASES: usize = 200, "aliases", "each alias repeats its anchor's nodes";
    DESCRIPTION_CHARS: usize = 2_000, "characters", "a description is shown on one screen";
    INSTRUCTIONS_BYTES: usize = 32 * KIB, "bytes", "longer instructions belong in a file, where they can be read and diffed";
    TEXT_FILE_BYTES: usize = MIB, "bytes", "an `@file` enters a prompt whole";
    TEXT_FILE_CHAIN: usize = 20, "files", "an `@file` may name another; a long chain is a mistake";
    INCLUDE_DEPTH: usize = 5, "levels", "documents that include documents would soon be read by nobody";
    INCLUDED_DOCUMENTS: usize = 1_000, "documents", "each included document is opened, parsed and checked before anything runs";
    INCLUDED_BYTES: usize = 8 * MIB, "bytes", "included documents are parsed whole, and kept as long as the run";
    SCOPE_STEPS: usize = 1_000, "steps", "a scope is read by people";
    EXPRESSION_CHARS: usize = 1_024, "characters", "the expression parser recurses, and a long chain of operators overflows its stack";
    EXPRESSION_TOKENS: usize = 400, "tokens", "each sign may be one more level of the syntax tree, and every walk over it recurses";
    EXPRESSION_RESULT_NODES: usize = 1_000_000, "values", "an expression could repeat a large value for every item of a list";
    EXPRESSION_RESULT_BYTES: usize = 64 * MIB, "bytes", "an expression could repeat a long text for every item of a list";
    EXPRESSION_ERROR_CHARS: usize = 300, "characters", "the evaluator's messages print whole values, which may be large";
    EXPRESSION_NESTED_RANGES: usize = 2, "levels", "each nested `map` or `filter` multiplies the work";
    EXPRESSION_RANGE_PRODUCT: u64 = 1_000_000, "evaluations", "an evaluation cannot be cancelled";
    EXPRESSION_PATTERN_BYTES: usize = 4 * KIB, "bytes", "compiling a regular expression takes time and memory by its length, and more by its repetitions";
    EXPRESSION_MATCH_WORK: u64 = 256 * MIB as u64, "bytes of pattern times bytes of text", "`matches` of a long pattern and a long text takes hours, and an evaluation cannot be cancelled";
    EXPRESSION_PATTERN_COST: u64 = 4 * KIB as u64, "bytes of text", "a list of patterns, each compiled once, would be free of charge";
    TEMPLATE_BYTES: usize = 16 * MIB, "bytes", "a template of a few words can build a text that fills the memory";
    TEMPLATE_WORK_BYTES: usize = 64 * MIB, "bytes", "each filter and operator builds a value of its own on the way to the result";
    TEMPLATE_FUEL: u64 = 1_000_000, "instructions", "a template with loops could run for ever";
    EVALUATIONS: usize = 8, "evaluations", "each holds a copy of what it reads until a thread has come to it, and a loop may ask for thousands at once";
    VALUE_DEPTH: usize = 128, "levels", "deeply nested JSON overflows the stack of every walk over it";
    GRANT_ENTRIES: usize = 64, "entries", "each request of a plugin is compared with every entry of each list of its grants";
    GRANT_TEXT_BYTES: usize = 2 * KIB, "bytes", "a longer host, path or header in a grant cannot be read by the person who allows it";
    TEMPLATE_PIECES: usize = 2_000, "pieces", "each expression of a text is compiled and kept";
    TEMPLATE_BLOCKS: usize = 64, "blocks", "each nested block is a level of recursion in the template parser";
    DIAGNOSTICS: usize = 1_000, "findings", "a document made of mistakes would be answered with more text than anybody reads";
    SUGGESTIONS: usize = 50, "searches", "looking for the nearest known word for each of thousands of wrong ones takes minutes";
    SUGGESTION_WORDS: usize = 1_000, "words", "each known word is compared letter by letter";
    SUGGESTION_CHARS: usize = 64, "characters", "comparing a long word with all known ones takes time and finds nothing";
    SUGGESTION_DISTANCE: usize = 3, "edits", "a hint that differs in more letters only confuses";

    // Runs
    STEP_OUTPUT_BYTES: usize = 16 * MIB, "bytes", "a step's output stands in the journal and in what depends on it; one too large would fill both";
    RUN_OUTPUT_BYTES: usize = 64 * MIB, "bytes", "the outputs of all last steps stand together in the run's last record";
    TOOL_ARGUMENT_BYTES: usize = 16 * MIB, "bytes", "a call's arguments are checked, recorded and copied before the tool sees them";
    STEP_INSTANCES: usize = 100_000, "step instances", "a loop over loops could grow without end";
    FOR_EACH_ITEMS: usize = 20_000, "items", "a list that a model wrote could be of any length";
    RUN_CONCURRENCY: usize = 5, "attempts", "an unbounded fan-out overloads a provider and the machine";
    HOST_CONCURRENCY: usize = 100_000, "attempts", "each attempt is a task with memory of its own";
    MESSAGE_BYTES: usize = 256 * KIB, "bytes", "a larger prompt is refused by models or silently cut by them";
    ATTACHMENT_BYTES: usize = 10 * MIB, "bytes", "an attachment is held in memory and sent with each turn";
    STEP_RETRY_WAIT_MS: u64 = 60_000, "ms", "doubling waits would soon be longer than a person's patience";
    CANCEL_GRACE_MS: u64 = 2_000, "ms", "a provider or tool that ignores cancellation would hold the run open";
    CLOSE_GRACE_MS: u64 = 5_000, "ms", "closing would wait for ever for a sink that hangs";
    ENGINE_RETURN_MS: u64 = 5_000, "ms", "a workflow engine that never returns would keep a run open whose steps have all ended";
    ENGINE_AGENTS: usize = 8, "agents", "agents that an engine has work under one step share its slot, and would overload a provider";
    SINK_QUEUE_EVENTS: usize = 10_000, "events", "a slow sink would fill the memory";
    SINK_BATCH_BYTES: usize = 4 * MIB, "bytes", "a batch is copied into the plugin that takes it";
    SINK_LINGER_MS: u64 = 5_000, "ms", "a sink that waits for full batches would tell of a run when it is long over";
    SINK_RUNS: usize = 1_000, "runs", "a sink that is never there again would be owed the events of every run for ever";
    SINK_RECORDS: usize = 256, "records", "what a sink missed is read from the journal a page at a time";
    SINK_DEAD_LETTERS: u64 = 10_000, "events", "a sink that refuses every event would fill the disk";
    SINK_DEAD_LETTER_BYTES: u64 = 256 * MIB as u64, "bytes", "events that a sink refuses may be large";
    SINK_PAUSE_MS: u64 = 30_000, "ms", "a sink that is down would be tried again and again without a pause, or hardly ever";
    SINK_OFFERS: u32 = 6, "offers", "a batch that a sink refuses would be offered for ever, with doubling waits";
    WORKFLOW_DEPTH: usize = 10, "workflows", "a workflow whose agent runs a workflow whose agent runs a workflow would spend without end";
    CONVERGENCE_EDITS: usize = 2_000, "edits", "finding the fewest edits between two texts takes the square of them";
    CONVERGENCE_COMPARISONS: usize = 64 * MIB, "comparisons", "texts that repeat themselves are compared with themselves again for each edit";
    VARIABLES: usize = 1_000, "variables", "a run keeps its variables in memory, and so does every resume of it";
    REPLAY_VARIABLE_STATES: usize = 64, "states", "a replay keeps what variables were, for evaluations that another step's variable overtook; each is a copy of all of them";
    VARIABLE_BYTES: usize = 64 * KIB, "bytes", "a variable stands in the journal each time it is set";
    MAILBOX_STORE_MS: u64 = 5_000, "ms", "a mailbox store of an embedder that hangs would hold up every message of a run";
    LARGE_RESULTS_BYTES: usize = 64 * MIB, "bytes", "an agent may read on in results that did not fit, and they stay in memory until it is done";
    AGENT_DEPTH: u32 = 3, "agents", "an agent that has an agent work that has an agent work would spend without end";
    AGENT_CHILDREN: u32 = 10, "agents", "an agent that only hands its task on would spend much and do nothing";
    AGENT_WAIT_MS: u64 = 1_800_000, "ms", "an agent that has nothing else to do would wait for ever for a sub-agent in the background that hangs";
    MEMORY_KEYS: usize = 10_000, "entries", "a run keeps its shared memory in memory, and so does every resume of it";
    MEMORY_CALLS: usize = 10_000, "calls", "each change of the shared memory is remembered by its call, in case that is made again after a crash";
    MEMORY_KEY_BYTES: usize = 128, "bytes", "a list of entries names each key, and models read it";
    MEMORY_VALUE_BYTES: usize = MIB, "bytes", "an entry stands in the journal each time it is written";
    SHARED_MEMORY_KEYS: u64 = 10_000, "entries", "each run that shares a memory begins with all of its entries";
    SHARED_MEMORY_BYTES: u64 = 4 * MIB as u64, "bytes", "each run that shares a memory records what it begins with";
    MEMORY_SEEN_BYTES: usize = 256 * KIB, "bytes", "an event with all that was read of a memory would not fit into every store";
    MEMORY_BYTES: usize = 64 * MIB, "bytes", "ten thousand entries of the largest size would not fit into a machine";
    ANSWER_TRIES: u32 = 5, "answers", "whoever gives the same wrong answer again and again would be asked for ever";
    SENSITIVE_TEXTS: usize = 256, "texts", "every later event is searched for each text that must not be shown";
    SENSITIVE_BYTES: usize = 4 * MIB, "bytes", "texts that must not be shown are held in memory until the run ends";
    COMMIT_WAKES: usize = 256, "wake-ups", "a group commit would grow as long as something happens, and nothing would be acted upon";
    EXPRESSION_THREADS: usize = 2, "threads", "each evaluation that cannot end takes one for good";
    EXPRESSION_STACK_BYTES: usize = 32 * MIB, "bytes", "an expression within the limits could still overflow a usual stack";
    SCHEMA_FINDINGS: usize = 8, "findings", "an error would repeat every item of a list that is wrong";
    SCHEMA_EXPANDED: u64 = 100_000, "schemas", "a few lines whose references lead to each other are a thousand million schemas written out";
    SCHEMA_WORK: u64 = 256 * MIB as u64, "schemas times values", "a schema that contains itself twice doubles the work on each level of a value, and a check cannot be cancelled";
    SCHEMA_FINDING_WORK: u64 = MIB as u64, "schemas times values", "what is wrong is gathered in memory before any of it is told";
    SINK_BATCH_EVENTS: usize = 256, "events", "a batch is held in memory until its sink answers";
    STREAM_BUFFER_CHUNKS: usize = 256, "chunks", "an undrained stream would fill the memory";

    // Agents
    CONVERSATION_BYTES: usize = 512 * KIB, "bytes", "an agent that works for long would be refused by its model: what is old and long gives way";
    MAILBOX_MESSAGES: usize = 10_000, "messages", "agents that write faster than one reads would fill the memory";
    DROP_CALLBACK_MESSAGES: usize = 1_024, "messages", "what hears of dropped messages and hangs would have all of them wait in memory; beyond this the run tells it itself";
    MESSAGE_TEXT_BYTES: usize = 64 * KIB, "bytes", "one message would fill the conversation of its reader";
    WAKE_CYCLES: u32 = 10, "wake-ups", "two agents that answer each other would never end";
    COORDINATOR_WAKES: u32 = 100, "wake-ups", "a run of many steps would ask the coordinator's model at each of them";
    COORDINATOR_TURNS: u32 = 1_000, "turns", "a coordinator that keeps calling tools would never end";
    COORDINATOR_HOLD_MS: u64 = 120_000, "ms", "a coordinator that hangs would keep a run from ending";
    COORDINATOR_DIGEST_BYTES: usize = 1_024, "bytes", "the coordinator's conversation would hold every output whole";
    PLAN_REPAIRS: u32 = 3, "repairs", "a model that cannot write a valid plan would be asked for ever";
    PLAN_FINDINGS_BYTES: usize = 8 * KIB, "bytes", "a plan with thousands of faults would be answered with all of them";
    COORDINATOR_NEWS_BYTES: usize = 32 * KIB, "bytes", "a run of thousands of steps would be told in one message that no model reads";
    COORDINATOR_CONTEXT_BYTES: usize = 16 * KIB, "bytes", "a program that says much at each wake would fill the coordinator's conversation";
    SHARED_CONVERSATION_BYTES: usize = 256 * KIB, "bytes", "coordinators that share a conversation would read all that was ever said at each turn: the oldest is left out";
    COORDINATOR_INSTRUCTIONS_CHARS: usize = 200, "characters", "the coordinator would begin with the instructions of every step";
    NAMED_STEPS: usize = 50, "steps", "a model that names none of a thousand steps would be told them all";
    AGENT_TURNS: u32 = 50, "turns", "a model that keeps calling tools would never end";
    PARALLEL_TOOL_CALLS: usize = 8, "calls", "a model may ask for hundreds of calls in one turn";
    AGENT_HANDLE_MS: u64 = 1_800_000, "ms", "an agent in the background that nobody waits for would work, and be listed, for ever";
    AGENT_HANDLES: usize = 10_000, "agents", "what each agent in the background gave is kept for half an hour";
    REPEATED_CALLS_NUDGE: usize = 3, "times", "a model that makes the same call over and over, with the same answer, is not told that it does";
    REPEATED_CALLS_STOP: usize = 5, "times", "a model that is stuck would repeat its call until its turns are spent";
    TOOL_CALLS_PER_TURN: usize = 128, "calls", "each call is answered in the next request";
    TOOL_RESULT_BYTES: usize = 32 * KIB, "bytes", "a large result fills the model's context; above this it gets the head, the size and how to read on";
    FINAL_TEXT_CHARS: usize = 500, "characters", "an error quotes this much of what a model said instead of a result";
    BUDGET_ANSWER_TOKENS: u64 = 4_096, "tokens", "an answer that nobody bounds could cost any budget; a run with a budget holds this much back for it, and it gets no more";
    BUDGET_LEAST_ANSWER_TOKENS: u64 = 256, "tokens", "an answer that is cut after a few words is paid for and of no use; where less is left the budget is used up";
    BUDGET_WARNING_PERCENT: u32 = 80, "%", "a budget that is used up without a word surprises; from here on it is said";
    MODEL_OPTIONS_BYTES: usize = 64 * KIB, "bytes", "each request carries the options of its model, and each record of a request repeats them";
    MODEL_STOPS: usize = 64, "texts", "each text that ends an answer is looked for at each piece of it";
    MODEL_RETRIES: u32 = 2, "retries", "a provider that is down would be asked for ever";

    // Models over HTTP
    SSE_LINE_BYTES: usize = MIB, "bytes", "a stream without line ends would fill the memory";
    SSE_EVENT_BYTES: usize = 4 * MIB, "bytes", "an event of endless lines would fill the memory";
    MODEL_RESPONSE_BYTES: usize = 64 * MIB, "bytes", "a provider, or a model of an embedder, could stream for ever";
    MODEL_ERROR_BODY_BYTES: usize = 64 * KIB, "bytes", "an error page is quoted, not stored";
    MODEL_CONNECT_MS: u64 = 5_000, "ms", "an address that drops packets would hold the step";
    MODEL_HEADERS_MS: u64 = 120_000, "ms", "a provider that accepts and says nothing would hold the step";
    MODEL_IDLE_MS: u64 = 120_000, "ms", "a stream that stalls would hold the step";
    MODEL_CALL_MS: u64 = 600_000, "ms", "a stream that drips would hold the step";
    MODEL_RETRY_AFTER_MS: u64 = 120_000, "ms", "a server may ask for hours; past this we stop and say so";
    MODEL_LANE_WAITS: usize = 8, "waits", "a provider that is refused again and again by others would hold a request for ever";
    MODEL_PROBE_MS: u64 = 200, "ms", "looking for a local model must not delay a start";
    MODELS_RESOLVED: usize = 1_000, "models", "a long-lived host would keep every model that any document ever named";

    // Models without a network
    SCRIPT_BYTES: usize = 8 * MIB, "bytes", "a script is parsed whole into memory";
    SCRIPT_NODES: usize = 500_000, "nodes", "aliases could blow a small script up to any size";
    TEST_CASE_MS: u64 = 120_000, "ms", "a case whose time is simulated and that hangs would never end by itself";
    SCRIPTED_REQUESTS: usize = 10_000, "requests", "a scripted model that records would keep every request of its life";
    SCRIPTED_RUNS: usize = 1_000, "runs", "a scripted model would count the uses of its answers for every run of its life";
    EXTRACT_INPUT_BYTES: usize = 4 * MIB, "bytes", "extracting reads its input several times";
    EXTRACT_TABLE_ROWS: usize = 20, "rows", "a table longer than a screen is not read";
    EXTRACT_TABLE_COLUMNS: usize = 8, "columns", "a table wider than a page is not read";
    EXTRACT_CELL_CHARS: usize = 80, "characters", "one long cell makes the whole table unreadable";
    EXTRACT_LIST_ITEMS: usize = 10, "items", "a list longer than a screen is not read";
    EXTRACT_SENTENCE_CHARS: usize = 280, "characters", "text without full stops would be quoted whole";
    EXTRACT_REPORT_BYTES: usize = 64 * KIB, "bytes", "a report as long as its sources reports nothing";

    // Plugins
    PLUGIN_COMPONENT_BYTES: usize = 64 * MIB, "bytes", "a component is read, hashed and compiled whole";
    PLUGIN_COMPONENT_DEPTH: usize = 32, "levels", "components nest, and each level is a stack frame of the compiler";
    PLUGIN_IMPORTS: usize = 1_000, "imports", "each import is resolved and named in messages";
    PLUGIN_FUNCTIONS: usize = 50_000, "functions", "500 000 empty functions take 17 s to compile";
    PLUGIN_FUNCTION_LOCALS: u64 = 1_000, "locals", "the time that registers take grows with the square of the locals";
    PLUGIN_FUNCTION_BYTES: u64 = 256 * KIB as u64, "bytes", "a body of 175 KiB made for it compiles for 90 s in 7.6 GiB";
    PLUGIN_PLAIN_FUNCTION_BYTES: u64 = 512 * KIB as u64, "bytes", "even a body without locals would be compiled whole in memory; that which sets up Python has 417 KiB";
    PLUGIN_PLAIN_FUNCTION_LOCALS: u64 = 8, "locals", "a body with more locals than a plain list of stores needs is bounded by `plugin_function_bytes`";
    PLUGIN_FUNCTION_WEIGHT: u64 = 32 * MIB as u64, "bytes times locals", "a body may be large or have many locals; both at once is a bomb";
    PLUGIN_COMPILE_CPU_S: u64 = 60, "s", "compiling cannot be cancelled, only killed";
    PLUGIN_COMPILE_CPU_S_PER_MIB: u64 = 15, "s per MiB", "large interpreters compile for minutes, and honestly so";
    PLUGIN_COMPILE_CPU_MAX_S: u64 = 600, "s", "the largest component could compile for a quarter of an hour";
    PLUGIN_COMPILE_BYTES: u64 = 4 * 1024 * MIB as u64, "bytes", "a bomb takes all memory of the machine";
    PLUGIN_COMPILES: usize = 2, "compilations", "each takes all cores and hundreds of MiB";
    PLUGIN_LEFTOVER_S: u64 = 24 * 60 * 60, "s", "what a killed program had begun to write would stay for good among the fetched components";
    PLUGIN_CACHE_ENTRIES: usize = 512, "files", "every version of every plugin ever run would stay on the disk";
    PLUGIN_POOL_SLOTS: usize = 64, "instances", "each slot reserves 4 GiB of address space for each of its memories";
    PLUGIN_SLOTS_EACH: usize = 48, "instances", "a plugin that makes many calls would take the slots of all others";
    PLUGIN_INNER_SHARE: usize = 16, "slots for each", "tools would hold all slots while they wait for tools that they call; each depth of calls has some of its own";
    PLUGIN_RESIDENT_SHARE: usize = 8, "slots for each", "a journal or sink that is started again would wait for calls that wait for it; what stays up has some slots of its own";
    PLUGIN_CROWD: usize = 16, "calls for each processor", "others would wait behind the many calls of one plugin, which from so many in its queue on make way for theirs";
    PLUGIN_POOL_SLOTS_SMALL: usize = 8, "instances", "a small address space takes few slots";
    PLUGIN_POOLED_MEMORY_BYTES: usize = 1024 * MIB, "bytes", "a slot must know its largest memory when it is reserved";
    PLUGIN_KEEP_RESIDENT_BYTES: usize = 256 * KIB, "bytes", "a free slot would keep the pages of its last guest";
    PLUGIN_WASM_STACK_BYTES: usize = 512 * KIB, "bytes", "recursion in a guest would overflow the stack of the host";
    PLUGIN_FIBER_STACK_BYTES: usize = 2 * MIB, "bytes", "host functions run on the stack of the guest that calls them";
    PLUGIN_KEPT_SHARE: usize = 4, "slots for each", "instances that wait for the next call of their step would take the slots of those that have work";
    PLUGIN_EPOCH_TICK_MS: u64 = 10, "ms", "a guest that computes is interrupted at ticks only";
    PLUGIN_DESCRIBE_MS: u64 = 2_000, "ms", "a plugin could hang before it has done anything";
    PLUGIN_TOOLS: usize = 256, "tools", "every tool is described to the model";
    PLUGIN_MODELS: usize = 1_000, "models", "each is compared with every name that is asked for, and shown";
    PLUGIN_SCHEMA_BYTES: usize = 64 * KIB, "bytes", "a schema is compiled, and sent to the model with each turn";
    PLUGIN_SCHEMA_NODES: usize = 10_000, "nodes", "a schema of many nodes is slow to compile and to check against";
    PLUGIN_DESCRIPTION_BYTES: usize = 8 * KIB, "bytes", "a tool's description is sent to the model with each turn";
    PLUGIN_EXAMPLES: usize = 32, "examples", "examples are kept with the tool as long as it is loaded";
    PLUGIN_MESSAGE_BYTES: usize = 4 * KIB, "bytes", "what a guest says of its own failure ends in logs and prompts";
    PLUGIN_LOG_LINES: usize = 1_000, "lines", "a guest could fill the disk with log lines";
    PLUGIN_PROGRESS_EVENTS: usize = 1_000, "events", "a guest could flood every view of the run";
    PLUGIN_STRIKES: u32 = 3, "failures", "a plugin that crashes each time would be started for ever";
    PLUGIN_REST_MS: u64 = 100, "ms", "a plugin that crashes at once would be started as fast as the machine can; it doubles with each failure";
    PLUGIN_STORAGE_INSTANCES: u32 = 4, "instances", "each holds a slot of the pool and memory of its own for as long as the program runs";
    PLUGIN_TOLD_BYTES: usize = 300, "bytes", "what a call of the host is about goes to whoever watches: a guest could fill a screen with one";
    PLUGIN_DENIALS: usize = 32, "denials", "a guest could ask ten thousand times for what it may not have";
    PLUGIN_INVOKE_DEPTH: u32 = 4, "calls", "tools that call each other could do so for ever, each with a slot of its own";
    PLUGIN_INVOKES: u32 = 256, "calls", "each call of another tool stands in the journal twice";
    PLUGIN_KV_KEY_BYTES: usize = 512, "bytes", "keys stand in the index of the store, and a listing holds many";
    PLUGIN_KV_VALUE_BYTES: usize = MIB, "bytes", "a value is held in memory whole, several at once; larger ones are files";
    PLUGIN_KV_ENTRIES: u64 = 10_000, "entries", "a plugin could fill the project's database with keys";
    PLUGIN_KV_BYTES: u64 = 64 * MIB as u64, "bytes", "a plugin could fill the disk with values";
    PLUGIN_KV_BATCH: usize = 256, "keys", "what is asked for and written at once is held in memory";
    PLUGIN_KV_BATCH_BYTES: usize = 4 * MIB, "bytes", "a listing of large values is held in memory, and copied into the guest";
    PLUGIN_BLOB_BYTES: usize = 64 * MIB, "bytes", "what a guest writes into blobs is held in memory until it is finished";
    PLUGIN_BLOB_WRITERS: usize = 16, "blobs", "each blob that is begun is held until the call ends";
    PLUGIN_RANDOM_BYTES: u64 = 64 * KIB as u64, "bytes", "one call could ask for gigabytes of random bytes";

    // Requests of plugins
    EGRESS_URL_BYTES: usize = 8 * KIB, "bytes", "a URL is parsed, compared and logged several times";
    EGRESS_HEADERS: usize = 100, "headers", "each header is checked and copied, on the way out and back";
    EGRESS_HEADER_BYTES: usize = 64 * KIB, "bytes", "the headers of a response are no body, and would pass its bound";
    EGRESS_ADDRESSES: usize = 64, "addresses", "a name with thousands of addresses would be tried one after another";
    EGRESS_CONNECT_MS: u64 = 10_000, "ms", "an address that drops packets would use up the whole call";
    EGRESS_SECRET_BYTES: usize = 16 * KIB, "bytes", "every response is searched for all forms of a secret";

    // Registries of plugins
    REGISTRY_MANIFEST_BYTES: usize = 4 * MIB, "bytes", "a manifest is parsed whole; the specification asks registries to take this much";
    REGISTRY_LAYERS: usize = 64, "layers", "the layers of what is no component are listed in the message";
    REGISTRY_TOKEN_BYTES: usize = 64 * KIB, "bytes", "a token goes into a header of each further request";
    REGISTRY_ERROR_BYTES: usize = 16 * KIB, "bytes", "a registry's error page is read to show its first sentence";
    REGISTRY_REDIRECTS: u32 = 5, "redirects", "a registry could send a download in circles";
    REGISTRY_IDLE_MS: u64 = 30_000, "ms", "a registry that says nothing would hold the command for ever";
    REGISTRY_TOTAL_MS: u64 = 600_000, "ms", "a registry that sends a byte at a time would never be done";
    REGISTRY_CREDENTIALS_BYTES: usize = MIB, "bytes", "the configuration of docker is read whole";

    // Servers of the Model Context Protocol
    MCP_ARGUMENTS: usize = 64, "arguments, variables or headers", "a command line that nobody can read cannot be allowed";
    MCP_VALUE_BYTES: usize = 8 * KIB, "bytes", "a value of the environment or of a header is copied to each start or request";
    MCP_CONNECT_MS: u64 = 30_000, "ms", "a server that starts and says nothing would hold the run before it began";
    MCP_LIST_MS: u64 = 15_000, "ms", "a server that never lists its tools would hold the run before it began";
    MCP_LIST_PAGES: usize = 64, "pages", "a list whose every page names a next one never ends";
    MCP_CALL_MS: u64 = 300_000, "ms", "a tool that never answers would hold a step that has no timeout of its own";
    MCP_STOP_MS: u64 = 500, "ms", "a server that ignores the end of its input would hold the end of the run";
    MCP_RESTARTS: u32 = 3, "restarts", "a server that dies of each call would be started again for each";
    MCP_RESTART_WAIT_MS: u64 = 250, "ms", "a server that dies at once would be started as fast as the machine can; doubled each time";
    MCP_MESSAGE_BYTES: usize = 8 * MIB, "bytes", "a line or event without end would fill the memory";
    MCP_RESULT_BYTES: usize = 4 * MIB, "bytes", "a result stands in the journal and is given to the model or the next step";
    MCP_DATA_BYTES: usize = MIB, "bytes", "images and files come as text of four thirds their size, and stand in the journal";
    MCP_CONTENT_PARTS: usize = 256, "parts", "a result of a million empty parts is small on the wire and large in memory";
    MCP_NOTICES: usize = 1_000, "messages", "each message that nobody asked for is a task of its own; a flood of them fills the memory";
    MCP_BAD_LINES: usize = 100, "lines", "a program that is no server would be read for ever";
    MCP_LOG_LINES: usize = 200, "lines", "a server could fill the log with what it writes to standard error";
    MCP_LOG_LINE_BYTES: usize = 2 * KIB, "bytes", "one line of a server could fill the log";
    MCP_ERROR_BYTES: usize = 4 * KIB, "bytes", "what a server says of its own failure ends in logs and prompts";

    // Stores
    JOURNAL_QUEUE: usize = 1_024, "operations", "writers that are faster than the disk would fill the memory";
    JOURNAL_GROUP: usize = 256, "operations", "a commit that never ends would keep the first of its operations waiting";
    FILE_STORE_LEAP_BYTES: u64 = 32 * KIB as u64, "bytes", "every line before a record that is looked for would be read";
    DIGEST_EVENTS: usize = 1_000, "events", "a resume would read every record of its run";
    DIGEST_TAIL: usize = 1_500, "records", "a resume would look for a digest in all of its run";
    DIGEST_BYTES: usize = 192 * KIB, "bytes", "what is large would be kept twice: a stretch with more than this in words is read as it is";
    LEASE_HOLD_MS: u64 = 30_000, "milliseconds", "a run whose machine died could not be taken up on another one";
    LEASE_RENEW_MS: u64 = 10_000, "milliseconds", "the right to write to a run would end while its process works on it";
    BRANCH_EVENTS: usize = 1_000_000, "events", "a run that is branched or replayed is held in memory, twice";
    BRANCH_CHUNK_EVENTS: usize = 2_000, "events", "a copied run would be one commit, however long it is";
    JOURNAL_PAGE_RECORDS: usize = 10_000, "records", "a page is held in memory";
    SHOWN_RECORDS: usize = 500, "records", "showing a long run would take fresh memory for each page, and nothing would be told while it is read";
    STORAGE_COMMIT_BYTES: u64 = 16 * MIB as u64, "bytes", "a group commit is copied into the plugin that keeps it";
    STORAGE_BLOB_PIECE_BYTES: u32 = 4_194_304, "bytes", "a blob is copied out of the plugin that keeps it";
    JOURNAL_RECORD_BYTES: usize = 64 * MIB, "bytes", "a record is read and parsed whole, by every fold of its run";
    JOURNAL_LIST_ROWS: usize = 1_000, "runs", "a page is held in memory";
    JOURNAL_VALUE_BYTES: usize = TOOL_RESULT_BYTES, "bytes", "a large value would stand in the journal each time that it is given, kept and passed on; above this it is kept once, as a blob";
    JOURNAL_HEAD_BYTES: usize = KIB, "bytes", "whoever looks at a record would not see what is in its blobs; it has this much of their beginning";
    BLOB_BYTES: usize = 256 * MIB, "bytes", "a blob is held in memory whole, by its writer and by each of its readers";
    ARCHIVE_RECORDS: usize = 256, "records", "the records of an exported or imported run would be held in memory all at once";
    ARCHIVE_APPEND_BYTES: usize = 16 * MIB, "bytes", "large records of an imported run would be held in memory until there are many of them";
    ARCHIVE_FRAME_BYTES: usize = 64 * KIB, "bytes", "a line of a file that is no export would be read into memory whole, however long it is";
    ARCHIVE_NAMES: usize = 1_000_000, "digests", "every digest in a run may be the name of a blob, and is remembered until the run is written or read";
    STATE_VALUE_BYTES: usize = 16 * MIB, "bytes", "a value is held in memory whole, and a scan reads many";
    STATE_KEY_BYTES: usize = 4 * KIB, "bytes", "keys stand in the index of the store, whose pages hold few long ones";
    STATE_SCAN_ENTRIES: usize = 10_000, "entries", "a scan is held in memory";
    STORE_BUSY_MS: u64 = 5_000, "ms", "another process that holds the store would hang this one";
    SQLITE_STORE_ROW_BYTES: usize = MIB, "bytes", "an append of large records would be one row, which is read whole for each of its records";
    FILE_STORE_THREADS: usize = 4, "threads", "a run whose flush is slow would keep all others waiting, and a thread for each run would fill the memory";
    FILE_STORE_OPEN: usize = 64, "files a thread", "each run that was ever written to would keep one of the process's open files";
    FILE_STORE_FRAME_BYTES: usize = 64 * KIB, "bytes", "a row that is listed stands in each append, and a line that never ends would be read whole";

    // Retrieval memory
    RECALL_FOUND: usize = 5, "texts", "so many are found where nobody says how many; each costs room in a prompt";
    RECALL_FOUND_MAX: usize = 50, "texts", "a search that finds everything finds nothing";
    RECALL_TOKENS: usize = 800, "tokens", "so much of a prompt is for what was found, where nobody says how much";
    RECALL_TOKENS_MAX: usize = 32_000, "tokens", "what was found would bury the task";
    RECALL_TOKEN_BYTES: usize = 4, "bytes", "models count in tokens, which nobody here can count: this much of a text is taken for one";
    RECALL_QUERY_BYTES: usize = 4 * KIB, "bytes", "a message may hold whole files, and each of its words would be looked for";
    RECALL_QUERY_WORDS: usize = 64, "words", "each word of a query is looked up and weighed";
    RECALL_ENTRY_BYTES: usize = 16 * KIB, "bytes", "each large output of a step would be kept twice, and found for one of its many words";
    RECALL_CANDIDATES: usize = 256, "texts", "each text with a word of the query is read whole to be weighed";
    RECALL_SPACE_ENTRIES: usize = 10_000, "texts", "a session that goes on for years would fill the disk; the oldest go";
    RECALL_ENTRIES: usize = 100_000, "texts", "runs that belong to no session each have a space of their own; the oldest texts of all go";
    RECALL_MS: u64 = 5_000, "ms", "a memory that hangs would hold each step";
    RECALL_FAILURES: usize = 3, "failures", "each step would wait anew for a memory that does not answer; after so many in a row the run does without";
    RECALL_CLOSE_MS: u64 = 10_000, "ms", "a memory that hangs would hold the end of a run";
    RECALL_AT_ONCE: usize = 64, "texts", "a run that is taken up keeps what it gave again, and a plugin takes so many at once";

    // The command line
    SETTINGS_BYTES: usize = MIB, "bytes", "a file of settings is read whole, by every command";
    DOTENV_BYTES: usize = 64 * KIB, "bytes", "any large file could be called `.env`";
    INPUT_BYTES: usize = 16 * MIB, "bytes", "an input stands in the journal, and perhaps in every prompt";
    QUESTION_VALUE_CHARS: usize = 300, "characters", "a long argument would push the others out of sight of the person who decides";
    ANSWER_WAIT_MS: u64 = 300_000, "ms", "a question that nobody answers would keep its run waiting for ever";
    STOP_WAIT_MS: u64 = 6_000, "ms", "a run that does not end would keep an interrupted program from ending";
    DIFF_LINES: usize = 5_000, "lines", "the time to compare two texts that have nothing in common grows with the square of their lines";
    TRANSCRIPT_CHARS: usize = 200, "characters", "one line of a tool's result would fill the screen";
    TRANSCRIPT_LINES: usize = 6, "lines", "the files that an agent read would bury what it said; `--full` shows all of it";

    // Native tools
    TOOL_PATH_BYTES: usize = 4 * KIB, "bytes", "no file system takes a longer path, and it is quoted in messages";
    GLOB_PATTERNS: usize = 64, "patterns", "every entry is compared with every pattern";
    GLOB_PATTERN_BYTES: usize = 1_024, "bytes", "a pattern is compiled, and alternatives multiply";
    GLOB_FILES: usize = 20_000, "files", "a listing of a whole disk would fill the memory and the model's context";
    GLOB_ENTRIES: usize = 1_000_000, "entries", "a walk over a whole disk would hold the step for hours";
    GLOB_DEPTH: usize = 128, "levels", "each level keeps a directory open";
    GITIGNORE_BYTES: usize = 256 * KIB, "bytes", "every line is compiled, and every entry compared with it";
    READ_BYTES: usize = MIB, "bytes", "a file is returned in one piece, and stands in the journal";
    READ_SCAN_BYTES: usize = 256 * MIB, "bytes", "finding a line means reading all lines before it";
    GREP_FILE_BYTES: usize = 16 * MIB, "bytes", "a file is searched in memory; what is larger is passed over and counted";
    GREP_SCAN_BYTES: usize = 512 * MIB, "bytes", "a search through a whole disk would hold the step for hours";
    GREP_MATCHES: usize = 2_000, "lines", "a pattern that matches everywhere would fill the model's context";
    GREP_LINE_BYTES: usize = 512, "bytes", "one line of a minified file would fill the model's context";
    GREP_SEARCHED_LINE_BYTES: usize = 256 * KIB, "bytes", "the search of one line cannot be stopped; the line is passed over and the result says that it is not whole";
    GREP_COMPILED_BYTES: usize = 128 * KIB, "bytes", "each byte of a file may be compared with each state of a compiled pattern";
    GREP_PATTERN_BYTES: usize = 1_024, "bytes", "a pattern is compiled, and repetitions multiply";
    EXEC_COMMAND_BYTES: usize = 64 * KIB, "bytes", "a command is an argument of a program, and no argument may be longer than 128 KiB";
    EXEC_TIMEOUT_S: u64 = 120, "s", "a command that waits for input or a server that never ends would hold its step";
    EXEC_TIMEOUT_MAX_S: u64 = 3_600, "s", "a model could ask for a command that never ends";
    EXEC_HEAD_BYTES: usize = 8 * KIB, "bytes", "what a command writes stands in the journal and is given to the model: this much of its beginning";
    EXEC_TAIL_BYTES: usize = 24 * KIB, "bytes", "and this much of its end, where the errors are";
    WRITE_BYTES: usize = 16 * MIB, "bytes", "a model could fill the disk with one call";
    COPY_FILES: usize = 200_000, "files", "a working directory is copied for each step with `copy-per-step`, and looked through when it ends";
    COPY_BYTES: usize = 1024 * MIB, "bytes", "each step with `copy-per-step` has two copies, and a few of them would fill the disk";
    CHANGED_FILES: usize = 1_000, "files", "the files that a step changed stand in the journal by name";
    PATCH_BYTES: usize = 64 * MIB, "bytes", "a patch is built in memory, and nobody reads a longer one";
    PATCH_FILE_BYTES: usize = 4 * MIB, "bytes", "both sides of a file are held in memory to be compared; what is larger is kept whole";
    WHOLE_FILES_BYTES: usize = 256 * MIB, "bytes", "files that are no text are kept beside the directory that has them already";
    GIT_SECONDS: u64 = 120, "s", "a repository on a disk that hangs would hold a step for ever";
    DIRECTORY_IDLE_RUNS: usize = 64, "runs", "each keeps its output directory open";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn every_limit_has_a_reason_and_a_name_of_its_own() {
        let mut names: Vec<_> = ALL.iter().map(|limit| limit.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|limit| limit.reason.len() > 20 && limit.value > 0));
    }
}
