"""Tool-integrated-reasoning formats: how each model family is prompted, stopped and fed.

A format is data and five verbs: `prompt`; `asks`, whether code is to be run, and `block`, which;
`show`, what the model reads of the output; `words`, where its answer stands. A `Format` without
stop strings never asks: chain of thought through the same loop.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from aimo_submit.records import Completion, Execution, Scope


@dataclass(frozen=True, slots=True)
class Format:
    """One family's way with prompts, code and outputs."""

    name: str
    template: str  # the prompt, with {problem}
    stop: tuple[str, ...] = ("```output",)  # the model asks for code to be run; stays in the text
    stop_token_ids: tuple[int, ...] = ()  # end its turn, beside the tokenizer's EOS
    code_begin: str = "```python"
    code_end: str = "```"
    output_begin: str = "\n"  # between the stop string and the output
    output_end: str = "```\n"
    output_chars: int | None = None  # longer output is cut
    keep_tail: bool = False  # a cut output keeps as much of its end as of its beginning
    cut_mark: str = "..."
    scope: Scope = Scope.FRESH
    asking: str | None = None  # how anything but a problem is asked, where that is another template
    needs_code: bool = False  # an answer given before any code has run is pruned as a guess
    runs_last: bool = False  # once its text has ended, its last block runs and gives the answer

    def prompt(self, problem: str) -> str:
        """Returns the text that the model continues."""
        return self.template.replace("{problem}", problem)

    def ask(self, question: str) -> str:
        """Returns the text for another task than to solve a problem."""
        return (self.asking or self.template).replace("{problem}", question)

    def asks(self, completion: Completion) -> bool:
        """True if the model has just asked for its code to be run."""
        return bool(self.stop) and completion.text.endswith(self.stop)

    def block(self, completion: Completion) -> str | None:
        """Returns the last complete code block of a completion.

        The fence of an output also ends a block, wherever on its line it stands: models join
        the two fences to six backticks or forget the first one.
        """
        text = completion.text
        start = len(text)
        while (start := text.rfind(self.code_begin, 0, start)) >= 0:
            code, end, _ = text[start + len(self.code_begin) :].partition(self.code_end)
            if end:
                return code.strip("\n")
        return None

    def show(self, execution: Execution) -> str:
        """Returns the text that shows the model the output."""
        return f"{self.output_begin}{self._cut(execution.output.strip())}\n{self.output_end}"

    def words(self, before: str, completion: Completion) -> str:
        """Returns the text in which the answer is looked for: all of it, but no code."""
        text = before + completion.text
        if self.code_begin.startswith("```"):
            return text  # `answers.py` knows this fence
        begin, end = re.escape(self.code_begin), re.escape(self.code_end)
        return re.sub(f"{begin}.*?({end}|$)", "", text, flags=re.DOTALL)

    def _cut(self, output: str) -> str:
        limit = self.output_chars
        if limit is None or len(output) <= limit:
            return output
        if self.keep_tail:
            return output[: limit // 2] + self.cut_mark + output[-(limit // 2) :]
        return output[:limit] + self.cut_mark
