"""The official SDKs behind one face, so that a case of check.py is written once. It must not know what is expected.

Every adapter answers with the same dictionary: text, reasoning, calls (name and arguments), finish, usage (input, output).
`shape` are conversations in the SDK's own words; `history` is what an answer adds to one, results of tools included.
"""

import base64
import json

import anthropic
import ollama
import openai
from google import genai
from google.genai import types

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
KEY = "sk-test-0123456789abcdef"
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
ABOUT = "The weather of a city."


class Chat:
    protocol = "chat"
    library = openai

    def __init__(self, root):
        self.client = openai.OpenAI(base_url=root + "/v1", api_key=KEY, max_retries=0, timeout=20)

    def request(self, model, case, history=()):
        user = {"role": "user", "content": "Hello"}
        request = {"model": model, "messages": [user, *history]}
        if case == "options":
            request["messages"].insert(0, {"role": "system", "content": "Be brief."})
            request |= {"temperature": 0.5, "max_completion_tokens": 100}
        elif case == "tools":
            function = {"name": "get_weather", "description": ABOUT, "parameters": CITY, "strict": True}
            request["tools"] = [{"type": "function", "function": function}]
        elif case == "image":
            image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + PNG}}
            user["content"] = [{"type": "text", "text": "What is this?"}, image]
        elif case == "schema":
            schema = {"name": "person", "schema": PERSON, "strict": True}
            request["response_format"] = {"type": "json_schema", "json_schema": schema}
        return request

    def send(self, stream, **request):
        if not stream:
            return self.client.chat.completions.create(**request)
        with self.client.chat.completions.stream(**request, stream_options={"include_usage": True}) as events:
            for _ in events:
                pass
            return events.get_final_completion()

    def answer(self, completion):
        choice = completion.choices[0]
        calls = choice.message.tool_calls or []
        return {
            "text": choice.message.content or choice.message.refusal or "",
            "reasoning": getattr(choice.message, "reasoning_content", None) or "",
            "calls": [(call.function.name, json.loads(call.function.arguments)) for call in calls],
            "finish": choice.finish_reason,
            "usage": (completion.usage.prompt_tokens, completion.usage.completion_tokens) if completion.usage else None,
        }

    def history(self, completion, results, opaque=True):
        message = completion.choices[0].message
        calls = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
            for call in message.tool_calls
        ]
        answers = [
            {"role": "tool", "tool_call_id": call["id"], "content": text}
            for call, text in zip(calls, results, strict=True)
        ]
        return [{"role": "assistant", "content": message.content or None, "tool_calls": calls}, *answers]

    def models(self):
        return [model.id for model in self.client.models.list()]


class Responses:
    protocol = "responses"
    library = openai

    def __init__(self, root):
        self.client = openai.OpenAI(base_url=root + "/v1", api_key=KEY, max_retries=0, timeout=20)

    def request(self, model, case, history=()):
        user = {"role": "user", "content": "Hello"}
        request = {"model": model, "input": [user, *history], "store": False}
        if case == "options":
            request |= {"instructions": "Be brief.", "temperature": 0.5, "max_output_tokens": 100}
        elif case == "tools":
            tool = {"type": "function", "name": "get_weather", "description": ABOUT, "parameters": CITY, "strict": True}
            request |= {"tools": [tool], "include": ["reasoning.encrypted_content"]}
        elif case == "image":
            image = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64," + PNG}
            user["content"] = [{"type": "input_text", "text": "What is this?"}, image]
        elif case == "schema":
            schema = {"type": "json_schema", "name": "person", "schema": PERSON, "strict": True}
            request["text"] = {"format": schema}
        return request

    def send(self, stream, **request):
        if not stream:
            return self.client.responses.create(**request)
        with self.client.responses.stream(**request) as events:
            for event in events:
                if event.type == "error":
                    raise openai.APIError(event.message, request=None, body=None)
                # The helper knows this end only by raising that there was no other.
                if event.type == "response.incomplete":
                    return event.response
            return events.get_final_response()

    def answer(self, response):
        summaries = [part.text for item in response.output if item.type == "reasoning" for part in item.summary]
        refusals = [
            part.refusal
            for item in response.output
            if item.type == "message"
            for part in item.content
            if part.type == "refusal"
        ]
        calls = [item for item in response.output if item.type == "function_call"]
        details = response.incomplete_details
        return {
            "text": response.output_text or "".join(refusals),
            "reasoning": "".join(summaries),
            "calls": [(call.name, json.loads(call.arguments)) for call in calls],
            "finish": details.reason if details else response.status,
            "usage": (response.usage.input_tokens, response.usage.output_tokens) if response.usage else None,
        }

    def history(self, response, results, opaque=True):
        output = [item for item in response.output if opaque or item.type != "reasoning"]
        calls = [item for item in output if item.type == "function_call"]
        items = [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in output]
        return items + [
            {"type": "function_call_output", "call_id": call.call_id, "output": text}
            for call, text in zip(calls, results, strict=True)
        ]

    def models(self):
        return [model.id for model in self.client.models.list()]


