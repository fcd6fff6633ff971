"""The model families that the kit can speak to: one `Format` each, with its source."""

from __future__ import annotations

from aimo_submit.errors import UserError
from aimo_submit.formats import Format, harmony
from aimo_submit.records import Completion, Execution, Finish, Outcome, Scope

_EOM = "<|eom_id|>"  # a token that ends a message but not the turn
_STEP_BY_STEP = "Please reason step by step, and put your final answer within \\boxed{}."
_INTEGRATE = (
    "Please integrate natural language reasoning with programs to solve the problem above, "
    "and put your final answer within \\boxed{}."
)
_PROGRAM = (
    "Please solve this with a complete Python program that prints the final answer, an integer, "
    "and also put your final answer within \\boxed{}."
)
_DEEPSEEK = "User: {problem}\n\nAssistant:"
_R1 = (
    "<\uff5cbegin\u2581of\u2581sentence\uff5c><\uff5cUser\uff5c>%s<\uff5cAssistant\uff5c><think>\n"
)
_EXPERT = (
    "System:\nYou're an expert Python programmer and mathematician.%s\n\n"
    "User:\n{problem}\n\nAssistant:\n"
)
_QWEN_ENDS = (151_645, 151_643)  # <|im_end|>, <|endoftext|>
_LLAMA_ENDS = (128_001, 128_008, 128_009)  # <|end_of_text|>, <|eom_id|>, <|eot_id|>
_LLAMA_NEXT = "<|start_header_id|>assistant<|end_header_id|>\n\n"


class Harmony(Format):
    """gpt-oss: its `template` is what the developer's message says."""

    __slots__ = ()

    def prompt(self, problem: str) -> str:
        return harmony.prompt(problem, self.template)

    def ask(self, question: str) -> str:
        return harmony.prompt(question, "")

    def asks(self, completion: Completion) -> bool:
        return self.block(completion) is not None

    def block(self, completion: Completion) -> str | None:
        """Returns the code that the completion ends by sending to python; None if cut off."""
        said = harmony.messages(completion.tokens)
        whole = said and completion.finish is not Finish.LENGTH
        return said[-1].content if whole and said[-1].recipient.startswith("python") else None

    def show(self, execution: Execution) -> str:
        return harmony.output(self._cut(execution.output))

    def words(self, before: str, completion: Completion) -> str:
        """Returns the final channel; where the model did not come to it, its last thoughts."""
        said = harmony.messages(completion.tokens)
        final = [message.content for message in said if message.channel == "final"]
        return "\n".join(final or [message.content for message in said if not message.recipient])


class Llama3(Format):
    """Llama's code interpreter: a call begins with a token and lasts to the end of its message.

    A server that hides special tokens hides the calls: llama.cpp's shows them with --special.
    """

    __slots__ = ()

    def asks(self, completion: Completion) -> bool:
        return self.block(completion) is not None

    def block(self, completion: Completion) -> str | None:
        """Returns the last call; None if cut off. The token that ends it may be left away."""
        _, tag, code = completion.text.rpartition(self.code_begin)
        whole = tag and completion.finish is not Finish.LENGTH
        return code.removesuffix(_EOM).strip("\n") if whole else None

    def show(self, execution: Execution) -> str:
        stream = "stdout" if execution.outcome is Outcome.OK else "stderr"
        output = self._cut(execution.output.strip())
        said = f"\n[{stream}]\n{output}\n[/{stream}]" if output else ""
        return f"{self.output_begin}completed{said}{self.output_end}"


def _llama(role: str, content: str) -> str:
    return f"<|start_header_id|>{role}<|end_header_id|>\n\n{content}<|eot_id|>"


