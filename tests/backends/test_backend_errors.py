"""What the words of servers mean. Each message is in the form in which the server named beside it sends it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.core.test_json_value import ANYTHING
from tui_router.backends.backend_errors import SYSTEM_ROLE, WEBP, classify, message_of
from tui_router.backends.resending import second_try
from tui_router.core.json_value import JsonValue

OVERFLOWS = [
    (
        "LM Studio",
        200,
        "Trying to keep the first 9211 tokens when context the overflows. However, the model is loaded with "
        "context length of only 4096 tokens, which is not enough.",
    ),
    (
        "LM Studio",
        200,
        "Input does not fit in context length. The input has 31430 tokens, but the context length only supports 30000 tokens.",
    ),
    ("LM Studio", 400, "The number of tokens to keep from the initial prompt is greater than the context length."),
    ("llama.cpp", 400, "request (15003 tokens) exceeds the available context size (1024 tokens), try increasing it"),
    (
        "llama.cpp",
        500,
        "the request exceeds the available context size. try increasing the context size or enable context shift",
    ),
    ("llama.cpp", 500, "input is too large to process. increase the physical batch size"),
    ("llama.cpp", 500, "failed to find free space in the KV cache, retrying with smaller batch size"),
    ("Ollama", 400, "the input length exceeds the context length"),
    ("Ollama", 400, "prompt too long; exceeded max context length by 812 tokens"),
    (
        "vLLM",
        400,
        "This model's maximum context length is 4096 tokens. However, your request has 5123 input tokens. Please reduce "
        "the length of the input messages.",
    ),
    ("vLLM", 400, "The decoder prompt (length 9001) is longer than the maximum model length of 8192."),
    ("vLLM", 400, "The engine prompt length 9001 exceeds the max_model_len 8192. Please reduce prompt."),
    ("vLLM", 400, "The prompt (total length 9001) is too long to fit into the model (context length 8192)."),
    (
        "TGI",
        422,
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 4000 `inputs` tokens and 1000 "
        "`max_new_tokens`",
    ),
    ("TGI", 422, "Input validation error: `inputs` must have less than 4095 tokens. Given: 5210"),
    ("SGLang", 400, "The input (9001 tokens) is longer than the model's context length (8192 tokens)."),
    ("SGLang", 400, "Requested token count exceeds the model's maximum context length of 8192 tokens."),
    ("SGLang", 400, "Input length (9001 tokens) exceeds the maximum allowed length (8186 tokens)."),
    ("MLC", 400, "Request prompt has 9001 tokens in total, larger than the model input length limit 8192."),
    ("MLC", 400, "Prompt tokens exceed context window size: number of prompt tokens: 5000; context window size: 4096"),
    (
        "TensorRT-LLM",
        400,
        "The sum of prompt length (4097.0), query length (0) should not exceed max_num_tokens (4096)",
    ),
    (
        "TensorRT-LLM",
        500,
        "Prompt length (9001) exceeds maximum input length (8192). Set log level to info and check the logs",
    ),
    ("TensorRT-LLM", 400, "default_max_tokens (-809) must be greater than 0, max_seq_len (8192) - prompt_len (9001)"),
    ("LiteLLM", 400, "litellm.ContextWindowExceededError: litellm.BadRequestError: OpenAIException - too long"),
    ("OpenAI's code", 400, "Your input is over the limit (context_length_exceeded)"),
    ("TabbyAPI", 400, "Prompt length 9001 is greater than max_seq_len 8192"),
    ("a proxy", 413, "Request Entity Too Large"),
    ("a proxy", 413, ""),
]
CAPABILITIES = [
    ("Ollama", 400, '"nomic-embed-text" does not support chat'),
    ("vLLM", 400, "The model does not support Chat Completions API"),
    ("vLLM", 400, "default chat template is no longer allowed, so you must provide a chat template"),
    ("vLLM", 400, "You set image=1 in `--limit-mm-per-prompt`, but passed 2 image items in the same prompt."),
    ("llama.cpp", 400, "unsupported content[].type"),
    ("llama.cpp", 500, "tools param requires --jinja flag"),
    (
        "llama.cpp",
        500,
        "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj",
    ),
    ("LM Studio", 400, "Model does not support images. Please use a model that does."),
    ("LM Studio", 200, "Vision add-on is not loaded, but images were provided for processing"),
    ("Ollama", 500, "this model is missing data required for image input"),
    ("Ollama", 400, "registry.ollama.ai/library/gemma3:1b does not support tools"),
    ("vLLM", 400, "At most 0 image(s) may be provided in one prompt."),
    ("vLLM", 400, "At most 1 image(s) may be provided in one request."),
    ("vLLM", 400, "google/gemma-3-1b-it is not a multimodal model"),
    ("vLLM", 400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'),
    ("TGI", 422, "Can't process image: the model does not support multimodal inputs"),
    ("SGLang", 400, "Multimodal inputs are provided, but the model is not multimodal"),
    ("MLC", 400, "Unsupported content part type: image_url"),
    ("TensorRT-LLM", 400, "Multi-modal inputs are not supported by this model"),
    ("LiteLLM", 400, "litellm.UnsupportedParamsError: ollama does not support parameters: ['tools'], for model=gemma3"),
    ("FastAPI", 422, "messages.0.content: Input should be a valid string"),
]
UNREADABLE_IMAGES = [
    ("llama.cpp", 400, "Failed to load image or audio file"),
    ("LM Studio", 400, "Invalid image data"),
    ("Ollama", 500, "image: unknown format"),
    ("vLLM", 400, "cannot identify image file <_io.BytesIO object at 0x7f>"),
    ("SGLang", 400, "Unsupported image format"),
]
SYSTEM_ROLES = [
    ("vLLM", 400, "System role not supported"),
    (
        "llama.cpp",
        500,
        "While executing CallExpression at line 1, column 70 in source: ... Error: Jinja Exception: System role not "
        "supported",
    ),
    ("LM Studio", 200, 'Error rendering prompt with jinja template: "System role not supported".'),
    ("TGI", 422, "Template error: invalid operation: System role not supported (in <string>:1)"),
    ("Mistral's template", 400, "Only user and assistant roles are supported!"),
    ("Gemma's template", 400, "Conversation roles must alternate user/assistant/user/assistant/..."),
    ("SGLang", 400, "This model does not support system messages"),
    ("MLC", 400, "Unexpected role: system"),
    ("TensorRT-LLM", 400, "Invalid role 'system' in message 0"),
    ("LiteLLM", 400, "litellm.BadRequestError: the role 'system' is not supported by this model"),
]
OTHERS = [
    ("LM Studio", 400, "The model has crashed without additional information. (Exit code: 6)", "server"),
    ("LM Studio", 400, "Channel Error", "server"),
    ("LM Studio", 200, "Model was unloaded while the request was still in queue..", "not_found"),
    ("Ollama", 500, "model runner has unexpectedly stopped, this may be due to resource limitations", "server"),
    ("TGI", 424, "Request failed during generation: Server error: CUDA out of memory", "server"),
    ("vLLM", 400, "EngineDeadError: EngineCore encountered an issue", "server"),
    ("LiteLLM", 408, "litellm.Timeout: Timeout Error", "server"),
    ("LiteLLM", 400, "litellm.APIConnectionError: OllamaException - all connection attempts failed", "server"),
    ("a proxy", 405, "Method Not Allowed", "not_found"),
    (
        "LM Studio",
        404,
        "No models loaded. Please load a model in the developer page or use the 'lms load' command.",
        "not_found",
    ),
    (
        "LM Studio",
        400,
        'Failed to load model "x". Error: Model loading was stopped due to insufficient system resources.',
        "not_found",
    ),
    ("LM Studio", 401, "An LM Studio API token is required to make requests to this server", "auth"),
    ("LM Studio", 200, "The model has crashed without additional information. (Exit code: 6)", "server"),
    ("LM Studio", 200, "Compute error.", "server"),
    ("LM Studio", 200, "Unexpected endpoint or method. (POST /x). Returning 200 anyway", "not_found"),
    ("Ollama", 404, "model 'nope' not found, try pulling it first", "not_found"),
    ("Ollama", 500, "model requires more system memory (5.6 GiB) than is available (4.0 GiB)", "not_found"),
    ("Ollama", 500, "llama runner process has terminated: exit status 2", "server"),
    ("Ollama", 503, "server busy, please try again.  maximum pending requests exceeded", "busy"),
    ("llama.cpp", 503, "Loading model", "loading"),
    ("llama.cpp", 400, "model is not loaded", "not_found"),
    ("llama.cpp", 500, "model name=broken failed to load", "not_found"),
    ("vLLM", 404, "The model `x` does not exist.", "not_found"),
    ("TGI", 429, "Model is overloaded", "busy"),
    ("TGI", 503, "Model x is currently loading", "loading"),
    ("SGLang", 503, "The request queue is full.", "busy"),
    ("SGLang", 503, "Server is starting", "loading"),
    ("MLC", 400, "The requested model x is not served", "not_found"),
    ("TensorRT-LLM", 500, "Executor worker died during initialization", "server"),
    ("LiteLLM", 400, "Invalid model name passed in model=x. Call `/v1/models` to view available models", "not_found"),
    ("LiteLLM", 401, "Authentication Error, No api key passed in.", "auth"),
    ("LiteLLM", 429, "litellm.RateLimitError: request exceeds the limit", "busy"),
    ("a proxy", 502, "Bad Gateway", "server"),
    ("a proxy", 503, "Service Unavailable", "server"),
    ("a proxy", 504, "Gateway Time-out", "server"),
    ("anybody", 400, "temperature must be a number", "bad_request"),
    ("anybody", 403, "", "auth"),
    ("anybody", 404, "", "not_found"),
]


def names(rows):
    return [f"{row[0]} {row[1]} {row[2][:40]}" for row in rows]


@pytest.mark.parametrize(("server", "status", "words"), OVERFLOWS, ids=names(OVERFLOWS))
def test_a_request_that_does_not_fit(server, status, words):
    assert classify(status, words).failure == "overflow"


@pytest.mark.parametrize(("server", "status", "words"), CAPABILITIES, ids=names(CAPABILITIES))
def test_a_model_that_cannot_do_it(server, status, words):
    assert classify(status, words).failure == "capability"


@pytest.mark.parametrize(("server", "status", "words"), UNREADABLE_IMAGES, ids=names(UNREADABLE_IMAGES))
def test_an_image_that_the_server_cannot_read_may_be_sent_as_png(server, status, words):
    error = classify(status, words)
    assert (error.failure, error.correction) == ("capability", WEBP)


@pytest.mark.parametrize(("server", "status", "words"), SYSTEM_ROLES, ids=names(SYSTEM_ROLES))
def test_a_template_without_a_system_role(server, status, words):
    assert classify(status, words).correction == SYSTEM_ROLE


@pytest.mark.parametrize(("server", "status", "words", "failure"), OTHERS, ids=names(OTHERS))
def test_all_other_refusals(server, status, words, failure):
    error = classify(status, words)
    assert error.failure == failure and not error.correction


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("unknown field: stream_options", "stream_options"),
        ("stream_options: Extra inputs are not permitted", "stream_options"),
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            "max_tokens",
        ),
        ('json: unknown field "return_progress"', "return_progress"),
    ],
)
def test_a_refused_field_can_be_left_out(words, field):
    error = classify(400, words)
    assert (error.failure, error.correction) == ("bad_request", field)
    assert second_try(error, set()).correction == field and second_try(error, {field}) is None


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "response_format type json_schema is not supported"),
        (500, "failed to parse grammar"),
        (501, "structured outputs are not implemented"),
    ],
)
def test_a_refused_schema_can_be_left_out(status, words):
    error = classify(status, words)
    assert (error.failure, error.correction) == ("bad_request", "response_format")


def test_an_answer_that_would_be_too_long_can_be_asked_for_without_a_length():
    error = classify(
        400,
        "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 8192 tokens and "
        "your request has 7000 input tokens (4096 > 8192 - 7000).",
    )
    assert (error.failure, error.correction) == ("overflow", "max_tokens")


WAITS = [("7", 7), ("0.05", 0.05), ("nan", None), ("-1", None), ("Wed, 21 Oct 2026", None), ("inf", None)]


@pytest.mark.parametrize(("header", "seconds"), WAITS)
def test_the_time_to_wait(header, seconds):
    assert classify(429, "slow down", header).retry_after_s == seconds
    again = second_try(classify(429, "slow down", header), ())
    assert again.wait_s == (seconds or 1.0) and second_try(classify(429, "", "1e9"), ()).wait_s == 30.0


@pytest.mark.parametrize(
    "failure", ["down", "no_bytes", "server", "empty", "slow", "idle", "broken", "auth", "image", "settings"]
)
def test_what_is_never_sent_again(failure):
    from tui_router.backends.backend_errors import BackendError

    assert second_try(BackendError(failure, "x"), ()) is None


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"error": {"message": "boom", "type": "x"}}, 400, "boom"),
        ({"error": "boom"}, 200, "boom"),
        ({"error": {"type": "exceed_context_size_error", "message": "boom"}}, 400, "boom (exceed_context_size_error)"),
        ({"error": {"code": "model_not_found"}}, 404, "model_not_found"),
        ({"error": [{"message": "boom"}, {"message": "bang"}]}, 400, "boom; bang"),
        ({"errors": ["boom"]}, 400, "boom"),
        ({"error": True}, 500, "unknown error"),
        ({"error": {"message": '{"error":{"code":500,"message":"inner"}}'}}, 500, "inner"),
        ({"error": "boom", "error_type": "validation"}, 422, "boom"),
        ({"object": "error", "message": "boom", "code": 400}, 400, "boom"),
        ({"detail": "boom"}, 422, "boom"),
        ({"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "bad"}]}, 422, "messages.0.content: bad"),
        ({"message": "boom", "code": 400}, 400, "boom"),
        ({"message": "all is well"}, 200, None),
        ({"error": None, "choices": []}, 200, None),
        ({"error": "", "choices": []}, 200, None),
        ({"choices": [], "detail": "of the answer"}, 200, None),
        ([], 200, None),
        (None, 500, None),
        ("boom", 500, "boom"),
    ],
)
def test_the_message_of_an_error_in_every_shape(body, status, message):
    assert message_of(JsonValue(body), status) == message


@given(ANYTHING, st.sampled_from([200, 400, 404, 413, 429, 500, 503]))
@settings(deadline=None)
def test_any_body_is_an_error_with_a_short_sentence_or_none(body, status):
    message = message_of(JsonValue(body), status)
    assert message is None or (isinstance(message, str) and len(message) < 1000)
    error = classify(status, message or json.dumps(body, default=str))
    assert 0 < len(str(error)) < 1000 and "\x1b" not in str(error)


@given(st.text(alphabet="maxtokenspromp_ ioge(123)'systemrole", max_size=600))
@settings(deadline=None)
def test_any_words_are_classified(words):
    assert classify(400, words * 50).failure
