"""check.py ROOT [--record]: the model server at ROOT against the official SDKs, which are the judges of its wire formats.

Exits with 1 and a list if anything is not as expected. What the SDKs sent is compared with fixtures/, which the tests of
our own client read too; --record writes them anew.
"""

import json
import re
import sys
import urllib.request
from pathlib import Path

import anthropic
import ollama
import openai
import pydantic
from google import genai
from google.genai import errors, types

import sdks

FIXTURES = Path(__file__).parent / "fixtures"
TEXT = "Grüße, Wörld 😀"
WEATHER = [("get_weather", {"city": "Paris"}), ("get_weather", {"city": "Oslo"})]

# What ends an answer in the words of each protocol.
FINISH = {
    "stop": {"chat": "stop", "responses": "completed", "messages": "end_turn", "gemini": "STOP", "ollama": "stop"},
    "calls": {"chat": "tool_calls", "responses": "completed", "messages": "tool_use", "gemini": "STOP", "ollama": "stop"},
    "length": {
        "chat": "length",
        "responses": "max_output_tokens",
        "messages": "max_tokens",
        "gemini": "MAX_TOKENS",
        "ollama": "length",
    },
    "filter": {"chat": "content_filter", "responses": "content_filter", "messages": "refusal", "gemini": "SAFETY"},
}

# The error that each SDK raises for a status.
RAISED = {
    "chat": {401: openai.AuthenticationError, 429: openai.RateLimitError, 500: openai.InternalServerError},
    "messages": {401: anthropic.AuthenticationError, 429: anthropic.RateLimitError, 500: anthropic.InternalServerError},
    "gemini": {401: errors.ClientError, 429: errors.ClientError, 500: errors.ServerError},
    "ollama": {401: ollama.ResponseError, 429: ollama.ResponseError, 500: ollama.ResponseError},
}
RAISED["responses"] = RAISED["chat"]

failures = []
passed = 0


def check(name, found, expected):
    global passed
    if found == expected:
        passed += 1
    else:
        failures.append(f"{name}: found {found!r}, expected {expected!r}")


def attempt(name, act):
    """Runs a case; that it raises is a failure of its own."""
    try:
        return act()
    except Exception as error:  # noqa: BLE001 - any of them is what has to be reported
        failures.append(f"{name}: raised {type(error).__name__}: {error}")
        return None


def raised(act):
    try:
        return None, act()
    except Exception as error:  # noqa: BLE001
        return error, None


def answers(sdk, root):
    """Texts, calls, reasoning, reasons to end and usage, streamed and whole."""
    cases = [
        ("text", {"text": TEXT, "calls": [], "finish": "stop", "usage": (20, 9)}),
        ("whole", {"text": TEXT, "finish": "stop"}),
        ("tools-1", {"calls": WEATHER[:1], "finish": "calls"}),
        ("tools-parallel", {"calls": WEATHER, "finish": "calls", "usage": (20, 9)}),
        ("reasoning", {"text": TEXT, "reasoning": "Let me think.", "usage": (20, 9)}),
        ("length", {"text": "Grüße, ", "finish": "length"}),
        ("content-filter", {"finish": "filter"}),
        ("cached-usage", {"text": TEXT, "usage": (20, 9)}),
        ("tokens-50", {"text": "tok " * 50, "usage": (20, 50)}),
        ("keepalive", {"text": TEXT}),
        ("split-utf8", {"text": TEXT}),
        ("unknown-events", {"text": TEXT}),
        ("gzip", {"text": TEXT}),
        ("slow-drip", {"text": TEXT}),
    ]
    for mode, expected in cases:
        for stream in (True, False):
            name = f"{sdk.protocol} {mode} {'streamed' if stream else 'whole'}"
            if (mode, stream) == ("whole", True) or skipped(sdk, mode, stream):
                continue
            request = sdk.request(mode, "tools" if "tools" in mode else "text")
            answer = attempt(name, lambda: sdk.answer(sdk.send(stream, **request)))
            for field, value in expected.items() if answer else ():
                value = FINISH[value][sdk.protocol] if field == "finish" else value
                check(f"{name}: {field}", answer[field], value)


def skipped(sdk, mode, stream):
    """What an SDK itself does not bear, or the protocol does not have."""
    if stream and (sdk.protocol, mode) in SDK_FAULTS:
        return True
    if (sdk.protocol, mode) == ("ollama", "content-filter"):
        return True
    # The helper of the SDK raises for these two, and takes them only unstreamed.
    return stream and sdk.protocol == "chat" and mode in ("length", "content-filter")


SDK_FAULTS = {
    # Comments are legal in SSE; this SDK takes them for the beginning of a bare JSON error.
    ("gemini", "keepalive"),
}


def schemas(sdk, root):
    for stream in (True, False):
        name = f"{sdk.protocol} json-schema {stream=}"
        request = sdk.request("json-schema", "schema")
        answer = attempt(name, lambda: sdk.answer(sdk.send(stream, **request)))
        if answer:
            check(name, attempt(name, lambda: json.loads(answer["text"])), {"name": "text", "age": 42})