def _chatml(system: str, user: str = "{problem}") -> str:
    return (
        f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n{user}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def _openmath(name: str, user: str) -> Format:
    return Format(
        name,
        _chatml("", user),
        stop=("</tool_call>",),
        stop_token_ids=_QWEN_ENDS,
        code_begin="<tool_call>",
        code_end="</tool_call>",
        output_begin="\n```output\n",
        output_chars=1000,
        scope=Scope.LIVE,
        asking=_chatml(""),
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
        # AI-MO/NuminaMath-7B-CoT: the winner's first stage, the same words, no code
        Format("numina_cot", "### Problem: {problem}\n### Solution: ", stop=()),
        # deepseek-ai/DeepSeek-Math, infer/run_tool_integrated_eval.py
        Format(
            "deepseekmath_rl_tool",
            "User: {problem}\n" + _INTEGRATE + "\n\nAssistant:",
            output_chars=100,
            keep_tail=True,
            scope=Scope.REPLAY,
            asking=_DEEPSEEK,
        ),
        Format(
            "deepseekmath_rl_cot",
            "User: {problem}\n" + _STEP_BY_STEP + "\n\nAssistant:",
            stop=(),
            asking=_DEEPSEEK,
        ),
        # QwenLM/Qwen2.5-Math, evaluation/math_eval.py
        Format(
            "qwen25_math_tir",
            _chatml(_INTEGRATE),
            stop_token_ids=_QWEN_ENDS,
            scope=Scope.REPLAY,
            asking=_chatml("You are a helpful assistant."),
        ),
        Format(
            "qwen25_math_cot",
            _chatml(_STEP_BY_STEP),
            stop=(),
            stop_token_ids=_QWEN_ENDS,
            asking=_chatml("You are a helpful assistant."),
        ),
        # NVIDIA/NeMo-Skills, prompt/config/openmath/tir.yaml, code_tags/openmath.yaml; 8 calls are
        # what the model was evaluated with: rounds = 9
        _openmath(
            "openmath_nemotron_tir",
            "Solve the following math problem, integrating natural language reasoning with Python "
            "code executions.\nYou may perform up to 8 Python code calls to assist your "
            "reasoning.\nMake sure to put the answer (and only answer) inside \\boxed{}.\n\n"
            "{problem}",
        ),
        # the prompt of OpenMath-Nemotron-14B-Kaggle
        _openmath(
            "openmath_nemotron_kaggle",
            "Solve the following math problem. Make sure to put the answer (and only answer) "
            "inside \\boxed{}.\n\n{problem}",
        ),
        # deepseek-ai/DeepSeek-R1, README: no tool use
        Format(
            "r1_distill",
            _R1 % ("{problem}\n" + _STEP_BY_STEP),
            stop=(),
            asking=_R1 % "{problem}",
        ),
        # imagination-research/aimo2, local_eval.py and cfgs/dpsk-qwen-14b.yaml, whose prompt has
        # a system message, against DeepSeek's advice
        Format(
            "r1_distill_code",
            _R1 % ("{problem}\n" + _PROGRAM),
            stop=(),
            output_begin="\n```output\n",
            asking=_R1 % "{problem}",
            runs_last=True,
        ),
        # meta-llama/llama-models, llama3_1/prompt_format.md, "Builtin Code Interpreter"; the
        # output as in NVIDIA/NeMo-Skills, code_tags/llama3.yaml. The tokenizer adds the BOS.
        Llama3(
            "llama3",
            _llama("system", "Environment: ipython")
            + _llama("user", "{problem}\n\n" + _INTEGRATE)
            + _LLAMA_NEXT,
            stop=(),
            stop_token_ids=_LLAMA_ENDS,
            code_begin="<|python_tag|>",
            code_end="<|eot_id|>",  # of its output
            output_begin=f"{_EOM}<|start_header_id|>ipython<|end_header_id|>\n\n",
            output_end="<|eot_id|>" + _LLAMA_NEXT,
            output_chars=1000,
            scope=Scope.LIVE,
            asking=_llama("user", "{problem}") + _LLAMA_NEXT,
        ),
        # OpenMathInstruct-1's models: Kipok/NeMo-Skills, prompt/openmathinstruct/sft.yaml,
        # prompt/code_tags/nemotron.yaml
        Format(
            "nemotron_llm_code",
            _EXPERT
            % " Help the user to solve this problem using code when necessary. Make sure to put "
            "the answer (and only answer) inside \\boxed{}.",
            stop=("</llm-code>",),
            code_begin="<llm-code>",
            code_end="</llm-code>",
            output_begin="\n<llm-code-output>\n",
            output_end="</llm-code-output>\n",
            output_chars=1000,
            scope=Scope.LIVE,
            asking=_EXPERT % "",
        ),
        # microsoft/ToRA, src/infer/inference.py
        Format("tora", "<|user|>\n{problem}\n<|assistant|>\n", scope=Scope.REPLAY),
        # openai/harmony, docs/format.md
        Harmony(
            "gpt_oss",
            _INTEGRATE,
            stop=(),
            stop_token_ids=(harmony.RETURN, harmony.CALL),
            scope=Scope.LIVE,
        ),
    )
}


def format_named(name: str) -> Format:
    """Returns the format of that name; raises UserError for an unknown one."""
    if name not in FORMATS:
        raise UserError(f"unknown format {name!r}: choose one of {', '.join(FORMATS)}")
    return FORMATS[name]