class Messages:
    protocol = "messages"
    library = anthropic

    def __init__(self, root):
        self.client = anthropic.Anthropic(base_url=root, api_key=KEY, max_retries=0, timeout=20)

    def request(self, model, case, history=()):
        user = {"role": "user", "content": "Hello"}
        request = {"model": model, "max_tokens": 100, "messages": [user, *history]}
        if case == "options":
            request |= {"system": "Be brief.", "temperature": 0.5}
        elif case == "tools":
            request["tools"] = [{"name": "get_weather", "description": ABOUT, "input_schema": CITY}]
        elif case == "image":
            source = {"type": "base64", "media_type": "image/png", "data": PNG}
            user["content"] = [{"type": "text", "text": "What is this?"}, {"type": "image", "source": source}]
        elif case == "schema":
            request["output_config"] = {"format": {"type": "json_schema", "schema": PERSON}}
        return request

    def send(self, stream, **request):
        # The newest version of the API takes no sampling, and this SDK no argument for the version.
        if "temperature" in request:
            request["extra_headers"] = {"anthropic-version": "2023-06-01"}
            request["extra_body"] = {"temperature": request.pop("temperature")}
        if not stream:
            return self.client.messages.create(**request)
        with self.client.messages.stream(**request) as events:
            for _ in events:
                pass
            message = events.get_final_message()
            # A stream that ends early leaves what there was, without a reason.
            return message

    def answer(self, message):
        calls = [block for block in message.content if block.type == "tool_use"]
        usage = message.usage
        return {
            "text": "".join(block.text for block in message.content if block.type == "text"),
            "reasoning": "".join(block.thinking for block in message.content if block.type == "thinking"),
            "calls": [(call.name, call.input) for call in calls],
            "finish": message.stop_reason,
            "usage": (
                usage.input_tokens + (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0),
                usage.output_tokens,
            ),
        }

    def history(self, message, results, opaque=True):
        content = [block for block in message.content if opaque or block.type != "thinking"]
        calls = [block for block in content if block.type == "tool_use"]
        # What helpers of the SDK add is not for the wire.
        blocks = [block.model_dump(exclude_none=True, exclude={"parsed_output", "caller"}) for block in content]
        answers = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in zip(calls, results, strict=True)
        ]
        return [{"role": "assistant", "content": blocks}, {"role": "user", "content": answers}]

    def models(self):
        return [model.id for model in self.client.models.list()]