def round_trips(sdk, root):
    """Results of tools, and reasoning that has to come back as it was."""
    kept = {"chat": "no signature to keep", "ollama": "no signature to keep"}.get(sdk.protocol, "signature kept")
    for stream in (True, False):
        name = f"{sdk.protocol} tools-then-text {stream=}"
        first = attempt(name, lambda: sdk.send(stream, **sdk.request("tools-then-text", "tools")))
        if first:
            request = sdk.request("tools-then-text", "tools", sdk.history(first, ["18C"]))
            answer = attempt(name, lambda: sdk.answer(sdk.send(stream, **request)))
            check(name, answer and answer["text"], "The tool said: 18C")
        name = f"{sdk.protocol} thinking-tools {stream=}"
        first = attempt(name, lambda: sdk.send(stream, **sdk.request("thinking-tools", "tools")))
        if not first:
            continue
        check(f"{name}: reasoning", sdk.answer(first)["reasoning"], "Let me think.")
        request = sdk.request("thinking-tools", "tools", sdk.history(first, ["18C"]))
        answer = attempt(name, lambda: sdk.answer(sdk.send(stream, **request)))
        check(name, answer and answer["text"], kept)
        if kept == "signature kept":
            request = sdk.request("thinking-tools", "tools", sdk.history(first, ["18C"], opaque=False))
            error, _ = raised(lambda: sdk.send(stream, **request))
            check(f"{name}: without the signature", error and status_of(error), 400)


def status_of(error):
    return getattr(error, "status_code", None) or getattr(error, "code", None)


def errors_of(sdk, root):
    cases = [("e401", 401), ("e429-after", 429), ("e429-quota", 429), ("e500", 500)]
    for mode, status in cases:
        for stream in (True, False):
            name = f"{sdk.protocol} {mode} {stream=}"
            error, _ = raised(lambda: sdk.send(stream, **sdk.request(mode, "text")))
            expected = RAISED[sdk.protocol][status]
            if (sdk.protocol, mode) == ("messages", "e429-quota"):
                expected = anthropic.EnforcedSpendLimitReachedError
            check(f"{name}: class", type(error).__name__, expected.__name__)
            check(f"{name}: status", error and status_of(error), status)
            details(sdk, mode, error, name)
    for mode, status in [("e400", 400), ("e403", 403), ("e404", 404), ("e413", 413), ("e422", 422), ("e503", 503), ("e529", 529)]:
        error, _ = raised(lambda: sdk.send(False, **sdk.request(mode, "text")))
        check(f"{sdk.protocol} {mode}: status", error and status_of(error), status)


def details(sdk, mode, error, name):
    """What a client needs to decide whether to wait."""
    if sdk.protocol == "gemini" and mode.startswith("e429"):
        found = error.details["error"]["details"]
        delays = [detail["retryDelay"] for detail in found if detail["@type"].endswith("RetryInfo")]
        check(f"{name}: RetryInfo", delays, ["7s"] if mode == "e429-after" else [])
    elif sdk.protocol != "ollama" and mode == "e429-after":
        check(f"{name}: retry-after", error.response.headers.get("retry-after"), "7")
    if sdk.protocol in ("chat", "responses") and mode == "e429-quota":
        check(f"{name}: type", error.type, "insufficient_quota")
    if sdk.protocol in ("chat", "responses") and mode == "e401":
        check(f"{name}: code", error.code, "invalid_api_key")
        check(f"{name}: the key is not told", sdks.KEY in str(error), False)
    if sdk.protocol in ("chat", "responses", "messages"):
        check(f"{name}: request id", bool(re.fullmatch("req_[0-9a-f]{8}", error.request_id or "")), True)
    if sdk.protocol == "messages" and mode == "e429-quota":
        found = error.body["error"]["details"]
        check(f"{name}: details", found, {"error_code": "enforced_spend_limit_reached"})


def breaks(sdk, root):
    """An error in the middle raises; a cut raises, or ends without a reason to end."""
    modes = ["mid-error", "failed", "cut", "eof", "rst", "cut-call", "nothing"]
    for mode in modes:
        for stream in (True, False):
            error, response = raised(lambda: sdk.send(stream, **sdk.request(mode, "text")))
            name = f"{sdk.protocol} {mode} {stream=}"
            if mode == "mid-error" and (sdk.protocol, stream) != ("gemini", True):
                check(f"{name}: raises", error is not None, True)
            else:
                ended = error is None and sdk.answer(response)["finish"] not in (None, "failed")
                check(f"{name}: is no completion", ended, False)


def listings(sdk, root):
    found = attempt(f"{sdk.protocol} models", sdk.models) or []
    check(f"{sdk.protocol} models", "tools-parallel" in found and len(found) > 50, True)


def attachments(sdk, root):
    request = sdk.request("images", "image")
    answer = attempt(f"{sdk.protocol} images", lambda: sdk.answer(sdk.send(True, **request)))
    check(f"{sdk.protocol} images", answer and answer["text"], "1 image: image/png; no files")


