"""Tool-integrated-reasoning formats: how each model family is prompted, stopped and fed.

A format is data and three verbs: `prompt`, `block` (the code to run) and `show` (what the model
reads of its output). Not here: formats that need their own parser (gpt-oss).
"""

from __future__ import annotations

from dataclasses import dataclass

from aimo_submit.errors import UserError
from aimo_submit.records import Execution, Scope


@dataclass(frozen=True, slots=True)
class Format:
    """One family's way with prompts, code and outputs."""

    name: str
    template: str  # the prompt, with {problem}
    stop: tuple[str, ...] = ("```output",)  # the model asks for code to be run; stays in the text
    code_begin: str = "```python"
    code_end: str = "```"
    output_begin: str = "\n"  # between the stop string and the output
    output_end: str = "```\n"
    output_chars: int | None = None  # longer output is cut
    keep_tail: bool = False  # a cut output keeps as much of its end as of its beginning
    cut_mark: str = "..."
    scope: Scope = Scope.FRESH
    needs_code: bool = False  # an answer given before any code has run is pruned as a guess

    def prompt(self, problem: str) -> str:
        """The text that the model continues."""
        return self.template.replace("{problem}", problem)

    def asks(self, text: str) -> bool:
        """Whether the model has just asked for its code to be run."""
        return bool(self.stop) and text.endswith(self.stop)

    def block(self, text: str) -> str | None:
        """The last complete code block of a completion.

        The fence of an output also ends a block, wherever on its line it stands: models join
        the two fences to six backticks or forget the first one.
        """
        start = len(text)
        while (start := text.rfind(self.code_begin, 0, start)) >= 0:
            code, end, _ = text[start + len(self.code_begin) :].partition(self.code_end)
            if end:
                return code.strip("\n")
        return None

    def show(self, execution: Execution) -> str:
        """What is appended to the sample so that the model reads the output."""
        return f"{self.output_begin}{self._cut(execution.output.strip())}\n{self.output_end}"

    def _cut(self, output: str) -> str:
        limit = self.output_chars
        if limit is None or len(output) <= limit:
            return output
        if self.keep_tail:
            return output[: limit // 2] + self.cut_mark + output[-(limit // 2) :]
        return output[:limit] + self.cut_mark


_INTEGRATE = (
    "Please integrate natural language reasoning with programs to solve the problem above, "
    "and put your final answer within \\boxed{}."
)

FORMATS = {
    format.name: format
    for format in (
        # project-numina/aimo-progress-prize, kaggle-solution.ipynb
        Format(
            "numina_tir",
            "### Problem: {problem}\n### Solution: ",
            stop=("```output\n",),
            output_begin="",
            output_end="```",
            output_chars=200,
            cut_mark=" ... (output truncated)",
            needs_code=True,
        ),
        # deepseek-ai/DeepSeek-Math, infer/run_tool_integrated_eval.py
        Format(
            "deepseekmath_rl_tool",
            "User: {problem}\n" + _INTEGRATE + "\n\nAssistant:",
            output_chars=100,
            keep_tail=True,
            scope=Scope.REPLAY,
        ),
        # QwenLM/Qwen2.5-Math, evaluation/math_eval.py
        Format(
            "qwen25_math_tir",
            f"<|im_start|>system\n{_INTEGRATE}<|im_end|>\n"
            "<|im_start|>user\n{problem}<|im_end|>\n<|im_start|>assistant\n",
            scope=Scope.REPLAY,
        ),
        # NVIDIA/NeMo-Skills, prompt/code_tags/openmath.yaml; the model's Kaggle prompt
        Format(
            "openmath_nemotron_tir",
            "<|im_start|>system\n<|im_end|>\n<|im_start|>user\n"
            "Solve the following math problem. Make sure to put the answer (and only answer) "
            "inside \\boxed{}.\n\n{problem}<|im_end|>\n<|im_start|>assistant\n",
            stop=("</tool_call>",),
            code_begin="<tool_call>",
            code_end="</tool_call>",
            output_begin="\n```output\n",
            output_chars=1000,
            scope=Scope.LIVE,
        ),
        # deepseek-ai/DeepSeek-R1, README: no tool use
        Format(
            "r1_distill",
            "<\uff5cbegin\u2581of\u2581sentence\uff5c><\uff5cUser\uff5c>{problem}\n"
            "Please reason step by step, and put your final answer within \\boxed{}."
            "<\uff5cAssistant\uff5c><think>\n",
            stop=(),
        ),
        # microsoft/ToRA, src/infer/inference.py
        Format("tora", "<|user|>\n{problem}\n<|assistant|>\n", scope=Scope.REPLAY),
    )
}


def format_named(name: str) -> Format:
    """The format of that name; an unknown one is a `UserError`."""
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