class Gemini:
    protocol = "gemini"

    def __init__(self, root):
        retry = types.HttpRetryOptions(attempts=1)
        options = types.HttpOptions(base_url=root, timeout=20_000, retry_options=retry)
        self.client = genai.Client(api_key=KEY, vertexai=False, http_options=options)

    def request(self, model, case, history=()):
        parts = [types.Part.from_text(text="Hello")]
        config = {}
        if case == "options":
            config = {"system_instruction": "Be brief.", "temperature": 0.5, "max_output_tokens": 100}
        elif case == "tools":
            function = types.FunctionDeclaration(name="get_weather", description=ABOUT, parameters_json_schema=CITY)
            off = types.AutomaticFunctionCallingConfig(disable=True)
            config = {"tools": [types.Tool(function_declarations=[function])], "automatic_function_calling": off}
        elif case == "image":
            image = types.Part.from_bytes(data=base64.b64decode(PNG), mime_type="image/png")
            parts = [types.Part.from_text(text="What is this?"), image]
        elif case == "schema":
            config = {"response_mime_type": "application/json", "response_json_schema": PERSON}
        contents = [types.Content(role="user", parts=parts), *history]
        return {"model": model, "contents": contents, "config": config or None}

    def send(self, stream, **request):
        if not stream:
            return [self.client.models.generate_content(**request)]
        return list(self.client.models.generate_content_stream(**request))

    @staticmethod
    def parts(chunks):
        candidates = [chunk.candidates[0] for chunk in chunks if chunk.candidates]
        return [part for found in candidates if found.content for part in found.content.parts or []]

    def answer(self, chunks):
        parts = self.parts(chunks)
        reasons = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
        blocked = [chunk.prompt_feedback.block_reason for chunk in chunks if chunk.prompt_feedback]
        usage = chunks[-1].usage_metadata
        finish = next((reason for reason in reversed(reasons + blocked) if reason), None)
        return {
            "text": "".join(part.text for part in parts if part.text and not part.thought),
            "reasoning": "".join(part.text for part in parts if part.text and part.thought),
            "calls": [(part.function_call.name, part.function_call.args) for part in parts if part.function_call],
            "finish": finish.value if finish else None,
            "usage": (
                usage.prompt_token_count,
                usage.candidates_token_count + (usage.thoughts_token_count or 0),
            )
            if usage
            else None,
        }

    def history(self, chunks, results, opaque=True):
        # Empty texts end streams; they are nothing to send back.
        parts = [part for part in self.parts(chunks) if part.text != ""]
        if not opaque:
            for part in parts:
                part.thought_signature = None
        calls = [part.function_call for part in parts if part.function_call]
        answers = [
            types.Part(
                function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": text})
            )
            for call, text in zip(calls, results, strict=True)
        ]
        return [types.Content(role="model", parts=parts), types.Content(role="user", parts=answers)]

    def models(self):
        return [model.name.removeprefix("models/") for model in self.client.models.list()]


class Ollama:
    protocol = "ollama"
    library = ollama

    def __init__(self, root):
        self.client = ollama.Client(host=root, timeout=20)

    def request(self, model, case, history=()):
        user = {"role": "user", "content": "Hello"}
        request = {"model": model, "messages": [user, *history]}
        if case == "options":
            request["messages"].insert(0, {"role": "system", "content": "Be brief."})
            request["options"] = {"temperature": 0.5, "num_predict": 100}
        elif case == "tools":
            function = {"name": "get_weather", "description": ABOUT, "parameters": CITY}
            request["tools"] = [{"type": "function", "function": function}]
        elif case == "image":
            user |= {"content": "What is this?", "images": [PNG]}
        elif case == "schema":
            request["format"] = PERSON
        return request

    def send(self, stream, **request):
        answer = self.client.chat(**request, stream=stream)
        return list(answer) if stream else [answer]

    def answer(self, lines):
        calls = [call for line in lines for call in line.message.tool_calls or []]
        last = lines[-1]
        return {
            "text": "".join(line.message.content or "" for line in lines),
            "reasoning": "".join(line.message.thinking or "" for line in lines),
            "calls": [(call.function.name, dict(call.function.arguments)) for call in calls],
            "finish": last.done_reason,
            "usage": (last.prompt_eval_count, last.eval_count) if last.prompt_eval_count else None,
        }

    def history(self, lines, results, opaque=True):
        calls = [call for line in lines for call in line.message.tool_calls or []]
        dumped = [{"function": {"name": call.function.name, "arguments": dict(call.function.arguments)}} for call in calls]
        answers = [
            {"role": "tool", "tool_name": call.function.name, "content": text}
            for call, text in zip(calls, results, strict=True)
        ]
        return [{"role": "assistant", "content": "", "tool_calls": dumped}, *answers]

    def models(self):
        return [model.model.removesuffix(":latest") for model in self.client.list().models]


ALL = [Chat, Responses, Messages, Gemini, Ollama]