# The types of the SDKs, taken at their word: what the helpers above forgive is an error here.

DOCUMENTS = {
    "chat": (openai.types.chat.ChatCompletion, openai.types.chat.ChatCompletionChunk),
    "responses": (openai.types.responses.Response, openai.types.responses.ResponseStreamEvent),
    "messages": (anthropic.types.Message, anthropic.types.RawMessageStreamEvent),
    "gemini": (types.GenerateContentResponse, types.GenerateContentResponse),
    "ollama": (ollama.ChatResponse, ollama.ChatResponse),
}
PATHS = {"chat": "/v1/chat/completions", "responses": "/v1/responses", "messages": "/v1/messages", "ollama": "/api/chat"}


def strict(sdk, root):
    document, event = (pydantic.TypeAdapter(kind) for kind in DOCUMENTS[sdk.protocol])
    modes = "text tools-1 tools-parallel reasoning thinking-tools json-schema refusal length cached-usage empty".split()
    modes += [] if sdk.protocol == "ollama" else ["content-filter"]
    for mode in modes:
        for stream in (True, False):
            raw = fetch(sdk.protocol, root, mode, stream)
            found = frames(sdk.protocol, raw) if stream else [json.loads(raw)]
            for frame in found:
                # `ping` keeps a connection alive, and is no event of the type.
                if frame != {"type": "ping"}:
                    name = f"{sdk.protocol} {mode} {stream=}: type of {json.dumps(frame)[:120]}"
                    attempt(name, lambda: (event if stream else document).validate_python(frame))
            check(f"{sdk.protocol} {mode} {stream=}: frames", len(found) > 0, True)


def fetch(protocol, root, mode, stream):
    user = {"role": "user", "content": "Hello"}
    body = {"model": mode, "stream": stream, "max_tokens": 100, "messages": [user], "input": "Hello"}
    path = PATHS.get(protocol)
    if protocol == "gemini":
        path = f"/v1beta/models/{mode}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")
        body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(root + path, json.dumps(body).encode(), headers)
    return urllib.request.urlopen(request, timeout=20).read().decode()


def frames(protocol, raw):
    if protocol == "ollama":
        return [json.loads(line) for line in raw.splitlines()]
    lines = [line.removeprefix("data: ") for line in raw.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def azure(root):
    client = openai.AzureOpenAI(azure_endpoint=root, api_key=sdks.KEY, api_version="2024-10-21", max_retries=0)
    messages = [{"role": "user", "content": "Hello"}]
    answer = attempt("azure", lambda: client.chat.completions.create(model="text", messages=messages))
    check("azure", answer and answer.choices[0].message.content, TEXT)


# Fixtures: what the SDKs send.

# Of the machine, of the connection, or of the SDK itself.
NOT_KEPT = re.compile("user-agent|x-stainless-.*|x-goog-api-client|x-goog-user-project|x-server-timeout|host|connection|content-length|accept-encoding")


def log(root, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(root + "/_log", method=method), timeout=20) as page:
        return json.load(page)


def sent(root):
    requests = log(root)
    for request in requests:
        kept = {name: value for name, value in request["headers"].items() if not NOT_KEPT.fullmatch(name)}
        request["headers"] = {name: "***" if "*** (" in value else value for name, value in sorted(kept.items())}
    return requests


def fixtures(sdk, root, record):
    for case in ("text", "options", "tools", "image", "schema", "text-whole"):
        name = f"{sdk.protocol}-{case}"
        stream = not case.endswith("-whole")
        case = case.removesuffix("-whole")
        log(root, "DELETE")
        model = "tools-parallel" if case == "tools" else "text"
        first = attempt(name, lambda: sdk.send(stream, **sdk.request(model, case)))
        if case == "tools" and first:
            attempt(name, lambda: sdk.send(stream, **sdk.request(model, case, sdk.history(first, ["18C", "7C"]))))
        found = sent(root)
        path = FIXTURES / f"{name}.json"
        if record:
            path.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")
        known = json.loads(path.read_text()) if path.exists() else None
        check(f"{name}: what the SDK sends (--record writes it anew)", found, known)


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--record"]
    if len(arguments) != 1:
        sys.exit("usage: check.py ROOT [--record]")
    root = arguments[0].rstrip("/")
    for kind in sdks.ALL:
        sdk = kind(root)
        for part in (answers, schemas, round_trips, errors_of, breaks, listings, attachments, strict):
            attempt(f"{sdk.protocol} {part.__name__}", lambda: part(sdk, root))
        fixtures(sdk, root, "--record" in sys.argv)
    azure(root)
    versions = f"openai {openai.__version__}, anthropic {anthropic.__version__}, google-genai {genai.__version__}"
    print(f"{passed} checks passed, {len(failures)} failed, with {versions}")
    for failure in failures:
        # One line each, also of errors that tell a story.
        print("  " + " ".join(failure.split())[:400])
    sys.exit(1 if failures else 0)


main()
