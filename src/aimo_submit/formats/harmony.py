"""gpt-oss's harmony: messages on channels, rendered and parsed by OpenAI's own library, on tokens.

https://github.com/openai/harmony, docs/format.md. The order within a message's header varies from
sample to sample, so nothing here matches strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from aimo_submit.errors import UserError

RETURN, CALL = 200_002, 200_012  # the tokens that end an answer, and a call of a tool
DATE = "2025-08-05"  # told to the model; fixed, so that a prompt is the same tomorrow


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the model."""

    channel: str  # analysis, commentary, final
    recipient: str  # the tool it calls; empty: none
    content: str


def prompt(problem: str, instructions: str) -> str:
    """Writes the conversation that asks the problem and offers the python tool."""
    harmony = _library()
    system = (
        harmony.SystemContent.new()
        .with_reasoning_effort(harmony.ReasoningEffort.HIGH)
        .with_conversation_start_date(DATE)
        .with_tools(harmony.ToolNamespaceConfig.python())
    )
    developer = harmony.DeveloperContent.new().with_instructions(instructions)
    asked = (
        (harmony.Role.SYSTEM, system),
        (harmony.Role.DEVELOPER, developer),
        (harmony.Role.USER, problem),
    )
    messages = [harmony.Message.from_role_and_content(*turn) for turn in asked]
    conversation = harmony.Conversation.from_messages(messages)
    encoding = _encoding()
    tokens = encoding.render_conversation_for_completion(conversation, harmony.Role.ASSISTANT)
    return str(encoding.decode_utf8(tokens))


def output(text: str) -> str:
    """Writes a call's output for the model, from the end of its call to its next message."""
    harmony = _library()
    author = harmony.Author.new(harmony.Role.TOOL, "python")
    said = harmony.Message(author=author, content=[harmony.TextContent(text=text)])
    message = said.with_channel("analysis").with_recipient("assistant")
    encoding = _encoding()
    return f"<|call|>{encoding.decode_utf8(encoding.render(message))}<|start|>assistant"


def encode(text: str) -> list[int]:
    """Returns the tokens of a model's text; the names of special tokens count as such."""
    return list(_encoding().encode(text, allowed_special="all"))


def messages(tokens: Sequence[int]) -> list[Message]:
    """Parses the messages of a completion, the last perhaps cut off; none without a header."""
    harmony = _library()
    parser = harmony.StreamableParser(_encoding(), harmony.Role.ASSISTANT)
    try:
        for token in tokens:
            parser.process(token)
    except harmony.HarmonyError:  # a sample that lost the format: what came before counts
        pass
    said = [_message(m.channel, m.recipient, m.content[0].text) for m in parser.messages]
    if rest := parser.current_content:
        said.append(_message(parser.current_channel, parser.current_recipient, rest))
    return said


def _message(channel: str | None, recipient: str | None, content: str) -> Message:
    return Message(channel or "", recipient or "", content)


def _library() -> Any:
    try:
        return import_module("openai_harmony")
    except ImportError as error:
        raise UserError(f"gpt-oss needs a library: pip install openai-harmony ({error})") from error


@cache
def _encoding() -> Any:
    """Returns the tokens' encoding; raises UserError without its file or the library."""
    harmony = _library()
    try:
        return harmony.load_harmony_encoding(harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    except Exception as error:  # its Rust side raises whatever its network client did
        raise UserError(
            "openai-harmony cannot load its vocabulary: put o200k_base.tiktoken into a folder and "
            f"name the folder in TIKTOKEN_ENCODINGS_BASE ({str(error)[:120]})"
        ) from error
